//! Whatever the order of events, restarts and outages: the same objects, nobody fights, nothing is left to do.

mod model;

use std::collections::BTreeMap;

use model::build::{NS, backends, export, headless, port, service};
use model::{ClusterSet, Fault};
use proptest::prelude::*;
use serde_json::Value;
use subm_lighthouse_agent::core::settings::{ClusterSetIps, IpSource};
use subm_lighthouse_agent::core::{ServiceKey, Source};

const SERVICES: [&str; 2] = ["web", "db"];
const CLUSTERS: [&str; 3] = ["c1", "c2", "c3"];

/// What users, Kubernetes and fate do.
#[derive(Clone, Debug)]
enum Deed {
    Export {
        cluster: usize,
        service: usize,
        age: u32,
    },
    Unexport {
        cluster: usize,
        service: usize,
    },
    Serve {
        cluster: usize,
        service: usize,
        variant: u8,
    },
    Unserve {
        cluster: usize,
        service: usize,
    },
    Backends {
        cluster: usize,
        service: usize,
        ready: bool,
    },
    Namespace {
        cluster: usize,
        exists: bool,
    },
    /// Somebody deletes one of our objects by hand.
    Break {
        cluster: usize,
        kind: usize,
        nth: usize,
    },
    BreakBroker {
        kind: usize,
        nth: usize,
    },
    Restart {
        cluster: usize,
    },
    BrokerDown,
    BrokerUp,
    /// Everybody gets everything done for once.
    Settle,
    /// An agent reads one source, or plans one service: or not yet.
    Read {
        cluster: usize,
        source: usize,
    },
    Act {
        cluster: usize,
        service: usize,
    },
}

fn deed() -> impl Strategy<Value = Deed> {
    let cluster = 0..CLUSTERS.len();
    let service = 0..SERVICES.len();
    let kind = 0..2_usize;
    prop_oneof![
        3 => (cluster.clone(), service.clone(), 0..4_u32).prop_map(|(cluster, service, age)| Deed::Export { cluster, service, age }),
        2 => (cluster.clone(), service.clone()).prop_map(|(cluster, service)| Deed::Unexport { cluster, service }),
        3 => (cluster.clone(), service.clone(), 0..4_u8).prop_map(|(cluster, service, variant)| Deed::Serve { cluster, service, variant }),
        1 => (cluster.clone(), service.clone()).prop_map(|(cluster, service)| Deed::Unserve { cluster, service }),
        2 => (cluster.clone(), service.clone(), any::<bool>()).prop_map(|(cluster, service, ready)| Deed::Backends { cluster, service, ready }),
        1 => (cluster.clone(), any::<bool>()).prop_map(|(cluster, exists)| Deed::Namespace { cluster, exists }),
        1 => (cluster.clone(), kind.clone(), 0..4_usize).prop_map(|(cluster, kind, nth)| Deed::Break { cluster, kind, nth }),
        1 => (kind, 0..4_usize).prop_map(|(kind, nth)| Deed::BreakBroker { kind, nth }),
        1 => cluster.clone().prop_map(|cluster| Deed::Restart { cluster }),
        1 => Just(Deed::BrokerDown),
        2 => Just(Deed::BrokerUp),
        3 => Just(Deed::Settle),
        12 => (cluster.clone(), 0..SOURCES.len()).prop_map(|(cluster, source)| Deed::Read { cluster, source }),
        12 => (cluster, service).prop_map(|(cluster, service)| Deed::Act { cluster, service }),
    ]
}

fn cluster_set_ips(cluster: &str, chosen: usize) -> ClusterSetIps {
    let range = format!("243.{}.0.0/24", cluster.trim_start_matches('c'));
    ClusterSetIps {
        by_default: chosen > 1,
        from: match chosen {
            0 => IpSource::Pool(None),
            1 | 2 => IpSource::Pool(range.parse().ok()),
            _ => IpSource::DerivedService,
        },
    }
}

const SOURCES: [Source; 10] = [
    Source::Exports,
    Source::Services,
    Source::Slices,
    Source::Imports,
    Source::Namespaces,
    Source::GlobalIps,
    Source::BrokerImports,
    Source::BrokerSlices,
    Source::Nodes,
    Source::BrokerClusters,
];
const KINDS: [&str; 2] = ["ServiceImport", "EndpointSlice"];

