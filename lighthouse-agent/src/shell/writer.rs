//! Writes of a plan as requests.

use std::collections::HashMap;

use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use serde_json::{Value, json};
use subm_api::{Kind, ResourceKind, ServiceExport, ServiceImport, Whole};
use subm_kube::served_version;
use tokio::sync::Mutex;

use crate::core::{Action, ObjectKind, Write};

/// Field manager of all that we write.
pub(super) const MANAGER: &str = "lighthouse-agent";

/// Writes to one API server.
pub(super) struct Writer {
    client: Client,
    /// The version of a custom kind that the server has.
    versions: Mutex<HashMap<ObjectKind, ApiResource>>,
}

/// What came of a write.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The object as it is now.
    Written(Value),
    Deleted,
    /// It is not there (any more).
    Missing,
    /// Somebody else changed it meanwhile, or made it.
    Overtaken,
    Failed(String),
}

impl Writer {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            versions: Mutex::default(),
        }
    }

    pub(super) async fn write(&self, write: &Write) -> Outcome {
        match self.attempt(write).await {
            Ok(outcome) => outcome,
            Err(kube::Error::Api(status))
                if status.code == 404 && !matches!(write.action, Action::Create(_)) =>
            {
                // Or the whole kind is served in another version now.
                self.versions.lock().await.remove(&write.id.kind);
                Outcome::Missing
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Outcome::Overtaken,
            Err(kube::Error::Api(status)) => {
                if status.code == 404 {
                    self.versions.lock().await.remove(&write.id.kind);
                }
                Outcome::Failed(status.message.clone())
            }
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }

    async fn attempt(&self, write: &Write) -> kube::Result<Outcome> {
        let id = &write.id;
        let resource = self.resource(id.kind).await?;
        let api =
            Api::<DynamicObject>::namespaced_with(self.client.clone(), &id.namespace, &resource);
        let patch = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let object = match &write.action {
            Action::Create(body) => {
                let mut body = body.clone();
                body["apiVersion"] = json!(resource.api_version);
                body["kind"] = json!(resource.kind);
                body["metadata"]["name"] = json!(id.name);
                body["metadata"]["namespace"] = json!(id.namespace);
                let object: DynamicObject =
                    serde_json::from_value(body).map_err(kube::Error::SerdeError)?;
                let params = PostParams {
                    field_manager: Some(MANAGER.to_owned()),
                    ..PostParams::default()
                };
                api.create(&params, &object).await?
            }
            Action::Patch(body) => api.patch(&id.name, &patch, &Patch::Merge(body)).await?,
            Action::PatchStatus(body) => {
                api.patch_status(&id.name, &patch, &Patch::Merge(body))
                    .await?
            }
            Action::Delete { uid, version } => {
                let params = DeleteParams::background().preconditions(Preconditions {
                    uid: uid.clone(),
                    resource_version: version.clone(),
                });
                api.delete(&id.name, &params).await?;
                return Ok(Outcome::Deleted);
            }
        };
        let object = serde_json::to_value(object).map_err(kube::Error::SerdeError)?;
        Ok(Outcome::Written(object))
    }

    async fn resource(&self, kind: ObjectKind) -> kube::Result<ApiResource> {
        let mut versions = self.versions.lock().await;
        if let Some(resource) = versions.get(&kind) {
            return Ok(resource.clone());
        }
        let kind_of = resource_kind(kind);
        let version = served_version(&self.client, &kind_of, None).await?;
        let Some(version) = version else {
            let status = kube::core::Status::failure(
                &format!("the API server does not serve {kind_of}; is the CRD installed?"),
                "NotFound",
            )
            .with_code(404);
            return Err(kube::Error::Api(Box::new(status)));
        };
        let resource = kind_of.at(&version);
        versions.insert(kind, resource.clone());
        Ok(resource)
    }
}

fn resource_kind(kind: ObjectKind) -> ResourceKind {
    match kind {
        ObjectKind::ServiceExport => ServiceExport::KIND,
        ObjectKind::ServiceImport => ServiceImport::KIND,
        ObjectKind::EndpointSlice => {
            <Whole<k8s_openapi::api::discovery::v1::EndpointSlice> as Kind>::KIND
        }
        ObjectKind::Service => <Whole<k8s_openapi::api::core::v1::Service> as Kind>::KIND,
    }
}
