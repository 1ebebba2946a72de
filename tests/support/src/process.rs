//! A program under test or beside one: its output in a file, its end certain.

use std::fs::{self, File};
use std::future::ready;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::sandbox::{Place, Sandbox, View};
use crate::workdir::WorkDir;
use crate::{eventually, sys};

/// Lines of a log that an error message shows.
const TAIL: usize = 20;

/// A running program in a process group of its own, killed with its children when this value is dropped, and by the kernel
/// when the test process ends in any way.
///
/// Standard output and standard error go, interleaved, to one file.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// The log's folder where it is this process's own; removed on drop.
    dir: Option<WorkDir>,
    /// Where a sandbox is entered by a thread: it waits for the end of this, after the process's.
    _thread: Option<mpsc::Sender<()>>,
}

impl Process {
    /// Starts `command`, its output in a temporary file. Arguments, environment and folder are the command's; standard
    /// input is empty.
    pub fn spawn(command: Command) -> Result<Self> {
        let dir = WorkDir::new()?;
        let log = dir.path().join("output.log");
        let mut process = Self::spawn_logging_to(command, &log)?;
        process.dir = Some(dir);
        Ok(process)
    }

    /// Starts `command`, its output appended to the file `log`.
    pub fn spawn_logging_to(command: Command, log: &Path) -> Result<Self> {
        Self::start(command, log, appending(log)?, None)
    }

    /// Starts `command` in a sandbox, its output appended to the file `log`.
    pub(crate) fn spawn_inside(sandbox: Sandbox, command: Command, log: &Path) -> Result<Self> {
        let place = Place::Sandbox(sandbox);
        Self::start(command, log, appending(log)?, Some(place))
    }

    /// Starts `command` as on a machine of its own, its output in a temporary file.
    pub(crate) fn spawn_viewing(view: View, command: Command) -> Result<Self> {
        let dir = WorkDir::new()?;
        let log = dir.path().join("output.log");
        let mut process = Self::start(command, &log, appending(&log)?, Some(Place::View(view)))?;
        process.dir = Some(dir);
        Ok(process)
    }

