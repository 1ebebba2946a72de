//! Fields that several kinds of object share.

use std::fmt::Display;
use std::net::IpAddr;

use subm_api::Items;
use subm_dns_core::facts::{Port, Problem, Protocol};
use subm_dns_core::name::Label;

/// An object with thousands of faults is described by its first few.
const MOST: usize = 20;

/// Collects what is wrong with one object.
pub struct Problems<'a> {
    object: &'a dyn Display,
    list: Vec<Problem>,
    more: usize,
}

impl<'a> Problems<'a> {
    /// `object` is how messages call it: `ServiceImport shop/web`.
    pub fn new(object: &'a dyn Display) -> Self {
        Self {
            object,
            list: Vec::new(),
            more: 0,
        }
    }

    pub fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        if self.list.len() == MOST {
            self.more += 1;
            return;
        }
        self.list.push(Problem {
            object: self.object.to_string(),
            field: field.into(),
            message: message.into(),
        });
    }

    /// The members of a list that could not be read.
    pub fn malformed<T>(&mut self, field: &dyn Display, items: &Items<T>) {
        for bad in &items.bad {
            let place = bad
                .index
                .map(|index| format!("[{index}]"))
                .unwrap_or_default();
            self.add(
                format!("{field}{place}"),
                format!("{}; left out", bad.error),
            );
        }
    }

    pub fn finish(mut self) -> Vec<Problem> {
        if self.more > 0 {
            let message = format!("{} more problems of this object are not shown", self.more);
            self.list.push(Problem {
                object: self.object.to_string(),
                field: "...".to_owned(),
                message,
            });
        }
        self.list
    }
}

/// An address that a client elsewhere can use, or why not.
pub(super) fn address(text: &str) -> Result<IpAddr, String> {
    let ip: IpAddr = text.parse().map_err(|_| {
        // An error message should not repeat a megabyte.
        let shown: String = text.chars().take(80).collect();
        format!("{shown:?} is no IP address; left out")
    })?;
    let reason = match ip {
        _ if ip.is_unspecified() => "the unspecified address",
        _ if ip.is_loopback() => "a loopback address",
        _ if ip.is_multicast() => "a multicast address",
        IpAddr::V4(v4) if v4.is_link_local() => "a link-local address",
        IpAddr::V4(v4) if v4.is_broadcast() => "the broadcast address",
        IpAddr::V6(v6) if v6.is_unicast_link_local() => "a link-local address",
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => "an IPv4 address in IPv6 form",
        _ => return Ok(ip),
    };
    Err(format!(
        "{ip} is {reason}, which leads nowhere from another machine; left out"
    ))
}

/// Number, protocol and name of a port. `field` is its place: `spec.ports[1]`.
/// A bad name costs the name only: the port still serves the names without port labels.
pub(super) fn port(
    field: &dyn Display,
    number: i64,
    protocol: Option<&str>,
    name: Option<&str>,
    problems: &mut Problems<'_>,
) -> Option<Port> {
    let number = match u16::try_from(number) {
        Ok(number) if number > 0 => number,
        _ => {
            let message = format!("{number} is no port number (1 to 65535); left out");
            problems.add(format!("{field}.port"), message);
            return None;
        }
    };
    let protocol = match protocol.filter(|text| !text.is_empty()) {
        None => Protocol::Tcp,
        Some(text) if text.eq_ignore_ascii_case("TCP") => Protocol::Tcp,
        Some(text) if text.eq_ignore_ascii_case("UDP") => Protocol::Udp,
        Some(text) if text.eq_ignore_ascii_case("SCTP") => Protocol::Sctp,
        Some(text) => {
            let shown: String = text.chars().take(80).collect();
            let message = format!("{shown:?} is neither TCP, UDP nor SCTP; port left out");
            problems.add(format!("{field}.protocol"), message);
            return None;
        }
    };
    let name = name.filter(|text| !text.is_empty()).and_then(|text| {
        let name = Label::new(text);
        if name.is_none() {
            let shown: String = text.chars().take(80).collect();
            problems.add(
                format!("{field}.name"),
                format!("{shown:?} is no DNS label (1 to 63 letters, digits and hyphens); served without name"),
            );
        }
        name
    });
    Some(Port {
        name,
        protocol,
        number,
    })
}
