//! Facts from an API server: one watch per kind of object.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kube::core::{ApiResource, ObjectMeta};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use subm_api::{ClusterProperty, EndpointSlice, Gateway, Namespace, ResourceKind, ServiceImport, names};
use subm_dns_core::facts::{ClusterId, Fact, ObjectKey, Problem};
use subm_dns_core::name::Label;
use subm_kube::{Event as WatchEvent, Trouble, Watch};
use tokio::sync::mpsc::Sender;

use super::{Event, Options, convert};

/// Facts of a list are sent in portions of this size.
const BATCH: usize = 256;

/// Follows all kinds until nobody receives events any more.
pub(super) async fn follow(client: Client, options: Options, events: Sender<Event>) {
    let want = options.want_local_slices;
    let first = if *want.borrow() { 6 } else { 5 };
    let unlisted = Arc::new(AtomicUsize::new(first));
    let run = Run { client, events, unlisted };
    // Without imports and slices there is nothing to serve. The other kinds are refused to the
    // service account of a Submariner installed earlier; the server can do without them.
    tokio::join!(
        run.kind(Imports, true).follow(),
        run.kind(Slices, true).follow(),
        run.kind(Gateways, false).follow(),
        run.kind(Properties::default(), false).follow(),
        run.kind(Namespaces, false).follow(),
        follow_local_slices(run.kind(LocalSlices, false), want),
    );
}

/// Follows Kubernetes' own slices while they are wanted.
async fn follow_local_slices(mut slices: Kind<LocalSlices>, mut want: tokio::sync::watch::Receiver<bool>) {
    slices.listed = !*want.borrow();
    while want.wait_for(|wanted| *wanted).await.is_ok() {
        tokio::select! {
            // Ends when nobody receives events.
            () = slices.follow() => return,
            unwanted = want.wait_for(|wanted| !*wanted) => if unwanted.is_err() {
                // Nobody can change their mind any more.
                return slices.follow().await;
            },
        }
        if slices.forget_all().await.is_err() {
            return;
        }
    }
}

/// Object of one kind to fact.
trait Reader: Send {
    type Object: Resource<DynamicType = ApiResource> + Clone + Debug + DeserializeOwned + Send + 'static;
    /// As health events and messages call it.
    const NAME: &'static str;
    const KIND: ResourceKind;
    const SELECTOR: Option<&'static str> = None;

    fn read(&mut self, key: ObjectKey, object: &Self::Object, name: &str) -> (Option<Fact>, Vec<Problem>);
    /// The fact that takes back what an object said.
    fn gone(&mut self, key: ObjectKey) -> Option<Fact>;
}

struct Imports;

impl Reader for Imports {
    type Object = ServiceImport;
    const NAME: &'static str = "ServiceImport";
    const KIND: ResourceKind = ServiceImport::KIND;

    fn read(&mut self, key: ObjectKey, object: &ServiceImport, name: &str) -> (Option<Fact>, Vec<Problem>) {
        let (import, problems) = convert::import(object, name);
        (Some(Fact::Import(key, import)), problems)
    }

    fn gone(&mut self, key: ObjectKey) -> Option<Fact> {
        Some(Fact::Import(key, None))
    }
}

struct Slices;

impl Reader for Slices {
    type Object = EndpointSlice;
    const NAME: &'static str = "EndpointSlice";
    const KIND: ResourceKind = EndpointSlice::KIND;
    const SELECTOR: Option<&'static str> = Some(names::SERVICE_NAME);

    fn read(&mut self, key: ObjectKey, object: &EndpointSlice, name: &str) -> (Option<Fact>, Vec<Problem>) {
        let (slice, problems) = convert::slice(object, name);
        (Some(Fact::Slice(key, slice)), problems)
    }

    fn gone(&mut self, key: ObjectKey) -> Option<Fact> {
        Some(Fact::Slice(key, None))
    }
}

struct LocalSlices;

impl Reader for LocalSlices {
    type Object = EndpointSlice;
    const NAME: &'static str = "local EndpointSlice";
    const KIND: ResourceKind = EndpointSlice::KIND;
    const SELECTOR: Option<&'static str> = Some(names::LOCAL_SERVICE_NAME);

    fn read(&mut self, key: ObjectKey, object: &EndpointSlice, name: &str) -> (Option<Fact>, Vec<Problem>) {
        let (slice, problems) = convert::local_slice(object, name);
        (Some(Fact::LocalSlice(key, slice)), problems)
    }

