use serde_json::{Value, json};
use subm_api::Items;

use super::*;

mod properties;

// Ids of the reference: c and e for lines of datastore_cluster_sync_test.go and datastore_endpoint_sync_test.go.

const HOME: &str = "submariner-operator";
const BROKER: &str = "submariner-k8s-broker";

/// Both namespaces, and what this cluster wants of them.
#[derive(Clone, Debug)]
struct World {
    us: ClusterId,
    home: Objects,
    broker: Option<Objects>,
    cluster: ClusterSpec,
    endpoint: Option<EndpointSpec>,
    uninstalling: bool,
}

impl World {
    /// c1 as it begins.
    fn new() -> Self {
        let objects = |namespace: &str| Objects {
            namespace: namespace.to_owned(),
            ..Objects::default()
        };
        Self {
            us: ClusterId::new("c1").expect("an id"),
            home: objects(HOME),
            broker: Some(objects(BROKER)),
            cluster: cluster("c1", None).spec,
            endpoint: Some(endpoint("c1", 11, None).spec),
            uninstalling: false,
        }
    }

    /// c1 once all is written, and c2 too.
    fn connected() -> Self {
        let mut world = Self::new();
        let c2 = Some("c2");
        world.put(Place::Broker, cluster("c2", c2));
        world.put(Place::Broker, endpoint("c2", 21, c2));
        assert_eq!(world.settle(), []);
        world
    }

    fn view(&self) -> View<'_> {
        View {
            us: &self.us,
            home: &self.home,
            broker: self.broker.as_ref(),
            cluster: &self.cluster,
            endpoint: self.endpoint.as_ref(),
            uninstalling: self.uninstalling,
        }
    }

    fn plan(&self) -> Plan {
        plan(&self.view())
    }

    fn side(&mut self, place: Place) -> &mut Objects {
        match place {
            Place::Home => &mut self.home,
            Place::Broker => self
                .broker
                .as_mut()
                .expect("a broker that is written is known"),
        }
    }

    fn put(&mut self, place: Place, object: impl Into<Object>) {
        let object = object.into();
        let side = self.side(place);
        let name = object.metadata().name.clone().expect("a name");
        match object {
            Object::Cluster(cluster) => drop(side.clusters.insert(name, cluster)),
            Object::Endpoint(endpoint) => drop(side.endpoints.insert(name, endpoint)),
        }
    }

    fn take(&mut self, place: Place, kind: Kind, name: &str) -> bool {
        let side = self.side(place);
        match kind {
            Kind::Cluster => side.clusters.remove(name).is_some(),
            Kind::Endpoint => side.endpoints.remove(name).is_some(),
        }
    }

    fn has(&mut self, place: Place, kind: Kind, name: &str) -> bool {
        let side = self.side(place);
        match kind {
            Kind::Cluster => side.clusters.contains_key(name),
            Kind::Endpoint => side.endpoints.contains_key(name),
        }
    }

    /// Does what API servers do. A step for which `fails` says so is not done, nor what waits for it.
    fn apply(
        &mut self,
        plan: &Plan,
        fails: impl Fn(usize) -> bool,
        mut after_each: impl FnMut(&Self),
    ) {
        let mut done = Vec::new();
        for (number, step) in plan.steps.iter().enumerate() {
            let ready = step.after.is_none_or(|after| {
                assert!(after < number, "step {number} waits for a later one");
                done[after]
            });
            let does = ready && !fails(number);
            done.push(does);
            if !does {
                continue;
            }
            match &step.write {
                Write::Create { place, object } => {
                    let name = object.metadata().name.as_deref().expect("a name");
                    assert!(
                        !self.has(*place, object.kind(), name),
                        "{name} is there already"
                    );
                    self.put(*place, object.clone());
                }
                Write::Update { place, object } => {
                    let name = object.metadata().name.as_deref().expect("a name");
                    assert!(self.has(*place, object.kind(), name), "{name} is not there");
                    self.put(*place, object.clone());
                }
                Write::Delete(Deletion {
                    place, kind, name, ..
                }) => {
                    assert!(self.take(*place, *kind, name), "{name} is not there");
                }
            }
            after_each(self);
        }
    }

    /// Once is enough; tells what is refused.
    fn settle(&mut self) -> Vec<Refusal> {
        let first = self.plan();
        self.apply(&first, |_| false, |_| {});
        let second = self.plan();
        assert_eq!(second.steps, [], "one round is enough");
        second.refusals
    }

    fn endpoints(&self, place: Place) -> Vec<&str> {
        let side = match place {
            Place::Home => &self.home,
            Place::Broker => self.broker.as_ref().expect("a broker"),
        };
        side.endpoints.keys().map(String::as_str).collect()
    }
}

