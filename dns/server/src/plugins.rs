//! Directives of a server block, one file each.
//!
//! A [`Directive`] reads its stanza into the block's [`BlockSettings`]. What it sets is served by the
//! synchronous core where it can be; what has to wait or to send several messages is a [`Handler`], which the
//! server asks where the core's answer is `FallThrough` or `Transfer`.
//!
//! To add one: a file here, a line in [`DIRECTIVES`], a section in `docs/configuration.md` (a test looks).

mod args;
mod bind;
mod block;
mod bufsize;
mod chaos;
mod errors;
mod handler;
mod health;
mod kubernetes;
mod lighthouse;
mod loadbalance;
mod log;
mod nsid;
mod prometheus;
mod ready;
mod reload;
#[cfg(test)]
mod tests;
mod tls;
mod transfer;
mod unknown;

pub use block::{BlockSettings, Key, LogRule, Setting, TransferScope};
pub use handler::{Handler, Messages, Request};
pub(crate) use nsid::check as check_nsid;

pub(crate) use args::{duration, ttl_in_range, zone};
pub(crate) use block::is_within;
pub(crate) use lighthouse::{cluster_id, lost_cluster};

use crate::corefile::{Error, Problem, ServerBlock, Stanza};

/// Reads one kind of stanza.
pub trait Directive: Sync {
    fn name(&self) -> &'static str;

    /// Whether a server block may have several.
    fn repeats(&self) -> bool {
        false
    }

    fn setup(&self, stanza: &Stanza, block: &mut BlockSettings<'_>) -> Result<(), Error>;
}

/// All that are known, by name.
pub static DIRECTIVES: &[&dyn Directive] = &[
    &bind::Bind,
    &bufsize::BufSize,
    &chaos::Chaos,
    &errors::Errors,
    &health::Health,
    &kubernetes::Kubernetes,
    &lighthouse::Lighthouse,
    &loadbalance::LoadBalance,
    &log::Log,
    &nsid::NsId,
    &prometheus::Prometheus,
    &ready::Ready,
    &reload::Reload,
    &tls::Tls,
    &transfer::Transfer,
];

/// Reads every stanza of `source` into `block`.
pub(crate) fn setup(source: &ServerBlock, block: &mut BlockSettings<'_>) -> Result<(), Error> {
    for (at, stanza) in source.stanzas.iter().enumerate() {
        let name = &*stanza.name.text;
        let directive = DIRECTIVES
            .iter()
            .find(|directive| directive.name() == name)
            .ok_or_else(|| unknown::problem(name).at(&stanza.name.place))?;
        let earlier = source.stanzas[..at]
            .iter()
            .find(|other| other.name.text == name);
        if let Some(earlier) = earlier.filter(|_| !directive.repeats()) {
            let problem = Problem::Twice {
                first: earlier.name.place.clone(),
            };
            return Err(Error {
                plugin: Some(directive.name()),
                ..problem.at(&stanza.name.place)
            });
        }
        directive.setup(stanza, block).map_err(|error| Error {
            plugin: Some(directive.name()),
            ..error
        })?;
    }
    Ok(())
}
