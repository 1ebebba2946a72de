//! nft as far as this crate uses it: what a transaction makes of a list of tables, all or nothing.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use ipnet::IpNet;
use serde_json::{Value as Json, json};

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Nft {
    pub(crate) tables: BTreeMap<String, Table>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Table {
    pub(crate) chains: BTreeMap<String, Json>,
    pub(crate) sets: BTreeMap<String, Set>,
    pub(crate) rules: Vec<Json>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Set {
    kind: &'static str,
    declaration: Json,
    /// By the key as text; with the network that it is in a set of intervals.
    elements: BTreeMap<String, (Option<IpNet>, Json)>,
}

impl Nft {
    pub(crate) fn load(&mut self, transaction: &str) -> Result<()> {
        let transaction: Json = serde_json::from_str(transaction)?;
        let mut next = self.clone();
        for command in transaction["nftables"].as_array().context("no list")? {
            next.run(command).with_context(|| command.to_string())?;
        }
        *self = next;
        Ok(())
    }

    fn run(&mut self, command: &Json) -> Result<()> {
        let (verb, object) = only(command)?;
        let (kind, fields) = only(object)?;
        ensure!(fields["family"] == "inet", "of another family");
        if kind == "table" {
            let name = text(fields, "name")?;
            match verb {
                "add" => drop(self.tables.entry(name).or_default()),
                "delete" => drop(self.tables.remove(&name).context("no such table")?),
                other => bail!("{other}?"),
            }
            return Ok(());
        }
        let table = self
            .tables
            .get_mut(&text(fields, "table")?)
            .context("no such table")?;
        match (verb, kind) {
            ("add", "chain") => drop(table.chains.insert(text(fields, "name")?, fields.clone())),
            ("add", "set" | "map") => {
                let kind = if kind == "set" { "set" } else { "map" };
                let (declaration, elements) = (fields.clone(), BTreeMap::new());
                let set = Set {
                    kind,
                    declaration,
                    elements,
                };
                ensure!(
                    table.sets.insert(text(fields, "name")?, set).is_none(),
                    "declared twice"
                );
            }
            ("add", "rule") => {
                ensure!(
                    table.chains.contains_key(&text(fields, "chain")?),
                    "no such chain"
                );
                ensure!(
                    text(fields, "comment")?.len() < 128,
                    "the comment is too long"
                );
                table.refers(&fields["expr"])?;
                table.rules.push(fields.clone());
            }
            ("add", "element") => table.add(fields)?,
            ("delete", "element") => {
                let set = table
                    .sets
                    .get_mut(&text(fields, "name")?)
                    .context("no such set")?;
                for element in fields["elem"].as_array().context("no elements")? {
                    set.elements
                        .remove(&set.key(element))
                        .context("no such element")?;
                }
            }
            ("flush", "set" | "map") => {
                let set = table
                    .sets
                    .get_mut(&text(fields, "name")?)
                    .context("no such set")?;
                ensure!(set.kind == kind, "it is a {}", set.kind);
                set.elements.clear();
            }
            other => bail!("{other:?}?"),
        }
        Ok(())
    }

    /// What `nft -j list table inet NAME` prints; `None` where it fails.
    pub(crate) fn list(&self, name: &str) -> Option<Vec<u8>> {
        let table = self.tables.get(name)?;
        let mut objects = vec![
            json!({"metainfo": {"version": "1.0.6", "json_schema_version": 1}}),
            json!({"table": {"family": "inet", "name": name, "handle": 1}}),
        ];
        for set in table.sets.values() {
            let mut fields = set.declaration.clone();
            if !set.elements.is_empty() {
                fields["elem"] = set
                    .elements
                    .values()
                    .map(|(_, element)| element.clone())
                    .collect();
            }
            objects.push(json!({set.kind: fields}));
        }
        objects.extend(table.chains.values().map(|chain| json!({"chain": chain})));
        objects.extend(table.rules.iter().map(|rule| json!({"rule": rule})));
        Some(json!({"nftables": objects}).to_string().into_bytes())
    }
}

impl Table {
    fn add(&mut self, fields: &Json) -> Result<()> {
        let name = text(fields, "name")?;
        let elements = fields["elem"].as_array().context("no elements")?;
        elements
            .iter()
            .try_for_each(|element| self.refers(element))?;
        let set = self.sets.get_mut(&name).context("no such set")?;
        for element in elements {
            ensure!(
                element.is_array() == (set.kind == "map"),
                "values are for maps"
            );
            let key = set.key(element);
            let net = set
                .declaration
                .get("flags")
                .map(|_| read(&key))
                .transpose()?;
            if let Some(net) = net {
                for other in set.elements.values().filter_map(|(other, _)| *other) {
                    ensure!(
                        !net.contains(&other) && !other.contains(&net),
                        "{net} overlaps {other}"
                    );
                }
            } else {
                ensure!(
                    !key.contains("prefix"),
                    "a network, but the set is not of intervals"
                );
            }
            let before = set.elements.insert(key, (net, element.clone()));
            ensure!(before.is_none(), "added twice");
        }
        Ok(())
    }

    /// Whether all sets and chains that are referred to are there by now.
    fn refers(&self, json: &Json) -> Result<()> {
        match json {
            Json::String(text) => {
                if let Some(set) = text.strip_prefix('@') {
                    ensure!(self.sets.contains_key(set), "no set {set}");
                }
            }
            Json::Array(list) => list.iter().try_for_each(|one| self.refers(one))?,
            Json::Object(fields) => {
                if let Some(jump) = fields.get("jump") {
                    ensure!(
                        self.chains.contains_key(&text(jump, "target")?),
                        "no chain {jump}"
                    );
                }
                fields.values().try_for_each(|one| self.refers(one))?;
            }
            _ => {}
        }
        Ok(())
    }
}

impl Set {
    fn key(&self, element: &Json) -> String {
        let key = if self.kind == "map" {
            &element[0]
        } else {
            element
        };
        key.to_string()
    }
}

fn read(key: &str) -> Result<IpNet> {
    let key: Json = serde_json::from_str(key)?;
    match key.get("prefix") {
        Some(prefix) => Ok(format!(
            "{}/{}",
            prefix["addr"].as_str().context("addr")?,
            prefix["len"]
        )
        .parse()?),
        None => Ok(key
            .as_str()
            .context("an address")?
            .parse::<std::net::IpAddr>()?
            .into()),
    }
}

fn only(json: &Json) -> Result<(&str, &Json)> {
    let fields = json.as_object().context("no object")?;
    ensure!(fields.len() == 1, "not one field");
    let (name, value) = fields.iter().next().context("empty")?;
    Ok((name, value))
}

fn text(fields: &Json, name: &str) -> Result<String> {
    Ok(fields[name]
        .as_str()
        .with_context(|| format!("no {name}"))?
        .to_owned())
}
