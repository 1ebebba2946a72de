//! The same services and queries for every server and run.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::Path;

/// The zone that all servers serve.
pub const ZONE: &str = "clusterset.local";

const NAMESPACES: usize = 100;
/// Where the pods of headless services run.
const CLUSTER: &str = "east";
/// Pods of a small and of a large headless service.
const FEW: usize = 3;
const MANY: usize = 50;

/// How many services there are of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataSet {
    /// With a cluster set IP and one named port.
    pub cluster_set_ip: usize,
    /// Headless with three pods.
    pub headless_3: usize,
    /// Headless with fifty pods.
    pub headless_50: usize,
}

impl DataSet {
    /// Eighty of a hundred services have a cluster set IP, fifteen are headless with three pods, five with fifty.
    pub fn mixed(services: usize) -> Self {
        let headless_3 = services * 15 / 100;
        let headless_50 = services * 5 / 100;
        Self {
            cluster_set_ip: services - headless_3 - headless_50,
            headless_3,
            headless_50,
        }
    }

    /// No headless services.
    pub fn cluster_set_ips(services: usize) -> Self {
        Self {
            cluster_set_ip: services,
            headless_3: 0,
            headless_50: 0,
        }
    }

    /// Writes the manifests of all services into a folder, for `lighthouse-dns --manifests`.
    pub fn write(&self, folder: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let mut text = String::new();
        for i in 0..self.cluster_set_ip {
            let ip = Ipv4Addr::from_bits((243 << 24) + i as u32);
            text += &cluster_set_ip_service(&service(Kind::ClusterSetIp, i), ip);
        }
        std::fs::write(folder.join("cluster-set-ip.yaml"), text)?;
        let mut pods = (10 << 24)..;
        for (kind, count, size, file) in [
            (Kind::Headless3, self.headless_3, FEW, "headless-3.yaml"),
            (Kind::Headless50, self.headless_50, MANY, "headless-50.yaml"),
        ] {
            let mut text = String::new();
            for i in 0..count {
                let pods = pods.by_ref().take(size).map(Ipv4Addr::from_bits);
                text += &headless_service(&service(kind, i), pods);
            }
            std::fs::write(folder.join(file), text)?;
        }
        Ok(())
    }

    fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::ClusterSetIp => self.cluster_set_ip,
            Kind::Headless3 => self.headless_3,
            Kind::Headless50 => self.headless_50,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    ClusterSetIp,
    Headless3,
    Headless50,
}

/// Name and namespace of the `i`th service of a kind.
fn service(kind: Kind, i: usize) -> (String, String) {
    let prefix = match kind {
        Kind::ClusterSetIp => "svc",
        Kind::Headless3 => "few",
        Kind::Headless50 => "many",
    };
    (format!("{prefix}-{i}"), format!("ns-{}", i % NAMESPACES))
}

fn cluster_set_ip_service((name, namespace): &(String, String), ip: Ipv4Addr) -> String {
    format!(
        "apiVersion: multicluster.x-k8s.io/v1alpha1\nkind: ServiceImport\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec: {{type: ClusterSetIP, ips: [{ip}], ports: [{{name: http, port: 80, protocol: TCP}}]}}\n---\n"
    )
}

/// An import and one slice with the pods of a StatefulSet, which have host names.
fn headless_service(
    (name, namespace): &(String, String),
    pods: impl Iterator<Item = Ipv4Addr>,
) -> String {
    let mut text = format!(
        "apiVersion: multicluster.x-k8s.io/v1alpha1\nkind: ServiceImport\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec: {{type: Headless, ports: []}}\nstatus: {{clusters: [{{cluster: {CLUSTER}}}]}}\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata:\n  name: {name}-{CLUSTER}\n  namespace: {namespace}\n  labels:\n\
         \x20   endpointslice.kubernetes.io/managed-by: lighthouse-agent.submariner.io\n\
         \x20   lighthouse.submariner.io/is-headless: \"true\"\n\
         \x20   lighthouse.submariner.io/sourceNamespace: {namespace}\n\
         \x20   multicluster.kubernetes.io/service-name: {name}\n\
         \x20   multicluster.kubernetes.io/source-cluster: {CLUSTER}\n\
         addressType: IPv4\nports: [{{name: http, port: 80, protocol: TCP}}]\nendpoints:\n"
    );
    for (pod, ip) in pods.enumerate() {
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "- {{addresses: [{ip}], conditions: {{ready: true}}, hostname: {name}-{pod}}}"
        );
    }
    text + "---\n"
}

