//! Writes a reply into a buffer of fixed size, never beyond the limit.

use crate::message::{HEADER, class};

/// A pointer to the name in the question, which every reply copies.
const QUESTION_NAME: [u8; 2] = [0xc0, HEADER as u8];
/// Offsets from here on do not fit into a compression pointer (RFC 1035 section 4.1.4).
const POINTER_END: usize = 0x4000;

pub(crate) struct Writer<'o> {
    out: &'o mut [u8],
    len: usize,
    /// Octets that answers may fill; EDNS has its place behind.
    limit: usize,
}

#[derive(Clone, Copy)]
pub(crate) enum Section {
    Answer = 6,
    Authority = 8,
    Additional = 10,
}

impl<'o> Writer<'o> {
    /// Starts with `message`, the header and question of the query, and no records.
    pub(crate) fn new(out: &'o mut [u8], message: &[u8], limit: usize) -> Self {
        out[..message.len()].copy_from_slice(message);
        out[6..HEADER].fill(0);
        let limit = limit.min(out.len());
        Self {
            out,
            len: message.len(),
            limit,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn room(&self) -> usize {
        self.limit.saturating_sub(self.len)
    }

    /// Admits `more` octets behind the limit of answers.
    pub(crate) fn extend_limit(&mut self, more: usize) {
        self.limit = (self.limit + more).min(self.out.len());
    }

    pub(crate) fn set_flags(&mut self, flags: [u8; 2]) {
        self.out[2..4].copy_from_slice(&flags);
    }

    pub(crate) fn set_truncated(&mut self) {
        self.out[2] |= 0x02;
    }

    pub(crate) fn add_count(&mut self, section: Section, count: usize) {
        let at = section as usize;
        let count = u16::from_be_bytes([self.out[at], self.out[at + 1]]) + count as u16;
        self.out[at..at + 2].copy_from_slice(&count.to_be_bytes());
    }

    /// Appends; the caller has made sure of the room.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.out[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Type, class IN, TTL and RDLENGTH.
    pub(crate) fn put_fixed(&mut self, rtype: u16, ttl: u32, rdlen: usize) {
        self.put(&fixed(rtype, ttl, rdlen));
    }

    pub(crate) fn put_question_name(&mut self) {
        self.put(&QUESTION_NAME);
    }

    /// A pointer to `offset`; `None` where no pointer reaches.
    pub(crate) fn pointer(offset: usize) -> Option<[u8; 2]> {
        (offset < POINTER_END).then(|| (0xc000 | offset as u16).to_be_bytes())
    }

    /// As many whole address records as fit, owner `owner`, RDATA in pieces of `width` octets. Gives the
    /// number written.
    pub(crate) fn put_addresses(
        &mut self,
        owner: [u8; 2],
        rtype: u16,
        ttl: u32,
        width: usize,
        rdata: &[u8],
    ) -> usize {
        let mut head = [0; 12];
        head[..2].copy_from_slice(&owner);
        head[2..].copy_from_slice(&fixed(rtype, ttl, width));
        let mut written = 0;
        for address in rdata
            .chunks_exact(width)
            .take(self.room() / (head.len() + width))
        {
            self.put(&head);
            self.put(address);
            written += 1;
        }
        written
    }

    /// Overwrites two octets that were written before.
    pub(crate) fn patch(&mut self, at: usize, bytes: [u8; 2]) {
        self.out[at..at + 2].copy_from_slice(&bytes);
    }

    pub(crate) fn question_owner() -> [u8; 2] {
        QUESTION_NAME
    }
}

fn fixed(rtype: u16, ttl: u32, rdlen: usize) -> [u8; 10] {
    let mut fixed = [0; 10];
    fixed[..2].copy_from_slice(&rtype.to_be_bytes());
    fixed[2..4].copy_from_slice(&class::IN.to_be_bytes());
    fixed[4..8].copy_from_slice(&ttl.to_be_bytes());
    fixed[8..].copy_from_slice(&(rdlen as u16).to_be_bytes());
    fixed
}
