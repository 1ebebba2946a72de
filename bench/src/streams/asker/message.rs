//! Queries and replies as octets.

use anyhow::ensure;

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
