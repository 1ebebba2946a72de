//! Targets of SRV records: which hosts and ports a name gives now.

use crate::select::{Chosen, Reach, Usable};
use crate::snapshot::{Addresses, Scope, Service, Srv, SrvPort};
use crate::status::ClusterIndex;

/// A named port as a query has it, lower case, underscores taken off.
#[derive(Clone, Copy)]
pub(crate) struct PortFilter<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) protocol: &'a [u8],
}

impl PortFilter<'_> {
    pub(crate) fn admits(&self, port: &SrvPort) -> bool {
        *port.name == *self.name && port.protocol.label().as_bytes() == self.protocol
    }
}

/// The targets of one SRV RRset.
pub(crate) struct Targets<'a> {
    pub(crate) service: &'a Service,
    scope: &'a Scope,
    filter: Option<PortFilter<'a>>,
    given: Given<'a>,
    /// Given only because nothing is connected.
    pub(crate) stale: bool,
}

/// Whose hosts are given, by the addresses that they have: `None` where no cluster with such is available.
#[derive(Clone, Copy)]
struct Given<'a> {
    a: Option<Usable<'a>>,
    aaaa: Option<Usable<'a>>,
}

impl Given<'_> {
    fn admits(self, cluster: ClusterIndex, host: &Scope) -> bool {
        let family = |usable: Option<Usable<'_>>, addresses: &Addresses| {
            !matches!(addresses, Addresses::None)
                && usable.is_some_and(|usable| usable.admits(cluster))
        };
        family(self.a, &host.a) || family(self.aaaa, &host.aaaa)
    }
}

impl<'a> Targets<'a> {
    /// What `scope` gives under `reach`, or why it gives nothing.
    pub(crate) fn choose(
        reach: Reach<'a>,
        service: &'a Service,
        scope: &'a Scope,
        filter: Option<PortFilter<'a>>,
        turn: u32,
    ) -> Result<Self, Chosen<'a>> {
        let targets = |given, stale| Self {
            service,
            scope,
            filter,
            given,
            stale,
        };
        let any = Some(Usable::Any { stale: false });
        let anyone = Given { a: any, aaaa: any };
        match &scope.srv {
            Srv::None => Err(Chosen::None),
            // A name without an address to give is no target.
            Srv::Own(_) => {
                let (a, a_stale) = reach.choose(&scope.a, || turn);
                let (aaaa, aaaa_stale) = reach.choose(&scope.aaaa, || turn);
                match (a.is_empty(), aaaa.is_empty()) {
                    (true, true) => Err(if matches!(a, Chosen::None) { aaaa } else { a }),
                    (a, aaaa) => Ok(targets(anyone, (a || a_stale) && (aaaa || aaaa_stale))),
                }
            }
            Srv::Hosts(groups) if groups.iter().all(|group| group.hosts.is_empty()) => {
                Err(Chosen::None)
            }
            // Asked for by name, a cluster's hosts are given whether it is connected or not.
            Srv::Hosts(_) if scope.position().is_some() => Ok(targets(anyone, false)),
            Srv::Hosts(_) => {
                let usable = |addresses| match reach.choose(addresses, || turn).0 {
                    Chosen::Union { usable, .. } => Some(usable),
                    _ => None,
                };
                let given = Given {
                    a: usable(&scope.a),
                    aaaa: usable(&scope.aaaa),
                };
                let mut families = [given.a, given.aaaa].into_iter().flatten().peekable();
                families.peek().ok_or(Chosen::Unreachable)?;
                Ok(targets(given, families.all(Usable::is_stale)))
            }
        }
    }

    /// Visits targets and their ports, from target number `start` on, round, until `visit` says `false`;
    /// tells whether it never did.
    pub(crate) fn each(
        &self,
        start: u32,
        mut visit: impl FnMut(&'a Scope, &'a [SrvPort]) -> bool,
    ) -> bool {
        let ports = |list: &u16| &*self.service.ports[usize::from(*list)];
        let groups = match &self.scope.srv {
            Srv::None => return true,
            Srv::Own(list) => return visit(self.scope, ports(list)),
            Srv::Hosts(groups) => groups,
        };
        let total: usize = groups.iter().map(|group| group.hosts.len()).sum();
        let split = start as usize % total.max(1);
        // Two rounds over the same groups: what stands at `split` and behind, then what stands before.
        for tail in [true, false] {
            let mut base = 0;
            for group in groups {
                let cut = split.saturating_sub(base).min(group.hosts.len());
                base += group.hosts.len();
                let part = if tail {
                    &group.hosts[cut..]
                } else {
                    &group.hosts[..cut]
                };
                for host in part {
                    let host = &self.service.below[*host as usize];
                    if let Srv::Own(list) = &host.srv
                        && self.given.admits(group.cluster, host)
                        && !visit(host, ports(list))
                    {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Ports of a target that the query wants, each number once: two protocols on one port make one and
    /// the same record.
    pub(crate) fn wanted<'p>(&'p self, ports: &'p [SrvPort]) -> impl Iterator<Item = &'p SrvPort> {
        let wanted = |port: &SrvPort| self.filter.is_none_or(|filter| filter.admits(port));
        ports.iter().enumerate().filter_map(move |(at, port)| {
            let said = || {
                ports[..at]
                    .iter()
                    .any(|other| other.number == port.number && wanted(other))
            };
            (wanted(port) && !said()).then_some(port)
        })
    }
}

impl Scope {
    /// Port lists at this name, reachable or not: connectivity never makes a name come or go.
    pub(crate) fn port_lists<'a>(
        &'a self,
        service: &'a Service,
    ) -> impl Iterator<Item = &'a [SrvPort]> {
        let (own, hosts) = match &self.srv {
            Srv::None => (None, &[][..]),
            Srv::Own(list) => (Some(list), &[][..]),
            Srv::Hosts(groups) => (None, &**groups),
        };
        let lists = own
            .into_iter()
            .chain(hosts.iter().flat_map(|group| &group.ports));
        lists.map(|list| &*service.ports[usize::from(*list)])
    }

    pub(crate) fn has_port(&self, service: &Service, admits: impl Fn(&SrvPort) -> bool) -> bool {
        self.port_lists(service).flatten().any(admits)
    }
}
