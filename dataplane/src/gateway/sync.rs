//! What goes from here to the broker, and from the broker to here.
//!
//! ```text
//!   settings, addresses -> own Cluster and Endpoint -> home -> broker      label submariner-io/clusterID = ours there
//!                               copies of the others' <- home <- broker    label submariner-io/clusterID = theirs
//! ```
//!
//! One function of all that is known now. Which object is whose is told by the objects themselves, so nothing has to be remembered, and
//! what was missed is made up for. Whether what another cluster says is to be believed is not decided here
//! ([`crate::remotes`]): a copy is made of it, so that it can be looked at and refused in the open.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use subm_api::names::{BROKER_CLUSTER_ID, BROKER_NAMESPACE};
use subm_api::submariner::{Cluster, ClusterSpec, Endpoint, EndpointSpec};

use super::settings::ClusterId;
use super::{cluster_name, endpoint_name};

mod kind;
use kind::Synced;
pub use kind::{Kind, Object};

/// The objects of one namespace, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objects {
    pub namespace: String,
    pub clusters: BTreeMap<String, Cluster>,
    pub endpoints: BTreeMap<String, Endpoint>,
}

/// All that is known. Both sides must have been read whole: what is not there counts as deleted.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub us: &'a ClusterId,
    pub home: &'a Objects,
    /// `None` before it was read for the first time: then copies of it stay as they are.
    pub broker: Option<&'a Objects>,
    /// What this cluster declares.
    pub cluster: &'a ClusterSpec,
    /// This gateway's Endpoint; `None` until it is known. The former gateway's stays so long.
    pub endpoint: Option<&'a EndpointSpec>,
    /// Nothing of ours shall be left.
    pub uninstalling: bool,
}

/// What to write, in this order, and what is refused.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub steps: Vec<Step>,
    pub refusals: Vec<Refusal>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub write: Write,
    /// The step of this plan, by number, that must have been done before; else this one is left out.
    pub after: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    Home,
    Broker,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    Create {
        place: Place,
        object: Object,
    },
    /// The object as it shall be, with the `resourceVersion` at which it was seen.
    Update {
        place: Place,
        object: Object,
    },
    Delete(Deletion),
}

/// Only of what was seen: `uid` and `resource_version` are preconditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    pub place: Place,
    pub kind: Kind,
    pub name: String,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
}

/// An object that is not copied, or not written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    pub place: Place,
    pub kind: Kind,
    pub name: String,
    pub why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// On the broker: whose it is, its label and its `spec.cluster_id` tell differently.
    Disagrees {
        label: Option<String>,
        cluster_id: String,
    },
    /// On the broker: its cluster has no id that could be one.
    NoClusterId(String),
    /// Another has an object of that name where ours, or the copy, should be.
    NameTaken,
    /// This gateway's Endpoint has no name.
    NoName,
}

/// What to write to have the cluster's objects on the broker, and the others' here.
pub fn plan(view: &View<'_>) -> Plan {
    let mut plan = Plan::default();
    let cluster = (!view.uninstalling).then(|| {
        let spec = view.cluster.clone();
        (cluster_name(view.us), spec)
    });
    let endpoint = view.endpoint.filter(|_| !view.uninstalling);
    let named = endpoint.and_then(|spec| Some((endpoint_name(spec)?, spec.clone())));
    if endpoint.is_some() && named.is_none() {
        plan.refuse(Place::Home, Kind::Endpoint, "", Why::NoName);
    }
    // Without an own one yet, what a former gateway wrote stays.
    let keep_endpoints = named.is_none() && !view.uninstalling;

    // Clusters first: who sees an Endpoint shall find what its cluster declares.
    let mut removals = Removals::default();
    Sync {
        view,
        own: cluster,
        // Only one of that kind is ever made.
        keep_stale: false,
        of: |objects| &objects.clusters,
    }
    .plan(&mut plan, &mut removals);
    Sync {
        view,
        own: named,
        keep_stale: keep_endpoints,
        of: |objects| &objects.endpoints,
    }
    .plan(&mut plan, &mut removals);
    plan.steps.extend(removals.broker);
    plan.steps.extend(removals.home);
    plan.refusals.sort();
    plan
}

/// Come last, on the broker first: the others should know before we forget.
#[derive(Default)]
struct Removals {
    home: Vec<Step>,
    broker: Vec<Step>,
}

impl Plan {
    /// The steps of one place. No step waits for one of the other place, so both can be done at once.
    pub fn at(&self, place: Place) -> Vec<Step> {
        let mut numbers = BTreeMap::new();
        let mut steps: Vec<Step> = Vec::new();
        for (number, step) in self.steps.iter().enumerate() {
            if step.write.place() != place {
                continue;
            }
            numbers.insert(number, steps.len());
            steps.push(Step {
                write: step.write.clone(),
                after: step.after.and_then(|after| numbers.get(&after).copied()),
            });
        }
        steps
    }

