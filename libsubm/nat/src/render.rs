//! A ruleset as nft's JSON (`libnftables-json(5)`), in the dialect of nft 1.0.6, which later ones understand.
//!
//! Order within a transaction: chains, sets, elements, rules. A verdict map's elements may name chains, and nft 1.0.6 sends the
//! elements of a set that is new in the transaction together with its declaration.

use std::net::IpAddr;

use data_encoding::HEXLOWER;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use crate::set::Elements;
use crate::{
    AddressType, Addresses, Base, ConnectionState, DataType, Family, Hook, Key, KeyType, Kind,
    Mark, Match, Mss, Name, NatTo, Policy, Ports, Rule, Ruleset, Selector, Set, Statement, Test,
    Transport, Value, Verdict,
};

/// The chain whose one rule carries the hash of the structure in its comment. Nothing calls it. nft 1.0.6 keeps comments only of
/// rules when it is spoken to in JSON.
pub(crate) const MARKER: Name = Name::literal("subm-structure");

/// Goes into the hash, so that a version of this crate which renders differently replaces what an older one wrote.
const DIALECT: &str = "subm-nat 1";

/// A ruleset's structure, rendered: all but the elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Structure {
    pub(crate) chains: Vec<RenderedChain>,
    sets: Vec<(Name, Json)>,
    /// Of all that is above.
    pub(crate) hash: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RenderedChain {
    pub(crate) name: Name,
    pub(crate) base: Option<Base>,
    pub(crate) rules: Vec<RenderedRule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RenderedRule {
    /// What stands in the kernel as its comment; begins with a hash of the rule.
    pub(crate) comment: String,
    expressions: Json,
}

impl Structure {
    /// `ruleset` was checked.
    pub(crate) fn of(ruleset: &Ruleset) -> Self {
        let rules = |rules: &[Rule]| {
            rules
                .iter()
                .map(|rule| render_rule(ruleset, rule))
                .collect()
        };
        let chains: Vec<_> = ruleset
            .chains
            .iter()
            .map(|(name, chain)| RenderedChain {
                name: name.clone(),
                base: chain.base,
                rules: rules(&chain.rules),
            })
            .collect();
        let sets: Vec<_> = ruleset
            .sets
            .iter()
            .map(|(name, set)| (name.clone(), declaration(set)))
            .collect();
        let mut hash = Sha256::new();
        hash.update(DIALECT);
        for chain in &chains {
            hash.update(json!([chain.name.as_str(), chain.base.map(base)]).to_string());
            for rule in &chain.rules {
                hash.update(json!([rule.comment, rule.expressions]).to_string());
            }
        }
        for (name, declaration) in &sets {
            hash.update(json!([name.as_str(), declaration]).to_string());
        }
        Self {
            chains,
            sets,
            hash: HEXLOWER.encode(&hash.finalize()),
        }
    }

    /// The commands that make `table` anew with this structure and the elements of `ruleset`.
    pub(crate) fn commands(&self, table: &Name, ruleset: &Ruleset) -> Vec<Json> {
        // `add` first: `delete` of what is not there fails.
        let mut commands = remove(table);
        commands.push(add_table(table));
        for chain in &self.chains {
            let mut fields = chain.base.map_or_else(|| json!({}), base);
            place(&mut fields, table);
            fields["name"] = chain.name.as_str().into();
            commands.push(json!({"add": {"chain": fields}}));
        }
        for (name, declaration) in &self.sets {
            let mut fields = declaration.clone();
            place(&mut fields, table);
            fields["name"] = name.as_str().into();
            let kind = if fields.get("map").is_some() {
                "map"
            } else {
                "set"
            };
            commands.push(json!({"add": {kind: fields}}));
        }
        for (name, set) in &ruleset.sets {
            commands.extend(elements("add", table, name, &set.normal()));
        }
        for chain in &self.chains {
            for rule in &chain.rules {
                let mut fields = json!({
                    "chain": chain.name.as_str(), "expr": rule.expressions, "comment": rule.comment,
                });
                place(&mut fields, table);
                commands.push(json!({"add": {"rule": fields}}));
            }
        }
        let mut chain = json!({"name": MARKER.as_str()});
        place(&mut chain, table);
        commands.push(json!({"add": {"chain": chain}}));
        let mut rule =
            json!({"chain": MARKER.as_str(), "expr": [{"return": null}], "comment": self.hash});
        place(&mut rule, table);
        commands.push(json!({"add": {"rule": rule}}));
        commands
    }
}

/// The commands that leave no `table`, whether there is one or not.
pub(crate) fn remove(table: &Name) -> Vec<Json> {
    let delete = json!({"delete": {"table": {"family": "inet", "name": table.as_str()}}});
    vec![add_table(table), delete]
}

fn add_table(table: &Name) -> Json {
    json!({"add": {"table": {"family": "inet", "name": table.as_str()}}})
}

/// A command that adds or deletes elements; none if there are no elements.
pub(crate) fn elements(verb: &str, table: &Name, set: &Name, elements: &Elements) -> Option<Json> {
    if elements.is_empty() {
        return None;
    }
    let element = |(key, value): (&Key, &Option<Value>)| match value {
        None => render_key(*key),
        Some(value) => json!([render_key(*key), render_value(value)]),
    };
    let list: Vec<_> = elements.iter().map(element).collect();
    let mut fields = json!({"name": set.as_str(), "elem": list});
    place(&mut fields, table);
    Some(json!({verb: {"element": fields}}))
}

/// A command that empties a set or map.
pub(crate) fn flush(table: &Name, set: &Name, map: bool) -> Json {
    let mut fields = json!({"name": set.as_str()});
    place(&mut fields, table);
    let kind = if map { "map" } else { "set" };
    json!({"flush": {kind: fields}})
}

fn place(fields: &mut Json, table: &Name) {
    fields["family"] = "inet".into();
    fields["table"] = table.as_str().into();
}

fn declaration(set: &Set) -> Json {
    let mut fields = json!({"type": key_type(set.key())});
    if let Some(data) = set.data() {
        fields["map"] = data_type(data).into();
    }
    if set.interval() {
        fields["flags"] = json!(["interval"]);
    }
    fields
}

pub(crate) fn key_type(key: KeyType) -> &'static str {
    match key {
        KeyType::Ipv4 => "ipv4_addr",
        KeyType::Ipv6 => "ipv6_addr",
        KeyType::Mark => "mark",
        KeyType::Port => "inet_service",
    }
}

