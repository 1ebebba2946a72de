//! The one task that knows: takes news, plans what is dirty, gives writes to the lanes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;
use subm_kube::Trouble;
use tokio::time::Instant;

use super::answers::{Answers, Use};
use super::lanes::{Accepted, Done, Lanes};
use super::metrics::Metrics;
use super::reports::Reports;
use super::watches::{Item, News};
use super::words;
use super::writer::Outcome;
use crate::core::settings::IpSource;
use crate::core::{
    Place, Plan, Pool, ServiceKey, Settings, Source, Urgency, World, Write, cluster_set_ip, diff,
    plan,
};

/// Statuses are written when nothing else was for so long,
const REPORT_DELAY: Duration = Duration::from_millis(30);
/// or at the latest after this.
const REPORT_PATIENCE: Duration = Duration::from_secs(5);
/// Services planned before news are looked at again.
const AT_ONCE: usize = 64;

pub(super) struct Brain {
    pub(super) world: World,
    pool: Pool,
    lanes: Lanes,
    answers: Answers,
    /// Since when a service is dirty.
    due: BTreeMap<ServiceKey, Instant>,
    /// Services that only their reports are due for: after all that makes names resolve.
    to_report: BTreeMap<ServiceKey, Instant>,
    later: BTreeSet<(Instant, ServiceKey)>,
    /// What the broker said to a service's last writes.
    trouble: HashMap<ServiceKey, String>,
    /// When something was last written that makes names resolve.
    last_change: Instant,
    /// Since when a report waits, if one does.
    reports_wait_since: Instant,
    leads: bool,
    broker_silent: bool,
    id_is_anothers: bool,
    troubled: BTreeSet<Source>,
    reports: Reports,
    metrics: Metrics,
}

impl Brain {
    pub(super) fn new(
        settings: Settings,
        lanes: Lanes,
        reports: Reports,
        metrics: Metrics,
    ) -> Self {
        Self {
            pool: pool_of(&settings),
            world: World::new(settings),
            lanes,
            answers: Answers::default(),
            due: BTreeMap::new(),
            to_report: BTreeMap::new(),
            later: BTreeSet::new(),
            trouble: HashMap::new(),
            last_change: Instant::now(),
            reports_wait_since: Instant::now(),
            leads: false,
            broker_silent: true,
            id_is_anothers: false,
            troubled: BTreeSet::new(),
            reports,
            metrics,
        }
    }

    /// Whether this replica writes.
    pub(super) fn lead(&mut self, leads: bool) {
        if leads != self.leads {
            self.leads = leads;
            self.metrics.leader(leads);
            if leads {
                self.reserve_addresses();
                self.world.mark_all();
            }
        }
    }

    pub(super) fn knows_home(&self) -> bool {
        self.world.knows_home()
    }

    pub(super) fn hears_broker(&self) -> bool {
        self.world.knows_broker() && !self.broker_silent
    }

    pub(super) fn leads(&self) -> bool {
        self.leads
    }

    /// Whether no request is under way.
    pub(super) fn is_resting(&self) -> bool {
        self.lanes.running() == 0
    }

    /// Whether all that is known has been dealt with.
    pub(super) fn is_idle(&self) -> bool {
        self.due.is_empty()
            && self.to_report.is_empty()
            && self.later.is_empty()
            && self.lanes.running() == 0
    }

    pub(super) fn news(&mut self, source: Source, news: News) {
        match news {
            News::Started => {
                self.answers.started(source);
                self.world.started(source);
            }
            News::Listed => {
                self.recovered(source);
                self.answers.listed(source);
                let knew = self.world.knows_broker();
                self.world.listed(source);
                // A replica that does not lead will do so when it does.
                if self.leads && !knew && self.world.knows_broker() {
                    self.reserve_addresses();
                }
            }
            News::Item(item) => self.item(source, *item),
            News::Gone(metadata) => {
                let namespace = metadata.namespace.unwrap_or_default();
                let name = metadata.name.unwrap_or_default();
                self.answers.gone(source, &namespace, &name);
                self.world.gone(source, &namespace, &name);
            }
            News::Absent => self.absent(source),
            News::Invalid(metadata, error) => {
                tracing::warn!(
                    "{} {}/{} cannot be read and is left as it is: {error}",
                    words::kind(source),
                    metadata.namespace.as_deref().unwrap_or_default(),
                    metadata.name.as_deref().unwrap_or_default(),
                );
                self.world.unreadable(
                    source,
                    &metadata.namespace.unwrap_or_default(),
                    &metadata.name.unwrap_or_default(),
                );
            }
            News::Trouble(trouble) => self.troubled(source, &trouble),
            News::Recovered => self.recovered(source),
        }
        self.note_dirty();
    }

    fn note_dirty(&mut self) {
        let now = Instant::now();
        for key in self.world.take_dirty() {
            self.due.entry(key).or_insert(now);
        }
    }

