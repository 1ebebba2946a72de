//! What the status of a gateway and that of a node have in common: how it is told, and when it is written.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use subm_api::names::UPDATE_TIMESTAMP;
use subm_api::submariner::{EndpointSpec, LatencyRtt};
use subm_tunnel::health::{Rtt, go_duration};

/// How often a status is written in which round-trip times alone are new: they are no news, and whoever looks at them wants those of now.
pub const RENEWAL: Duration = Duration::from_secs(60);

/// An object to delete, if it is still as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    pub name: String,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
}

impl Stale {
    /// `None` where it has no name: deleting that means deleting all.
    pub fn of(metadata: &ObjectMeta) -> Option<Self> {
        Some(Self {
            name: metadata.name.clone().filter(|name| !name.is_empty())?,
            uid: metadata.uid.clone(),
            resource_version: metadata.resource_version.clone(),
        })
    }
}

/// As it comes back from the API server: what of an Endpoint could not be read is not written, and must not be news for ever.
pub fn readable(spec: &EndpointSpec) -> EndpointSpec {
    EndpointSpec {
        subnets: spec.subnets.iter().cloned().collect(),
        ..spec.clone()
    }
}

/// As Go tells durations.
pub fn latency(rtt: Rtt) -> LatencyRtt {
    LatencyRtt {
        last: go_duration(rtt.last),
        min: go_duration(rtt.min),
        average: go_duration(rtt.average),
        max: go_duration(rtt.max),
        std_dev: go_duration(rtt.std_dev),
    }
}

/// What of round-trip times is news: that there are any.
pub fn without_times(latency: &mut Option<LatencyRtt>) {
    *latency = latency.take().map(|_| LatencyRtt::default());
}

/// Says when an object was written; `epoch` is the time since 1970.
pub fn stamp(metadata: &mut ObjectMeta, epoch: Duration) {
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(UPDATE_TIMESTAMP.to_owned(), epoch.as_secs().to_string());
}

/// When it was written, as it says.
pub fn written(metadata: &ObjectMeta) -> Option<Duration> {
    let seconds = annotation(metadata, UPDATE_TIMESTAMP)?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Whether it was written within this time. A clock that went back since, or was ahead, is not believed.
pub fn is_recent(metadata: &ObjectMeta, epoch: Duration, time: Duration) -> bool {
    let age = written(metadata).and_then(|at| epoch.checked_sub(at));
    age.is_some_and(|age| age < time)
}

pub fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str)
}
