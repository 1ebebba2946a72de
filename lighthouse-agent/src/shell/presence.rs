//! This cluster's sign of life on the broker: a Lease that others watch.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::core::ObjectMeta;
use kube::{Api, Client};

use super::writer::MANAGER;
use crate::core::names;

/// How often it is renewed, as nodes renew theirs.
pub(super) const INTERVAL: Duration = Duration::from_secs(10);
const DURATION_SECONDS: i32 = 40;

pub(super) async fn renew(client: Client, namespace: &str, cluster: &str) -> kube::Result<()> {
    let name = names::lease(cluster);
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(cluster.to_owned()),
            lease_duration_seconds: Some(DURATION_SECONDS),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..LeaseSpec::default()
        }),
    };
    let api: Api<Lease> = Api::namespaced(client, namespace);
    let params = PatchParams::apply(MANAGER).force();
    api.patch(&name, &params, &Patch::Apply(&lease))
        .await
        .map(drop)
}

pub(super) async fn end(client: Client, namespace: &str, cluster: &str) -> kube::Result<()> {
    let api: Api<Lease> = Api::namespaced(client, namespace);
    match api
        .delete(&names::lease(cluster), &DeleteParams::default())
        .await
    {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        result => result.map(drop),
    }
}
