//! Clusters that are nowhere but on the broker.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use base64::Engine as _;
use kube::Client;
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _};
use serde_json::{Value, json};
use subm_test_support::objects;

use crate::BROKER;

/// The label that says whose an object is.
const OWNER: &str = "submariner-io/clusterID";
const COUNT: u8 = 3;
/// Networks of others that one claims at times.
const TAKEN: [&str; 4] = [
    "10.8.0.0/16",
    "10.99.0.0/16",
    "10.201.0.0/24",
    "172.20.0.0/16",
];

/// Whether an object is one's: `ghost2`, `ghost2-submariner-cable-ghost2-172-30-2-11`.
pub(crate) fn is_one(name: &str) -> bool {
    name.starts_with("ghost")
}

pub(crate) fn is_told(labels: &str) -> bool {
    labels.contains("ghost")
}

/// Those that there are, with the names of their Endpoints.
pub(crate) struct Ghosts {
    client: Client,
    driver: String,
    there: BTreeMap<String, BTreeSet<String>>,
}

impl Ghosts {
    pub(crate) fn new(client: Client, driver: &str) -> Self {
        Self {
            client,
            driver: driver.to_owned(),
            there: BTreeMap::new(),
        }
    }

    /// One comes, changes or goes.
    pub(crate) async fn stir(&mut self, rng: &mut StdRng) -> Result<String> {
        let number = rng.random_range(1..=COUNT);
        let cluster = format!("ghost{number}");
        if self.there.contains_key(&cluster) && rng.random_ratio(1, 3) {
            self.remove(&cluster).await?;
            return Ok(format!("{cluster} goes"));
        }
        let known = self.there.contains_key(&cluster);
        if !known {
            objects::put(&self.client, json!({
                "apiVersion": "submariner.io/v1", "kind": "Cluster",
                "metadata": {"name": cluster, "namespace": BROKER, "labels": {OWNER: cluster}},
                "spec": {"cluster_id": cluster, "cluster_cidr": [format!("10.20{number}.0.0/16")], "service_cidr": [], "color_codes": [], "global_cidr": []},
            }))
            .await?;
        }
        let endpoint = self.endpoint(number, &cluster, rng);
        let name = endpoint["metadata"]["name"].as_str().unwrap_or_default();
        let (name, networks) = (name.to_owned(), endpoint["spec"]["subnets"].to_string());
        objects::put(&self.client, endpoint).await?;
        self.there.entry(cluster.clone()).or_default().insert(name);
        let what = if known { "changes" } else { "comes" };
        Ok(format!("{cluster} {what}, with {networks}"))
    }

    /// On one of three addresses, with some networks and another key each time.
    fn endpoint(&self, number: u8, cluster: &str, rng: &mut StdRng) -> Value {
        let host = rng.random_range(11..14);
        let cable = format!("submariner-cable-{cluster}-172-30-{number}-{host}");
        let mut networks: Vec<String> = (0..rng.random_range(1..6))
            .map(|_| format!("10.20{number}.{}.0/24", rng.random_range(0..32)))
            .collect();
        if rng.random_ratio(1, 3) {
            let taken = TAKEN[rng.random_range(0..TAKEN.len())];
            networks.push(taken.to_owned());
        }
        let mut key = [0; 32];
        rng.fill_bytes(&mut key);
        json!({
            "apiVersion": "submariner.io/v1", "kind": "Endpoint",
            "metadata": {"name": format!("{cluster}-{cable}"), "namespace": BROKER, "labels": {OWNER: cluster}},
            "spec": {
                "cluster_id": cluster, "cable_name": cable, "hostname": format!("{cluster}-gw"), "backend": self.driver,
                "private_ip": format!("172.30.{number}.{host}"), "public_ip": "", "nat_enabled": false, "subnets": networks,
                "healthCheckIP": format!("10.20{number}.0.1"),
                "backend_config": {"publicKey": base64::prelude::BASE64_STANDARD.encode(key), "udp-port": "4500"},
            },
        })
    }

    /// All go.
    pub(crate) async fn end(&mut self) -> Result<()> {
        for cluster in self.there.keys().cloned().collect::<Vec<_>>() {
            self.remove(&cluster).await?;
        }
        Ok(())
    }

    async fn remove(&mut self, cluster: &str) -> Result<()> {
        let object = |kind: &str, name: &str| json!({"apiVersion": "submariner.io/v1", "kind": kind, "metadata": {"name": name, "namespace": BROKER}});
        for endpoint in self.there.remove(cluster).unwrap_or_default() {
            objects::delete(&self.client, object("Endpoint", &endpoint)).await?;
        }
        objects::delete(&self.client, object("Cluster", cluster)).await
    }
}
