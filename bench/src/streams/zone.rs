//! The services, the same records as a zone file for the peers, and the queries.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

pub const ZONE: &str = "clusterset.local";
const NAMESPACES: usize = 100;

fn owner(i: usize) -> String {
    format!("svc-{i}.ns-{}.svc.{ZONE}", i % NAMESPACES)
}

/// A folder of manifests: services with a cluster set IP and one named port each.
pub fn write_manifests(folder: &Path, services: usize) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut text = String::new();
    for i in 0..services {
        write!(
            text,
            "apiVersion: multicluster.x-k8s.io/v1alpha1\nkind: ServiceImport\nmetadata: {{name: svc-{i}, namespace: ns-{}}}\n\
             spec: {{type: ClusterSetIP, ips: [243.{}.{}.{}], ports: [{{name: http, port: 80, protocol: TCP}}]}}\n---\n",
            i % NAMESPACES,
            i >> 16 & 255,
            i >> 8 & 255,
            i & 255
        )?;
    }
    std::fs::write(folder.join("services.yaml"), text)?;
    Ok(())
}

/// Queries in dnsperf's form: each service's A once, in an order that keeps neighbours apart.
pub fn write_queries(file: &Path, services: usize) -> anyhow::Result<()> {
    let mut text = String::new();
    for i in 0..services {
        writeln!(text, "{} A", owner(i * 7919 % services))?;
    }
    std::fs::write(file, text)?;
    Ok(())
}

/// The zone as lighthouse-dns on `port` of 127.0.0.1 transfers it, as a zone file.
pub fn transfer(port: u16, file: &Path) -> anyhow::Result<()> {
    let output = Command::new("dig")
        .args(["@127.0.0.1", "-p", &port.to_string(), ZONE, "AXFR"])
        .args(["+noall", "+answer", "+onesoa"])
        .output()
        .context("cannot run dig; tests/tools.sh installs it")?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(
        text.lines().any(|line| line.starts_with("svc-0.")),
        "the transfer of {ZONE} has no services:\n{text}"
    );
    std::fs::write(file, text)?;
    Ok(())
}
