//! Services as objects of an API server, and what a server that watches them must answer.
//!
//! The objects are those of the plain MCS API, for which Submariner's and CoreDNS's rules give the same answers: an import
//! with its addresses where it has a cluster set IP, slices alone where it is headless.

use std::fmt::Write as _;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use serde_json::{Value, json};

/// CoreDNS reads imports in this version alone.
const IMPORT: &str = "multicluster.x-k8s.io/v1alpha1";
const SLICE: &str = "discovery.k8s.io/v1";
/// Services of a namespace.
const PER_NAMESPACE: usize = 100;
/// One of so many services is headless.
const HEADLESS_EVERY: usize = 10;
/// Endpoints of a service.
const ENDPOINTS: usize = 3;

const SET_IPS: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 0);
const ENDPOINT_IPS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 0);
/// Addresses that a change puts in place of another, so that each tells which change it came with.
const CHANGED_IPS: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 0);

/// The service of this number. Numbers are in the order in which an API server lists the services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service(pub usize);

impl Service {
    /// The last of `count`: headless, so that its answer needs its import as well as its slice.
    pub fn last(count: usize) -> Self {
        Self(count / HEADLESS_EVERY * HEADLESS_EVERY - 1)
    }

    pub fn is_headless(self) -> bool {
        self.0 % HEADLESS_EVERY == HEADLESS_EVERY - 1
    }

    pub fn namespace(self) -> String {
        Self::namespace_of(self.0 / PER_NAMESPACE)
    }

    /// The namespace of this number.
    pub fn namespace_of(number: usize) -> String {
        format!("ns-{number:04}")
    }

    pub fn name(self) -> String {
        format!("svc-{:06}", self.0)
    }

    /// Of its A records.
    pub fn domain_name(self) -> String {
        domain_name(&self.namespace(), &self.name())
    }

    /// Its A records while nobody has changed it, in order.
    pub fn addresses(self) -> Vec<Ipv4Addr> {
        if self.is_headless() {
            (0..ENDPOINTS).map(|at| self.endpoint(at)).collect()
        } else {
            vec![offset(SET_IPS, self.0)]
        }
    }

    pub fn import(self) -> Object {
        let spec = if self.is_headless() {
            json!({"type": "Headless", "ports": ports()})
        } else {
            json!({"type": "ClusterSetIP", "ips": self.addresses(), "ports": ports()})
        };
        import(&self.namespace(), &self.name(), &spec)
    }

    pub fn slice(self) -> Object {
        let endpoints = (0..ENDPOINTS).map(|at| {
            let mut endpoint = json!({
                "addresses": [self.endpoint(at)],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "nodeName": format!("node-{at}"),
            });
            if self.is_headless() {
                endpoint["hostname"] = format!("{}-{at}", self.name()).into();
            }
            endpoint
        });
        slice(
            &self.namespace(),
            &self.name(),
            "0",
            &endpoints.collect::<Vec<_>>(),
        )
    }

    /// The change of this number: a new cluster set IP, or a new address of one endpoint.
    pub fn change(self, number: usize) -> Change {
        let address = changed(number);
        if self.is_headless() {
            let path = "/endpoints/0/addresses/0";
            Change::replace(self.slice().path, path, address)
        } else {
            Change::replace(self.import().path, "/spec/ips/0", address)
        }
    }

    fn endpoint(self, at: usize) -> Ipv4Addr {
        offset(ENDPOINT_IPS, self.0 * ENDPOINTS + at)
    }
}

/// A headless service with many endpoints, in slices of equal size.
#[derive(Clone, Copy, Debug)]
pub struct Large {
    pub slices: usize,
    pub endpoints_each: usize,
}

impl Large {
    pub const NAMESPACE: &str = "large";

    fn name(self) -> String {
        format!("{}-of-{}", self.slices, self.endpoints_each)
    }

    /// Its import and its slices.
    pub fn objects(self) -> Vec<Object> {
        let spec = json!({"type": "Headless", "ports": ports()});
        let mut objects = vec![import(Self::NAMESPACE, &self.name(), &spec)];
        objects.extend((0..self.slices).map(|at| {
            let endpoints = (0..self.endpoints_each).map(|endpoint| {
                let pod = at * self.endpoints_each + endpoint;
                json!({
                    "addresses": [offset(Ipv4Addr::new(10, 200, 0, 0), pod)],
                    "conditions": {"ready": true, "serving": true, "terminating": false},
                    "hostname": format!("pod-{pod}"),
                    "nodeName": format!("node-{}", pod % 100),
                })
            });
            let suffix = at.to_string();
            slice(
                Self::NAMESPACE,
                &self.name(),
                &suffix,
                &endpoints.collect::<Vec<_>>(),
            )
        }));
        objects
    }

