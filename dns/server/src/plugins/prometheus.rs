//! `prometheus [ADDR:PORT]`: where metrics are served.

use super::{BlockSettings, Directive, args};
use crate::corefile::{Error, Stanza};

pub(super) struct Prometheus;

impl Directive for Prometheus {
    fn name(&self) -> &'static str {
        "prometheus"
    }

    fn setup(&self, stanza: &Stanza, block: &mut BlockSettings<'_>) -> Result<(), Error> {
        args::count(stanza, ..=1, "prometheus [ADDR:PORT]")?;
        args::no_properties(stanza)?;
        let place = &stanza.name.place;
        // CoreDNS's default; `:9153` is what the Submariner operator writes.
        let addr = stanza
            .args
            .first()
            .map_or("localhost:9153", |token| &token.text);
        let addr = block
            .host
            .listen_addr(addr)
            .map_err(|problem| problem.at(place))?;
        block
            .metrics
            .set(addr, place, "metrics address", "the process")
    }
}
