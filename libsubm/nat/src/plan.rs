//! From what should be and what is to the one transaction between them.

use std::fmt;

use serde_json::{Value as Json, json};

use crate::render::{self, Structure};
use crate::set::Elements;
use crate::{Error, Name, Observed, Ruleset};

/// One transaction, or none. Pure: it is made from values, can be printed and compared, and knows no kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    step: Step,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    /// The table goes.
    Remove,
    /// The table is made anew, elements and all.
    Replace(Box<(Structure, Ruleset)>),
    /// Structure stays; these sets change.
    Elements(Vec<Change>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    set: Name,
    map: bool,
    /// What is in it is not understood, and goes.
    flush: bool,
    remove: Elements,
    add: Elements,
}

impl Plan {
    /// What makes `desired` of `observed`. A desire that no kernel could load is an error.
    ///
    /// * an empty ruleset: the table is removed, if there is one;
    /// * structure (chains, rules, declarations of sets) differs: the table is replaced, in one transaction, so that no packet meets
    ///   half of it; counters begin anew;
    /// * else elements that are too much are removed and those that lack are added: the size of the transaction is that of the change.
    pub fn new(desired: &Ruleset, observed: &Observed) -> Result<Self, Error> {
        desired.check()?;
        let step = if desired.is_empty() {
            if observed.exists() {
                Step::Remove
            } else {
                Step::Nothing
            }
        } else {
            let structure = Structure::of(desired);
            if observed.is(&structure, desired) {
                changes(desired, observed)
            } else {
                Step::Replace(Box::new((structure, desired.clone())))
            }
        };
        Ok(Self { step })
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.step == Step::Nothing
    }

    /// Whether the table is made anew.
    pub fn replaces_structure(&self) -> bool {
        matches!(self.step, Step::Replace(_))
    }

    /// How many elements are removed and added one by one.
    pub fn elements(&self) -> (usize, usize) {
        let Step::Elements(changes) = &self.step else {
            return (0, 0);
        };
        let removed = changes.iter().map(|change| change.remove.len()).sum();
        let added = changes.iter().map(|change| change.add.len()).sum();
        (removed, added)
    }

    /// The transaction as JSON for `nft -j -f -`; `None` if there is nothing to do.
    pub fn transaction(&self, table: &Name) -> Option<String> {
        let commands: Vec<Json> = match &self.step {
            Step::Nothing => return None,
            Step::Remove => render::remove(table),
            Step::Replace(whole) => whole.0.commands(table, &whole.1),
            Step::Elements(changes) => {
                // All removals first: an element may take the place of one of another length.
                let flushes = changes.iter().filter(|change| change.flush);
                let flushes = flushes.map(|change| render::flush(table, &change.set, change.map));
                let elements = |verb, which: fn(&Change) -> &Elements| {
                    changes.iter().filter_map(move |change| {
                        render::elements(verb, table, &change.set, which(change))
                    })
                };
                let removals = elements("delete", |change| &change.remove);
                let additions = elements("add", |change| &change.add);
                flushes.chain(removals).chain(additions).collect()
            }
        };
        Some(json!({"nftables": commands}).to_string())
    }
}

fn changes(desired: &Ruleset, observed: &Observed) -> Step {
    let mut changes = Vec::new();
    for (name, set) in &desired.sets {
        let wanted = set.normal();
        let empty = Elements::new();
        let found = observed.elements_of(name);
        let known = found.unwrap_or(&empty);
        let missing_in = |other: &Elements, all: &Elements| -> Elements {
            let missing = all
                .iter()
                .filter(|(key, value)| other.get(key) != Some(value));
            missing.map(|(key, value)| (*key, value.clone())).collect()
        };
        let change = Change {
            set: name.clone(),
            map: set.data().is_some(),
            flush: found.is_none(),
            remove: missing_in(&wanted, known),
            add: missing_in(known, &wanted),
        };
        if change.flush || !change.remove.is_empty() || !change.add.is_empty() {
            changes.push(change);
        }
    }
    if changes.is_empty() {
        Step::Nothing
    } else {
        Step::Elements(changes)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.step {
            Step::Nothing => f.write_str("nothing to do"),
            Step::Remove => f.write_str("remove the table"),
            Step::Replace(whole) => {
                let (structure, ruleset) = &**whole;
                let rules: usize = structure.chains.iter().map(|chain| chain.rules.len()).sum();
                let elements: usize = ruleset.sets.values().map(crate::Set::len).sum();
                write!(
                    f,
                    "replace the table: {} chains, {rules} rules, {} sets, {elements} elements",
                    ruleset.chains.len(),
                    ruleset.sets.len(),
                )
            }
            Step::Elements(changes) => {
                for (at, change) in changes.iter().enumerate() {
                    let comma = if at == 0 { "" } else { ", " };
                    let flush = if change.flush { " emptied" } else { "" };
                    let (removed, added) = (change.remove.len(), change.add.len());
                    write!(f, "{comma}{}:{flush} -{removed} +{added}", change.set)?;
                }
                Ok(())
            }
        }
    }
}
