//! Where a gateway's public address is to be found.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use k8s_openapi::api::core::v1::Service;
use subm_api::names::is_label;

/// One way to find it. Settings are comma-separated lists of them, as `method:value`; the first one that works counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicIp {
    /// `ipv4:` or `ipv6:`: this is it.
    Address(IpAddr),
    /// `lb:`: the address of this Service of type LoadBalancer, in our namespace.
    LoadBalancer(String),
    /// `dns:`: what this name stands for.
    Dns(String),
    /// `api:`: what the HTTPS server of this name answers, such as `api.ipify.org`; a port and a path may follow.
    Api(String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no way to find a public address: use ipv4:, ipv6:, lb:, dns: or api: and a value, several with commas"
)]
pub struct PublicIpError(String);

impl PublicIp {
    /// Reads a list. At least one way must be in it.
    // Submariner takes one colon only, and so no port and no IPv6 address.
    pub fn list(text: &str) -> Result<Vec<Self>, PublicIpError> {
        let entries: Vec<Self> = text
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .map(|entry| Self::one(entry).ok_or_else(|| PublicIpError(entry.to_owned())))
            .collect::<Result<_, _>>()?;
        if entries.is_empty() {
            return Err(PublicIpError(text.to_owned()));
        }
        Ok(entries)
    }

    fn one(entry: &str) -> Option<Self> {
        let (method, value) = entry.split_once(':')?;
        let value = value.trim();
        match method.trim() {
            "ipv4" => value
                .parse::<Ipv4Addr>()
                .ok()
                .map(|ip| Self::Address(ip.into())),
            "ipv6" => value
                .parse::<Ipv6Addr>()
                .ok()
                .map(|ip| Self::Address(ip.into())),
            "lb" => is_label(value).then(|| Self::LoadBalancer(value.to_owned())),
            "dns" => is_host(value).then(|| Self::Dns(value.to_owned())),
            "api" => {
                let host = value.split(['/', ':']).next().unwrap_or_default();
                (is_host(host) && !value.contains(char::is_whitespace))
                    .then(|| Self::Api(value.to_owned()))
            }
            _ => None,
        }
    }
}

impl fmt::Display for PublicIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(ip @ IpAddr::V4(_)) => write!(f, "ipv4:{ip}"),
            Self::Address(ip @ IpAddr::V6(_)) => write!(f, "ipv6:{ip}"),
            Self::LoadBalancer(service) => write!(f, "lb:{service}"),
            Self::Dns(name) => write!(f, "dns:{name}"),
            Self::Api(server) => write!(f, "api:{server}"),
        }
    }
}

/// Asked where nobody says anything, as Submariner does: what answers first is believed.
pub fn public_services() -> Vec<PublicIp> {
    [
        "api.ipify.org",
        "checkip.amazonaws.com",
        "4.icanhazip.com",
        "ipinfo.io/ip",
        "ifconfig.me",
    ]
    .map(|server| PublicIp::Api(server.to_owned()))
    .into()
}

/// The first IPv4 address in what a server answered.
pub fn first_ipv4(text: &str) -> Option<Ipv4Addr> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.')
        .find_map(|word| word.trim_matches('.').parse().ok())
}

/// What a Service of type LoadBalancer is reached by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ingress {
    Address(IpAddr),
    Name(String),
}

impl Ingress {
    /// `None` while it has none.
    pub fn of(service: &Service) -> Option<Self> {
        let status = service.status.as_ref()?.load_balancer.as_ref()?;
        let first = status.ingress.as_ref()?.first()?;
        let address = first.ip.as_ref().and_then(|ip| ip.parse().ok());
        let name = || first.hostname.clone().filter(|name| is_host(name));
        address
            .map(Self::Address)
            .or_else(|| name().map(Self::Name))
    }
}

/// Of several addresses of a name always the same one, IPv4 before IPv6.
pub fn choose(addresses: impl IntoIterator<Item = IpAddr>) -> Option<IpAddr> {
    addresses.into_iter().min()
}

fn is_host(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    !text.is_empty() && text.len() <= 253 && text.chars().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_read_and_written_alike() {
        let text = "ipv4:198.51.100.11,ipv6:2001:db8::11,lb:submariner-gateway,dns:gw.example.com,api:api.ipify.org,api:ip.example.com:8443/v4";
        let list = PublicIp::list(text).expect("a list");
        assert_eq!(
            list[1],
            PublicIp::Address("2001:db8::11".parse().expect("IPv6"))
        );
        let written: Vec<String> = list.iter().map(ToString::to_string).collect();
        assert_eq!(written.join(","), text);
        assert_eq!(
            PublicIp::list(" lb: a , ").expect("spaces"),
            [PublicIp::LoadBalancer("a".to_owned())]
        );
    }

    #[test]
    fn what_is_no_way_is_said() {
        for bad in [
            "",
            ",",
            "198.51.100.11",
            "ipv4:2001:db8::1",
            "ipv4:300.1.1.1",
            "lb:",
            "lb:a_b",
            "dns:",
            "api:",
            "api:a b",
            "smoke:signal",
            "ipv4:1.2.3.4,x",
        ] {
            assert!(PublicIp::list(bad).is_err(), "{bad}");
        }
        let error = PublicIp::list("ipv4:1.2.3.4, x")
            .expect_err("x")
            .to_string();
        assert!(error.starts_with("\"x\" is no way"), "{error}");
    }

    /// endpoint: "firstIPv4InString".
    #[test]
    fn endpoint_38_46_an_address_is_found_in_a_text() {
        let found = |text: &str| first_ipv4(text).map(|ip| ip.to_string());
        let ip = Some("192.0.2.7".to_owned());
        assert_eq!(found("192.0.2.7\n"), ip);
        assert_eq!(found("{\"ip\": \"192.0.2.7\", \"v\": 1.2}"), ip);
        assert_eq!(found("You have 999.1.1.1. No: 192.0.2.7."), ip);
        for none in ["", "nothing", "300.1.1.1", "1.2.3", "2001:db8::1"] {
            assert_eq!(found(none), None, "{none}");
        }
    }

    /// endpoint: "a LoadBalancer with Ingress IP", "with Ingress hostname", "with no ingress is specified".
    #[test]
    fn endpoint_81_91_104_a_load_balancer_has_an_address_or_a_name_or_none_yet() {
        let of = |ingress: serde_json::Value| {
            let status = serde_json::json!({"status": {"loadBalancer": ingress}});
            Ingress::of(&serde_json::from_value(status).expect("a Service"))
        };
        let one = |key: &str, value: &str| of(serde_json::json!({"ingress": [{key: value}]}));
        let address = "198.51.100.1".parse().expect("IPv4");
        assert_eq!(one("ip", "198.51.100.1"), Some(Ingress::Address(address)));
        let name = Ingress::Name("lb.example.com".to_owned());
        assert_eq!(one("hostname", "lb.example.com"), Some(name));
        assert_eq!(one("hostname", "not a name"), None);
        assert_eq!(of(serde_json::json!({"ingress": []})), None);
        assert_eq!(of(serde_json::json!({})), None);
        assert_eq!(Ingress::of(&Service::default()), None);
    }

    #[test]
    fn a_name_is_always_the_same_address() {
        let addresses: Vec<IpAddr> = ["2001:db8::1", "198.51.100.2", "198.51.100.1"]
            .map(|text| text.parse().expect("an address"))
            .into();
        let first = "198.51.100.1".parse().ok();
        assert_eq!(choose(addresses.iter().copied()), first);
        assert_eq!(choose(addresses.into_iter().rev()), first);
        assert_eq!(choose([]), None);
    }
}
