//! What the directives of one server block say.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use subm_dns_core::authority::Zone;
use subm_dns_core::facts::ClusterId;
use subm_dns_core::name::WireName;
use subm_dns_core::respond::Transport;

use crate::config::{Host, QueryLog, Source, TlsFiles, TransferRule};
use crate::corefile::{Error, Place, Problem};

/// A server block's key: `tls://clusterset.local:853`.
#[derive(Clone, Debug)]
pub struct Key {
    pub zone: WireName,
    pub port: u16,
    /// `Udp` stands for UDP and TCP.
    pub transport: Transport,
    pub place: Place,
}

/// A value that may be set in several places if they agree.
#[derive(Clone, Debug)]
pub struct Setting<T>(Option<(T, Place)>);

impl<T> Default for Setting<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: PartialEq + std::fmt::Debug> Setting<T> {
    /// Sets it; `what` and `scope` name it where another place says something else.
    pub fn set(
        &mut self,
        value: T,
        place: &Place,
        what: &'static str,
        scope: &'static str,
    ) -> Result<(), Error> {
        match &self.0 {
            Some((have, first)) if *have != value => Err(Problem::Conflict {
                what,
                value: format!("{value:?}"),
                scope,
                first: first.clone(),
            }
            .at(place)),
            Some(_) => Ok(()),
            None => {
                self.0 = Some((value, place.clone()));
                Ok(())
            }
        }
    }

    /// Takes over what `other` says.
    pub fn merge(
        &mut self,
        other: Self,
        what: &'static str,
        scope: &'static str,
    ) -> Result<(), Error> {
        other.0.map_or(Ok(()), |(value, place)| {
            self.set(value, &place, what, scope)
        })
    }

    pub fn get(&self) -> Option<&T> {
        self.0.as_ref().map(|(value, _)| value)
    }

    pub fn into_value(self) -> Option<T> {
        self.0.map(|(value, _)| value)
    }
}

/// `log [NAMES...]`: zones at or below one of the names are logged.
#[derive(Clone, Debug)]
pub struct LogRule {
    pub names: Vec<WireName>,
    pub classes: QueryLog,
    pub place: Place,
}

/// `transfer [ZONES...]`.
#[derive(Clone, Debug)]
pub struct TransferScope {
    pub zones: Vec<WireName>,
    pub rule: TransferRule,
}

/// Everything that a server block's directives may set.
#[derive(Debug)]
pub struct BlockSettings<'a> {
    /// What the machine says.
    pub host: &'a Host,
    pub keys: Vec<Key>,
    pub zones: Vec<(Zone, Place)>,
    /// Empty: all addresses.
    pub bind: Vec<IpAddr>,
    pub log: Vec<LogRule>,
    pub transfer: Vec<TransferScope>,

    /// Of the listening address.
    pub tls: Setting<TlsFiles>,
    pub nsid: Setting<String>,
    pub udp_limit: Setting<u16>,
    /// Text of `version.bind. CH TXT`.
    pub version: Setting<String>,

    /// Of the process.
    pub source: Setting<Source>,
    pub cluster_id: Setting<ClusterId>,
    pub health: Setting<SocketAddr>,
    pub lameduck: Setting<Duration>,
    pub ready: Setting<SocketAddr>,
    pub metrics: Setting<SocketAddr>,
    pub reload: Setting<Duration>,
}

impl<'a> BlockSettings<'a> {
    pub fn new(host: &'a Host, keys: Vec<Key>) -> Self {
        Self {
            host,
            keys,
            zones: Vec::new(),
            bind: Vec::new(),
            log: Vec::new(),
            transfer: Vec::new(),
            tls: Setting::default(),
            nsid: Setting::default(),
            udp_limit: Setting::default(),
            version: Setting::default(),
            source: Setting::default(),
            cluster_id: Setting::default(),
            health: Setting::default(),
            lameduck: Setting::default(),
            ready: Setting::default(),
            metrics: Setting::default(),
            reload: Setting::default(),
        }
    }

    /// Origins of the keys, each once: what plugins serve where they name no zones.
    pub fn origins(&self) -> Vec<WireName> {
        let mut origins: Vec<WireName> = Vec::new();
        for key in &self.keys {
            if !origins.contains(&key.zone) {
                origins.push(key.zone.clone());
            }
        }
        origins
    }

    /// Adds a zone that a plugin answers for.
    pub(super) fn add_zone(&mut self, zone: Zone, place: &Place) -> Result<(), Error> {
        let what = zone.origin.to_string();
        if !self
            .keys
            .iter()
            .any(|key| is_within(&zone.origin, &key.zone))
        {
            return Err(Problem::OutsideBlock { zone: what }.at(place));
        }
        if let Some((_, first)) = self
            .zones
            .iter()
            .find(|(have, _)| have.origin == zone.origin)
        {
            return Err(Problem::ZoneTwice {
                what,
                first: first.clone(),
            }
            .at(place));
        }
        self.zones.push((zone, place.clone()));
        Ok(())
    }
}

/// Whether `name` is `zone` or below it.
pub(crate) fn is_within(name: &WireName, zone: &WireName) -> bool {
    let (name, zone): (Vec<_>, Vec<_>) = (name.labels().collect(), zone.labels().collect());
    name.ends_with(&zone)
}
