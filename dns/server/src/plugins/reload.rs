//! `reload [INTERVAL] [JITTER]`: looks at the Corefile for changes.

use std::time::Duration;

use super::{BlockSettings, Directive, args};
use crate::corefile::{Error, Problem, Stanza};

pub(super) struct Reload;

const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
const MIN_INTERVAL: Duration = Duration::from_secs(2);
const MIN_JITTER: Duration = Duration::from_secs(1);

impl Directive for Reload {
    fn name(&self) -> &'static str {
        "reload"
    }

    fn setup(&self, stanza: &Stanza, block: &mut BlockSettings<'_>) -> Result<(), Error> {
        args::count(stanza, ..=2, "reload [INTERVAL] [JITTER]")?;
        args::no_properties(stanza)?;
        let read = |at: usize| {
            let token = stanza.args.get(at)?;
            Some(args::duration(&token.text).map_err(|problem| problem.at(&token.place)))
        };
        let interval = read(0).transpose()?.unwrap_or(DEFAULT_INTERVAL);
        let out_of_range = |what, want, value: Duration| {
            Err(Problem::Range {
                what,
                want,
                value: format!("{value:?}"),
            }
            .at(&stanza.name.place))
        };
        if interval < MIN_INTERVAL {
            return out_of_range("reload interval", "2s or more", interval);
        }
        // Jitter keeps replicas of CoreDNS from restarting together. Here a reload interrupts nothing.
        let jitter = read(1).transpose()?.unwrap_or(Duration::ZERO);
        if !jitter.is_zero() && jitter < MIN_JITTER {
            return out_of_range("reload jitter", "0 or 1s or more", jitter);
        }
        block.reload.set(
            interval,
            &stanza.name.place,
            "reload interval",
            "the process",
        )
    }
}
