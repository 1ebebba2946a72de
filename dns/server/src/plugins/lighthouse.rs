//! `lighthouse [ZONES...] { … }`: the services of the cluster set.

use std::net::IpAddr;
use std::path::PathBuf;

use subm_dns_core::authority::{LostCluster, Zone};
use subm_dns_core::facts::ClusterId;
use subm_dns_core::name::WireName;

use super::{BlockSettings, Directive, args};
use crate::config::Source;
use crate::corefile::{Error, Problem, Property, Stanza};

pub(super) struct Lighthouse;

const KNOWN: &str =
    "fallthrough, ttl, strict, lost-cluster, cluster-id, manifests, kubeconfig, name-server";

impl Directive for Lighthouse {
    fn name(&self) -> &'static str {
        "lighthouse"
    }

    fn setup(&self, stanza: &Stanza, block: &mut BlockSettings<'_>) -> Result<(), Error> {
        let origins = if stanza.args.is_empty() {
            block.origins()
        } else {
            args::zones(&stanza.args)?
        };
        let mut zone = Zone::new(WireName::root());
        for property in &stanza.properties {
            let place = &property.name.place;
            match &*property.name.text {
                "fallthrough" => zone.fallthrough = args::fallthrough(property)?,
                "ttl" => zone.ttl = args::ttl(property)?,
                "strict" => {
                    args::check_count(&property.name, property.args.len(), ..=0, "strict")?;
                    zone.strict = true;
                }
                "lost-cluster" => {
                    let token = args::single(property, "lost-cluster drop|keep|keep-last-resort")?;
                    zone.lost_cluster =
                        lost_cluster(&token.text).map_err(|problem| problem.at(place))?;
                }
                "cluster-id" => {
                    let token = args::single(property, "cluster-id ID")?;
                    let id = cluster_id(&token.text).map_err(|problem| problem.at(place))?;
                    block
                        .cluster_id
                        .set(id, place, "cluster id", "the process")?;
                }
                "manifests" => {
                    let folder = PathBuf::from(&args::single(property, "manifests DIR")?.text);
                    block.source.set(
                        Source::Manifests(folder),
                        place,
                        "source of objects",
                        "the process",
                    )?;
                }
                "kubeconfig" => block.source.set(
                    kubeconfig(property)?,
                    place,
                    "source of objects",
                    "the process",
                )?,
                "name-server" => {
                    for token in args::at_least_one(property, "name-server ADDR...")? {
                        zone.name_server.push(
                            address(&token.text).map_err(|problem| problem.at(&token.place))?,
                        );
                    }
                }
                _ => return Err(args::unknown(property, KNOWN)),
            }
        }
        for origin in origins {
            block.add_zone(
                Zone {
                    origin,
                    ..zone.clone()
                },
                &stanza.name.place,
            )?;
        }
        Ok(())
    }
}

/// `kubeconfig FILE [CONTEXT]`.
pub(super) fn kubeconfig(property: &Property) -> Result<Source, Error> {
    args::check_count(
        &property.name,
        property.args.len(),
        1..=2,
        "kubeconfig FILE [CONTEXT]",
    )?;
    let context = property.args.get(1).map(|token| token.text.clone());
    Ok(Source::Kubernetes {
        kubeconfig: Some(PathBuf::from(&property.args[0].text)),
        context,
    })
}

pub(crate) fn lost_cluster(text: &str) -> Result<LostCluster, Problem> {
    match text {
        "drop" => Ok(LostCluster::Drop),
        "keep" => Ok(LostCluster::Keep),
        "keep-last-resort" => Ok(LostCluster::KeepLastResort),
        _ => Err(Problem::Value {
            value: text.to_owned(),
            want: "drop, keep or keep-last-resort",
        }),
    }
}

pub(crate) fn cluster_id(text: &str) -> Result<ClusterId, Problem> {
    let want = "a cluster id; write DNS labels joined by dots, at most 253 characters";
    ClusterId::new(text).ok_or_else(|| Problem::Value {
        value: text.to_owned(),
        want,
    })
}

fn address(text: &str) -> Result<IpAddr, Problem> {
    text.parse().map_err(|_| Problem::Value {
        value: text.to_owned(),
        want: "an IP address",
    })
}
