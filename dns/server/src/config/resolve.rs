//! Server blocks to listeners.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;

use subm_dns_core::authority::{Authority, DEFAULT_UDP_LIMIT, Zone};
use subm_dns_core::edns::CookieSecret;
use subm_dns_core::respond::Transport;

use super::{Config, Health, Host, Listener, QueryLog, Source, TlsFiles, TransferRule};
use crate::corefile::{Corefile, Error, Place, Problem, Token};
use crate::plugins::{self, BlockSettings, Key, Setting};

pub(super) const DNS_PORT: u16 = 53;
/// Idle limit of streams that clients are told, in units of 100 ms.
pub(super) const KEEPALIVE: u16 = 100;

/// What `corefile` configures on `host`; keys without a port listen on `dns_port`.
pub(super) fn config(corefile: Corefile, host: &Host, dns_port: u16) -> Result<Config, Error> {
    let mut blocks = Vec::new();
    for source in &corefile.blocks {
        let keys = source
            .keys
            .iter()
            .map(|token| key(token, dns_port))
            .collect::<Result<Vec<_>, _>>()?;
        let place = source.keys[0].place.clone();
        let mut block = BlockSettings::new(host, keys);
        plugins::setup(source, &mut block)?;
        if block.zones.is_empty() {
            return Err(Problem::NothingServed.at(&place));
        }
        blocks.push(block);
    }
    check_overlap(&blocks)?;

    let mut process = BlockSettings::new(host, Vec::new());
    let mut servers: BTreeMap<(u8, SocketAddr), Server> = BTreeMap::new();
    for block in blocks {
        for key in &block.keys {
            for addr in listen_on(&block) {
                let addr = SocketAddr::new(addr, key.port);
                let server = servers
                    .entry((order(key.transport), addr))
                    .or_insert_with(|| Server::new(key.transport, addr, &block));
                server.add(key, &block)?;
            }
        }
        process
            .source
            .merge(block.source, "source of objects", PROCESS)?;
        process
            .cluster_id
            .merge(block.cluster_id, "cluster id", PROCESS)?;
        process
            .health
            .merge(block.health, "health address", PROCESS)?;
        process
            .lameduck
            .merge(block.lameduck, "lameduck", PROCESS)?;
        process.ready.merge(block.ready, "ready address", PROCESS)?;
        process
            .metrics
            .merge(block.metrics, "metrics address", PROCESS)?;
        process
            .reload
            .merge(block.reload, "reload interval", PROCESS)?;
    }
    let lameduck = process.lameduck.into_value().unwrap_or_default();
    Ok(Config {
        listeners: servers
            .into_values()
            .map(Server::listener)
            .collect::<Result<_, _>>()?,
        source: process.source.into_value().unwrap_or(Source::Kubernetes {
            kubeconfig: None,
            context: None,
        }),
        cluster_id: process.cluster_id.into_value(),
        health: process
            .health
            .into_value()
            .map(|addr| Health { addr, lameduck }),
        ready: process.ready.into_value(),
        metrics: process.metrics.into_value(),
        reload: process.reload.into_value(),
        files: corefile.files,
    })
}

const PROCESS: &str = "the process";
const ADDRESS: &str = "a listening address";

/// `[TRANSPORT://]ZONE[:PORT]`; an empty zone is the root.
fn key(token: &Token, dns_port: u16) -> Result<Key, Error> {
    parse_key(&token.text, dns_port, &token.place).map_err(|problem| problem.at(&token.place))
}

fn parse_key(text: &str, dns_port: u16, place: &Place) -> Result<Key, Problem> {
    let (transport, default_port, rest) = split_transport(text, dns_port)?;
    let port = match rest.rsplit_once(':') {
        Some((_, port)) => port
            .parse()
            .ok()
            .filter(|&port| port != 0)
            .ok_or_else(|| Problem::Port(port.to_owned()))?,
        None => default_port,
    };
    let zone = plugins::zone(rest)?;
    Ok(Key {
        zone,
        port,
        transport,
        place: place.clone(),
    })
}

