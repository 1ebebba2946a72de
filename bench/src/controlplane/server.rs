//! The servers that watch an API server, started alike.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use subm_test_support::{Binaries, Process, random_loopback};

use super::LATE;
use super::service::Service;
use crate::probe::{Client, Question};
use crate::server::Server;

const PORT: u16 = 5353;
/// Between two questions to a server that has not answered yet.
const PAUSE: Duration = Duration::from_millis(2);
/// With 100,000 services a start takes a good part of a minute on a busy machine.
const START: Duration = Duration::from_mins(5);

/// A server that can be started any number of times.
#[derive(Clone, Debug)]
pub struct Subject {
    pub name: &'static str,
    /// The version in which it reads imports. To the API server each is a pipeline of its own.
    pub import_version: &'static str,
    program: PathBuf,
    arguments: Arguments,
}

#[derive(Clone, Debug)]
enum Arguments {
    /// lighthouse-dns, and where it has its objects from.
    Flags([String; 2]),
    /// CoreDNS, and a folder for its configuration.
    Corefile {
        folder: PathBuf,
        kubeconfig: PathBuf,
    },
}

impl Subject {
    pub fn lighthouse(binaries: &Path, kubeconfig: &Path) -> Self {
        Self::flags("lighthouse-dns", binaries, "--kubeconfig", kubeconfig)
    }

    /// The same program, whose objects do not change.
    pub fn control(binaries: &Path, manifests: &Path) -> Self {
        Self::flags("unchanged", binaries, "--manifests", manifests)
    }

    fn flags(name: &'static str, binaries: &Path, source: &str, path: &Path) -> Self {
        Self {
            name,
            import_version: "v1beta1",
            program: binaries.join("lighthouse-dns"),
            arguments: Arguments::Flags([source.to_owned(), path.display().to_string()]),
        }
    }

    pub fn coredns(kubeconfig: &Path, folder: &Path) -> Result<Self> {
        Ok(Self {
            name: "CoreDNS",
            import_version: "v1alpha1",
            program: Binaries::find("coredns")?,
            arguments: Arguments::Corefile {
                folder: folder.to_owned(),
                kubeconfig: kubeconfig.to_owned(),
            },
        })
    }

    /// Starts it and returns at once.
    pub fn start(&self) -> Result<Server> {
        let addr = SocketAddr::from((random_loopback(), PORT));
        let mut command = Command::new(&self.program);
        match &self.arguments {
            Arguments::Flags(source) => {
                command.args(source).arg(format!("--listen={addr}"));
                command.args(["--health=off", "--ready=off", "--metrics=off"]);
                for variable in ["SUBMARINER_CLUSTERID", "LOG_LEVEL", "KUBECONFIG"] {
                    command.env_remove(variable);
                }
            }
            Arguments::Corefile { folder, kubeconfig } => {
                let corefile = folder.join(format!("Corefile-{}", addr.ip()));
                std::fs::write(&corefile, corefile_for(addr, kubeconfig))?;
                command.arg("-conf").arg(&corefile);
            }
        }
        Ok(Server {
            name: self.name.to_owned(),
            addr,
            process: Process::spawn(command)?,
        })
    }

    /// Starts it and waits until it answers right for all of `services`.
    pub fn start_serving(&self, services: &[Service]) -> Result<Server> {
        let mut server = self.start()?;
        await_answers(&mut server, services)?;
        Ok(server)
    }
}

fn corefile_for(addr: SocketAddr, kubeconfig: &Path) -> String {
    let (ip, port) = (addr.ip(), addr.port());
    format!(
        "cluster.local:{port} clusterset.local:{port} {{
            bind {ip}
            kubernetes cluster.local clusterset.local {{
                kubeconfig {}
                multicluster clusterset.local
            }}
        }}",
        kubeconfig.display()
    )
}

/// Asks every few milliseconds until the answers for all of `services` have been right, for some minutes at the most.
pub fn await_answers(server: &mut Server, services: &[Service]) -> Result<()> {
    let began = Instant::now();
    let mut asker = Client::of(server.addr, LATE)?;
    for &service in services {
        let question = Question::new(&service.domain_name(), "A", false)?;
        while !is_right(asker.addresses(&question)?, service) {
            server.process.ensure_running()?;
            ensure!(
                began.elapsed() < START,
                "{} has no right answer for {} within {START:?}",
                server.name,
                service.domain_name()
            );
            std::thread::sleep(PAUSE);
        }
    }
    Ok(())
}

/// Asks for one in 97 services; an error unless all answers are right.
pub fn verify(server: &Server, services: usize) -> Result<()> {
    let mut asker = Client::of(server.addr, LATE)?;
    for service in (0..services).step_by(97).map(Service) {
        let name = service.domain_name();
        let answer = asker
            .addresses(&Question::new(&name, "A", false)?)
            .with_context(|| name.clone())?;
        let wrong = format!("{} says {answer:?} for {name}", server.name);
        ensure!(is_right(answer, service), wrong);
    }
    Ok(())
}

fn is_right(answer: Option<Vec<std::net::Ipv4Addr>>, service: Service) -> bool {
    answer.is_some_and(|mut addresses| {
        addresses.sort();
        addresses == service.addresses()
    })
}
