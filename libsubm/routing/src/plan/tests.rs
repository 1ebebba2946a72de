use proptest::prelude::*;

use super::*;
use crate::model::{
    Address, Family, Forward, MacAddr, Neighbour, Network, NextHop, Route, Rule, Sysctl, Target,
};

/// What a kernel does with a change, as far as order and consequences go.
#[derive(Clone, Debug)]
struct Model {
    objects: Objects,
    /// Objects of others, which no change may touch.
    foreign: Objects,
    /// Names of desired devices. Who makes one of them that is to be of another kind removes it.
    wanted: BTreeSet<LinkName>,
}

impl Model {
    fn apply(&mut self, change: &Change<Key, Object>) -> Result<(), String> {
        assert!(
            !self.foreign.contains_key(change.key()),
            "{change} touches what is not ours"
        );
        match change {
            Change::Create { key, to } => {
                self.check(to)?;
                if let Some(there) = self.objects.get(key) {
                    // The other end of a pair is made with the first.
                    let pair = matches!(
                        there,
                        Object::Link(Link {
                            kind: LinkKind::Veth { .. },
                            ..
                        })
                    );
                    if !pair {
                        return Err(format!("{key} is there"));
                    }
                }
                self.put(to);
            }
            Change::Update { from, to, .. } => {
                if let (Object::Link(from), Object::Link(to)) = (from, to)
                    && replaces(from, to)
                {
                    return Err(format!("{change}: it cannot be changed into that"));
                }
                if !self.objects.contains_key(change.key()) {
                    return Err(format!("{change}: it is not there"));
                }
                self.check(to)?;
                if let (Object::Link(from), Object::Link(to)) = (from, to)
                    && from.mac != to.mac
                    && to.mac.is_some()
                {
                    self.objects.retain(|_, object| {
                        !matches!(object, Object::Neighbour(neighbour) if neighbour.link == to.name)
                    });
                }
                self.put(to);
            }
            Change::Delete { key, from } => match from {
                Object::Link(link)
                    if link.kind == LinkKind::External && !self.wanted.contains(&link.name) =>
                {
                    self.objects.remove(key);
                }
                Object::Link(link) => self.remove_link(link.name),
                _ => {
                    self.objects
                        .remove(key)
                        .ok_or(format!("{key} is not there"))?;
                }
            },
        }
        Ok(())
    }

    fn put(&mut self, object: &Object) {
        self.objects.insert(object.key(), object.clone());
    }

    /// Whether what an object needs is there, and nothing is in its way.
    fn check(&self, object: &Object) -> Result<(), String> {
        let change = Change::Create {
            key: object.key(),
            to: object.clone(),
        };
        for key in needs(&change) {
            if !self.objects.contains_key(&key) && !self.foreign.contains_key(&key) {
                return Err(format!("{change} needs {key}"));
            }
        }
        if let Some((link, vxlan)) = vxlan(Some(object)) {
            for other in self.objects.values() {
                if let Some((other, theirs)) = super::vxlan(Some(other))
                    && other.name != link.name
                    && (theirs.id, theirs.port) == (vxlan.id, vxlan.port)
                {
                    return Err(format!("{} has the identifier", other.name));
                }
            }
        }
        Ok(())
    }

    fn remove_link(&mut self, name: LinkName) {
        let mut names = BTreeSet::from([name]);
        if let Some(Object::Link(Link {
            kind: LinkKind::Veth { peer },
            ..
        })) = self.objects.remove(&Key::Link(name))
        {
            self.objects.remove(&Key::Link(peer));
            names.insert(peer);
        }
        self.objects.retain(|_, object| match object {
            Object::Link(_) | Object::Rule(_) => true,
            Object::Sysctl(sysctl) => sysctl.key.link().is_none_or(|link| !names.contains(&link)),
            Object::Address(address) => !names.contains(&address.link),
            Object::Neighbour(neighbour) => !names.contains(&neighbour.link),
            Object::Forward(forward) => !names.contains(&forward.link),
            Object::Route(route) => !route.hops().iter().any(|hop| names.contains(&hop.link)),
        });
    }
}

fn name(number: u8) -> LinkName {
    ["subm0", "subm1", "subm2", "subm3"][usize::from(number)]
        .parse()
        .unwrap()
}