fn labelled(name: &str, label: Option<&str>, spec: &Value) -> Value {
    let labels: BTreeMap<_, _> = label
        .map(|label| (BROKER_CLUSTER_ID, label))
        .into_iter()
        .collect();
    json!({"metadata": {"name": name, "labels": labels, "uid": format!("uid-{name}"), "resourceVersion": "7"}, "spec": spec})
}

/// As the recording of a running Submariner has it.
fn cluster(id: &str, label: Option<&str>) -> Cluster {
    let spec = json!({
        "cluster_id": id,
        "cluster_cidr": ["10.8.0.0/16"],
        "service_cidr": ["10.88.0.0/16"],
        "global_cidr": [],
        "color_codes": ["blue"],
    });
    serde_json::from_value(labelled(id, label, &spec)).expect("a Cluster")
}

fn endpoint(id: &str, host: u8, label: Option<&str>) -> Endpoint {
    let cable = format!("submariner-cable-{id}-172-31-1-{host}");
    let name = format!("{id}-{cable}");
    let spec = json!({
        "backend": "vxlan",
        "backend_config": {"natt-discovery-port": "4490", "udp-port": "4500"},
        "cable_name": cable,
        "cluster_id": id,
        "healthCheckIP": "10.8.1.1",
        "hostname": format!("{id}-gw{host}"),
        "nat_enabled": true,
        "private_ip": format!("172.31.1.{host}"),
        "public_ip": "198.51.100.11",
        "subnets": ["10.88.0.0/16", "10.8.0.0/16"],
    });
    serde_json::from_value(labelled(&name, label, &spec)).expect("an Endpoint")
}

fn name(endpoint: &Endpoint) -> String {
    endpoint.metadata.name.clone().expect("a name")
}

const OURS: &str = "c1-submariner-cable-c1-172-31-1-11";
const FORMER: &str = "c1-submariner-cable-c1-172-31-1-12";
const THEIRS: &str = "c2-submariner-cable-c2-172-31-1-21";

