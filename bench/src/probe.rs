//! Single questions: what a server says, and how long its replies are.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use domain::base::Message;
use domain::base::iana::Rcode;
use domain::rdata::A;

/// What resolvers offer, and the servers' own limit.
const EDNS_SIZE: u16 = 1232;
const TYPE_OPT: u16 = 41;
/// What a server that has nothing else to do needs at the most for a reply.
pub const PATIENCE: Duration = Duration::from_millis(500);
const CLASS_IN: u16 = 1;

/// A query as it goes over the wire, with the id 0.
#[derive(Clone, Debug)]
pub struct Question(Vec<u8>);

impl Question {
    /// `rtype` as text: `A`.
    pub fn new(name: &str, rtype: &str, edns: bool) -> anyhow::Result<Self> {
        let rtype: u16 = match rtype {
            "A" => 1,
            "SOA" => 6,
            "TXT" => 16,
            "AAAA" => 28,
            "SRV" => 33,
            _ => bail!("no number is known here for type {rtype:?}"),
        };
        // One question, and an OPT record or not.
        let mut message = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)];
        for label in name.split('.') {
            ensure!((1..=63).contains(&label.len()), "label {label:?} of {name}");
            message.push(label.len() as u8);
            message.extend(label.as_bytes());
        }
        message.push(0);
        message.extend(rtype.to_be_bytes());
        message.extend(CLASS_IN.to_be_bytes());
        if edns {
            message.push(0);
            message.extend(TYPE_OPT.to_be_bytes());
            message.extend(EDNS_SIZE.to_be_bytes());
            // Extended code, version, flags, and no options.
            message.extend([0; 6]);
        }
        Ok(Self(message))
    }

    /// The lines of a file in dnsperf's form.
    pub fn read(queries: &str, edns: bool) -> anyhow::Result<Vec<Self>> {
        let question = |line: &str| {
            let (name, rtype) = line
                .split_once(' ')
                .with_context(|| format!("{line:?} is not NAME TYPE"))?;
            Self::new(name, rtype, edns)
        };
        queries.lines().map(question).collect()
    }

    /// The message, with the id 0.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// The message with this id.
    pub fn with_id(&mut self, id: u16) -> &[u8] {
        self.0[..2].copy_from_slice(&id.to_be_bytes());
        &self.0
    }

    /// Octets of the query.
    pub fn size(&self) -> usize {
        self.0.len()
    }
}

/// What matters of a reply here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    pub rcode: u8,
    /// Records in the answer section.
    pub answers: u16,
    pub truncated: bool,
    pub size: usize,
}

/// A socket of its own to one server, for one question at a time.
pub struct Client {
    socket: UdpSocket,
    id: u16,
}

impl Client {
    /// A reply that takes longer than `patience` is none.
    pub fn of(server: SocketAddr, patience: Duration) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(patience))?;
        Ok(Self { socket, id: 0 })
    }

    /// One try; an error without a reply.
    pub fn ask(&mut self, question: &Question) -> anyhow::Result<Reply> {
        read(&self.exchange(question).context("no reply")?)
    }

    /// The addresses (A) in the answer; `None` if there is no reply, or one with an error code.
    pub fn addresses(&mut self, question: &Question) -> anyhow::Result<Option<Vec<Ipv4Addr>>> {
        match self.exchange(question) {
            Ok(reply) => addresses(&reply),
            Err(error) if is_silence(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn exchange(&mut self, question: &Question) -> io::Result<Vec<u8>> {
        self.id = self.id.wrapping_add(1);
        self.socket.send(question.clone().with_id(self.id))?;
        let mut octets = [0; 4096];
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

fn addresses(reply: &[u8]) -> anyhow::Result<Option<Vec<Ipv4Addr>>> {
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

fn read(reply: &[u8]) -> anyhow::Result<Reply> {
    let (header, _) = reply
        .split_first_chunk::<12>()
        .context("a reply without header")?;
    ensure!(header[2] & 0x80 != 0, "a query came back");
    Ok(Reply {
        rcode: header[3] & 0x0f,
        answers: u16::from_be_bytes([header[6], header[7]]),
        truncated: header[2] & 0x02 != 0,
        size: reply.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_as_dnsperf_reads_them() -> anyhow::Result<()> {
        let mut questions = Question::read("a.b A\n_http._tcp.a.b SRV\n", false)?;
        assert_eq!(questions.len(), 2);
        assert_eq!(
            questions[0].with_id(0x0102),
            b"\x01\x02\0\0\0\x01\0\0\0\0\0\0\x01a\x01b\0\0\x01\0\x01"
        );
        let with_opt = Question::new("a.b", "A", true)?;
        assert_eq!(with_opt.size(), questions[0].size() + 11);
        assert!(Question::read("a.b", false).is_err());
        assert!(Question::read("a.b NOTYPE", false).is_err());
        Ok(())
    }

    #[test]
    fn the_header_of_a_reply_is_read() -> anyhow::Result<()> {
        let reply = read(b"\0\0\x86\x03\0\x01\0\x32\0\0\0\0...")?;
        assert_eq!((reply.rcode, reply.answers, reply.truncated), (3, 50, true));
        assert_eq!(reply.size, 15);
        assert!(read(b"\0\0\x06\0\0\x01\0\0\0\0\0\0").is_err());
        assert!(read(b"\0\0\x86").is_err());
        Ok(())
    }
}