/// Transport, its default port, and what follows.
pub(super) fn split_transport(
    text: &str,
    dns_port: u16,
) -> Result<(Transport, u16, &str), Problem> {
    match text.split_once("://") {
        None => Ok((Transport::Udp, dns_port, text)),
        Some(("dns", rest)) => Ok((Transport::Udp, dns_port, rest)),
        Some(("tls", rest)) => Ok((Transport::Tls, 853, rest)),
        Some(("https", rest)) => Ok((Transport::Https, 443, rest)),
        Some(("quic", rest)) => Ok((Transport::Quic, 853, rest)),
        Some((other, _)) => Err(Problem::Transport(other.to_owned())),
    }
}

pub(super) fn scheme(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp | Transport::Tcp => "dns",
        Transport::Tls => "tls",
        Transport::Https => "https",
        Transport::Quic => "quic",
    }
}

/// Listeners are listed by transport, then by address.
fn order(transport: Transport) -> u8 {
    match transport {
        Transport::Udp | Transport::Tcp => 0,
        Transport::Tls => 1,
        Transport::Https => 2,
        Transport::Quic => 3,
    }
}

fn listen_on(block: &BlockSettings<'_>) -> Vec<IpAddr> {
    if block.bind.is_empty() {
        vec![block.host.wildcard()]
    } else {
        block.bind.clone()
    }
}

