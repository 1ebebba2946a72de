use super::*;
use crate::{Interface, Mark, Match, Rule, Transport};

const REMOTE: Name = Name::literal("remote");
const CHAIN: Name = Name::literal("chain");

fn of_chain(chain: Chain) -> Ruleset {
    let mut ruleset = Ruleset::new();
    ruleset.chains.insert(CHAIN, chain);
    ruleset
}

fn of_set(set: Set) -> Ruleset {
    let mut ruleset = Ruleset::new();
    ruleset.sets.insert(REMOTE, set);
    ruleset
}

fn nat(hook: Hook, statement: Statement) -> Ruleset {
    of_chain(Chain::base(
        Kind::Nat,
        hook,
        0,
        [Rule::default().then(statement)],
    ))
}

fn rejected(ruleset: &Ruleset, words: &str) {
    let error = ruleset.check().expect_err("rejected").to_string();
    assert!(error.contains(words), "{error:?} does not say {words:?}");
}

#[test]
fn references_and_types() {
    let by_set = |one: Match| of_chain(Chain::plain([Rule::when([one])]));
    rejected(
        &by_set(Match::source(REMOTE)),
        "chain chain, rule 1: there is no set or map remote",
    );
    let mut ports = by_set(Match::source(REMOTE));
    ports.sets.insert(REMOTE, Set::of(KeyType::Port));
    rejected(&ports, "remote is by Port");
    let mut nets = by_set(Match::destination_port(Transport::Udp, Ports::In(REMOTE)));
    nets.sets.insert(REMOTE, Set::of_nets(Family::V4));
    rejected(&nets, "remote is by Ipv4");
    let mut map = by_set(Match::source(REMOTE));
    map.sets
        .insert(REMOTE, Set::map(KeyType::Ipv4, DataType::Verdict));
    rejected(&map, "remote is a map, but a set is asked for");
    let lookup = Statement::VerdictFrom(Selector::Source, REMOTE);
    let mut not_a_map = of_chain(Chain::plain([Rule::default().then(lookup)]));
    not_a_map.sets.insert(REMOTE, Set::of_nets(Family::V4));
    rejected(&not_a_map, "remote gives None");
    let mut wrong_key = of_chain(Chain::plain([
        Rule::default().then(Statement::VerdictFrom(Selector::Mark, REMOTE))
    ]));
    wrong_key
        .sets
        .insert(REMOTE, Set::map(KeyType::Ipv4, DataType::Verdict));
    rejected(&wrong_key, "remote is by Ipv4, not by [Mark]");
}

#[test]
fn elements() {
    let net: ipnet::IpNet = "fd00::/8".parse().unwrap();
    let mut family = Set::of_nets(Family::V4);
    family.insert(net);
    rejected(&of_set(family), "set remote: Net(fd00::/8) does not fit");
    let mut single = Set::of(KeyType::Ipv6);
    single.insert(net);
    rejected(&of_set(single), "does not fit single values");
    let mut value = Set::map_of_nets(Family::V6, DataType::Ipv4);
    value.insert_value(net, Value::Mark(1));
    rejected(&of_set(value), "but the data is Some(Ipv4)");
    let mut none = Set::map_of_nets(Family::V6, DataType::Ipv4);
    none.insert(net);
    rejected(&of_set(none), "has None");
    let mut target = Set::map_of_nets(Family::V6, DataType::Verdict);
    target.insert_value(net, Verdict::Jump(CHAIN));
    rejected(&of_set(target.clone()), "there is no chain chain");
    let mut base = of_set(target);
    base.chains
        .insert(CHAIN, Chain::base(Kind::Filter, Hook::Input, 0, []));
    rejected(&base, "chain is a base chain");
}

