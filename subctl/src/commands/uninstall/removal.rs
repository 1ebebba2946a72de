//! The steps of an uninstall, and what is left where it is interrupted between them.

use std::cell::Cell;
use std::time::Duration;

use subm_install::member::cleanup::CLEANUP;

use super::departure;
use super::known::{Place, Way};
use super::nodes::Nodes;
use super::plan::Plan;
use crate::cluster::Cluster;
use crate::commands::member_dns;
use crate::error::Error;
use crate::status::Status;

/// What is to be removed, and from where.
pub(super) struct Removal<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) plan: &'a Plan,
    pub(super) nodes: &'a Nodes,
    /// On brokers.
    pub(super) places: &'a [Place],
    /// For nodes.
    pub(super) timeout: Duration,
}

/// In the order in which they are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    #[default]
    Dns,
    Discovery,
    Nodes,
    Broker,
    Imports,
    Installed,
    Labels,
}

impl Removal<'_> {
    /// `at` is the step that has begun. The error that comes back tells what could not be removed, where all else was.
    pub(super) async fn run(
        &self,
        status: &mut Status,
        at: &Cell<Step>,
    ) -> Result<Option<Error>, Error> {
        let cluster = self.cluster;
        status.start("Restoring the cluster's DNS");
        for place in member_dns::unforward(cluster).await? {
            status.success(format!("Removed {place}"));
        }
        at.set(Step::Discovery);
        status.start("Stopping service discovery");
        self.plan.stop(cluster).await?;
        at.set(Step::Nodes);
        let on_nodes = self.nodes.clean(status, cluster, self.timeout).await?;
        at.set(Step::Broker);
        let mut on_broker = None;
        for place @ Place { id, way } in self.places {
            let of = match way {
                Way::Context(context, _) => format!(" of context {context:?}"),
                Way::Own | Way::Here(_) => String::new(),
            };
            status.start(format!(
                "Removing cluster {:?} from the broker{of}",
                id.as_str()
            ));
            let stays = departure::leave(status, cluster, place.broker(), id).await?;
            on_broker = on_broker.or(stays);
        }
        at.set(Step::Imports);
        status.start("Removing imported services");
        let imported = departure::forget(cluster).await?;
        status.success(format!("Removed {imported} objects"));
        at.set(Step::Installed);
        status.start("Removing what was installed");
        let removed = self.plan.remove(cluster).await?;
        status.success(format!("Removed {removed} objects"));
        at.set(Step::Labels);
        let unlabelled = self.nodes.unlabel(cluster).await?;
        if unlabelled > 0 {
            status.success(format!("Unlabeled {unlabelled} gateway nodes"));
        }
        Ok(on_broker.or(on_nodes))
    }

    /// By a signal, after this step had begun.
    pub(super) fn interrupted(&self, at: Step) -> Error {
        let left = left(
            at,
            self.places.first().map(|place| place.id.as_str()),
            self.nodes.has_data_plane(),
        );
        Error::Stopped(format!(
            "these stay, the first of them maybe in part: {}. Run `subctl uninstall` again: it removes what is left",
            left.join("; ")
        ))
    }
}

fn left(at: Step, id: Option<&str>, data_plane: bool) -> Vec<String> {
    let steps = [
        (
            Step::Dns,
            Some("the forwarding section in the cluster's DNS".to_owned()),
        ),
        (Step::Discovery, Some("service discovery".to_owned())),
        (
            Step::Nodes,
            data_plane.then(|| {
                format!(
                    "links, routes and packet filter on nodes (pods with the label {CLEANUP}=true may be at them)"
                )
            }),
        ),
        (
            Step::Broker,
            id.map(|id| format!("what the broker has of cluster {id:?}")),
        ),
        (Step::Imports, Some("imported services".to_owned())),
        (Step::Installed, Some("what was installed".to_owned())),
        (
            Step::Labels,
            data_plane.then(|| "the label of gateway nodes".to_owned()),
        ),
    ];
    let steps = steps.into_iter().filter(|(step, _)| *step >= at);
    steps.filter_map(|(_, words)| words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_begins_with_the_step_that_was_interrupted() {
        let words = left(Step::Nodes, Some("c1"), true);
        assert!(words[0].starts_with("links, routes"), "{words:?}");
        assert_eq!(
            words[1..],
            [
                "what the broker has of cluster \"c1\"",
                "imported services",
                "what was installed",
                "the label of gateway nodes"
            ]
        );
        assert_eq!(
            left(Step::Nodes, None, false),
            ["imported services", "what was installed"]
        );
        assert_eq!(left(Step::Dns, Some("c1"), true).len(), 7);
    }
}
