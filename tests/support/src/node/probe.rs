//! Probes of containers, really performed: from the node's namespace to the pod's address.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::netns::NetNs;

/// Tells whether the probe succeeds. A command (`exec`) is the caller's.
pub(super) async fn check(
    node: &Arc<NetNs>,
    pod_ip: IpAddr,
    container: &Container,
    probe: &Probe,
) -> Result<()> {
    let limit = Duration::from_secs(u64::try_from(probe.timeout_seconds.unwrap_or(1)).unwrap_or(1));
    let port = |port: &IntOrString| number(container, port);
    let (address, http) = if let Some(http) = &probe.http_get {
        let host = match http.host.as_deref() {
            None | Some("") => pod_ip,
            Some(host) => host
                .parse()
                .context("the host of a probe must be an address")?,
        };
        (SocketAddr::new(host, port(&http.port)?), Some(http.clone()))
    } else if let Some(tcp) = &probe.tcp_socket {
        (SocketAddr::from((pod_ip, port(&tcp.port)?)), None)
    } else if let Some(grpc) = &probe.grpc {
        let number = u16::try_from(grpc.port).context("port")?;
        (SocketAddr::from((pod_ip, number)), None)
    } else {
        return Ok(());
    };
    let node = Arc::clone(node);
    tokio::task::spawn_blocking(move || {
        let stream = node.connect(address, limit)?;
        match http {
            // What is behind TLS is not asked: that it accepts must do.
            Some(http) if http.scheme.as_deref() != Some("HTTPS") => {
                get(stream, address, &http, limit)
            }
            _ => Ok(()),
        }
    })
    .await?
}

fn get(
    mut stream: TcpStream,
    address: SocketAddr,
    http: &HTTPGetAction,
    limit: Duration,
) -> Result<()> {
    stream.set_read_timeout(Some(limit))?;
    let path = http.path.as_deref().unwrap_or("/");
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: kube-probe/1.34\r\nConnection: close\r\n"
    );
    for header in http.http_headers.iter().flatten() {
        request += &format!("{}: {}\r\n", header.name, header.value);
    }
    request += "\r\n";
    stream.write_all(request.as_bytes())?;
    // "HTTP/1.1 200"
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    let head = String::from_utf8_lossy(&head);
    let code: u16 = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .with_context(|| format!("no HTTP: {head:?}"))?;
    ensure!(
        (200..400).contains(&code),
        "HTTP probe failed with statuscode: {code}"
    );
    Ok(())
}

fn number(container: &Container, port: &IntOrString) -> Result<u16> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            match ports.find(|port| port.name.as_ref() == Some(name)) {
                Some(port) => port.container_port,
                None => bail!("no port is called {name:?}"),
            }
        }
    };
    u16::try_from(number).with_context(|| format!("port {number}"))
}

/// Counts successes and failures of one probe.
#[derive(Debug, Default)]
pub(super) struct Tally {
    successes: i32,
    failures: i32,
}

impl Tally {
    /// The verdict, once there are enough results of one kind in a row.
    pub(super) fn add(&mut self, success: bool, probe: &Probe) -> Option<bool> {
        if success {
            self.failures = 0;
            self.successes += 1;
            (self.successes >= probe.success_threshold.unwrap_or(1)).then_some(true)
        } else {
            self.successes = 0;
            self.failures += 1;
            (self.failures >= probe.failure_threshold.unwrap_or(3)).then_some(false)
        }
    }
}
