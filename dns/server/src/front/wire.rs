//! The little that transports need to read in a message: TTLs, and options of EDNS.

const OPT: u16 = 41;
/// edns-tcp-keepalive (RFC 7828).
const KEEPALIVE: u16 = 11;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    /// 0: Answer, 1: Authority, 2: Additional.
    pub(crate) section: u8,
    pub(crate) rtype: u16,
    pub(crate) class: u16,
    pub(crate) ttl: u32,
    pub(crate) data: &'a [u8],
}

/// The records of a message, up to where it breaks off.
pub(crate) fn records(message: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let count = |at: usize| usize::from(u16_at(message, at).unwrap_or(0));
    let mut at = (0..count(4)).try_fold(12, |at, _| Some(skip_name(message, at)? + 4));
    let sections = [(0_u8, count(6)), (1, count(8)), (2, count(10))];
    sections
        .into_iter()
        .flat_map(|(section, count)| (0..count).map(move |_| section))
        .map_while(move |section| {
            let fixed = skip_name(message, at?)?;
            let len = usize::from(u16_at(message, fixed + 8)?);
            let data = message.get(fixed + 10..fixed + 10 + len)?;
            at = Some(fixed + 10 + len);
            let ttl = u32::from(u16_at(message, fixed + 4)?) << 16
                | u32::from(u16_at(message, fixed + 6)?);
            Some(Record {
                section,
                rtype: u16_at(message, fixed)?,
                class: u16_at(message, fixed + 2)?,
                ttl,
                data,
            })
        })
}

/// How long a reply may be kept: the least TTL of its answers, else of the SOA that tells there are none.
pub(crate) fn lifetime(reply: &[u8]) -> Option<u32> {
    let least = |section| {
        records(reply)
            .filter(|r| r.section == section)
            .map(|r| r.ttl)
            .min()
    };
    least(0).or_else(|| least(1))
}

/// UDP size and DO of the message's OPT record.
pub(crate) fn edns(message: &[u8]) -> Option<(u16, bool)> {
    let opt = records(message).find(|r| r.section == 2 && r.rtype == OPT)?;
    Some((opt.class, opt.ttl & 0x8000 != 0))
}

/// Whether the message has an option that only TCP may have.
pub(crate) fn has_keepalive(message: &[u8]) -> bool {
    let Some(opt) = records(message).find(|r| r.section == 2 && r.rtype == OPT) else {
        return false;
    };
    let mut at = 0;
    while let (Some(code), Some(len)) = (u16_at(opt.data, at), u16_at(opt.data, at + 2)) {
        if code == KEEPALIVE {
            return true;
        }
        at += 4 + usize::from(len);
    }
    false
}

/// Question name in wire form, type and class.
pub(crate) fn question(message: &[u8]) -> Option<(&[u8], u16, u16)> {
    let end = skip_name(message, 12)?;
    Some((
        &message[12..end],
        u16_at(message, end)?,
        u16_at(message, end + 2)?,
    ))
}

fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            len @ 1..=63 => at += 1 + usize::from(len),
            0xc0.. => return Some(at + 2),
            _ => return None,
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..at + 2)
        .map(|b| u16::from_be_bytes([b[0], b[1]]))
}
