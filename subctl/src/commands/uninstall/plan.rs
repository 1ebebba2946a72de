//! Everything of ours in a cluster, found by label.

use std::fmt;
use std::time::{Duration, Instant};

use subm_api::names;
use subm_install::names::{AGENT, DNS, INSTALLER, MANAGED_BY, OPERATOR_NAMESPACE, SETTINGS};

use crate::broker::Broker;
use crate::cluster::{
    Cluster, Kind, PAUSE, annotation, is_ours, kind, label, list_at, name, namespace, str_at,
};
use crate::error::Error;

/// What will be deleted, in this order.
pub(super) struct Plan {
    items: Vec<Item>,
}

struct Item {
    kind: Kind,
    namespace: Option<String>,
    name: String,
}

/// Kinds in a namespace, users of others before what they use.
const NAMESPACED: [Kind; 9] = [
    kind::DEPLOYMENTS,
    kind::DAEMON_SETS,
    kind::BUDGETS,
    kind::SERVICES,
    kind::CONFIG_MAPS,
    kind::SECRETS,
    kind::ROLE_BINDINGS,
    kind::ROLES,
    kind::ACCOUNTS,
];
const CLUSTER_WIDE: [Kind; 6] = [
    kind::POLICY_BINDINGS,
    kind::POLICIES,
    kind::CLUSTER_ROLE_BINDINGS,
    kind::CLUSTER_ROLES,
    kind::PROPERTIES,
    kind::DEFINITIONS,
];
/// Pods that have been told to go need a moment.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
const DEFINITION_DEADLINE: Duration = Duration::from_secs(60);
const READY_DEADLINE: Duration = Duration::from_secs(10);

