//! What no kernel could load is found before nft is asked, and named by its place.

use std::collections::BTreeSet;

use crate::render::MARKER;
use crate::{
    Addresses, Chain, DataType, Error, Family, Hook, Key, KeyType, Kind, Match, Name, NatTo, Ports,
    Ruleset, Selector, Set, Statement, Test, Value, Verdict,
};

impl Ruleset {
    /// Whether a kernel could load it: what rules refer to is there and of the right type, jumps end, NAT stands where NAT can be.
    ///
    /// [`crate::Plan::new`] asks this itself.
    pub fn check(&self) -> Result<(), Error> {
        for (name, set) in &self.sets {
            let checked = check_set(self, set);
            checked.map_err(|problem| error(format!("set {name}"), problem))?;
        }
        for (name, chain) in &self.chains {
            let place = || format!("chain {name}");
            if *name == MARKER {
                return Err(error(place(), "this name is reserved"));
            }
            if self.sets.contains_key(name) {
                return Err(error(place(), "there is a set of the same name"));
            }
            check_base(chain).map_err(|problem| error(place(), problem))?;
            for (at, rule) in chain.rules.iter().enumerate() {
                let matches = rule.matches.iter().map(|one| check_match(self, one));
                let statements = rule
                    .statements
                    .iter()
                    .map(|one| check_statement(self, chain, one));
                for checked in matches.chain(statements) {
                    checked.map_err(|problem| {
                        error(format!("chain {name}, rule {}", at + 1), problem)
                    })?;
                }
                let verdicts = rule.statements.iter().rev().skip(1);
                if verdicts
                    .clone()
                    .any(|one| matches!(one, Statement::Verdict(_) | Statement::VerdictFrom(..)))
                {
                    let place = format!("chain {name}, rule {}", at + 1);
                    return Err(error(place, "statements after a verdict are never run"));
                }
            }
        }
        self.chains.keys().try_for_each(|name| {
            let returns = self.returns(name, &mut BTreeSet::new(), 0);
            returns.map_err(|problem| error(format!("chain {name}"), problem))
        })
    }

    /// The kernel follows 16 jumps, and no circle.
    fn returns<'a>(
        &'a self,
        name: &'a Name,
        way: &mut BTreeSet<&'a Name>,
        depth: usize,
    ) -> Result<(), &'static str> {
        if !way.insert(name) {
            return Err("jumps lead back to it");
        }
        if depth >= 16 {
            return Err("more than 15 jumps lead on from it");
        }
        let rules = self
            .chains
            .get(name)
            .into_iter()
            .flat_map(|chain| &chain.rules);
        let mut targets = BTreeSet::new();
        for statement in rules.flat_map(|rule| &rule.statements) {
            match statement {
                Statement::Verdict(Verdict::Jump(target)) => drop(targets.insert(target)),
                Statement::VerdictFrom(_, map) => {
                    let values = self.sets.get(map).into_iter().flat_map(Set::elements);
                    targets.extend(values.filter_map(|(_, value)| match value {
                        Some(Value::Verdict(Verdict::Jump(target))) => Some(target),
                        _ => None,
                    }));
                }
                _ => {}
            }
        }
        for target in targets {
            self.returns(target, way, depth + 1)?;
        }
        way.remove(name);
        Ok(())
    }
}

fn error(place: String, problem: impl Into<String>) -> Error {
    Error::Ruleset {
        place,
        problem: problem.into(),
    }
}

fn check_set(ruleset: &Ruleset, set: &Set) -> Result<(), String> {
    if set.interval() && !matches!(set.key(), KeyType::Ipv4 | KeyType::Ipv6) {
        return Err("only addresses can be intervals".to_owned());
    }
    for (key, value) in set.elements() {
        let fits = match key {
            Key::Net(net) => {
                let whole = net.prefix_len() == net.max_prefix_len();
                set.key() == Family::of_net(net).into() && (set.interval() || whole)
            }
            Key::Mark(_) => set.key() == KeyType::Mark,
            Key::Port(_) => set.key() == KeyType::Port,
        };
        if !fits {
            let kind = if set.interval() {
                "networks"
            } else {
                "single values"
            };
            return Err(format!("{key:?} does not fit {kind} of {:?}", set.key()));
        }
        let fits = match value {
            None => set.data().is_none(),
            Some(Value::Address(address)) => set.data() == Some(data_of(Family::of(*address))),
            Some(Value::Mark(_)) => set.data() == Some(DataType::Mark),
            Some(Value::Verdict(verdict)) => {
                check_verdict(ruleset, verdict)?;
                set.data() == Some(DataType::Verdict)
            }
        };
        if !fits {
            return Err(format!(
                "{key:?} has {value:?}, but the data is {:?}",
                set.data()
            ));
        }
    }
    Ok(())
}

fn data_of(family: Family) -> DataType {
    match family {
        Family::V4 => DataType::Ipv4,
        Family::V6 => DataType::Ipv6,
    }
}

fn check_base(chain: &Chain) -> Result<(), &'static str> {
    let Some(base) = chain.base else {
        return Ok(());
    };
    match (base.kind, base.hook) {
        (Kind::Nat, Hook::Forward) => Err("NAT has no hook forward"),
        (Kind::Route, Hook::Prerouting | Hook::Input | Hook::Forward | Hook::Postrouting) => {
            Err("the kind route has the hook output only")
        }
        // The kernel's own connection tracking is at -200.
        (Kind::Nat, _) if base.priority <= -200 => {
            Err("NAT must come after connection tracking: priority above -200")
        }
        _ => Ok(()),
    }
}

