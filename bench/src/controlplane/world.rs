//! An API server with services in it.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use kube::Client;
use subm_test_support::Cluster;
use tokio::runtime::Runtime;

use super::server::Subject;
use super::service::{Object, Service, namespace, namespace_count};
use super::writer;
use crate::tables::Lab;

/// Services that are asked for to know that a server has read them all.
const SAMPLE: usize = 50;

/// A control plane, the services created in it, and the servers that may watch it. All is gone when it is dropped.
pub struct World {
    // Dropped before the runtime that its connections belong to.
    pub client: Client,
    _cluster: Cluster,
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
        let cluster = runtime.block_on(unlimited())?;
        let mut world = Self {
            client: runtime.block_on(cluster.client())?,
            subjects: [
                Subject::lighthouse(&lab.binaries, &cluster.kubeconfig()),
                Subject::coredns(&cluster.kubeconfig(), &lab.folder)?,
            ],
            _cluster: cluster,
            runtime,
            services: 0,
            changes: AtomicUsize::new(0),
        };
        world.grow(services)?;
        Ok(world)
    }

    /// Creates the services that are missing to `services`.
    pub fn grow(&mut self, services: usize) -> Result<()> {
        let new = namespace_count(self.services)..namespace_count(services);
        self.create(new, |number| namespace(&Service::namespace_of(number)))?;
        // Two objects each.
        let new = 2 * self.services..2 * services;
        let count = new.len();
        let took = self.create(new, |number| {
            let service = Service(number / 2);
            if number.is_multiple_of(2) {
                service.import()
            } else {
                service.slice()
            }
        })?;
        eprintln!(
            "{count} objects created in {took:.1?}: {:.0}/s",
            count as f64 / took.as_secs_f64()
        );
        self.services = services;
        Ok(())
    }

    /// Creates a namespace and objects in it.
    pub fn create_in(&self, name: &'static str, objects: Vec<Object>) -> Result<()> {
        self.create(0..1, |_| namespace(name))?;
        self.create(0..objects.len(), move |number| objects[number].clone())?;
        Ok(())
    }

    fn create(
        &self,
        numbers: Range<usize>,
        make: impl Fn(usize) -> Object + Send + Sync + 'static,
    ) -> Result<Duration> {
        self.runtime
            .block_on(writer::create(&self.client, numbers, make))
    }

    /// The last service: no table changes it.
    pub fn last(&self) -> [Service; 1] {
        [Service::last(self.services)]
    }

    /// The last service, then others from everywhere in the list: a server that fills its tables in an order of its own has
    /// read (nearly) everything when it answers for all of these.
    pub fn sample(&self) -> Vec<Service> {
        let others = (0..self.services).step_by((self.services / SAMPLE).max(1));
        self.last().into_iter().chain(others.map(Service)).collect()
    }

    /// Numbers of changes that nobody has made yet.
    pub fn take_changes(&self, count: usize) -> Range<usize> {
        let first = self.changes.fetch_add(count, Ordering::Relaxed);
        first..first + count
    }
}

/// A control plane without limits on what is in flight, our definitions installed.
pub async fn unlimited() -> Result<Cluster> {
    let cluster = Cluster::builder()
        .api_server_flag("--max-requests-inflight=0")
        .api_server_flag("--max-mutating-requests-inflight=0")
        .start()
        .await?;
    cluster.apply_crds().await?;
    Ok(cluster)
}
