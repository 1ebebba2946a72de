//! The broker's ConfigMaps that say which member has which addresses, as Go Submariner writes them.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::Object;
use crate::cidr::{CidrError, Pool, parse};
use crate::names::{CLUSTERSETIP_INFO, GLOBALNET_INFO};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Globalnet,
    ClustersetIp,
}

/// One of the ConfigMaps, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InfoMap {
    pub purpose: Purpose,
    pub enabled: bool,
    /// `None` where it names no range: nothing can be allocated.
    pub pool: Option<Pool>,
}

#[derive(Debug, thiserror::Error)]
pub enum InfoMapError {
    #[error("ConfigMap {map} on the broker: {key} cannot be read: {value:?}")]
    Value {
        map: &'static str,
        key: &'static str,
        value: String,
    },
    #[error("ConfigMap {map} on the broker")]
    Pool {
        map: &'static str,
        #[source]
        source: CidrError,
    },
}

/// One member's entry in `clusterinfo`.
#[derive(Deserialize, Serialize)]
struct Entry {
    cluster_id: String,
    // Go has one type for both maps, hence this name for cluster set IPs, too.
    #[serde(default)]
    global_cidr: Option<Vec<String>>,
}

impl Purpose {
    pub fn map_name(self) -> &'static str {
        match self {
            Self::Globalnet => GLOBALNET_INFO,
            Self::ClustersetIp => CLUSTERSETIP_INFO,
        }
    }

    /// Keys: enabled, range, size.
    fn keys(self) -> [&'static str; 3] {
        match self {
            Self::Globalnet => [
                "globalnetEnabled",
                "globalnetCidrRange",
                "globalnetClusterSize",
            ],
            Self::ClustersetIp => [
                "clustersetIPEnabled",
                "clustersetIPCidrRange",
                "clustersetIPClusterSize",
            ],
        }
    }

    fn component(self) -> &'static str {
        match self {
            Self::Globalnet => "submariner-globalnet",
            Self::ClustersetIp => "submariner-clustersetip",
        }
    }
}

const MEMBERS: &str = "clusterinfo";

impl InfoMap {
    /// Becomes what is wanted now, unless members have addresses of it. A range that is not wanted any more is kept for when it is.
    pub fn ask(&mut self, wanted: &Self) {
        let in_use = self
            .pool
            .as_ref()
            .is_some_and(|pool| !pool.members().is_empty());
        if !in_use {
            self.enabled = wanted.enabled;
            self.pool = wanted.pool.clone().or(self.pool.take());
        }
    }

    /// The data of a ConfigMap.
    pub fn read(purpose: Purpose, data: &BTreeMap<String, String>) -> Result<Self, InfoMapError> {
        let map = purpose.map_name();
        let [enabled, range, size] = purpose.keys();
        let bad = |key: &'static str| InfoMapError::Value {
            map,
            key,
            value: data.get(key).cloned().unwrap_or_default(),
        };
        let pool_error = |source| InfoMapError::Pool { map, source };
        let is_enabled = data
            .get(enabled)
            .is_some_and(|text| text.trim_matches('"') == "true");
        // A JSON string; quotes that somebody left out by hand are not missed.
        let text = data
            .get(range)
            .map(|text| text.trim().trim_matches('"'))
            .unwrap_or_default();
        let pool = if text.is_empty() {
            None
        } else {
            let range = parse(text).map_err(pool_error)?;
            let addresses = data
                .get(size)
                .and_then(|text| text.trim().trim_matches('"').parse().ok())
                .ok_or_else(|| bad(size))?;
            let mut members: BTreeMap<String, Vec<Ipv4Net>> = BTreeMap::new();
            let entries = data.get(MEMBERS).map_or("[]", String::as_str);
            let entries: Vec<Entry> = match entries.trim() {
                "" | "null" => Vec::new(),
                text => serde_json::from_str(text).map_err(|_| bad(MEMBERS))?,
            };
            for entry in entries {
                let nets = entry.global_cidr.unwrap_or_default();
                let nets: Result<Vec<_>, _> = nets.iter().map(|net| parse(net)).collect();
                members.insert(entry.cluster_id, nets.map_err(pool_error)?);
            }
            Some(
                Pool::new(range, addresses)
                    .map_err(pool_error)?
                    .with_members(members),
            )
        };
        Ok(Self {
            purpose,
            enabled: is_enabled,
            pool,
        })
    }

    /// The data of the ConfigMap.
    pub fn data(&self) -> BTreeMap<String, String> {
        let [enabled, range, size] = self.purpose.keys();
        let mut data = BTreeMap::from([(enabled.to_owned(), self.enabled.to_string())]);
        let mut entries = Vec::new();
        if let Some(pool) = &self.pool {
            data.insert(range.to_owned(), format!("\"{}\"", pool.range()));
            data.insert(size.to_owned(), pool.size().to_string());
            for (id, nets) in pool.members() {
                entries.push(Entry {
                    cluster_id: id.clone(),
                    global_cidr: Some(nets.iter().map(ToString::to_string).collect()),
                });
            }
        }
        data.insert(MEMBERS.to_owned(), tab_indented(&entries));
        data
    }

    /// The ConfigMap.
    pub fn object(&self, namespace: &str) -> Object {
        Object::ours(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": self.purpose.map_name(),
                "namespace": namespace,
                "labels": {"component": self.purpose.component()},
            },
            "data": self.data(),
        }))
    }
}

/// Go's `MarshalIndent` with tabs.
fn tab_indented(entries: &[Entry]) -> String {
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut text = Vec::new();
    let mut writer = serde_json::Serializer::with_formatter(&mut text, formatter);
    // Strings and lists of strings always have a JSON form, and that is UTF-8.
    entries.serialize(&mut writer).expect("plain values");
    String::from_utf8(text).expect("JSON")
}