pub(crate) fn data_type(data: DataType) -> &'static str {
    match data {
        DataType::Ipv4 => "ipv4_addr",
        DataType::Ipv6 => "ipv6_addr",
        DataType::Mark => "mark",
        DataType::Verdict => "verdict",
    }
}

fn base(base: Base) -> Json {
    json!({
        "type": kind(base.kind), "hook": hook(base.hook), "prio": base.priority, "policy": policy(base.policy),
    })
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Filter => "filter",
        Kind::Nat => "nat",
        Kind::Route => "route",
    }
}

pub(crate) fn hook(hook: Hook) -> &'static str {
    match hook {
        Hook::Prerouting => "prerouting",
        Hook::Input => "input",
        Hook::Forward => "forward",
        Hook::Output => "output",
        Hook::Postrouting => "postrouting",
    }
}

pub(crate) fn policy(policy: Policy) -> &'static str {
    match policy {
        Policy::Accept => "accept",
        Policy::Drop => "drop",
    }
}

fn render_rule(ruleset: &Ruleset, rule: &Rule) -> RenderedRule {
    let matches = rule.matches.iter().map(|one| render_match(ruleset, one));
    let statements = rule
        .statements
        .iter()
        .map(|one| render_statement(ruleset, one));
    let expressions = Json::Array(matches.chain(statements).collect());
    // nft's limit is 128 bytes with the closing zero.
    let said: String = rule.comment.chars().take(100).map(printable).collect();
    let hash = Sha256::digest(json!([said, expressions]).to_string());
    let comment = format!("{} {said}", HEXLOWER.encode(&hash[..8]));
    RenderedRule {
        comment: comment.trim_end().to_owned(),
        expressions,
    }
}