fn ip(v6: bool, number: u8) -> std::net::IpAddr {
    if v6 {
        [0xfd00, 0, 0, 0, 0, 0, 0, u16::from(number)].into()
    } else {
        [241, 0, 0, number].into()
    }
}

fn net(v6: bool, number: u8) -> ipnet::IpNet {
    ipnet::IpNet::new(ip(v6, number), if v6 { 128 } else { 32 }).unwrap()
}

/// A network that a kernel could hold: what belongs to a device comes with the device.
fn networks() -> impl Strategy<Value = Network> {
    let kind = prop_oneof![
        (0_u32..3, 0_u16..2, any::<bool>(), prop::option::of(0_u8..2)).prop_map(
            |(id, port, v6, remote)| {
                let mut vxlan = Vxlan::new(id, port).local(ip(v6, 1));
                vxlan.remote = remote.map(|remote| ip(v6, remote));
                LinkKind::Vxlan(vxlan)
            }
        ),
        Just(LinkKind::WireGuard),
        Just(LinkKind::Dummy),
        Just(LinkKind::External),
    ];
    let link = (
        kind,
        prop::option::of(1400_u32..1402),
        prop::option::of(0_u8..2),
    );
    let links = prop::collection::btree_map(0_u8..4, link, 0..4);
    let pair = 0_u8..3;
    let part = (0_u8..6, 0_u8..4, 0_u8..3, any::<bool>(), 0_u8..2);
    (links, pair, prop::collection::vec(part, 0..16)).prop_map(|(links, pair, parts)| {
        let mut network = Network::new();
        let mut taken = BTreeSet::new();
        for (number, (kind, mtu, mac)) in links {
            if let LinkKind::Vxlan(vxlan) = &kind
                && !taken.insert((vxlan.id, vxlan.port))
            {
                continue;
            }
            let mut link = Link::new(name(number), kind);
            link.mtu = mtu;
            link.mac = mac.map(|mac| MacAddr([2, 0, 0, 0, 0, mac]));
            network.insert(link);
        }
        // Both ends of a pair, one, or none.
        if pair > 0 {
            network.insert(Link::veth(name(2), name(3)));
            network.remove(&Key::Link(name(3)));
        }
        if pair > 1 {
            network.insert(Link::veth(name(3), name(2)));
        }
        for (kind, link, number, v6, other) in parts {
            let link = name(link);
            let family = if v6 { Family::V6 } else { Family::V4 };
            let there = network.link(link).is_some();
            match kind {
                0 if there => drop(network.insert(Address::new(link, net(v6, number)))),
                1 if there => drop(network.insert(Neighbour::new(
                    link,
                    ip(v6, number),
                    MacAddr([2, 0, 0, 0, 0, other]),
                ))),
                2 if there => drop(network.insert(Forward::flood(link, ip(v6, number)))),
                3 if there => drop(network.insert(Sysctl::rp_filter(link, other))),
                4 => {
                    let target = match other {
                        0 if there => Target::Unicast(vec![NextHop::dev(link)]),
                        1 if there => Target::Unicast(vec![NextHop::via(ip(v6, number), link)]),
                        _ => Target::Unreachable,
                    };
                    network.insert(Route::new(net(v6, number), target));
                }
                _ => drop(network.insert(Rule::new(
                    family,
                    u32::from(number),
                    100 + u32::from(other),
                ))),
            }
        }
        network
    })
}

fn foreign() -> Objects {
    let eth = "eth0".parse().unwrap();
    Network::new()
        .with(Link::external(eth))
        .with(Route::dev("10.0.0.0/8".parse().unwrap(), eth))
        .with(Rule::new(Family::V4, 32766, 254))
        .into_objects()
}

