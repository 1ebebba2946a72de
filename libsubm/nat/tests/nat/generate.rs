//! Arbitrary rulesets that can be loaded.

use std::net::IpAddr;

use ipnet::IpNet;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use subm_nat::{
    AddressType, Base, Chain, ConnectionState, DataType, Family, Hook, Interface, Key, KeyType,
    Kind, Mark, Match, Mss, Name, NatTo, Policy, Ports, Protocol, Rule, Ruleset, Selector, Set,
    Statement, Test, Transport, Value, Verdict,
};

pub(crate) fn net(family: Family) -> BoxedStrategy<IpNet> {
    // Few addresses, so that networks overlap and come again.
    match family {
        Family::V4 => (0_u8..4, 0_u8..4, 8_u8..=32)
            .prop_map(|(a, b, length)| {
                IpNet::new(IpAddr::from([10, a, b, 0]), length)
                    .unwrap()
                    .trunc()
            })
            .boxed(),
        Family::V6 => (0_u16..4, 0_u16..4, select(vec![16, 24, 32, 47, 48, 64]))
            .prop_map(|(a, b, length)| {
                let address = IpAddr::from([0xfd00, a, b, 0, 0, 0, 0, 0]);
                IpNet::new(address, length).unwrap().trunc()
            })
            .boxed(),
    }
}

pub(crate) fn address(family: Family) -> BoxedStrategy<IpAddr> {
    match family {
        Family::V4 => (0_u8..4, 1_u8..20)
            .prop_map(|(a, b)| IpAddr::from([10, 0, a, b]))
            .boxed(),
        Family::V6 => (0_u16..4, 1_u16..20)
            .prop_map(|(a, b)| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, a, b]))
            .boxed(),
    }
}

const PLAIN: [Name; 3] = [
    Name::literal("p0"),
    Name::literal("p1"),
    Name::literal("p2"),
];

fn family() -> impl Strategy<Value = Family> {
    select(Family::ALL.to_vec())
}

fn mark() -> impl Strategy<Value = Mark> {
    let whole = any::<u32>().prop_map(|value| Mark {
        value,
        mask: u32::MAX,
    });
    let bits = (any::<u32>(), 1_u32..).prop_map(|(value, mask)| Mark {
        value: value & mask,
        mask,
    });
    prop_oneof![whole, bits]
}

/// To plain chains above `from`, so that jumps end.
fn verdict(from: usize) -> BoxedStrategy<Verdict> {
    let plain = select(vec![Verdict::Accept, Verdict::Drop, Verdict::Return]);
    match PLAIN.get(from..).unwrap_or_default().to_vec() {
        none if none.is_empty() => plain.boxed(),
        targets => prop_oneof![plain, select(targets).prop_map(Verdict::Jump)].boxed(),
    }
}

fn suffix(family: Family, v4: &'static str, v6: &'static str) -> Name {
    Name::literal(if family == Family::V4 { v4 } else { v6 })
}

fn nets(family: Family) -> Name {
    suffix(family, "nets4", "nets6")
}

fn verdicts(family: Family) -> Name {
    suffix(family, "verdicts4", "verdicts6")
}

fn translations(family: Family) -> Name {
    suffix(family, "translations4", "translations6")
}

/// Every set that rules below refer to, with some elements.
fn sets() -> impl Strategy<Value = Vec<(Name, Set)>> {
    let of_family = |family: Family| {
        let data = if family == Family::V4 {
            DataType::Ipv4
        } else {
            DataType::Ipv6
        };
        let some_nets = proptest::collection::vec(net(family), 0..12);
        // Verdicts of a map may jump to the last chain only; rules of that one look nothing up.
        let some_verdicts = proptest::collection::vec((net(family), verdict(2)), 0..8);
        let some_translations = proptest::collection::vec((address(family), address(family)), 0..8);
        let singles = proptest::collection::vec(address(family), 0..8);
        (some_nets, some_verdicts, some_translations, singles).prop_map(
            move |(some, values, translated, singles)| {
                let mut all = Set::of_nets(family);
                for net in some {
                    all.insert(net);
                }
                let mut map = Set::map_of_nets(family, DataType::Verdict);
                for (net, verdict) in values {
                    map.insert_value(net, verdict);
                }
                let mut addresses = Set::map(family.into(), data);
                for (from, to) in translated {
                    addresses.insert_value(from, to);
                }
                let mut hosts = Set::of(family.into());
                for address in singles {
                    hosts.insert(address);
                }
                vec![
                    (nets(family), all),
                    (verdicts(family), map),
                    (translations(family), addresses),
                    (suffix(family, "hosts4", "hosts6"), hosts),
                ]
            },
        )
    };
    let ports = proptest::collection::vec(1_u16.., 0..6).prop_map(|ports| {
        let mut set = Set::of(KeyType::Port);
        for port in ports {
            set.insert(Key::Port(port));
        }
        vec![(Name::literal("ports"), set)]
    });
    let marks = proptest::collection::vec((any::<u32>(), any::<u32>()), 0..6).prop_map(|marks| {
        let mut map = Set::map(KeyType::Mark, DataType::Mark);
        let mut set = Set::of(KeyType::Mark);
        for (from, to) in marks {
            map.insert_value(Key::Mark(from), Value::Mark(to));
            set.insert(Key::Mark(to));
        }
        vec![
            (Name::literal("marks"), set),
            (Name::literal("remarks"), map),
        ]
    });
    (of_family(Family::V4), of_family(Family::V6), ports, marks)
        .prop_map(|(a, b, c, d)| [a, b, c, d].concat())
}

