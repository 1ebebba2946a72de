//! `show networks`.

use serde_json::{Value, json};
use subm_install::names::SETTINGS;

use super::{Body, Section};
use crate::cluster::{Cluster, kind};
use crate::commands::MEMBER;
use crate::error::Error;

/// What a member joined with, what Go Submariner's operator found, or what can be found now.
pub(super) async fn show(cluster: &Cluster) -> Result<Section, Error> {
    let settings = cluster.get(&kind::CONFIG_MAPS, MEMBER, SETTINGS).await?;
    let submariner = cluster
        .list(&kind::SUBMARINERS, MEMBER, "")
        .await?
        .into_iter()
        .next();
    let (installed, network) = match (settings, submariner) {
        (Some(settings), _) => (true, Details::of(&settings["data"])),
        (None, Some(submariner)) => (true, Details::of(&submariner["status"])),
        (None, None) => (false, Details::found(cluster).await),
    };
    if network.pods.is_empty() && network.services.is_empty() {
        return Ok(Section {
            key: "networks",
            body: Body::Missing("The network details could not be determined".to_owned()),
        });
    }
    Ok(Section {
        key: "networks",
        body: Body::Text {
            text: network.text(installed),
            data: network.data(installed),
        },
    })
}

struct Details {
    plugin: String,
    services: String,
    pods: String,
    global: String,
    clusterset_ip: String,
}

impl Details {
    /// Settings and the status of a Submariner object have the same keys.
    fn of(fields: &Value) -> Self {
        let text = |key: &str| fields[key].as_str().unwrap_or_default().to_owned();
        Self {
            plugin: text("networkPlugin"),
            services: text("serviceCIDR"),
            pods: text("clusterCIDR"),
            global: text("globalCIDR"),
            clusterset_ip: text("clustersetIPCIDR"),
        }
    }

    async fn found(cluster: &Cluster) -> Self {
        let network = crate::facts::network(cluster).await;
        let list = |nets: &[ipnet::IpNet]| {
            nets.iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(",")
        };
        Self {
            plugin: network.plugin.to_string(),
            services: list(&network.services),
            pods: list(&network.pods),
            global: String::new(),
            clusterset_ip: String::new(),
        }
    }

    fn text(&self, installed: bool) -> String {
        let head = if installed {
            "    Discovered network details via Submariner:\n"
        } else {
            "    Discovered network details\n"
        };
        let list = |text: &str| format!("[{}]", text.replace(',', " "));
        let mut text = format!(
            "{head}        Network plugin:  {}\n        Service CIDRs:   {}\n        Cluster CIDRs:   {}\n",
            self.plugin,
            list(&self.services),
            list(&self.pods)
        );
        if !self.global.is_empty() {
            text.push_str(&format!("        Global CIDR:     {}\n", self.global));
        }
        if !self.clusterset_ip.is_empty() {
            text.push_str(&format!(
                "        ClustersetIP CIDR: {}\n",
                self.clusterset_ip
            ));
        }
        text
    }

    fn data(&self, installed: bool) -> Value {
        let list = |text: &str| -> Vec<String> {
            text.split(',')
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect()
        };
        json!({
            "viaSubmariner": installed,
            "networkPlugin": &*self.plugin,
            "serviceCIDRs": list(&self.services),
            "clusterCIDRs": list(&self.pods),
            "globalCIDR": &*self.global,
            "clustersetIPCIDR": &*self.clusterset_ip,
        })
    }
}