/// What a kernel shows after `objects` were made: what was left to it is filled in.
fn shown(objects: &Objects) -> Objects {
    let mut objects = objects.clone();
    for object in objects.values_mut() {
        if let Object::Link(link) = object {
            link.mtu = link.mtu.or(Some(1500));
            link.mac = link.mac.or(Some(MacAddr([2, 9, 9, 9, 9, 9])));
        }
    }
    objects
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_plan_leads_to_what_is_desired(desired in networks(), observed in networks()) {
        let (desired, observed) = (desired.into_objects(), observed.into_objects());
        let wanted = desired.values().filter_map(|object| match object {
            Object::Link(link) => Some(link.name),
            _ => None,
        });
        let wanted = wanted.collect();
        let mut model = Model { objects: shown(&observed), foreign: foreign(), wanted };
        let plan = plan(&desired, &model.objects.clone());
        for change in &plan {
            if let Err(error) = model.apply(change) {
                let steps: Vec<_> = plan.iter().map(ToString::to_string).collect();
                prop_assert!(false, "{}: {} in {:#?}", change, error, steps);
            }
        }
        let again = super::plan(&desired, &shown(&model.objects));
        prop_assert!(again.is_empty(), "{again:?}");
        // The other end of a pair may be there and not be meant.
        model.objects.retain(|key, object| desired.contains_key(key) || !is_end_of_desired(object, &desired));
        prop_assert_eq!(model.objects.keys().collect::<Vec<_>>(), desired.keys().collect::<Vec<_>>());
        prop_assert_eq!(model.foreign, foreign());
    }

    #[test]
    fn nothing_is_to_do_when_all_is_as_desired(network in networks()) {
        let objects = network.into_objects();
        prop_assert!(plan(&objects, &objects).is_empty());
        prop_assert!(plan(&objects, &shown(&objects)).is_empty());
    }

    #[test]
    fn the_order_in_which_objects_are_said_means_nothing(network in networks(), seed in any::<prop::sample::Index>()) {
        let mut objects: Vec<_> = network.objects().values().cloned().collect();
        if !objects.is_empty() {
            let at = seed.index(objects.len());
            objects.rotate_left(at);
            objects.reverse();
        }
        prop_assert_eq!(objects.into_iter().collect::<Network>(), network);
    }

    #[test]
    fn a_merge_is_both_or_neither(one in networks(), two in networks()) {
        let mut merged = one.clone();
        match merged.merge(two.clone()) {
            Ok(()) => {
                let keys: BTreeSet<_> = one.objects().keys().chain(two.objects().keys()).collect();
                prop_assert_eq!(merged.objects().keys().collect::<BTreeSet<_>>(), keys);
            }
            Err(conflict) => {
                prop_assert_eq!(merged, one);
                prop_assert_ne!(conflict.first, conflict.second);
            }
        }
    }
}

#[test]
fn a_route_through_a_gateway_comes_after_the_route_to_it() {
    let link = name(0);
    let network = Network::new()
        .with(Route::via(
            "10.0.0.0/8".parse().unwrap(),
            "192.0.2.1".parse().unwrap(),
            link,
        ))
        .with(Route::dev("192.0.2.1/32".parse().unwrap(), link));
    let steps = |plan: Plan<Key, Object>| plan.iter().map(ToString::to_string).collect::<Vec<_>>();
    let empty = Objects::new();
    assert_eq!(
        steps(plan(network.objects(), &empty)),
        [
            "create route 192.0.2.1/32 table 254 metric 0",
            "create route 10.0.0.0/8 table 254 metric 0"
        ]
    );
    assert_eq!(
        steps(plan(&empty, network.objects())),
        [
            "delete route 10.0.0.0/8 table 254 metric 0",
            "delete route 192.0.2.1/32 table 254 metric 0"
        ]
    );
}

#[test]
fn what_the_kernel_fills_in_is_no_difference() {
    let v6 = |metric| Route::dev("fd00:1::/48".parse().unwrap(), name(0)).metric(metric);
    assert_eq!(Network::new().with(v6(0)), Network::new().with(v6(1024)));
    let hops = [
        NextHop::via(ip(false, 2), name(0)),
        NextHop::via(ip(false, 1), name(1)),
    ];
    let route = |hops: Vec<NextHop>| Route::multipath("10.0.0.0/8".parse().unwrap(), hops);
    let reversed = hops.iter().rev().cloned().collect();
    assert_eq!(
        Network::new().with(route(hops.to_vec())),
        Network::new().with(route(reversed))
    );
    let rule = Rule::new(Family::V4, 1, 100);
    assert_eq!(
        Network::new().with(rule.from("0.0.0.0/0".parse().unwrap())),
        Network::new().with(rule)
    );
}
