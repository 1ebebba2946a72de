//! Writes a reply into a buffer of fixed size, never beyond the limit.

use crate::message::{HEADER, class};

/// A pointer to the name in the question, which every reply copies.
const QUESTION_NAME: [u8; 2] = [0xc0, HEADER as u8];
/// Offsets from here on do not fit into a compression pointer (RFC 1035 section 4.1.4).
const POINTER_END: usize = 0x4000;

/// Octets of an address record in front of its RDATA: a pointer, type, class, TTL, RDLENGTH.
pub(crate) const ADDRESS_HEAD: usize = 12;

pub(crate) struct Writer<'o> {
    out: &'o mut [u8],
    len: usize,
    /// Octets that answers may fill; EDNS has its place behind.
    limit: usize,
    /// Records per section, answers first.
    counts: [u16; 3],
}

#[derive(Clone, Copy)]
pub(crate) enum Section {
    Answer,
    Authority,
    Additional,
}

impl<'o> Writer<'o> {
    /// Starts with `message`, the header and question of the query, and no records.
    pub(crate) fn new(out: &'o mut [u8], message: &[u8], limit: usize) -> Self {
        out[..message.len()].copy_from_slice(message);
        let limit = limit.min(out.len());
        Self {
            out,
            len: message.len(),
            limit,
            counts: [0; 3],
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

    /// Completes the header.
    pub(crate) fn finish(&mut self, flags: [u8; 2]) {
        self.out[2..4].copy_from_slice(&flags);
        for (at, count) in self.out[6..HEADER].chunks_exact_mut(2).zip(self.counts) {
            at.copy_from_slice(&count.to_be_bytes());
        }
    }

    pub(crate) fn add_count(&mut self, section: Section, count: usize) {
        self.counts[section as usize] += count as u16;
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

    /// As many whole address records as fit, owner `owner`, RDATA in pieces of `WIDTH` octets. Gives the
    /// number written.
    pub(crate) fn put_addresses<const WIDTH: usize>(
        &mut self,
        owner: [u8; 2],
        rtype: u16,
        ttl: u32,
        rdata: &[u8],
    ) -> usize {
        let size = ADDRESS_HEAD + WIDTH;
        let mut head = [0; ADDRESS_HEAD];
        head[..2].copy_from_slice(&owner);
        head[2..].copy_from_slice(&fixed(rtype, ttl, WIDTH));
        let count = (rdata.len() / WIDTH).min(self.room() / size);
        let records = &mut self.out[self.len..self.len + count * size];
        for (record, address) in records
            .chunks_exact_mut(size)
            .zip(rdata.chunks_exact(WIDTH))
        {
            record[..ADDRESS_HEAD].copy_from_slice(&head);
            record[ADDRESS_HEAD..].copy_from_slice(address);
        }
        self.len += count * size;
        count
    }

    /// Overwrites two octets that were written before.
    pub(crate) fn patch(&mut self, at: usize, bytes: [u8; 2]) {
        self.out[at..at + 2].copy_from_slice(&bytes);
    }

    pub(crate) fn question_owner() -> [u8; 2] {
        QUESTION_NAME
    }
}

/// Type, class IN, TTL and RDLENGTH.
pub(crate) fn fixed(rtype: u16, ttl: u32, rdlen: usize) -> [u8; 10] {
    let mut fixed = [0; 10];
    fixed[..2].copy_from_slice(&rtype.to_be_bytes());
    fixed[2..4].copy_from_slice(&class::IN.to_be_bytes());
    fixed[4..8].copy_from_slice(&ttl.to_be_bytes());
    fixed[8..].copy_from_slice(&(rdlen as u16).to_be_bytes());
    fixed
}
