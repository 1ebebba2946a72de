//! CPU time of a process, from /proc.

use anyhow::Context;

/// User and system time of a process and all its threads, in microseconds. The kernel counts in ticks of
/// 10 ms, so measure over seconds.
pub fn micros(pid: u32) -> anyhow::Result<u64> {
    const MICROS_PER_TICK: u64 = 10_000;
    let path = format!("/proc/{pid}/stat");
    let stat =
        std::fs::read_to_string(&path).with_context(|| format!("{path}: the process has ended"))?;
    // The name in parentheses may hold spaces; utime and stime are fields 14 and 15.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or("").split(' ').collect();
    let field = |at: usize| -> anyhow::Result<u64> {
        fields
            .get(at)
            .and_then(|field| field.parse().ok())
            .with_context(|| format!("{path}: no field {at}"))
    };
    Ok((field(11)? + field(12)?) * MICROS_PER_TICK)
}
