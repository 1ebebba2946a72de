//! ConfigMaps and Secrets of the cluster, as the watches of a node know them now.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::api::Api;
use kube::runtime::reflector::{ObjectRef, Store, reflector, store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(super) type Data = BTreeMap<String, Vec<u8>>;

#[derive(Debug)]
pub(super) struct Objects {
    maps: Store<ConfigMap>,
    secrets: Store<Secret>,
    changes: watch::Receiver<u64>,
    _watches: JoinSet<()>,
}

impl Objects {
    pub(super) fn watch(client: &Client) -> Self {
        let (changed, changes) = watch::channel(0);
        let (maps, map_writer) = store();
        let (secrets, secret_writer) = store();
        let mut watches = JoinSet::new();
        let api: Api<ConfigMap> = Api::all(client.clone());
        let events = watcher(api, watcher::Config::default()).default_backoff();
        let events = reflector(map_writer, events);
        let changed_map = changed.clone();
        watches.spawn(events.for_each(move |_| {
            changed_map.send_modify(|n| *n += 1);
            std::future::ready(())
        }));
        let api: Api<Secret> = Api::all(client.clone());
        let events = watcher(api, watcher::Config::default()).default_backoff();
        let events = reflector(secret_writer, events);
        watches.spawn(events.for_each(move |_| {
            changed.send_modify(|n| *n += 1);
            std::future::ready(())
        }));
        Self {
            maps,
            secrets,
            changes,
            _watches: watches,
        }
    }

    /// Notices any change of any of them.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// The data of a ConfigMap in the pod's namespace; an error if it is missing and not optional.
    pub(super) fn config_map(
        &self,
        pod: &Pod,
        name: &str,
        optional: Option<bool>,
    ) -> Result<Option<Data>> {
        let found = self.maps.get(&reference(pod, name));
        if found.is_none() && optional != Some(true) {
            bail!("configmap {name:?} not found");
        }
        Ok(found.map(|map| {
            let text = map.data.iter().flatten();
            let text = text.map(|(key, value)| (key.clone(), value.clone().into_bytes()));
            let binary = map.binary_data.iter().flatten();
            text.chain(binary.map(|(key, value)| (key.clone(), value.0.clone())))
                .collect()
        }))
    }

    /// As [`Objects::config_map`], of a Secret.
    pub(super) fn secret(
        &self,
        pod: &Pod,
        name: &str,
        optional: Option<bool>,
    ) -> Result<Option<Data>> {
        let found = self.secrets.get(&reference(pod, name));
        if found.is_none() && optional != Some(true) {
            bail!("secret {name:?} not found");
        }
        Ok(found.map(|secret| {
            let data = secret.data.iter().flatten();
            data.map(|(key, value)| (key.clone(), value.0.clone()))
                .collect()
        }))
    }
}

fn reference<K>(pod: &Pod, name: &str) -> ObjectRef<K>
where
    K: kube::runtime::reflector::Lookup<DynamicType = ()>,
{
    ObjectRef::new(name).within(&pod.namespace().unwrap_or_default())
}
