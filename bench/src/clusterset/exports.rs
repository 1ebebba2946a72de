//! Services that are exported: what users and Kubernetes write for one, and asking for it in the other cluster.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kube::Client;
use serde_json::{Value, json};

use super::{LONG, pause};
use crate::controlplane::service::Object;
use crate::controlplane::writer;
use crate::probe::{self, Question};

pub const NAMESPACE: &str = "shop";

/// Services by number, `svc-0` and on.
pub struct Exports<'a> {
    pub client: &'a Client,
    pub dns: SocketAddr,
}

impl Exports<'_> {
    /// The backends and the ServiceExports of services that are not there yet.
    pub async fn announce(&self, numbers: Range<usize>) -> Result<()> {
        writer::create(self.client, numbers.clone(), backends).await?;
        writer::create(self.client, numbers, export).await?;
        Ok(())
    }

    /// The Services and their backends, without exports.
    pub async fn serve(&self, numbers: Range<usize>) -> Result<()> {
        writer::create(self.client, numbers.clone(), backends).await?;
        writer::create(self.client, numbers, service).await?;
        Ok(())
    }

    /// The exports of services that are there; how long it took to write them.
    pub async fn export(&self, numbers: Range<usize>) -> Result<Duration> {
        writer::create(self.client, numbers, export).await
    }

    /// Creates an announced Service; how long until its name resolves in the other cluster.
    pub async fn create_and_resolve(&self, number: usize) -> Result<Duration> {
        let began = Instant::now();
        writer::create(self.client, 0..1, move |_| service(number)).await?;
        self.await_name(number)?;
        Ok(began.elapsed())
    }

    /// Asks until the name resolves.
    pub fn await_name(&self, number: usize) -> Result<()> {
        let began = Instant::now();
        let mut asker = probe::Client::of(self.dns, Duration::from_secs(1))?;
        let question = Question::new(&domain_name(number), "A", false)?;
        while asker
            .addresses(&question)?
            .is_none_or(|addresses| addresses != [address(number)])
        {
            ensure!(
                began.elapsed() < LONG,
                "{} does not resolve",
                domain_name(number)
            );
            pause();
        }
        Ok(())
    }
}

fn domain_name(number: usize) -> String {
    format!("svc-{number}.{NAMESPACE}.svc.clusterset.local")
}

/// The fixture's services have 10.96.0.0/16; the first 256 addresses are left to others.
fn address(number: usize) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 96, 1, 0)) + number as u32)
}

fn service(number: usize) -> Object {
    let name = format!("svc-{number}");
    object(
        "/api/v1",
        "services",
        &name,
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name}},
            "spec": {
                "clusterIP": address(number).to_string(), "selector": {"app": name},
                "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}],
            },
        }),
    )
}

fn backends(number: usize) -> Object {
    let (service, name) = (format!("svc-{number}"), format!("svc-{number}-k8s"));
    object(
        "/apis/discovery.k8s.io/v1",
        "endpointslices",
        &name,
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": {
                "kubernetes.io/service-name": service,
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            }},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.1.0.5"], "conditions": {"ready": true}}],
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        }),
    )
}

fn export(number: usize) -> Object {
    let name = format!("svc-{number}");
    object(
        "/apis/multicluster.x-k8s.io/v1beta1",
        "serviceexports",
        &name,
        json!({
            "apiVersion": "multicluster.x-k8s.io/v1beta1", "kind": "ServiceExport",
            "metadata": {"name": name, "namespace": NAMESPACE},
        }),
    )
}

fn object(api: &str, plural: &str, name: &str, json: Value) -> Object {
    let collection = format!("{api}/namespaces/{NAMESPACE}/{plural}");
    Object {
        path: format!("{collection}/{name}"),
        collection,
        json,
    }
}

pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// A percentile of figures in any order, by the nearest rank.
pub fn percentile(figures: &[f64], of: usize) -> Result<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * of).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().context("no figures")
}
