//! The program under test, as whoever runs it sees it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use subm_test_support::{Process, Reply, dig, eventually, page, random_loopback};

use crate::SOON;
use crate::asker::Client;

const DNS_PORT: u16 = 5353;
const HTTP_PORT: u16 = 8080;
/// As many questions meet every one of two or three clusters that take turns, and more than once.
const TURNS: usize = 12;

/// A running lighthouse-dns that watches an API server; killed on drop.
#[derive(Debug)]
pub(crate) struct Server {
    process: Process,
    address: Ipv4Addr,
}

impl Server {
    /// Starts the program and returns at once.
    pub(crate) fn start(kubeconfig: &Path) -> Result<Self> {
        // An address of its own: servers of several tests run side by side.
        let address = random_loopback();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lighthouse-dns"));
        command
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .arg(format!("--listen={address}:{DNS_PORT}"));
        for page in ["health", "ready", "metrics"] {
            command.arg(format!("--{page}={address}:{HTTP_PORT}"));
        }
        for variable in ["SUBMARINER_CLUSTERID", "LOG_LEVEL", "KUBECONFIG"] {
            command.env_remove(variable);
        }
        Ok(Self {
            process: Process::spawn(command)?,
            address,
        })
    }

    /// Starts the program and waits until it is ready.
    pub(crate) async fn started(kubeconfig: &Path) -> Result<Self> {
        let mut server = Self::start(kubeconfig)?;
        server.wait_ready().await?;
        Ok(server)
    }

    /// Waits until `/ready` says so.
    pub(crate) async fn wait_ready(&mut self) -> Result<()> {
        let ready = eventually(SOON, || async {
            let (status, text) = self.page("/ready").await?;
            ensure!(status == 200, "/ready says {status}: {text}");
            anyhow::Ok(())
        })
        .await;
        // If it has ended, its log says why.
        self.process.ensure_running()?;
        ready.with_context(|| self.log())
    }

    /// Where it answers over UDP and TCP.
    pub(crate) fn addr(&self) -> SocketAddr {
        (self.address, DNS_PORT).into()
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its whole log, for messages.
    pub(crate) fn log(&self) -> String {
        self.process
            .output()
            .unwrap_or_else(|error| error.to_string())
    }

    /// Status and text of `/ready`, `/health` or `/metrics`.
    pub(crate) async fn page(&self, path: &str) -> Result<(u16, String)> {
        page((self.address, HTTP_PORT).into(), path).await
    }

    /// Waits until `/ready` has this status and says `text` (all that is asked of an empty one is the status).
    pub(crate) async fn says(&self, status: u16, text: &str) -> Result<()> {
        eventually(SOON, || async {
            let (have, said) = self.page("/ready").await?;
            ensure!(
                have == status && said.contains(text),
                "/ready says {have}: {said}"
            );
            anyhow::Ok(())
        })
        .await
        .with_context(|| format!("/ready should say {status}: {text}"))
    }

    /// Waits until `/ready` finds nothing amiss.
    pub(crate) async fn is_well(&self) -> Result<()> {
        eventually(SOON, || async {
            let (status, text) = self.page("/ready").await?;
            ensure!(
                status == 200 && text == "OK",
                "/ready says {status}: {text}"
            );
            anyhow::Ok(())
        })
        .await
    }

    /// Asks with dig.
    pub(crate) async fn ask(&self, name: &str, rtype: &str) -> Result<Reply> {
        dig(self.addr(), &[name, rtype]).await
    }

    /// Waits until `name` has exactly these addresses in one reply.
    pub(crate) async fn answers(&self, name: &str, addresses: &[&str]) -> Result<()> {
        eventually(SOON, || async {
            let reply = self.ask(name, "A").await?;
            ensure!(
                reply.status == "NOERROR" && reply.answers("A") == addresses,
                "{}",
                reply.text
            );
            anyhow::Ok(())
        })
        .await
        .with_context(|| format!("{name} should have {addresses:?}"))
    }

    /// Waits until `name` has one address in each reply, and these in turn.
    pub(crate) async fn takes_turns(&self, name: &str, addresses: &[&str]) -> Result<()> {
        let client = Client::new(self.addr()).await?;
        eventually(SOON, || async {
            let mut seen = Vec::new();
            for _ in 0..TURNS {
                let answer = client.ask(name).await?;
                ensure!(answer.len() == 1, "one reply has {answer:?}");
                seen.push(answer[0].to_string());
            }
            seen.sort();
            seen.dedup();
            ensure!(seen == addresses, "it has {seen:?}");
            anyhow::Ok(())
        })
        .await
        .with_context(|| format!("{name} should have {addresses:?} in turn"))
    }

    /// Waits until `name` does not exist.
    pub(crate) async fn denies(&self, name: &str) -> Result<()> {
        eventually(SOON, || async {
            let reply = self.ask(name, "A").await?;
            ensure!(reply.status == "NXDOMAIN", "{}", reply.text);
            anyhow::Ok(())
        })
        .await
        .with_context(|| format!("{name} should not exist"))
    }

    /// Waits for SERVFAIL with the extended error "Not Ready": it has not read everything yet.
    pub(crate) async fn is_not_ready(&self) -> Result<()> {
        eventually(SOON, || async {
            let reply = self.ask("web.shop.svc.clusterset.local", "A").await?;
            ensure!(reply.status == "SERVFAIL", "{}", reply.text);
            ensure!(reply.text.contains("EDE: 14 (Not Ready)"), "{}", reply.text);
            let (status, text) = self.page("/ready").await?;
            ensure!(status == 503, "/ready says {status}: {text}");
            let (status, text) = self.page("/health").await?;
            ensure!(status == 200, "/health says {status}: {text}");
            anyhow::Ok(())
        })
        .await
    }

    /// Serial of the zone.
    pub(crate) async fn serial(&self) -> Result<u32> {
        let reply = self.ask("clusterset.local", "SOA").await?;
        let soa = reply.answers("SOA");
        let serial = soa.first().and_then(|soa| soa.split(' ').nth(2));
        Ok(serial.with_context(|| reply.text.clone())?.parse()?)
    }
}