    /// Starts `command`, its standard output and standard error to where `to` says.
    pub(crate) fn start(
        mut command: Command,
        log: &Path,
        to: [Stdio; 2],
        place: Option<Place>,
    ) -> Result<Self> {
        let program = Path::new(command.get_program());
        let name = program.file_name().map_or_else(
            || program.display().to_string(),
            |name| name.to_string_lossy().into_owned(),
        );
        let [stdout, stderr] = to;
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        sys::bind_to_parent(&mut command)?;
        let (child, thread) = match place {
            None => spawn_from_lasting_thread(command).map(|child| (child, None)),
            Some(place) => spawn_on_own_thread(command, place),
        }
        .with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            name,
            child,
            log: log.to_owned(),
            dir: None,
            _thread: thread,
        })
    }

    /// The process id, also after the end.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The file that holds the output.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The output so far. Bytes that are not UTF-8 are replaced.
    pub fn output(&self) -> Result<String> {
        let bytes =
            fs::read(&self.log).with_context(|| format!("log file {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The exit status if the process has ended.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .with_context(|| format!("waiting for {}", self.name))
    }

    /// An error, with the end of the output, if the process has ended.
    pub fn ensure_running(&mut self) -> Result<()> {
        if let Some(status) = self.try_wait()? {
            bail!("{} ended: {status}\n{}", self.name, self.tail());
        }
        Ok(())
    }

    /// The first line of the output that contains `pattern`, awaited for `deadline`. An error at once if the process ends
    /// without it.
    pub async fn wait_for_line(&mut self, pattern: &str, deadline: Duration) -> Result<String> {
        let found = eventually(deadline, || ready(self.find_line(pattern))).await;
        match found {
            Ok(Some(line)) => Ok(line),
            Ok(None) => bail!(
                "{} ended without a line with {pattern:?}\n{}",
                self.name,
                self.tail()
            ),
            Err(error) => Err(error.context(format!("{}\n{}", self.name, self.tail()))),
        }
    }

    /// The line if it is there, nothing if the process has ended without it, an error if it may still come.
    fn find_line(&mut self, pattern: &str) -> Result<Option<String>> {
        // Asked before the output is read, so that the last words of a process that has just ended count.
        let ended = self.try_wait()?;
        let output = self.output()?;
        // A line without its end may still be written.
        let mut lines = output.split_inclusive('\n').filter(|l| l.ends_with('\n'));
        match (lines.find(|line| line.contains(pattern)), ended) {
            (Some(line), _) => Ok(Some(line.trim_end().to_owned())),
            (None, Some(_)) => Ok(None),
            (None, None) => bail!("no line with {pattern:?}"),
        }
    }

    /// Sends a signal to the process and its children.
    pub fn signal(&self, signal: i32) -> Result<()> {
        sys::signal_group(self.id(), signal)
            .with_context(|| format!("signal {signal} to {}", self.name))
    }

    /// Asks the process to end (SIGTERM) and gives its exit status; an error if it is still there at the deadline.
    pub async fn terminate(&mut self, deadline: Duration) -> Result<ExitStatus> {
        self.signal(libc::SIGTERM)?;
        self.wait(deadline).await
    }

    /// The exit status, awaited for `deadline`.
    pub async fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let still = format!("{} still runs", self.name);
        eventually(deadline, || {
            let status = self.try_wait();
            ready(status.and_then(|status| status.with_context(|| still.clone())))
        })
        .await
    }

    /// `kill -9` for the process and its children; its sockets are closed on return.
    pub fn kill(&mut self) {
        // After the end was seen the id may be another process's.
        if let Ok(None) = self.child.try_wait() {
            // Neither can fail for a child of ours that nobody else waits for.
            let _ = sys::signal_group(self.child.id(), libc::SIGKILL);
            let _ = self.child.wait();
        }
    }

    /// The last lines of the output, for error messages.
    pub(crate) fn tail(&self) -> String {
        let output = self.output().unwrap_or_else(|error| format!("{error:#}"));
        let lines: Vec<&str> = output.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
        format!("--- last lines of {}:\n{tail}\n---", self.log.display())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Both outputs to the end of one file.
fn appending(log: &Path) -> Result<[Stdio; 2]> {
    let file = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("log file {}", log.display()))?;
    Ok([file.try_clone()?.into(), file.into()])
}

type Order = (Command, mpsc::Sender<io::Result<Child>>);

/// The thread that all children come from.
///
/// The kernel's parent-death signal follows the *thread* that forked. The thread of a test, or of a runtime's pool, ends
/// long before a fixture that is shared does; this one lives as long as the process.
static SPAWNER: LazyLock<Mutex<mpsc::Sender<Order>>> = LazyLock::new(|| {
    let (orders, inbox) = mpsc::channel::<Order>();
    std::thread::spawn(move || {
        for (mut command, reply) in inbox {
            // The one who ordered waits for the reply, so it cannot be refused.
            let _ = reply.send(command.spawn());
        }
    });
    Mutex::new(orders)
});

fn spawn_from_lasting_thread(command: Command) -> Result<Child> {
    let (reply, result) = mpsc::channel();
    SPAWNER
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, reply))
        .map_err(io::Error::other)?;
    Ok(result.recv()??)
}

/// What a thread enters it cannot leave, so each place takes a new one, and its child ends with it.
fn spawn_on_own_thread(
    mut command: Command,
    place: Place,
) -> Result<(Child, Option<mpsc::Sender<()>>)> {
    let (reply, result) = mpsc::channel();
    let (lasting, end) = mpsc::channel();
    std::thread::spawn(move || {
        let child = place
            .prepare(&mut command)
            .and_then(|()| Ok(command.spawn()?));
        // It holds descriptors that others wait to see closed.
        drop((command, place));
        // The one who ordered waits for the reply.
        let _ = reply.send(child);
        // Nobody sends: it ends when the other side is dropped.
        let _ = end.recv();
    });
    Ok((result.recv()??, Some(lasting)))
}
