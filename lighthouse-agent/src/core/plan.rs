//! One service: from all that is known of it to all that should be, here and on the broker.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};
use subm_api::{ServiceImport, names};

use super::cluster_set_ip::{self, IpChoice};
use super::conditions::{self, Progress};
use super::export::{Export, ImportType, Own, own as own_export};
use super::exporters::{Exporters, gather};
use super::imports;
use super::merge::{Conflict, Merged, merge as merge_exports};
use super::objects::{ObjectId, ObjectKind, Observed, Place, Unwanted, Urgency, Wanted, object_id};
use super::pool::Pool;
use super::settings::IpSource;
use super::slices::OwnSlice;
use super::trust::{Refusal, Why};
use super::view::ServiceView;
use super::world::{Source, annotation, is_from, label, lists};
use super::{ServiceKey, World, derived, names as object_names, slices};

/// What should be of one service, and what its users should know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub wanted: Vec<Wanted>,
    pub unwanted: Vec<Unwanted>,
    pub refusals: Vec<Refusal>,
    pub conflicts: Vec<Conflict>,
    /// An import waits for its namespace.
    pub missing_namespace: bool,
}

/// `trouble` is what the API servers said to the last attempt, if they refused.
pub fn plan(
    world: &World,
    pool: &mut Pool,
    key: &ServiceKey,
    now: Timestamp,
    trouble: Option<&str>,
) -> Plan {
    if !world.knows_home() || world.id_is_anothers() && !world.settings.uninstalling {
        return Plan::default();
    }
    let view = &world.service(key).unwrap_or_default();
    let (own, gathered) = if world.settings.uninstalling {
        (Own::None, Exporters::default())
    } else {
        let own = own_export(world, key, view);
        let gathered = gather(world, key, view, &own);
        (own, gathered)
    };
    let merged = merge_exports(&gathered.exports, settled(world, view, &gathered));
    let mut service = OfService {
        world,
        key,
        view,
        own: &own,
        now,
        merged: merged.as_ref(),
        all: &gathered.exports,
        plan: Plan {
            refusals: gathered.refusals.clone(),
            conflicts: merged
                .iter()
                .flat_map(|merged| merged.conflicts.clone())
                .collect(),
            ..Plan::default()
        },
    };
    let choice = service.choose_ip(pool);
    let own_slices = service
        .taking_part()
        .map_or_else(Vec::new, |export| slices::own(world, key, view, export));
    service.own_slices(Place::Home, &own_slices);
    if world.knows_broker() {
        service.own_slices(Place::Broker, &own_slices);
        service.on_broker(&choice);
        service.import(&choice);
        service.imported_slices();
        derived::plan(&mut service, &choice);
    }
    service.per_cluster();
    service.conditions(&choice, trouble);
    service.plan.refusals.sort();
    service.plan.refusals.dedup();
    if world.id_is_anothers() {
        // What is on the broker is that other cluster's.
        let home = |id: &ObjectId| id.place == Place::Home;
        service.plan.wanted.retain(|wanted| home(&wanted.id));
        service.plan.unwanted.retain(|unwanted| home(&unwanted.id));
    }
    service.plan
}

/// The type that agents without records have settled on, and cannot be talked out of.
fn settled(world: &World, view: &ServiceView, gathered: &Exporters) -> Option<ImportType> {
    let aggregate = view.aggregate()?;
    let fixed = gathered.exports.iter().any(|export| {
        export.details.is_none()
            && export.cluster != world.settings.cluster
            && lists(aggregate, &export.cluster)
    });
    ImportType::parse(aggregate.spec.r#type.as_deref()).filter(|_| fixed)
}

/// Slices that are there, by name.
pub(super) type Slices<'a> = BTreeMap<&'a str, &'a EndpointSlice>;

fn of_cluster(there: &BTreeMap<String, EndpointSlice>, is: impl Fn(&str) -> bool) -> Slices<'_> {
    let named = there.iter().map(|(name, slice)| (name.as_str(), slice));
    named
        .filter(|(_, slice)| is(label(&slice.metadata, names::SOURCE_CLUSTER).unwrap_or_default()))
        .collect()
}

