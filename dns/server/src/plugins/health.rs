//! `health [ADDR:PORT] { lameduck DURATION }`.

use super::{BlockSettings, Directive, args};
use crate::corefile::{Error, Stanza};

pub(super) struct Health;

impl Directive for Health {
    fn name(&self) -> &'static str {
        "health"
    }

    fn setup(&self, stanza: &Stanza, block: &mut BlockSettings<'_>) -> Result<(), Error> {
        args::count(stanza, ..=1, "health [ADDR:PORT]")?;
        let place = &stanza.name.place;
        let addr = stanza.args.first().map_or(":8080", |token| &token.text);
        let addr = block
            .host
            .listen_addr(addr)
            .map_err(|problem| problem.at(place))?;
        block
            .health
            .set(addr, place, "health address", "the process")?;
        for property in &stanza.properties {
            match &*property.name.text {
                "lameduck" => {
                    let token = args::single(property, "lameduck DURATION")?;
                    let lameduck =
                        args::duration(&token.text).map_err(|problem| problem.at(&token.place))?;
                    block
                        .lameduck
                        .set(lameduck, &token.place, "lameduck", "the process")?;
                }
                _ => return Err(args::unknown(property, "lameduck")),
            }
        }
        Ok(())
    }
}
