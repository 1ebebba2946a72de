//! One container of a pod: started, probed, started again, ended.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::{Container, PodSpec, Probe};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::environment::expand;
use super::images::Image;
use super::pause;
use super::pod::Pod;
use super::privileges;
use super::probe::{self, Tally};
use crate::sandbox::Mount;
use crate::{Process, sys};

/// How often a process is asked whether it has ended, and how long a missing reference waits.
const TICK: Duration = Duration::from_millis(20);
const RETRY: Duration = Duration::from_millis(200);
/// A container that is not ready yet is probed this often, whatever its manifest says: tests wait for it.
const FIRST_PROBES: Duration = Duration::from_millis(100);
/// kubelet's are 10 s and 5 min.
const FIRST_BACK_OFF: Duration = Duration::from_millis(250);
const LAST_BACK_OFF: Duration = Duration::from_secs(5);

/// What a pod's status tells about a container.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct View {
    pub(super) state: State,
    pub(super) last: Option<Ended>,
    pub(super) restarts: i32,
    pub(super) ready: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum State {
    Waiting {
        reason: &'static str,
        message: String,
    },
    Running {
        since: Time,
    },
    Ended(Ended),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ended {
    pub(super) code: i32,
    pub(super) signal: Option<i32>,
    pub(super) since: Time,
    pub(super) at: Time,
    /// What it left in its termination log.
    pub(super) message: Option<String>,
}

impl Default for View {
    fn default() -> Self {
        Self {
            state: waiting("ContainerCreating", ""),
            last: None,
            restarts: 0,
            ready: false,
        }
    }
}

impl View {
    /// Of a container whose pod cannot be made yet, and why.
    pub(super) fn creating(why: &str) -> Self {
        Self {
            state: waiting("ContainerCreating", why),
            ..Self::default()
        }
    }
}

fn waiting(reason: &'static str, message: impl Into<String>) -> State {
    State::Waiting {
        reason,
        message: message.into(),
    }
}

pub(super) fn now() -> Time {
    // A status has no fractions; with them it would differ from what the API server gives back.
    Time(Timestamp::from_second(Timestamp::now().as_second()).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// Runs a container until it has ended for good, or `stop` holds how long it may take to end.
pub(super) async fn run(
    pod: &Arc<Pod>,
    container: &Container,
    restart: Restart,
    view: &watch::Sender<View>,
    mut stop: watch::Receiver<Option<Duration>>,
) {
    let mut back_off = FIRST_BACK_OFF;
    loop {
        let started = tokio::select! {
            started = start(pod, container, view) => started,
            _ = stop.wait_for(Option::is_some) => return,
        };
        let (started, servers) = match started {
            Started::Process(process) => (Some(process), JoinSet::new()),
            Started::Pause(servers) => (None, servers),
        };
        let since = now();
        let start = Instant::now();
        view.send_modify(|view| {
            view.state = State::Running {
                since: since.clone(),
            };
            view.ready = container.readiness_probe.is_none();
        });
        pod.runs(&container.name, started.as_ref().map(Process::id));
        let mut running = Running {
            kills: pod.kills(),
            pod,
            container,
            process: started,
            _servers: servers,
        };
        let status = running.until_end(view, &mut stop).await;
        pod.runs(&container.name, None);
        let ended = Ended {
            code: code(status),
            signal: signal(status),
            since,
            at: now(),
            message: pod.termination_message(&container.name),
        };
        let again = stop.borrow().is_none() && restart.again(ended.code);
        view.send_modify(|view| {
            view.ready = false;
            view.state = State::Ended(ended.clone());
            if again {
                view.last = Some(ended.clone());
                view.restarts += 1;
                let message = format!(
                    "back-off {back_off:?} restarting failed container={}",
                    container.name
                );
                view.state = waiting("CrashLoopBackOff", message);
            }
        });
        if !again {
            return;
        }
        if start.elapsed() > LAST_BACK_OFF * 2 {
            back_off = FIRST_BACK_OFF;
        }
        tokio::select! {
            () = sleep(back_off) => {}
            _ = stop.wait_for(Option::is_some) => return,
        }
        back_off = (back_off * 2).min(LAST_BACK_OFF);
    }
}

/// When an ended container is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restart {
    Always,
    OnFailure,
    Never,
}

impl Restart {
    pub(super) fn of(spec: &PodSpec) -> Self {
        match spec.restart_policy.as_deref() {
            Some("Never") => Self::Never,
            Some("OnFailure") => Self::OnFailure,
            _ => Self::Always,
        }
    }

    fn again(self, code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => code != 0,
            Self::Never => false,
        }
    }
}

enum Started {
    Process(Process),
    Pause(JoinSet<()>),
}

/// Tries until it can be started.
async fn start(pod: &Arc<Pod>, container: &Container, view: &watch::Sender<View>) -> Started {
    let image = container.image.as_deref().unwrap_or_default();
    loop {
        let reason = match pod.images().find(image) {
            Some(Image::Pause) => match pause::serve(pod.netns(), container, &pod.name()) {
                Ok(servers) => return Started::Pause(servers),
                Err(error) => waiting("RunContainerError", format!("{error:#}")),
            },
            Some(image) => {
                let (image, pod, container) = (image.clone(), Arc::clone(pod), container.clone());
                let spawned =
                    tokio::task::spawn_blocking(move || launch(&pod, &container, image.program()?));
                match spawned.await.map_err(anyhow::Error::from).flatten() {
                    Ok(process) => return Started::Process(process),
                    Err(error) => waiting("CreateContainerConfigError", format!("{error:#}")),
                }
            }
            None => waiting("ErrImagePull", pod.images().unknown(image)),
        };
        view.send_if_modified(|view| {
            let news = view.state != reason;
            view.state = reason;
            news
        });
        sleep(RETRY).await;
    }
}

fn launch(pod: &Pod, container: &Container, program: PathBuf) -> Result<Process> {
    let environment = pod.with_facts(|facts| facts.environment(container))?;
    let words = |words: &Option<Vec<String>>| -> Vec<String> {
        let words = words.iter().flatten();
        words.map(|word| expand(word, &environment)).collect()
    };
    let (mut given, args) = (words(&container.command), words(&container.args));
    let name = program.file_name().context("a program without a name")?;
    let inside = PathBuf::from("/.image").join(name);
    // An image's command is its program, wherever the image has it. Anything else is the machine's, such as a shell.
    let own = given
        .first()
        .is_none_or(|first| first.rsplit('/').next() == name.to_str());
    let mut command = if own {
        given.drain(..given.len().min(1));
        Command::new(&inside)
    } else {
        Command::new(given.remove(0))
    };
    command.args(given).args(args).env_clear().envs(environment);
    let security = container.security_context.as_ref();
    let (user, group) = pod.user(security);
    if let Some(user) = user {
        command.uid(user);
    }
    if let Some(group) = group {
        command.gid(group);
    }
    if let Some(kept) = privileges::capabilities(security) {
        sys::keep_capabilities(&mut command, kept);
    }
    let mut sandbox = pod.sandbox(container)?;
    sandbox.read_only = security.and_then(|s| s.read_only_root_filesystem) == Some(true);
    sandbox.mounts.push(Mount {
        at: inside,
        source: program,
        read_only: true,
    });
    sandbox.mounts.push(Mount {
        at: container
            .termination_message_path
            .as_deref()
            .unwrap_or("/dev/termination-log")
            .into(),
        source: pod.termination_log(&container.name)?,
        read_only: false,
    });
    Process::spawn_inside(sandbox, command, &pod.log(&container.name))
}

struct Running<'a> {
    pod: &'a Arc<Pod>,
    container: &'a Container,
    /// Nothing where nothing runs.
    process: Option<Process>,
    /// What answers then.
    _servers: JoinSet<()>,
    kills: watch::Receiver<u64>,
}