    fn refuse(&mut self, place: Place, kind: Kind, name: &str, why: Why) {
        let name = name.to_owned();
        self.refusals.push(Refusal {
            place,
            kind,
            name,
            why,
        });
    }

    /// Brings one object there, if it is not as it should be, and tells its step.
    fn bring<K: Synced>(
        &mut self,
        place: Place,
        wanted: K,
        observed: Option<&K>,
        after: Option<usize>,
    ) -> Option<usize> {
        let write = match observed {
            None => Write::Create {
                place,
                object: wanted.into(),
            },
            Some(observed) if wanted.same_as(observed) => return None,
            Some(_) => Write::Update {
                place,
                object: wanted.into(),
            },
        };
        self.steps.push(Step { write, after });
        Some(self.steps.len() - 1)
    }
}

/// One kind of object.
struct Sync<'a, K: Synced> {
    view: &'a View<'a>,
    /// Name and spec of what is ours.
    own: Option<(String, K::Spec)>,
    /// Others of ours stay.
    keep_stale: bool,
    of: fn(&Objects) -> &BTreeMap<String, K>,
}

/// Whose an object at home is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// Made by a gateway of this cluster.
    Us,
    /// Made by a gateway of this cluster, of what is on the broker.
    Copy,
    /// Not ours to touch.
    Other,
}

impl<K: Synced> Sync<'_, K> {
    fn plan(&self, plan: &mut Plan, removals: &mut Removals) {
        let home = self.own_at_home(plan);
        let broker = self.own_on_broker(plan, home);
        let copies = self.copies(plan, home);
        self.remove(removals, &copies, home, broker);
    }

    fn own_at_home(&self, plan: &mut Plan) -> Written {
        let Some((name, spec)) = &self.own else {
            return Written::NotWanted;
        };
        let objects = (self.of)(self.view.home);
        let observed = objects.get(name);
        if observed.is_some_and(|object| self.owner(object) == Owner::Other) {
            plan.refuse(Place::Home, K::KIND, name, Why::NameTaken);
            return Written::Refused;
        }
        let mut wanted = K::new(&self.view.home.namespace, name, spec.clone(), observed);
        // It would pass for a copy.
        wanted.set_label(BROKER_CLUSTER_ID, None);
        wanted.set_label(BROKER_NAMESPACE, None);
        Written::of(plan.bring(Place::Home, wanted, observed, None))
    }

    fn own_on_broker(&self, plan: &mut Plan, home: Written) -> Written {
        let (Some((name, spec)), Some(broker)) = (&self.own, self.view.broker) else {
            return Written::NotWanted;
        };
        if home == Written::Refused {
            return Written::Refused;
        }
        let observed = (self.of)(broker).get(name);
        if observed.is_some_and(|object| !self.is_ours_on_broker(object)) {
            plan.refuse(Place::Broker, K::KIND, name, Why::NameTaken);
            return Written::Refused;
        }
        let mut wanted = K::new(&broker.namespace, name, spec.clone(), observed);
        wanted.set_label(BROKER_CLUSTER_ID, Some(self.view.us.as_str()));
        Written::of(plan.bring(Place::Broker, wanted, observed, None))
    }

    /// Makes copies of what the others declare, and tells the names.
    fn copies(&self, plan: &mut Plan, own: Written) -> BTreeSet<String> {
        let Some(broker) = self.view.broker.filter(|_| !self.view.uninstalling) else {
            return BTreeSet::new();
        };
        let mut copies = BTreeSet::new();
        let home = (self.of)(self.view.home);
        for (name, theirs) in (self.of)(broker) {
            let cluster = match self.writer(theirs) {
                Ok(cluster) if cluster == self.view.us.as_str() => continue,
                Ok(cluster) => cluster,
                Err(why) => {
                    plan.refuse(Place::Broker, K::KIND, name, why);
                    continue;
                }
            };
            let observed = home.get(name);
            let owner = observed.map(|object| self.owner(object));
            let is_own = self.own.as_ref().is_some_and(|(own, _)| own == name);
            let after = match owner {
                // A former gateway's gives way to a copy as it gives way to nothing: after ours is there.
                Some(Owner::Us) if !is_own && !self.keep_stale && own != Written::Refused => {
                    own.step()
                }
                Some(Owner::Us | Owner::Other) => {
                    plan.refuse(Place::Home, K::KIND, name, Why::NameTaken);
                    continue;
                }
                _ if is_own => {
                    plan.refuse(Place::Home, K::KIND, name, Why::NameTaken);
                    continue;
                }
                Some(Owner::Copy) | None => None,
            };
            let mut wanted = K::new(
                &self.view.home.namespace,
                name,
                theirs.spec().clone(),
                observed,
            );
            wanted.set_label(BROKER_CLUSTER_ID, Some(cluster));
            wanted.set_label(BROKER_NAMESPACE, theirs.label(BROKER_NAMESPACE));
            if K::KIND == Kind::Cluster {
                wanted.set_since(theirs);
            }
            plan.bring(Place::Home, wanted, observed, after);
            copies.insert(name.clone());
        }
        copies
    }

    fn remove(
        &self,
        removals: &mut Removals,
        copies: &BTreeSet<String>,
        home: Written,
        broker: Written,
    ) {
        let is_own = |name: &str| self.own.as_ref().is_some_and(|(own, _)| own == name);
        for (name, object) in (self.of)(self.view.home) {
            if is_own(name) || copies.contains(name) {
                continue;
            }
            let after = match self.owner(object) {
                Owner::Copy if self.view.broker.is_some() || self.view.uninstalling => None,
                Owner::Us if self.may_remove(home) => home.step(),
                _ => continue,
            };
            removals
                .home
                .extend(deletion(Place::Home, name, object, after));
        }
        let Some(there) = self.view.broker else {
            return;
        };
        for (name, object) in (self.of)(there) {
            if !is_own(name) && self.is_ours_on_broker(object) && self.may_remove(broker) {
                removals
                    .broker
                    .extend(deletion(Place::Broker, name, object, broker.step()));
            }
        }
    }

    /// Whether others of ours may go where our own has come this far.
    fn may_remove(&self, own: Written) -> bool {
        !self.keep_stale && own != Written::Refused
    }

    fn owner(&self, object: &K) -> Owner {
        let us = self.view.us.as_str();
        match object.label(BROKER_CLUSTER_ID) {
            Some(label) if label != us => Owner::Copy,
            _ if object.cluster_id() == us => Owner::Us,
            _ => Owner::Other,
        }
    }

    /// Who wrote an object of the broker, if both that tell it agree.
    fn writer<'o>(&self, object: &'o K) -> Result<&'o str, Why> {
        let (label, id) = (object.label(BROKER_CLUSTER_ID), object.cluster_id());
        if label != Some(id) && !self.is_ours_on_broker(object) {
            return Err(Why::Disagrees {
                label: label.map(ToOwned::to_owned),
                cluster_id: id.to_owned(),
            });
        }
        ClusterId::new(id).map_or_else(|| Err(Why::NoClusterId(id.to_owned())), |_| Ok(id))
    }

    /// With our id, and with our label or none.
    fn is_ours_on_broker(&self, object: &K) -> bool {
        let us = self.view.us.as_str();
        object.cluster_id() == us
            && object
                .label(BROKER_CLUSTER_ID)
                .is_none_or(|label| label == us)
    }
}

