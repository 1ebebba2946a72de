//! Submariner's own cases of its route agent, by their lines (`kubeproxy_NNN`): what each event changes in a node's kernel.

use subm_reconcile::Change;
use subm_routing::Object;

use super::*;

/// A node, and what is ours in its kernel.
struct Node {
    view: View,
    remotes: Vec<Remote>,
    kernel: BTreeMap<Key, Object>,
    filter: filter::Node,
}

impl Node {
    /// Of a cluster without a gateway and without others.
    fn new(name: &str) -> Self {
        let mut view = view(name, Way::Device(WG));
        view.gateway = None;
        Self {
            view,
            remotes: Vec::new(),
            kernel: BTreeMap::new(),
            filter: filter::Node::default(),
        }
    }

    /// Of a cluster that is connected.
    fn connected(name: &str) -> Self {
        let mut node = Self::new(name);
        node.gateway("c1-gw1");
        node.remotes = c2();
        node.settle();
        node
    }

    fn gateway(&mut self, name: &str) {
        let mut gateway = view(name, Way::Device(WG)).gateway.expect("a gateway");
        gateway.node = name.to_owned();
        gateway.private_ip = self.view.nodes[name];
        self.view.gateway = Some(gateway);
    }

    /// Makes the kernel as planned. What that took, a line a change: `+` made, `~` changed, `-` removed.
    fn settle(&mut self) -> Vec<String> {
        let plan = plan(&self.view, &self.remotes);
        let desired = plan.network.into_objects();
        let line = |change: &Change<Key, Object>| match (change.from(), change.to()) {
            (None, Some(to)) => format!("+ {to}"),
            (Some(_), Some(to)) => format!("~ {to}"),
            (Some(from), None) => format!("- {from}"),
            (None, None) => unreachable!("a change of nothing"),
        };
        let changes = subm_routing::plan(&desired, &self.kernel);
        let lines = changes.iter().map(line).collect();
        self.kernel = desired;
        self.filter = plan.filter;
        lines
    }

    fn has(&self, line: &str) -> bool {
        let mut objects = self.kernel.values();
        objects.any(|object| object.to_string().starts_with(line))
    }

    fn is_kept_whole(&self) -> bool {
        let networks = c2().remove(0).networks;
        let mut networks = networks.iter();
        networks.all(|net| self.filter.remote.contains_key(net))
    }
}

const LINK: &str = "link vx-submariner";
const ROUTE: &str = "route 10.9.0.0/16 via 240.31.1.11 dev vx-submariner";
const HOST_ROUTE: &str = "route 10.9.0.0/16 dev submariner table 150 src 10.8.1.1";
const FLOOD: &str = "fdb 00:00:00:00:00:00 dev vx-submariner dst 172.31.1.22";
const RULE: &str = "IPv4 rule 150: from all lookup 150";

fn starts(changes: &[String], line: &str) -> bool {
    changes.iter().any(|change| change.starts_with(line))
}

#[track_caller]
fn contains(changes: &[String], line: &str) {
    assert!(starts(changes, line), "{line:?} in {changes:#?}");
}

#[track_caller]
fn lacks(changes: &[String], line: &str) {
    let found: Vec<_> = changes.iter().filter(|c| c.contains(line)).collect();
    assert!(found.is_empty(), "{line:?} in {found:#?}");
}

#[test]
fn kubeproxy_71_105_a_gateway_appears_and_a_worker_has_a_device_and_routes() {
    let mut worker = Node::new("c1-w1");
    assert_eq!(worker.settle(), [""; 0]);
    worker.gateway("c1-gw1");
    contains(&worker.settle(), &format!("+ {LINK}"));
    worker.remotes = c2();
    contains(&worker.settle(), &format!("+ {ROUTE}"));
}

#[test]
fn kubeproxy_80_routes_of_before_are_removed() {
    let mut worker = Node::connected("c1-w1");
    worker.kernel.extend(
        Network::from_iter([Object::from(Route::via(
            net("10.97.0.0/16"),
            ip("240.31.1.11"),
            DEVICE,
        ))])
        .into_objects(),
    );
    let changes = worker.settle();
    assert_eq!(changes.len(), 1, "{changes:?}");
    contains(&changes, "- route 10.97.0.0/16 via 240.31.1.11");
}

#[test]
fn kubeproxy_90_a_device_to_another_gateway_becomes_one_to_this() {
    let mut worker = Node::connected("c1-w1");
    worker.gateway("c1-w2");
    let changes = worker.settle();
    assert!(worker.has("link vx-submariner vxlan id 100 remote 172.31.1.22"));
    contains(
        &changes,
        "~ route 10.9.0.0/16 via 240.31.1.22 dev vx-submariner",
    );
    lacks(&changes, "- ");
}

#[test]
fn kubeproxy_122_138_without_its_gateway_a_device_goes_and_with_it_comes_back() {
    let mut worker = Node::connected("c1-w1");
    let before = worker.kernel.clone();
    worker.view.gateway = None;
    contains(&worker.settle(), &format!("- {LINK}"));
    assert!(worker.kernel.is_empty());
    worker.gateway("c1-gw1");
    contains(&worker.settle(), &format!("+ {LINK}"));
    assert_eq!(worker.kernel, before);
}

