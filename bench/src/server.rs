//! A server under test: started on a core, its CPU time read, ended with its value.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use subm_test_support::Process;

use crate::cpu;
use crate::data::ZONE;
use crate::probe::{Client, PATIENCE, Question};

/// Long enough to read the largest data set on a busy machine.
const START: Duration = Duration::from_secs(120);

/// A running server and where it answers.
pub struct Server {
    pub name: String,
    pub addr: SocketAddr,
    pub process: Process,
}

impl Server {
    /// Starts a server and waits until it answers for the zone.
    pub fn start(name: &str, addr: SocketAddr, command: Command) -> anyhow::Result<Self> {
        let mut process = Process::spawn(command)?;
        let mut client = Client::of(addr, PATIENCE)?;
        let apex = Question::new(ZONE, "SOA", false)?;
        let deadline = Instant::now() + START;
        loop {
            process.ensure_running()?;
            // Before everything is read the answer is SERVFAIL, or none.
            match client.ask(&apex) {
                Ok(reply) if reply.rcode == 0 => break,
                outcome if Instant::now() > deadline => {
                    let last = outcome.map(|reply| format!("rcode {}", reply.rcode));
                    return Err(last.map_or_else(|error| error, anyhow::Error::msg)).with_context(
                        || {
                            format!(
                                "{name} did not serve {ZONE} within {START:?}\n{}",
                                process.output().unwrap_or_default()
                            )
                        },
                    );
                }
                // Each try waits for a reply, but a refusal comes at once.
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        Ok(Self {
            name: name.to_owned(),
            addr,
            process,
        })
    }

    /// CPU time that it has used, all its processes together.
    pub fn cpu_time(&self) -> anyhow::Result<Duration> {
        cpu::time(self.process.id())
    }
}

/// `program`, to run on these cores only: `0`, or `0,1`.
pub fn on_cores(cores: &str, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", cores]).arg(program);
    command
}

/// Has the calling thread run on one core only.
pub(crate) fn pin_thread(core: usize) -> nix::Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &set)
}

/// A port of 127.0.0.1 that is free right now, for UDP and TCP.
pub fn free_addr() -> anyhow::Result<SocketAddr> {
    Ok(([127, 0, 0, 1], subm_test_support::free_port()?).into())
}
