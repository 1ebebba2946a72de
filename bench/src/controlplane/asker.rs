//! Asks a server over UDP, one question at a time, and times the replies.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result};
use domain::base::iana::{Rcode, Rtype};
use domain::base::{Message, MessageBuilder, Name};
use domain::rdata::A;

/// A reply that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(1);

/// A socket of its own to one server.
#[derive(Debug)]
pub struct Asker {
    socket: UdpSocket,
    id: u16,
}

/// The A records of a name, ready to be asked for.
#[derive(Clone, Debug)]
pub struct Question(Vec<u8>);

impl Question {
    pub fn new(name: &str) -> Result<Self> {
        let name: Name<Vec<u8>> = name.parse().with_context(|| name.to_owned())?;
        let mut query = MessageBuilder::new_vec().question();
        query.push((&name, Rtype::A))?;
        Ok(Self(query.finish()))
    }
}

impl Asker {
    pub fn new(server: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket, id: 0 })
    }

    /// The addresses in the answer; `None` if there is no reply, or one with an error code.
    pub fn ask(&mut self, question: &Question) -> Result<Option<Vec<Ipv4Addr>>> {
        self.id = self.id.wrapping_add(1);
        let mut query = question.0.clone();
        query[..2].copy_from_slice(&self.id.to_be_bytes());
        let reply = self.socket.send(&query).and_then(|_| self.receive());
        match reply {
            Ok(reply) => addresses(&reply),
            Err(error) if is_silence(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn receive(&self) -> io::Result<Vec<u8>> {
        let mut octets = [0; 1232];
        loop {
            let len = self.socket.recv(&mut octets)?;
            // Another id is the late reply to a question that was given up.
            if octets[..len].starts_with(&self.id.to_be_bytes()) {
                return Ok(octets[..len].to_vec());
            }
        }
    }
}

/// Nobody listens yet, or nobody answers in time.
fn is_silence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::WouldBlock | ErrorKind::TimedOut
    )
}

fn addresses(reply: &[u8]) -> Result<Option<Vec<Ipv4Addr>>> {
    let reply = Message::from_octets(reply)?;
    if reply.header().rcode() != Rcode::NOERROR {
        return Ok(None);
    }
    let mut addresses = Vec::new();
    for record in reply.answer()?.limit_to::<A>() {
        addresses.push(record?.data().addr());
    }
    Ok(Some(addresses))
}
