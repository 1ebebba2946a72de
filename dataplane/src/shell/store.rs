//! The objects of one watch, as they are now.

use std::collections::BTreeMap;

use kube::core::ApiResource;
use kube::{Client, Resource};
use subm_kube::{Event, Watch, Watched};

pub(super) fn watch_of<K: subm_api::Kind + Watched>(client: &Client, namespace: &str) -> Watch<K> {
    Watch::all(client.clone()).in_namespace(namespace)
}

/// Before it nothing was lost that was lost later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moment(u64);

/// By name; all of one namespace, or of none.
#[derive(Debug)]
pub(super) struct Store<K> {
    what: &'static str,
    objects: BTreeMap<String, (K, u64)>,
    list: u64,
    listed: bool,
    /// How often something may have gone.
    losses: u64,
    troubled: bool,
    /// Nobody will let us read it as things are.
    refused: bool,
}

impl<K: Resource<DynamicType = ApiResource>> Store<K> {
    pub(super) fn new(what: &'static str) -> Self {
        Self {
            what,
            objects: BTreeMap::new(),
            list: 0,
            listed: false,
            losses: 0,
            troubled: false,
            refused: false,
        }
    }

    /// Whether all of it has been read once.
    pub(super) fn is_known(&self) -> bool {
        self.listed
    }

    pub(super) fn objects(&self) -> impl Iterator<Item = &K> {
        self.objects.values().map(|(object, _)| object)
    }

    pub(super) fn by_name(&self) -> BTreeMap<String, K>
    where
        K: Clone,
    {
        self.objects
            .iter()
            .map(|(name, (object, _))| (name.clone(), object.clone()))
            .collect()
    }

    pub(super) fn get(&self, name: &str) -> Option<&K> {
        self.objects.get(name).map(|(object, _)| object)
    }

    /// Whether all of it has been read once, or cannot be: the kind is not served, or the account may not read it.
    pub(super) fn is_settled(&self) -> bool {
        self.listed || self.refused
    }

    /// Whether news come, as far as is known.
    pub(super) fn is_heard(&self) -> bool {
        self.listed && !self.troubled
    }

    /// When a write of ours begins.
    pub(super) fn moment(&self) -> Moment {
        Moment(self.losses)
    }

    /// Takes what a write of ours that began then gave back, which the watch will tell too. A newer one stays; and where the watch told
    /// meanwhile that something is gone, its word counts alone: it would not say it again.
    pub(super) fn written(&mut self, object: K, began: Moment) {
        if began != self.moment() {
            return;
        }
        let version = |object: &K| {
            let version = object.meta().resource_version.as_ref();
            version.and_then(|version| version.parse::<u64>().ok())
        };
        let Some(name) = object.meta().name.clone() else {
            return;
        };
        let newer = self.get(&name).map(&version) > Some(version(&object));
        if self.listed && !newer {
            self.objects.insert(name, (object, self.list));
        }
    }

    /// Takes news, and tells whether something may be planned anew.
    pub(super) fn take(&mut self, event: Event<K>) -> bool {
        match event {
            Event::Started => {
                self.list += 1;
                self.losses += 1;
                false
            }
            Event::Apply(object) => {
                let name = object.meta().name.clone().unwrap_or_default();
                self.objects.insert(name, (object, self.list));
                self.listed
            }
            Event::Delete(metadata) => {
                self.objects.remove(&metadata.name.unwrap_or_default());
                self.losses += 1;
                self.listed
            }
            Event::Invalid { metadata, error } => {
                let name = metadata.name.unwrap_or_default();
                tracing::warn!(
                    "{} {name} cannot be read and is left as it is: {error}",
                    self.what
                );
                if let Some((_, list)) = self.objects.get_mut(&name) {
                    *list = self.list;
                }
                false
            }
            Event::Listed => {
                self.recovered();
                let list = self.list;
                self.objects.retain(|_, (_, seen)| *seen == list);
                self.losses += 1;
                self.listed = true;
                true
            }
            Event::Absent => {
                tracing::error!("{} are not served: their CRD is missing", self.what);
                self.troubled = true;
                self.refused = true;
                false
            }
            Event::Trouble(trouble) => {
                self.refused = trouble.is_refusal();
                if !std::mem::replace(&mut self.troubled, true) {
                    tracing::warn!(
                        "{} cannot be read; what is known stays: {trouble}",
                        self.what
                    );
                }
                false
            }
            Event::Recovered => {
                self.recovered();
                false
            }
        }
    }

    fn recovered(&mut self) {
        if std::mem::replace(&mut self.troubled, false) {
            tracing::info!("{} can be read again", self.what);
        }
    }
}

#[cfg(test)]
mod tests {
    use subm_api::submariner::Cluster;
    use subm_kube::Trouble;

    use super::*;

    fn cluster(version: u64) -> Cluster {
        let cluster = serde_json::json!({
            "metadata": {"name": "c1", "resourceVersion": version.to_string()},
            "spec": {"cluster_id": "c1", "color_codes": [], "service_cidr": [], "cluster_cidr": []},
        });
        serde_json::from_value(cluster).expect("a Cluster")
    }

    fn version(store: &Store<Cluster>) -> Option<String> {
        store.get("c1")?.metadata.resource_version.clone()
    }

    #[test]
    fn what_a_write_gave_back_is_news_until_the_watch_says_more() {
        let mut store = Store::<Cluster>::new("Clusters");
        store.take(Event::Started);
        store.take(Event::Listed);
        let began = store.moment();
        store.written(cluster(10), began);
        assert_eq!(version(&store).as_deref(), Some("10"));
        store.take(Event::Apply(cluster(12)));
        store.written(cluster(11), began);
        assert_eq!(version(&store).as_deref(), Some("12"));
        // Late: somebody removed it since. The watch does not say so again.
        store.take(Event::Delete(cluster(13).metadata));
        store.written(cluster(12), began);
        assert_eq!(version(&store), None);
        // The same in a list; and one that is being read does not name what it made.
        let began = store.moment();
        store.take(Event::Started);
        store.written(cluster(14), began);
        store.take(Event::Listed);
        assert_eq!(version(&store), None);
    }

    /// A moment's trouble is no reason to go on without.
    #[test]
    fn what_nobody_lets_us_read_is_not_waited_for() {
        let mut store = Store::<Cluster>::new("Clusters");
        store.take(Event::Trouble(Trouble::Unreachable("away".to_owned())));
        assert!(!store.is_settled());
        store.take(Event::Trouble(Trouble::Forbidden {
            resource: "clusters".to_owned(),
            message: "no".to_owned(),
        }));
        assert!(store.is_settled() && !store.is_known());
        let mut store = Store::<Cluster>::new("Clusters");
        store.take(Event::Absent);
        assert!(store.is_settled());
        let mut store = Store::<Cluster>::new("Clusters");
        store.take(Event::Listed);
        assert!(store.is_settled() && store.is_known());
    }
}
