//! `diagnose`: what is broken, where, and what mends it. The checks are functions of what a cluster shows, and of what pods of ours
//! find in it; here it is gathered and told.

mod cni;
mod connections;
mod deployment;
mod firewall;
mod kube_proxy;
mod nodes;
mod report;
mod seen;

use serde_json::{Value, json};
use subm_install::names::CONNECTIVITY;

use crate::cli::{Diagnose, Diagnosis, Firewall, KubeFlags};
use crate::commands::finding::{Part, Verdict};
use crate::commands::nettest::{self, Pods, Site};
use crate::contexts::{self, Target};
use crate::error::Error;
use crate::output::print_data;
use crate::status::Status;
use report::Report;
use seen::Seen;

const NOT_INSTALLED: &str = "Submariner is not installed";
const NO_CONNECTIVITY: &str = "Submariner connectivity feature is not installed";
/// Upstream's words.
const INTER_CLUSTER: &str = "Skipping inter-cluster firewall check as it requires two kubeconfigs. Please run \"subctl diagnose firewall inter-cluster\" command manually.";

pub(super) async fn run(kube: &KubeFlags, flags: &Diagnose) -> Result<(), Error> {
    if let Diagnosis::Firewall {
        what: what @ (Firewall::InterCluster { remote } | Firewall::NatDiscovery { remote }),
    } = &flags.what
    {
        return firewall::between::run(kube, flags, what, remote).await;
    }
    let (targets, warnings) = contexts::all(kube).await?;
    let mut status = Status::new();
    for warning in warnings {
        status.warning(warning);
    }
    let mut report = Report::new(!flags.output.is_data());
    let many = targets.len() > 1;
    let mut failures = Vec::new();
    let mut data = Vec::new();
    for target in &targets {
        if many {
            report.heading(&format!("Cluster {:?}", target.name))?;
        }
        match cluster(target, flags, &mut report).await {
            Ok(parts) => {
                failures.extend(first_broken(&parts));
                data.push(to_json(target, &parts));
            }
            // Nobody wants to know any more.
            Err(error @ Error::Interrupted) => return Err(error),
            Err(error) => failures.push(report.failure(error)),
        }
    }
    if flags.output.is_data() {
        print_data(&Value::Array(data), flags.output)?;
    }
    Error::of_clusters(failures, targets.len())
}

fn to_json(target: &Target, parts: &[Part]) -> Value {
    let parts: Vec<Value> = parts.iter().map(Part::to_json).collect();
    json!({"cluster": target.name, "context": target.context, "checks": parts})
}

/// The first thing that is broken.
fn first_broken(parts: &[Part]) -> Option<Error> {
    let mut findings = parts.iter().flat_map(|part| &part.findings);
    let first = findings.find(|finding| finding.verdict == Verdict::Broken)?;
    Some(Error::Told(Box::new(Error::Broken(first.text.clone()))))
}

async fn cluster(
    target: &Target,
    flags: &Diagnose,
    report: &mut Report,
) -> Result<Vec<Part>, Error> {
    let Some(seen) = Seen::gather(&target.cluster).await? else {
        report.doubt(NOT_INSTALLED)?;
        return Ok(Vec::new());
    };
    let connectivity = seen.has(CONNECTIVITY);
    let mut parts = parts(&flags.what, &seen);
    for part in &parts {
        report.tell(part)?;
    }
    let (nodes, firewall) = match &flags.what {
        Diagnosis::All => (true, true),
        Diagnosis::Nodes => (true, false),
        Diagnosis::Firewall { .. } => (false, true),
        _ => (false, false),
    };
    if connectivity && (nodes || firewall) {
        parts.extend(probed(target, &seen, flags, report, (nodes, firewall)).await?);
    }
    if parts.is_empty() {
        report.doubt(NO_CONNECTIVITY)?;
    }
    if flags.what == Diagnosis::All && connectivity {
        report.doubt(INTER_CLUSTER)?;
    }
    Ok(parts)
}

/// What is read from objects.
fn parts(what: &Diagnosis, seen: &Seen) -> Vec<Part> {
    type Check = fn(&Seen) -> Vec<Part>;
    let of_connectivity: &[Check] = match what {
        Diagnosis::All => &[cni::check, connections::check, kube_proxy::check],
        Diagnosis::Connections => &[connections::check],
        Diagnosis::Cni => &[cni::check],
        Diagnosis::KubeProxyMode => &[kube_proxy::check],
        Diagnosis::Deployment | Diagnosis::Nodes | Diagnosis::Firewall { .. } => &[],
    };
    let mut parts = match what {
        Diagnosis::All | Diagnosis::Deployment => deployment::check(seen),
        _ => Vec::new(),
    };
    if seen.has(CONNECTIVITY) {
        parts.extend(of_connectivity.iter().flat_map(|check| check(seen)));
    }
    parts
}

/// What pods of ours find.
async fn probed(
    target: &Target,
    seen: &Seen,
    flags: &Diagnose,
    report: &mut Report,
    (nodes, firewall): (bool, bool),
) -> Result<Vec<Part>, Error> {
    let site = Site::of(&target.cluster, &flags.probes).await?;
    let limits = || flags.probes.limits();
    let mut parts = Vec::new();
    if nodes {
        report.begin(nodes::TITLE);
        let check = async |pods: &Pods| nodes::check(seen, &site, pods).await;
        let part = nettest::with(limits(), check).await?;
        report.tell(&part)?;
        parts.push(part);
    }
    // Where no pod of ours runs, none would there either.
    if firewall && !parts.iter().any(Part::is_unknown) {
        report.begin(firewall::intra::TITLE);
        let check = async |pods: &Pods| firewall::intra::check(seen, &site, pods).await;
        let part = nettest::with(limits(), check).await?;
        report.tell(&part)?;
        parts.push(part);
    }
    Ok(parts)
}
