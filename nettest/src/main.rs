//! `subm-nettest`: does one thing, says on standard output and in a file how it went, and ends.

use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use ipnet::IpNet;
use serde::Serialize;
use subm_nettest::probe::{Probe, Watch};
use subm_nettest::{benchmark, look, probe, report};

/// Measures and probes the network between clusters, for subctl.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// File for the answer, beside standard output.
    #[arg(long, value_name = "FILE")]
    result: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Be the other side of measurements.
    Serve {
        #[arg(long)]
        port: u16,
        #[arg(long)]
        seconds: u64,
    },
    /// Measure how much gets through to a server.
    Throughput {
        #[arg(long)]
        to: SocketAddr,
        #[arg(long, default_value_t = 10)]
        streams: u32,
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Seconds that the server may take until it is there.
        #[arg(long, default_value_t = 20)]
        patience: u64,
    },
    /// Measure how long a request and its answer take.
    Latency {
        #[arg(long)]
        to: SocketAddr,
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Seconds that the server may take until it is there.
        #[arg(long, default_value_t = 20)]
        patience: u64,
    },
    /// Send UDP packets with a token.
    Send {
        #[arg(long)]
        to: SocketAddr,
        #[arg(long)]
        token: String,
        #[arg(long, default_value_t = 0)]
        tag: u16,
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
    /// Look for UDP packets with a token.
    Sniff {
        #[arg(long, required = true, value_delimiter = ',')]
        ports: Vec<u16>,
        #[arg(long)]
        token: String,
        /// How many different packets there are to see.
        #[arg(long)]
        enough: usize,
        #[arg(long, default_value_t = 30)]
        seconds: u64,
    },
    /// Look at devices and routes.
    Look {
        #[arg(long, value_delimiter = ',')]
        links: Vec<String>,
        /// Networks to which a way is looked for.
        networks: Vec<IpNet>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (text, good) = answer(arguments.what);
    println!("{text}");
    if let Some(file) = &arguments.result
        && let Err(error) = std::fs::write(file, &text)
    {
        eprintln!("{} cannot be written: {error}", file.display());
        return ExitCode::FAILURE;
    }
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn answer(what: What) -> (String, bool) {
    let seconds = Duration::from_secs;
    match what {
        What::Serve {
            port,
            seconds: time,
        } => {
            // Of both families, as Linux has it by default; where there is no IPv6 of the other alone.
            let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
                .or_else(|_| TcpListener::bind(("0.0.0.0", port)));
            told(listener.and_then(|listener| benchmark::serve(&listener, seconds(time))))
        }
        What::Throughput {
            to,
            streams,
            seconds: time,
            patience,
        } => told(
            benchmark::throughput(to, streams, seconds(time), seconds(patience))
                .map_err(|error| format!("{to}: {error}")),
        ),
        What::Latency {
            to,
            seconds: time,
            patience,
        } => told(
            benchmark::latency(to, seconds(time), seconds(patience))
                .map_err(|error| format!("{to}: {error}")),
        ),
        What::Send {
            to,
            token,
            tag,
            seconds: time,
        } => {
            let probe = Probe {
                to,
                token,
                tag,
                time: seconds(time),
            };
            told(wait(probe::send(&probe)).map_err(|error| format!("{error:#}")))
        }
        What::Sniff {
            ports,
            token,
            enough,
            seconds: time,
        } => {
            let watch = Watch {
                ports,
                token,
                enough,
                time: seconds(time),
            };
            told(probe::sniff(&watch).map_err(|error| probe::explain(&error)))
        }
        What::Look { links, networks } => told(wait(async {
            Ok::<_, anyhow::Error>(look::look(&links, &networks).await?)
        })),
    }
}

fn wait<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(work)
}

fn told<T: Serialize>(result: Result<T, impl std::fmt::Display>) -> (String, bool) {
    let result = result.map_err(|error| error.to_string());
    (report::encode(&result), result.is_ok())
}
