//! CPU time of a server with all its threads and processes, to the nanosecond.

use std::fs;
use std::path::Path;

use anyhow::Context;

/// User and system time of `pid` and what it has forked, in microseconds. Threads and processes that have ended do not
/// count: between two readings none of a server's workers may end.
pub fn micros(pid: u32) -> anyhow::Result<f64> {
    nanos(pid).map(|nanos| nanos as f64 / 1000.0)
}

fn nanos(pid: u32) -> anyhow::Result<u64> {
    let tasks = format!("/proc/{pid}/task");
    let tasks = fs::read_dir(&tasks).with_context(|| format!("{tasks}: the process has ended"))?;
    let mut sum = 0;
    for task in tasks {
        let task = task?.path();
        sum += on_cpu(&task.join("schedstat"))?;
        let children = task.join("children");
        let children = fs::read_to_string(&children)
            .with_context(|| format!("{}: the kernel must list children", children.display()))?;
        for child in children.split_whitespace() {
            sum += nanos(child.parse()?)?;
        }
    }
    Ok(sum)
}

/// The first field of schedstat: nanoseconds on a CPU.
fn on_cpu(path: &Path) -> anyhow::Result<u64> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let first = text.split_whitespace().next();
    first
        .and_then(|nanos| nanos.parse().ok())
        .with_context(|| format!("{}: {text:?} starts with no number", path.display()))
}