/// Two blocks with the same zone, port and transport must be bound to different addresses.
fn check_overlap(blocks: &[BlockSettings<'_>]) -> Result<(), Error> {
    let mut seen: Vec<(&Key, &[IpAddr])> = Vec::new();
    for block in blocks {
        for key in &block.keys {
            let same = |(other, bind): &&(&Key, &[IpAddr])| {
                let shared = bind.is_empty()
                    || block.bind.is_empty()
                    || bind.iter().any(|addr| block.bind.contains(addr));
                shared
                    && other.zone == key.zone
                    && other.port == key.port
                    && other.transport == key.transport
            };
            if let Some((first, _)) = seen.iter().find(same) {
                let what = format!("{}://{}:{}", scheme(key.transport), key.zone, key.port);
                return Err(Problem::ZoneTwice {
                    what,
                    first: first.place.clone(),
                }
                .at(&key.place));
            }
            seen.push((key, &block.bind));
        }
    }
    Ok(())
}

/// A listening address while blocks are merged into it.
struct Server {
    transport: Transport,
    addr: SocketAddr,
    label: String,
    /// For messages.
    place: Place,
    zones: Vec<Served>,
    tls: Setting<TlsFiles>,
    nsid: Setting<String>,
    udp_limit: Setting<u16>,
    version: Setting<String>,
    host_name: String,
}

/// A zone with the number of labels of the key by which queries reach it.
struct Served {
    key_labels: usize,
    zone: Zone,
    transfer: TransferRule,
    query_log: Option<QueryLog>,
}

impl Server {
    fn new(transport: Transport, addr: SocketAddr, block: &BlockSettings<'_>) -> Self {
        let bound = if block.bind.is_empty() {
            format!(":{}", addr.port())
        } else {
            addr.to_string()
        };
        Self {
            transport,
            addr,
            label: format!("{}://{bound}", scheme(transport)),
            place: block.keys[0].place.clone(),
            zones: Vec::new(),
            tls: Setting::default(),
            nsid: Setting::default(),
            udp_limit: Setting::default(),
            version: Setting::default(),
            host_name: block.host.name.clone(),
        }
    }

    /// Adds the zones of `block` that queries reach by `key`.
    fn add(&mut self, key: &Key, block: &BlockSettings<'_>) -> Result<(), Error> {
        self.tls.merge(block.tls.clone(), "certificate", ADDRESS)?;
        self.nsid.merge(block.nsid.clone(), "nsid", ADDRESS)?;
        self.udp_limit
            .merge(block.udp_limit.clone(), "bufsize", ADDRESS)?;
        self.version
            .merge(block.version.clone(), "version", ADDRESS)?;
        let key_labels = key.zone.labels().count();
        for (zone, _) in block
            .zones
            .iter()
            .filter(|(zone, _)| plugins::is_within(&zone.origin, &key.zone))
        {
            let served = Served {
                key_labels,
                zone: named(zone, block),
                transfer: transfer(zone, block),
                query_log: query_log(zone, block)?,
            };
            // The longest key wins, as in CoreDNS: `clusterset.local:53` goes before `.:53`.
            match self
                .zones
                .iter_mut()
                .find(|have| have.zone.origin == zone.origin)
            {
                Some(have) if have.key_labels < key_labels => *have = served,
                Some(_) => {}
                None => self.zones.push(served),
            }
        }
        Ok(())
    }

    fn listener(self) -> Result<Listener, Error> {
        let tls = self
            .tls
            .into_value()
            .filter(|_| self.transport != Transport::Udp);
        if tls.is_none() && self.transport != Transport::Udp {
            return Err(Problem::NoCertificate {
                transport: scheme(self.transport),
            }
            .at(&self.place));
        }
        let mut authority = Authority::new(
            self.zones
                .iter()
                .map(|served| served.zone.clone())
                .collect(),
        );
        authority.nsid = self.nsid.into_value().map(String::into_bytes);
        authority.udp_limit = self.udp_limit.into_value().unwrap_or(DEFAULT_UDP_LIMIT);
        authority.version = self.version.into_value();
        authority.server_id = authority.version.is_some().then_some(self.host_name);
        authority.cookies = Some(cookie_secret());
        authority.keepalive = Some(KEEPALIVE);
        // In the authority's order of zones.
        let of_zone = |zone: &Zone| {
            self.zones
                .iter()
                .find(|served| served.zone.origin == zone.origin)
        };
        let ordered: Vec<&Served> = authority.zones().iter().filter_map(of_zone).collect();
        let transfer = ordered
            .iter()
            .map(|served| served.transfer.clone())
            .collect();
        let query_log = ordered.iter().map(|served| served.query_log).collect();
        Ok(Listener {
            transport: self.transport,
            addr: self.addr,
            authority,
            tls,
            transfer,
            query_log,
            label: self.label,
        })
    }
}

/// With the addresses of its name server.
fn named(zone: &Zone, block: &BlockSettings<'_>) -> Zone {
    let mut zone = zone.clone();
    if zone.name_server.is_empty() {
        zone.name_server = block.host.name_server(&block.bind);
    }
    zone
}

/// Of the scopes that hold the zone the one with the longest name, as CoreDNS chooses.
fn transfer(zone: &Zone, block: &BlockSettings<'_>) -> TransferRule {
    let matching = block.transfer.iter().filter_map(|scope| {
        let longest = scope
            .zones
            .iter()
            .filter(|name| plugins::is_within(&zone.origin, name))
            .map(|name| name.labels().count())
            .max();
        longest.map(|labels| (labels, &scope.rule))
    });
    matching
        .max_by_key(|(labels, _)| *labels)
        .map(|(_, rule)| rule.clone())
        .unwrap_or_default()
}

fn query_log(zone: &Zone, block: &BlockSettings<'_>) -> Result<Option<QueryLog>, Error> {
    for rule in &block.log {
        if rule
            .names
            .iter()
            .any(|name| plugins::is_within(&zone.origin, name))
        {
            return Ok(Some(rule.classes));
        }
        if let Some(name) = rule
            .names
            .iter()
            .find(|name| plugins::is_within(name, &zone.origin))
        {
            return Err(Problem::LogScope {
                name: name.to_string(),
                zone: zone.origin.to_string(),
            }
            .at(&rule.place));
        }
    }
    Ok(None)
}

/// One for the process: a cookie that one listener gave is good at the others and after a reload.
pub(super) fn cookie_secret() -> CookieSecret {
    static SECRET: OnceLock<CookieSecret> = OnceLock::new();
    *SECRET.get_or_init(|| CookieSecret::new(rand::random()))
}
