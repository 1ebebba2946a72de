//! What an operator chooses, by the names of Submariner's environment.

use std::fmt;
use std::time::Duration;

use ipnet::IpNet;
use subm_api::names::is_label;

use super::PublicIp;

/// A gateway's settings, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `SUBMARINER_CLUSTERID`.
    pub cluster: ClusterId,
    /// `SUBMARINER_NAMESPACE`: where our objects are.
    pub namespace: String,
    /// `SUBMARINER_CLUSTERCIDR`: networks of pods.
    pub cluster_cidr: Vec<IpNet>,
    /// `SUBMARINER_SERVICECIDR`: networks of Services.
    pub service_cidr: Vec<IpNet>,
    /// `SUBMARINER_GLOBALCIDR`: not empty under Globalnet.
    pub global_cidr: Vec<IpNet>,
    /// `SUBMARINER_CABLEDRIVER`.
    pub driver: Driver,
    /// `SUBMARINER_NATENABLED`: what the others should think of us while NAT discovery knows nothing.
    pub nat_enabled: bool,
    /// `SUBMARINER_HEALTHCHECKENABLED`, `SUBMARINER_HEALTHCHECKINTERVAL` and `SUBMARINER_HEALTHCHECKMAXPACKETLOSSCOUNT`;
    /// `None` where paths are not checked.
    pub health_check: Option<HealthCheck>,
    /// `SUBMARINER_PUBLICIP`; empty where it says nothing.
    pub public_ip: Vec<PublicIp>,
    /// `SUBMARINER_TOKEN`.
    pub token: Option<Secret>,
    /// `SUBMARINER_UNINSTALL`: nothing of ours shall be left.
    pub uninstall: bool,
    /// `SUBMARINER_METRICSPORT`, of TCP.
    pub metrics_port: u16,
    /// `SUBMARINER_BROKER`: the kind of broker, of which there is one, `k8s`.
    pub broker: Option<String>,
    /// `CE_IPSEC_NATTPORT`: of UDP, where the node does not say otherwise.
    pub tunnel_port: u16,
    /// `CE_IPSEC_PSK` and `CE_IPSEC_PSKSECRET`.
    pub psk: Option<Psk>,
}

/// Id of a cluster: an RFC 1123 label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(String);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Driver {
    #[default]
    Libreswan,
    WireGuard,
    Vxlan,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Between two echo requests.
    pub interval: Duration,
    /// More lost in a row than this, and the path counts as broken.
    pub max_packet_loss: u32,
}

/// Text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// The key that all gateways of a cluster set share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Psk {
    /// The key itself.
    Key(Secret),
    /// A Secret, mounted below `/var/run/secrets/submariner.io`; its member `psk` is the key.
    Mounted(String),
}

/// A variable that cannot be what it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {fault}; {remedy}")]
pub struct Mistake {
    pub variable: &'static str,
    /// What is wrong, with the value unless it is secret.
    pub fault: String,
    pub remedy: &'static str,
}

pub const METRICS_PORT: u16 = 32780;
pub const TUNNEL_PORT: u16 = 4500;
const INTERVAL: Duration = Duration::from_secs(1);
const MAX_PACKET_LOSS: u32 = 5;

