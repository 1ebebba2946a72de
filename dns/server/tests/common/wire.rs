//! Messages over TCP, and what another DNS library reads in them.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use anyhow::{Result, ensure};
use domain::base::iana::Rtype;
use domain::base::{Message, MessageBuilder, Name, ParsedName, ParsedRecord};
use domain::rdata::AllRecordData;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A query as octets.
pub fn query(id: u16, name: &str, rtype: Rtype) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(id);
    let mut question = builder.question();
    let name = name.parse::<Name<Vec<u8>>>().expect("a test's name");
    question.push((name, rtype)).expect("a Vec grows");
    question.finish()
}

/// With the two octets of length that TCP wants in front.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).expect("a message");
    [&length.to_be_bytes(), message].concat()
}

/// The next message of a TCP stream.
pub async fn read(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// Asks over one connection, one question after the other.
pub struct Client {
    stream: TcpStream,
    id: u16,
}

impl Client {
    pub async fn connect(server: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, id: 0 })
    }

    pub async fn ask(&mut self, name: &str, rtype: Rtype) -> Result<View> {
        self.id = self.id.wrapping_add(1);
        let message = framed(&query(self.id, name, rtype));
        self.stream.write_all(&message).await?;
        let reply = read(&mut self.stream).await?;
        View::of(self.id, &reply)
    }
}

/// What a reply says, in an order of its own; names in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub rcode: String,
    pub authoritative: bool,
    pub answer: BTreeSet<String>,
    /// The SOA that says how long a negative answer holds.
    pub soa: BTreeSet<String>,
}

impl View {
    fn of(id: u16, octets: &[u8]) -> Result<Self> {
        let message = Message::from_slice(octets)?;
        let header = message.header();
        ensure!(
            header.id() == id && header.qr() && !header.tc(),
            "{header:?}"
        );
        let authority = message.authority()?;
        Ok(Self {
            rcode: header.rcode().to_string(),
            authoritative: header.aa(),
            answer: records(message.answer()?)?,
            // Knot and NSD show the zone's NS records beside some answers.
            soa: records(authority)?
                .into_iter()
                .filter(|it| it.contains(" SOA "))
                .collect(),
        })
    }
}

fn records(section: domain::base::RecordSection<'_, [u8]>) -> Result<BTreeSet<String>> {
    section.map(|parsed| text(&parsed?)).collect()
}

fn text(record: &ParsedRecord<'_, [u8]>) -> Result<String> {
    let record = record.to_any_record::<AllRecordData<_, ParsedName<_>>>()?;
    let (owner, ttl) = (record.owner(), record.ttl().as_secs());
    Ok(
        format!("{owner} {ttl} {} {}", record.rtype(), record.data())
            .to_lowercase()
            .replacen(" soa ", " SOA ", 1),
    )
}