impl Running<'_> {
    async fn until_end(
        &mut self,
        view: &watch::Sender<View>,
        stop: &mut watch::Receiver<Option<Duration>>,
    ) -> Option<ExitStatus> {
        let (pod, container) = (Arc::clone(self.pod), self.container.clone());
        let pause = self.process.is_none();
        let grace = tokio::select! {
            status = ended(self.process.as_mut()) => return status,
            grace = stop.wait_for(Option::is_some) => grace.ok().and_then(|grace| *grace),
            // The pod keeps the other end.
            _ = self.kills.changed() => Some(Duration::ZERO),
            () = readiness(&pod, &container, pause, view) => unreachable!("it never ends"),
            // Like a stop, but the container's restart policy still holds.
            () = until_dead(&pod, &container, pause) => Some(pod.grace()),
        };
        self.terminate(grace.unwrap_or_default()).await
    }

    /// SIGTERM, and SIGKILL when the time is over.
    async fn terminate(&mut self, grace: Duration) -> Option<ExitStatus> {
        let process = self.process.as_mut()?;
        if !grace.is_zero()
            && let Ok(status) = process.terminate(grace).await
        {
            return Some(status);
        }
        process.kill();
        process.try_wait().ok().flatten()
    }
}

async fn ended(process: Option<&mut Process>) -> Option<ExitStatus> {
    let Some(process) = process else {
        return std::future::pending().await;
    };
    loop {
        match process.try_wait() {
            Ok(None) => sleep(TICK).await,
            Ok(status) => return status,
            Err(_) => return None,
        }
    }
}

