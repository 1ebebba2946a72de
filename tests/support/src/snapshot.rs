//! What is in the kernel of a node, as text that can be compared: "before" and "after uninstall" must be equal.
//!
//! One line for each fact: of links and addresses, routes of all tables, rules, permanent neighbours and forwarding entries
//! (`ip`, `bridge`), the nft ruleset, iptables where they are installed, and every kernel parameter below `/proc/sys/net`.
//! Counters, timers, handles, indices and whatever the kernel learns by itself are left out; so are carriers and the routes
//! that the kernel makes of IPv6 addresses, which it does up to a second later.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value};

use crate::Binaries;
use crate::netns::NetNs;

/// Fields of `ip -d -j` that change by themselves, or say nothing but where an object happens to be in memory.
const VOLATILE: [&str; 12] = [
    "operstate",
    "ifindex",
    "link_index",
    "link_netnsid",
    "topology_change",
    "topology_change_detected",
    "tentative",
    "valid_life_time",
    "preferred_life_time",
    "expires",
    "used",
    "confirmed",
];

/// Parameters that count, are secrets, or only belong to the whole machine.
const VOLATILE_SYSCTLS: [&str; 6] = [
    "nf_conntrack_count",
    "stable_secret",
    "tcp_fastopen_key",
    "flush",
    "dad_transmits_left",
    "nf_conntrack_buckets",
];

/// The facts of one network namespace at one time.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use subm_test_support::{KernelState, NetNs};
/// let node = NetNs::new()?;
/// let before = KernelState::of(&node)?;
/// node.ip("rule add pref 150 lookup 150")?;
/// assert!(before.changes(&KernelState::of(&node)?).contains("+ rule ip priority=150"));
/// node.ip("rule del pref 150 lookup 150")?;
/// before.ensure_same(&KernelState::of(&node)?)?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelState(BTreeSet<String>);

impl KernelState {
    pub fn of(netns: &NetNs) -> Result<Self> {
        let mut lines = BTreeSet::new();
        let json = |program: &str, words: &str| -> Result<Vec<Value>> {
            let words: Vec<&str> = words.split(' ').collect();
            let text = netns.output(program, &words)?;
            if text.trim().is_empty() {
                return Ok(Vec::new());
            }
            serde_json::from_str(&text).with_context(|| format!("{program} {words:?}: {text}"))
        };
        for link in json("ip", "-d -j address show")? {
            let name = field(&link, "ifname").to_owned();
            let Value::Object(mut link) = link else {
                continue;
            };
            for address in link
                .remove("addr_info")
                .and_then(into_array)
                .unwrap_or_default()
            {
                lines.insert(format!("address {name} {}", words(&address)));
            }
            leaves(&mut lines, &format!("link {name}"), &link);
        }
        // Of a bridge's port: disabled or forwarding, by its carrier.
        lines.retain(|line| !line.contains("linkinfo.info_slave_data.state="));
        for (family, flag) in [("ip", "-4"), ("ip6", "-6")] {
            for route in json("ip", &format!("{flag} -d -j route show table all"))? {
                if family == "ip" || field(&route, "protocol") != "kernel" {
                    lines.insert(format!("route {family} {}", words(&route)));
                }
            }
            for rule in json("ip", &format!("{flag} -d -j rule show"))? {
                lines.insert(format!("rule {family} {}", words(&rule)));
            }
            for neighbour in json("ip", &format!("{flag} -d -j neighbour show nud permanent"))? {
                lines.insert(format!("neighbour {family} {}", words(&neighbour)));
            }
        }
        for entry in json("bridge", "-d -j fdb show")? {
            let learned = field(&entry, "state") != "permanent";
            // Follows from who listens where.
            let multicast = ["33:33:", "01:00:5e:"]
                .iter()
                .any(|start| field(&entry, "mac").starts_with(start));
            if !learned && !multicast {
                lines.insert(format!("fdb {}", words(&entry)));
            }
        }
        nft(
            &mut lines,
            &netns.output("nft", &["-s", "list", "ruleset"])?,
        );
        for program in ["iptables-save", "ip6tables-save"] {
            if Binaries::find(program).is_ok() {
                iptables(&mut lines, program, &netns.output(program, &[])?);
            }
        }
        netns.run(|| {
            sysctls(&mut lines, Path::new("/proc/sys/net"));
            Ok(())
        })?;
        Ok(Self(lines))
    }

