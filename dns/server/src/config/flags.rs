//! Flags to a configuration: all of it, or what goes before a Corefile.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use subm_dns_core::authority::{Authority, Zone};
use subm_dns_core::facts::ClusterId;
use subm_dns_core::respond::Transport;

use super::{
    Config, ConfigError, Health, Host, Listener, QueryLog, Source, TlsFiles, TransferRule, resolve,
};
use crate::cli::Cli;
use crate::corefile::Problem;
use crate::plugins;

/// What the flags say without a Corefile.
pub(super) fn config(cli: &Cli, host: &Host) -> Result<Config, ConfigError> {
    let listen: Vec<(Transport, SocketAddr)> = if cli.listen.is_empty() {
        vec![(
            Transport::Udp,
            SocketAddr::new(host.wildcard(), cli.dns_port),
        )]
    } else {
        cli.listen
            .iter()
            .map(|text| listen_addr(text, host, cli.dns_port))
            .collect::<Result<_, _>>()?
    };
    for (at, (transport, addr)) in listen.iter().enumerate() {
        if listen[..at].contains(&(*transport, *addr)) {
            return Err(flag("listen")(Problem::ListenTwice { addr: *addr }));
        }
    }
    let tls = tls_files(cli)?;
    let rule = transfer_rule(cli)?;
    let query_log = cli.query_log.then_some(QueryLog::ALL);
    let bind: Vec<_> = listen.iter().map(|(_, addr)| addr.ip()).collect();
    let zones = zones(cli, host, &bind)?;
    let listeners = listen.into_iter().map(|(transport, addr)| {
        let encrypted = transport != Transport::Udp;
        let missing = Problem::NoCertificate {
            transport: resolve::scheme(transport),
        };
        if encrypted && tls.is_none() {
            return Err(flag("listen")(missing));
        }
        let mut authority = Authority::new(zones.clone());
        if let Some(nsid) = &cli.nsid {
            plugins::check_nsid(nsid).map_err(flag("nsid"))?;
            authority.nsid = Some(nsid.clone().into_bytes());
        }
        authority.cookies = Some(resolve::cookie_secret());
        authority.keepalive = Some(resolve::KEEPALIVE);
        let bound = if addr.ip().is_unspecified() {
            format!(":{}", addr.port())
        } else {
            addr.to_string()
        };
        Ok(Listener {
            transport,
            addr,
            transfer: vec![rule.clone(); zones.len()],
            query_log: vec![query_log; zones.len()],
            authority,
            tls: tls.clone().filter(|_| encrypted),
            label: format!("{}://{bound}", resolve::scheme(transport)),
        })
    });
    let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
    let lameduck = lameduck(cli)?.unwrap_or_default();
    Ok(Config {
        listeners,
        source: source(cli)?.unwrap_or(Source::Kubernetes {
            kubeconfig: None,
            context: None,
        }),
        cluster_id: cluster_id(cli, host)?,
        health: endpoint("health", cli.health.as_deref().unwrap_or(":8080"), host)?
            .map(|addr| Health { addr, lameduck }),
        ready: endpoint("ready", cli.ready.as_deref().unwrap_or(":8181"), host)?,
        metrics: endpoint("metrics", cli.metrics.as_deref().unwrap_or(":9153"), host)?,
        reload: None,
        files: Vec::new(),
    })
}

/// Flags that would say again what server blocks say.
pub(super) fn check_beside_corefile(cli: &Cli, conf: &Path) -> Result<(), ConfigError> {
    let of_blocks = [
        ("listen", !cli.listen.is_empty()),
        ("zone", !cli.zone.is_empty()),
        ("strict", cli.strict),
        ("ttl", cli.ttl.is_some()),
        ("lost-cluster", cli.lost_cluster.is_some()),
        ("transfer-to", !cli.transfer_to.is_empty()),
        ("name-server", !cli.name_server.is_empty()),
        ("nsid", cli.nsid.is_some()),
        ("tls-cert", cli.tls_cert.is_some()),
        ("tls-key", cli.tls_key.is_some()),
        ("query-log", cli.query_log),
    ];
    match of_blocks.into_iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(ConfigError::FlagWithCorefile {
            flag,
            conf: conf.to_owned(),
        }),
        None => Ok(()),
    }
}

/// Source, cluster id and the HTTP endpoints: a flag goes before the Corefile.
pub(super) fn override_corefile(
    cli: &Cli,
    host: &Host,
    config: &mut Config,
) -> Result<(), ConfigError> {
    if let Some(source) = source(cli)? {
        config.source = source;
    }
    if cli.cluster_id.is_some() || config.cluster_id.is_none() {
        config.cluster_id = cluster_id(cli, host)?;
    }
    let of_corefile = config
        .health
        .map_or(Duration::ZERO, |health| health.lameduck);
    let lameduck = lameduck(cli)?.unwrap_or(of_corefile);
    if let Some(text) = &cli.health {
        config.health = endpoint("health", text, host)?.map(|addr| Health { addr, lameduck });
    } else if let Some(health) = &mut config.health {
        health.lameduck = lameduck;
    }
    if let Some(text) = &cli.ready {
        config.ready = endpoint("ready", text, host)?;
    }
    if let Some(text) = &cli.metrics {
        config.metrics = endpoint("metrics", text, host)?;
    }
    Ok(())
}

