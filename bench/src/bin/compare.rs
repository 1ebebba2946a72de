//! Measures CPU per query of lighthouse-dns and of a UDP echo in turns, one core for the server and one for the
//! client, and prints minimum, median and maximum over the rounds.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use subm_bench::cpu;
use subm_bench::data::{Workload, write_manifests};

#[derive(Parser)]
struct Args {
    /// Folder with the release binaries `lighthouse-dns` and `udp-echo`.
    #[arg(long)]
    binaries: PathBuf,
    #[arg(long, default_value_t = 10_000)]
    services: usize,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Length of one measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

/// A server under test, on core 0; ends with this value.
struct Server {
    name: &'static str,
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let folder = tempfile::tempdir()?;
    write_manifests(&folder.path().join("manifests"), args.services)?;
    let servers = [echo(&args)?, lighthouse_dns(&args, folder.path())?];
    println!(
        "CPU per query in microseconds (user and system): minimum / median / maximum of {} rounds of {} s,\n\
         servers in turns; server on core 0, dnsperf on core 1, {} services\n",
        args.rounds, args.seconds, args.services
    );
    println!(
        "{:<10} {:>24} {:>24} {:>8}",
        "workload", servers[0].name, servers[1].name, "ratio"
    );
    for workload in Workload::ALL {
        let queries = folder.path().join("queries");
        std::fs::write(&queries, workload.queries(args.services))?;
        let mut figures = [Vec::new(), Vec::new()];
        for _ in 0..args.rounds {
            for (server, figures) in servers.iter().zip(&mut figures) {
                figures.push(measure(server, &queries, args.seconds)?);
            }
        }
        let [echo, dns] = figures.map(summary);
        let text = |[min, median, max]: [f64; 3]| format!("{min:.2} / {median:.2} / {max:.2}");
        println!(
            "{:<10} {:>24} {:>24} {:>8.2}",
            workload.name(),
            text(echo),
            text(dns),
            dns[1] / echo[1]
        );
    }
    Ok(())
}

fn free_port() -> anyhow::Result<u16> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn on_core(core: u8, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]).arg(program);
    command
}

fn echo(args: &Args) -> anyhow::Result<Server> {
    let port = free_port()?;
    let child = on_core(0, &args.binaries.join("udp-echo"))
        .arg(format!("127.0.0.1:{port}"))
        .spawn()?;
    Ok(Server {
        name: "UDP echo",
        child,
        port,
    })
}

fn lighthouse_dns(args: &Args, folder: &Path) -> anyhow::Result<Server> {
    let port = free_port()?;
    let child = on_core(0, &args.binaries.join("lighthouse-dns"))
        .arg("--manifests")
        .arg(folder.join("manifests"))
        .args([
            "--listen",
            &format!("127.0.0.1:{port}"),
            "--workers",
            "1",
            "--log-level",
            "warn",
        ])
        .args(["--health", "off", "--ready", "off", "--metrics", "off"])
        .spawn()
        .context("cannot start lighthouse-dns")?;
    let server = Server {
        name: "lighthouse-dns",
        child,
        port,
    };
    // Until it has read everything it answers SERVFAIL.
    let deadline = Instant::now() + Duration::from_secs(60);
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(("127.0.0.1", port))?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    let query = b"\0\x01\0\0\0\x01\0\0\0\0\0\0\x0aclusterset\x05local\0\0\x06\0\x01";
    let mut reply = [0; 512];
    loop {
        ensure!(
            Instant::now() < deadline,
            "lighthouse-dns did not become ready"
        );
        let _ = socket.send(query);
        if socket
            .recv(&mut reply)
            .is_ok_and(|len| len > 12 && reply[3] & 0x0f == 0)
        {
            return Ok(server);
        }
    }
}

/// Microseconds of the server's CPU per query while dnsperf asks as fast as it can.
fn measure(server: &Server, queries: &Path, seconds: u64) -> anyhow::Result<f64> {
    let before = cpu::micros(server.child.id())?;
    let output = on_core(1, Path::new("dnsperf"))
        .args([
            "-s",
            "127.0.0.1",
            "-p",
            &server.port.to_string(),
            "-l",
            &seconds.to_string(),
            "-q",
            "200",
            "-d",
        ])
        .arg(queries)
        .stderr(Stdio::null())
        .output()
        .context("cannot run dnsperf; tests/tools.sh installs it")?;
    let used = cpu::micros(server.child.id())? - before;
    let text = String::from_utf8_lossy(&output.stdout);
    let completed = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Queries completed:"));
    let Some(completed) =
        completed.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
    else {
        bail!("dnsperf says nothing of completed queries:\n{text}");
    };
    ensure!(completed > 0, "{} answered no query", server.name);
    Ok(used as f64 / completed as f64)
}

fn summary(mut figures: Vec<f64>) -> [f64; 3] {
    figures.sort_by(f64::total_cmp);
    [
        figures[0],
        figures[figures.len() / 2],
        figures[figures.len() - 1],
    ]
}
