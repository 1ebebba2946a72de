//! `uninstall`: what was installed goes, and with it what members left on each other.
//!
//! First the plan: everything that would go, in order. The agent goes before what it writes, or it would write it again, and so do
//! the data plane's programs before what they made on nodes; the definitions come late, as objects need them; the namespace last.

mod departure;
mod nodes;
mod plan;
mod removal;

use std::cell::Cell;

use subm_install::ClusterId;

use crate::broker::Broker;
use crate::cli::{KubeFlags, Uninstall};
use crate::cluster::{Cluster, name, namespace};
use crate::commands::export::{exports, member_id};
use crate::commands::interrupt::Work;
use crate::commands::{deploy_broker, member_dns, operator};
use crate::contexts;
use crate::error::Error;
use crate::output::print;
use crate::prompt;
use crate::status::Status;
use nodes::Nodes;
use plan::Plan;
use removal::Removal;

pub(super) async fn run(kube: &KubeFlags, flags: &Uninstall) -> Result<(), Error> {
    let target = contexts::selected(kube).await?;
    let cluster = &target.cluster;
    operator::check_not_only_submariners(cluster).await?;
    operator::check_at_rest(cluster).await?;
    let id = member_id(cluster)
        .await?
        .and_then(|id| ClusterId::new(&id).ok());
    let mut status = Status::new();

    let mut kept_for = Vec::new();
    let broker = deploy_broker::find(cluster, None)
        .await?
        .map(|broker| Broker {
            cluster: cluster.clone(),
            namespace: namespace(&broker).unwrap_or_default().to_owned(),
        });
    let mut broker_is_its = false;
    if let Some(broker) = &broker {
        if let Some(id) = &id {
            broker_is_its = departure::is_members(cluster, broker, id).await?;
        }
        kept_for = broker
            .members(id.as_ref().filter(|_| broker_is_its))
            .await?;
    }
    let going = broker.as_ref().filter(|_| kept_for.is_empty());
    let stays = broker.is_some() && going.is_none();
    let plan = Plan::new(cluster, going, stays, flags.delete_definitions).await?;
    let dns = member_dns::traces(cluster).await?;
    let nodes = Nodes::look(cluster).await?;
    if flags.dry_run {
        for line in nodes.lines() {
            print(&format!("{line}\n"))?;
        }
        for trace in dns {
            print(&format!("{trace}\n"))?;
        }
        // On a broker that goes as a whole the plan has it.
        if let (Some(id), None) = (&id, going) {
            let here = broker.as_ref().filter(|_| broker_is_its);
            match departure::lines(cluster, here, id).await {
                Ok(lines) => {
                    for line in lines {
                        print(&format!("{line}\n"))?;
                    }
                }
                Err(error) => status.warning(format!(
                    "What this cluster has on the broker is not listed: {}",
                    error.with_causes()
                )),
            }
        }
        for (kind, object) in departure::imported(cluster).await? {
            let place = namespace(&object).unwrap_or_default();
            print(&format!("{kind} {place}/{}\n", name(&object)))?;
        }
        print(&plan.to_string())?;
        return Ok(());
    }
    if let (Some(broker), false) = (&broker, kept_for.is_empty()) {
        status.warning(format!(
            "Broker namespace {:?} appears to be in use by other clusters ({}) - keeping the broker components.",
            broker.namespace,
            kept_for.join(", ")
        ));
        if plan.is_empty() && dns.is_empty() && nodes.is_empty() {
            return Ok(());
        }
    }
    if plan.is_empty() && dns.is_empty() && nodes.is_empty() {
        status.success(format!(
            "Submariner is not installed in the cluster {:?}",
            target.name
        ));
        return Ok(());
    }
    if !flags.yes {
        let mut question = format!(
            "This will completely uninstall Submariner from the cluster {:?}.",
            target.name
        );
        if flags.delete_definitions {
            question += &format!(
                " {} ServiceExports go with their definition.",
                exported(cluster).await?
            );
        }
        question += " Are you sure you want to continue?";
        if !prompt::confirm(&question, "--yes")? {
            return Err(Error::NoAnswer("nothing was uninstalled".to_owned()));
        }
    }
    let removal = Removal {
        cluster,
        plan: &plan,
        nodes: &nodes,
        id: id.as_ref(),
        here: broker.as_ref().filter(|_| broker_is_its),
        timeout: flags.timeout,
    };
    let at = Cell::default();
    let mut signals = Work::begin();
    let left = tokio::select! {
        left = removal.run(&mut status, &at) => left?,
        () = signals.interrupted() => return Err(removal.interrupted(at.get())),
    };
    let exports = exported(cluster).await?;
    if exports > 0 {
        status.note(format!(
            "{exports} ServiceExports stay, without effect, with the definitions of their API; --delete-definitions deletes both"
        ));
    }
    status.end();
    // All is done that could be; a script has to know that something is left elsewhere.
    left.map_or(Ok(()), |error| Err(Error::Told(Box::new(error))))
}

/// How many ServiceExports users have here.
async fn exported(cluster: &Cluster) -> Result<usize, Error> {
    match exports(cluster).await {
        Ok(exports) => Ok(cluster.list(&exports, None, "").await?.len()),
        // There is no such kind.
        Err(Error::NotFound(_)) => Ok(0),
        Err(error) => Err(error),
    }
}