/// Of two local Endpoints the younger leads, so that the end of the older is no event.
#[test]
fn kubeproxy_132_d11_the_end_of_a_former_gateway_changes_nothing() {
    let endpoint = |host: &str, address: &str, second: u8| -> subm_api::submariner::Endpoint {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": host, "creationTimestamp": format!("2026-11-23T21:39:{second:02}Z")},
            "spec": {
                "cluster_id": "c1", "cable_name": host, "hostname": host, "private_ip": address, "backend": "wireguard",
                "backend_config": {"interface-name": "submariner"},
            },
        }))
        .expect("an Endpoint")
    };
    let former = endpoint("c1-w2", "172.31.1.22", 1);
    let present = endpoint("c1-gw1", "172.31.1.11", 2);
    let leading = |endpoints: &[_]| Gateway::leading(endpoints.iter(), "c1", 1500);
    let mut worker = Node::new("c1-w1");
    worker.remotes = c2();
    worker.view.gateway = leading(&[former, present.clone()]);
    contains(&worker.settle(), &format!("+ {ROUTE}"));
    worker.view.gateway = leading(&[present]);
    assert_eq!(worker.settle(), [""; 0]);
}

#[test]
fn kubeproxy_165_169_173_182_another_cluster_comes_to_a_worker_and_leaves() {
    let mut worker = Node::new("c1-w1");
    worker.gateway("c1-gw1");
    worker.settle();
    worker.remotes = c2();
    let changes = worker.settle();
    contains(&changes, &format!("+ {ROUTE}"));
    lacks(&changes, "150");
    assert!(worker.is_kept_whole());
    worker.remotes.clear();
    let changes = worker.settle();
    contains(&changes, &format!("- {ROUTE}"));
    lacks(&changes, LINK);
    assert!(worker.filter.remote.is_empty());
}

/// 193 has the packet filter know the other cluster at once; here it does once there is a gateway, before which no packet comes or goes.
#[test]
fn kubeproxy_189_193_204_before_there_is_a_gateway_other_clusters_are_nothing_to_do() {
    let mut worker = Node::new("c1-w1");
    worker.remotes = c2();
    assert_eq!(worker.settle(), [""; 0]);
    worker.gateway("c1-gw1");
    contains(&worker.settle(), &format!("+ {ROUTE}"));
    assert!(worker.is_kept_whole());

    let mut worker = Node::new("c1-w1");
    worker.remotes = c2();
    worker.settle();
    worker.remotes.clear();
    worker.gateway("c1-gw1");
    lacks(&worker.settle(), "route");
}

#[test]
fn kubeproxy_216_220_224_233_another_cluster_comes_to_a_gateway_and_leaves() {
    let mut gateway = Node::new("c1-gw1");
    gateway.gateway("c1-gw1");
    gateway.settle();
    gateway.remotes = c2();
    let changes = gateway.settle();
    lacks(&changes, "dev vx-submariner");
    contains(&changes, &format!("+ {HOST_ROUTE}"));
    assert!(gateway.is_kept_whole());
    gateway.remotes.clear();
    let changes = gateway.settle();
    contains(&changes, &format!("- {HOST_ROUTE}"));
    assert!(gateway.has(RULE), "it leads to a table that is empty now");
}

/// 148 is the moment between an Endpoint and what follows from it, which is none here.
#[test]
fn kubeproxy_148_251_255_259_269_280_a_worker_becomes_the_gateway() {
    let mut node = Node::connected("c1-w1");
    assert!(node.has(ROUTE));
    node.gateway("c1-w1");
    let changes = node.settle();
    assert!(node.has("link vx-submariner vxlan id 100 dstport 4800"));
    contains(&changes, &format!("+ {RULE}"));
    contains(
        &changes,
        "+ route 10.9.0.0/16 dev submariner table 150 src 10.8.11.1",
    );
    contains(&changes, &format!("+ {FLOOD}"));
    // They went with the device.
    contains(&changes, &format!("- {LINK}"));
    assert!(!node.has(ROUTE));
    assert!(
        !node.has("fdb 00:00:00:00:00:00 dev vx-submariner dst 172.31.1.21"),
        "itself"
    );
}

#[test]
fn kubeproxy_291_295_the_gateway_becomes_a_worker() {
    let mut node = Node::connected("c1-gw1");
    node.gateway("c1-w2");
    let changes = node.settle();
    contains(&changes, &format!("- {RULE}"));
    contains(&changes, &format!("- {HOST_ROUTE}"));
    contains(
        &changes,
        "+ route 10.9.0.0/16 via 240.31.1.22 dev vx-submariner",
    );
    assert!(!node.has("fdb"));
}

#[test]
fn kubeproxy_317_330_nodes_come_and_go() {
    let mut gateway = Node::connected("c1-gw1");
    let mut worker = Node::connected("c1-w1");
    let address = gateway.view.nodes.remove("c1-w2").expect("a node");
    worker.view.nodes.remove("c1-w2");
    assert_eq!(gateway.settle(), [format!("- {FLOOD}")]);
    assert_eq!(worker.settle(), [""; 0]);
    for node in [&mut gateway, &mut worker] {
        node.view.nodes.insert("c1-w2".to_owned(), address);
    }
    assert_eq!(gateway.settle(), [format!("+ {FLOOD}")]);
    assert_eq!(worker.settle(), [""; 0]);
}

/// On a real kernel: `surprise_5_a_node_follows_endpoints_and_nodes`.
#[test]
fn kubeproxy_340_d22_an_uninstallation_leaves_nothing() {
    for name in ["c1-gw1", "c1-w1"] {
        let mut node = Node::connected(name);
        node.view.gateway = None;
        node.remotes.clear();
        let changes = node.settle();
        assert!(changes.iter().all(|change| change.starts_with("- ")));
        assert!(node.kernel.is_empty());
        assert_eq!(node.filter, filter::Node::default());
    }
}
