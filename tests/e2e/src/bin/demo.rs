//! `make demo`: two clusters and a broker on this machine, from nothing to a name that resolves in the other cluster. Shows each
//! command and what it prints. Then a shell with the kubeconfig set, where there is a terminal; all is gone when it ends.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use subm_e2e::{Lab, Member, client_pod, deployment, named, namespace, on, service};
use subm_test_support::eventually;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

static IN_SHELL: AtomicBool = AtomicBool::new(false);

const NS: &str = "sample";
const SOON: Duration = Duration::from_secs(90);
const NAME: &str = "whereami-cs.sample.svc.clusterset.local";

fn main() -> ExitCode {
    if std::env::args().len() > 1 {
        eprintln!("demo: takes no arguments; `make demo` runs it");
        return ExitCode::from(2);
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("demo: {error}");
            return ExitCode::FAILURE;
        }
    };
    // Whoever is asked to end takes down what runs: it is dropped with the future that made it.
    let done = runtime.block_on(async {
        tokio::select! {
            done = demo() => done,
            signal = asked_to_end() => signal.and_then(|name| bail!("ended by {name}; everything is taken down")),
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The name of the signal that came.
async fn asked_to_end() -> Result<&'static str> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            // Ctrl-C in the shell is the shell's.
            _ = interrupt.recv() => if !IN_SHELL.load(Relaxed) { return Ok("SIGINT") },
            _ = terminate.recv() => return Ok("SIGTERM"),
            _ = hangup.recv() => return Ok("SIGHUP"),
        }
    }
}

async fn demo() -> Result<()> {
    let began = Instant::now();
    say(
        "Starting a broker and two clusters of two nodes, with a router between them (real API servers, controllers, kube-proxy and CoreDNS) …",
    );
    let lab = Lab::joined(2).await?;
    for member in &lab.members {
        member
            .cluster
            .wait_available("kube-system", "coredns", SOON)
            .await?;
    }
    let mut shown = Shown {
        lab: &lab,
        length: 0,
    };
    say(&format!(
        "Ready after {:.0?}. Now Submariner's part:",
        began.elapsed()
    ));
    shown.subctl("--context kind-broker deploy-broker").await?;
    shown.subctl(&join(lab.member("c1"))).await?;
    shown.subctl(&join(lab.member("c2"))).await?;
    let (c1, c2) = (lab.member("c1"), lab.member("c2"));
    say("The gateways find each other:");
    eventually(SOON, || connected(c1)).await?;
    shown.subctl("--context kind-c1 show connections").await?;
    say("A Deployment of two pods and a Service in c2, a client pod on a worker of c1:");
    for member in [c1, c2] {
        member.apply(namespace(NS)).await?;
        member
            .apply(on(&format!("{}-worker2", member.name), client_pod()))
            .await?;
    }
    c2.apply(named(deployment(NS, "whereami", 2))).await?;
    c2.apply(service(NS, "whereami-cs", "whereami", false))
        .await?;
    c1.wait_pods("default", "run=client", 1).await?;
    c2.wait_pods(NS, "app=whereami", 2).await?;
    shown
        .subctl("--context kind-c2 export service -n sample whereami-cs --wait")
        .await?;
    let service = c2.get("Service", NS, "whereami-cs").await?;
    let ip = service["spec"]["clusterIP"]
        .as_str()
        .context("no ClusterIP")?
        .to_owned();
    c1.wait_dig(&lab.desk, NAME, &[ip]).await?;
    shown.news();
    let url = format!("http://{NAME}");
    let answer = eventually(SOON, || c1.whereami(&url)).await?;
    lab.desk.note(&format!(
        "client in c1$ curl -s {url}\n{}",
        serde_json::to_string(&answer)?
    ));
    shown.news();
    say(&format!(
        "The answer is of a pod in c2, which sees the client's own address: {}.",
        c1.pod_ip("default", "client").await?
    ));
    shown.subctl("--context kind-c1 show imports").await?;
    shown
        .subctl("--context kind-c2 explain export whereami-cs -n sample")
        .await?;
    say(&format!("Done after {:.0?}.", began.elapsed()));
    if std::io::stdin().is_terminal() {
        shell(&lab).await?;
    } else {
        say("No terminal: everything is taken down again.");
    }
    Ok(())
}

/// The gateway of each cluster is its first node; the driver is WireGuard, the default.
fn join(member: &Member) -> String {
    let (name, pods) = (&member.name, member.cluster.pod_cidr());
    format!(
        "--context kind-{name} join broker-info.subm --clusterid {name} --clustercidr {pods} --gateway {name}-worker --wait"
    )
}

async fn connected(member: &Member) -> Result<()> {
    let gateway = format!("{}-worker", member.name);
    let gateway = member
        .get("Gateway", "submariner-operator", &gateway)
        .await?;
    let connection = &gateway["status"]["connections"][0];
    ensure!(
        connection["status"] == "connected",
        "not connected yet: {connection}"
    );
    Ok(())
}

fn say(text: &str) {
    println!("\n# {text}");
}

/// Prints what is new on the desk.
struct Shown<'a> {
    lab: &'a Lab,
    length: usize,
}

impl Shown<'_> {
    async fn subctl(&mut self, words: &str) -> Result<()> {
        let result = self.lab.desk.subctl(words).await;
        self.news();
        result.map(drop)
    }

    fn news(&mut self) {
        let transcript = self.lab.desk.transcript();
        println!("{}", transcript[self.length..].trim_end());
        self.length = transcript.len();
    }
}

async fn shell(lab: &Lab) -> Result<()> {
    say(
        "A shell with KUBECONFIG set (contexts kind-broker, kind-c1, kind-c2); `subctl` is in PATH. Try:",
    );
    println!(
        "subctl --context kind-c2 unexport service -n sample whereami-cs\nsubctl show all\nsubctl diagnose all\nexit   # takes everything down"
    );
    let path = std::env::var("PATH").unwrap_or_default();
    let programs = lab.desk.programs().display();
    IN_SHELL.store(true, Relaxed);
    Command::new(std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into()))
        .current_dir(lab.desk.folder())
        .env("KUBECONFIG", lab.desk.folder().join("kubeconfig"))
        .env("PATH", format!("{programs}:{path}"))
        .kill_on_drop(true)
        .status()
        .await
        .context("no shell")?;
    Ok(())
}
