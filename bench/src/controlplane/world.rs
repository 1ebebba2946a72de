//! An API server with services in it.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::Client;
use subm_test_support::Cluster;
use tokio::runtime::Runtime;

use super::server::Subject;
use super::service::{Object, Service, namespace, namespaces};
use super::writer;
use crate::tables::Lab;

/// A control plane, the services created in it, and the servers that may watch it. All is gone when it is dropped.
pub struct World {
    // Dropped before the runtime that its connections belong to.
    pub client: Client,
    cluster: Cluster,
    pub runtime: Runtime,
    pub services: usize,
    /// lighthouse-dns, then CoreDNS.
    pub subjects: [Subject; 2],
    changes: AtomicUsize,
}

impl World {
    /// Starts a control plane without limits on what is in flight, and creates `services`.
    pub fn with_services(lab: &Lab, services: usize) -> Result<Self> {
        let runtime = Runtime::new()?;
        let cluster = runtime.block_on(async {
            let cluster = Cluster::builder()
                .api_server_flag("--max-requests-inflight=0")
                .api_server_flag("--max-mutating-requests-inflight=0")
                .start()
                .await?;
            cluster.apply_crds().await?;
            anyhow::Ok(cluster)
        })?;
        let mut world = Self {
            client: runtime.block_on(cluster.client())?,
            subjects: [
                Subject::lighthouse(&lab.binaries, &cluster.kubeconfig()),
                Subject::coredns(&cluster.kubeconfig(), &lab.folder)?,
            ],
            cluster,
            runtime,
            services: 0,
            changes: AtomicUsize::new(0),
        };
        world.grow(services)?;
        Ok(world)
    }

    /// Creates the services that are missing to `services`.
    pub fn grow(&mut self, services: usize) -> Result<()> {
        let new = self.services..services;
        let spaces = namespaces(services).skip(namespaces(self.services).count());
        self.create(spaces.collect())?;
        let objects: Vec<Object> = new
            .map(Service)
            .flat_map(|service| [service.import(), service.slice()])
            .collect();
        let count = objects.len();
        let took = self.create(objects)?;
        eprintln!(
            "{count} objects created in {took:.1?}: {:.0}/s",
            count as f64 / took.as_secs_f64()
        );
        self.services = services;
        Ok(())
    }

    /// Creates a namespace and objects in it.
    pub fn create_in(&self, name: &str, objects: Vec<Object>) -> Result<()> {
        self.create(vec![namespace(name)])?;
        self.create(objects)?;
        Ok(())
    }

    fn create(&self, objects: Vec<Object>) -> Result<Duration> {
        self.runtime
            .block_on(writer::create(&self.client, objects))
            .with_context(|| format!("logs are in {}", self.cluster.dir().display()))
    }

    /// The last service: no table changes it.
    pub fn last(&self) -> Service {
        Service::last(self.services)
    }

    /// Numbers of changes that nobody has made yet.
    pub fn take_changes(&self, count: usize) -> Range<usize> {
        let first = self.changes.fetch_add(count, Ordering::Relaxed);
        first..first + count
    }
}
