//! `recvmmsg` and `sendmmsg` over buffers that are allocated once. The only module with `unsafe`.
#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull, addr_of_mut};

/// Datagrams per system call. More gains little, and delays the first reply of a batch.
pub(crate) const BATCH: usize = 32;
/// Room for a query. A longer one is cut, which `respond()` sees as malformed.
const QUERY: usize = 4096 + SPREAD;
/// Room for a reply: the largest `udp_limit`.
const REPLY: usize = 4096 + SPREAD;
/// A cache line more than a page: buffers at one distance of a page would all compete for the same few lines of the
/// first cache, whose place is chosen by an address's last twelve bits.
const SPREAD: usize = 64;
/// Room for one packet-info message of either family.
const CONTROL: usize = 64;

#[repr(C, align(8))]
struct Control([u8; CONTROL]);

struct Slots {
    query: [[u8; QUERY]; BATCH],
    reply: [[u8; REPLY]; BATCH],
    peer: [libc::sockaddr_storage; BATCH],
    control: [Control; BATCH],
    query_vec: [libc::iovec; BATCH],
    reply_vec: [libc::iovec; BATCH],
    received: [libc::mmsghdr; BATCH],
    replies: [libc::mmsghdr; BATCH],
}

/// Buffers of one worker. The headers point into the same allocation, which is only ever reached through `slots`.
pub(crate) struct Batch {
    slots: NonNull<Slots>,
    /// Headers of `received` that the last call wrote to.
    used: usize,
    queued: usize,
}

// SAFETY: `Batch` owns the allocation behind `slots` alone, as a `Box` would.
unsafe impl Send for Batch {}

/// What became of the replies of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) sent: usize,
    /// The kernel had no room, or no way to the client.
    pub(crate) dropped: usize,
}

impl Batch {
    pub(crate) fn new() -> Self {
        // SAFETY: every field is an integer, a pointer or an array of such, for which zero is a value.
        let slots = unsafe { Box::<Slots>::new_zeroed().assume_init() };
        let slots = NonNull::from(Box::leak(slots));
        let s = slots.as_ptr();
        for i in 0..BATCH {
            // SAFETY: `i` is within each array, `s` is valid and nothing else refers to it. The pointers that are
            // stored stay valid for the life of the allocation, which does not move.
            unsafe {
                (*s).query_vec[i] = libc::iovec {
                    iov_base: addr_of_mut!((*s).query[i]).cast(),
                    iov_len: QUERY,
                };
                (*s).reply_vec[i] = libc::iovec {
                    iov_base: addr_of_mut!((*s).reply[i]).cast(),
                    iov_len: 0,
                };
                let header = addr_of_mut!((*s).received[i].msg_hdr);
                (*header).msg_name = addr_of_mut!((*s).peer[i]).cast();
                (*header).msg_iov = addr_of_mut!((*s).query_vec[i]);
                (*header).msg_iovlen = 1;
                (*header).msg_control = addr_of_mut!((*s).control[i]).cast();
            }
        }
        Self {
            slots,
            used: BATCH,
            queued: 0,
        }
    }

