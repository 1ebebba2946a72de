//! `nsid [DATA]`: the identifier of RFC 5001.

use super::{BlockSettings, Directive, args};
use crate::corefile::{Error, Stanza};

pub(super) struct NsId;

impl Directive for NsId {
    fn name(&self) -> &'static str {
        "nsid"
    }

    fn setup(&self, stanza: &Stanza, block: &mut BlockSettings<'_>) -> Result<(), Error> {
        args::no_properties(stanza)?;
        let words: Vec<&str> = stanza.args.iter().map(|token| &*token.text).collect();
        let data = if words.is_empty() {
            block.host.name.clone()
        } else {
            words.join(" ")
        };
        block.nsid.set(
            data.into_bytes(),
            &stanza.name.place,
            "nsid",
            "a server block",
        )
    }
}
