//! The query log: one line per query, in the form of CoreDNS's `log`.
//!
//! Whoever answers pushes an entry into a bounded queue and goes on; a thread writes. Where it cannot keep up, entries
//! are left out and counted.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use subm_dns_core::name::write_text;
use subm_dns_core::respond::{Facts, Transport};

use crate::front::wire;
use crate::stats::proto_label;

/// Entries that may wait for the writer.
const QUEUE: usize = 4096;
const HEADER: usize = 12;

/// One answered query. The octets of the query are kept as they are; the writer reads them.
#[derive(Clone, Debug)]
pub struct Entry {
    client: SocketAddr,
    transport: Transport,
    query: Vec<u8>,
    flags: [u8; 2],
    reply_len: usize,
    rcode: u16,
    took: Duration,
}

impl Entry {
    pub(crate) fn new(
        client: SocketAddr,
        transport: Transport,
        query: &[u8],
        reply: &[u8],
        facts: &Facts,
        took: Duration,
    ) -> Self {
        Self {
            client,
            transport,
            query: query.to_vec(),
            flags: reply.get(2..4).map_or([0; 2], |flags| [flags[0], flags[1]]),
            reply_len: reply.len(),
            rcode: facts.rcode,
            took,
        }
    }
}

/// Takes entries for the writer. Clones feed the same one; it ends with the last of them.
#[derive(Clone, Debug)]
pub struct QueryLogWriter {
    queue: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
}

impl QueryLogWriter {
    /// Starts a thread that writes to `out`; what did not fit is added to `dropped`.
    pub fn start(
        out: impl Write + Send + 'static,
        dropped: Arc<AtomicU64>,
    ) -> std::io::Result<Self> {
        let (queue, entries) = sync_channel(QUEUE);
        std::thread::Builder::new()
            .name("query-log".into())
            .spawn(move || write_all(&entries, out))?;
        Ok(Self { queue, dropped })
    }

    pub(crate) fn push(&self, entry: Entry) {
        if self.queue.try_send(entry).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

fn write_all(entries: &Receiver<Entry>, mut out: impl Write) {
    let mut text = String::new();
    while let Ok(first) = entries.recv() {
        text.clear();
        line(&first, &mut text);
        for entry in entries.try_iter().take(256) {
            line(&entry, &mut text);
        }
        if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            tracing::debug!(%error, "the query log cannot be written");
        }
    }
}

/// `[INFO] 127.0.0.1:40212 - 4711 "A IN name. udp 54 false 1232" NOERROR qr,aa,rd 106 0.000020s`.
fn line(entry: &Entry, out: &mut String) {
    use std::fmt::Write as _;
    let id = entry
        .query
        .get(..2)
        .map_or(0, |id| u16::from_be_bytes([id[0], id[1]]));
    let mut name = String::new();
    let (qtype, class) = match wire::question(&entry.query) {
        Some((qname, qtype, class)) if entry.query.len() > HEADER => {
            // Writing to a `String` cannot fail.
            let _ = write_text(qname, &mut name);
            (qtype, class)
        }
        _ => (0, 0),
    };
    let (size, dnssec_ok) = wire::edns(&entry.query).unwrap_or((512, false));
    let _ = writeln!(
        out,
        "[INFO] {} - {id} \"{} {} {name} {} {} {dnssec_ok} {size}\" {} {} {} {:.9}s",
        entry.client,
        type_text(qtype),
        class_text(class),
        proto_label(entry.transport),
        entry.query.len(),
        rcode_text(entry.rcode),
        flags_text(entry.flags),
        entry.reply_len,
        entry.took.as_secs_f64(),
    );
}

fn type_text(qtype: u16) -> String {
    crate::stats::type_name(qtype).map_or_else(|| format!("TYPE{qtype}"), str::to_owned)
}

fn class_text(class: u16) -> String {
    match class {
        1 => "IN".into(),
        3 => "CH".into(),
        _ => format!("CLASS{class}"),
    }
}

fn rcode_text(rcode: u16) -> String {
    crate::stats::rcode_name(rcode).map_or_else(|| format!("RCODE{rcode}"), str::to_owned)
}

fn flags_text([high, low]: [u8; 2]) -> String {
    let flags = [
        (high & 0x80, "qr"),
        (high & 0x04, "aa"),
        (high & 0x02, "tc"),
        (high & 0x01, "rd"),
        (low & 0x80, "ra"),
        (low & 0x20, "ad"),
        (low & 0x10, "cd"),
    ];
    let set: Vec<_> = flags
        .iter()
        .filter(|(bit, _)| *bit != 0)
        .map(|(_, text)| *text)
        .collect();
    set.join(",")
}

#[cfg(test)]
mod tests;
