//! Values of flags, checked before anything else happens.

use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};
use subm_install::{ClusterId, cidr, network};

/// The name of a Kubernetes object; it becomes part of a URL.
pub(super) fn object_name(text: &str) -> Result<String, String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if (1..=253).contains(&text.len())
        && text.chars().all(inner)
        && text.starts_with(edge)
        && text.ends_with(edge)
    {
        Ok(text.to_owned())
    } else {
        Err("use lower case letters, digits, '-' and '.'".to_owned())
    }
}

pub(super) fn cluster_id(text: &str) -> Result<ClusterId, String> {
    ClusterId::new(text).map_err(|error| error.to_string())
}

pub(super) fn range(text: &str) -> Result<Ipv4Net, String> {
    cidr::parse(text).map_err(|error| error.to_string())
}

/// Several, separated by commas, as one value: clap would take a list for repeated values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidrs(pub Vec<IpNet>);

impl TryFrom<String> for Cidrs {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        cidrs(&text)
    }
}

impl From<Cidrs> for String {
    fn from(cidrs: Cidrs) -> Self {
        network::joined(&cidrs.0).replace(' ', "")
    }
}

pub(super) fn cidrs(text: &str) -> Result<Cidrs, String> {
    match network::parse(text) {
        Ok(nets) if nets.is_empty() => Err("it is empty".to_owned()),
        Ok(nets) => Ok(Cidrs(nets)),
        Err(_) => Err(
            "use a CIDR such as 10.8.0.0/16, or one per address family separated by a comma"
                .to_owned(),
        ),
    }
}

/// A DNS name without a dot at its end, lower-cased.
pub(super) fn domain(text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('.').to_ascii_lowercase();
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= 253 && text.split('.').all(label) {
        Ok(text)
    } else {
        Err("it is no domain name".to_owned())
    }
}

/// A list with one empty name is how a shell says that it is empty.
pub(super) fn domain_or_none(text: &str) -> Result<String, String> {
    match text {
        "" => Ok(String::new()),
        text => domain(text),
    }
}

/// `90s`, `5m`, `24h`, `7d`; a number alone means seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => 0,
    };
    let total = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(seconds));
    match total {
        // Longer than anybody waits, and short enough for every clock.
        Some(total @ 1..=3_153_600_000) => Ok(Duration::from_secs(total)),
        _ => Err("use a duration such as 90s, 5m, 24h or 30d".to_owned()),
    }
}

/// `https://host[:port]`; a scheme that is left out is https, and then a host without a dot needs its port.
pub(super) fn url(text: &str) -> Result<String, String> {
    if !text.contains(['.', ':']) {
        return Err(
            "a word alone is no place; use a URL such as https://192.0.2.1:6443".to_owned(),
        );
    }
    let url = if text.contains("://") {
        text.to_owned()
    } else {
        format!("https://{text}")
    };
    let parsed: Result<http::Uri, _> = url.parse();
    match parsed {
        Ok(uri) if uri.host().is_some() && matches!(uri.scheme_str(), Some("https" | "http")) => {
            Ok(url.trim_end_matches('/').to_owned())
        }
        _ => Err("use a URL such as https://192.0.2.1:6443".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_place_in_a_url() {
        for bad in ["", "..", "a/b", "a?b", "A", "-a", "a%2f"] {
            assert!(object_name(bad).is_err(), "{bad}");
        }
        assert!(object_name("whereami-cs").is_ok());
    }

    #[test]
    fn durations() {
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        for bad in ["", "s", "0s", "1w", "99999999999999999999s", "-1s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn urls_and_domains() {
        assert_eq!(
            url("192.0.2.1:6443").as_deref(),
            Ok("https://192.0.2.1:6443")
        );
        assert_eq!(
            url("https://b.example/k8s/").as_deref(),
            Ok("https://b.example/k8s")
        );
        assert_eq!(url("broker:6443").as_deref(), Ok("https://broker:6443"));
        assert!(url("ftp://b").is_err());
        assert!(url("nonsense").is_err());
        assert_eq!(domain("Shop.Example.").as_deref(), Ok("shop.example"));
        assert!(domain("a..b").is_err() && domain("a b {").is_err());
    }
}
