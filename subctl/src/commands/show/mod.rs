//! `show`: how clusters are, one after the other, as tables or as data.

mod brokers;
mod gateways;
mod networks;
mod services;
mod versions;

use serde_json::{Map, Value, json};

use crate::cli::{KubeFlags, Show, What};
use crate::cluster::{Cluster, kind};
use crate::commands::export::member_id;
use crate::contexts::{self, Target};
use crate::error::Error;
use crate::output::{Format, print, print_data};
use crate::status::Status;
use crate::table::Table;

/// What one sub-command found in one cluster.
struct Section {
    /// Its key in JSON and YAML.
    key: &'static str,
    body: Body,
}

enum Body {
    Table(Table),
    /// Words of its own, and the same for programs.
    Text {
        text: String,
        data: Value,
    },
    /// Nothing, and why that is no failure.
    Remark(String),
    /// Nothing, and that is one.
    Missing(String),
}

const NOT_INSTALLED: &str = "Submariner connectivity feature is not installed";

pub(super) async fn run(kube: &KubeFlags, flags: &Show) -> Result<(), Error> {
    let (targets, warnings) = contexts::all(kube).await?;
    let mut status = Status::new();
    for warning in warnings {
        status.warning(warning);
    }
    let many = targets.len() > 1;
    let mut failures = Vec::new();
    let mut data = Vec::new();
    for target in &targets {
        // A kubeconfig also leads to the broker, and to clusters that have nothing to do with it.
        let of_members = matches!(flags.what, What::Exports | What::Imports);
        if many && of_members && matches!(member_id(&target.cluster).await, Ok(None)) {
            status.note(format!(
                "{:?} is no member of a cluster set: left out",
                target.context
            ));
            continue;
        }
        if many && !flags.output.is_data() {
            print(&format!("Cluster {:?}\n", target.name))?;
        }
        match cluster(kube, flags, target, &mut status).await {
            Ok(found) => data.push(found),
            Err(error) => failures.push(error),
        }
        if many && !flags.output.is_data() {
            print("\n")?;
        }
    }
    if flags.output.is_data() {
        print_data(&Value::Array(data), flags.output)?;
    }
    Error::of_clusters(failures, targets.len())
}

/// One cluster: the rest is shown when a part fails.
async fn cluster(
    kube: &KubeFlags,
    flags: &Show,
    target: &Target,
    status: &mut Status,
) -> Result<Value, Error> {
    const ALL: [What; 6] = [
        What::Brokers,
        What::Connections,
        What::Endpoints,
        What::Gateways,
        What::Networks,
        What::Versions,
    ];
    let (parts, all) = match flags.what {
        What::All => (&ALL[..], true),
        ref one => (std::slice::from_ref(one), false),
    };
    let mut data = Map::from_iter([
        ("cluster".to_owned(), json!(target.name)),
        ("context".to_owned(), json!(target.context)),
    ]);
    let mut failure = None;
    for (at, part) in parts.iter().enumerate() {
        if at > 0 && !flags.output.is_data() {
            print("\n")?;
        }
        status.start(header(*part));
        let section = match section(*part, kube, &target.cluster, status).await {
            Ok(section) => section,
            Err(error) => {
                failure.get_or_insert(status.fail(error));
                continue;
            }
        };
        match section.body {
            Body::Table(table) => {
                status.end();
                data.insert(section.key.to_owned(), table.to_json());
                if !flags.output.is_data() {
                    print(&table.render(flags.output == Format::Wide))?;
                }
            }
            Body::Text { text, data: value } => {
                status.end();
                data.insert(section.key.to_owned(), value);
                if !flags.output.is_data() {
                    print(&text)?;
                }
            }
            Body::Remark(remark) => {
                status.warning(remark);
                status.end();
                data.insert(section.key.to_owned(), json!([]));
            }
            // Of all parts, those that are not installed are no failure.
            Body::Missing(remark) if all => {
                status.warning(remark);
                status.end();
                data.insert(section.key.to_owned(), json!([]));
            }
            Body::Missing(remark) => {
                data.insert(section.key.to_owned(), json!([]));
                failure.get_or_insert(status.fail(Error::NotFound(remark)));
            }
        }
    }
    // What was found is part of the answer even if something was not.
    match failure {
        Some(error) if !flags.output.is_data() || data.len() <= 2 => Err(error),
        _ => Ok(Value::Object(data)),
    }
}

fn header(what: What) -> &'static str {
    match what {
        What::All => "Showing all",
        What::Brokers => "Detecting broker(s)",
        What::Connections => "Showing Connections",
        What::Endpoints => "Showing Endpoints",
        What::Gateways => "Showing Gateways",
        What::Networks => "Showing Network details",
        What::Versions => "Showing versions",
        What::Exports => "Showing exported services",
        What::Imports => "Showing imported services",
    }
}

async fn section(
    what: What,
    kube: &KubeFlags,
    cluster: &Cluster,
    status: &mut Status,
) -> Result<Section, Error> {
    match what {
        What::All | What::Brokers => brokers::show(cluster).await,
        What::Connections => gateways::connections(cluster).await,
        What::Endpoints => gateways::endpoints(cluster).await,
        What::Gateways => gateways::gateways(cluster).await,
        What::Networks => networks::show(cluster).await,
        What::Versions => versions::show(cluster).await,
        What::Exports => services::exported(kube, cluster, status).await,
        What::Imports => services::imported(kube, cluster).await,
    }
}

/// The data plane's objects are looked at only where it is installed; Gateways tell, whoever writes them.
async fn has_connectivity(cluster: &Cluster) -> Result<bool, Error> {
    let daemon_set = cluster
        .get(&kind::DAEMON_SETS, super::MEMBER, "submariner-gateway")
        .await?;
    Ok(daemon_set.is_some()
        || !cluster
            .list(&kind::GATEWAYS, super::MEMBER, "")
            .await?
            .is_empty())
}
