//! What nft lists of our table.
//!
//! Reading never fails on what it does not know: a person may have put anything into the table, and other versions of nft print
//! more. What is not understood counts as not being what we want.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value as Json;

use crate::render::{MARKER, Structure, data_type, hook, key_type, policy};
use crate::set::Elements;
use crate::{DataType, Error, Family, Key, KeyType, Name, Ruleset, Value, Verdict};

/// What stands in the kernel under the name of our table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    table: Option<Table>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Table {
    chains: BTreeMap<String, Chain>,
    sets: BTreeMap<String, Found>,
    /// Objects of other kinds (flowtables, named counters …): nothing of ours.
    strange: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Chain {
    hook: Option<String>,
    priority: Option<i64>,
    policy: Option<String>,
    /// In order.
    comments: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Found {
    key: Option<KeyType>,
    data: Option<DataType>,
    /// `None` if an element is not understood.
    elements: Option<Elements>,
}

impl Observed {
    /// No such table.
    pub fn absent() -> Self {
        Self::default()
    }

    /// Reads what `nft -j list table inet NAME` printed.
    pub fn read(name: &Name, listing: &[u8]) -> Result<Self, Error> {
        let listing: Json = serde_json::from_slice(listing).map_err(Error::Unreadable)?;
        let objects = listing.get("nftables").and_then(Json::as_array);
        let objects = objects.ok_or(Error::Shape("list \"nftables\""))?;
        let mut table = None;
        for object in objects.iter().filter_map(Json::as_object) {
            for (kind, fields) in object {
                if text(fields, "family") != Some("inet") {
                    continue;
                }
                if kind == "table" {
                    if text(fields, "name") == Some(name.as_str()) {
                        table.get_or_insert_with(Table::default);
                    }
                } else if text(fields, "table") == Some(name.as_str()) {
                    table.get_or_insert_with(Table::default).read(kind, fields);
                }
            }
        }
        Ok(Self { table })
    }

    /// Whether there is a table of our name.
    pub fn exists(&self) -> bool {
        self.table.is_some()
    }

    /// How many elements all its sets and maps have together, as far as they were understood.
    pub fn elements(&self) -> usize {
        let sets = self.table.iter().flat_map(|table| table.sets.values());
        sets.filter_map(|set| set.elements.as_ref())
            .map(Elements::len)
            .sum()
    }

    /// Whether chains, rules and declarations are those of `ruleset`, which is rendered as `structure`.
    pub(crate) fn is(&self, structure: &Structure, ruleset: &Ruleset) -> bool {
        self.table
            .as_ref()
            .is_some_and(|table| table.is(structure, ruleset))
    }

    /// The elements of a set; `None` if they are not understood.
    pub(crate) fn elements_of(&self, set: &Name) -> Option<&Elements> {
        self.table
            .as_ref()?
            .sets
            .get(set.as_str())?
            .elements
            .as_ref()
    }
}

impl Table {
    fn read(&mut self, kind: &str, fields: &Json) {
        let own_name = || text(fields, "name").unwrap_or_default().to_owned();
        match kind {
            "chain" => {
                let chain = self.chains.entry(own_name()).or_default();
                chain.hook = text(fields, "hook").map(str::to_owned);
                chain.priority = fields.get("prio").and_then(Json::as_i64);
                chain.policy = text(fields, "policy").map(str::to_owned);
            }
            "rule" => {
                let chain = text(fields, "chain").unwrap_or_default().to_owned();
                let comment = text(fields, "comment").unwrap_or_default().to_owned();
                self.chains.entry(chain).or_default().comments.push(comment);
            }
            "set" | "map" => drop(self.sets.insert(own_name(), Found::read(fields))),
            _ => self.strange += 1,
        }
    }

    fn is(&self, structure: &Structure, ruleset: &Ruleset) -> bool {
        // The hash says what was written. What people changed since shows in the number and the comments of rules, each of which
        // begins with a hash of its own, and in a base chain's fields.
        let written = self.chains.get(MARKER.as_str());
        let written = written.is_some_and(|marker| marker.comments == [structure.hash.as_str()]);
        let chains = structure.chains.iter().all(|chain| {
            let Some(found) = self.chains.get(chain.name.as_str()) else {
                return false;
            };
            let comments = chain.rules.iter().map(|rule| rule.comment.as_str());
            let base = match chain.base {
                None => found.hook.is_none(),
                Some(base) => {
                    found.hook.as_deref() == Some(hook(base.hook))
                        && found.priority == Some(base.priority.into())
                        && found.policy.as_deref() == Some(policy(base.policy))
                }
            };
            base && comments.eq(found.comments.iter().map(String::as_str))
        });
        let sets = ruleset.sets.iter().all(|(name, set)| {
            let found = self.sets.get(name.as_str());
            found.is_some_and(|found| (found.key, found.data) == (Some(set.key()), set.data()))
        });
        written
            && chains
            && sets
            && self.chains.len() == structure.chains.len() + 1
            && self.sets.len() == ruleset.sets.len()
            && self.strange == 0
    }
}

impl Found {
    fn read(fields: &Json) -> Self {
        const KEYS: [KeyType; 4] = [KeyType::Ipv4, KeyType::Ipv6, KeyType::Mark, KeyType::Port];
        const DATA: [DataType; 4] = [
            DataType::Ipv4,
            DataType::Ipv6,
            DataType::Mark,
            DataType::Verdict,
        ];
        let key = text(fields, "type");
        let key = key.and_then(|name| KEYS.into_iter().find(|key| key_type(*key) == name));
        let data = text(fields, "map");
        let data = data.and_then(|name| DATA.into_iter().find(|data| data_type(*data) == name));
        let elements = match fields.get("elem") {
            None => Some(Elements::new()),
            Some(list) => key.and_then(|key| read_elements(list, key, data)),
        };
        Self {
            key,
            data,
            elements,
        }
    }
}

fn text<'a>(fields: &'a Json, name: &str) -> Option<&'a str> {
    fields.get(name)?.as_str()
}

