//! The objects of one watch, as they are now.

use std::collections::BTreeMap;

use kube::core::ApiResource;
use kube::{Client, Resource};
use subm_kube::{Event, Watch, Watched};

pub(super) fn watch_of<K: subm_api::Kind + Watched>(client: &Client, namespace: &str) -> Watch<K> {
    Watch::all(client.clone()).in_namespace(namespace)
}

/// By name; all of one namespace, or of none.
#[derive(Debug)]
pub(super) struct Store<K> {
    what: &'static str,
    objects: BTreeMap<String, (K, u64)>,
    list: u64,
    listed: bool,
    troubled: bool,
}

impl<K: Resource<DynamicType = ApiResource>> Store<K> {
    pub(super) fn new(what: &'static str) -> Self {
        Self {
            what,
            objects: BTreeMap::new(),
            list: 0,
            listed: false,
            troubled: false,
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

    /// Whether all of it has been read once, or cannot be.
    pub(super) fn is_settled(&self) -> bool {
        self.listed || self.troubled
    }

    /// Whether news come, as far as is known.
    pub(super) fn is_heard(&self) -> bool {
        self.listed && !self.troubled
    }

    /// Takes what a write of ours gave back, which the watch will tell too. A newer one stays.
    pub(super) fn written(&mut self, object: K) {
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
                false
            }
            Event::Apply(object) => {
                let name = object.meta().name.clone().unwrap_or_default();
                self.objects.insert(name, (object, self.list));
                self.listed
            }
            Event::Delete(metadata) => {
                self.objects.remove(&metadata.name.unwrap_or_default());
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
                self.listed = true;
                true
            }
            Event::Absent => {
                tracing::error!("{} are not served: their CRD is missing", self.what);
                self.troubled = true;
                false
            }
            Event::Trouble(trouble) => {
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
