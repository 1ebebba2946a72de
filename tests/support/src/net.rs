//! Addresses and ports on loopback.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use anyhow::{Result, bail};

/// An address in 127.64.0.0 - 127.126.255.255 that nobody else is likely to use.
///
/// With an address of its own a server can have the ports it always has: no port is looked for, so none can be lost to
/// another process between looking and binding, and ephemeral ports (on 127.0.0.1) are out of the way.
pub fn random_loopback() -> Ipv4Addr {
    Ipv4Addr::new(
        127,
        rand::random_range(64..=126),
        rand::random_range(0..=255),
        rand::random_range(1..=254),
    )
}

/// A port that is free on 127.0.0.1 for UDP and for TCP at the time of the call.
///
/// Where the server can be told an address, [`random_loopback`] is safer.
pub fn free_port() -> Result<u16> {
    for _ in 0..100 {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let addr: SocketAddr = tcp.local_addr()?;
        if UdpSocket::bind(addr).is_ok() {
            return Ok(addr.port());
        }
    }
    bail!("no port of 127.0.0.1 is free for both UDP and TCP");
}
