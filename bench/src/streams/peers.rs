//! The servers under test, each on core 0 with one worker, the same records and the same certificate.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use subm_test_support::{Binaries, Process, free_port};

use super::certificate::Certificate;
use super::cpu;
use super::zone::ZONE;
use crate::server::on_cores;

/// A running server, and its ports of 127.0.0.1 by transport.
pub struct Peer {
    pub name: &'static str,
    pub ports: Ports,
    process: Process,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Ports {
    pub tcp: Option<u16>,
    pub tls: Option<u16>,
    /// The port of `tls` where each connection, resumed or not, brings tickets for the next.
    pub resumable: Option<u16>,
    pub https: Option<u16>,
    pub quic: Option<u16>,
}

/// What every peer serves and with what.
pub struct Site<'a> {
    /// For configuration; one folder below it per peer.
    pub folder: &'a Path,
    pub zone_file: &'a Path,
    pub certificate: &'a Certificate,
}

impl Peer {
    pub fn cpu_micros(&self) -> anyhow::Result<f64> {
        cpu::micros(self.process.id())
    }

    fn start(name: &'static str, command: Command, ports: Ports) -> anyhow::Result<Self> {
        let mut peer = Self {
            name,
            ports,
            process: Process::spawn(command)?,
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !peer.answers() {
            peer.process.ensure_running()?;
            ensure!(
                Instant::now() < deadline,
                "{name} does not answer over TCP\n{}",
                peer.process.output()?
            );
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(peer)
    }

    /// Whether the zone's first service is there (over TCP), and somebody listens for the other transports.
    fn answers(&self) -> bool {
        let others = [self.ports.tls, self.ports.https];
        self.ports
            .tcp
            .is_some_and(|port| asks(port).is_ok_and(|answered| answered))
            && others
                .into_iter()
                .flatten()
                .all(|port| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())
    }
}

fn asks(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    stream.write_all(b"\0\x31\0\x01\0\0\0\x01\0\0\0\0\0\0\x05svc-0\x04ns-0\x03svc\x0aclusterset\x05local\0\0\x01\0\x01")?;
    let mut head = [0; 14];
    stream.read_exact(&mut head)?;
    Ok(head[5] & 0x0f == 0 && head[9] == 1)
}

/// `binaries`: folder of the release build.
pub fn lighthouse_dns(
    binaries: &Path,
    manifests: &Path,
    certificate: &Certificate,
) -> anyhow::Result<Peer> {
    let tls = free_port()?;
    let ports = Ports {
        tcp: Some(free_port()?),
        tls: Some(tls),
        resumable: Some(tls),
        https: Some(free_port()?),
        quic: Some(free_port()?),
    };
    let mut command = on_cores("0", &binaries.join("lighthouse-dns"));
    command.arg("--manifests").arg(manifests);
    for (scheme, port) in [
        ("dns", ports.tcp),
        ("tls", ports.tls),
        ("https", ports.https),
        ("quic", ports.quic),
    ] {
        let port = port.context("every transport has a port")?;
        command.args(["--listen", &format!("{scheme}://127.0.0.1:{port}")]);
    }
    command
        .arg("--tls-cert")
        .arg(&certificate.chain)
        .arg("--tls-key")
        .arg(&certificate.key)
        // A TTL that keeps dnsdist's cache warm.
        .args([
            "--workers",
            "1",
            "--ttl",
            "3600",
            "--transfer-to",
            "127.0.0.0/8",
        ])
        .args([
            "--health",
            "off",
            "--ready",
            "off",
            "--metrics",
            "off",
            "--log-level",
            "warn",
        ]);
    Peer::start("lighthouse-dns", command, ports)
}

impl Site<'_> {
    /// A folder of `name`'s own with its configuration.
    fn configure(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder)?;
        let path = folder.join("conf");
        let text = text
            .replace("@FOLDER@", &folder.display().to_string())
            .replace("@ZONE@", ZONE)
            .replace("@FILE@", &self.zone_file.display().to_string())
            .replace(
                "@CERTIFICATE@",
                &self.certificate.chain.display().to_string(),
            )
            .replace("@KEY@", &self.certificate.key.display().to_string());
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Knot DNS. Debian's version has no TLS.
    pub fn knot(&self) -> anyhow::Result<Peer> {
        let port = free_port()?;
        let conf = self.configure(
            "knot",
            &format!(
                "server:\n  listen: 127.0.0.1@{port}\n  rundir: @FOLDER@\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
                 log:\n  - target: stderr\n    any: warning\n\
                 database:\n  storage: @FOLDER@\n\
                 zone:\n  - domain: @ZONE@\n    file: @FILE@\n    zonefile-sync: -1\n"
            ),
        )?;
        let mut command = on_cores("0", &Binaries::find("knotd")?);
        command.arg("-c").arg(conf);
        let ports = Ports {
            tcp: Some(port),
            ..Ports::default()
        };
        Peer::start("Knot", command, ports)
    }

    pub fn nsd(&self) -> anyhow::Result<Peer> {
        let (tcp, tls) = (free_port()?, free_port()?);
        let conf = self.configure(
            "nsd",
            &format!(
                "server:\n  server-count: 1\n  ip-address: 127.0.0.1@{tcp}\n  ip-address: 127.0.0.1@{tls}\n  tls-port: {tls}\n\
                 \x20 tls-service-pem: @CERTIFICATE@\n  tls-service-key: @KEY@\n  tcp-count: 1000\n  username: \"\"\n  database: \"\"\n\
                 \x20 zonesdir: @FOLDER@\n  pidfile: @FOLDER@/pid\n  xfrdfile: @FOLDER@/xfrd\n  xfrdir: @FOLDER@\n  zonelistfile: @FOLDER@/zones\n\
                 remote-control:\n  control-enable: no\n\
                 zone:\n  name: @ZONE@\n  zonefile: @FILE@\n"
            ),
        )?;
        let mut command = on_cores("0", &Binaries::find("nsd")?);
        command.arg("-d").arg("-c").arg(conf);
        let ports = Ports {
            tcp: Some(tcp),
            tls: Some(tls),
            resumable: Some(tls),
            ..Ports::default()
        };
        Peer::start("NSD", command, ports)
    }

    /// Unbound with the zone as its own (`auth-zone`).
    pub fn unbound(&self) -> anyhow::Result<Peer> {
        let (tcp, tls, https) = (free_port()?, free_port()?, free_port()?);
        let conf = self.configure(
            "unbound",
            &format!(
                "server:\n  num-threads: 1\n  interface: 127.0.0.1@{tcp}\n  interface: 127.0.0.1@{tls}\n  interface: 127.0.0.1@{https}\n\
                 \x20 tls-port: {tls}\n  https-port: {https}\n  tls-service-pem: @CERTIFICATE@\n  tls-service-key: @KEY@\n\
                 \x20 incoming-num-tcp: 1000\n  username: \"\"\n  chroot: \"\"\n  directory: @FOLDER@\n  pidfile: @FOLDER@/pid\n\
                 \x20 use-syslog: no\n  do-daemonize: no\n  module-config: \"iterator\"\n\
                 remote-control:\n  control-enable: no\n\
                 auth-zone:\n  name: @ZONE@\n  zonefile: @FILE@\n  for-downstream: yes\n  for-upstream: no\n"
            ),
        )?;
        let mut command = on_cores("0", &Binaries::find("unbound")?);
        command.arg("-d").arg("-c").arg(conf);
        let ports = Ports {
            tcp: Some(tcp),
            tls: Some(tls),
            resumable: Some(tls),
            https: Some(https),
            ..Ports::default()
        };
        Peer::start("Unbound", command, ports)
    }

    /// dnsdist with answers from its packet cache; `backend` fills it.
    pub fn dnsdist(&self, backend: u16) -> anyhow::Result<Peer> {
        let (tcp, tls, https) = (free_port()?, free_port()?, free_port()?);
        let conf = self.configure(
            "dnsdist",
            &format!(
                "setSecurityPollSuffix(\"\")\nsetMaxTCPClientThreads(1)\nsetLocal(\"127.0.0.1:{tcp}\")\n\
                 addTLSLocal(\"127.0.0.1:{tls}\", \"@CERTIFICATE@\", \"@KEY@\", {{maxInFlight=1000}})\n\
                 addDOHLocal(\"127.0.0.1:{https}\", \"@CERTIFICATE@\", \"@KEY@\", \"/dns-query\")\n\
                 newServer({{address=\"127.0.0.1:{backend}\"}})\n\
                 getPool(\"\"):setCache(newPacketCache(100000))\n"
            ),
        )?;
        let mut command = on_cores("0", &Binaries::find("dnsdist")?);
        command
            .args(["--supervised", "--disable-syslog", "-C"])
            .arg(conf);
        let ports = Ports {
            tcp: Some(tcp),
            tls: Some(tls),
            https: Some(https),
            ..Ports::default()
        };
        Peer::start("dnsdist", command, ports)
    }
}
