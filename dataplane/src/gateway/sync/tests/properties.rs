//! From any state, whatever fails.

use proptest::prelude::*;
use serde_json::json;
use subm_api::Items;

use super::*;

fn label() -> impl Strategy<Value = Option<&'static str>> {
    prop::sample::select(vec![None, Some("c1"), Some("c2"), Some("c3")])
}

fn id() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["c1", "c1", "c2", "c3", "C_4"])
}

/// Few names, so that they meet.
fn endpoints() -> impl Strategy<Value = Vec<Endpoint>> {
    let one = (
        id(),
        11..14_u8,
        label(),
        prop::sample::select(vec![OURS, FORMER, THEIRS, ""]),
        any::<bool>(),
        any::<bool>(),
    );
    let one = one.prop_map(|(id, host, label, other_name, odd, annotated)| {
        let mut endpoint = endpoint(id, host, label);
        if !other_name.is_empty() {
            endpoint.metadata.name = Some(other_name.to_owned());
        }
        if odd {
            endpoint.spec.subnets =
                serde_json::from_value(json!([7, "10.7.0.0/16"])).expect("a list");
        }
        if annotated {
            endpoint
                .metadata
                .labels
                .get_or_insert_default()
                .insert("team".to_owned(), "net".to_owned());
        }
        endpoint
    });
    prop::collection::vec(one, 0..7)
}

fn clusters() -> impl Strategy<Value = Vec<Cluster>> {
    let one = (id(), label(), prop::sample::select(vec!["c1", "c2", "x"]));
    let one = one.prop_map(|(id, label, name)| {
        let mut cluster = cluster(id, label);
        cluster.metadata.name = Some(name.to_owned());
        cluster
    });
    prop::collection::vec(one, 0..4)
}

fn worlds() -> impl Strategy<Value = World> {
    let side = || (clusters(), endpoints());
    (
        side(),
        prop::option::weighted(0.9, side()),
        prop::option::weighted(0.9, 11..14_u8),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(home, broker, host, uninstalling)| {
            let mut world = World::new();
            world.uninstalling = uninstalling;
            world.endpoint = host.map(|host| endpoint("c1", host, None).spec);
            let known = broker.is_some();
            for (place, (clusters, endpoints)) in [
                (Place::Home, home),
                (Place::Broker, broker.unwrap_or_default()),
            ] {
                for object in clusters {
                    world.put(place, object);
                }
                for object in endpoints {
                    world.put(place, object);
                }
            }
            if !known {
                world.broker = None;
            }
            world
        })
}

fn is_another_clusters(object: &Endpoint) -> bool {
    object.spec.cluster_id != "c1"
        || object
            .label(BROKER_CLUSTER_ID)
            .is_some_and(|label| label != "c1")
}

proptest! {
    #[test]
    fn one_round_is_enough_from_anywhere(world in worlds()) {
        let mut world = world;
        let refusals = world.settle();
        let (home, us) = (&world.home, "c1");
        if let (Some(spec), false) = (&world.endpoint, world.uninstalling) {
            let own = endpoint_name(spec).expect("a name");
            let refused = |place| refusals.iter().any(|refusal| refusal.place == place && refusal.name == own);
            if !refused(Place::Home) {
                prop_assert_eq!(&home.endpoints[&own].spec, spec);
                let of_us = home.endpoints.values().filter(|object| object.spec.cluster_id == us && object.label(BROKER_CLUSTER_ID).is_none());
                prop_assert_eq!(of_us.count(), 1);
            }
            if let Some(broker) = &world.broker && !refused(Place::Home) && !refused(Place::Broker) {
                prop_assert_eq!(&broker.endpoints[&own].spec, spec);
                let of_us = broker.endpoints.values().filter(|object| !is_another_clusters(object));
                prop_assert_eq!(of_us.count(), 1);
            }
        }
        let Some(broker) = &world.broker else { return Ok(()) };
        for (name, copy) in home.endpoints.iter().filter(|(_, object)| object.label(BROKER_CLUSTER_ID).is_some_and(|label| label != us)) {
            prop_assert!(!world.uninstalling);
            let original = &broker.endpoints[name];
            prop_assert_eq!(original.label(BROKER_CLUSTER_ID), Some(copy.spec.cluster_id.as_str()));
            prop_assert_eq!(EndpointSpec { subnets: Items::default(), ..original.spec.clone() }, EndpointSpec { subnets: Items::default(), ..copy.spec.clone() });
        }
        for (name, original) in broker.endpoints.iter().filter(|(_, object)| is_another_clusters(object)) {
            let copied = home.endpoints.get(name).is_some_and(|copy| copy.label(BROKER_CLUSTER_ID) == Some(original.spec.cluster_id.as_str()));
            prop_assert!(copied || world.uninstalling || refusals.iter().any(|refusal| &refusal.name == name), "{} is lost", name);
        }
    }

    /// Whatever fails on the way.
    #[test]
    fn what_is_anothers_is_never_written(world in worlds(), failing in prop::collection::btree_set(0..12_usize, 0..4)) {
        let before = world.clone();
        let mut world = world;
        let plan = world.plan();
        world.apply(&plan, |step| failing.contains(&step), |_| {});
        if let (Some(before), Some(after)) = (&before.broker, &world.broker) {
            for (name, object) in before.endpoints.iter().filter(|(_, object)| is_another_clusters(object)) {
                prop_assert_eq!(after.endpoints.get(name), Some(object));
            }
        }
        let foreign = |object: &Endpoint| object.spec.cluster_id != "c1" && object.label(BROKER_CLUSTER_ID).is_none_or(|label| label == "c1");
        for (name, object) in before.home.endpoints.iter().filter(|(_, object)| foreign(object)) {
            prop_assert_eq!(world.home.endpoints.get(name), Some(object));
        }
        world.settle();
    }

    /// From the first step to the last, whatever fails: where a gateway of ours was announced, one is.
    #[test]
    fn make_comes_before_break(world in worlds(), failing in prop::collection::btree_set(0..12_usize, 0..4)) {
        let mut world = world;
        world.uninstalling = false;
        let announced = |world: &World| {
            let here = world.home.endpoints.values().any(|object| {
                object.spec.cluster_id == "c1" && object.label(BROKER_CLUSTER_ID).is_none_or(|label| label == "c1")
            });
            let there = world.broker.as_ref().is_some_and(|broker| broker.endpoints.values().any(|object| !is_another_clusters(object)));
            (here, there)
        };
        let before = announced(&world);
        let plan = world.plan();
        world.apply(&plan, |step| failing.contains(&step), |world| {
            let now = announced(world);
            assert!(now.0 >= before.0 && now.1 >= before.1, "{before:?} became {now:?}");
        });
    }

    /// What is done at one place is what was planned for it, in that order, after what must have been done before.
    #[test]
    fn places_do_not_wait_for_each_other(world in worlds()) {
        let plan = world.plan();
        let mut count = 0;
        for place in [Place::Home, Place::Broker] {
            let steps = plan.at(place);
            let whole: Vec<&Step> = plan.steps.iter().filter(|step| step.write.place() == place).collect();
            prop_assert_eq!(steps.len(), whole.len());
            for (step, planned) in steps.iter().zip(whole) {
                prop_assert_eq!(&step.write, &planned.write);
                let before = step.after.map(|after| &steps[after].write);
                prop_assert_eq!(before, planned.after.map(|after| &plan.steps[after].write));
                count += 1;
            }
        }
        prop_assert_eq!(count, plan.steps.len());
    }
}
