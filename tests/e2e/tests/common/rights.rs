//! What our accounts may do, and what they did: nothing is refused to them, and nothing is granted without a reason.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use subm_e2e::Lab;
use subm_test_support::Cluster;
use subm_test_support::rbac::{self, Access};

const OPERATOR: &str = "submariner-operator";
const BROKER: &str = "submariner-k8s-broker";

/// Rights that are granted and that the walk-through does not use: of which accounts, to do what to what, and why.
const FOR_ANOTHER_DAY: [(&str, &str, &[&str], &str); 23] = [
    ("", "services", &["get"], READS),
    ("", "namespaces", &["get"], READS),
    ("", "nodes", &["get"], READS),
    ("", "serviceexports.multicluster.x-k8s.io", &["get"], READS),
    ("", "serviceimports.multicluster.x-k8s.io", &["get"], READS),
    ("", "endpointslices.discovery.k8s.io", &["get"], READS),
    ("", "gateways.submariner.io", &["get"], READS),
    ("", "clusterproperties.about.k8s.io", &["get"], READS),
    (
        "",
        "globalingressips.submariner.io",
        &["get", "list", "watch"],
        "with Globalnet",
    ),
    (
        "",
        "events",
        &["create", "patch"],
        "an import that is refused",
    ),
    (
        "",
        "events.events.k8s.io",
        &["create", "patch"],
        "an import that is refused",
    ),
    (
        "",
        "endpointslices.discovery.k8s.io/restricted",
        &["create"],
        "OpenShift asks for it",
    ),
    ("", "endpoints.submariner.io", &["get"], READS),
    ("", "clusters.submariner.io", &["get"], READS),
    (
        GATEWAY,
        "endpoints.submariner.io",
        &["update"],
        "an address or a key that changes",
    ),
    (
        GATEWAY,
        "clusters.submariner.io",
        &["update"],
        "networks that change",
    ),
    (
        MEMBER,
        "serviceimports.multicluster.x-k8s.io",
        &["patch", "update", "deletecollection"],
        LIGHTHOUSE,
    ),
    (
        MEMBER,
        "serviceimports.multicluster.x-k8s.io/status",
        &["get", "update"],
        LIGHTHOUSE,
    ),
    (
        MEMBER,
        "endpointslices.discovery.k8s.io",
        &["patch", "update", "deletecollection"],
        LIGHTHOUSE,
    ),
    (
        MEMBER,
        "clusters.submariner.io",
        &["create", "get", "update", "delete", "deletecollection"],
        GATEWAYS,
    ),
    (
        MEMBER,
        "endpoints.submariner.io",
        &[
            "create",
            "get",
            "list",
            "watch",
            "patch",
            "update",
            "delete",
            "deletecollection",
        ],
        GATEWAYS,
    ),
    (
        MEMBER,
        "leases.coordination.k8s.io",
        &["create", "get", "update"],
        "made by the first patch, or by another client",
    ),
    (
        MEMBER,
        "leases.coordination.k8s.io",
        &["delete"],
        "only one of the two members leaves",
    ),
];
const GATEWAY: &str = "submariner-gateway";
const READS: &str = "whoever may list an object may get it";
const LIGHTHOUSE: &str = "the role is that of Lighthouse's agents, too";
const GATEWAYS: &str = "the role is that of gateways, too";
/// Accounts on the broker begin with it.
const MEMBER: &str = "cluster-";

type Account = (&'static str, &'static str, String);

/// What these accounts of a member may do, and those of members on the broker.
pub(crate) async fn granted(
    lab: &Lab,
    accounts: &[&str],
) -> Result<BTreeMap<Account, BTreeSet<Access>>> {
    let mut all = BTreeMap::new();
    for name in accounts {
        let client = lab.member("c1").client.clone();
        all.insert(
            ("c1", OPERATOR, (*name).to_owned()),
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
            let excused = FOR_ANOTHER_DAY.iter().any(|(whose, resource, verbs, _)| {
                account.starts_with(whose)
                    && *resource == grant.resource
                    && verbs.contains(&grant.verb.as_str())
            });
            if !excused {
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
