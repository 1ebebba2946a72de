//! `bufsize [SIZE]`: the largest UDP reply.

use subm_dns_core::authority::DEFAULT_UDP_LIMIT;

use super::{BlockSettings, Directive, args};
use crate::corefile::{Error, Problem, Stanza};

pub(super) struct BufSize;

impl Directive for BufSize {
    fn name(&self) -> &'static str {
        "bufsize"
    }

    fn setup(&self, stanza: &Stanza, block: &mut BlockSettings<'_>) -> Result<(), Error> {
        args::count(stanza, ..=1, "bufsize [SIZE]")?;
        args::no_properties(stanza)?;
        let mut size = DEFAULT_UDP_LIMIT;
        if let Some(token) = stanza.args.first() {
            let in_range = token
                .text
                .parse()
                .ok()
                .filter(|size| (512..=4096).contains(size));
            let problem = || Problem::Range {
                what: "bufsize",
                want: "512 to 4096 octets",
                value: token.text.clone(),
            };
            size = in_range.ok_or_else(|| problem().at(&token.place))?;
        }
        block
            .udp_limit
            .set(size, &stanza.name.place, "bufsize", "a server block")
    }
}
