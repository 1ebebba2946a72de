//! Knot and NSD take the zone by transfer and must answer as we do.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use domain::base::iana::Rtype;
use subm_test_support::{Binaries, Process, eventually, random_loopback};

use crate::common::wire::{Client, View};
use crate::common::{Lighthouse, PORT, SOON, copy_of_examples, dig_until, run, service, text};

const ZONE: &str = "clusterset.local.";
const TYPES: [Rtype; 6] = [
    Rtype::A,
    Rtype::AAAA,
    Rtype::SRV,
    Rtype::TXT,
    Rtype::NS,
    Rtype::SOA,
];

fn knot(ip: Ipv4Addr, primary: Ipv4Addr, folder: &Path) -> Result<Process> {
    let (conf, folder) = (folder.join("knot.conf"), folder.display());
    fs::write(
        &conf,
        format!(
            "server:
    listen: {ip}@{PORT}
    rundir: {folder}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stdout
    any: info
database:
    storage: {folder}
remote:
  - id: primary
    address: {primary}@{PORT}
    via: {ip}
acl:
  - id: notify
    address: {primary}
    action: notify
zone:
  - domain: {ZONE}
    storage: {folder}
    master: primary
    acl: notify
    zonefile-sync: -1
"
        ),
    )?;
    let mut command = Command::new(Binaries::find("knotd")?);
    command.arg("-c").arg(&conf);
    Process::spawn(command)
}

fn nsd(ip: Ipv4Addr, primary: Ipv4Addr, folder: &Path) -> Result<Process> {
    let (conf, folder) = (folder.join("nsd.conf"), folder.display());
    fs::write(
        &conf,
        format!(
            "server:
  ip-address: {ip}@{PORT}
  username: \"\"
  chroot: \"\"
  database: \"\"
  zonesdir: \"{folder}\"
  xfrdir: \"{folder}\"
  xfrdfile: \"{folder}/xfrd.state\"
  zonelistfile: \"{folder}/zone.list\"
  pidfile: \"{folder}/nsd.pid\"
  server-count: 1
  xfrd-reload-timeout: 1
remote-control:
  control-enable: no
zone:
  name: {ZONE}
  request-xfr: {primary}@{PORT} NOKEY
  allow-notify: {primary} NOKEY
  outgoing-interface: {ip}
"
        ),
    )?;
    let mut command = Command::new(Binaries::find("nsd")?);
    command.args(["-d", "-c"]).arg(&conf);
    Process::spawn(command)
}

/// Every name of the zone, all above them, and some that do not exist.
fn names(dump: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for owner in dump.lines().filter_map(|line| line.split(' ').next()) {
        let mut name = owner;
        while name != ZONE {
            names.insert(name.to_owned());
            let (_, above) = name.split_once('.').unwrap_or(("", ZONE));
            name = above;
        }
    }
    names.insert(ZONE.to_owned());
    let absent = [
        "nope",
        "*",
        "web.shop",
        "nope.svc",
        "nope.shop.svc",
        "a.b.nope.shop.svc",
        "nope.db.shop.svc",
        "nope.west.db.shop.svc",
        "_nope._tcp.db.shop.svc",
        "_sql._udp.db.shop.svc",
        "_http._tcp.south.web.shop.svc",
    ];
    names.extend(absent.map(|name| format!("{name}.{ZONE}")));
    names
}

/// Where a secondary may differ (docs/adr/0005-empty-names-and-zone-transfer.md).
fn same(name: &str, ours: &View, theirs: &View) -> bool {
    let above = name.strip_suffix(ZONE).unwrap_or(name);
    if matches!(above, "pod." | "quiet.svc.") {
        // A name that a transfer cannot carry: nothing there, in either way of saying so.
        return ours.rcode == "NOERROR"
            && theirs.rcode == "NXDOMAIN"
            && ours.soa == theirs.soa
            && ours.answer.is_empty();
    }
    if above == "cart.shop.svc." && !ours.answer.is_empty() {
        // Taken in turn: ours is one of theirs.
        return ours.answer.is_subset(&theirs.answer) && ours.rcode == theirs.rcode;
    }
    ours == theirs
}

#[tokio::test(flavor = "multi_thread")]
async fn secondaries_answer_as_we_do_and_hear_of_changes() -> Result<()> {
    let manifests = copy_of_examples()?;
    let quiet = "apiVersion: v1\nkind: Namespace\nmetadata: {name: quiet}\n";
    fs::write(manifests.path().join("quiet.yaml"), quiet)?;
    let [ip, of_knot, of_nsd] = [(); 3].map(|()| random_loopback());
    let folder = tempfile::tempdir()?;
    let conf = folder.path().join("Corefile");
    let blocks = format!(
        "clusterset.local {{
            bind {ip}
            lighthouse
            transfer {{
                to {of_knot}:{PORT} {of_nsd}:{PORT}
            }}
        }}"
    );
    fs::write(&conf, blocks)?;
    let us = Lighthouse::configured(ip, &conf, manifests.path(), &[]).await?;
    let folders = [tempfile::tempdir()?, tempfile::tempdir()?];
    let _knot = knot(of_knot, ip, folders[0].path())?;
    let _nsd = nsd(of_nsd, ip, folders[1].path())?;
    let secondaries = [of_knot, of_nsd].map(|ip| (ip, PORT).into());
    for secondary in secondaries {
        dig_until(secondary, &[ZONE, "SOA"], |reply| reply.answer.len() == 1).await?;
    }

    let dump = run(&[
        "-conf",
        text(&conf),
        "--manifests",
        text(manifests.path()),
        "dump",
    ])
    .await?;
    assert_eq!(dump.code, 0, "{}", dump.stderr);
    let names = names(&dump.stdout);
    assert!(names.len() > 80, "{names:#?}");
    for secondary in secondaries {
        let (mut here, mut there) = (
            Client::connect(us.dns()).await?,
            Client::connect(secondary).await?,
        );
        for name in names
            .iter()
            .map(String::as_str)
            .chain(["pod.clusterset.local.", "quiet.svc.clusterset.local."])
        {
            for rtype in TYPES {
                let (ours, theirs) = (here.ask(name, rtype).await?, there.ask(name, rtype).await?);
                assert!(
                    same(name, &ours, &theirs),
                    "{name} {rtype}: {ours:#?} but {secondary} says {theirs:#?}"
                );
            }
        }
    }

    // Nothing but a NOTIFY makes them look before the refresh time of two hours.
    fs::write(
        manifests.path().join("late.yaml"),
        service("late", "243.0.0.77"),
    )?;
    for secondary in secondaries {
        eventually(SOON, || async {
            let mut client = Client::connect(secondary).await?;
            let view = client
                .ask("late.test.svc.clusterset.local.", Rtype::A)
                .await?;
            ensure!(
                view.answer
                    .iter()
                    .any(|record| record.ends_with(" 243.0.0.77")),
                "{view:?}"
            );
            Ok::<_, anyhow::Error>(())
        })
        .await?;
    }
    Ok(())
}