/// The parts of a plan, as they come together.
pub(super) struct OfService<'a> {
    pub(super) world: &'a World,
    pub(super) key: &'a ServiceKey,
    pub(super) view: &'a ServiceView,
    own: &'a Own,
    now: Timestamp,
    pub(super) merged: Option<&'a Merged<'a>>,
    all: &'a [Export],
    pub(super) plan: Plan,
}

impl<'a> OfService<'a> {
    fn us(&self) -> &'a str {
        &self.world.settings.cluster
    }

    /// This cluster's export, where it takes part: its type is that of the cluster set.
    fn taking_part(&self) -> Option<&'a Export> {
        let merged = self.merged?;
        self.own.valid().filter(|export| export.kind == merged.kind)
    }

    /// A name that no other service has, the plain one if possible.
    fn free_name(
        &self,
        source: Source,
        namespace: &str,
        plain: String,
        hashed: impl FnOnce() -> String,
    ) -> String {
        if self.world.is_taken(source, namespace, &plain, self.key) {
            return hashed();
        }
        plain
    }

    fn choose_ip(&mut self, pool: &mut Pool) -> IpChoice {
        let settings = &self.world.settings;
        let Some(merged) = self
            .merged
            .filter(|merged| merged.kind == ImportType::ClusterSetIP)
        else {
            self.give_back(pool);
            return IpChoice::default();
        };
        let oldest = merged.exports.first();
        let wanted = settings.wants_ip(oldest.and_then(|export| export.use_cluster_set_ip));
        if settings.cluster_set_ips.from == IpSource::DerivedService {
            return IpChoice {
                derived: wanted,
                ..IpChoice::default()
            };
        }
        let alone = merged
            .exports
            .iter()
            .all(|export| export.cluster == self.us());
        // Who exports alone decides anew whether there is one; an address that is in use stays, whoever gave it.
        let settled = |choice: &IpChoice| !alone || wanted && choice.ip.is_some();
        let stated = cluster_set_ip::stated(self.world, self.view, merged).filter(settled);
        if let Some(choice) = stated {
            let ip = choice.ip.as_deref().and_then(|ip| ip.parse().ok());
            match ip.filter(|_| choice.allocated_by.as_deref() == Some(self.us())) {
                None => {
                    // Another cluster was first; what we set aside is free again.
                    self.give_back(pool);
                    return choice;
                }
                Some(ip) => {
                    let recorded = cluster_set_ip::recorded(self.view, self.us());
                    let known = recorded.is_some_and(|known| known.ip == choice.ip);
                    let given = if known {
                        pool.reserve(self.key, ip)
                    } else {
                        pool.claim(self.key, ip)
                    };
                    if given {
                        return choice;
                    }
                    // Two services may have got the same while two replicas took turns to lead: one of them has another now.
                    if self.taking_part().is_none() {
                        let whose = merged.exports.first().map(|export| export.cluster.clone());
                        self.refuse(
                            &whose.unwrap_or_default(),
                            Why::Object(format!(
                                "{ip} is no address that this cluster gave to the service"
                            )),
                        );
                    }
                }
            }
        }
        if !wanted || !pool.is_there() || self.taking_part().is_none() {
            self.give_back(pool);
            return IpChoice::default();
        }
        if !self.world.knows_broker() {
            return IpChoice::default();
        }
        match pool.take(self.key) {
            Some(ip) => IpChoice {
                used: true,
                ip: Some(ip.to_string()),
                allocated_by: Some(self.us().to_owned()),
                ..IpChoice::default()
            },
            None => IpChoice {
                exhausted: true,
                ..IpChoice::default()
            },
        }
    }

    /// The service's address is free again, unless those who go on exporting it keep it.
    fn give_back(&self, pool: &mut Pool) {
        let held = pool.of(self.key);
        if held.is_some_and(|ip| !cluster_set_ip::is_in_use(self.view, self.us(), ip)) {
            pool.release(self.key);
        }
    }

    /// Slices of this cluster's own export at one place: in the service's namespace, or on the broker.
    fn own_slices(&mut self, place: Place, own: &[OwnSlice]) {
        let us = self.us();
        let (namespace, there) = match place {
            Place::Home => (self.key.namespace.as_str(), &self.view.slices),
            Place::Broker => (
                self.world.settings.broker_namespace.as_str(),
                &self.view.broker_slices,
            ),
        };
        let ours: Slices<'a> = of_cluster(there, |cluster| cluster == us);
        let headless = self
            .merged
            .is_some_and(|merged| merged.kind == ImportType::Headless);
        let wanted = own.iter().map(|own| {
            let name = slices::name_for(self.key, us, &own.of, headless, ours.values().copied());
            let mut slice = own.slice.clone();
            if place == Place::Broker {
                let labels = slice.metadata.labels.get_or_insert_default();
                labels.insert(names::BROKER_CLUSTER_ID.to_owned(), us.to_owned());
                labels.insert(
                    names::BROKER_NAMESPACE.to_owned(),
                    self.key.namespace.clone(),
                );
            }
            (name, slice)
        });
        let wanted = wanted.collect();
        self.slices(place, namespace, &wanted, &ours);
    }

    fn on_broker(&mut self, choice: &IpChoice) {
        let namespace = self.world.settings.broker_namespace.clone();
        self.record(&namespace, choice);
        self.aggregate(&namespace, choice);
    }

    /// What this cluster exports, for the others' agents.
    fn record(&mut self, namespace: &str, choice: &IpChoice) {
        let us = self.us();
        let ours = self
            .view
            .records
            .iter()
            .filter(|(_, record)| is_from(&record.metadata, us));
        let ours: Vec<(&String, &ServiceImport)> = ours.collect();
        let mut kept = None;
        if let Own::Valid(export) = self.own {
            let plain = object_names::of_cluster(self.key, us);
            // By the broker's policy another can have it only for a service of his whose name reads the same, or where there is no policy.
            let squatted = self
                .view
                .records
                .get(&plain)
                .is_some_and(|record| !is_from(&record.metadata, us));
            let name = match ours
                .iter()
                .find(|(name, _)| **name == plain)
                .or(ours.first())
            {
                Some((name, _)) => (*name).clone(),
                None if squatted => object_names::of_cluster_hashed(self.key, us),
                None => self.free_name(Source::BrokerImports, namespace, plain, || {
                    object_names::of_cluster_hashed(self.key, us)
                }),
            };
            let id = object_id(Place::Broker, ObjectKind::ServiceImport, namespace, &name);
            let observed = self.view.records.get(&name);
            let observed = observed.filter(|record| is_from(&record.metadata, us));
            let settings = &self.world.settings;
            let has_a_say = self.taking_part().is_some()
                && export.kind == ImportType::ClusterSetIP
                && settings.cluster_set_ips.from != IpSource::DerivedService
                && !choice.exhausted;
            let stated = has_a_say.then(|| choice.statement());
            self.plan.wanted.push(Wanted {
                id,
                body: imports::record(self.key, export, stated),
                status: None,
                observed: observed.map(|record| Observed::of(&record.metadata, record)),
                shared: false,
                urgency: Urgency::Resolve,
            });
            kept = Some(name);
        }
        // While the aggregate names us, the others would take a missing record for an export of Lighthouse's agent.
        let named = self
            .view
            .aggregates
            .values()
            .any(|aggregate| lists(aggregate, us));
        for (name, record) in ours {
            if kept.as_ref() != Some(name) && (kept.is_some() || !named) {
                let id = object_id(Place::Broker, ObjectKind::ServiceImport, namespace, name);
                self.reject(id, Observed::of(&record.metadata, record), false);
            }
        }
    }

    /// Whether this cluster says what all export: the first exporter with an agent like this one that is heard. If each wrote what it
    /// thinks, two that think differently, by their settings or by what they believe, would write over each other for ever.
    fn speaks(&self) -> bool {
        let exports = self.merged.iter().flat_map(|merged| &merged.exports);
        let mut able = exports.filter(|export| {
            export.cluster == self.us()
                || export.details.is_some() && self.world.clusters.is_heard(&export.cluster)
        });
        able.next()
            .is_some_and(|export| export.cluster == self.us())
    }

    /// What all clusters export, for Lighthouse's agents. Every exporter writes its part, and one of them the rest.
    fn aggregate(&mut self, namespace: &str, choice: &IpChoice) {
        let us = self.us();
        let taking_part = self.taking_part();
        let chosen = self
            .view
            .aggregate()
            .and_then(|aggregate| aggregate.metadata.name.clone());
        let mut due = Vec::new();
        for (name, aggregate) in &self.view.aggregates {
            let ours = taking_part.filter(|_| chosen.as_ref() == Some(name));
            let observed = Observed::of(&aggregate.metadata, aggregate);
            due.push((name.clone(), aggregate.clone(), Some(observed), ours));
        }
        if chosen.is_none() && taking_part.is_some() && !choice.exhausted {
            let plain = object_names::aggregate(self.key);
            let name = self.free_name(Source::BrokerImports, namespace, plain, || {
                object_names::aggregate_hashed(self.key)
            });
            due.push((name, ServiceImport::default(), None, taking_part));
        }
        for (name, aggregate, observed, ours) in due {
            let id = object_id(Place::Broker, ObjectKind::ServiceImport, namespace, &name);
            let merged = self
                .merged
                .filter(|_| ours.is_none() || observed.is_none() || self.speaks());
            match imports::aggregate(&aggregate, self.key, us, ours, merged, choice) {
                imports::Aggregate::Untouched => {}
                imports::Aggregate::Gone => {
                    if let Some(observed) = observed {
                        self.reject(id, observed, true);
                    }
                }
                imports::Aggregate::Wanted { body, status } => self.plan.wanted.push(Wanted {
                    id,
                    body,
                    status: Some(status),
                    observed,
                    shared: true,
                    urgency: Urgency::Resolve,
                }),
            }
        }
    }

    /// The import that users see.
    fn import(&mut self, choice: &IpChoice) {
        let observed = self
            .view
            .import
            .as_ref()
            .map(|import| Observed::of(&import.metadata, import));
        let id = object_id(
            Place::Home,
            ObjectKind::ServiceImport,
            &self.key.namespace,
            &self.key.name,
        );
        let Some(merged) = self.merged else {
            if let Some(observed) = observed {
                self.reject(id, observed, false);
            }
            return;
        };
        if !self.world.has_namespace(&self.key.namespace) {
            self.plan.missing_namespace = true;
            return;
        }
        let ServiceKey { namespace, name } = self.key;
        if self
            .world
            .is_taken(Source::Imports, namespace, name, self.key)
        {
            let whose = merged.exports.first().map(|export| export.cluster.clone());
            self.refuse(
                &whose.unwrap_or_default(),
                Why::Object(format!(
                    "ServiceImport {namespace}/{name} is not this agent's: delete it, or have one MCS controller only"
                )),
            );
            return;
        }
        let (body, status) =
            imports::import(self.world, self.key, self.view, merged, choice, self.now);
        self.plan.wanted.push(Wanted {
            id,
            body,
            status: Some(status),
            observed,
            shared: false,
            urgency: Urgency::Resolve,
        });
    }

    /// Copies of the other clusters' slices.
    fn imported_slices(&mut self) {
        let us = self.us();
        let here = self.world.has_namespace(&self.key.namespace);
        let mut wanted = BTreeMap::new();
        for (name, slice) in self.view.broker_slices.iter().filter(|_| here) {
            let cluster = label(&slice.metadata, names::SOURCE_CLUSTER).unwrap_or_default();
            let takes_part = self.merged.is_some_and(|merged| {
                merged
                    .exports
                    .iter()
                    .any(|export| export.cluster == cluster)
            });
            if cluster == us || !takes_part {
                continue;
            }
            let writer = label(&slice.metadata, names::BROKER_CLUSTER_ID);
            if writer.is_some_and(|writer| writer != cluster) {
                self.refuse(
                    cluster,
                    Why::Object(format!("its slice {name:?} names two clusters")),
                );
                continue;
            }
            let (good, bad) = slices::imported(self.world, slice, cluster);
            for why in bad {
                self.refuse(cluster, Why::Address(why));
            }
            // Somebody else's slice may have the name.
            let taken = self
                .world
                .is_taken(Source::Slices, &self.key.namespace, name, self.key);
            let name = if taken {
                object_names::slice(self.key, cluster, name)
            } else {
                name.clone()
            };
            wanted.insert(name, good);
        }
        let theirs = of_cluster(&self.view.slices, |cluster| cluster != us);
        self.slices(Place::Home, &self.key.namespace, &wanted, &theirs);
    }

    /// What each cluster exports, shown in the agents' namespace as release 0.14 did. This cluster's own is what later
    /// releases have there.
    fn per_cluster(&mut self) {
        let settings = &self.world.settings;
        let us = self.us();
        let mut kept = Vec::new();
        if self.world.has_namespace(&settings.namespace) {
            // Of others what this cluster has a place for: a member cannot fill another's store with names.
            let others = settings.per_cluster_imports
                && self.world.knows_broker()
                && self.world.has_namespace(&self.key.namespace);
            let shown = |export: &&Export| export.cluster == us || others;
            for export in self.all.iter().filter(shown) {
                let plain = object_names::of_cluster(self.key, &export.cluster);
                let has_it = |import: &ServiceImport| is_from(&import.metadata, &export.cluster);
                let name = match self
                    .view
                    .per_cluster
                    .iter()
                    .find(|(_, import)| has_it(import))
                {
                    Some((name, _)) => name.clone(),
                    None => self.free_name(Source::Imports, &settings.namespace, plain, || {
                        object_names::of_cluster_hashed(self.key, &export.cluster)
                    }),
                };
                let observed = self.view.per_cluster.get(&name);
                self.plan.wanted.push(Wanted {
                    id: object_id(
                        Place::Home,
                        ObjectKind::ServiceImport,
                        &settings.namespace,
                        &name,
                    ),
                    body: imports::per_cluster(self.key, export),
                    // Lighthouse's agents have it on their own; the label says it already, and every write costs.
                    status: (export.cluster == us)
                        .then(|| json!({"clusters": [{"cluster": export.cluster}]})),
                    observed: observed.map(|import| Observed::of(&import.metadata, import)),
                    shared: false,
                    urgency: Urgency::Report,
                });
                kept.push(name);
            }
        }
        for (name, import) in &self.view.per_cluster {
            let ours = is_from(&import.metadata, us);
            if !kept.contains(name) && (ours || self.world.knows_broker()) {
                let id = object_id(
                    Place::Home,
                    ObjectKind::ServiceImport,
                    &settings.namespace,
                    name,
                );
                self.reject(id, Observed::of(&import.metadata, import), false);
            }
        }
    }

    fn conditions(&mut self, choice: &IpChoice, trouble: Option<&str>) {
        let Some(export) = &self.view.export else {
            return;
        };
        let progress = self.progress(choice, trouble);
        let mut conflicts = if self.own.valid().is_some() {
            self.plan.conflicts.clone()
        } else {
            Vec::new()
        };
        conflicts.extend(self.ip_conflict(choice));
        let after = if self.world.settings.uninstalling {
            conditions::foreign(export)
        } else {
            conditions::of(export, self.own, &progress, &conflicts, self.now)
        };
        self.plan.wanted.push(Wanted {
            id: object_id(
                Place::Home,
                ObjectKind::ServiceExport,
                &self.key.namespace,
                &self.key.name,
            ),
            body: Value::Null,
            status: Some(json!({"conditions": after})),
            observed: Some(Observed::of(&export.metadata, export)),
            shared: false,
            urgency: Urgency::Report,
        });
    }

    fn progress(&self, choice: &IpChoice, trouble: Option<&str>) -> Progress {
        let Own::Valid(export) = self.own else {
            return Progress::Awaiting;
        };
        if self.taking_part().is_none() {
            return Progress::Failed("Unable to export due to an irresolvable conflict".to_owned());
        }
        if choice.exhausted {
            return Progress::Failed(
                "Unable to export: no cluster set IP is left in this cluster's range".to_owned(),
            );
        }
        let us = self.us();
        let record = self
            .view
            .records
            .values()
            .any(|record| is_from(&record.metadata, us));
        let slices = self
            .view
            .broker_slices
            .values()
            .any(|slice| is_from(&slice.metadata, us));
        let needs_slice = export.kind == ImportType::ClusterSetIP;
        let ours = imports::timestamp_key(us);
        let mut aggregates = self.view.aggregates.values();
        // The aggregate's status is written beside this report: to wait for it, where nothing failed, would be another report.
        let aggregated = aggregates.any(|aggregate| {
            lists(aggregate, us)
                || trouble.is_none() && annotation(&aggregate.metadata, &ours).is_some()
        });
        if record && aggregated && (slices || !needs_slice) {
            return Progress::Exported;
        }
        match trouble {
            Some(trouble) => Progress::Failed(format!("Unable to export: {trouble}")),
            None => Progress::Awaiting,
        }
    }

    /// Whether a service has a cluster set IP is decided by the first exporter.
    fn ip_conflict(&self, choice: &IpChoice) -> Option<Conflict> {
        let settings = &self.world.settings;
        let export = self
            .taking_part()
            .filter(|export| export.kind == ImportType::ClusterSetIP)?;
        if settings.cluster_set_ips.from == IpSource::DerivedService || choice.exhausted {
            return None;
        }
        let asked = settings.wants_ip(export.use_cluster_set_ip);
        let possible = !matches!(settings.cluster_set_ips.from, IpSource::Pool(None));
        let local = asked && possible;
        let first = self.merged?.exports.first()?.cluster.as_str();
        let decider = choice.allocated_by.as_deref().unwrap_or(first);
        (local != choice.used && decider != self.us()).then(|| Conflict {
            reason: "ClusterSetIPEnablementConflict",
            message: format!(
                "The local service clusterset IP enablement setting \"{local}\" conflicts with the enablement setting \"{}\" \
                 determined by the first exporting cluster {decider:?}.",
                choice.used
            ),
        })
    }

    /// Slices that should be, of those that are there; the others go.
    pub(super) fn slices(
        &mut self,
        place: Place,
        namespace: &str,
        wanted: &BTreeMap<String, EndpointSlice>,
        there: &Slices<'_>,
    ) {
        let id = |name: &str| object_id(place, ObjectKind::EndpointSlice, namespace, name);
        let seen = |slice: &EndpointSlice| Observed::of(&slice.metadata, slice);
        for (name, slice) in wanted {
            self.plan.wanted.push(Wanted {
                id: id(name),
                body: serde_json::to_value(slice).unwrap_or_default(),
                status: None,
                observed: there.get(name.as_str()).map(|slice| seen(slice)),
                shared: false,
                urgency: Urgency::Resolve,
            });
        }
        for (name, slice) in there {
            if !wanted.contains_key(*name) {
                self.reject(id(name), seen(slice), false);
            }
        }
    }

    pub(super) fn reject(&mut self, id: ObjectId, observed: Observed, shared: bool) {
        self.plan.unwanted.push(Unwanted {
            id,
            observed,
            shared,
        });
    }

    fn refuse(&mut self, cluster: &str, why: Why) {
        self.plan.refusals.push(Refusal {
            cluster: cluster.to_owned(),
            why,
        });
    }
}