    /// Waits for one datagram, and takes those that are there already. 0: the socket's time limit passed.
    pub(crate) fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let s = self.slots.as_ptr();
        for i in 0..self.used {
            // SAFETY: `i < BATCH`; the kernel overwrote these lengths in the last call.
            unsafe {
                let header = addr_of_mut!((*s).received[i].msg_hdr);
                (*header).msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
                (*header).msg_controllen = CONTROL as _;
                (*header).msg_flags = 0;
            }
        }
        self.queued = 0;
        // SAFETY: `received` has BATCH headers, each pointing to buffers of the lengths it states.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                addr_of_mut!((*s).received).cast(),
                BATCH as libc::c_uint,
                libc::MSG_WAITFORONE as _,
                ptr::null_mut(),
            )
        };
        let Ok(count) = usize::try_from(count) else {
            self.used = 0;
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
                _ => Err(error),
            };
        };
        self.used = count;
        Ok(self.used)
    }

    /// The sender of datagram `i`; IPv4 clients of a dual-stack socket in their IPv4 form.
    pub(crate) fn client(&self, i: usize) -> Option<SocketAddr> {
        assert!(i < self.used);
        // SAFETY: `i` is within the array, and the kernel wrote the address.
        sockaddr(unsafe { &(*self.slots.as_ptr()).peer[i] })
    }

    /// Datagram `i`.
    pub(crate) fn query(&self, i: usize) -> &[u8] {
        assert!(i < self.used);
        let s = self.slots.as_ptr();
        // SAFETY: `i` is within both arrays, and the kernel wrote as much as the header says.
        unsafe {
            let len = ((*s).received[i].msg_len as usize).min(QUERY);
            &(&(*s).query)[i][..len]
        }
    }

    /// Datagram `i` and the room for its reply.
    pub(crate) fn exchange(&mut self, i: usize) -> (&[u8], &mut [u8]) {
        assert!(i < self.used);
        let s = self.slots.as_ptr();
        // SAFETY: `i` is within both arrays, which are distinct; the borrow of `self` keeps others away.
        unsafe {
            let len = ((*s).received[i].msg_len as usize).min(QUERY);
            (&(&(*s).query)[i][..len], &mut (&mut (*s).reply)[i][..])
        }
    }

    /// Puts the first `len` octets of reply `i` into the queue. It leaves from the address that was asked.
    pub(crate) fn queue(&mut self, i: usize, len: usize) {
        assert!(i < self.used && self.queued < BATCH && len <= REPLY);
        let s = self.slots.as_ptr();
        // SAFETY: indices are checked above; all pointers lead into the same allocation. `control[i]` was filled by
        // the kernel up to `msg_controllen`.
        unsafe {
            let asked = addr_of_mut!((*s).received[i].msg_hdr);
            route_back(asked);
            (*s).reply_vec[i].iov_len = len;
            let header = addr_of_mut!((*s).replies[self.queued].msg_hdr);
            (*header).msg_name = (*asked).msg_name;
            (*header).msg_namelen = (*asked).msg_namelen;
            (*header).msg_iov = addr_of_mut!((*s).reply_vec[i]);
            (*header).msg_iovlen = 1;
            (*header).msg_control = (*asked).msg_control;
            (*header).msg_controllen = (*asked).msg_controllen;
            (*header).msg_flags = 0;
        }
        self.queued += 1;
    }

    /// Sends what is queued, without waiting for room.
    pub(crate) fn send(&mut self, socket: &UdpSocket) -> Sent {
        let s = self.slots.as_ptr();
        let mut sent = Sent::default();
        let mut next = 0;
        while next < self.queued {
            // SAFETY: headers `next..queued` were filled by `queue()` and point to live buffers.
            let count = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    addr_of_mut!((*s).replies).cast::<libc::mmsghdr>().add(next),
                    (self.queued - next) as libc::c_uint,
                    libc::MSG_DONTWAIT as _,
                )
            };
            if let Ok(count @ 1..) = usize::try_from(count) {
                sent.sent += count;
                next += count;
                continue;
            }
            match io::Error::last_os_error().raw_os_error() {
                Some(libc::EINTR) => {}
                // No room: the rest would meet the same.
                Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => {
                    sent.dropped += self.queued - next;
                    break;
                }
                // This client cannot be reached; the next one may.
                _ => {
                    sent.dropped += 1;
                    next += 1;
                }
            }
        }
        self.queued = 0;
        sent
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // SAFETY: the allocation came from a `Box` and is freed once.
        drop(unsafe { Box::from_raw(self.slots.as_ptr()) });
    }
}

/// Turns the packet info of a query into that of its reply: same address, but the interface is left to routing.
///
/// # Safety
/// `header` and the control buffer that it points to are valid up to `msg_controllen`.
#[expect(clippy::cast_ptr_alignment, reason = "read and written unaligned")]
unsafe fn route_back(header: *mut libc::msghdr) {
    // SAFETY: the caller vouches for the header, and reads and writes below need no alignment; CMSG_FIRSTHDR checks the length, and the kernel writes whole
    // messages of the types below.
    unsafe {
        let control = libc::CMSG_FIRSTHDR(header);
        if control.is_null() {
            return;
        }
        match ((*control).cmsg_level, (*control).cmsg_type) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                let data = libc::CMSG_DATA(control).cast::<libc::in_pktinfo>();
                let mut info = data.read_unaligned();
                info.ipi_ifindex = 0;
                info.ipi_spec_dst = info.ipi_addr;
                data.write_unaligned(info);
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let data = libc::CMSG_DATA(control).cast::<libc::in6_pktinfo>();
                let mut info = data.read_unaligned();
                info.ipi6_ifindex = 0;
                data.write_unaligned(info);
            }
            _ => (*header).msg_controllen = 0,
        }
    }
}

fn sockaddr(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that this is a `sockaddr_in`, which is smaller than the storage.
            let addr = unsafe { &*ptr::from_ref(storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(addr.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(addr.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above, for `sockaddr_in6`.
            let addr = unsafe { &*ptr::from_ref(storage).cast::<libc::sockaddr_in6>() };
            let (ip, port) = (
                Ipv6Addr::from(addr.sin6_addr.s6_addr),
                u16::from_be(addr.sin6_port),
            );
            Some(match ip.to_canonical() {
                IpAddr::V4(ip) => SocketAddrV4::new(ip, port).into(),
                IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, addr.sin6_scope_id).into(),
            })
        }
        _ => None,
    }
}

/// Asks the kernel to say to which address a datagram was sent.
pub(crate) fn want_packet_info(socket: &socket2::Socket, v6: bool) -> io::Result<()> {
    let (level, option) = if v6 {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
    } else {
        (libc::IPPROTO_IP, libc::IP_PKTINFO)
    };
    let on: libc::c_int = 1;
    // SAFETY: the option takes an int, whose address and size are given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            ptr::from_ref(&on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Datagrams that the kernel dropped because the socket's buffer was full.
pub(crate) fn kernel_drops(socket: &UdpSocket) -> Option<u64> {
    /// Place of the count in the kernel's `sk_meminfo` array, and its length.
    const DROPS: usize = 8;
    let mut info = [0_u32; DROPS + 1];
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` octets to the array.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    (result == 0 && len as usize == size_of_val(&info)).then(|| info[DROPS].into())
}
