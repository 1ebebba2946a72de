//! Whether a service has an address of the cluster set, and which: what exporters state in their records, and agents of
//! Lighthouse in the aggregate.

use std::net::Ipv4Addr;

use subm_api::{ServiceImport, names};

use super::export::{Details, Export, StatedIp};
use super::merge::Merged;
use super::view::ServiceView;
use super::world::{annotation, is_from};
use super::{World, trust};

/// Whether and how a service has an address of the cluster set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpChoice {
    /// Out of a pool: `use-clusterset-ip` of the aggregate.
    pub used: bool,
    pub ip: Option<String>,
    pub allocated_by: Option<String>,
    /// One is due, and the pool has none.
    pub exhausted: bool,
    /// By a Service of each importing cluster.
    pub derived: bool,
}

impl IpChoice {
    /// As an aggregate has it. One of Lighthouse before 0.19 does not say: no.
    pub fn of(aggregate: &ServiceImport) -> Self {
        let used = annotation(&aggregate.metadata, names::USE_CLUSTERSET_IP) == Some("true");
        Self {
            used,
            ip: aggregate.spec.ips.iter().next().filter(|_| used).cloned(),
            allocated_by: annotation(&aggregate.metadata, names::CLUSTERSET_IP_ALLOCATED_BY)
                .filter(|_| used)
                .map(str::to_owned),
            ..Self::default()
        }
    }

    fn of_statement(stated: StatedIp) -> Self {
        Self {
            used: stated.address.is_some(),
            ip: stated.address,
            allocated_by: stated.allocated_by,
            ..Self::default()
        }
    }

    /// As this cluster's record states it.
    pub fn statement(&self) -> StatedIp {
        StatedIp {
            address: self.ip.clone(),
            allocated_by: self.allocated_by.clone(),
        }
    }
}

/// The cluster set IP that exporters hold already: the first of them that says is right. A member that does not export has no
/// say, whatever it writes into the aggregate.
pub fn stated(world: &World, view: &ServiceView, merged: &Merged<'_>) -> Option<IpChoice> {
    let us = &world.settings.cluster;
    let sound = |choice: &IpChoice| {
        let ip = choice.ip.as_deref();
        ip.is_none_or(|ip| trust::address(ip, "", &world.clusters).is_ok())
    };
    let of = |export: &&Export| {
        if export.cluster == *us {
            return held(view, us);
        }
        match &export.details {
            Some(details) => details.cluster_set_ip.clone().map(IpChoice::of_statement),
            // Lighthouse's agents say it with the aggregate.
            None => view.aggregate().map(IpChoice::of),
        }
    };
    let mut stated = merged.exports.iter().filter_map(of);
    stated.find(sound)
}

/// What this cluster's own record says.
pub fn recorded(view: &ServiceView, us: &str) -> Option<IpChoice> {
    stated_in(own_record(view, us)?).map(IpChoice::of_statement)
}

fn own_record<'a>(view: &'a ServiceView, us: &str) -> Option<&'a ServiceImport> {
    let mut records = view.records.values();
    records.find(|record| is_from(&record.metadata, us))
}

/// The same; before there is one, what an agent of Lighthouse gave here.
pub fn held(view: &ServiceView, us: &str) -> Option<IpChoice> {
    match own_record(view, us) {
        Some(_) => recorded(view, us),
        None => view
            .aggregate()
            .map(IpChoice::of)
            .filter(|choice| choice.allocated_by.as_deref() == Some(us)),
    }
}

/// Whether the aggregate or another cluster's record still has an address.
pub fn is_in_use(view: &ServiceView, us: &str, ip: Ipv4Addr) -> bool {
    let ip = ip.to_string();
    let others = view
        .records
        .values()
        .filter(|record| !is_from(&record.metadata, us));
    let stated = others
        .filter_map(stated_in)
        .filter_map(|stated| stated.address);
    let aggregates = view.aggregates.values();
    let aggregated = aggregates.filter_map(|aggregate| IpChoice::of(aggregate).ip);
    stated.chain(aggregated).any(|other| other == ip)
}

fn stated_in(record: &ServiceImport) -> Option<StatedIp> {
    Details::of_record(record)?.cluster_set_ip
}
