//! Tells by labels which pod is the active gateway's.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use subm_api::names::{HA_ACTIVE, POD_NODE, POD_STATUS};
use tokio::sync::watch;

use crate::gateway::status::HA_PASSIVE;

const RETRY: Duration = Duration::from_secs(1);

/// Labels this gateway's pod: a Service of type LoadBalancer sends to the active one only.
pub(super) async fn label(
    client: Client,
    namespace: String,
    (pod, node): (String, String),
    mut leads: watch::Receiver<bool>,
) {
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    let mut troubled = false;
    loop {
        let active = *leads.borrow_and_update();
        let state = if active { HA_ACTIVE } else { HA_PASSIVE };
        let patch =
            serde_json::json!({"metadata": {"labels": {POD_NODE: node, POD_STATUS: state}}});
        let parameters = PatchParams::default();
        let failed = match pods
            .patch_metadata(&pod, &parameters, &Patch::Merge(&patch))
            .await
        {
            Ok(_) => false,
            Err(error) => {
                if !troubled {
                    tracing::warn!("pod {pod} cannot be labelled {state}: {error}");
                }
                true
            }
        };
        troubled = failed;
        tokio::select! {
            changed = leads.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY), if failed => {}
        }
    }
}