fn check_match(ruleset: &Ruleset, one: &Match) -> Result<(), String> {
    match &one.test {
        Test::Source(Addresses::In(set)) | Test::Destination(Addresses::In(set)) => {
            expect_set(ruleset, set, &[KeyType::Ipv4, KeyType::Ipv6])
        }
        Test::Source(Addresses::Net(net)) | Test::Destination(Addresses::Net(net))
            if one.negated && net.prefix_len() == 0 =>
        {
            Err(format!("no address is outside {net}"))
        }
        Test::SourcePort(_, ports) | Test::DestinationPort(_, ports) => match ports {
            Ports::Among(ports) if ports.is_empty() => Err("no port is given".to_owned()),
            Ports::Range(range) if range.is_empty() => Err(format!("{range:?} has no ports")),
            Ports::In(set) => expect_set(ruleset, set, &[KeyType::Port]),
            Ports::Among(_) | Ports::Range(_) => Ok(()),
        },
        Test::ConnectionState(states) if states.is_empty() => {
            Err("no connection state is given".to_owned())
        }
        Test::Mark(mark) | Test::ConnectionMark(mark) if mark.value & !mark.mask != 0 => Err(
            format!("{mark:?} can never match: it has bits outside the mask"),
        ),
        _ => Ok(()),
    }
}

/// A rule that asks whether something is among the keys of a verdict map is refused by kernels as if it jumped.
fn expect_set(ruleset: &Ruleset, set: &Name, types: &[KeyType]) -> Result<(), String> {
    expect_key(ruleset, set, types)?;
    match ruleset.sets.get(set).and_then(Set::data) {
        None => Ok(()),
        Some(_) => Err(format!("{set} is a map, but a set is asked for")),
    }
}

fn expect_key(ruleset: &Ruleset, set: &Name, types: &[KeyType]) -> Result<(), String> {
    match ruleset.sets.get(set) {
        None => Err(format!("there is no set or map {set}")),
        Some(found) if types.contains(&found.key()) => Ok(()),
        Some(found) => Err(format!("{set} is by {:?}, not by {types:?}", found.key())),
    }
}

fn check_statement(ruleset: &Ruleset, chain: &Chain, statement: &Statement) -> Result<(), String> {
    // Plain chains are judged by the kernel: it knows all that call them.
    let nat_at = |hooks: [Hook; 2]| match chain.base {
        Some(base) if base.kind != Kind::Nat => Err("NAT needs a chain of the kind NAT".to_owned()),
        Some(base) if !hooks.contains(&base.hook) => Err(format!(
            "this cannot be done at {:?}, only at {hooks:?}",
            base.hook
        )),
        _ => Ok(()),
    };
    match statement {
        Statement::Masquerade => nat_at([Hook::Postrouting, Hook::Postrouting]),
        Statement::Snat(to) => {
            nat_at([Hook::Postrouting, Hook::Input])?;
            check_nat(ruleset, to)
        }
        Statement::KeepSource(_) => nat_at([Hook::Postrouting, Hook::Input]),
        Statement::Dnat(to, _) => {
            nat_at([Hook::Prerouting, Hook::Output])?;
            check_nat(ruleset, to)
        }
        Statement::VerdictFrom(by, map) => check_lookup(ruleset, *by, map, &[DataType::Verdict]),
        Statement::Verdict(verdict) => check_verdict(ruleset, verdict),
        Statement::SetMark(mark) | Statement::SetConnectionMark(mark)
            if mark.value & !mark.mask != 0 =>
        {
            Err(format!("{mark:?} has bits outside its mask"))
        }
        Statement::Counter
        | Statement::SetMark(_)
        | Statement::SetConnectionMark(_)
        | Statement::ClampMss(_) => Ok(()),
    }
}

fn check_nat(ruleset: &Ruleset, to: &NatTo) -> Result<(), String> {
    match to {
        NatTo::Address(_) => Ok(()),
        NatTo::Range(first, last) if first.is_ipv4() == last.is_ipv4() && first <= last => Ok(()),
        NatTo::Range(first, last) => Err(format!("{first} to {last} is no range")),
        NatTo::Map(by, map) => check_lookup(ruleset, *by, map, &[DataType::Ipv4, DataType::Ipv6]),
    }
}

fn check_lookup(
    ruleset: &Ruleset,
    by: Selector,
    map: &Name,
    data: &[DataType],
) -> Result<(), String> {
    let keys: &[KeyType] = match by {
        Selector::Source | Selector::Destination => &[KeyType::Ipv4, KeyType::Ipv6],
        Selector::Mark => &[KeyType::Mark],
        Selector::DestinationPort(_) => &[KeyType::Port],
    };
    expect_key(ruleset, map, keys)?;
    match ruleset.sets.get(map).and_then(Set::data) {
        Some(found) if data.contains(&found) => Ok(()),
        found => Err(format!("{map} gives {found:?}, not {data:?}")),
    }
}

fn check_verdict(ruleset: &Ruleset, verdict: &Verdict) -> Result<(), String> {
    let Verdict::Jump(target) = verdict else {
        return Ok(());
    };
    match ruleset.chains.get(target) {
        None => Err(format!("there is no chain {target}")),
        Some(chain) if chain.base.is_some() => {
            Err(format!("{target} is a base chain: nobody can jump there"))
        }
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
