//! Builders of facts: `import("shop", "web").vip("243.0.0.1").port("http", 80)`.

use subm_dns_core::facts::{
    ClusterId, Endpoint, Fact, Gateway, Import, ImportForm, LocalSlice, ObjectKey, Port, Protocol,
    ServiceKey, ServiceType, Slice, SliceForm,
};
use subm_dns_core::name::Label;

use super::{cluster, ip};

pub fn label(text: &str) -> Label {
    Label::new(text).expect("a label")
}

pub fn service(namespace: &str, name: &str) -> ServiceKey {
    ServiceKey::new(namespace, name).expect("a service")
}

pub fn tcp(name: &str, number: u16) -> Port {
    port(name, Protocol::Tcp, number)
}

pub fn udp(name: &str, number: u16) -> Port {
    port(name, Protocol::Udp, number)
}

/// An empty `name` is no name.
pub fn port(name: &str, protocol: Protocol, number: u16) -> Port {
    Port {
        name: Label::new(name),
        protocol,
        number,
    }
}

/// An import under its object key.
#[derive(Clone)]
pub struct ImportFact(pub ObjectKey, pub Import);

/// The aggregated import of a ClusterSetIP service.
pub fn import(namespace: &str, name: &str) -> ImportFact {
    let import = Import {
        service: service(namespace, name),
        form: ImportForm::Aggregated,
        kind: ServiceType::ClusterSetIp,
        ips: Vec::new(),
        ports: Vec::new(),
        weights: Vec::new(),
    };
    ImportFact(ObjectKey::new(namespace, name), import)
}

/// An import of Lighthouse up to 0.14, one per exporting cluster.
pub fn import_of(namespace: &str, name: &str, id: &str) -> ImportFact {
    let ImportFact(_, mut import) = import(namespace, name);
    import.form = ImportForm::PerCluster(cluster(id));
    let object = format!("{name}-{namespace}-{id}");
    ImportFact(ObjectKey::new("submariner-operator", &object), import)
}

impl ImportFact {
    pub fn headless(mut self) -> Self {
        self.1.kind = ServiceType::Headless;
        self
    }

    pub fn vip(mut self, address: &str) -> Self {
        self.1.ips.push(ip(address));
        self
    }

    pub fn port(self, name: &str, number: u16) -> Self {
        self.with(tcp(name, number))
    }

    pub fn with(mut self, port: Port) -> Self {
        self.1.ports.push(port);
        self
    }

    pub fn weight(mut self, id: &str, weight: u16) -> Self {
        self.1.weights.push((cluster(id), weight));
        self
    }

    pub fn put(self) -> Fact {
        Fact::Import(self.0, Some(self.1))
    }

    pub fn gone(self) -> Fact {
        Fact::Import(self.0, None)
    }
}

#[derive(Clone)]
pub struct SliceFact(pub ObjectKey, pub Slice);

/// A slice of `name` in `cluster`. `object` is the slice's own name.
pub fn slice(namespace: &str, name: &str, id: &str, form: SliceForm, object: &str) -> SliceFact {
    let slice = Slice {
        service: service(namespace, name),
        cluster: cluster(id),
        form,
        publish_not_ready: false,
        globalnet: false,
        ports: Vec::new(),
        endpoints: Vec::new(),
        triggered_at: None,
    };
    SliceFact(ObjectKey::new(namespace, object), slice)
}

/// A cluster's service IP.
pub fn service_ip(namespace: &str, name: &str, id: &str, address: &str) -> SliceFact {
    let object = format!("{name}-{id}-ip");
    slice(namespace, name, id, SliceForm::ServiceIp, &object).at(address)
}

/// A slice of backends.
pub fn backends(namespace: &str, name: &str, id: &str) -> SliceFact {
    let object = format!("{name}-{id}-backends");
    slice(namespace, name, id, SliceForm::Backends, &object)
}

/// A slice of Lighthouse before 0.16.
pub fn legacy(namespace: &str, name: &str, id: &str) -> SliceFact {
    slice(
        namespace,
        name,
        id,
        SliceForm::Legacy,
        &format!("{name}-{id}"),
    )
}

pub fn endpoint(address: &str) -> Endpoint {
    Endpoint {
        addresses: vec![ip(address)],
        hostname: None,
        pod: None,
        ready: true,
    }
}

impl SliceFact {
    pub fn named(mut self, object: &str) -> Self {
        self.0 = ObjectKey::new(&self.0.namespace, object);
        self
    }

    pub fn port(self, name: &str, number: u16) -> Self {
        self.with(tcp(name, number))
    }

    pub fn with(mut self, port: Port) -> Self {
        self.1.ports.push(port);
        self
    }

    /// A ready endpoint without names.
    pub fn at(mut self, address: &str) -> Self {
        self.1.endpoints.push(endpoint(address));
        self
    }

    pub fn host(mut self, hostname: &str, address: &str) -> Self {
        self.1.endpoints.push(Endpoint {
            hostname: Some(label(hostname)),
            ..endpoint(address)
        });
        self
    }

    pub fn pod(mut self, pod: &str, address: &str) -> Self {
        self.1.endpoints.push(Endpoint {
            pod: Some(label(pod)),
            ..endpoint(address)
        });
        self
    }

    /// The last endpoint is not ready.
    pub fn unready(mut self) -> Self {
        self.1.endpoints.last_mut().expect("an endpoint").ready = false;
        self
    }

    pub fn publish_not_ready(mut self) -> Self {
        self.1.publish_not_ready = true;
        self
    }

    pub fn globalnet(mut self) -> Self {
        self.1.globalnet = true;
        self
    }

    pub fn put(self) -> Fact {
        Fact::Slice(self.0, Some(self.1))
    }

    pub fn gone(self) -> Fact {
        Fact::Slice(self.0, None)
    }
}

/// Kubernetes' own slice of a local service.
pub fn local_slice(namespace: &str, name: &str, ports: &[Port], endpoints: Vec<Endpoint>) -> Fact {
    let slice = LocalSlice {
        service: service(namespace, name),
        ports: ports.to_vec(),
        endpoints,
    };
    Fact::LocalSlice(
        ObjectKey::new(namespace, &format!("{name}-k8s")),
        Some(slice),
    )
}

pub fn namespace(name: &str, exists: bool) -> Fact {
    Fact::Namespace(label(name), exists)
}

/// The active gateway of `local`, with connections to `connected` and broken ones to `broken`.
pub fn gateway(local: &str, connected: &[&str], broken: &[&str]) -> Fact {
    Fact::Gateway(gateway_key(), Some(gateway_of(local, connected, broken)))
}

pub fn gateway_key() -> ObjectKey {
    ObjectKey::new("submariner-operator", "gateway")
}

pub fn gateway_of(local: &str, connected: &[&str], broken: &[&str]) -> Gateway {
    let list = |ids: &[&str], up| -> Vec<(ClusterId, bool)> {
        ids.iter().map(|id| (cluster(id), up)).collect()
    };
    Gateway {
        local_cluster: Some(cluster(local)),
        active: true,
        updated_at: Some(1_700_000_000),
        connections: [list(connected, true), list(broken, false)].concat(),
    }
}
