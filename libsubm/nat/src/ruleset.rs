//! A whole table as a value.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::{Error, Name, Rule, Set};

/// All that stands in our table. The empty one means: no table.
///
/// Order of insertion does not matter, but that of the rules in a chain does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// Chains by name.
    pub chains: BTreeMap<Name, Chain>,
    /// Sets and maps by name. nft knows one space of names for both.
    pub sets: BTreeMap<Name, Set>,
}

/// A chain of rules: hooked into the way of packets, or plain, called by others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Where packets come in; plain chains have none.
    pub base: Option<Base>,
    /// What is asked, in order.
    pub rules: Vec<Rule>,
}

/// Where a base chain is hooked in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// What its rules may do.
    pub kind: Kind,
    /// Where on the way of a packet.
    pub hook: Hook,
    /// Base chains of all tables run from the lowest to the highest. See [`priority`].
    pub priority: i32,
    /// What becomes of packets that come to the end.
    pub policy: Policy,
}

/// What rules of a base chain may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// All but NAT; sees every packet.
    Filter,
    /// NAT too; sees the first packet of each connection.
    Nat,
    /// As filter, and packets are routed again after it; output only.
    Route,
}

/// A place on the way of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// Came in, not yet routed.
    Prerouting,
    /// Routed, for this machine.
    Input,
    /// Routed, for another one.
    Forward,
    /// Made by this machine.
    Output,
    /// About to leave.
    Postrouting,
}

/// What becomes of packets at the end of a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policy {
    /// Next base chain.
    Accept,
    /// The end.
    Drop,
}

/// Priorities which iptables and nft give names to.
pub mod priority {
    /// `mangle`.
    pub const MANGLE: i32 = -150;
    /// `dstnat`.
    pub const DSTNAT: i32 = -100;
    /// `filter`.
    pub const FILTER: i32 = 0;
    /// `srcnat`.
    pub const SRCNAT: i32 = 100;
}

impl Ruleset {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it says that there should be no table.
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.sets.is_empty()
    }

    /// Takes in another: rules of chains that both have come after ours, elements of sets that both have are united, the other's
    /// values winning.
    pub fn merge(&mut self, other: Self) -> Result<(), Error> {
        for (name, chain) in &other.chains {
            if self
                .chains
                .get(name)
                .is_some_and(|own| own.base != chain.base)
            {
                let name = name.clone();
                return Err(Error::Merge {
                    kind: "chain",
                    name,
                });
            }
        }
        for (name, set) in &other.sets {
            if self
                .sets
                .get(name)
                .is_some_and(|own| !own.declared_like(set))
            {
                let name = name.clone();
                return Err(Error::Merge { kind: "set", name });
            }
        }
        for (name, chain) in other.chains {
            match self.chains.entry(name) {
                Entry::Vacant(place) => drop(place.insert(chain)),
                Entry::Occupied(mut own) => own.get_mut().rules.extend(chain.rules),
            }
        }
        for (name, set) in other.sets {
            match self.sets.entry(name) {
                Entry::Vacant(place) => drop(place.insert(set)),
                Entry::Occupied(mut own) => own.get_mut().extend(set),
            }
        }
        Ok(())
    }
}

impl Chain {
    /// A plain chain.
    pub fn plain(rules: impl IntoIterator<Item = Rule>) -> Self {
        Self {
            base: None,
            rules: rules.into_iter().collect(),
        }
    }

    /// A base chain with the policy accept.
    pub fn base(
        kind: Kind,
        hook: Hook,
        priority: i32,
        rules: impl IntoIterator<Item = Rule>,
    ) -> Self {
        Self {
            base: Some(Base {
                kind,
                hook,
                priority,
                policy: Policy::Accept,
            }),
            rules: rules.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DataType, KeyType, Statement, Verdict};

    const NAME: Name = Name::literal("one");

    fn of_chain(chain: Chain) -> Ruleset {
        let mut ruleset = Ruleset::new();
        ruleset.chains.insert(NAME, chain);
        ruleset
    }

    fn of_set(set: Set) -> Ruleset {
        let mut ruleset = Ruleset::new();
        ruleset.sets.insert(NAME, set);
        ruleset
    }

    #[test]
    fn merging_appends_rules_and_unites_elements() {
        let rule = |statement: Statement| Rule::default().then(statement);
        let mut chains = of_chain(Chain::plain([rule(Statement::Counter)]));
        let other = of_chain(Chain::plain([rule(Verdict::Drop.into())]));
        chains.merge(other).unwrap();
        assert_eq!(chains.chains[&NAME].rules.len(), 2);
        assert_eq!(chains.chains[&NAME].rules[1], rule(Verdict::Drop.into()));
        let [mut one, mut other] = [Set::of(KeyType::Port), Set::of(KeyType::Port)];
        one.insert(crate::Key::Port(1));
        other.insert(crate::Key::Port(2));
        let mut sets = of_set(one);
        sets.merge(of_set(other)).unwrap();
        assert_eq!(sets.sets[&NAME].len(), 2);
        let before = sets.clone();
        sets.merge(Ruleset::new()).unwrap();
        assert_eq!(sets, before);
    }

    #[test]
    fn what_contradicts_cannot_be_merged_and_changes_nothing() {
        let mut plain = of_chain(Chain::default());
        let before = plain.clone();
        let base = of_chain(Chain::base(Kind::Filter, Hook::Input, 0, []));
        let error = plain.merge(base).unwrap_err().to_string();
        assert_eq!(
            error,
            "rulesets cannot be merged: both declare chain one, but not alike"
        );
        assert_eq!(plain, before);
        let mut set = of_set(Set::of(KeyType::Mark));
        let map = of_set(Set::map(KeyType::Mark, DataType::Verdict));
        assert!(set.merge(map).unwrap_err().to_string().contains("set one"));
    }
}
