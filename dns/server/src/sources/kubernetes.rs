//! Facts from an API server: one watch per kind of object.

mod readers;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kube::core::ObjectMeta;
use kube::{Client, Resource};
use subm_dns_core::facts::{Fact, ObjectKey, Problem};
use subm_kube::{Event as WatchEvent, Trouble, Watch};
use tokio::sync::{mpsc::Sender, watch};

use self::readers::{Gateways, Imports, LocalSlices, Namespaces, Properties, Reader, Slices};
use super::convert::{self, ObjectName};
use super::{Event, Options};

/// Facts of a list are sent in portions of this size.
const BATCH: usize = 256;

/// Follows all kinds until nobody receives events any more.
pub(super) async fn follow(client: Client, options: Options, events: Sender<Event>) {
    let want = options.want_local_slices;
    let first = if *want.borrow() { 6 } else { 5 };
    let unlisted = Arc::new(AtomicUsize::new(first));
    let run = Run {
        client,
        events,
        unlisted,
    };
    // Without imports and slices there is nothing to serve. The other kinds are refused to the
    // service account of a Submariner installed earlier; the server can do without them.
    let mut imports = run.kind(Imports, true);
    let mut slices = run.kind(Slices, true);
    let mut gateways = run.kind(Gateways, false);
    let mut properties = run.kind(Properties::default(), false);
    let mut namespaces = run.kind(Namespaces, false);
    tokio::join!(
        imports.follow(),
        slices.follow(),
        gateways.follow(),
        properties.follow(),
        namespaces.follow(),
        follow_local_slices(run.kind(LocalSlices, false), want),
    );
}

/// Follows Kubernetes' own slices while they are wanted.
async fn follow_local_slices(mut slices: Kind<LocalSlices>, mut want: watch::Receiver<bool>) {
    // Wanted later, they are no part of the first read of everything.
    slices.apart = !*want.borrow();
    while want.wait_for(|wanted| *wanted).await.is_ok() {
        let unwanted = async {
            // When nobody can change their mind any more, they stay wanted.
            if want.wait_for(|wanted| !*wanted).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            // Ends when nobody receives events.
            () = slices.follow() => return,
            () = unwanted => {}
        }
        if slices.forget_all().await.is_err() {
            return;
        }
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
            apart: false,
            listing: Listing::No,
            told: false,
            faulty: HashSet::new(),
            doubtful: HashSet::new(),
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
    /// Its first list is told by itself, and does not count in `unlisted`.
    apart: bool,
    listing: Listing,
    /// Something may have been told before.
    told: bool,
    /// Objects with problems.
    faulty: HashSet<ObjectKey>,
    /// Those that the list has not come to yet.
    doubtful: HashSet<ObjectKey>,
    batch: Vec<Fact>,
    health: Option<(bool, String)>,
}

/// The list that is being read.
enum Listing {
    No,
    /// It can take nothing back.
    First,
    /// What it does not name is gone.
    Again(HashSet<ObjectKey>),
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
                self.listing = if std::mem::replace(&mut self.told, true) {
                    Listing::Again(HashSet::new())
                } else {
                    Listing::First
                };
                self.doubtful.extend(self.faulty.drain());
            }
            WatchEvent::Apply(object) => {
                let key = key_of(object.meta());
                let (fact, problems) = self.reader.read(key.clone(), &object, &name_of::<R>(&key));
                self.change(key, fact, problems).await?;
                self.heard().await?;
            }
            WatchEvent::Invalid { metadata, error } => {
                let key = key_of(&metadata);
                let problem = Problem {
                    object: name_of::<R>(&key).to_string(),
                    field: "object".to_owned(),
                    message: format!("{error}; not served"),
                };
                let fact = self.reader.gone(key.clone());
                self.change(key, fact, vec![problem]).await?;
                self.heard().await?;
            }
            WatchEvent::Delete(metadata) => {
                let key = key_of(&metadata);
                let fact = self.reader.gone(key.clone());
                self.change(key, fact, Vec::new()).await?;
                self.heard().await?;
            }
            WatchEvent::Listed => {
                self.end_list().await?;
                self.set_health(true, String::new()).await?;
                self.first_listed().await?;
            }
            WatchEvent::Absent => {
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

    async fn change(
        &mut self,
        key: ObjectKey,
        fact: Option<Fact>,
        problems: Vec<Problem>,
    ) -> Result<(), Closed> {
        let was_faulty = self.faulty.remove(&key) | self.doubtful.remove(&key);
        if !problems.is_empty() {
            self.faulty.insert(key.clone());
        }
        if was_faulty || !problems.is_empty() {
            self.tell_problems(&key, problems).await?;
        }
        // Many objects say nothing to us, such as a broker's copies.
        let says_something = fact.as_ref().is_some_and(convert::says_something);
        match &mut self.listing {
            Listing::First | Listing::Again(_) if !says_something => {}
            Listing::No | Listing::First => self.batch.extend(fact),
            Listing::Again(keys) => {
                self.batch.extend(fact);
                keys.insert(key);
            }
        }
        if self.batch.len() >= BATCH {
            self.flush().await?;
        }
        Ok(())
    }

    async fn tell_problems(
        &mut self,
        key: &ObjectKey,
        problems: Vec<Problem>,
    ) -> Result<(), Closed> {
        let object = name_of::<R>(key).to_string();
        self.send(Event::Problems { object, problems }).await
    }

    /// Takes back what the list did not name.
    async fn end_list(&mut self) -> Result<(), Closed> {
        if let Listing::Again(keys) = std::mem::replace(&mut self.listing, Listing::No) {
            let only = self.reader.only(keys);
            self.batch.push(only);
        }
        for key in std::mem::take(&mut self.doubtful) {
            self.tell_problems(&key, Vec::new()).await?;
        }
        self.flush().await
    }

    /// What a watch tells after its list is passed on at once, and shows that it works again.
    async fn heard(&mut self) -> Result<(), Closed> {
        if !matches!(self.listing, Listing::No) {
            return Ok(());
        }
        self.flush().await?;
        if matches!(self.health, Some((false, _))) {
            self.set_health(true, String::new()).await?;
        }
        Ok(())
    }

    async fn forget_all(&mut self) -> Result<(), Closed> {
        self.doubtful.extend(self.faulty.drain());
        self.listing = Listing::Again(HashSet::new());
        self.end_list().await
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
        if self.apart {
            return self.send(Event::LocalSlicesRead).await;
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
        self.send(Event::Health {
            kind: R::NAME,
            healthy,
            detail,
        })
        .await
    }

    async fn send(&self, event: Event) -> Result<(), Closed> {
        self.events.send(event).await.map_err(|_| Closed)
    }
}

fn name_of<R: Reader>(key: &ObjectKey) -> ObjectName<'_> {
    ObjectName {
        kind: R::KIND.kind,
        key,
    }
}

/// Cluster-scoped objects have no namespace in their key.
fn key_of(metadata: &ObjectMeta) -> ObjectKey {
    ObjectKey::new(
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests;
