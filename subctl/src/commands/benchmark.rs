//! `benchmark`: what the network between clusters does, measured by pods of our own.

use std::net::SocketAddr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use subm_install::member::nettest::Stand;
use subm_install::names::SETTINGS;
use subm_nettest::report::{Latency, Throughput};

use super::nettest::{self, Pods, Site, nodes};
use crate::cli::{Benchmark, KubeFlags, Measure};
use crate::cluster::{Cluster, kind, str_at};
use crate::commands::MEMBER;
use crate::contexts;
use crate::error::Error;
use crate::output::{print, print_data};
use crate::status::Status;
use crate::table::{Cell, Column, Table};

/// iperf3's.
const PORT: u16 = 5201;
/// Connections at once, as upstream has iperf3 make.
const STREAMS: u32 = 10;

const THROUGHPUT: [Column; 6] = [
    Column::new("FROM", "from"),
    Column::new("TO", "to"),
    Column::new("STREAMS", "streams"),
    Column::new("SECONDS", "seconds"),
    Column::new("TRANSFERRED", "transferred"),
    Column::new("BITRATE", "bitrate"),
];
/// netperf's columns; microseconds.
const LATENCY: [Column; 7] = [
    Column::new("FROM", "from"),
    Column::new("TO", "to"),
    Column::new("MIN us", "min"),
    Column::new("MEAN us", "mean"),
    Column::new("MAX us", "max"),
    Column::new("STDDEV us", "stddev"),
    Column::new("TRANSACTIONS/s", "rate"),
];

/// A member and its nodes.
struct Member {
    site: Site,
    id: String,
    gateway: String,
    other: Option<String>,
}

/// From where to where.
struct Way<'a> {
    from: (&'a Member, &'a str),
    to: (&'a Member, &'a str),
    title: String,
}

pub(super) async fn run(kube: &KubeFlags, what: &Measure) -> Result<(), Error> {
    let (name, flags) = match what {
        Measure::Throughput(flags) => ("throughput", flags),
        Measure::Latency(flags) => ("latency", flags),
    };
    let mut status = Status::new();
    let from = Member::look(&contexts::selected(kube).await?.cluster, flags).await?;
    let to = match flags.to(kube) {
        Some(kube) => Some(Member::look(&contexts::selected(&kube).await?.cluster, flags).await?),
        None => None,
    };
    let mut data = Vec::new();
    for way in ways(name, &from, to.as_ref(), &mut status)? {
        let text = !flags.output.is_data();
        if text {
            print(&format!("{}\n", way.title))?;
        }
        let time = flags.probes.validation_timeout + flags.duration * 2;
        let limits = (time, flags.probes.verbose);
        let (table, figures) = nettest::with(limits, async |pods| {
            measure(pods, what, &way, flags.duration, &mut status).await
        })
        .await?;
        if text {
            print(&table.render(false))?;
        }
        data.push(json!({
            "test": name,
            "from": {"cluster": way.from.0.id, "node": way.from.1},
            "to": {"cluster": way.to.0.id, "node": way.to.1},
            "figures": figures,
        }));
    }
    if flags.output.is_data() {
        print_data(&Value::Array(data), flags.output)?;
    }
    status.end();
    Ok(())
}

impl Member {
    async fn look(cluster: &Cluster, flags: &Benchmark) -> Result<Self, Error> {
        let settings = cluster.get(&kind::CONFIG_MAPS, MEMBER, SETTINGS).await?;
        let site = Site::of(cluster, &flags.probes).await?;
        let settings = settings.unwrap_or_default();
        let id = str_at(&settings, "/data/clusterID").to_owned();
        if !str_at(&settings, "/data/globalCIDR").is_empty() {
            return Err(Error::Usage(format!(
                "cluster {id:?} has joined with Globalnet, whose addresses this version does not measure between"
            )));
        }
        let pods = cluster.list(&kind::PODS, MEMBER, "").await?;
        let all = cluster.list(&kind::NODES, None, "").await?;
        let Some(gateway) = nodes::gateway(&pods) else {
            return Err(Error::NotFound(format!(
                "cluster {id:?} has no active gateway: `subctl diagnose deployment` says why"
            )));
        };
        Ok(Self {
            other: nodes::other(&all, gateway).map(str::to_owned),
            gateway: gateway.to_owned(),
            site,
            id,
        })
    }
}