/// nft has no way to quote.
fn printable(sign: char) -> char {
    match sign {
        '"' => '\'',
        '\\' => '/',
        ' '..='~' => sign,
        _ => '?',
    }
}

fn render_match(ruleset: &Ruleset, one: &Match) -> Json {
    let (left, right) = match &one.test {
        Test::Family(family) => family_is(*family),
        Test::Source(addresses) => address_is(ruleset, "saddr", addresses),
        Test::Destination(addresses) => address_is(ruleset, "daddr", addresses),
        Test::InInterface(interface) => (meta("iifname"), json!(interface.as_str())),
        Test::OutInterface(interface) => (meta("oifname"), json!(interface.as_str())),
        Test::Protocol(protocol) => (meta("l4proto"), json!(protocol.number())),
        Test::SourcePort(transport, ports) => (port("sport", *transport), render_ports(ports)),
        Test::DestinationPort(transport, ports) => (port("dport", *transport), render_ports(ports)),
        Test::Mark(mark) => (masked(meta("mark"), *mark), json!(mark.value)),
        Test::ConnectionMark(mark) => (masked(ct("mark"), *mark), json!(mark.value)),
        Test::ConnectionState(states) => {
            let states: Vec<_> = states
                .iter()
                .map(|state| connection_state(*state))
                .collect();
            (ct("state"), json!({"set": states}))
        }
        Test::DestinationTranslated => (json!({"&": [ct("status"), "dnat"]}), json!("dnat")),
        Test::SourceIs(kind) => (fib("saddr"), json!(address_type(*kind))),
        Test::DestinationIs(kind) => (fib("daddr"), json!(address_type(*kind))),
        Test::TcpSyn => {
            let flags = json!({"payload": {"protocol": "tcp", "field": "flags"}});
            (json!({"&": [flags, {"|": ["syn", "rst"]}]}), json!("syn"))
        }
    };
    let op = if one.negated { "!=" } else { "==" };
    json!({"match": {"op": op, "left": left, "right": right}})
}

fn meta(key: &str) -> Json {
    json!({"meta": {"key": key}})
}

fn ct(key: &str) -> Json {
    json!({"ct": {"key": key}})
}

fn fib(address: &str) -> Json {
    json!({"fib": {"result": "type", "flags": [address]}})
}

fn port(field: &str, transport: Transport) -> Json {
    let protocol = match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
        Transport::Sctp => "sctp",
    };
    json!({"payload": {"protocol": protocol, "field": field}})
}

fn render_ports(ports: &Ports) -> Json {
    match ports {
        Ports::Among(ports) => json!({"set": ports}),
        Ports::Range(range) => json!({"range": [range.start(), range.end()]}),
        Ports::In(set) => reference(set),
    }
}

fn reference(set: &Name) -> Json {
    format!("@{set}").into()
}

fn family_is(family: Family) -> (Json, Json) {
    let name = match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    };
    (meta("nfproto"), name.into())
}

fn ip(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}

fn address(family: Family, field: &str) -> Json {
    json!({"payload": {"protocol": ip(family), "field": field}})
}

fn address_is(ruleset: &Ruleset, field: &str, addresses: &Addresses) -> (Json, Json) {
    match addresses {
        Addresses::Net(net) => {
            let family = Family::of_net(net);
            if net.prefix_len() == 0 {
                return family_is(family);
            }
            (address(family, field), render_key(Key::Net(*net)))
        }
        Addresses::In(name) => {
            let family = family_of(ruleset, name);
            (address(family, field), reference(name))
        }
    }
}

/// That of a set or map by address.
fn family_of(ruleset: &Ruleset, name: &Name) -> Family {
    match ruleset.sets.get(name).map(Set::key) {
        Some(KeyType::Ipv6) => Family::V6,
        _ => Family::V4,
    }
}

fn masked(key: Json, mark: Mark) -> Json {
    if mark.mask == u32::MAX {
        key
    } else {
        json!({"&": [key, mark.mask]})
    }
}

