//! What our accounts may do, and what they did: nothing is refused to them, and nothing is granted without a reason.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use subm_e2e::Lab;
use subm_test_support::Cluster;
use subm_test_support::rbac::{self, Access};

const OPERATOR: &str = "submariner-operator";
const BROKER: &str = "submariner-k8s-broker";

/// Granted and not used by the walk-through, and why it is granted.
const FOR_ANOTHER_DAY: [(&str, &str); 11] = [
    ("services", "a derived Service carries a cluster set IP"),
    ("globalingressips.submariner.io", "with Globalnet"),
    ("gateways.submariner.io", "with the data plane"),
    ("clusters.submariner.io", "with the data plane"),
    ("endpoints.submariner.io", "with the data plane"),
    ("brokers.submariner.io", "Submariner's agents read it"),
    (
        "leases.coordination.k8s.io",
        "an election with a second replica",
    ),
    ("events", "an import that is refused"),
    ("events.events.k8s.io", "an import that is refused"),
    (
        "endpointslices.discovery.k8s.io/restricted",
        "OpenShift asks for it",
    ),
    (
        "clusterproperties.about.k8s.io",
        "the DNS server reads its cluster's id there",
    ),
];

/// Verbs of objects that we write, which Lighthouse's agents or a change of what is there needs.
const VERBS_FOR_ANOTHER_DAY: [&str; 5] = ["get", "update", "patch", "delete", "deletecollection"];

type Account = (&'static str, &'static str, String);

/// What each account of the walk-through may do.
pub(crate) async fn granted(lab: &Lab) -> Result<BTreeMap<Account, BTreeSet<Access>>> {
    let mut all = BTreeMap::new();
    for name in [
        "submariner-lighthouse-agent",
        "submariner-lighthouse-coredns",
    ] {
        let client = lab.member("c1").client.clone();
        all.insert(
            ("c1", OPERATOR, name.to_owned()),
            rbac::granted(&client, OPERATOR, name).await?,
        );
    }
    let client = lab.broker.client().await?;
    for name in ["cluster-c1", "cluster-c2"] {
        all.insert(
            ("broker", BROKER, name.to_owned()),
            rbac::granted(&client, BROKER, name).await?,
        );
    }
    Ok(all)
}

pub(crate) fn check(lab: &Lab, granted: &BTreeMap<Account, BTreeSet<Access>>) -> Result<()> {
    lab.desk.row(
        "rights",
        "what our accounts used, and what they were granted beside it",
    );
    let mut wrong = Vec::new();
    for ((cluster, namespace, account), granted) in granted {
        let of: &Cluster = if *cluster == "broker" {
            &lab.broker
        } else {
            &lab.member(cluster).cluster
        };
        let audit = of.audit()?;
        let used = audit.allowed(namespace, account);
        let unused = rbac::unused(granted, &used);
        lab.desk.note(&format!(
            "{cluster}: {namespace}/{account}\n  used:   {}\n  unused: {}",
            list(&used),
            list(&unused)
        ));
        ensure!(!used.is_empty(), "{account} did nothing in {cluster}");
        for denied in audit.denied(namespace, account) {
            wrong.push(format!("{account} was refused: {denied}"));
        }
        for grant in &unused {
            let reason = FOR_ANOTHER_DAY
                .iter()
                .any(|(resource, _)| *resource == grant.resource);
            let verb = VERBS_FOR_ANOTHER_DAY.contains(&grant.verb.as_str());
            if !reason && !verb {
                wrong.push(format!("{account} need not be granted: {grant}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn list(accesses: &BTreeSet<Access>) -> String {
    let texts: Vec<String> = accesses.iter().map(ToString::to_string).collect();
    texts.join(", ")
}