/// As upstream: between gateways and between other nodes, or from another node to the gateway where there is one cluster.
fn ways<'a>(
    test: &str,
    from: &'a Member,
    to: Option<&'a Member>,
    status: &mut Status,
) -> Result<Vec<Way<'a>>, Error> {
    let Some(to) = to else {
        let Some(other) = &from.other else {
            return Err(Error::NotFound(format!(
                "cluster {:?} has no node but its gateway to measure from",
                from.id
            )));
        };
        return Ok(vec![Way {
            title: format!(
                "Performing {test} tests from Non-Gateway pod to Gateway pod on cluster {:?}",
                from.id
            ),
            from: (from, other),
            to: (from, &from.gateway),
        }]);
    };
    if from.id == to.id {
        return Err(Error::Usage(format!(
            "both contexts lead to cluster {:?}; leave --tocontext out to measure within it",
            from.id
        )));
    }
    let title = |kind: &str| {
        format!(
            "Performing {test} tests from {kind} pod on cluster {:?} to {kind} pod on cluster {:?}",
            from.id, to.id
        )
    };
    let mut ways = vec![Way {
        title: title("Gateway"),
        from: (from, &from.gateway),
        to: (to, &to.gateway),
    }];
    match (&from.other, &to.other) {
        (Some(one), Some(other)) => ways.push(Way {
            title: title("Non-Gateway"),
            from: (from, one),
            to: (to, other),
        }),
        _ => status.warning(
            "Not both clusters have a node that is no gateway: from gateway to gateway alone",
        ),
    }
    Ok(ways)
}

async fn measure(
    pods: &Pods,
    what: &Measure,
    way: &Way<'_>,
    time: Duration,
    status: &mut Status,
) -> Result<(Table, Value), Error> {
    let words = |text: String| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
    let (from, to) = (way.from, way.to);
    let seconds = time.as_secs();
    let token = nettest::token();
    let serve = format!(
        "serve --port {PORT} --token {token} --connections {} --seconds {}",
        STREAMS + 1,
        pods.left().as_secs()
    );
    let server = pods
        .start(&to.0.site, to.1, Stand::Pod, &words(serve))
        .await?;
    let address = SocketAddr::new(pods.address(&server).await?, PORT);
    if pods.verbose {
        status.note(format!("The server on node {} has address {address}", to.1));
    }
    let row = |figures: [String; 4]| {
        let mut row: Vec<Cell> = vec![from.1.into(), to.1.into()];
        row.extend(figures.map(Cell::Text));
        row
    };
    let options = format!("--to {address} --token {token} --seconds {seconds}");
    if matches!(what, Measure::Throughput(_)) {
        let asked = words(format!("throughput {options} --streams {STREAMS}"));
        let figures: Throughput = ask(pods, from, &asked).await?;
        let mut table = Table::new(&THROUGHPUT);
        table.push(row([
            figures.streams.to_string(),
            format!("{:.2}", figures.seconds),
            format!("{:.1} MBytes", figures.bytes as f64 / 1e6),
            format!("{:.1} Mbits/sec", figures.bits_per_second() / 1e6),
        ]));
        let mut data = json!(figures);
        data["bitsPerSecond"] = json!(figures.bits_per_second());
        return Ok((table, data));
    }
    let figures: Latency = ask(pods, from, &words(format!("latency {options}"))).await?;
    let mut table = Table::new(&LATENCY);
    let figure = |figure: f64| format!("{figure:.1}");
    let mut cells = row([
        figure(figures.min),
        figure(figures.mean),
        figure(figures.max),
        figure(figures.stddev),
    ]);
    cells.push(figure(figures.rate()).into());
    table.push(cells);
    let mut data = json!(figures);
    data["transactionsPerSecond"] = json!(figures.rate());
    Ok((table, data))
}

/// A client, and its answer.
async fn ask<T: DeserializeOwned>(
    pods: &Pods,
    from: (&Member, &str),
    words: &[String],
) -> Result<T, Error> {
    let client = pods.start(&from.0.site, from.1, Stand::Pod, words).await?;
    let answer = pods.answer(&client).await?;
    answer.map_err(|why| {
        Error::Broken(format!(
            "nothing could be measured from node {} of cluster {:?}: {why}; `subctl diagnose all` looks for what is broken on the way",
            from.1, from.0.id
        ))
    })
}
