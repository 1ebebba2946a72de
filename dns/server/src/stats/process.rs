//! What `/proc` says about this process, under the names of Prometheus' client libraries.

use std::fs;

/// Ticks per second in `/proc/<pid>/stat`: the kernel's `USER_HZ`, 100 on every architecture that we build for.
const TICKS: f64 = 100.0;

/// Name, help, whether it is a counter, and value.
pub(super) fn read() -> Vec<(&'static str, &'static str, bool, f64)> {
    let mut out = Vec::new();
    if let Ok(stat) = fs::read_to_string("/proc/self/stat") {
        // The command's name, in parentheses, may hold spaces; field 3 follows it.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map_or("", |(_, rest)| rest)
            .split_whitespace()
            .collect();
        let field = |n: usize| fields.get(n - 3).and_then(|text| text.parse::<f64>().ok());
        if let (Some(user), Some(system)) = (field(14), field(15)) {
            let seconds = (user + system) / TICKS;
            out.push((
                "process_cpu_seconds_total",
                "Total user and system CPU time spent in seconds.",
                true,
                seconds,
            ));
        }
        if let (Some(since_boot), Some(boot)) = (field(22), boot_time()) {
            let at = boot + since_boot / TICKS;
            out.push((
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds.",
                false,
                at,
            ));
        }
    }
    if let Some(kib) = resident_kib() {
        out.push((
            "process_resident_memory_bytes",
            "Resident memory size in bytes.",
            false,
            kib * 1024.0,
        ));
    }
    if let Ok(dir) = fs::read_dir("/proc/self/fd") {
        out.push((
            "process_open_fds",
            "Number of open file descriptors.",
            false,
            dir.count() as f64,
        ));
    }
    out
}

fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()
}

fn resident_kib() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}