impl Plan {
    /// `broker` goes too; `broker_stays` while others use it, and with it the definitions. Those of the Multi-Cluster Services API
    /// go only if `definitions` says so: with them all ServiceExports would, which are users'.
    pub(super) async fn new(
        cluster: &Cluster,
        broker: Option<&Broker>,
        broker_stays: bool,
        definitions: bool,
    ) -> Result<Self, Error> {
        let ours = format!("{MANAGED_BY}={INSTALLER}");
        let mut items = Vec::new();
        let mut namespaces = vec![OPERATOR_NAMESPACE.to_owned()];
        namespaces.extend(broker.map(|broker| broker.namespace.clone()));
        for namespace in &namespaces {
            for kind in &NAMESPACED {
                let objects = cluster.list(kind, Some(namespace), &ours).await?;
                items.extend(objects.iter().map(|object| Item::of(kind, object)));
            }
        }
        for object in broker_objects(cluster, broker).await? {
            items.push(object);
        }
        for kind in &CLUSTER_WIDE {
            let of_broker = [&kind::POLICIES, &kind::POLICY_BINDINGS, &kind::DEFINITIONS];
            if broker_stays && of_broker.contains(&kind) {
                continue;
            }
            let objects = cluster.list(kind, None, &ours).await?;
            let going = objects
                .iter()
                .filter(|object| definitions || *kind != kind::DEFINITIONS || !is_shared(object));
            items.extend(going.map(|object| Item::of(kind, object)));
        }
        for namespace in &namespaces {
            let object = cluster.get(&kind::NAMESPACES, None, namespace).await?;
            let object = object.filter(|object| {
                is_ours(object) && object["metadata"]["deletionTimestamp"].is_null()
            });
            items.extend(
                object
                    .iter()
                    .map(|object| Item::of(&kind::NAMESPACES, object)),
            );
        }
        Ok(Self { items })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Deletes the workloads and waits until their pods are gone, as far as anybody looks after that.
    pub(super) async fn stop(&self, cluster: &Cluster) -> Result<(), Error> {
        for item in self
            .items
            .iter()
            .filter(|item| item.kind == kind::DEPLOYMENTS)
        {
            item.delete(cluster).await?;
        }
        let start = Instant::now();
        for app in [AGENT, DNS] {
            let labels = format!("app={app}");
            while start.elapsed() < STOP_DEADLINE
                && !cluster
                    .list(&kind::PODS, Some(OPERATOR_NAMESPACE), &labels)
                    .await?
                    .is_empty()
            {
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// How many were deleted.
    pub(super) async fn remove(&self, cluster: &Cluster) -> Result<usize, Error> {
        let mut removed = 0;
        // What the cluster joined as, and with which token, is needed if this has to be run again: they go late.
        let (late, early): (Vec<_>, Vec<_>) = self.items.iter().partition(|item| {
            item.name == SETTINGS
                || item.kind == kind::SECRETS
                || item.kind == kind::DEFINITIONS
                || item.kind == kind::NAMESPACES
        });
        for item in early.into_iter().chain(late) {
            if item.kind == kind::DEFINITIONS {
                // The API server lists a kind's objects before it lets the definition go, and tries again ever more rarely where
                // its storage is not ready then, as it is not when nobody has listed them before.
                let _ = cluster.served(&item.name, READY_DEADLINE).await;
            }
            removed += usize::from(item.delete(cluster).await?);
        }
        for item in self
            .items
            .iter()
            .filter(|item| item.kind == kind::DEFINITIONS)
        {
            gone(cluster, &item.name).await?;
        }
        Ok(removed)
    }
}

/// The API server takes a definition's objects away first. Until then another `join` would find a definition that is dying.
async fn gone(cluster: &Cluster, definition: &str) -> Result<(), Error> {
    let start = Instant::now();
    loop {
        let there = cluster.get(&kind::DEFINITIONS, None, definition).await?;
        let Some(there) = there else {
            return Ok(());
        };
        if start.elapsed() > DEFINITION_DEADLINE {
            let conditions = list_at(&there, "/status/conditions");
            let terminating = conditions
                .iter()
                .find(|condition| condition["type"] == "Terminating");
            let why = terminating
                .map(|condition| str_at(condition, "/message"))
                .unwrap_or_default();
            return Err(Error::Timeout(format!(
                "the definition {definition} is still being deleted ({why}); `subctl uninstall` goes on when called again"
            )));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A definition whose objects are users', or those of other controllers of the same API.
fn is_shared(definition: &serde_json::Value) -> bool {
    let name = name(definition);
    let groups = [names::MCS_GROUP, names::ABOUT_GROUP];
    groups.iter().any(|group| name.ends_with(group))
}

/// Objects of members on a broker that goes. The namespace may have others: only what members write is theirs.
async fn broker_objects(cluster: &Cluster, broker: Option<&Broker>) -> Result<Vec<Item>, Error> {
    let Some(broker) = broker else {
        return Ok(Vec::new());
    };
    let mut items = Vec::new();
    for kind in [
        kind::BROKERS,
        kind::CLUSTERS,
        kind::ENDPOINTS,
        kind::IMPORTS,
        kind::SLICES,
        kind::LEASES,
    ] {
        let objects = cluster.list(&kind, Some(&broker.namespace), "").await?;
        let members = objects.iter().filter(|object| is_a_members(&kind, object));
        items.extend(members.map(|object| Item::of(&kind, object)));
    }
    Ok(items)
}

fn is_a_members(kind: &Kind, object: &serde_json::Value) -> bool {
    if *kind == kind::SLICES {
        label(object, names::MANAGED_BY) == names::LIGHTHOUSE_AGENT
    } else if *kind == kind::LEASES {
        name(object).starts_with(names::MEMBER_PREFIX)
    } else if *kind == kind::IMPORTS {
        !label(object, names::SOURCE_CLUSTER).is_empty()
            || !annotation(object, names::SERVICE_NAME).is_empty()
    } else {
        // The others are of Submariner's own kinds.
        true
    }
}

impl Item {
    fn of(kind: &Kind, object: &serde_json::Value) -> Self {
        Self {
            kind: kind.clone(),
            namespace: namespace(object).map(str::to_owned),
            name: name(object).to_owned(),
        }
    }

    async fn delete(&self, cluster: &Cluster) -> Result<bool, Error> {
        cluster
            .delete(&self.kind, self.namespace.as_deref(), &self.name)
            .await
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Item {
            kind,
            namespace,
            name,
        } in &self.items
        {
            match namespace {
                Some(namespace) => writeln!(f, "{kind} {namespace}/{name}")?,
                None => writeln!(f, "{kind} {name}")?,
            }
        }
        Ok(())
    }
}
