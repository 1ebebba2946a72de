//! The servers under test, each on core 0 with one worker, the same records and the same certificate. Knot, NSD and
//! lighthouse-dns are those of the other tables, told to listen for connections too.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use subm_test_support::{Binaries, free_port};

use super::certificate::Certificate;
use crate::data::ZONE;
use crate::peers;
use crate::server::{Server, free_addr, on_cores};
use crate::tables::Lab;

/// A running server, and its ports of 127.0.0.1 by transport.
pub struct Peer {
    pub server: Server,
    pub ports: Ports,
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
    /// For configuration.
    pub folder: &'a Path,
    pub zone_file: &'a Path,
    pub certificate: &'a Certificate,
}

impl Peer {
    /// Waits until somebody listens for the other transports too: the server answers over UDP.
    fn new(server: Server, ports: Ports) -> anyhow::Result<Self> {
        let listens = |port: u16| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
        let deadline = Instant::now() + Duration::from_secs(60);
        for port in [ports.tcp, ports.tls, ports.https].into_iter().flatten() {
            while !listens(port) {
                ensure!(
                    Instant::now() < deadline,
                    "{} does not listen at port {port}\n{}",
                    server.name,
                    server.process.output()?
                );
                std::thread::park_timeout(Duration::from_millis(20));
            }
        }
        Ok(Self { server, ports })
    }
}

/// lighthouse-dns, with a TTL that keeps dnsdist's cache warm.
pub fn lighthouse_dns(
    lab: &Lab,
    manifests: &Path,
    certificate: &Certificate,
) -> anyhow::Result<Peer> {
    let (tls, https, quic) = (free_port()?, free_port()?, free_port()?);
    let arguments = [
        format!("--listen=tls://127.0.0.1:{tls}"),
        format!("--listen=https://127.0.0.1:{https}"),
        format!("--listen=quic://127.0.0.1:{quic}"),
        format!("--tls-cert={}", certificate.chain.display()),
        format!("--tls-key={}", certificate.key.display()),
        "--ttl=3600".to_owned(),
    ];
    let server = peers::lighthouse::start_with(lab, manifests, "0", 1, &arguments)?;
    let ports = Ports {
        tcp: Some(server.addr.port()),
        tls: Some(tls),
        resumable: Some(tls),
        https: Some(https),
        quic: Some(quic),
    };
    Peer::new(server, ports)
}

impl Site<'_> {
    /// Knot DNS. Debian's version has no TLS.
    pub fn knot(&self) -> anyhow::Result<Peer> {
        let server = peers::knot::start(self.zone_file, self.folder, "0", 1)?;
        let ports = Ports {
            tcp: Some(server.addr.port()),
            ..Ports::default()
        };
        Peer::new(server, ports)
    }

    pub fn nsd(&self) -> anyhow::Result<Peer> {
        let tls = free_port()?;
        let options = format!(
            "    ip-address: 127.0.0.1@{tls}\n    tls-port: {tls}\n    tls-service-pem: {}\n    tls-service-key: {}\n    tcp-count: 1000\n",
            self.certificate.chain.display(),
            self.certificate.key.display()
        );
        let server = peers::nsd::start_with(self.zone_file, self.folder, "0", 1, &options)?;
        let ports = Ports {
            tcp: Some(server.addr.port()),
            tls: Some(tls),
            resumable: Some(tls),
            ..Ports::default()
        };
        Peer::new(server, ports)
    }

    /// Unbound with the zone as its own (`auth-zone`).
    pub fn unbound(&self) -> anyhow::Result<Peer> {
        let (addr, tls, https) = (free_addr()?, free_port()?, free_port()?);
        let folder = self.folder.join("unbound");
        let config = format!(
            "\
server:
    num-threads: 1
    interface: 127.0.0.1@{tcp}
    interface: 127.0.0.1@{tls}
    interface: 127.0.0.1@{https}
    tls-port: {tls}
    https-port: {https}
    tls-service-pem: \"{chain}\"
    tls-service-key: \"{key}\"
    incoming-num-tcp: 1000
    username: \"\"
    chroot: \"\"
    directory: \"{folder}\"
    pidfile: \"{folder}/pid\"
    use-syslog: no
    do-daemonize: no
    module-config: \"iterator\"
remote-control:
    control-enable: no
auth-zone:
    name: {ZONE}
    zonefile: \"{zone}\"
    for-downstream: yes
    for-upstream: no
",
            tcp = addr.port(),
            chain = self.certificate.chain.display(),
            key = self.certificate.key.display(),
            folder = folder.display(),
            zone = self.zone_file.display(),
        );
        let config = peers::write(&folder, "unbound.conf", &config)?;
        let mut command = on_cores("0", &Binaries::find("unbound")?);
        command.arg("-d").arg("-c").arg(config);
        let server = Server::start("Unbound", addr, command)?;
        let ports = Ports {
            tcp: Some(addr.port()),
            tls: Some(tls),
            resumable: Some(tls),
            https: Some(https),
            ..Ports::default()
        };
        Peer::new(server, ports)
    }

    /// dnsdist with answers from its packet cache, which `backend` fills. Its plain port is only there to see what it says.
    pub fn dnsdist(&self, backend: SocketAddr) -> anyhow::Result<Peer> {
        let (addr, tls, https) = (free_addr()?, free_port()?, free_port()?);
        let certificate = format!(
            "\"{}\", \"{}\"",
            self.certificate.chain.display(),
            self.certificate.key.display()
        );
        let config = format!(
            "\
setSecurityPollSuffix(\"\")
setMaxTCPClientThreads(1)
setLocal(\"{addr}\")
addTLSLocal(\"127.0.0.1:{tls}\", {certificate}, {{maxInFlight=1000}})
addDOHLocal(\"127.0.0.1:{https}\", {certificate}, \"/dns-query\")
newServer({{address=\"{backend}\"}})
getPool(\"\"):setCache(newPacketCache(100000))
"
        );
        let config = peers::write(&self.folder.join("dnsdist"), "dnsdist.conf", &config)?;
        let mut command = on_cores("0", &Binaries::find("dnsdist")?);
        command
            .args(["--supervised", "--disable-syslog", "-C"])
            .arg(config);
        let server = Server::start("dnsdist", addr, command)?;
        let ports = Ports {
            tls: Some(tls),
            https: Some(https),
            ..Ports::default()
        };
        Peer::new(server, ports)
    }
}
