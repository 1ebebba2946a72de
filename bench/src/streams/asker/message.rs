//! Queries and replies as octets.

use anyhow::{Context, ensure};

/// Messages of a file in dnsperf's form; only the type A is known.
pub fn read_queries(text: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let message = |line: &str| {
        let name = line
            .strip_suffix(" A")
            .with_context(|| format!("{line:?} does not ask for A"))?;
        // Id 0, as QUIC wants it.
        let mut message = b"\0\0\x01\0\0\x01\0\0\0\0\0\0".to_vec();
        for label in name.split('.') {
            ensure!((1..64).contains(&label.len()), "{name:?} is no name");
            message.push(label.len() as u8);
            message.extend(label.as_bytes());
        }
        message.extend(b"\0\0\x01\0\x01");
        Ok(message)
    };
    text.lines().map(message).collect()
}

/// With two octets of length in front.
pub(super) fn framed(query: &[u8]) -> Vec<u8> {
    [&(query.len() as u16).to_be_bytes(), query].concat()
}

/// An error unless the reply says NOERROR.
pub(super) fn check(reply: &[u8]) -> anyhow::Result<()> {
    let code = reply.get(3).map(|octet| octet & 0x0f);
    ensure!(code == Some(0), "a reply with code {code:?}");
    Ok(())
}
