//! The same services and queries for every run.

use std::fmt::Write;
use std::path::Path;

/// A kind of query that is measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    AHit,
    NxDomain,
    Srv,
}

impl Workload {
    pub const ALL: [Self; 3] = [Self::AHit, Self::NxDomain, Self::Srv];

    pub fn name(self) -> &'static str {
        match self {
            Self::AHit => "A hit",
            Self::NxDomain => "NXDOMAIN",
            Self::Srv => "SRV",
        }
    }

    /// Queries in dnsperf's form, in an order that walks over all services.
    pub fn queries(self, services: usize) -> String {
        let mut queries = String::new();
        for i in 0..services {
            // A step without common divisor with the usual powers of ten spreads neighbours apart.
            let i = i * 7919 % services;
            let service = format!("svc-{i}.ns-{}.svc.clusterset.local", i % NAMESPACES);
            // Writing to a String does not fail.
            let _ = match self {
                Self::AHit => writeln!(queries, "{service} A"),
                Self::NxDomain => writeln!(queries, "no-{service} A"),
                Self::Srv => writeln!(queries, "_http._tcp.{service} SRV"),
            };
        }
        queries
    }
}

const NAMESPACES: usize = 100;

/// Writes a folder of manifests: services with a cluster set IP and one named port each.
pub fn write_manifests(folder: &Path, services: usize) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut text = String::new();
    for i in 0..services {
        let _ = write!(
            text,
            "apiVersion: multicluster.x-k8s.io/v1alpha1\nkind: ServiceImport\nmetadata: {{name: svc-{i}, namespace: ns-{}}}\n\
             spec: {{type: ClusterSetIP, ips: [243.{}.{}.{}], ports: [{{name: http, port: 80, protocol: TCP}}]}}\n---\n",
            i % NAMESPACES,
            i >> 16 & 255,
            i >> 8 & 255,
            i & 255
        );
    }
    std::fs::write(folder.join("services.yaml"), text)
}