fn read_elements(list: &Json, key: KeyType, data: Option<DataType>) -> Option<Elements> {
    let mut elements = Elements::new();
    for element in list.as_array()? {
        let (left, value) = match data {
            None => (element, None),
            Some(data) => {
                let [left, right] = element.as_array()?.as_slice() else {
                    return None;
                };
                (left, Some(read_value(right, data)?))
            }
        };
        elements.insert(read_key(left, key)?, value);
    }
    Some(elements)
}

fn read_key(json: &Json, kind: KeyType) -> Option<Key> {
    if let Some(wrapped) = json.get("elem") {
        // With a comment, a timeout, a counter. There is no such wrapping inside the wrapping.
        let inner = wrapped.get("val")?;
        return inner.get("elem").is_none().then(|| read_key(inner, kind))?;
    }
    match kind {
        KeyType::Mark => Some(Key::Mark(json.as_u64()?.try_into().ok()?)),
        KeyType::Port => Some(Key::Port(json.as_u64()?.try_into().ok()?)),
        KeyType::Ipv4 | KeyType::Ipv6 => {
            let net = read_net(json)?;
            (KeyType::from(Family::of_net(&net)) == kind).then_some(Key::Net(net))
        }
    }
}

/// Ranges that are no network are not ours: nobody could delete them network by network.
fn read_net(json: &Json) -> Option<IpNet> {
    if let Some(prefix) = json.get("prefix") {
        let length = prefix.get("len")?.as_u64()?.try_into().ok()?;
        let net = IpNet::new(read_address(prefix.get("addr")?)?, length).ok()?;
        return Some(net.trunc());
    }
    Some(read_address(json)?.into())
}

fn read_address(json: &Json) -> Option<IpAddr> {
    json.as_str()?.parse().ok()
}

fn read_value(json: &Json, data: DataType) -> Option<Value> {
    match data {
        DataType::Ipv4 => read_address(json)
            .filter(IpAddr::is_ipv4)
            .map(Value::Address),
        DataType::Ipv6 => read_address(json)
            .filter(IpAddr::is_ipv6)
            .map(Value::Address),
        DataType::Mark => Some(Value::Mark(json.as_u64()?.try_into().ok()?)),
        DataType::Verdict => {
            let (word, argument) = json.as_object()?.iter().next()?;
            let verdict = match word.as_str() {
                "accept" => Verdict::Accept,
                "drop" => Verdict::Drop,
                "return" => Verdict::Return,
                "jump" => Verdict::Jump(text(argument, "target")?.parse().ok()?),
                _ => return None,
            };
            Some(Value::Verdict(verdict))
        }
    }
}

#[cfg(test)]
mod tests;
