//! Words for what happens.

use crate::core::{Action, Place, Source, Write};

/// What a source has.
pub(super) fn kind(source: Source) -> &'static str {
    match source {
        Source::Exports => "ServiceExports",
        Source::Services => "Services",
        Source::Slices => "EndpointSlices",
        Source::Imports => "ServiceImports",
        Source::Namespaces => "Namespaces",
        Source::Nodes => "Nodes",
        Source::GlobalIps => "GlobalIngressIPs",
        Source::BrokerImports => "the broker's ServiceImports",
        Source::BrokerSlices => "the broker's EndpointSlices",
        Source::BrokerClusters => "the broker's Clusters",
        Source::BrokerLeases => "the broker's Leases",
    }
}

fn object(write: &Write) -> String {
    let at = match write.id.place {
        Place::Home => "",
        Place::Broker => " on the broker",
    };
    format!(
        "{:?} {}/{}{at}",
        write.id.kind, write.id.namespace, write.id.name
    )
}

pub(super) fn write(write: &Write) -> String {
    format!("to {} {}", write.action.verb(), object(write))
}

pub(super) fn done(write: &Write) -> String {
    let verb = match write.action {
        Action::Create(_) => "created",
        Action::Patch(_) => "updated",
        Action::PatchStatus(_) => "updated the status of",
        Action::Delete { .. } => "deleted",
    };
    format!("{verb} {}", object(write))
}
