//! Globalnet: which global IP stands for a service, a pod or an endpoint.

use std::collections::BTreeMap;

use subm_api::{GlobalIngressIP, names};

/// What Globalnet said about one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allocation {
    Given(String),
    /// It tried and could not: reason and message of its condition `Allocated`.
    Failed {
        reason: String,
        message: String,
    },
    Waiting,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Service(String),
    Pod(String),
    Endpoint(String),
}

/// By namespace and object name: what it is for, and what came of it.
#[derive(Debug, Default)]
pub struct GlobalIps {
    objects: BTreeMap<(String, String), (Target, Allocation)>,
    by_target: BTreeMap<(String, Target), Allocation>,
}

impl GlobalIps {
    /// Tells whether that changed anything.
    pub(super) fn insert(&mut self, ip: &GlobalIngressIP) -> bool {
        let namespace = ip.metadata.namespace.clone().unwrap_or_default();
        let name = ip.metadata.name.clone().unwrap_or_default();
        let Some(target) = target(ip) else {
            return self.remove(&namespace, &name);
        };
        let entry = (target.clone(), allocation(ip));
        if self.objects.get(&(namespace.clone(), name.clone())) == Some(&entry) {
            return false;
        }
        self.remove(&namespace, &name);
        self.by_target
            .insert((namespace.clone(), target), entry.1.clone());
        self.objects.insert((namespace, name), entry);
        true
    }

    pub(super) fn remove(&mut self, namespace: &str, name: &str) -> bool {
        let key = (namespace.to_owned(), name.to_owned());
        let Some((target, _)) = self.objects.remove(&key) else {
            return false;
        };
        self.by_target.remove(&(key.0, target));
        true
    }

    pub fn of_service(&self, namespace: &str, service: &str) -> Option<&Allocation> {
        self.of(namespace, Target::Service(service.to_owned()))
    }

    pub fn of_pod(&self, namespace: &str, pod: &str) -> Option<&Allocation> {
        self.of(namespace, Target::Pod(pod.to_owned()))
    }

    pub fn of_endpoint(&self, namespace: &str, address: &str) -> Option<&Allocation> {
        self.of(namespace, Target::Endpoint(address.to_owned()))
    }

    fn of(&self, namespace: &str, target: Target) -> Option<&Allocation> {
        self.by_target.get(&(namespace.to_owned(), target))
    }
}

fn target(ip: &GlobalIngressIP) -> Option<Target> {
    match ip.spec.target.as_str() {
        "ClusterIPService" => ip
            .spec
            .service_ref
            .as_ref()
            .map(|to| Target::Service(to.name.clone())),
        "HeadlessServicePod" => ip
            .spec
            .pod_ref
            .as_ref()
            .map(|to| Target::Pod(to.name.clone())),
        "HeadlessServiceEndpoints" => {
            let annotations = ip.metadata.annotations.as_ref()?;
            annotations
                .get(names::GLOBAL_IP_OF_ENDPOINT)
                .map(|address| Target::Endpoint(address.clone()))
        }
        _ => None,
    }
}

fn allocation(ip: &GlobalIngressIP) -> Allocation {
    let Some(status) = &ip.status else {
        return Allocation::Waiting;
    };
    if !status.allocated_ip.is_empty() {
        return Allocation::Given(status.allocated_ip.clone());
    }
    let failed = status
        .conditions
        .iter()
        .find(|condition| condition.r#type == "Allocated" && condition.status != "True");
    match failed {
        Some(condition) => Allocation::Failed {
            reason: condition.reason.clone(),
            message: condition.message.clone(),
        },
        None => Allocation::Waiting,
    }
}