impl Settings {
    /// Reads the environment. A variable that is empty counts as not set: operators do that to those that have nothing to say.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Mistake> {
        let from = Environment(variable);
        let cluster = from.required(
            "SUBMARINER_CLUSTERID",
            "set it to the id with which this cluster joined",
        )?;
        let cluster = ClusterId::new(&cluster).ok_or_else(|| Mistake {
            variable: "SUBMARINER_CLUSTERID",
            fault: format!("{cluster:?} is no cluster id"),
            remedy: "use 1 to 63 of a-z, 0-9 and '-', with neither end a '-'",
        })?;
        let namespace = from.required(
            "SUBMARINER_NAMESPACE",
            "set it to the namespace of this pod",
        )?;
        if !is_label(&namespace) {
            return Err(Mistake {
                variable: "SUBMARINER_NAMESPACE",
                fault: format!("{namespace:?} is no namespace"),
                remedy: "set it to the namespace of this pod",
            });
        }
        let settings = Self {
            cluster,
            namespace,
            cluster_cidr: from.networks("SUBMARINER_CLUSTERCIDR")?,
            service_cidr: from.networks("SUBMARINER_SERVICECIDR")?,
            global_cidr: from.networks("SUBMARINER_GLOBALCIDR")?,
            driver: from.driver()?,
            nat_enabled: from.flag("SUBMARINER_NATENABLED", false)?,
            health_check: from.health_check()?,
            public_ip: from.public_ip()?,
            token: from.get("SUBMARINER_TOKEN").map(Secret),
            uninstall: from.flag("SUBMARINER_UNINSTALL", false)?,
            metrics_port: from.port("SUBMARINER_METRICSPORT", METRICS_PORT)?,
            broker: from.broker()?,
            tunnel_port: from.port("CE_IPSEC_NATTPORT", TUNNEL_PORT)?,
            psk: from.psk()?,
        };
        if settings.subnets().is_empty() && !settings.uninstall {
            return Err(Mistake {
                variable: "SUBMARINER_CLUSTERCIDR",
                fault: "it, SUBMARINER_SERVICECIDR and SUBMARINER_GLOBALCIDR are all empty, so nothing could be reached".to_owned(),
                remedy: "set the networks of pods and of Services",
            });
        }
        Ok(settings)
    }

    /// What other clusters reach here: global addresses alone under Globalnet, else Services and pods.
    pub fn subnets(&self) -> Vec<IpNet> {
        if self.global_cidr.is_empty() {
            [self.service_cidr.as_slice(), &self.cluster_cidr].concat()
        } else {
            self.global_cidr.clone()
        }
    }
}

