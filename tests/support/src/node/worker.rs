//! A pod's life on its node: made, run, reported, ended.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures::future::{join_all, select_all};
use k8s_openapi::api::core::v1::{Container, Pod as Manifest, PodStatus};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::sleep;

use super::container::{self, Restart, State, View};
use super::kubelet::Kubelet;
use super::pod::Pod;
use super::status::Reporter;

/// How long to wait after a failure; news end it earlier where there can be some.
const RETRY: Duration = Duration::from_millis(500);

/// Runs a pod until it is deleted from the API server.
pub(super) async fn run(kubelet: Arc<Kubelet>, mut manifest: watch::Receiver<Manifest>) {
    let first = manifest.borrow().clone();
    let namespace = first.namespace().unwrap_or_default();
    let mut worker = Worker {
        api: Api::namespaced(kubelet.client.clone(), &namespace),
        name: first.name_any(),
        uid: first.uid(),
        reporter: Reporter::new(&first, kubelet.network.ips()),
        sent: None,
    };
    let mut changes = kubelet.objects.changes();
    // Of its own: it is looked at while news are awaited.
    let for_pod = manifest.clone();
    let pod = loop {
        let made = tokio::select! {
            made = Pod::make(&kubelet, &for_pod) => made,
            // Deleted before it began.
            () = deleted(&mut manifest) => return worker.remove(&manifest).await,
        };
        match made {
            Ok(pod) => break pod,
            Err(error) => {
                let waiting = View::creating(&format!("{error:#}"));
                let views = containers(&first).map(|c| (c.name.clone(), waiting.clone()));
                worker.report(&first, &views.collect(), None).await;
            }
        }
        tokio::select! {
            () = sleep(RETRY) => {}
            _ = changes.changed() => {}
            () = deleted(&mut manifest) => return worker.remove(&manifest).await,
        }
    };
    let key = (namespace, first.name_any());
    kubelet.add(key.clone(), &pod);
    worker.run(&pod, &mut manifest, &first).await;
    kubelet.forget(&key, &pod);
    pod.unplug();
    // Its address comes free, and its folder goes, before nobody can see the pod any more.
    drop(pod);
    worker.remove(&manifest).await;
}

/// Ends when the pod is being deleted, or is gone.
async fn deleted(manifest: &mut watch::Receiver<Manifest>) {
    let deleted = |manifest: &Manifest| manifest.metadata.deletion_timestamp.is_some();
    // An error means that it is gone.
    let _ = manifest.wait_for(deleted).await;
}

fn is_gone(manifest: &watch::Receiver<Manifest>) -> bool {
    manifest.has_changed().is_err()
}

/// Init containers too.
fn containers(manifest: &Manifest) -> impl Iterator<Item = &Container> {
    manifest.spec.iter().flat_map(|spec| {
        let first = spec.init_containers.iter().flatten();
        first.chain(&spec.containers)
    })
}

type Views = BTreeMap<String, watch::Sender<View>>;

/// Init containers one after the other, then the others, until all have ended.
async fn run_containers(
    pod: &Arc<Pod>,
    manifest: &Manifest,
    views: &Views,
    stop: watch::Receiver<Option<Duration>>,
) {
    let Some(spec) = &manifest.spec else { return };
    let restart = Restart::of(spec);
    for container in spec.init_containers.iter().flatten() {
        let view = &views[&container.name];
        let once = match restart {
            Restart::Never => Restart::Never,
            _ => Restart::OnFailure,
        };
        container::run(pod, container, once, view, stop.clone()).await;
        let done = matches!(&view.borrow().state, State::Ended(ended) if ended.code == 0);
        if !done || stop.borrow().is_some() {
            return;
        }
    }
    let all = spec.containers.iter().map(|container| {
        container::run(
            pod,
            container,
            restart,
            &views[&container.name],
            stop.clone(),
        )
    });
    join_all(all).await;
}

/// The part of a pod's life that the API server sees.
struct Worker {
    api: Api<Manifest>,
    name: String,
    uid: Option<String>,
    reporter: Reporter,
    sent: Option<PodStatus>,
}

impl Worker {
    async fn run(
        &mut self,
        pod: &Arc<Pod>,
        manifest: &mut watch::Receiver<Manifest>,
        first: &Manifest,
    ) {
        let views: Views = containers(first)
            .map(|container| (container.name.clone(), watch::Sender::default()))
            .collect();
        let mut news: Vec<_> = views.values().map(watch::Sender::subscribe).collect();
        let (stop, stopped) = watch::channel(None);
        let mut running = pin!(run_containers(pod, first, &views, stopped));
        let mut changes = pod.changes();
        let (mut ending, mut ended) = (false, false);
        while !(ending && ended) {
            let now = views
                .iter()
                .map(|(name, view)| (name.clone(), view.borrow().clone()));
            let told = self.report(first, &now.collect(), Some(pod)).await;
            tokio::select! {
                // In this order: a pod that ends is told so before its last state.
                biased;
                () = deleted(manifest), if !ending => {
                    ending = true;
                    let at_once = is_gone(manifest).then_some(Duration::ZERO);
                    stop.send_replace(Some(at_once.unwrap_or_else(|| pod.grace())));
                }
                () = &mut running, if !ended => ended = true,
                _ = select_all(news.iter_mut().map(|news| Box::pin(news.changed()))) => {}
                _ = changes.changed() => {
                    if let Err(error) = pod.refresh_volumes() {
                        eprintln!("pod {}: {error:#}", self.name);
                    }
                }
                () = sleep(RETRY), if !told => {}
            }
        }
    }

    /// Tells the API server what is new; `false` if it did not take it.
    async fn report(
        &mut self,
        manifest: &Manifest,
        views: &BTreeMap<String, View>,
        pod: Option<&Arc<Pod>>,
    ) -> bool {
        let status = self
            .reporter
            .status(manifest, views, pod.map(|pod| pod.ips()));
        if self.sent.as_ref() == Some(&status) {
            return true;
        }
        let patch = Patch::Merge(json!({"metadata": {"uid": self.uid}, "status": status}));
        let patched = self
            .api
            .patch_status(&self.name, &PatchParams::default(), &patch)
            .await;
        let told = match patched {
            Ok(_) => true,
            // Gone, or another pod of the same name: the watch will tell.
            Err(kube::Error::Api(error)) if [404, 409].contains(&error.code) => true,
            Err(error) => {
                eprintln!("status of pod {}: {error}", self.name);
                false
            }
        };
        self.sent = told.then_some(status);
        told
    }

    /// Nothing runs any more: the API server may forget the pod.
    async fn remove(&self, manifest: &watch::Receiver<Manifest>) {
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions {
                uid: self.uid.clone(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        while !is_gone(manifest) && !self.removed(&params).await.unwrap_or(false) {
            sleep(RETRY).await;
        }
    }

    async fn removed(&self, params: &DeleteParams) -> Result<bool> {
        match self.api.delete(&self.name, params).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(error)) => Ok([404, 409].contains(&error.code)),
            Err(error) => Err(error.into()),
        }
    }
}