fn nth_of_ours(objects: &[Value], nth: usize) -> Option<(String, String)> {
    let ours: Vec<&Value> = objects
        .iter()
        .filter(|object| {
            object["metadata"]["labels"]
                .get("kubernetes.io/service-name")
                .is_none()
        })
        .collect();
    let object = ours.get(nth % ours.len().max(1))?;
    let text = |field: &str| {
        object["metadata"][field]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    Some((text("namespace"), text("name")))
}

fn perform(set: &mut ClusterSet, deed: &Deed) {
    // Nothing can be written to a namespace that is not there.
    if let Deed::Export { cluster, .. }
    | Deed::Serve { cluster, .. }
    | Deed::Backends { cluster, .. } = deed
        && set
            .server(CLUSTERS[*cluster])
            .get("Namespace", "", NS)
            .is_none()
    {
        return;
    }
    match deed {
        Deed::Export {
            cluster,
            service,
            age,
        } => set
            .server(CLUSTERS[*cluster])
            .put(export(SERVICES[*service], *age)),
        Deed::Unexport { cluster, service } => {
            set.server(CLUSTERS[*cluster])
                .delete("ServiceExport", NS, SERVICES[*service]);
        }
        Deed::Serve {
            cluster,
            service: index,
            variant,
        } => {
            let (name, ip) = (SERVICES[*index], format!("10.10{cluster}.0.{}", index + 1));
            let object = match variant {
                0 => service(name, &ip, &[port("http", 80)]),
                1 => service(name, &ip, &[port("http", 81), port("admin", 9200)]),
                2 => headless(name, &[port("http", 80)]),
                _ => {
                    let mut service = service(name, &ip, &[port("http", 80)]);
                    service["spec"]["sessionAffinity"] = "ClientIP".into();
                    service
                }
            };
            set.server(CLUSTERS[*cluster]).put(object);
        }
        Deed::Unserve { cluster, service } => {
            set.server(CLUSTERS[*cluster])
                .delete("Service", NS, SERVICES[*service]);
        }
        Deed::Backends {
            cluster,
            service,
            ready,
        } => {
            let (name, address) = (SERVICES[*service], format!("10.{cluster}.0.5"));
            let (ready, unready): (&[&str], &[&str]) = if *ready {
                (&[&address], &[])
            } else {
                (&[], &[&address])
            };
            set.server(CLUSTERS[*cluster]).put(backends(
                &format!("{name}-k8s"),
                name,
                ready,
                unready,
            ));
        }
        Deed::Namespace {
            cluster,
            exists: true,
        } => set
            .server(CLUSTERS[*cluster])
            .put(model::build::namespace(NS)),
        Deed::Namespace {
            cluster,
            exists: false,
        } => {
            let server = set.server(CLUSTERS[*cluster]);
            for kind in ["ServiceExport", "Service", "EndpointSlice", "ServiceImport"] {
                let names: Vec<String> = server
                    .all(kind)
                    .filter(|object| object["metadata"]["namespace"] == NS)
                    .map(|object| object["metadata"]["name"].as_str().unwrap().to_owned())
                    .collect();
                for name in names {
                    server.delete(kind, NS, &name);
                }
            }
            server.delete("Namespace", "", NS);
        }
        Deed::Break { cluster, kind, nth } => {
            let server = set.server(CLUSTERS[*cluster]);
            let objects: Vec<Value> = server.all(KINDS[*kind]).cloned().collect();
            if let Some((namespace, name)) = nth_of_ours(&objects, *nth) {
                server.delete(KINDS[*kind], &namespace, &name);
            }
        }
        Deed::BreakBroker { kind, nth } => {
            let objects: Vec<Value> = set.broker.all(KINDS[*kind]).cloned().collect();
            if let Some((namespace, name)) = nth_of_ours(&objects, *nth) {
                set.broker.delete(KINDS[*kind], &namespace, &name);
            }
        }
        Deed::Restart { cluster } => set.restart(CLUSTERS[*cluster]),
        Deed::BrokerDown => set.broker.fault = Some(Fault::Down),
        Deed::BrokerUp => set.broker.fault = None,
        Deed::Settle if set.broker.fault.is_none() => set.settle(),
        Deed::Settle => {}
        Deed::Read { cluster, source } => set.read(CLUSTERS[*cluster], SOURCES[*source]),
        Deed::Act { cluster, service } => {
            let key = ServiceKey::new(NS, SERVICES[*service]).expect("names");
            set.act(CLUSTERS[*cluster], &key);
        }
    }
}

/// What users wrote, without what agents made of it.
fn only_users_objects(set: &ClusterSet) -> BTreeMap<String, Vec<Value>> {
    let users = |cluster: &model::Cluster| {
        let mut objects: Vec<Value> = Vec::new();
        for kind in ["ServiceExport", "Service", "Namespace", "EndpointSlice"] {
            let foreign = |object: &&Value| {
                kind != "EndpointSlice"
                    || object["metadata"]["labels"]
                        .get("kubernetes.io/service-name")
                        .is_some()
            };
            objects.extend(cluster.server.all(kind).filter(foreign).cloned());
        }
        for object in &mut objects {
            object.as_object_mut().unwrap().remove("status");
        }
        objects
    };
    set.clusters
        .iter()
        .map(|(name, cluster)| (name.clone(), users(cluster)))
        .collect()
}

/// All objects, without what differs from run to run: versions, times, order of exporters in the shared aggregate, names of
/// objects that were there first, and conditions that tell of a past.
fn content(set: &ClusterSet) -> BTreeMap<String, Vec<String>> {
    let of = |server: &model::Server, aggregates: bool| {
        let mut lines = Vec::new();
        for kind in ["ServiceImport", "EndpointSlice", "Service"] {
            for object in server.all(kind) {
                let mut object = object.clone();
                for field in ["resourceVersion", "uid"] {
                    object["metadata"].as_object_mut().unwrap().remove(field);
                }
                if let Some(conditions) = object["status"]["conditions"].as_array_mut() {
                    for condition in conditions {
                        condition
                            .as_object_mut()
                            .unwrap()
                            .remove("lastTransitionTime");
                    }
                }
                if aggregates && let Some(clusters) = object["status"]["clusters"].as_array_mut() {
                    clusters.sort_by_key(ToString::to_string);
                }
                lines.push(object.to_string());
            }
        }
        for export in server.all("ServiceExport") {
            let conditions = export["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            for condition in conditions
                .iter()
                .filter(|condition| condition["status"] == "True")
            {
                lines.push(format!(
                    "{} {} {} {}",
                    export["metadata"]["name"],
                    condition["type"],
                    condition["reason"],
                    condition["message"]
                ));
            }
        }
        lines.sort();
        lines
    };
    let mut all: BTreeMap<String, Vec<String>> = set
        .clusters
        .iter()
        .map(|(name, cluster)| (name.clone(), of(&cluster.server, false)))
        .collect();
    all.insert("broker".into(), of(&set.broker, true));
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    /// A set that went through anything ends like one in which only the last state ever was.
    #[test]
    fn every_path_leads_to_the_same_objects(deeds in prop::collection::vec(deed(), 0..80)) {
        let mut set = ClusterSet::of(CLUSTERS.len());
        for deed in &deeds {
            perform(&mut set, deed);
        }
        set.broker.fault = None;
        for cluster in CLUSTERS {
            set.agent(cluster).world.mark_all();
        }
        set.settle();
        prop_assert!(set.left_to_do().is_empty(), "a settled set has nothing to do");

        let mut fresh = ClusterSet::of(CLUSTERS.len());
        for (name, objects) in only_users_objects(&set) {
            fresh.server(&name).delete("Namespace", "", NS);
            for object in objects {
                fresh.server(&name).put(object);
            }
        }
        fresh.settle();
        let (one, other) = (content(&set), content(&fresh));
        for (place, lines) in &one {
            for line in lines {
                prop_assert!(other[place].contains(line), "only after the long way, in {}: {}", place, line);
            }
            for line in &other[place] {
                prop_assert!(lines.contains(line), "only after the short way, in {}: {}", place, line);
            }
        }
    }

    /// Agents that all start at once, in any order of reading and acting, come to rest: no two fight, though their operators chose
    /// differently.
    #[test]
    fn two_plans_never_fight(chosen in prop::array::uniform3(0..4_usize), deeds in prop::collection::vec(deed(), 0..30), order in prop::collection::vec((0..3_usize, 0..2_usize), 0..200)) {
        let mut set = ClusterSet::new(CLUSTERS.iter().zip(chosen).map(|(name, chosen)| {
            let mut settings = model::settings(name);
            settings.cluster_set_ips = cluster_set_ips(name, chosen);
            settings
        }));
        for deed in deeds.iter().filter(|deed| !matches!(deed, Deed::Read { .. } | Deed::Act { .. } | Deed::BrokerDown)) {
            perform(&mut set, deed);
        }
        for (cluster, service) in order {
            set.read_all(CLUSTERS[cluster]);
            set.act(CLUSTERS[cluster], &ServiceKey::new(NS, SERVICES[service]).expect("names"));
        }
        set.settle();
        prop_assert!(set.left_to_do().is_empty());
    }
}
