//! `chaos [VERSION] [AUTHORS...]`: answers to `version.bind. CH TXT` and its kin.

use super::{BlockSettings, Directive, args};
use crate::corefile::{Error, Stanza};

pub(super) struct Chaos;

impl Directive for Chaos {
    fn name(&self) -> &'static str {
        "chaos"
    }

    fn setup(&self, stanza: &Stanza, block: &mut BlockSettings<'_>) -> Result<(), Error> {
        args::no_properties(stanza)?;
        let ours = || concat!("lighthouse-dns-", env!("CARGO_PKG_VERSION")).to_owned();
        let version = stanza
            .args
            .first()
            .map_or_else(ours, |token| token.text.clone());
        if stanza.args.len() > 1 {
            tracing::warn!(place = %stanza.name.place, "chaos: authors.bind is not answered; authors have no effect");
        }
        block.version.set(
            truncated(version),
            &stanza.name.place,
            "version",
            "a server block",
        )
    }
}

/// A TXT string holds 255 octets.
fn truncated(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(255));
    text
}
