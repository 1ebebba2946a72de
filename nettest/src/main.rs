//! `subm-nettest`: does one thing, says on standard output and in a file how it went, and ends.

use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use ipnet::IpNet;
use serde::Serialize;
use subm_nettest::benchmark::{Guests, Server};
use subm_nettest::probe::{Probe, Watch};
use subm_nettest::{benchmark, look, probe, report};
use subm_routing::Family;

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
        /// What clients have to say first.
        #[arg(long)]
        token: String,
        /// So many connections at once.
        #[arg(long, default_value_t = 11)]
        connections: usize,
    },
    /// Measure how much gets through to a server.
    Throughput {
        #[arg(long)]
        to: SocketAddr,
        #[arg(long)]
        token: String,
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
        #[arg(long)]
        token: String,
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
        /// The nodes reach each other by IPv6.
        #[arg(long)]
        ipv6: bool,
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
            token,
            connections: at_once,
        } => {
            // Of both families, as Linux has it by default; where there is no IPv6 of the other alone.
            let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
                .or_else(|_| TcpListener::bind(("0.0.0.0", port)));
            let guests = Guests { token, at_once };
            told(listener.and_then(|listener| benchmark::serve(&listener, &guests, seconds(time))))
        }
        What::Throughput {
            to,
            token,
            streams,
            seconds: time,
            patience,
        } => {
            let server = server(to, token, patience);
            told(
                benchmark::throughput(&server, streams, seconds(time))
                    .map_err(|error| format!("{to}: {error}")),
            )
        }
        What::Latency {
            to,
            token,
            seconds: time,
            patience,
        } => {
            let server = server(to, token, patience);
            told(
                benchmark::latency(&server, seconds(time))
                    .map_err(|error| format!("{to}: {error}")),
            )
        }
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
        What::Look {
            links,
            ipv6,
            networks,
        } => {
            let family = if ipv6 { Family::V6 } else { Family::V4 };
            told(wait(async {
                Ok::<_, anyhow::Error>(look::look(&links, &networks, family).await?)
            }))
        }
    }
}

fn server(address: SocketAddr, token: String, patience: u64) -> Server {
    Server {
        address,
        token,
        patience: Duration::from_secs(patience),
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