/// datastoresyncer: "Cluster syncing › on startup › should create a new Cluster locally and sync to the broker", and the same of
/// "Endpoint syncing".
#[test]
fn datastoresyncer_c43_e50_on_startup_own_objects_are_created_here_and_on_the_broker() {
    let mut world = World::new();
    let writes: Vec<(Place, Kind)> = world
        .plan()
        .steps
        .iter()
        .map(|step| match &step.write {
            Write::Create { place, object } => (*place, object.kind()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        writes,
        [
            (Place::Home, Kind::Cluster),
            (Place::Broker, Kind::Cluster),
            (Place::Home, Kind::Endpoint),
            (Place::Broker, Kind::Endpoint),
        ]
    );
    assert_eq!(world.settle(), []);
    let at_home = &world.home.endpoints[OURS];
    assert_eq!(
        (
            at_home.metadata.namespace.as_deref(),
            &at_home.metadata.labels
        ),
        (Some(HOME), &None)
    );
    let broker = world.broker.as_ref().expect("a broker");
    let there = &broker.endpoints[OURS];
    let label: BTreeMap<_, _> = [(BROKER_CLUSTER_ID.to_owned(), "c1".to_owned())].into();
    assert_eq!(
        (there.metadata.namespace.as_deref(), &there.metadata.labels),
        (Some(BROKER), &Some(label.clone()))
    );
    assert_eq!(broker.clusters["c1"].metadata.labels, Some(label));
    assert_eq!(there.spec, at_home.spec);
}

/// datastoresyncer: "a local Cluster already exists › should update it locally and sync to the broker".
#[test]
fn datastoresyncer_c56_what_exists_is_updated_where_it_was_seen() {
    let mut world = World::connected();
    world
        .home
        .clusters
        .insert("c1".to_owned(), cluster("c1", None));
    world.cluster.cluster_cidr = std::iter::once("10.9.0.0/16".to_owned()).collect();
    let plan = world.plan();
    assert_eq!(plan.steps.len(), 2);
    let Write::Update {
        place: Place::Home,
        object,
    } = &plan.steps[0].write
    else {
        panic!("{plan:?}");
    };
    assert_eq!(object.metadata().resource_version.as_deref(), Some("7"));
    assert_eq!(world.settle(), []);
    assert_eq!(
        world.broker.expect("a broker").clusters["c1"].spec,
        world.cluster
    );
}

/// datastoresyncer: "a remote Cluster (Endpoint) is created, updated and deleted on the broker › should correctly sync the local
/// datastore", and "is synced locally › should not try to re-sync to the broker".
#[test]
fn datastoresyncer_c84_c106_e85_e110_copies_follow_the_broker_and_do_not_go_back() {
    let mut world = World::connected();
    assert_eq!(world.endpoints(Place::Home), [OURS, THEIRS]);
    assert_eq!(
        world.home.endpoints[THEIRS].label(BROKER_CLUSTER_ID),
        Some("c2")
    );
    assert!(world.home.clusters.contains_key("c2"));

    let broker = world.broker.as_mut().expect("a broker");
    let theirs = broker.endpoints.get_mut(THEIRS).expect("theirs");
    theirs.spec.subnets = std::iter::once("10.9.0.0/16".to_owned()).collect();
    let changed = theirs.spec.clone();
    assert_eq!(world.settle(), []);
    assert_eq!(
        world.home.endpoints[THEIRS].spec, changed,
        "defect 8: a change of subnets alone"
    );

    world.take(Place::Broker, Kind::Endpoint, THEIRS);
    world.take(Place::Broker, Kind::Cluster, "c2");
    assert_eq!(world.settle(), []);
    assert_eq!(world.endpoints(Place::Home), [OURS]);
    assert_eq!(world.endpoints(Place::Broker), [OURS]);
    assert!(!world.home.clusters.contains_key("c2"));
}

/// datastoresyncer: "creation of the local Cluster (Endpoint) fails › Start should return an error": here what waits for it waits, the rest
/// is done, and the next round makes it.
#[test]
fn datastoresyncer_c68_e61_what_cannot_be_created_is_created_later() {
    for kind in [Kind::Cluster, Kind::Endpoint] {
        let mut world = World::connected();
        let name = if kind == Kind::Cluster { "c1" } else { OURS };
        world.take(Place::Home, kind, name);
        world.take(Place::Broker, Kind::Endpoint, THEIRS);
        let plan = world.plan();
        let of = |step: &Step| matches!(&step.write, Write::Create { place: Place::Home, object } if object.kind() == kind);
        let failing = plan.steps.iter().position(of).expect("it is created");
        world.apply(&plan, |number| number == failing, |_| {});
        assert!(!world.has(Place::Home, kind, name));
        assert!(!world.has(Place::Home, Kind::Endpoint, THEIRS), "the rest");
        assert_eq!(world.settle(), []);
        assert!(world.has(Place::Home, kind, name));
    }
}

/// datastoresyncer: "a local Cluster is deleted › should delete it from the broker", "the local Endpoint no longer exists › should not
/// recreate the local Endpoint": there a deletion is how a cluster leaves; here that is its uninstallation, and what somebody deletes
/// meanwhile is made again, so that the cluster stays connected.
#[test]
fn datastoresyncer_c74_e153_what_somebody_deletes_is_made_again() {
    let before = World::connected();
    for (kind, name) in [(Kind::Cluster, "c1"), (Kind::Endpoint, OURS)] {
        for place in [Place::Home, Place::Broker] {
            let mut world = World::connected();
            assert!(world.take(place, kind, name));
            assert_eq!(world.settle(), []);
            assert!(world.has(place, kind, name));
            assert_eq!(world.endpoints(Place::Home), before.endpoints(Place::Home));
        }
    }
    let mut world = World::connected();
    world.uninstalling = true;
    assert_eq!(world.settle(), []);
    assert!(!world.has(Place::Broker, Kind::Cluster, "c1"));
}

/// datastoresyncer: "deletion of the Endpoint from the local datastore fails › Start should return an error": here it is tried again.
#[test]
fn datastoresyncer_e193_what_cannot_be_deleted_is_deleted_later() {
    let mut world = World::connected();
    world.put(Place::Home, endpoint("c1", 12, None));
    let plan = world.plan();
    world.apply(
        &plan,
        |number| matches!(plan.steps[number].write, Write::Delete(_)),
        |_| {},
    );
    assert!(world.has(Place::Home, Kind::Endpoint, FORMER));
    assert_eq!(world.settle(), []);
    assert!(!world.has(Place::Home, Kind::Endpoint, FORMER));
}

/// datastoresyncer: "a stale remote Endpoint exists locally › it should delete the Endpoint".
#[test]
fn datastoresyncer_e78_a_copy_without_its_original_is_removed() {
    let mut world = World::connected();
    world.put(Place::Home, endpoint("c3", 31, Some("c3")));
    assert_eq!(world.settle(), []);
    assert_eq!(world.endpoints(Place::Home), [OURS, THEIRS]);
}

/// datastoresyncer: "the local Gateway's global IP is updated › should update the local Endpoint's HealthCheckIP", and
/// apis/submariner.io/v1: "EndpointSpec › Equals": there some fields do not count; here whatever changes is told.
#[test]
fn datastoresyncer_e144_endpoint_224_239_every_change_of_our_endpoint_is_told() {
    type Change = fn(&mut EndpointSpec);
    let changes: [Change; 9] = [
        |spec| spec.health_check_ip = "242.0.255.1".to_owned(),
        |spec| spec.hostname = "other".to_owned(),
        |spec| spec.subnets = Items::default(),
        |spec| spec.public_ip = "198.51.100.12".to_owned(),
        |spec| spec.nat_enabled = false,
        |spec| spec.backend = "wireguard".to_owned(),
        |spec| spec.backend_config.values_mut().for_each(String::clear),
        |spec| spec.public_ip.clear(),
        |spec| spec.backend_config.clear(),
    ];
    for change in changes {
        let mut world = World::connected();
        change(world.endpoint.as_mut().expect("ours"));
        assert_eq!(world.plan().steps.len(), 2);
        assert_eq!(world.settle(), []);
        let wanted = world.endpoint.as_ref().expect("ours");
        assert_eq!(&world.home.endpoints[OURS].spec, wanted);
        assert_eq!(
            &world.broker.as_ref().expect("a broker").endpoints[OURS].spec,
            wanted
        );
    }
}

/// datastoresyncer: "Endpoint exclusivity › an Endpoint initially exists that doesn't match the local Endpoint › should delete the
/// Endpoint from the local datastore and the broker". Submariner does that first; we do it last.
#[test]
fn datastoresyncer_e182_a_former_gateways_endpoint_goes_when_ours_is_there() {
    let mut world = World::connected();
    for (place, name) in [(Place::Home, OURS), (Place::Broker, OURS)] {
        world.take(place, Kind::Endpoint, name);
    }
    world.put(Place::Home, endpoint("c1", 12, None));
    world.put(Place::Broker, endpoint("c1", 12, Some("c1")));
    let plan = world.plan();
    let order: Vec<(Place, bool)> = plan
        .steps
        .iter()
        .map(|step| (step.write.place(), matches!(step.write, Write::Delete(_))))
        .collect();
    assert_eq!(
        order,
        [
            (Place::Home, false),
            (Place::Broker, false),
            (Place::Broker, true),
            (Place::Home, true)
        ]
    );
    assert_eq!(
        (plan.steps[2].after, plan.steps[3].after),
        (Some(1), Some(0))
    );
    let Write::Delete(deletion) = &plan.steps[2].write else {
        panic!("{plan:?}")
    };
    assert_eq!(
        (
            deletion.uid.as_deref(),
            deletion.resource_version.as_deref()
        ),
        (Some(format!("uid-{FORMER}").as_str()), Some("7"))
    );

    let mut failing = world.clone();
    failing.apply(&plan, |step| step == 1, |_| {});
    assert_eq!(
        failing.endpoints(Place::Broker),
        [FORMER, THEIRS],
        "ours could not be written"
    );
    assert_eq!(failing.settle(), [], "the next round makes up for it");

    assert_eq!(world.settle(), []);
    assert_eq!(world.endpoints(Place::Home), [OURS, THEIRS]);
    assert_eq!(world.endpoints(Place::Broker), [OURS, THEIRS]);
}

#[test]
fn a_former_gateways_endpoint_stays_until_ours_is_known() {
    let mut world = World::connected();
    world.endpoint = None;
    assert_eq!(world.plan(), Plan::default());
}

/// datastoresyncer: "an Endpoint initially exists that matches the local Endpoint › should not delete it".
#[test]
fn datastoresyncer_e214_nothing_new_is_nothing_to_do() {
    assert_eq!(World::connected().plan(), Plan::default());
}

/// datastoresyncer: "an Endpoint from another cluster initially exists › should not delete it"; without a label we did not make it.
#[test]
fn datastoresyncer_e237_what_is_not_ours_at_home_stays() {
    let mut world = World::connected();
    let foreign = endpoint("c9", 91, None);
    world.put(Place::Home, foreign.clone());
    assert_eq!(world.settle(), []);
    assert_eq!(world.home.endpoints[&name(&foreign)], foreign);
    world.uninstalling = true;
    assert_eq!(world.settle(), []);
    assert_eq!(world.endpoints(Place::Home), [name(&foreign)]);
}

/// datastoresyncer: "Cluster Cleanup" and "Endpoint cleanup": all copies go, and what is ours on the broker.
#[test]
fn datastoresyncer_c138_c147_e272_e281_uninstalling_leaves_what_is_the_others() {
    let mut world = World::connected();
    world.put(Place::Broker, endpoint("c1", 12, Some("c1")));
    world.uninstalling = true;
    let plan = world.plan();
    let places: Vec<Place> = plan.steps.iter().map(|step| step.write.place()).collect();
    assert!(
        places.is_sorted_by(|a, b| a >= b),
        "the broker first: {places:?}"
    );
    assert_eq!(world.settle(), []);
    assert!(world.home.clusters.is_empty() && world.home.endpoints.is_empty());
    assert_eq!(world.endpoints(Place::Broker), [THEIRS]);
    let clusters: Vec<_> = world
        .broker
        .expect("a broker")
        .clusters
        .into_keys()
        .collect();
    assert_eq!(clusters, ["c2"]);
}

#[test]
fn while_the_broker_is_unknown_copies_stay_and_ours_is_written_here() {
    let mut world = World::connected();
    world.broker = None;
    assert_eq!(world.plan(), Plan::default());
    world.take(Place::Home, Kind::Endpoint, OURS);
    world.put(Place::Home, endpoint("c1", 12, None));
    assert_eq!(world.settle(), []);
    assert_eq!(world.endpoints(Place::Home), [OURS, THEIRS]);
}

#[test]
fn what_tells_two_owners_is_refused_and_said() {
    let disagrees = |label: Option<&str>, id: &str| Why::Disagrees {
        label: label.map(ToOwned::to_owned),
        cluster_id: id.to_owned(),
    };
    for (id, label, why) in [
        ("c2", Some("c3"), disagrees(Some("c3"), "c2")),
        ("c2", None, disagrees(None, "c2")),
        // It would pass for ours here, or there.
        ("c1", Some("c3"), disagrees(Some("c3"), "c1")),
        ("c2", Some("c1"), disagrees(Some("c1"), "c2")),
        ("C_2", Some("C_2"), Why::NoClusterId("C_2".to_owned())),
    ] {
        let mut world = World::connected();
        let odd = endpoint(id, 99, label);
        world.put(Place::Broker, odd.clone());
        let before = world.broker.clone();
        let refusals = world.settle();
        assert_eq!(refusals.len(), 1, "{id} {label:?}");
        assert_eq!((&refusals[0].name, &refusals[0].why), (&name(&odd), &why));
        assert_eq!(world.broker, before, "it stays as it is");
        assert_eq!(world.endpoints(Place::Home), [OURS, THEIRS]);
        let text = refusals[0].to_string();
        assert!(
            text.starts_with("Endpoint \"") && text.contains("on the broker: it is ignored"),
            "{text}"
        );
    }
}

#[test]
fn a_name_that_another_has_is_not_taken() {
    // On the broker: c2 has what would be ours.
    let mut world = World::connected();
    let mut squatter = endpoint("c2", 22, Some("c2"));
    squatter.metadata.name = Some(OURS.to_owned());
    world.put(Place::Broker, squatter.clone());
    let refusals = world.settle();
    let said: Vec<_> = refusals
        .iter()
        .map(|refusal| (refusal.place, &refusal.why))
        .collect();
    assert_eq!(
        said,
        [
            (Place::Home, &Why::NameTaken),
            (Place::Broker, &Why::NameTaken)
        ]
    );
    assert_eq!(
        world.broker.as_ref().expect("a broker").endpoints[OURS],
        squatter
    );
    assert_eq!(world.home.endpoints[OURS].spec.cluster_id, "c1");

    // At home: somebody's own object.
    let mut world = World::connected();
    let foreign = endpoint("c9", 11, None);
    world
        .home
        .endpoints
        .insert(THEIRS.to_owned(), foreign.clone());
    let refusals = world.settle();
    assert_eq!((refusals.len(), &refusals[0].why), (1, &Why::NameTaken));
    assert_eq!(world.home.endpoints[THEIRS], foreign);
}

#[test]
fn what_cannot_be_read_is_no_difference_for_ever() {
    let mut world = World::connected();
    let mut odd: Value = serde_json::to_value(endpoint("c2", 21, Some("c2"))).expect("JSON");
    odd["spec"]["subnets"] = json!(["10.9.0.0/16", 7, "10.99.0.0/16"]);
    let odd: Endpoint = serde_json::from_value(odd).expect("an Endpoint");
    assert_eq!(odd.spec.subnets.bad.len(), 1);
    world.put(Place::Broker, odd);
    assert_eq!(world.settle(), []);
    let copied: Vec<&String> = world.home.endpoints[THEIRS].spec.subnets.iter().collect();
    assert_eq!(copied, ["10.9.0.0/16", "10.99.0.0/16"]);
}

#[test]
fn labels_and_annotations_of_others_stay() {
    let mut world = World::connected();
    for place in [Place::Home, Place::Broker] {
        let ours = world.side(place).endpoints.get_mut(OURS).expect("ours");
        ours.metadata
            .labels
            .get_or_insert_default()
            .insert("team".to_owned(), "net".to_owned());
        ours.metadata
            .annotations
            .get_or_insert_default()
            .insert("note".to_owned(), "mind".to_owned());
    }
    world.endpoint.as_mut().expect("ours").public_ip.clear();
    assert_eq!(world.settle(), []);
    for place in [Place::Home, Place::Broker] {
        let ours = &world.side(place).endpoints[OURS];
        assert_eq!(ours.label("team"), Some("net"));
        assert!(ours.metadata.annotations.is_some());
        assert_eq!(ours.spec.public_ip, "");
    }
}

#[test]
fn what_is_on_its_way_out_is_not_deleted_again() {
    let mut world = World::connected();
    let mut leaving = serde_json::to_value(endpoint("c3", 31, Some("c3"))).expect("JSON");
    leaving["metadata"]["deletionTimestamp"] = json!("2026-11-23T21:39:18Z");
    let leaving: Endpoint = serde_json::from_value(leaving).expect("an Endpoint");
    world.put(Place::Home, leaving);
    assert_eq!(world.plan().steps, []);
}
