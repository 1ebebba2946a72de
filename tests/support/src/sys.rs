//! The system calls that the standard library does not offer. All `unsafe` of this crate is here.
#![allow(unsafe_code, reason = "system calls")]

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};
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

/// Takes all capabilities from the child but those numbered in `kept`, for good: not even root has them again.
pub(crate) fn keep_capabilities(command: &mut Command, kept: Vec<libc::c_ulong>) {
    let in_child = move || {
        for capability in 0..=63 {
            if kept.contains(&capability) {
                continue;
            }
            // SAFETY: prctl(PR_CAPBSET_DROP) takes plain integers and touches no memory of ours.
            let rc = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                _ if rc == 0 => {}
                // Past the last one there is; or of a user who will have none anyway.
                Some(libc::EINVAL | libc::EPERM) => break,
                _ => return Err(error),
            }
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes system calls only (prctl); it takes no lock and allocates nothing.
    unsafe { command.pre_exec(in_child) };
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

/// What comes with a captured packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PacketMeta {
    pub(crate) outgoing: bool,
    /// Whether it begins with an Ethernet header, as on loopback too.
    pub(crate) ethernet: bool,
}

/// A socket that receives a copy of each packet on one link.
pub(crate) fn packet_socket(link: u32) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // Protocol 0: it receives nothing before it is bound.
    // SAFETY: socket takes plain integers and touches no memory of ours.
    let fd = unsafe { libc::socket(libc::AF_PACKET, flags, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // A burst must not be lost while this process does not run.
    let room: libc::c_int = 64 << 20;
    set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, room)?;
    let all = u16::try_from(libc::ETH_P_ALL).map_err(io::Error::other)?;
    // SAFETY: all fields of sockaddr_ll are integers, for which zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
    address.sll_protocol = all.to_be();
    address.sll_ifindex = i32::try_from(link).map_err(io::Error::other)?;
    // SAFETY: the pointer is to a live sockaddr_ll, and the length is its size.
    let rc = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of_val(&address) as libc::socklen_t,
        )
    };
    if rc != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(socket)
}

fn set_option(
    socket: &OwnedFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the pointer is to a live integer, and the length is its size.
    let rc = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The next packet of a [`packet_socket`], if there is one.
pub(crate) fn receive_packet(
    socket: &OwnedFd,
    buffer: &mut [u8],
) -> io::Result<Option<(usize, PacketMeta)>> {
    // SAFETY: all fields of sockaddr_ll are integers, for which zero is a value.
    let mut from: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    let mut from_length = size_of_val(&from) as libc::socklen_t;
    // SAFETY: buffer and address are live and as long as said; the kernel writes no more than that.
    let read = unsafe {
        libc::recvfrom(
            socket.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            0,
            (&raw mut from).cast(),
            &raw mut from_length,
        )
    };
    let Ok(read) = usize::try_from(read) else {
        let error = io::Error::last_os_error();
        return match error.kind() {
            io::ErrorKind::WouldBlock => Ok(None),
            _ => Err(error),
        };
    };
    let ethernet = [libc::ARPHRD_ETHER, libc::ARPHRD_LOOPBACK].contains(&from.sll_hatype);
    let meta = PacketMeta {
        outgoing: from.sll_pkttype == libc::PACKET_OUTGOING,
        ethernet,
    };
    Ok(Some((read, meta)))
}

/// How many packets a [`packet_socket`] had no room for since this was asked last.
pub(crate) fn packets_lost(socket: &OwnedFd) -> io::Result<u32> {
    // struct tpacket_stats: packets, drops.
    let mut stats = [0_u32; 2];
    let mut length = size_of_val(&stats) as libc::socklen_t;
    // SAFETY: the pointer is to live memory of the length said; the kernel writes no more than that.
    let rc = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            stats.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if rc == 0 {
        Ok(stats[1])
    } else {
        Err(io::Error::last_os_error())
    }
}
