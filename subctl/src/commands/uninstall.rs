//! `uninstall`: what was installed goes, and with it what members left on each other.
//!
//! First the plan: everything that would go, in order. The agent goes before what it writes, or it would write it again, and so do
//! the data plane's programs before what they made on nodes; the definitions come late, as objects need them; the namespace last.

mod departure;
mod known;
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
use known::Way;
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

    let broker = deploy_broker::find(cluster, None)
        .await?
        .map(|broker| Broker {
            cluster: cluster.clone(),
            namespace: namespace(&broker).unwrap_or_default().to_owned(),
        });
    let nameless = id.is_none();
    let places = known::places(kube, &target, id, broker.as_ref()).await?;
    let mut kept_for = Vec::new();
    if let Some(broker) = &broker {
        let own = |member: &String| {
            let mut here = places.iter().filter(|place| place.is_here());
            here.any(|place| place.id.as_str() == member)
        };
        kept_for = broker.members(None).await?;
        kept_for.retain(|member| !own(member));
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
        for place in &places {
            if place.is_here() && going.is_some() {
                // Of a broker that goes as a whole the plan has all.
                continue;
            }
            match departure::lines(cluster, place.broker(), &place.id).await {
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
    let nothing = plan.is_empty() && dns.is_empty() && nodes.is_empty() && places.is_empty();
    if let (Some(broker), false) = (&broker, kept_for.is_empty()) {
        status.warning(format!(
            "Broker namespace {:?} appears to be in use by other clusters ({}) - keeping the broker components.",
            broker.namespace,
            kept_for.join(", ")
        ));
        if nothing {
            return Ok(());
        }
    }
    if nothing {
        status.success(format!(
            "Submariner is not installed in the cluster {:?}",
            target.name
        ));
        if broker.is_none() {
            status.note(known::advice(&target).await?);
        }
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
        for place in &places {
            if let Way::Context(context, _) = &place.way {
                question += &format!(
                    " The broker of context {context:?} knows it as {:?}, which goes too.",
                    place.id.as_str()
                );
            }
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
        places: &places,
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
    if nameless && places.is_empty() && broker.is_none() {
        status.note(known::advice(&target).await?);
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