fn flag(flag: &'static str) -> impl Fn(Problem) -> ConfigError {
    move |problem| ConfigError::Flag { flag, problem }
}

/// `[TRANSPORT://]ADDR[:PORT]`, `:PORT` for all addresses.
fn listen_addr(
    text: &str,
    host: &Host,
    dns_port: u16,
) -> Result<(Transport, SocketAddr), ConfigError> {
    let parse = || {
        let (transport, port, rest) = resolve::split_transport(text, dns_port)?;
        let addr = match rest.parse() {
            Ok(ip) => SocketAddr::new(ip, port),
            Err(_) => host.listen_addr(rest)?,
        };
        Ok((transport, addr))
    };
    parse().map_err(flag("listen"))
}

/// `off` switches an endpoint off.
fn endpoint(
    name: &'static str,
    text: &str,
    host: &Host,
) -> Result<Option<SocketAddr>, ConfigError> {
    if text == "off" {
        Ok(None)
    } else {
        host.listen_addr(text).map(Some).map_err(flag(name))
    }
}

fn zones(cli: &Cli, host: &Host, bind: &[std::net::IpAddr]) -> Result<Vec<Zone>, ConfigError> {
    let names = if cli.zone.is_empty() {
        &["clusterset.local".to_owned()][..]
    } else {
        &cli.zone
    };
    let lost_cluster = cli
        .lost_cluster
        .as_deref()
        .map(plugins::lost_cluster)
        .transpose()
        .map_err(flag("lost-cluster"))?;
    let mut zones: Vec<Zone> = Vec::new();
    for name in names {
        let mut zone = Zone::new(plugins::zone(name).map_err(flag("zone"))?);
        zone.ttl = cli
            .ttl
            .map_or(Ok(zone.ttl), plugins::ttl_in_range)
            .map_err(flag("ttl"))?;
        zone.strict = cli.strict;
        zone.lost_cluster = lost_cluster.unwrap_or_default();
        zone.name_server.clone_from(&cli.name_server);
        if zone.name_server.is_empty() {
            zone.name_server = host.name_server(bind);
        }
        if !zones.iter().any(|have| have.origin == zone.origin) {
            zones.push(zone);
        }
    }
    Ok(zones)
}

fn tls_files(cli: &Cli) -> Result<Option<TlsFiles>, ConfigError> {
    let existing = |name: &'static str, path: &Option<PathBuf>| match path {
        Some(path) if !path.exists() => Err(flag(name)(Problem::Missing {
            path: path.clone(),
            remedy: "name a file in PEM form",
        })),
        _ => Ok(path.clone()),
    };
    let files = (
        existing("tls-cert", &cli.tls_cert)?,
        existing("tls-key", &cli.tls_key)?,
    );
    Ok(match files {
        (Some(certificate), Some(key)) => Some(TlsFiles {
            certificate,
            key,
            client_ca: None,
        }),
        _ => None,
    })
}

fn transfer_rule(cli: &Cli) -> Result<TransferRule, ConfigError> {
    let mut rule = TransferRule::default();
    for to in &cli.transfer_to {
        rule.allow(to).map_err(flag("transfer-to"))?;
    }
    Ok(rule)
}

fn source(cli: &Cli) -> Result<Option<Source>, ConfigError> {
    match (&cli.manifests, &cli.kubeconfig, &cli.context) {
        (Some(folder), None, None) => Ok(Some(Source::Manifests(folder.clone()))),
        (Some(_), _, _) => Err(ConfigError::TwoSources),
        (None, None, None) => Ok(None),
        (None, kubeconfig, context) => Ok(Some(Source::Kubernetes {
            kubeconfig: kubeconfig.clone(),
            context: context.clone(),
        })),
    }
}

/// The flag, else `SUBMARINER_CLUSTERID`; an empty variable counts as none.
fn cluster_id(cli: &Cli, host: &Host) -> Result<Option<ClusterId>, ConfigError> {
    if let Some(id) = &cli.cluster_id {
        return plugins::cluster_id(id)
            .map(Some)
            .map_err(flag("cluster-id"));
    }
    let variable = host
        .env
        .get("SUBMARINER_CLUSTERID")
        .filter(|id| !id.is_empty());
    variable
        .map(|id| plugins::cluster_id(id))
        .transpose()
        .map_err(|problem| ConfigError::ClusterIdVariable { problem })
}

fn lameduck(cli: &Cli) -> Result<Option<Duration>, ConfigError> {
    cli.lameduck
        .as_deref()
        .map(plugins::duration)
        .transpose()
        .map_err(flag("lameduck"))
}