    fn item(&mut self, source: Source, item: Item) {
        let metadata = item.metadata();
        self.answers.applied(
            source,
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default(),
        );
        match item {
            Item::Export(export) => self.world.export(&export),
            Item::Service(service) => self.world.service_of_kubernetes(&service),
            Item::Slice(slice) if source == Source::BrokerSlices => self.world.broker_slice(&slice),
            Item::Slice(slice) => self.world.slice(&slice),
            Item::Import(import) if source == Source::BrokerImports => {
                self.world.broker_import(&import);
            }
            Item::Import(import) => self.world.import(&import),
            Item::Namespace(namespace) => self.world.namespace(&namespace),
            Item::Node(node) => self.world.node(&node),
            Item::GlobalIp(ip) => self.world.global_ip(&ip),
            Item::Cluster(cluster) => self.world.cluster(&cluster),
            Item::Lease(lease) => {
                self.world.lease(&lease, Timestamp::now());
                self.judge_clusters();
            }
        }
    }

    /// Kinds of the data plane may be absent; without those of MCS nothing can be done but wait.
    fn absent(&mut self, source: Source) {
        if matches!(source, Source::GlobalIps | Source::BrokerClusters) {
            self.world.started(source);
            self.world.listed(source);
        } else {
            self.reports.missing(source);
        }
    }

    fn troubled(&mut self, source: Source, trouble: &Trouble) {
        if self.troubled.insert(source) {
            tracing::warn!(
                "{} cannot be read; what is known stays: {trouble}",
                words::kind(source)
            );
        }
        if source.place() == Place::Broker {
            self.broker_silent = true;
            self.metrics.broker(false);
        }
    }

    fn recovered(&mut self, source: Source) {
        if self.troubled.remove(&source) {
            tracing::info!("{} can be read again", words::kind(source));
        }
        if source.place() == Place::Broker
            && !self
                .troubled
                .iter()
                .any(|source| source.place() == Place::Broker)
        {
            if self.broker_silent {
                self.world.clusters.forgive_silence(Timestamp::now());
            }
            self.broker_silent = false;
            self.metrics.broker(true);
        }
    }

    /// Before the first address is given, those that this cluster gave are set aside: after a restart, and when another replica
    /// gave them.
    fn reserve_addresses(&mut self) {
        let settings = &self.world.settings;
        self.pool = pool_of(settings);
        if !self.pool.is_there() {
            return;
        }
        let us = settings.cluster.as_str();
        for (key, view) in self.world.services() {
            let held = cluster_set_ip::held(&view, us);
            let held = held.filter(|held| held.allocated_by.as_deref() == Some(us));
            if let Some(ip) = held.and_then(|held| held.ip?.parse().ok()) {
                self.pool.reserve(key, ip);
            }
        }
    }

    /// Once a second: who is lost, what is due again.
    pub(super) fn tick(&mut self) {
        if !self.broker_silent {
            self.judge_clusters();
        }
        self.note_dirty();
        self.metrics.world(&self.world);
        let anothers = self.world.id_is_anothers();
        if std::mem::replace(&mut self.id_is_anothers, anothers) != anothers {
            let id = &self.world.settings.cluster;
            if anothers {
                tracing::error!(
                    "another cluster is {id:?} on the broker (its Cluster object there has another kube-system's uid): this agent does \
                     nothing. Join this cluster with an id of its own; if that cluster is no more, delete Cluster {id} on the broker"
                );
            } else {
                tracing::info!("the id {id:?} is this cluster's again");
            }
        }
    }

    fn judge_clusters(&mut self) {
        let policy = self.world.settings.lost_clusters;
        let judged = self.world.clusters.judge(policy, Timestamp::now());
        for cluster in &judged.silent_or_heard {
            self.world.mark_cluster(cluster);
        }
        for cluster in judged.lost_or_back {
            if self.world.clusters.is_lost(&cluster) {
                tracing::warn!(
                    "cluster {cluster:?} does not renew its Lease any more: its services are dropped here"
                );
            } else {
                tracing::info!("cluster {cluster:?} is back");
            }
            self.world.mark_cluster(&cluster);
        }
    }

    /// When something is due, now or later; nothing is before this replica leads and knows its cluster.
    pub(super) fn next_due(&self) -> Option<Instant> {
        if !self.leads || !self.world.knows_home() {
            return None;
        }
        if !self.due.is_empty() {
            return Some(Instant::now());
        }
        let retry = self.later.first().map(|(at, _)| *at);
        let report = (!self.to_report.is_empty()).then(|| self.report_at());
        retry.into_iter().chain(report).min()
    }

    /// Reports wait for a moment in which nothing else is due, but not for ever.
    fn report_at(&self) -> Instant {
        (self.last_change + REPORT_DELAY).min(self.reports_wait_since + REPORT_PATIENCE)
    }

    /// Plans what is due, a part of it at once.
    pub(super) fn work(&mut self) {
        self.plan_due();
        self.metrics
            .depth(self.due.len() + self.to_report.len() + self.later.len() + self.lanes.running());
        self.metrics
            .synced(self.world.knows_home() && self.world.knows_broker());
    }