/// A kind of query that is measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    AHit,
    /// What a dual-stack client asks: both families at once, of which there is one.
    Pairs,
    AaaaNoData,
    /// Every fifth name does not exist.
    SomeNxDomain,
    NxDomain,
    Srv,
    Txt,
    Headless3,
    Headless50,
}

impl Workload {
    pub const ALL: [Self; 9] = [
        Self::AHit,
        Self::Pairs,
        Self::AaaaNoData,
        Self::SomeNxDomain,
        Self::NxDomain,
        Self::Srv,
        Self::Txt,
        Self::Headless3,
        Self::Headless50,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::AHit => "A hit",
            Self::Pairs => "A+AAAA pairs",
            Self::AaaaNoData => "AAAA NODATA",
            Self::SomeNxDomain => "20 % NXDOMAIN",
            Self::NxDomain => "NXDOMAIN",
            Self::Srv => "SRV",
            Self::Txt => "TXT",
            Self::Headless3 => "headless 3",
            Self::Headless50 => "headless 50",
        }
    }

    /// Whether the queries need EDNS: the reply is longer than 512 octets.
    pub fn edns(self) -> bool {
        self == Self::Headless50
    }

    /// Queries in dnsperf's form, in an order that walks over all services that the workload asks for.
    pub fn queries_of(self, data: &DataSet) -> String {
        let kind = match self {
            Self::Headless3 => Kind::Headless3,
            Self::Headless50 => Kind::Headless50,
            _ => Kind::ClusterSetIp,
        };
        let count = data.count(kind);
        let mut queries = String::new();
        for turn in 0..count {
            // A step without common divisor with the usual powers of ten spreads neighbours apart.
            let (name, namespace) = service(kind, turn * 7919 % count);
            let service = format!("{name}.{namespace}.svc.{ZONE}");
            let _ = match self {
                Self::SomeNxDomain if turn % 5 == 4 => writeln!(queries, "no-{service} A"),
                Self::AHit | Self::SomeNxDomain | Self::Headless3 | Self::Headless50 => {
                    writeln!(queries, "{service} A")
                }
                Self::Pairs => writeln!(queries, "{service} A\n{service} AAAA"),
                Self::AaaaNoData => writeln!(queries, "{service} AAAA"),
                Self::NxDomain => writeln!(queries, "no-{service} A"),
                Self::Srv => writeln!(queries, "_http._tcp.{service} SRV"),
                // The one name of the zone with text.
                Self::Txt => writeln!(queries, "dns-version.{ZONE} TXT"),
            };
        }
        queries
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn all_services_are_of_some_kind() {
        for services in [0, 1, 7, 100, 10_000] {
            let data = DataSet::mixed(services);
            assert_eq!(
                data.cluster_set_ip + data.headless_3 + data.headless_50,
                services
            );
        }
        assert_eq!(DataSet::mixed(10_000).headless_50, 500);
    }

    #[test]
    fn queries_ask_for_every_service_once() {
        let data = DataSet::mixed(1000);
        for (workload, distinct) in [
            (Workload::AHit, 800),
            (Workload::Pairs, 1600),
            (Workload::Headless3, 150),
            (Workload::Headless50, 50),
            (Workload::Txt, 1),
        ] {
            let queries = workload.queries_of(&data);
            let set: HashSet<&str> = queries.lines().collect();
            assert_eq!(set.len(), distinct, "{workload:?}");
        }
    }

    #[test]
    fn a_fifth_of_the_names_does_not_exist() {
        let queries = Workload::SomeNxDomain.queries_of(&DataSet::mixed(1000));
        let missing = queries.lines().filter(|line| line.starts_with("no-"));
        assert_eq!((missing.count(), queries.lines().count()), (160, 800));
    }

    #[test]
    fn pods_have_addresses_and_names_of_their_own() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        DataSet::mixed(100).write(folder.path())?;
        let text = std::fs::read_to_string(folder.path().join("headless-3.yaml"))?
            + &std::fs::read_to_string(folder.path().join("headless-50.yaml"))?;
        let pods: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("- {addresses"))
            .collect();
        let distinct: HashSet<&str> = pods.iter().copied().collect();
        assert_eq!((pods.len(), distinct.len()), (15 * 3 + 5 * 50, 295));
        Ok(())
    }
}