/// Keeps `ready` true to the readiness probe.
async fn readiness(pod: &Arc<Pod>, container: &Container, pause: bool, view: &watch::Sender<View>) {
    let probe = container.readiness_probe.as_ref().filter(|_| !pause);
    let Some(probe) = probe else {
        if pause {
            view.send_modify(|view| view.ready = true);
        }
        return std::future::pending().await;
    };
    let mut tally = Tally::default();
    loop {
        let success = check(pod, container, probe).await.is_ok();
        if let Some(verdict) = tally.add(success, probe) {
            view.send_if_modified(|view| std::mem::replace(&mut view.ready, verdict) != verdict);
        }
        let ready = view.borrow().ready;
        sleep(if ready {
            period(probe)
        } else {
            FIRST_PROBES.min(period(probe))
        })
        .await;
    }
}

/// Ends when the liveness probe has failed often enough.
async fn until_dead(pod: &Arc<Pod>, container: &Container, pause: bool) {
    let probe = container.liveness_probe.as_ref().filter(|_| !pause);
    let Some(probe) = probe else {
        return std::future::pending().await;
    };
    let delay = u64::try_from(probe.initial_delay_seconds.unwrap_or(0)).unwrap_or(0);
    sleep(Duration::from_secs(delay)).await;
    let mut tally = Tally::default();
    loop {
        // At the end of a period: a program that has just been started may not listen yet.
        sleep(period(probe)).await;
        let success = check(pod, container, probe).await.is_ok();
        if tally.add(success, probe) == Some(false) {
            return;
        }
    }
}

fn period(probe: &Probe) -> Duration {
    Duration::from_secs(u64::try_from(probe.period_seconds.unwrap_or(10)).unwrap_or(10))
}

async fn check(pod: &Arc<Pod>, container: &Container, probe: &Probe) -> Result<()> {
    let Some(exec) = &probe.exec else {
        return probe::check(pod.node_netns(), pod.ip(), container, probe).await;
    };
    let words = exec.command.clone().unwrap_or_default();
    let output = pod.exec(&words, Duration::from_secs(10)).await?;
    if !output.status.success() {
        bail!("{}", output.status);
    }
    Ok(())
}

/// As a shell has it: a signal counts from 128.
fn code(status: Option<ExitStatus>) -> i32 {
    let Some(status) = status else { return 0 };
    status
        .code()
        .or_else(|| signal(Some(status)).map(|signal| 128 + signal))
        .unwrap_or(255)
}

fn signal(status: Option<ExitStatus>) -> Option<i32> {
    status.and_then(|status| status.signal())
}
