//! The floor: a UDP server that only turns a query into a reply (QR set), with the system calls of a worker of
//! lighthouse-dns: blocking `recvmmsg(MSG_WAITFORONE)` and `sendmmsg`, 32 datagrams at most.
//!
//! `udp-echo ADDR:PORT [SIZE]`; with a size, shorter replies are filled up to it. Ends with
//! its parent's signal.
#![allow(unsafe_code)]

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::ptr::null_mut;

use anyhow::{Context, ensure};

const BATCH: usize = 32;
const SIZE: usize = 4096;

fn main() -> anyhow::Result<()> {
    let usage = "usage: udp-echo ADDR:PORT [SIZE]";
    let mut args = std::env::args().skip(1);
    let addr = args.next().context(usage)?;
    let least: usize = args
        .next()
        .map_or(Ok(0), |size| size.parse())
        .context(usage)?;
    ensure!(least <= SIZE, "replies have at most {SIZE} octets");
    let socket = UdpSocket::bind(&addr).with_context(|| format!("cannot listen on {addr}"))?;
    socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20)?;
    let mut buffers = vec![[0_u8; SIZE]; BATCH];
    // SAFETY: both are plain data for which zero is a value.
    let mut peers: Vec<libc::sockaddr_storage> = vec![unsafe { std::mem::zeroed() }; BATCH];
    let mut vectors: Vec<libc::iovec> = buffers
        .iter_mut()
        .map(|buffer| libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: SIZE,
        })
        .collect();
    let mut headers: Vec<libc::mmsghdr> = vectors
        .iter_mut()
        .zip(&mut peers)
        .map(|(vector, peer)| {
            // SAFETY: plain data, as above.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            header.msg_hdr.msg_name = std::ptr::from_mut(peer).cast();
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header
        })
        .collect();
    loop {
        for (header, vector) in headers.iter_mut().zip(&mut vectors) {
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            vector.iov_len = SIZE;
        }
        // SAFETY: the headers point to buffers, addresses and vectors that outlive the loop.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_WAITFORONE,
                null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| std::io::Error::last_os_error())?;
        for i in 0..received {
            vectors[i].iov_len = least.max(headers[i].msg_len as usize);
            buffers[i][2] |= 0x80;
        }
        let mut sent = 0;
        while sent < received {
            // SAFETY: as above; `sent..received` are headers that recvmmsg has filled.
            let done = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    headers[sent..].as_mut_ptr(),
                    (received - sent) as u32,
                    0,
                )
            };
            // What the kernel does not take is dropped, as in the server.
            sent += usize::try_from(done).unwrap_or(1).max(1);
        }
    }
}
