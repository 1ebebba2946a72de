//! The gateway of this cluster, as its Endpoint tells.

use std::net::IpAddr;

use subm_api::names::INTERFACE_NAME;
use subm_api::submariner::Endpoint;
use subm_routing::LinkName;
use subm_tunnel::{vxlan, wireguard};

use super::view::Way;

/// The gateway node of this cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    pub node: String,
    pub private_ip: IpAddr,
    pub way: Way,
    /// What fits into a cable, bytes of an IP packet.
    pub mtu: Option<u32>,
}

impl Gateway {
    /// `mtu` of the device by which gateways reach each other. Nothing where the Endpoint cannot be that of a gateway.
    pub fn of(endpoint: &Endpoint, mtu: u32) -> Option<Self> {
        let spec = &endpoint.spec;
        let config = |key: &str| spec.backend_config.get(key);
        let private_ip: IpAddr = spec.private_ip.parse().ok()?;
        let device = config(INTERFACE_NAME).and_then(|name| name.parse::<LinkName>().ok());
        let (way, overhead) = match (spec.backend.as_str(), device) {
            ("vxlan", _) => (Way::Own(vxlan::DEVICE), Some(vxlan::overhead(private_ip))),
            ("wireguard", Some(device)) => (Way::Device(device), Some(wireguard::OVERHEAD)),
            (_, Some(device)) => (Way::Device(device), None),
            (_, None) => (Way::Uplink, None),
        };
        Some(Self {
            node: spec.hostname.clone(),
            private_ip,
            way,
            mtu: overhead.map(|overhead| mtu.saturating_sub(overhead)),
        })
    }

    /// That which leads: of several Endpoints of this cluster the youngest.
    pub fn leading<'a>(
        endpoints: impl Iterator<Item = &'a Endpoint>,
        cluster: &str,
        mtu: u32,
    ) -> Option<Self> {
        let ours = endpoints.filter(|endpoint| endpoint.spec.cluster_id == cluster);
        let youngest = ours.max_by_key(|endpoint| {
            let metadata = &endpoint.metadata;
            let created = metadata.creation_timestamp.as_ref();
            (created.map(|time| time.0), metadata.name.as_deref())
        });
        Self::of(youngest?, mtu)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn endpoint(second: u8, host: u8, backend: &str, config: &serde_json::Value) -> Endpoint {
        serde_json::from_value(json!({
            "metadata": {"name": format!("c1-{host}"), "creationTimestamp": format!("2026-11-23T21:39:{second:02}Z")},
            "spec": {
                "cluster_id": "c1", "cable_name": "x", "hostname": format!("gw{host}"),
                "private_ip": format!("172.31.1.{host}"), "backend": backend, "backend_config": config,
            },
        }))
        .expect("an Endpoint")
    }

    #[test]
    fn mtu_108_the_driver_decides_the_way_and_what_fits_into_it() {
        let of = |backend, config: serde_json::Value| {
            Gateway::of(&endpoint(0, 11, backend, &config), 1500).unwrap()
        };
        let vxlan = of("vxlan", json!({"udp-port": "4500"}));
        assert_eq!(
            (vxlan.way, vxlan.mtu),
            (Way::Own(vxlan::DEVICE), Some(1450))
        );
        let encrypted = of(
            "wireguard",
            json!({"interface-name": "submariner", "udp-port": "0"}),
        );
        let device = LinkName::from_static("submariner");
        assert_eq!(
            (encrypted.way, encrypted.mtu),
            (Way::Device(device), Some(1420))
        );
        assert_eq!(of("libreswan", json!({})).way, Way::Uplink);
        assert_eq!(
            of("libreswan", json!({"interface-name": "no/name"})).way,
            Way::Uplink
        );
    }

    #[test]
    fn the_youngest_leads() {
        let endpoints = [
            endpoint(9, 12, "vxlan", &json!({})),
            endpoint(1, 11, "vxlan", &json!({})),
        ];
        let leading = Gateway::leading(endpoints.iter(), "c1", 1500).unwrap();
        assert_eq!(leading.node, "gw12");
        assert_eq!(Gateway::leading(endpoints.iter(), "c2", 1500), None);
    }
}
