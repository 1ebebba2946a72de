//! Commands that look and leave: `explain`, `check`, `dump`.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use subm_dns_core::authority::{Authority, Zone};
use subm_dns_core::catalog::{Catalog, Published, Settings};
use subm_dns_core::explain::explain;
use subm_dns_core::facts::{ClusterId, Problem};
use subm_dns_core::name::{NameError, WireName};
use subm_dns_core::transfer;

use crate::config::Config;
use crate::front::{self, FrontError};
use crate::sources::{self, SourceError};

#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("{name:?} is no DNS name")]
    Name { name: String, source: NameError },
    #[error(
        "{0:?} is no record type; give a name such as A, AAAA or SRV, or a number such as TYPE64"
    )]
    Type(String),
    #[error("--from {0:?} is no cluster id (DNS labels joined by dots)")]
    Cluster(String),
    #[error("--from {from}: no object speaks of that cluster; these are known: {known}")]
    UnknownCluster { from: ClusterId, known: String },
    #[error(transparent)]
    Front(#[from] FrontError),
    #[error("zone {zone} is not served; these are: {served}")]
    Zone { zone: WireName, served: String },
    #[error("{0} problems")]
    Problems(usize),
}

/// Settings of a catalog for a configuration.
pub(crate) fn settings(config: &Config) -> Settings {
    let zones = config
        .listeners
        .iter()
        .flat_map(|listener| listener.authority.zones());
    let longest_zone = zones.map(|zone| zone.origin.wire_len()).max().unwrap_or(1);
    Settings {
        cluster_id: config.cluster_id.clone(),
        longest_zone,
    }
}

/// A catalog of all that the source holds now.
async fn read(
    config: &Config,
    settings: Settings,
) -> Result<(Catalog, Published, Vec<Problem>), SourceError> {
    let (facts, mut problems) = sources::read_once(config.source.clone()).await?;
    let mut catalog = Catalog::new(settings);
    for fact in facts {
        catalog.apply(fact);
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let published = catalog.publish(now as u32);
    problems.extend(published.new_problems.iter().cloned());
    Ok((catalog, published, problems))
}

/// Every zone of every listener, each origin once.
fn zones(config: &Config) -> Vec<Zone> {
    let mut zones: Vec<Zone> = Vec::new();
    for zone in config
        .listeners
        .iter()
        .flat_map(|listener| listener.authority.zones())
    {
        if zones.iter().all(|have| have.origin != zone.origin) {
            zones.push(zone.clone());
        }
    }
    zones
}

/// `lighthouse-dns explain`: why `name` answers what it answers, as seen by cluster `from`.
pub async fn explain_name(
    config: &Config,
    name: &str,
    qtype: &str,
    from: Option<&str>,
) -> Result<String, CommandError> {
    let wire = WireName::parse(name).map_err(|source| CommandError::Name {
        name: name.to_owned(),
        source,
    })?;
    let qtype = type_number(qtype).ok_or_else(|| CommandError::Type(qtype.to_owned()))?;
    let mut settings = settings(config);
    let from = match from {
        Some(from) => {
            Some(ClusterId::new(from).ok_or_else(|| CommandError::Cluster(from.to_owned()))?)
        }
        None => None,
    };
    // A catalog without --from first, for the clusters that objects speak of.
    let (catalog, _, problems) = match &from {
        None => read(config, settings).await?,
        Some(from) => {
            let (_, published, _) = read(config, settings.clone()).await?;
            let known: Vec<String> = published
                .status
                .clusters()
                .map(|(id, _)| id.to_string())
                .collect();
            if !known.iter().any(|id| id == from.as_str()) {
                let known = known.join(", ");
                return Err(CommandError::UnknownCluster {
                    from: from.clone(),
                    known,
                });
            }
            settings.cluster_id = Some(from.clone());
            read(config, settings).await?
        }
    };
    let explanation = explain(&catalog, &Authority::new(zones(config)), &wire, qtype);
    let mut text = explanation.to_string();
    if !problems.is_empty() {
        let _ = writeln!(
            text,
            "problems  {} in objects; lighthouse-dns check lists them",
            problems.len()
        );
    }
    Ok(text)
}

/// `lighthouse-dns check`: what is wrong with the objects. The configuration was read to get here.
pub async fn check(config: &Config) -> Result<String, (String, CommandError)> {
    front::check_certificates(&config.listeners).map_err(|error| (String::new(), error.into()))?;
    let (_, published, problems) = read(config, settings(config))
        .await
        .map_err(|error| (String::new(), error.into()))?;
    let mut text = String::new();
    for problem in &problems {
        let _ = writeln!(text, "{problem}");
    }
    let (services, endpoints) = (
        published.snapshot.service_count(),
        published.snapshot.endpoint_count(),
    );
    let clusters = published.status.clusters().count();
    let _ = writeln!(
        text,
        "{services} services, {endpoints} endpoint addresses, {clusters} clusters"
    );
    if problems.is_empty() {
        Ok(text)
    } else {
        Err((text, CommandError::Problems(problems.len())))
    }
}

/// `lighthouse-dns dump`: zones in master file form.
pub async fn dump(config: &Config) -> Result<String, CommandError> {
    let (_, published, _) = read(config, settings(config)).await?;
    let mut text = String::new();
    for zone in zones(config) {
        // Writing to a String does not fail.
        let _ = transfer::dump(&zone, &published.snapshot, &published.status, &mut text);
    }
    Ok(text)
}

/// `dump --zone` picks zones of a Corefile; without one, flags have made the zones already.
pub fn pick_zones(config: &mut Config, wanted: &[String]) -> Result<(), CommandError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let all = zones(config);
    let mut picked = Vec::new();
    for name in wanted {
        let wire = WireName::parse(name).map_err(|source| CommandError::Name {
            name: name.clone(),
            source,
        })?;
        let Some(zone) = all.iter().find(|zone| zone.origin == wire) else {
            let served: Vec<_> = all.iter().map(|zone| zone.origin.to_string()).collect();
            return Err(CommandError::Zone {
                zone: wire,
                served: served.join(", "),
            });
        };
        picked.push(zone.clone());
    }
    config.listeners.truncate(1);
    for listener in &mut config.listeners {
        listener.authority = Authority::new(picked.clone());
    }
    Ok(())
}

/// Number of a record type by its mnemonic or as `TYPE64` (RFC 3597).
fn type_number(text: &str) -> Option<u16> {
    const NAMES: [(&str, u16); 19] = [
        ("A", 1),
        ("NS", 2),
        ("CNAME", 5),
        ("SOA", 6),
        ("PTR", 12),
        ("HINFO", 13),
        ("MX", 15),
        ("TXT", 16),
        ("AAAA", 28),
        ("SRV", 33),
        ("NAPTR", 35),
        ("DS", 43),
        ("DNSKEY", 48),
        ("TLSA", 52),
        ("SVCB", 64),
        ("HTTPS", 65),
        ("CAA", 257),
        ("AXFR", 252),
        ("ANY", 255),
    ];
    let text = text.to_ascii_uppercase();
    let known = NAMES
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, number)| *number);
    known
        .or_else(|| text.strip_prefix("TYPE")?.parse().ok())
        .or_else(|| text.parse().ok())
}
