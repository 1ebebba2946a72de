//! The status of a pod, from what its containers do.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;

use super::container::{Ended, Restart, State, View, now};

/// Remembers since when things are as they are.
#[derive(Debug)]
pub(super) struct Reporter {
    uid: String,
    node_ips: Vec<IpAddr>,
    start: Time,
    conditions: BTreeMap<&'static str, (bool, Time)>,
}

impl Reporter {
    pub(super) fn new(pod: &Pod, node_ips: Vec<IpAddr>) -> Self {
        Self {
            uid: pod.uid().unwrap_or_default(),
            node_ips,
            start: now(),
            conditions: BTreeMap::new(),
        }
    }

    pub(super) fn status(
        &mut self,
        pod: &Pod,
        views: &BTreeMap<String, View>,
        ips: Option<Vec<IpAddr>>,
    ) -> PodStatus {
        let spec = pod.spec.clone().unwrap_or_default();
        let creating = View::default();
        let view = |container: &Container| views.get(&container.name).unwrap_or(&creating);
        let first = spec.init_containers.clone().unwrap_or_default();
        let succeeded = |view: &View| matches!(&view.state, State::Ended(ended) if ended.code == 0);
        let initialized = first.iter().all(|c| succeeded(view(c)));
        let ready = initialized && spec.containers.iter().all(|c| view(c).ready);
        let phase = phase(
            &first.iter().map(view).collect::<Vec<_>>(),
            &spec.containers.iter().map(view).collect::<Vec<_>>(),
            Restart::of(&spec),
        );
        let list = |containers: &[Container], is_init: bool| -> Vec<ContainerStatus> {
            let list = containers.iter();
            list.map(|c| self.container(c, view(c), is_init)).collect()
        };
        let (init_statuses, statuses) = (list(&first, true), list(&spec.containers, false));
        let conditions = [
            ("PodReadyToStartContainers", ips.is_some()),
            ("Initialized", initialized),
            ("Ready", ready),
            ("ContainersReady", ready),
            ("PodScheduled", true),
        ];
        PodStatus {
            phase: Some(phase.to_owned()),
            conditions: Some(
                conditions
                    .into_iter()
                    .map(|(kind, holds)| self.condition(kind, holds))
                    .collect(),
            ),
            host_ip: self.node_ips.first().map(IpAddr::to_string),
            host_ips: Some(
                self.node_ips
                    .iter()
                    .map(|ip| HostIP { ip: ip.to_string() })
                    .collect(),
            ),
            pod_ip: ips.iter().flatten().next().map(IpAddr::to_string),
            pod_ips: ips.map(|ips| ips.iter().map(|ip| PodIP { ip: ip.to_string() }).collect()),
            start_time: Some(self.start.clone()),
            init_container_statuses: (!first.is_empty()).then_some(init_statuses),
            container_statuses: Some(statuses),
            ..PodStatus::default()
        }
    }

    fn condition(&mut self, kind: &'static str, holds: bool) -> PodCondition {
        let since = self.conditions.entry(kind).or_insert((holds, now()));
        if since.0 != holds {
            *since = (holds, now());
        }
        PodCondition {
            type_: kind.to_owned(),
            status: if holds { "True" } else { "False" }.to_owned(),
            last_transition_time: Some(since.1.clone()),
            reason: (kind == "Ready" && !holds).then(|| "ContainersNotReady".to_owned()),
            ..PodCondition::default()
        }
    }

    fn container(&self, container: &Container, view: &View, is_init: bool) -> ContainerStatus {
        let running = matches!(view.state, State::Running { .. });
        let image = container.image.clone().unwrap_or_default();
        let done = matches!(&view.state, State::Ended(ended) if ended.code == 0);
        ContainerStatus {
            name: container.name.clone(),
            image_id: image.clone(),
            image,
            container_id: running.then(|| format!("test://{}/{}", self.uid, container.name)),
            ready: if is_init { done } else { view.ready },
            started: Some(running),
            restart_count: view.restarts,
            state: Some(state(&view.state)),
            last_state: view.last.as_ref().map(|ended| ContainerState {
                terminated: Some(terminated(ended)),
                ..ContainerState::default()
            }),
            ..ContainerStatus::default()
        }
    }
}

fn phase(first: &[&View], others: &[&View], restart: Restart) -> &'static str {
    let code = |view: &&View| match &view.state {
        State::Ended(ended) => Some(ended.code),
        _ => None,
    };
    let failed = |view: &&View| code(view).is_some_and(|code| code != 0);
    // A container that has ended and will be started again is said to wait.
    let ended = others.iter().all(|view| code(view).is_some());
    if first.iter().any(failed) || ended && restart != Restart::Always && others.iter().any(failed)
    {
        "Failed"
    } else if ended && restart != Restart::Always {
        "Succeeded"
    } else if others
        .iter()
        .any(|view| view.restarts > 0 || !matches!(view.state, State::Waiting { .. }))
    {
        "Running"
    } else {
        "Pending"
    }
}

fn state(state: &State) -> ContainerState {
    match state {
        State::Waiting { reason, message } => ContainerState {
            waiting: Some(ContainerStateWaiting {
                reason: Some((*reason).to_owned()),
                message: (!message.is_empty()).then(|| message.clone()),
            }),
            ..ContainerState::default()
        },
        State::Running { since } => ContainerState {
            running: Some(ContainerStateRunning {
                started_at: Some(since.clone()),
            }),
            ..ContainerState::default()
        },
        State::Ended(ended) => ContainerState {
            terminated: Some(terminated(ended)),
            ..ContainerState::default()
        },
    }
}

fn terminated(ended: &Ended) -> ContainerStateTerminated {
    let reason = if ended.code == 0 {
        "Completed"
    } else {
        "Error"
    };
    ContainerStateTerminated {
        exit_code: ended.code,
        signal: ended.signal,
        message: ended.message.clone(),
        reason: Some(reason.to_owned()),
        started_at: Some(ended.since.clone()),
        finished_at: Some(ended.at.clone()),
        ..ContainerStateTerminated::default()
    }
}
