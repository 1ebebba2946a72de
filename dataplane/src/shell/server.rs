//! Requests to an API server, about objects of one namespace.

use std::time::Duration;

use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::core::{ApiResource, DynamicObject, ObjectMeta};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use subm_api::{Kind, ResourceKind};

use crate::status::Stale;

/// An API server that is away must not hold up what comes after.
const PATIENCE: Duration = Duration::from_secs(10);

/// A namespace of an API server.
pub(super) struct Server {
    pub(super) client: Client,
    pub(super) namespace: String,
    /// As which it knows who writes.
    pub(super) manager: &'static str,
}

impl Server {
    /// Writes an object whole, over the one of which it was made, if there was one. Gives it as it is now.
    pub(super) async fn put<K>(&self, object: &K) -> kube::Result<K>
    where
        K: Kind + Resource<DynamicType = ApiResource> + Serialize + DeserializeOwned,
    {
        let value = serde_json::to_value(object).map_err(kube::Error::SerdeError)?;
        let written = if object.meta().resource_version.is_some() {
            self.update(&K::KIND, object.meta(), value).await?
        } else {
            self.create(&K::KIND, value).await?
        };
        let written = serde_json::to_value(written).map_err(kube::Error::SerdeError)?;
        serde_json::from_value(written).map_err(kube::Error::SerdeError)
    }

    fn api(&self, kind: &ResourceKind) -> Api<DynamicObject> {
        let version = kind.versions.first().copied().unwrap_or("v1");
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind.at(version))
    }

    pub(super) async fn create(
        &self,
        kind: &ResourceKind,
        mut value: Value,
    ) -> kube::Result<DynamicObject> {
        let api = self.api(kind);
        let version = kind.versions.first().copied().unwrap_or("v1");
        value["apiVersion"] = format!("{}/{version}", kind.group).into();
        value["kind"] = kind.kind.into();
        let object: DynamicObject =
            serde_json::from_value(value).map_err(kube::Error::SerdeError)?;
        in_time(api.create(&self.parameters(), &object)).await
    }

    /// What we do not read of an object, such as its finalizers, stays.
    pub(super) async fn update(
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
        if metadata.owner_references.is_some() {
            object
                .metadata
                .owner_references
                .clone_from(&metadata.owner_references);
        }
        for member in ["spec", "status"] {
            if let Some(new) = value.get(member) {
                object.data[member] = new.clone();
            }
        }
        in_time(api.replace(name, &self.parameters(), &object)).await
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

    /// As [`delete`](Self::delete).
    pub(super) async fn remove(&self, kind: &ResourceKind, stale: Stale) -> kube::Result<bool> {
        self.delete(kind, &stale.name, stale.uid, stale.resource_version)
            .await
    }

    fn parameters(&self) -> PostParams {
        PostParams {
            field_manager: Some(self.manager.to_owned()),
            ..PostParams::default()
        }
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

pub(super) fn is_overtaken(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}
