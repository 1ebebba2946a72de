//! `ready [ADDR:PORT] { monitor until-ready|continuously }`.

use super::{BlockSettings, Directive, args};
use crate::corefile::{Error, Problem, Stanza};

pub(super) struct Ready;

impl Directive for Ready {
    fn name(&self) -> &'static str {
        "ready"
    }

    fn setup(&self, stanza: &Stanza, block: &mut BlockSettings<'_>) -> Result<(), Error> {
        args::count(stanza, ..=1, "ready [ADDR:PORT]")?;
        let place = &stanza.name.place;
        for property in &stanza.properties {
            if property.name.text != "monitor" {
                return Err(args::unknown(property, "monitor"));
            }
            // Once ready, this server stays so: both ways come to the same.
            let token = args::single(property, "monitor until-ready|continuously")?;
            if !matches!(&*token.text, "until-ready" | "continuously") {
                return Err(Problem::Value {
                    value: token.text.clone(),
                    want: "until-ready or continuously",
                }
                .at(&token.place));
            }
        }
        let addr = stanza.args.first().map_or(":8181", |token| &token.text);
        let addr = block
            .host
            .listen_addr(addr)
            .map_err(|problem| problem.at(place))?;
        block.ready.set(addr, place, "ready address", "the process")
    }
}
