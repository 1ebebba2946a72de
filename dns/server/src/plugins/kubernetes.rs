//! `kubernetes [ZONES...] { multicluster ZONES... }`: CoreDNS's own way to serve the cluster set. Only the
//! multicluster zones are served here.

use subm_dns_core::authority::Zone;
use subm_dns_core::name::WireName;

use super::{BlockSettings, Directive, args, lighthouse};
use crate::corefile::{Error, Problem, Stanza};

pub(super) struct Kubernetes;

const KNOWN: &str = "multicluster, ttl, fallthrough, kubeconfig";

impl Directive for Kubernetes {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    fn setup(&self, stanza: &Stanza, block: &mut BlockSettings<'_>) -> Result<(), Error> {
        let place = &stanza.name.place;
        let origins = if stanza.args.is_empty() {
            block.origins()
        } else {
            args::zones(&stanza.args)?
        };
        let mut zone = Zone::new(WireName::root());
        let mut multicluster = Vec::new();
        for property in &stanza.properties {
            let name = &property.name;
            match &*name.text {
                "multicluster" => multicluster.extend(args::zones(args::at_least_one(
                    property,
                    "multicluster ZONES...",
                )?)?),
                "fallthrough" => zone.fallthrough = args::fallthrough(property)?,
                "ttl" => zone.ttl = args::ttl(property)?,
                "kubeconfig" => {
                    block.source.set(
                        lighthouse::kubeconfig(property)?,
                        &name.place,
                        "source of objects",
                        "the process",
                    )?;
                }
                "pods"
                | "endpoint_pod_names"
                | "startup_timeout"
                | "apiserver_qps"
                | "apiserver_burst"
                | "apiserver_max_inflight" => {
                    tracing::warn!(place = %name.place, property = name.text, "kubernetes: this property has no effect on multicluster zones");
                }
                "endpoint" | "tls" => {
                    let remedy = "use kubeconfig FILE [CONTEXT]";
                    return Err(Problem::NotSupported {
                        name: name.text.clone(),
                        remedy,
                    }
                    .at(&name.place));
                }
                "namespaces" | "labels" | "namespace_labels" | "ignore" | "noendpoints" => {
                    let remedy = "it would change answers; take it away";
                    return Err(Problem::NotSupported {
                        name: name.text.clone(),
                        remedy,
                    }
                    .at(&name.place));
                }
                _ => return Err(args::unknown(property, KNOWN)),
            }
        }
        if let Some(other) = origins.iter().find(|origin| !multicluster.contains(origin)) {
            return Err(Problem::NotMulticluster {
                zone: other.to_string(),
            }
            .at(place));
        }
        if let Some(other) = multicluster.iter().find(|zone| !origins.contains(zone)) {
            return Err(Problem::MulticlusterOutside {
                zone: other.to_string(),
            }
            .at(place));
        }
        for origin in origins {
            block.add_zone(
                Zone {
                    origin,
                    ..zone.clone()
                },
                place,
            )?;
        }
        Ok(())
    }
}
