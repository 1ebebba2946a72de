//! What is known of clusters: what they declare, whether they live, which addresses are our own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use subm_api::{ClusterSpec, Items};

use super::Settings;
use super::settings::LostClusters;

/// The members of the cluster set, as the broker shows them, and this cluster's own addresses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Clusters {
    /// Whose addresses are our own, where clusters' addresses differ (not under Globalnet).
    us: Option<String>,
    declared: BTreeMap<String, Declared>,
    leases: BTreeMap<String, Heard>,
    lost: BTreeSet<String>,
    /// Those whose Lease was not renewed for a while, whatever becomes of what they export.
    silent: BTreeSet<String>,
    /// Addresses of this cluster's nodes, by node.
    pub nodes: BTreeMap<String, Vec<IpAddr>>,
    /// Addresses of this cluster's API server.
    pub api_servers: BTreeMap<String, Vec<IpAddr>>,
}

/// Where a cluster's services are, in its own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    pub networks: Vec<IpNet>,
}

impl Declared {
    /// `None` where a cluster does not say, or only of one kind. Under Globalnet only global addresses are of use to others.
    pub fn of(spec: &ClusterSpec) -> Option<Self> {
        let read = |list: &Items<String>| -> Vec<IpNet> {
            // Several of one family may be written with commas.
            let texts = list.iter().flat_map(|text| text.split(','));
            texts.filter_map(|text| text.trim().parse().ok()).collect()
        };
        let (global, services, pods) = (
            read(&spec.global_cidr),
            read(&spec.service_cidr),
            read(&spec.cluster_cidr),
        );
        let networks = match (global.is_empty(), services.is_empty() || pods.is_empty()) {
            (false, _) => global,
            (true, false) => [services, pods].concat(),
            (true, true) => return None,
        };
        Some(Self { networks })
    }

    pub fn has(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|net| net.contains(&address))
    }
}

/// A node's addresses.
pub fn addresses_of(node: &Node) -> Vec<IpAddr> {
    let status = node.status.as_ref();
    let addresses = status.and_then(|status| status.addresses.as_ref());
    let texts = addresses.into_iter().flatten();
    texts
        .filter_map(|address| address.address.parse().ok())
        .collect()
}

/// Addresses of a slice's endpoints.
pub fn addresses_in(slice: &EndpointSlice) -> Vec<IpAddr> {
    let endpoints = slice.endpoints.iter();
    let texts = endpoints.flat_map(|endpoint| &endpoint.addresses);
    texts.filter_map(|text| text.parse().ok()).collect()
}

/// For whom something changed since the last judgement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    pub lost_or_back: BTreeSet<String>,
    pub silent_or_heard: BTreeSet<String>,
}

/// Leases are renewed every 10 s. The same for all members, whatever their policy: they must agree on who speaks for a service.
const SILENCE: Duration = Duration::from_secs(60);

/// A Lease that changes is a cluster that lives. Only its changes count, not its times: clocks of clusters differ.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Heard {
    renewed: String,
    at: Timestamp,
}

impl Clusters {
    pub fn of(settings: &Settings) -> Self {
        Self {
            us: Some(settings.cluster.clone()).filter(|_| !settings.globalnet),
            ..Self::default()
        }
    }

    /// Notes what a cluster declares; `None` where it declares nothing any more. Tells whether that is news.
    pub fn declare(&mut self, cluster: &str, declared: Option<Declared>) -> bool {
        match declared {
            Some(new) => self.declared.insert(cluster.to_owned(), new.clone()) != Some(new),
            None => self.declared.remove(cluster).is_some(),
        }
    }

    /// `None`: it declares nothing, so nothing can be held against it.
    pub fn declared(&self, cluster: &str) -> Option<&Declared> {
        self.declared.get(cluster)
    }

    /// Notes a cluster's Lease (its `renewTime` as text). Tells whether it had none.
    pub fn heard(&mut self, cluster: &str, renewed: &str, now: Timestamp) -> bool {
        match self.leases.get_mut(cluster) {
            Some(heard) if heard.renewed == renewed => {}
            Some(heard) => {
                renewed.clone_into(&mut heard.renewed);
                heard.at = now;
            }
            None => {
                let heard = Heard {
                    renewed: renewed.to_owned(),
                    at: now,
                };
                self.leases.insert(cluster.to_owned(), heard);
                return true;
            }
        }
        false
    }