    fn plan_due(&mut self) {
        let now = Instant::now();
        while self.later.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, key)) = self.later.pop_first() {
                self.due.entry(key).or_insert(now);
            }
        }
        if !self.leads || !self.world.knows_home() {
            return;
        }
        for _ in 0..AT_ONCE {
            let Some((key, since)) = self.due.pop_first() else {
                break;
            };
            self.plan(&key, since, false);
        }
        self.report(now);
    }

    fn report(&mut self, now: Instant) {
        if self.to_report.is_empty() || now < self.report_at() {
            return;
        }
        self.reports_wait_since = now;
        for _ in 0..AT_ONCE {
            let Some((key, since)) = self.to_report.pop_first() else {
                return;
            };
            self.plan(&key, since, true);
        }
    }

    fn plan(&mut self, key: &ServiceKey, since: Instant, report: bool) {
        let trouble = self.trouble.get(key).map(String::as_str);
        let planned = plan(&self.world, &mut self.pool, key, Timestamp::now(), trouble);
        self.reports.plan(key, &planned);
        let (home, broker) = split(&planned);
        if broker.is_empty() && self.world.knows_broker() {
            self.trouble.remove(key);
        }
        for (place, mut writes) in [(Place::Home, home), (Place::Broker, broker)] {
            if writes.is_empty() {
                self.lanes.settled(place, key);
                continue;
            }
            for futile in self.lanes.note_futile(place, key, &writes) {
                tracing::debug!(
                    "{} changes nothing; its CRD may be older than the field",
                    words::write(futile)
                );
            }
            if !report {
                let before = writes.len();
                writes.retain(|write| write.urgency == Urgency::Resolve);
                if writes.len() < before {
                    if self.to_report.is_empty() {
                        self.reports_wait_since = Instant::now();
                    }
                    self.to_report.entry(key.clone()).or_insert(since);
                }
            }
            let accepted = self
                .lanes
                .submit(place, key, writes, since, &mut self.answers);
            match accepted {
                Accepted::Waiting(at) => drop(self.later.insert((at, key.clone()))),
                Accepted::Started if !report => self.last_change = Instant::now(),
                Accepted::Started | Accepted::Nothing => {}
            }
        }
    }

    pub(super) fn done(&mut self, done: Done) {
        let again = self.lanes.finished(&done);
        let mut failure = None;
        for (write, outcome) in &done.results {
            self.metrics.write(write, outcome);
            self.answered(write, outcome);
            if let Outcome::Failed(why) = outcome {
                failure = Some(why.clone());
            }
        }
        if done.place == Place::Broker {
            match failure {
                Some(why) => drop(self.trouble.insert(done.key.clone(), why)),
                None => drop(self.trouble.remove(&done.key)),
            }
        }
        if again.is_none() {
            self.metrics.hop(done.place, done.started.elapsed());
        }
        self.note_dirty();
        match again {
            Some(at) => drop(self.later.insert((at, done.key.clone()))),
            None => drop(self.due.entry(done.key.clone()).or_insert(done.started)),
        }
        if self.trouble.contains_key(&done.key) {
            // Its users read why.
            self.due.entry(done.key).or_insert_with(Instant::now);
        }
    }

    /// The answer to a write is news too, mostly before the watch's.
    fn answered(&mut self, write: &Write, outcome: &Outcome) {
        let (id, usable) = (&write.id, self.answers.arrived(&write.id));
        match outcome {
            Outcome::Written(object) => {
                tracing::info!("{}", words::done(write));
                if usable != Use::Nothing {
                    self.take(id.source(), object.clone());
                }
            }
            Outcome::Deleted | Outcome::Missing => {
                if matches!(outcome, Outcome::Deleted) {
                    tracing::info!("{}", words::done(write));
                }
                if usable == Use::All {
                    self.world.gone(id.source(), &id.namespace, &id.name);
                }
            }
            Outcome::Overtaken => tracing::debug!("{} was overtaken", words::write(write)),
            Outcome::Failed(why) => tracing::warn!(
                "{} failed, and will be tried again: {why}",
                words::write(write)
            ),
        }
    }

    fn take(&mut self, source: Source, object: Value) {
        fn read<T: DeserializeOwned>(object: Value, take: impl FnOnce(T)) {
            match serde_json::from_value(object) {
                Ok(object) => take(object),
                Err(error) => tracing::debug!(
                    "the API server's answer cannot be read, the watch will tell: {error}"
                ),
            }
        }
        let world = &mut self.world;
        match source {
            Source::Exports => read(object, |object| world.export(&object)),
            Source::Services => read(object, |object| world.service_of_kubernetes(&object)),
            Source::Slices => read(object, |object| world.slice(&object)),
            Source::Imports => read(object, |object| world.import(&object)),
            Source::BrokerImports => read(object, |object| world.broker_import(&object)),
            Source::BrokerSlices => read(object, |object| world.broker_slice(&object)),
            _ => {}
        }
    }
}

fn pool_of(settings: &Settings) -> Pool {
    Pool::new(match settings.cluster_set_ips.from {
        IpSource::Pool(range) => range,
        IpSource::DerivedService => None,
    })
}

fn split(plan: &Plan) -> (Vec<Write>, Vec<Write>) {
    diff(plan)
        .into_iter()
        .partition(|write| write.id.place == Place::Home)
}

#[cfg(test)]
mod tests;
