//! The system call that no crate at hand offers.
#![allow(unsafe_code, reason = "a system call")]

use std::io;

/// Has the calling thread run only where nobody else wants to (`SCHED_IDLE`).
pub(crate) fn be_idle() -> io::Result<()> {
    let priority = libc::sched_param { sched_priority: 0 };
    // SAFETY: the call reads one parameter; 0 is the calling thread.
    if unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const priority) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