    /// A cluster whose Lease is gone has left, or never had one: it is not lost. Tells whether it had one.
    pub fn left(&mut self, cluster: &str) -> bool {
        self.silent.remove(cluster);
        self.leases.remove(cluster).is_some()
    }

    /// Works out who is lost, and gives those for whom that is new, lost or back. While the broker does not answer nobody is
    /// lost: we would not hear of anyone.
    pub fn judge(&mut self, policy: LostClusters, now: Timestamp) -> Judged {
        let since = |patience: Duration| -> BTreeSet<String> {
            let silent = self.leases.iter();
            let silent = silent.filter(|(_, heard)| elapsed(heard.at, now) >= patience);
            silent.map(|(cluster, _)| cluster.clone()).collect()
        };
        let silent = since(SILENCE);
        let lost = match policy {
            LostClusters::DropAfter(patience) => since(patience),
            LostClusters::Keep => BTreeSet::new(),
        };
        let judged = Judged {
            lost_or_back: lost.symmetric_difference(&self.lost).cloned().collect(),
            silent_or_heard: silent.symmetric_difference(&self.silent).cloned().collect(),
        };
        (self.lost, self.silent) = (lost, silent);
        judged
    }

    /// Whether a cluster has an agent that renews its Lease: what is left to it will be done.
    pub fn is_heard(&self, cluster: &str) -> bool {
        self.leases.contains_key(cluster) && !self.silent.contains(cluster)
    }

    /// The broker answers again: what was not heard meanwhile is not held against anyone.
    pub fn forgive_silence(&mut self, now: Timestamp) {
        for heard in self.leases.values_mut() {
            heard.at = now;
        }
    }

    pub fn is_lost(&self, cluster: &str) -> bool {
        self.lost.contains(cluster)
    }

    /// Whether an address is one of our own nodes', API servers', pods' or Services'.
    pub fn is_ours(&self, address: IpAddr) -> bool {
        let mut ours = self.nodes.values().chain(self.api_servers.values());
        let us = self.us.as_deref();
        let declared = us.and_then(|us| self.declared(us));
        ours.any(|addresses| addresses.contains(&address))
            || declared.is_some_and(|declared| declared.has(address))
    }
}

fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(since).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("in range")
    }

    #[test]
    fn silence_loses_a_cluster_and_a_word_brings_it_back() {
        let policy = LostClusters::DropAfter(Duration::from_secs(60));
        let mut clusters = Clusters::default();
        clusters.heard("c2", "one", at(0));
        let lost = |clusters: &mut Clusters, now| {
            Vec::from_iter(clusters.judge(policy, at(now)).lost_or_back)
        };
        assert!(lost(&mut clusters, 59).is_empty());
        // The same Lease again is no sign of life.
        clusters.heard("c2", "one", at(59));
        assert_eq!(lost(&mut clusters, 60), ["c2"]);
        assert!(clusters.is_lost("c2"));
        assert!(lost(&mut clusters, 61).is_empty(), "said once");
        clusters.heard("c2", "two", at(70));
        assert_eq!(lost(&mut clusters, 70), ["c2"]);
        assert!(!clusters.is_lost("c2"));
    }

    #[test]
    fn without_a_lease_or_under_keep_nobody_is_lost() {
        let mut clusters = Clusters::default();
        clusters.heard("c2", "one", at(0));
        let judged = clusters.judge(LostClusters::Keep, at(1_000_000));
        assert!(judged.lost_or_back.is_empty());
        assert!(judged.silent_or_heard.contains("c2") && !clusters.is_heard("c2"));
        clusters.left("c2");
        let policy = LostClusters::DropAfter(Duration::from_secs(60));
        assert_eq!(clusters.judge(policy, at(1_000_000)), Judged::default());
    }

    #[test]
    fn an_outage_of_the_broker_loses_nobody() {
        let policy = LostClusters::DropAfter(Duration::from_secs(60));
        let mut clusters = Clusters::default();
        clusters.heard("c2", "one", at(0));
        clusters.forgive_silence(at(500));
        assert_eq!(clusters.judge(policy, at(510)), Judged::default());
    }
}
