//! CPU time of a server: all processes of its group, user and system, to the nanosecond.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// CPU time that the process group which `leader` leads has used. Threads that have ended count, processes that have
/// ended do not: measure between two calls while none ends.
pub fn time(leader: u32) -> anyhow::Result<Duration> {
    let processes = group(leader)?;
    ensure!(
        processes.contains(&leader),
        "process {leader} has ended; its log says why"
    );
    let mut sum = Duration::ZERO;
    for process in processes {
        sum += of_process(process).with_context(|| format!("CPU time of process {process}"))?;
    }
    Ok(sum)
}

/// Unlike `/proc/PID/stat` this clock does not round to ticks of 10 ms.
fn of_process(process: u32) -> nix::Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(process.cast_signed()))?;
    Ok(clock_gettime(clock)?.into())
}

/// Processes of a group, in no order.
fn group(leader: u32) -> anyhow::Result<Vec<u32>> {
    let mut members = Vec::new();
    for entry in fs::read_dir("/proc").context("/proc is not mounted")? {
        let entry = entry?;
        let Some(process) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // A process may end between the listing and here.
        if group_of(&entry.path()) == Some(leader) {
            members.push(process);
        }
    }
    Ok(members)
}

fn group_of(proc: &Path) -> Option<u32> {
    let stat = fs::read_to_string(proc.join("stat")).ok()?;
    // The name in parentheses may hold anything; after it come state, parent and group.
    stat.rsplit_once(") ")?.1.split(' ').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Instant;

    use subm_test_support::Process;

    use super::*;

    /// A shell that does nothing but system calls, in a child of its own.
    #[test]
    fn children_and_system_time_count() -> anyhow::Result<()> {
        let mut shell = Command::new("sh");
        shell.args(["-c", "dd if=/dev/zero of=/dev/null bs=1 & wait"]);
        let mut shell = Process::spawn(shell)?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while time(shell.id())? < Duration::from_millis(100) {
            shell.ensure_running()?;
            ensure!(Instant::now() < deadline, "no CPU time is counted");
            std::thread::yield_now();
        }
        Ok(())
    }

    #[test]
    fn a_process_that_has_ended_is_an_error() -> anyhow::Result<()> {
        let mut process = Process::spawn(Command::new("true"))?;
        let id = process.id();
        process.kill();
        assert!(time(id).is_err());
        Ok(())
    }
}
