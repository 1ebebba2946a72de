//! The cluster's networks: what it shows, what the user says, and what has to be asked.

use ipnet::IpNet;
use subm_install::network::{self, Network, Services};

use crate::cli::{Cidrs, Join};
use crate::cluster::Cluster;
use crate::error::Error;
use crate::output::print;
use crate::prompt;
use crate::status::Status;

/// How well they must be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Service discovery works without, but the others cannot check addresses.
    Nice,
    /// What the others do not know of they cannot reach: all networks, also of nodes that come later. The number of nodes now.
    All { nodes: usize },
}

pub(super) async fn discover(
    status: &mut Status,
    cluster: &Cluster,
    flags: &Join,
    need: Need,
) -> Result<Network, Error> {
    status.start("Discovering network details");
    let mut network = crate::facts::network(cluster).await;
    let given = |cidrs: &Option<Cidrs>| {
        cidrs
            .as_ref()
            .map(|cidrs| cidrs.0.clone())
            .unwrap_or_default()
    };
    for mismatch in network.overridden(
        &given(&flags.choices.clustercidr),
        &given(&flags.choices.servicecidr),
    ) {
        status.warning(mismatch.to_string());
    }
    status.end();
    let of_nodes = nodes_parts(&network, need);
    if of_nodes.is_some() {
        network.pods.clear();
        network.pods_by_node = false;
    }
    let hint = of_nodes
        .map(|parts| format!(" Its nodes have {parts} of it."))
        .unwrap_or_default();
    fill(
        status,
        &mut network.pods,
        need,
        "Pod",
        &hint,
        "--clustercidr",
    )?;
    fill(
        status,
        &mut network.services,
        need,
        "Service",
        "",
        "--servicecidr",
    )?;
    let services = crate::facts::services(cluster).await;
    if let Some(message) = unfit(&network, &services) {
        if !flags.ignore_requirements {
            return Err(Error::Usage(
                message + " (--ignore-requirements goes on nevertheless)",
            ));
        }
        status.warning(message);
    }
    if !flags.dry_run {
        print(&describe(&network))?;
    }
    Ok(network)
}

/// Why the networks cannot be the cluster's own, and what to say instead.
fn unfit(network: &Network, services: &Services) -> Option<String> {
    if let Some(clash) = network::clashes(&network.pods, &network.services).first() {
        return Some(format!(
            "{clash}, and the other clusters could not tell pods from Services: say with --clustercidr and --servicecidr what each is"
        ));
    }
    let unreached = services.outside(&network.services)?;
    Some(format!(
        "{unreached} {}, and the other clusters would not reach them: name with --servicecidr all \
         networks that Services have",
        network::joined(&network.services)
    ))
}

/// What the nodes have, where that is all that is known and not enough: a node that comes later has another part. Of one node alone
/// it is taken for all, as upstream does.
fn nodes_parts(network: &Network, need: Need) -> Option<String> {
    match need {
        Need::All { nodes } if nodes > 1 && network.pods_by_node => {
            Some(network::joined(&network.pods))
        }
        _ => None,
    }
}

fn fill(
    status: &mut Status,
    nets: &mut Vec<IpNet>,
    need: Need,
    what: &str,
    hint: &str,
    flag: &str,
) -> Result<(), Error> {
    if !nets.is_empty() {
        return Ok(());
    }
    if need == Need::Nice && !prompt::can_ask() {
        status.warning(format!(
            "Could not determine the {what} CIDR of the cluster; give it with {flag}"
        ));
        return Ok(());
    }
    let question = format!("What's the {what} CIDR for your cluster?{hint}");
    let answer = prompt::ask(&question, flag)?;
    *nets =
        network::parse(&answer).map_err(|error| Error::Usage(format!("{answer:?}: {error}")))?;
    if nets.is_empty() {
        return Err(Error::NoAnswer(format!(
            "{question} No answer was given; use {flag}"
        )));
    }
    Ok(())
}

/// As Go subctl prints it.
fn describe(network: &Network) -> String {
    let list = |nets: &[IpNet]| network::joined(nets).replace(", ", " ");
    format!(
        "        Network plugin:  {}\n        Service CIDRs:   [{}]\n        Cluster CIDRs:   [{}]\n",
        network.plugin,
        list(&network.services),
        list(&network.pods)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_that_cannot_be_the_clusters_own_are_named_with_the_flags() {
        let network = |services: &str| Network {
            pods: vec!["10.8.0.0/16".parse().unwrap()],
            services: network::parse(services).unwrap(),
            ..Network::default()
        };
        let services = Services {
            objects: vec![("kubernetes".to_owned(), "10.88.0.0/16".parse().unwrap())],
            ..Services::default()
        };
        assert_eq!(unfit(&network("10.88.0.0/16"), &services), None);
        assert_eq!(unfit(&network("10.64.0.0/10"), &services), None);
        let same = unfit(&network("10.8.0.0/16"), &services).unwrap();
        assert!(
            same.starts_with(
                "the cluster's own pod CIDR 10.8.0.0/16 and service CIDR 10.8.0.0/16 overlap"
            ) && same.contains("--servicecidr"),
            "{same}"
        );
        let wrong = unfit(&network("10.77.0.0/16"), &services).unwrap();
        assert!(
            wrong.contains("10.88.0.0/16 (ServiceCIDR \"kubernetes\"), which is outside of the service CIDR 10.77.0.0/16")
                && wrong.contains("--servicecidr"),
            "{wrong}"
        );
    }

    #[test]
    fn parts_of_nodes_are_all_only_where_there_is_one() {
        let network = |by_node: bool| Network {
            pods: vec!["10.8.0.0/24".parse().unwrap()],
            pods_by_node: by_node,
            ..Network::default()
        };
        let parts = |by_node, need| nodes_parts(&network(by_node), need);
        assert_eq!(
            parts(true, Need::All { nodes: 2 }).as_deref(),
            Some("10.8.0.0/24")
        );
        assert_eq!(parts(true, Need::All { nodes: 1 }), None);
        assert_eq!(parts(false, Need::All { nodes: 2 }), None);
        assert_eq!(parts(true, Need::Nice), None);
    }
}