    fn gone(&mut self, key: ObjectKey) -> Option<Fact> {
        Some(Fact::LocalSlice(key, None))
    }
}

struct Gateways;

impl Reader for Gateways {
    type Object = Gateway;
    const NAME: &'static str = "Gateway";
    const KIND: ResourceKind = Gateway::KIND;

    fn read(&mut self, key: ObjectKey, object: &Gateway, name: &str) -> (Option<Fact>, Vec<Problem>) {
        let (gateway, problems) = convert::gateway(object, name);
        (Some(Fact::Gateway(key, gateway)), problems)
    }

    fn gone(&mut self, key: ObjectKey) -> Option<Fact> {
        Some(Fact::Gateway(key, None))
    }
}

struct Namespaces;

impl Reader for Namespaces {
    type Object = Namespace;
    const NAME: &'static str = "Namespace";
    const KIND: ResourceKind = Namespace::KIND;

    fn read(&mut self, key: ObjectKey, _: &Namespace, _: &str) -> (Option<Fact>, Vec<Problem>) {
        (namespace_fact(&key, true), Vec::new())
    }

    fn gone(&mut self, key: ObjectKey) -> Option<Fact> {
        namespace_fact(&key, false)
    }
}

/// A namespace exists until it is deleted, a terminating one too.
fn namespace_fact(key: &ObjectKey, exists: bool) -> Option<Fact> {
    Label::new(&key.name).map(|name| Fact::Namespace(name, exists))
}

/// Two properties can hold the cluster's id; the newer name goes before the older.
#[derive(Default)]
struct Properties(BTreeMap<Arc<str>, ClusterId>);

impl Properties {
    fn fact(&self) -> Fact {
        let id = [names::CLUSTER_ID_PROPERTY, names::LEGACY_CLUSTER_ID_PROPERTY]
            .iter()
            .find_map(|name| self.0.get(*name));
        Fact::ClusterProperty(id.cloned())
    }
}

impl Reader for Properties {
    type Object = ClusterProperty;
    const NAME: &'static str = "ClusterProperty";
    const KIND: ResourceKind = ClusterProperty::KIND;

    fn read(&mut self, key: ObjectKey, object: &ClusterProperty, name: &str) -> (Option<Fact>, Vec<Problem>) {
        let (id, problems) = convert::cluster_property(object, name);
        match id {
            Some(id) => self.0.insert(key.name, id),
            None => self.0.remove(&key.name),
        };
        (Some(self.fact()), problems)
    }

    fn gone(&mut self, key: ObjectKey) -> Option<Fact> {
        self.0.remove(&key.name);
        Some(self.fact())
    }
}

/// What the kinds share.
struct Run {
    client: Client,
    events: Sender<Event>,
    /// Kinds whose first list is still to come.
    unlisted: Arc<AtomicUsize>,
}

impl Run {
    fn kind<R: Reader>(&self, reader: R, essential: bool) -> Kind<R> {
        Kind {
            client: self.client.clone(),
            events: self.events.clone(),
            unlisted: self.unlisted.clone(),
            reader,
            essential,
            listed: false,
            listing: false,
            round: 0,
            known: HashMap::new(),
            batch: Vec::new(),
            health: None,
        }
    }
}

/// Nobody receives events any more.
struct Closed;

/// One kind of object: what of it is known, and how well.
struct Kind<R> {
    client: Client,
    events: Sender<Event>,
    unlisted: Arc<AtomicUsize>,
    reader: R,
    /// The server is not ready without a list of this kind.
    essential: bool,
    /// Whether this kind was taken off `unlisted`.
    listed: bool,
    /// Between begin and end of a list.
    listing: bool,
    /// Counts lists: what a finished list has not touched is gone.
    round: u32,
    known: HashMap<ObjectKey, Known>,
    batch: Vec<Fact>,
    health: Option<(bool, String)>,
}

struct Known {
    round: u32,
    has_problems: bool,
}

impl<R: Reader> Kind<R> {
    async fn follow(&mut self) {
        let mut watch = Watch::new(self.client.clone(), R::KIND, R::SELECTOR);
        loop {
            let event = watch.next().await;
            if self.take(event).await.is_err() {
                return;
            }
        }
    }

