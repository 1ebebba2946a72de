//! Objects as requests to an API server.

use std::collections::BTreeSet;

use kube::Client;
use serde::Serialize;
use serde_json::Value;
use subm_api::ResourceKind;
use subm_api::submariner::{Cluster, Endpoint};
use subm_kube::{Backoff, with_causes};
use tokio::sync::watch;

use crate::gateway::sync::{Deletion, Kind, Object, Step, Write};
use crate::shell::server::{Server, is_overtaken};

/// As which the API server knows a gateway's writes.
pub(super) const MANAGER: &str = "submariner-gateway";

/// Keeps carrying out the latest steps at one place, until all are done. Nothing is lost while its API server is away.
pub(super) async fn keep(
    client: Client,
    namespace: String,
    whereabouts: &'static str,
    mut steps: watch::Receiver<Vec<Step>>,
) {
    let server = Server {
        client,
        namespace,
        manager: MANAGER,
    };
    let mut backoff = Backoff::new();
    let mut said = BTreeSet::new();
    loop {
        let todo = steps.borrow_and_update().clone();
        let troubles = server.carry_out(&todo, &steps, whereabouts).await;
        for trouble in troubles.difference(&said) {
            tracing::warn!("{trouble}");
        }
        let again = !troubles.is_empty();
        said = troubles;
        let pause = async {
            if again {
                tokio::time::sleep(backoff.wait()).await;
            } else {
                backoff.reset();
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            changed = steps.changed() => if changed.is_err() { return },
            () = pause => {}
        }
    }
}

impl Server {
    /// What failed, in words. Ends early where there are newer steps.
    pub(super) async fn carry_out(
        &self,
        steps: &[Step],
        newer: &watch::Receiver<Vec<Step>>,
        whereabouts: &str,
    ) -> BTreeSet<String> {
        let mut missing = BTreeSet::new();
        let mut troubles = BTreeSet::new();
        for (number, step) in steps.iter().enumerate() {
            if newer.has_changed().unwrap_or(false) {
                break;
            }
            if step.after.is_some_and(|after| missing.contains(&after)) {
                missing.insert(number);
                continue;
            }
            let words = words(&step.write);
            match self.write(&step.write).await {
                Ok(true) => tracing::info!("{words} {whereabouts}"),
                // Ours or another's earlier request, which the watch has yet to tell.
                Ok(false) => {}
                Err(error) => {
                    missing.insert(number);
                    // Seen too late: what is new will be read, and planned for.
                    if !is_overtaken(&error) {
                        troubles.insert(format!(
                            "not yet {words} {whereabouts}: {}",
                            with_causes(&error)
                        ));
                    }
                }
            }
        }
        troubles
    }

    /// `false` if it is so already.
    async fn write(&self, write: &Write) -> kube::Result<bool> {
        match write {
            Write::Create { object, .. } => {
                let (kind, value) = parts(object)?;
                self.create(&kind, value).await.map(|_| true)
            }
            Write::Update { object, .. } => {
                let (kind, value) = parts(object)?;
                self.update(&kind, object.metadata(), value)
                    .await
                    .map(|_| true)
            }
            Write::Delete(deletion) => {
                let Deletion {
                    kind,
                    name,
                    uid,
                    resource_version,
                    ..
                } = deletion;
                let kind = match kind {
                    Kind::Cluster => Cluster::KIND,
                    Kind::Endpoint => Endpoint::KIND,
                };
                self.delete(&kind, name, uid.clone(), resource_version.clone())
                    .await
            }
        }
    }
}

fn parts(object: &Object) -> kube::Result<(ResourceKind, Value)> {
    fn value(object: &impl Serialize) -> kube::Result<Value> {
        serde_json::to_value(object).map_err(kube::Error::SerdeError)
    }
    Ok(match object {
        Object::Cluster(object) => (Cluster::KIND, value(object)?),
        Object::Endpoint(object) => (Endpoint::KIND, value(object)?),
    })
}

fn words(write: &Write) -> String {
    let of = |object: &Object| {
        let name = object.metadata().name.clone().unwrap_or_default();
        format!("{} {name}", object.kind())
    };
    match write {
        Write::Create { object, .. } => format!("created {}", of(object)),
        Write::Update { object, .. } => format!("updated {}", of(object)),
        Write::Delete(Deletion { kind, name, .. }) => format!("deleted {kind} {name}"),
    }
}
