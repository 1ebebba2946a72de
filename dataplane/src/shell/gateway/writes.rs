//! Objects as requests to an API server.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::core::{DynamicObject, ObjectMeta};
use kube::{Api, Client};
use serde::Serialize;
use serde_json::Value;
use subm_api::ResourceKind;
use subm_api::submariner::{Cluster, Endpoint, Gateway};
use subm_kube::{Backoff, with_causes};
use tokio::sync::watch;

use crate::gateway::status::Stale;
use crate::gateway::sync::{Deletion, Kind, Object, Step, Write};

/// An API server that is away must not hold up what comes after.
const PATIENCE: Duration = Duration::from_secs(10);
const MANAGER: &str = "submariner-gateway";

/// Keeps carrying out the latest steps at one place, until all are done. Nothing is lost while its API server is away.
pub(super) async fn keep(
    client: Client,
    namespace: String,
    whereabouts: &'static str,
    mut steps: watch::Receiver<Vec<Step>>,
) {
    let server = Server { client, namespace };
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

/// What came of telling how this gateway is.
#[derive(Debug, Default)]
pub(super) struct Publication {
    /// Our Gateway object as it is now, if it was written.
    pub(super) written: Option<Gateway>,
    /// What failed, in words.
    pub(super) troubles: Vec<String>,
}

/// A namespace of an API server.
pub(super) struct Server {
    pub(super) client: Client,
    pub(super) namespace: String,
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

    /// Writes this node's Gateway, then deletes those of others that are stale: what cannot be deleted must not keep ours from being fresh.
    pub(super) async fn publish(&self, gateway: Option<Gateway>, stale: Vec<Stale>) -> Publication {
        let mut publication = Publication::default();
        if let Some(gateway) = gateway {
            match self.write_gateway(&gateway).await {
                Ok(written) => publication.written = Some(written),
                // What is new will be read.
                Err(error) if is_overtaken(&error) => {}
                Err(error) => publication.troubles.push(format!(
                    "the Gateway object cannot be written: {}",
                    with_causes(&error)
                )),
            }
        }
        for Stale {
            name,
            uid,
            resource_version,
        } in stale
        {
            match self
                .delete(&Gateway::KIND, &name, uid, resource_version)
                .await
            {
                Ok(true) => tracing::info!("deleted Gateway {name}, which nobody keeps any more"),
                Ok(false) => {}
                Err(error) if is_overtaken(&error) => {}
                Err(error) => publication.troubles.push(format!(
                    "Gateway {name}, which nobody keeps any more, cannot be deleted: {}",
                    with_causes(&error)
                )),
            }
        }
        publication
    }

    async fn write_gateway(&self, gateway: &Gateway) -> kube::Result<Gateway> {
        let value = serde_json::to_value(gateway).map_err(kube::Error::SerdeError)?;
        let written = if gateway.metadata.resource_version.is_some() {
            self.update(&Gateway::KIND, &gateway.metadata, value)
                .await?
        } else {
            self.create(&Gateway::KIND, value).await?
        };
        let written = serde_json::to_value(written).map_err(kube::Error::SerdeError)?;
        serde_json::from_value(written).map_err(kube::Error::SerdeError)
    }

    fn api(&self, kind: &ResourceKind) -> Api<DynamicObject> {
        let version = kind.versions.first().copied().unwrap_or("v1");
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind.at(version))
    }

    async fn create(&self, kind: &ResourceKind, mut value: Value) -> kube::Result<DynamicObject> {
        let api = self.api(kind);
        let version = kind.versions.first().copied().unwrap_or("v1");
        value["apiVersion"] = format!("{}/{version}", kind.group).into();
        value["kind"] = kind.kind.into();
        let object: DynamicObject =
            serde_json::from_value(value).map_err(kube::Error::SerdeError)?;
        in_time(api.create(&parameters(), &object)).await
    }

    /// What we do not read of an object, such as its finalizers, stays.
    async fn update(
        &self,
        kind: &ResourceKind,
        metadata: &ObjectMeta,
        value: Value,
    ) -> kube::Result<DynamicObject> {
        let api = self.api(kind);
        let name = metadata.name.as_deref().unwrap_or_default();
        let mut object = in_time(api.get(name)).await?;
        // Else the planner has not seen what would be overwritten.
        if object.metadata.resource_version != metadata.resource_version {
            return Err(overtaken(name));
        }
        object.metadata.labels.clone_from(&metadata.labels);
        object
            .metadata
            .annotations
            .clone_from(&metadata.annotations);
        for member in ["spec", "status"] {
            if let Some(new) = value.get(member) {
                object.data[member] = new.clone();
            }
        }
        in_time(api.replace(name, &parameters(), &object)).await
    }

    /// Of what was seen; `false` if it is gone already.
    pub(super) async fn delete(
        &self,
        kind: &ResourceKind,
        name: &str,
        uid: Option<String>,
        resource_version: Option<String>,
    ) -> kube::Result<bool> {
        let parameters = DeleteParams::default().preconditions(Preconditions {
            uid,
            resource_version,
        });
        match in_time(self.api(kind).delete(name, &parameters)).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            result => result.map(|_| true),
        }
    }
}

fn parameters() -> PostParams {
    PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    }
}

async fn in_time<T>(request: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    tokio::time::timeout(PATIENCE, request)
        .await
        .unwrap_or_else(|_| {
            Err(kube::Error::Service(
                "the API server does not answer".into(),
            ))
        })
}

fn overtaken(name: &str) -> kube::Error {
    let message = format!("{name} was changed meanwhile");
    let status = kube::core::Status::failure(&message, "Conflict").with_code(409);
    kube::Error::Api(Box::new(status))
}

fn is_overtaken(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
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

#[cfg(test)]
mod tests;