/// How far an own object is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    NotWanted,
    Already,
    By(usize),
    Refused,
}

impl Written {
    fn of(step: Option<usize>) -> Self {
        step.map_or(Self::Already, Self::By)
    }

    fn step(self) -> Option<usize> {
        match self {
            Self::By(step) => Some(step),
            _ => None,
        }
    }
}

/// `None` if it is on its way out already.
fn deletion<K: Synced>(place: Place, name: &str, object: &K, after: Option<usize>) -> Option<Step> {
    let metadata = object.metadata();
    if metadata.deletion_timestamp.is_some() {
        return None;
    }
    let deletion = Deletion {
        place,
        kind: K::KIND,
        name: name.to_owned(),
        uid: metadata.uid.clone(),
        resource_version: metadata.resource_version.clone(),
    };
    Some(Step {
        write: Write::Delete(deletion),
        after,
    })
}

impl Write {
    pub fn place(&self) -> Place {
        match self {
            Self::Create { place, .. } | Self::Update { place, .. } => *place,
            Self::Delete(deletion) => deletion.place,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Home => "here",
            Self::Broker => "on the broker",
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place,
            kind,
            name,
            why,
        } = self;
        write!(f, "{kind} {name:?} {place}: ")?;
        match why {
            Why::Disagrees { label: Some(label), cluster_id } => write!(
                f,
                "it is ignored, its label {BROKER_CLUSTER_ID} says {label:?} and its spec.cluster_id {cluster_id:?}; its cluster must write it anew"
            ),
            Why::Disagrees { label: None, cluster_id } => write!(
                f,
                "it is ignored, it has no label {BROKER_CLUSTER_ID}; cluster {cluster_id:?} must write it anew"
            ),
            Why::NoClusterId(id) => write!(f, "it is ignored, {id:?} is no id of a cluster"),
            Why::NameTaken => f.write_str("another's object has the name, so ours or the copy is not written; delete it, or let its cluster join with another id"),
            Why::NoName => f.write_str("this gateway's Endpoint has no name, so it is not written; its cluster and its cable must have one"),
        }
    }
}

#[cfg(test)]
mod tests;