fn one_match(family: Family, transport: Transport, hook: Option<Hook>) -> BoxedStrategy<Match> {
    let states = vec![
        ConnectionState::New,
        ConnectionState::Established,
        ConnectionState::Related,
        ConnectionState::Invalid,
        ConnectionState::Untracked,
    ];
    let ports = prop_oneof![
        proptest::collection::btree_set(1_u16.., 1..4).prop_map(Ports::Among),
        (1_u16..100, 0_u16..100).prop_map(|(first, more)| Ports::Range(first..=first + more)),
        Just(Ports::In(Name::literal("ports"))),
    ];
    let types = vec![
        AddressType::Local,
        AddressType::Unicast,
        AddressType::Broadcast,
        AddressType::Multicast,
    ];
    let mut all = vec![
        net(family).prop_map(Match::source).boxed(),
        net(family).prop_map(Match::destination).boxed(),
        Just(Match::source(nets(family))).boxed(),
        Just(Match::destination(nets(family))).boxed(),
        mark().prop_map(Match::mark).boxed(),
        mark()
            .prop_map(|mark| Test::ConnectionMark(mark).into())
            .boxed(),
        subsequence(states, 1..=5)
            .prop_map(|states| Test::ConnectionState(states.into_iter().collect()).into())
            .boxed(),
        Just(Test::DestinationTranslated.into()).boxed(),
        ports
            .clone()
            .prop_map(move |ports| Match::destination_port(transport, ports))
            .boxed(),
        ports
            .prop_map(move |ports| Test::SourcePort(transport, ports).into())
            .boxed(),
    ];
    if matches!(hook, Some(Hook::Forward | Hook::Postrouting)) {
        all.push(Just(Match::out_interface(Interface::literal("vx-submariner"))).boxed());
    }
    if matches!(hook, Some(Hook::Prerouting)) {
        all.push(Just(Match::in_interface(Interface::literal("eth0.1"))).boxed());
        all.push(
            select(types)
                .prop_map(|kind| Test::DestinationIs(kind).into())
                .boxed(),
        );
    }
    (proptest::strategy::Union::new(all), any::<bool>())
        .prop_map(|(one, negated)| if negated { one.not() } else { one })
        .boxed()
}

fn rule(base: Option<(Kind, Hook)>, level: usize) -> impl Strategy<Value = Rule> {
    let transport = select(vec![Transport::Tcp, Transport::Udp, Transport::Sctp]);
    (family(), transport).prop_flat_map(move |(family, transport)| {
        let matches =
            proptest::collection::vec(one_match(family, transport, base.map(|base| base.1)), 0..3);
        let others = prop_oneof![
            Just(Statement::Counter),
            mark().prop_map(Statement::SetMark),
            mark().prop_map(Statement::SetConnectionMark),
        ];
        let others = proptest::collection::vec(others, 0..2);
        let last = last_statement(family, base, level);
        let alone = prop_oneof![
            Just(Vec::from([Test::Family(family).into()])),
            Just(vec![Test::Protocol(Protocol::Other(99)).into()]),
            Just(vec![Match::tcp_syn()]),
            matches,
        ];
        (alone, others, proptest::option::of(last), comment()).prop_map(
            |(matches, others, last, comment)| {
                let mut statements = others;
                statements.extend(last);
                Rule {
                    matches,
                    statements,
                    comment,
                }
            },
        )
    })
}

