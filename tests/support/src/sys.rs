//! The system calls that the standard library does not offer. All `unsafe` of this crate is here.
#![allow(unsafe_code, reason = "system calls")]

use std::io;
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Puts the child into a process group of its own, so that a ^C in the terminal does not reach it, and has the kernel kill
/// it as soon as the thread that spawned it ends.
pub(crate) fn bind_to_parent(command: &mut Command) -> io::Result<()> {
    command.process_group(0);
    let parent = pidfd_of_self()?;
    let in_child = move || {
        // SAFETY: prctl(PR_SET_PDEATHSIG) takes plain integers and touches no memory of ours.
        let rc = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        if rc != 0 {
            return Err(io::Error::last_os_error());
        }
        // The parent may have ended before prctl: then no signal would ever come. Its id would not tell: a child with
        // process ids of its own sees none.
        let mut ended = [PollFd::new(parent.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ended, PollTimeout::ZERO)? != 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes two system calls (prctl, poll); it takes no lock and its errors are
    // built without allocation.
    unsafe { command.pre_exec(in_child) };
    Ok(())
}

/// A descriptor that becomes readable when this process ends.
fn pidfd_of_self() -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes plain integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::getpid(), 0) };
    let fd = libc::c_int::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends `signal` to the process group that `leader` leads. A group that is gone already is no error.
pub(crate) fn signal_group(leader: u32, signal: i32) -> io::Result<()> {
    let group = libc::pid_t::try_from(leader).map_err(io::Error::other)?;
    if group <= 1 {
        // To kill(2) these mean other processes.
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: kill takes plain integers and touches no memory of ours.
    let rc = unsafe { libc::kill(-group, signal) };
    match (rc, io::Error::last_os_error()) {
        (0, _) => Ok(()),
        (_, error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        (_, error) => Err(error),
    }
}

/// Has `hook` called when this process exits by `exit` or by returning from `main`. It must not panic.
pub(crate) fn at_exit(hook: extern "C" fn()) -> io::Result<()> {
    // SAFETY: `hook` is a function without parameters that lives as long as the program.
    match unsafe { libc::atexit(hook) } {
        0 => Ok(()),
        _ => Err(io::Error::other("atexit has no room for another hook")),
    }
}