fn connection_state(state: ConnectionState) -> &'static str {
    match state {
        ConnectionState::New => "new",
        ConnectionState::Established => "established",
        ConnectionState::Related => "related",
        ConnectionState::Invalid => "invalid",
        ConnectionState::Untracked => "untracked",
    }
}

fn address_type(kind: AddressType) -> &'static str {
    match kind {
        AddressType::Local => "local",
        AddressType::Unicast => "unicast",
        AddressType::Broadcast => "broadcast",
        AddressType::Multicast => "multicast",
    }
}

fn render_statement(ruleset: &Ruleset, statement: &Statement) -> Json {
    match statement {
        Statement::Counter => json!({"counter": null}),
        Statement::SetMark(mark) => set_mark(&meta("mark"), *mark),
        Statement::SetConnectionMark(mark) => set_mark(&ct("mark"), *mark),
        Statement::ClampMss(mss) => {
            let value = match mss {
                Mss::PathMtu => json!({"rt": {"key": "mtu"}}),
                Mss::Bytes(bytes) => json!(bytes),
            };
            json!({"mangle": {"key": {"tcp option": {"name": "maxseg", "field": "size"}}, "value": value}})
        }
        Statement::Masquerade => json!({"masquerade": null}),
        Statement::Snat(to) => json!({"snat": nat(ruleset, to)}),
        Statement::KeepSource(family) => {
            json!({"snat": {"family": ip(*family), "addr": address(*family, "saddr")}})
        }
        Statement::Dnat(to, port) => {
            let mut fields = nat(ruleset, to);
            if let Some(port) = port {
                fields["port"] = (*port).into();
            }
            json!({"dnat": fields})
        }
        Statement::VerdictFrom(by, map) => json!({"vmap": lookup(ruleset, *by, map)}),
        Statement::Verdict(verdict) => render_verdict(verdict),
    }
}

fn set_mark(key: &Json, mark: Mark) -> Json {
    let value = if mark.mask == u32::MAX {
        json!(mark.value)
    } else {
        json!({"|": [{"&": [key, !mark.mask]}, mark.value & mark.mask]})
    };
    json!({"mangle": {"key": key, "value": value}})
}

fn nat(ruleset: &Ruleset, to: &NatTo) -> Json {
    match to {
        NatTo::Address(address) => json!({"family": ip(Family::of(*address)), "addr": address}),
        NatTo::Range(first, last) => {
            json!({"family": ip(Family::of(*first)), "addr": {"range": [first, last]}})
        }
        NatTo::Map(by, map) => {
            let data = ruleset.sets.get(map).and_then(Set::data);
            let family = if data == Some(DataType::Ipv6) {
                Family::V6
            } else {
                Family::V4
            };
            json!({"family": ip(family), "addr": {"map": lookup(ruleset, *by, map)}})
        }
    }
}

fn lookup(ruleset: &Ruleset, by: Selector, map: &Name) -> Json {
    let key = match by {
        Selector::Source => address(family_of(ruleset, map), "saddr"),
        Selector::Destination => address(family_of(ruleset, map), "daddr"),
        Selector::Mark => meta("mark"),
        Selector::DestinationPort(transport) => port("dport", transport),
    };
    json!({"key": key, "data": reference(map)})
}

fn render_verdict(verdict: &Verdict) -> Json {
    match verdict {
        Verdict::Accept => json!({"accept": null}),
        Verdict::Drop => json!({"drop": null}),
        Verdict::Return => json!({"return": null}),
        Verdict::Jump(chain) => json!({"jump": {"target": chain.as_str()}}),
    }
}

fn render_key(key: Key) -> Json {
    match key {
        Key::Net(net) if net.prefix_len() == net.max_prefix_len() => render_address(net.addr()),
        Key::Net(net) => json!({"prefix": {"addr": net.addr(), "len": net.prefix_len()}}),
        Key::Mark(mark) => json!(mark),
        Key::Port(port) => json!(port),
    }
}

fn render_address(address: IpAddr) -> Json {
    json!(address)
}

fn render_value(value: &Value) -> Json {
    match value {
        Value::Address(address) => render_address(*address),
        Value::Mark(mark) => json!(mark),
        Value::Verdict(verdict) => render_verdict(verdict),
    }
}