    /// What was added (`+`) and removed (`-`) since, a line each; empty if nothing was.
    pub fn changes(&self, since: &Self) -> String {
        let removed = self
            .0
            .difference(&since.0)
            .map(|line| format!("- {line}\n"));
        let added = since
            .0
            .difference(&self.0)
            .map(|line| format!("+ {line}\n"));
        removed.chain(added).collect()
    }

    /// An error that lists the changes, if there are any.
    pub fn ensure_same(&self, after: &Self) -> Result<()> {
        let changes = self.changes(after);
        ensure!(
            changes.is_empty(),
            "the kernel's state is not as before:\n{changes}"
        );
        Ok(())
    }

    /// The facts that `want` says yes to, such as those of one table.
    #[must_use]
    pub fn only(&self, want: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|line| want(line)).cloned().collect())
    }

    /// Each fact as a line.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Display for KernelState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

fn into_array(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(list) => Some(list),
        _ => None,
    }
}

fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// An object as `key=value` words in the order of the keys.
fn words(value: &Value) -> String {
    let mut leaves = BTreeSet::new();
    if let Value::Object(map) = value {
        collect(&mut leaves, "", map);
    }
    let words: Vec<String> = leaves
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    words.join(" ")
}

/// A line for each leaf: links have many.
fn leaves(lines: &mut BTreeSet<String>, start: &str, map: &Map<String, Value>) {
    let mut leaves = BTreeSet::new();
    collect(&mut leaves, "", map);
    lines.extend(
        leaves
            .into_iter()
            .map(|(key, value)| format!("{start} {key}={value}")),
    );
}

fn collect(leaves: &mut BTreeSet<(String, String)>, path: &str, map: &Map<String, Value>) {
    for (key, value) in map {
        if VOLATILE.contains(&key.as_str()) || key.ends_with("_timer") {
            continue;
        }
        let at = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        match value {
            Value::Object(map) => collect(leaves, &at, map),
            Value::Array(list) if key == "flags" => {
                let mut flags: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
                flags.retain(|flag| !["NO-CARRIER", "LOWER_UP", "linkdown"].contains(flag));
                leaves.insert((at, flags.join(",")));
            }
            Value::String(text) => {
                leaves.insert((at, text.clone()));
            }
            other => {
                leaves.insert((at, other.to_string()));
            }
        }
    }
}

/// Each line with the table and chain that it is in. The order of a chain's rules matters: they are numbered.
fn nft(lines: &mut BTreeSet<String>, ruleset: &str) {
    let mut within: Vec<String> = Vec::new();
    let mut number = 0;
    for line in ruleset
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        if let Some(block) = line.strip_suffix(" {") {
            within.push(block.to_owned());
            number = 0;
            lines.insert(format!("nft {}", within.join(" ")));
        } else if line == "}" {
            within.pop();
        } else {
            number += 1;
            lines.insert(format!("nft {} {number}: {line}", within.join(" ")));
        }
    }
}

fn iptables(lines: &mut BTreeSet<String>, program: &str, rules: &str) {
    let (mut table, mut number) = ("", 0);
    for line in rules.lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('*') {
            (table, number) = (name, 0);
        }
        // ":INPUT ACCEPT [0:0]"
        let without_counters = line.split(" [").next().unwrap_or(line);
        number += 1;
        lines.insert(format!("{program} {table} {number}: {without_counters}"));
    }
}

/// What cannot be read is left out: some can only be written to.
fn sysctls(lines: &mut BTreeSet<String>, dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sysctls(lines, &path);
        } else if !VOLATILE_SYSCTLS
            .iter()
            .any(|name| path.file_name().is_some_and(|have| have == *name))
            && let Ok(value) = fs::read_to_string(&path)
        {
            let name = path.strip_prefix("/proc/sys").unwrap_or(&path);
            lines.insert(format!("sysctl {} {}", name.display(), value.trim_end()));
        }
    }
}