fn comment() -> impl Strategy<Value = String> {
    let long = "ä".repeat(70) + &"long".repeat(30);
    select(vec![
        String::new(),
        "to say \"why\" \\ how\n".to_owned(),
        long,
    ])
}

fn last_statement(
    family: Family,
    base: Option<(Kind, Hook)>,
    level: usize,
) -> BoxedStrategy<Statement> {
    let verdict = verdict(level).prop_map(Statement::from).boxed();
    let to = prop_oneof![
        address(family).prop_map(NatTo::Address),
        (address(family), address(family)).prop_map(|(a, b)| NatTo::Range(a.min(b), a.max(b))),
    ];
    match base {
        Some((Kind::Nat, Hook::Postrouting)) => {
            let map = NatTo::Map(Selector::Source, translations(family));
            let to = prop_oneof![to, Just(map)].prop_map(Statement::Snat);
            let other = select(vec![Statement::Masquerade, Statement::KeepSource(family)]);
            prop_oneof![verdict, to, other].boxed()
        }
        Some((Kind::Nat, _)) => {
            let map = NatTo::Map(Selector::Destination, translations(family));
            let to = prop_oneof![to, Just(map)].prop_map(|to| Statement::Dnat(to, None));
            prop_oneof![verdict, to].boxed()
        }
        // The last plain chain is where maps jump to.
        _ if level >= 2 && base.is_none() => verdict,
        _ => {
            let by = select(vec![Selector::Source, Selector::Destination]);
            let lookup = by.prop_map(move |by| Statement::VerdictFrom(by, verdicts(family)));
            prop_oneof![verdict, lookup].boxed()
        }
    }
}

fn chains() -> impl Strategy<Value = Vec<(Name, Chain)>> {
    let base = |name: &'static str, kind, hook| {
        let policy = if kind == Kind::Nat {
            Just(Policy::Accept).boxed()
        } else {
            select(vec![Policy::Accept, Policy::Drop]).boxed()
        };
        let rules = proptest::collection::vec(rule(Some((kind, hook)), 0), 0..4);
        let chain = (-190_i32..300, policy, rules).prop_map(move |(priority, policy, rules)| {
            let base = Some(Base {
                kind,
                hook,
                priority,
                policy,
            });
            (Name::literal(name), Chain { base, rules })
        });
        proptest::option::of(chain).boxed()
    };
    let plain = |level: usize| {
        let rules = proptest::collection::vec(rule(None, level + 1), 0..3);
        rules
            .prop_map(move |rules| Some((PLAIN[level].clone(), Chain::plain(rules))))
            .boxed()
    };
    vec![
        plain(0),
        plain(1),
        plain(2),
        base("source", Kind::Nat, Hook::Postrouting),
        base("destination", Kind::Nat, Hook::Prerouting),
        base("forward", Kind::Filter, Hook::Forward),
        base("post", Kind::Filter, Hook::Postrouting),
        base("early", Kind::Filter, Hook::Prerouting),
        base("reroute", Kind::Route, Hook::Output),
    ]
    .prop_map(|chains| chains.into_iter().flatten().collect())
}

/// A ruleset, at times the empty one.
pub(crate) fn ruleset() -> BoxedStrategy<Ruleset> {
    let full = (sets(), chains()).prop_map(|(sets, chains)| Ruleset {
        chains: chains.into_iter().collect(),
        sets: sets.into_iter().collect(),
    });
    prop_oneof![1 => Just(Ruleset::new()), 12 => full].boxed()
}

/// Rulesets one after the other: the next has another structure, or other elements only.
pub(crate) fn history() -> impl Strategy<Value = Vec<Ruleset>> {
    let step = (ruleset(), sets(), any::<bool>());
    proptest::collection::vec(step, 1..6).prop_map(|steps| {
        let mut history: Vec<Ruleset> = Vec::new();
        for (ruleset, sets, same) in steps {
            match history.last() {
                Some(last) if same && !last.is_empty() => history.push(Ruleset {
                    chains: last.chains.clone(),
                    sets: sets.into_iter().collect(),
                }),
                _ => history.push(ruleset),
            }
        }
        history
    })
}

/// A clamp, for the tests that say what nft itself makes of each statement.
pub(crate) fn clamps() -> [Statement; 2] {
    [Mss::PathMtu, Mss::Bytes(1360)].map(Statement::ClampMss)
}
