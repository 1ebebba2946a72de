//! The system calls that the standard library does not offer.
#![allow(unsafe_code, reason = "system calls")]

use std::io;
use std::time::Duration;

/// CPU time, user and system, that a process has used, with that of its threads that have ended. Unlike
/// `/proc/PID/stat` this clock does not round to ticks of 10 ms.
pub(crate) fn cpu_time(process: u32) -> io::Result<Duration> {
    let process = libc::pid_t::try_from(process).map_err(io::Error::other)?;
    let mut clock: libc::clockid_t = 0;
    // SAFETY: the call writes one clock id to where the pointer leads.
    let error = unsafe { libc::clock_getcpuclockid(process, &raw mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes one timespec to where the pointer leads.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let seconds = u64::try_from(time.tv_sec).map_err(io::Error::other)?;
    let nanos = u32::try_from(time.tv_nsec).map_err(io::Error::other)?;
    Ok(Duration::new(seconds, nanos))
}

/// Has the calling thread run on one core only.
pub(crate) fn pin_thread(core: usize) -> io::Result<()> {
    if core >= libc::CPU_SETSIZE as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: a set is an array of integers, for which zero is a value; the core is within it, as checked above.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        set
    };
    // SAFETY: the call reads a set of the size that is given; 0 is the calling thread.
    if unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
