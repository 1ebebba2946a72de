//! `diagnose`: what is broken, where, and what mends it. The checks are functions of what a cluster shows; here it is gathered and
//! told.

mod cni;
mod connections;
mod deployment;
mod kube_proxy;
mod seen;

use serde_json::{Value, json};
use subm_install::names::CONNECTIVITY;

use crate::cli::{Diagnose, Diagnosis, KubeFlags};
use crate::commands::finding::{Part, Verdict};
use crate::contexts::{self, Target};
use crate::error::Error;
use crate::output::{print, print_data};
use crate::status::Status;
use seen::Seen;

const NOT_INSTALLED: &str = "Submariner is not installed";
const NO_CONNECTIVITY: &str = "Submariner connectivity feature is not installed";

pub(super) async fn run(kube: &KubeFlags, flags: &Diagnose) -> Result<(), Error> {
    let (targets, warnings) = contexts::all(kube).await?;
    let mut status = Status::new();
    for warning in warnings {
        status.warning(warning);
    }
    let many = targets.len() > 1;
    let mut failures = Vec::new();
    let mut data = Vec::new();
    for target in &targets {
        if many && !flags.output.is_data() {
            print(&format!("Cluster {:?}\n", target.name))?;
        }
        match cluster(target, flags.what, &mut status).await {
            Ok((parts, broken)) => {
                let parts: Vec<Value> = parts.iter().map(Part::to_json).collect();
                data.push(
                    json!({"cluster": target.name, "context": target.context, "checks": parts}),
                );
                failures.extend(broken);
            }
            Err(error) => failures.push(error),
        }
    }
    if flags.output.is_data() {
        print_data(&Value::Array(data), flags.output)?;
    }
    Error::of_clusters(failures, targets.len())
}

/// The error is the first thing that is broken.
async fn cluster(
    target: &Target,
    what: Diagnosis,
    status: &mut Status,
) -> Result<(Vec<Part>, Option<Error>), Error> {
    let Some(seen) = Seen::gather(&target.cluster).await? else {
        status.warning(NOT_INSTALLED);
        return Ok((Vec::new(), None));
    };
    let parts = parts(what, &seen);
    if parts.is_empty() {
        status.warning(NO_CONNECTIVITY);
    }
    for part in &parts {
        tell(status, part);
    }
    let broken = parts.iter().flat_map(|part| &part.findings);
    let first = broken
        .into_iter()
        .find(|finding| finding.verdict == Verdict::Broken);
    let error = first.map(|finding| Error::Told(Box::new(Error::Broken(finding.text.clone()))));
    Ok((parts, error))
}

fn parts(what: Diagnosis, seen: &Seen) -> Vec<Part> {
    type Check = fn(&Seen) -> Vec<Part>;
    let of_connectivity: &[Check] = match what {
        Diagnosis::All => &[cni::check, connections::check, kube_proxy::check],
        Diagnosis::Deployment => &[],
        Diagnosis::Connections => &[connections::check],
        Diagnosis::Cni => &[cni::check],
        Diagnosis::KubeProxyMode => &[kube_proxy::check],
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

fn tell(status: &mut Status, part: &Part) {
    status.start(&part.title);
    for finding in &part.findings {
        match finding.verdict {
            Verdict::Good => status.success(&finding.text),
            Verdict::Doubtful => status.warning(&finding.text),
            Verdict::Broken => status.failure(&finding.text),
        }
        if !finding.remedy.is_empty() {
            status.note(&finding.remedy);
        }
    }
    if part.is_broken() {
        status.failed();
    } else {
        status.end();
    }
}