#[test]
fn jumps_end() {
    let jump = |to: &Name| Rule::default().then(Verdict::Jump(to.clone()));
    rejected(
        &of_chain(Chain::plain([jump(&CHAIN)])),
        "jumps lead back to it",
    );
    // By way of a map.
    let mut map = Set::map_of_nets(Family::V4, DataType::Verdict);
    map.insert_value(
        "10.0.0.0/8".parse::<ipnet::IpNet>().unwrap(),
        Verdict::Jump(CHAIN),
    );
    let lookup = Statement::VerdictFrom(Selector::Source, REMOTE);
    let mut circle = of_chain(Chain::plain([Rule::default().then(lookup)]));
    circle.sets.insert(REMOTE, map);
    rejected(&circle, "jumps lead back to it");
    let name = |at: usize| format!("c{at}").parse::<Name>().unwrap();
    let ladder = |length: usize| {
        let mut ruleset = Ruleset::new();
        for at in 0..length {
            ruleset
                .chains
                .insert(name(at), Chain::plain([jump(&name(at + 1))]));
        }
        ruleset.chains.insert(name(length), Chain::default());
        ruleset
    };
    ladder(15).check().unwrap();
    rejected(&ladder(16), "more than 15 jumps");
}

#[test]
fn nat_stands_where_it_can() {
    let to = || NatTo::Address([10, 0, 0, 1].into());
    rejected(
        &nat(Hook::Forward, Statement::Masquerade),
        "NAT has no hook forward",
    );
    rejected(
        &nat(Hook::Prerouting, Statement::Masquerade),
        "this cannot be done at Prerouting",
    );
    rejected(
        &nat(Hook::Prerouting, Statement::KeepSource(Family::V4)),
        "this cannot be done at",
    );
    rejected(
        &nat(Hook::Postrouting, Statement::Dnat(to(), None)),
        "this cannot be done at",
    );
    nat(Hook::Postrouting, Statement::Snat(to()))
        .check()
        .unwrap();
    nat(Hook::Output, Statement::Dnat(to(), Some(80)))
        .check()
        .unwrap();
    let filter = Chain::base(
        Kind::Filter,
        Hook::Postrouting,
        0,
        [Rule::default().then(Statement::Masquerade)],
    );
    rejected(&of_chain(filter), "NAT needs a chain of the kind NAT");
    let range = NatTo::Range([10, 0, 0, 2].into(), [10, 0, 0, 1].into());
    rejected(
        &nat(Hook::Postrouting, Statement::Snat(range)),
        "10.0.0.2 to 10.0.0.1 is no range",
    );
    let early = Chain::base(Kind::Nat, Hook::Postrouting, -200, []);
    rejected(&of_chain(early), "after connection tracking");
    rejected(
        &of_chain(Chain::base(Kind::Route, Hook::Input, 0, [])),
        "output only",
    );
}

#[test]
fn what_can_never_match_or_run() {
    let of_match = |one: Match| of_chain(Chain::plain([Rule::when([one])]));
    let none = Ports::Among(BTreeSet::new());
    rejected(
        &of_match(Match::destination_port(Transport::Tcp, none)),
        "no port is given",
    );
    #[expect(clippy::reversed_empty_ranges, reason = "that is the mistake")]
    let reversed = Ports::Range(2..=1);
    rejected(
        &of_match(Match::destination_port(Transport::Tcp, reversed)),
        "has no ports",
    );
    rejected(
        &of_match(Test::ConnectionState(BTreeSet::new()).into()),
        "no connection state",
    );
    rejected(
        &of_match(Match::mark(Mark { value: 3, mask: 1 })),
        "can never match",
    );
    let everything: ipnet::IpNet = "::/0".parse().unwrap();
    rejected(
        &of_match(Match::source(everything).not()),
        "no address is outside ::/0",
    );
    let late = Rule::when([Match::in_interface(Interface::literal("eth0"))])
        .then(Verdict::Accept)
        .then(Statement::Counter);
    rejected(
        &of_chain(Chain::plain([late])),
        "rule 1: statements after a verdict are never run",
    );
    let mark = Statement::SetMark(Mark { value: 3, mask: 1 });
    rejected(
        &of_chain(Chain::plain([Rule::default().then(mark)])),
        "bits outside its mask",
    );
}

#[test]
fn names_of_our_own() {
    let mut reserved = Ruleset::new();
    reserved.chains.insert(MARKER, Chain::default());
    rejected(&reserved, "this name is reserved");
    let mut both = of_chain(Chain::default());
    both.sets.insert(CHAIN, Set::of(KeyType::Port));
    rejected(&both, "there is a set of the same name");
}
