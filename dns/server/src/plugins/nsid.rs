//! `nsid [DATA]`: the identifier of RFC 5001.

use super::{BlockSettings, Directive, args};
use crate::corefile::{Error, Problem, Stanza};

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
        check(&data).map_err(|problem| problem.at(&stanza.name.place))?;
        block
            .nsid
            .set(data, &stanza.name.place, "nsid", "a server block")
    }
}

/// The identifier goes into replies of 512 octets too, beside the question and other options.
pub(crate) fn check(data: &str) -> Result<(), Problem> {
    if (1..=128).contains(&data.len()) {
        return Ok(());
    }
    Err(Problem::Value {
        value: data.chars().take(40).collect(),
        want: "an identifier of 1 to 128 octets",
    })
}