    async fn take(&mut self, event: WatchEvent<R::Object>) -> Result<(), Closed> {
        match event {
            WatchEvent::Started => {
                self.listing = true;
                self.round += 1;
            }
            WatchEvent::Apply(object) => {
                let key = self.key(object.meta());
                let name = self.name(&key);
                let (fact, problems) = self.reader.read(key.clone(), &object, &name);
                self.change(key, fact, problems, true).await?;
            }
            WatchEvent::Invalid { metadata, error } => {
                let key = self.key(&metadata);
                let mut problems = convert::Problems::new(&self.name(&key));
                problems.add("object", format!("{error}; not served"));
                let fact = self.reader.gone(key.clone());
                self.change(key, fact, problems.finish(), true).await?;
            }
            WatchEvent::Delete(metadata) => {
                let key = self.key(&metadata);
                let fact = self.reader.gone(key.clone());
                self.change(key, fact, Vec::new(), false).await?;
            }
            WatchEvent::Listed => {
                self.listing = false;
                let round = self.round;
                self.forget(|known| known.round != round).await?;
                self.set_health(true, String::new()).await?;
                self.first_listed().await?;
            }
            WatchEvent::Absent => {
                self.listing = false;
                self.forget_all().await?;
                let detail = format!("{} are not served; looking for them", R::KIND);
                self.set_health(true, detail).await?;
                self.first_listed().await?;
            }
            WatchEvent::Recovered => self.set_health(true, String::new()).await?,
            // The list that follows heals it.
            WatchEvent::Trouble(Trouble::Expired(_)) => self.flush().await?,
            WatchEvent::Trouble(trouble) => {
                self.flush().await?;
                self.set_health(false, trouble.to_string()).await?;
                if !self.essential && trouble.is_refusal() {
                    self.first_listed().await?;
                }
            }
        }
        Ok(())
    }

    /// Cluster-scoped objects have no namespace in their key.
    fn key(&self, metadata: &ObjectMeta) -> ObjectKey {
        ObjectKey::new(
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default(),
        )
    }

    fn name(&self, key: &ObjectKey) -> String {
        convert::object_name(R::KIND.kind, key)
    }

    async fn change(
        &mut self,
        key: ObjectKey,
        fact: Option<Fact>,
        problems: Vec<Problem>,
        exists: bool,
    ) -> Result<(), Closed> {
        let known = Known { round: self.round, has_problems: !problems.is_empty() };
        // Objects that say nothing (the copies on a broker) need no memory.
        let keep = exists && (known.has_problems || fact.as_ref().is_some_and(convert::says_something));
        let before = if keep {
            self.known.insert(key.clone(), known)
        } else {
            self.known.remove(&key)
        };
        if keep || before.is_some() {
            self.batch.extend(fact);
        }
        if !problems.is_empty() || before.is_some_and(|before| before.has_problems) {
            let object = self.name(&key);
            self.send(Event::Problems { object, problems }).await?;
        }
        if !self.listing || self.batch.len() >= BATCH {
            self.flush().await?;
        }
        Ok(())
    }

    async fn forget_all(&mut self) -> Result<(), Closed> {
        self.forget(|_| true).await
    }

    async fn forget(&mut self, gone: impl Fn(&Known) -> bool) -> Result<(), Closed> {
        let gone: Vec<_> = self
            .known
            .iter()
            .filter(|(_, known)| gone(known))
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            let fact = self.reader.gone(key.clone());
            self.change(key, fact, Vec::new(), false).await?;
        }
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), Closed> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let facts = std::mem::take(&mut self.batch);
        self.send(Event::Facts(facts)).await
    }

    async fn first_listed(&mut self) -> Result<(), Closed> {
        if std::mem::replace(&mut self.listed, true) {
            return Ok(());
        }
        // Each kind has sent its facts before it counts down: the last one speaks for all.
        if self.unlisted.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.send(Event::Synced).await?;
        }
        Ok(())
    }

    async fn set_health(&mut self, healthy: bool, detail: String) -> Result<(), Closed> {
        let health = Some((healthy, detail.clone()));
        if self.health == health {
            return Ok(());
        }
        self.health = health;
        self.send(Event::Health { kind: R::NAME, healthy, detail }).await
    }

    async fn send(&self, event: Event) -> Result<(), Closed> {
        self.events.send(event).await.map_err(|_| Closed)
    }
}