impl ClusterId {
    pub fn new(text: &str) -> Option<Self> {
        is_label(text).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Driver {
    /// As `backend` of Endpoints spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Libreswan => "libreswan",
            Self::WireGuard => "wireguard",
            Self::Vxlan => "vxlan",
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Secret {
    /// For the one who needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Variables by name.
pub(crate) struct Environment<F>(pub(crate) F);

impl<F: Fn(&str) -> Option<String>> Environment<F> {
    fn get(&self, name: &str) -> Option<String> {
        let value = (self.0)(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    fn required(&self, variable: &'static str, remedy: &'static str) -> Result<String, Mistake> {
        self.get(variable).ok_or_else(|| Mistake {
            variable,
            fault: "it is not set".to_owned(),
            remedy,
        })
    }

    /// Reads a value that may be missing.
    fn parsed<T>(
        &self,
        variable: &'static str,
        parse: impl Fn(&str) -> Option<T>,
        remedy: &'static str,
    ) -> Result<Option<T>, Mistake> {
        let Some(value) = self.get(variable) else {
            return Ok(None);
        };
        parse(&value).map(Some).ok_or_else(|| Mistake {
            variable,
            fault: format!("it cannot be {value:?}"),
            remedy,
        })
    }

    fn flag(&self, variable: &'static str, default: bool) -> Result<bool, Mistake> {
        let flag = self.parsed(variable, truth, "use true or false")?;
        Ok(flag.unwrap_or(default))
    }

    pub(crate) fn port(&self, variable: &'static str, default: u16) -> Result<u16, Mistake> {
        let port = self.parsed(variable, port, "use a port from 1 to 65535")?;
        Ok(port.unwrap_or(default))
    }

    fn networks(&self, variable: &'static str) -> Result<Vec<IpNet>, Mistake> {
        let parse = |text: &str| {
            let mut networks = Vec::new();
            for text in text
                .split(',')
                .map(str::trim)
                .filter(|text| !text.is_empty())
            {
                let network = text.parse::<IpNet>().ok()?.trunc();
                if !networks.contains(&network) {
                    networks.push(network);
                }
            }
            Some(networks)
        };
        let remedy = "use CIDRs of IPv4 or IPv6, such as 10.8.0.0/16, with commas between them";
        Ok(self.parsed(variable, parse, remedy)?.unwrap_or_default())
    }

    fn driver(&self) -> Result<Driver, Mistake> {
        let parse = |text: &str| {
            let all = [Driver::Libreswan, Driver::WireGuard, Driver::Vxlan];
            all.into_iter()
                .find(|driver| text.eq_ignore_ascii_case(driver.as_str()))
        };
        let driver = self.parsed(
            "SUBMARINER_CABLEDRIVER",
            parse,
            "use wireguard, vxlan or libreswan",
        )?;
        Ok(driver.unwrap_or_default())
    }

    pub(crate) fn health_check(&self) -> Result<Option<HealthCheck>, Mistake> {
        let enabled = self.flag("SUBMARINER_HEALTHCHECKENABLED", true)?;
        let number = |text: &str| text.parse::<u32>().ok();
        let interval = self.parsed(
            "SUBMARINER_HEALTHCHECKINTERVAL",
            number,
            "use a number of seconds",
        )?;
        let losses = self.parsed(
            "SUBMARINER_HEALTHCHECKMAXPACKETLOSSCOUNT",
            number,
            "use a number of echo requests",
        )?;
        // Zero says nothing, as in Submariner.
        let said = |number: &u32| *number > 0;
        Ok(enabled.then(|| HealthCheck {
            interval: interval
                .filter(said)
                .map_or(INTERVAL, |seconds| Duration::from_secs(seconds.into())),
            max_packet_loss: losses.filter(said).unwrap_or(MAX_PACKET_LOSS),
        }))
    }

    fn public_ip(&self) -> Result<Vec<PublicIp>, Mistake> {
        let remedy = "use ipv4:, ipv6:, lb:, dns: or api: and a value, several with commas";
        let list = |text: &str| PublicIp::list(text).ok();
        Ok(self
            .parsed("SUBMARINER_PUBLICIP", list, remedy)?
            .unwrap_or_default())
    }

    fn broker(&self) -> Result<Option<String>, Mistake> {
        let known = |text: &str| (text == "k8s").then(|| text.to_owned());
        self.parsed(
            "SUBMARINER_BROKER",
            known,
            "the one kind of broker is k8s; leave it out or use that",
        )
    }

    fn psk(&self) -> Result<Option<Psk>, Mistake> {
        let is_name = |text: &str| text.split('.').all(is_label).then(|| text.to_owned());
        let mounted = self.parsed(
            "CE_IPSEC_PSKSECRET",
            is_name,
            "use the name of a Secret that is mounted",
        )?;
        let key = self.get("CE_IPSEC_PSK").map(|key| Psk::Key(Secret(key)));
        Ok(mounted.map(Psk::Mounted).or(key))
    }
}

/// As Go's `strconv.ParseBool`.
pub(crate) fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// 1 to 65535, without a sign.
pub(super) fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: [(&str, &str); 3] = [
        ("SUBMARINER_CLUSTERID", "c1"),
        ("SUBMARINER_NAMESPACE", "submariner-operator"),
        ("SUBMARINER_CLUSTERCIDR", "10.8.0.0/16"),
    ];

    /// The least that must be set, and these; the last of a name counts.
    fn read(more: &[(&str, &str)]) -> Result<Settings, Mistake> {
        Settings::read(|name| {
            let all = LEAST.iter().chain(more).rev();
            let mut found = all.filter(|(known, _)| *known == name);
            found.next().map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn what_is_not_said_is_submariners_default() {
        let settings = read(&[]).expect("settings");
        assert_eq!(settings.driver, Driver::Libreswan);
        assert_eq!((settings.metrics_port, settings.tunnel_port), (32780, 4500));
        let check = settings.health_check.expect("checks");
        assert_eq!(
            (check.interval, check.max_packet_loss),
            (Duration::from_secs(1), 5)
        );
        assert!(!settings.nat_enabled && !settings.uninstall);
        assert_eq!(
            (settings.psk, settings.token, settings.broker),
            (None, None, None)
        );
        assert!(settings.public_ip.is_empty());
    }

    #[test]
    fn d6_everything_is_read_and_secrets_are_not_printed() {
        let settings = read(&[
            ("SUBMARINER_CLUSTERCIDR", "10.8.0.0/16, fd08::/48"),
            ("SUBMARINER_SERVICECIDR", "10.88.0.1/16,,10.88.0.0/16"),
            ("SUBMARINER_CABLEDRIVER", "WireGuard"),
            ("SUBMARINER_NATENABLED", "TRUE"),
            ("SUBMARINER_HEALTHCHECKINTERVAL", "3"),
            ("SUBMARINER_HEALTHCHECKMAXPACKETLOSSCOUNT", "0"),
            ("SUBMARINER_PUBLICIP", "lb:submariner-gateway"),
            ("SUBMARINER_TOKEN", "hush-token"),
            ("SUBMARINER_UNINSTALL", "true"),
            ("SUBMARINER_METRICSPORT", "9000"),
            ("SUBMARINER_BROKER", "k8s"),
            ("CE_IPSEC_NATTPORT", "4501"),
            ("CE_IPSEC_PSK", "hush-psk"),
        ])
        .expect("settings");
        let text: Vec<String> = settings.subnets().iter().map(ToString::to_string).collect();
        assert_eq!(
            text,
            ["10.88.0.0/16", "10.8.0.0/16", "fd08::/48"],
            "Services first, host bits and doubles gone"
        );
        assert_eq!(settings.driver, Driver::WireGuard);
        assert!(settings.nat_enabled && settings.uninstall);
        assert_eq!(
            settings.health_check.map(|check| check.interval.as_secs()),
            Some(3)
        );
        assert_eq!(
            settings.health_check.map(|check| check.max_packet_loss),
            Some(5)
        );
        assert_eq!((settings.metrics_port, settings.tunnel_port), (9000, 4501));
        assert!(matches!(&settings.psk, Some(Psk::Key(key)) if key.reveal() == "hush-psk"));
        let printed = format!("{settings:?}");
        assert!(
            !printed.contains("hush"),
            "secrets are not printed: {printed}"
        );
    }

    #[test]
    fn globalnet_leaves_global_addresses_alone() {
        let settings = read(&[("SUBMARINER_GLOBALCIDR", "242.0.0.0/16")]).expect("settings");
        assert_eq!(settings.subnets(), settings.global_cidr);
    }

    #[test]
    fn a_mounted_key_is_preferred() {
        let both = [
            ("CE_IPSEC_PSK", "hush"),
            ("CE_IPSEC_PSKSECRET", "submariner-ipsec-psk"),
        ];
        let settings = read(&both).expect("settings");
        assert_eq!(
            settings.psk,
            Some(Psk::Mounted("submariner-ipsec-psk".to_owned()))
        );
    }

    #[test]
    fn health_checks_can_be_off() {
        assert_eq!(
            read(&[("SUBMARINER_HEALTHCHECKENABLED", "false")])
                .expect("settings")
                .health_check,
            None
        );
    }

    #[test]
    fn every_mistake_names_its_variable_and_a_remedy() {
        for (variable, value) in [
            ("SUBMARINER_CLUSTERID", ""),
            ("SUBMARINER_CLUSTERID", "C1"),
            ("SUBMARINER_NAMESPACE", " "),
            ("SUBMARINER_NAMESPACE", "a.b"),
            ("SUBMARINER_CLUSTERCIDR", ""),
            ("SUBMARINER_CLUSTERCIDR", "10.8.0.0"),
            ("SUBMARINER_SERVICECIDR", "10.88.0.0/16;10.89.0.0/16"),
            ("SUBMARINER_GLOBALCIDR", "242.0.0.0/33"),
            ("SUBMARINER_CABLEDRIVER", "carrier-pigeon"),
            ("SUBMARINER_NATENABLED", "yes"),
            ("SUBMARINER_HEALTHCHECKENABLED", "on"),
            ("SUBMARINER_HEALTHCHECKINTERVAL", "1s"),
            ("SUBMARINER_HEALTHCHECKMAXPACKETLOSSCOUNT", "-1"),
            ("SUBMARINER_PUBLICIP", "198.51.100.11"),
            ("SUBMARINER_UNINSTALL", "2"),
            ("SUBMARINER_METRICSPORT", "65536"),
            ("SUBMARINER_BROKER", "etcd"),
            ("CE_IPSEC_NATTPORT", "0"),
            ("CE_IPSEC_NATTPORT", "+4500"),
            ("CE_IPSEC_PSKSECRET", "../../token"),
        ] {
            let mistake = read(&[(variable, value)]).expect_err(variable);
            assert_eq!(mistake.variable, variable, "{value}");
            let text = mistake.to_string();
            assert!(text.starts_with(variable) && text.contains("; "), "{text}");
        }
    }

    #[test]
    fn uninstalling_needs_no_networks() {
        let all = [
            ("SUBMARINER_CLUSTERCIDR", ""),
            ("SUBMARINER_UNINSTALL", "true"),
        ];
        assert!(read(&all).is_ok());
    }
}