    /// The change of this number: a new address of one endpoint. Slices take turns.
    pub fn change(self, number: usize) -> Change {
        let (at, endpoint) = self.place(number);
        let slice = slice(Self::NAMESPACE, &self.name(), &at.to_string(), &[]);
        let path = format!("/endpoints/{endpoint}/addresses/0");
        Change::replace(slice.path, &path, changed(number))
    }

    /// Of the endpoint that the change of this number changes.
    pub fn host_name(self, number: usize) -> String {
        let (at, endpoint) = self.place(number);
        let pod = at * self.endpoints_each + endpoint;
        let service = domain_name(Self::NAMESPACE, &self.name());
        format!("pod-{pod}.{CLUSTER}.{service}")
    }

    fn place(self, number: usize) -> (usize, usize) {
        let endpoint = number / self.slices % self.endpoints_each;
        (number % self.slices, endpoint)
    }
}

/// Where an object is created, and its own path once it is.
#[derive(Clone, Debug)]
pub struct Object {
    pub collection: String,
    pub path: String,
    pub json: Value,
}

/// One field of an object gets an address that it has never had.
#[derive(Clone, Debug)]
pub struct Change {
    pub path: String,
    /// A JSON patch.
    pub patch: Value,
    pub address: Ipv4Addr,
}

impl Change {
    fn replace(path: String, field: &str, address: Ipv4Addr) -> Self {
        Self {
            path,
            patch: json!([{"op": "replace", "path": field, "value": address}]),
            address,
        }
    }

    /// Whether an answer has this change, or a later one that came in its place.
    pub fn is_in(&self, answer: &[Ipv4Addr]) -> bool {
        // Other addresses of the service are lower than any that a change brings.
        answer.iter().any(|address| *address >= self.address)
    }
}

/// How many namespaces so many services fill.
pub fn namespace_count(services: usize) -> usize {
    services.div_ceil(PER_NAMESPACE)
}

pub fn namespace(name: &str) -> Object {
    let json = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    object("/api/v1/namespaces".to_owned(), name, json)
}

/// The same services as a folder of manifests.
pub fn write_manifests(folder: &Path, count: usize) -> io::Result<()> {
    let mut text = String::new();
    for service in (0..count).map(Service) {
        for object in [service.import(), service.slice()] {
            // Writing to a String does not fail. JSON is YAML.
            let _ = writeln!(text, "---\n{}", object.json);
        }
    }
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("services.yaml"), text)
}

/// The one cluster that exports.
const CLUSTER: &str = "west";

fn ports() -> Value {
    json!([{"name": "http", "port": 80, "protocol": "TCP"}])
}

fn import(namespace: &str, name: &str, spec: &Value) -> Object {
    let json = json!({
        "apiVersion": IMPORT,
        "kind": "ServiceImport",
        "metadata": {"namespace": namespace, "name": name},
        "spec": spec,
    });
    let collection = format!("/apis/{IMPORT}/namespaces/{namespace}/serviceimports");
    object(collection, name, json)
}

fn slice(namespace: &str, service: &str, suffix: &str, endpoints: &[Value]) -> Object {
    let name = format!("{service}-{CLUSTER}-{suffix}");
    let json = json!({
        "apiVersion": SLICE,
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "labels": {
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.multicluster.example",
                "multicluster.kubernetes.io/service-name": service,
                "multicluster.kubernetes.io/source-cluster": CLUSTER,
            },
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": ports(),
    });
    let collection = format!("/apis/{SLICE}/namespaces/{namespace}/endpointslices");
    object(collection, &name, json)
}

fn object(collection: String, name: &str, json: Value) -> Object {
    Object {
        path: format!("{collection}/{name}"),
        collection,
        json,
    }
}

fn domain_name(namespace: &str, service: &str) -> String {
    format!("{service}.{namespace}.svc.clusterset.local")
}

fn changed(number: usize) -> Ipv4Addr {
    offset(CHANGED_IPS, number)
}

fn offset(base: Ipv4Addr, by: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(base.to_bits() + by as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_is_headless_and_its_change_is_told_from_what_was() {
        let last = Service::last(10_000);
        assert_eq!(last, Service(9_999));
        assert!(last.is_headless() && !Service(0).is_headless());
        let (first, second) = (last.change(7), last.change(8));
        assert!(!first.is_in(&last.addresses()));
        assert!(first.is_in(&[first.address]) && first.is_in(&[second.address]));
        assert!(!second.is_in(&[first.address]));
        assert!(!Service(0).change(0).is_in(&Service(0).addresses()));
    }

    #[test]
    fn slices_of_a_large_service_take_turns() {
        let large = Large {
            slices: 10,
            endpoints_each: 100,
        };
        assert_eq!(large.objects().len(), 11);
        assert_eq!(large.objects()[4].path, large.change(13).path);
        assert_eq!(
            large.host_name(13),
            "pod-301.west.10-of-100.large.svc.clusterset.local"
        );
    }
}
