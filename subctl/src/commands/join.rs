//! `join BROKER-INFO`: service discovery and connectivity in a cluster, and the cluster's place on the broker.

mod connectivity;
mod gateways;
mod kept;
mod networks;
mod on_broker;

use subm_install::broker::Addresses;
use subm_install::coredns::parse_custom;
use subm_install::images::{Images, REPOSITORY, parse_override};
use subm_install::member::cleanup::CLEANUP;
use subm_install::member::{self, BrokerAccess, ClustersetIp, Connectivity, Replicas, Settings};
use subm_install::names::{
    AGENT, BROKER_INFO_FILE, BROKER_NAMESPACE, CONNECTIVITY, DNS, GATEWAY, OPERATOR_NAMESPACE,
    ROUTE_AGENT, SERVICE_DISCOVERY,
};
use subm_install::{BrokerInfo, ClusterId, Object, broker};

use crate::broker::{Access, read_info};
use crate::cli::{Join, KubeFlags};
use crate::cluster::{Cluster, Kind, cluster_uid, kind, name, str_at};
use crate::commands::export::{member_id, namespace_rules};
use crate::commands::{leftovers, member_dns, operator, wait};
use crate::contexts::{self, Target};
use crate::error::Error;
use crate::output::print_objects;
use crate::prompt;
use crate::status::Status;
use networks::Need;

/// What the cluster set is called where nobody asks (KEP-2149 wants a name).
const CLUSTER_SET: &str = "submariner";

pub(super) async fn run(kube: &KubeFlags, flags: &Join) -> Result<(), Error> {
    let info = read_info(&flags.broker_info)?;
    let target = contexts::selected(kube).await?;
    let before = kept::of(&target.cluster).await?;
    let (flags, kept) = before.fill(flags)?;
    let flags = &flags;
    let plan = Plan::new(flags, &info)?;
    let mut status = Status::new();
    greet(&mut status, flags, &info);
    if !kept.is_empty() {
        status.success(format!(
            "As this cluster joined before, where no flag names another: {}",
            kept.join(" ")
        ));
    }
    let choices = &flags.choices;
    if choices.repository.is_none() && choices.image_override.is_none() {
        status.warning(
            "No images of this release are published: build and push them (`make images`, docs/images.md), and name the place with --repository, or pods will not start",
        );
    }
    if !flags.dry_run {
        // What is in it, be it the id, is not for long.
        wait::while_terminating(
            &mut status,
            &target.cluster,
            OPERATOR_NAMESPACE,
            flags.timeout,
        )
        .await?;
        status.end();
    }
    let access = access(flags, &info);
    check_not_a_member_elsewhere(&target.cluster, &access).await?;
    let known = member_id(&target.cluster).await?;
    let id = cluster_id(flags, &info, &target, known.as_deref())?;
    check_version(&mut status, &target.cluster, flags, plan.service_discovery).await?;
    check_not_a_member_as_another(known.as_deref(), &id)?;
    status.success(format!(
        "The cluster of context {:?} joins as {:?}",
        target.context,
        id.as_str()
    ));
    operator::check_at_rest(&target.cluster).await?;
    let mut new_gateways = Vec::new();
    let mut need = Need::Nice;
    if plan.connectivity.is_some() {
        operator::check_no_other_data_plane(&target.cluster).await?;
        let nodes = target.cluster.list(&kind::NODES, None, "").await?;
        new_gateways = gateways::find(&mut status, &nodes, flags)?;
        need = Need::All { nodes: nodes.len() };
    }
    let network = networks::discover(&mut status, &target.cluster, flags, need).await?;

    let broker = access.connect()?;
    let cluster_uid = cluster_uid(&target.cluster).await?;
    status.start("Gathering relevant information from Broker");
    let joining = on_broker::Joining {
        id: &id,
        cluster_uid: &cluster_uid,
        was_member: known.is_some(),
    };
    let place = on_broker::find(&mut status, &broker, flags, &info, &joining).await?;
    if let Some(cidr) = &place.global_cidr {
        status.warning(format!(
            "The broker has Globalnet (this cluster gets {cidr}), and this version gives no global IPs: what the cluster exports fails, and \
             nothing in it is reached. Where its networks are no other's, join with --globalnet=false"
        ));
    }
    let addresses = Addresses {
        pods: network.pods.iter().map(ToString::to_string).collect(),
        services: network.services.iter().map(ToString::to_string).collect(),
        global: place.global_cidr.iter().cloned().collect(),
    };
    if let Some(connectivity) = &plan.connectivity {
        let driver = connectivity.cable_driver;
        connectivity::warn_of_drivers(&mut status, &broker, &id, driver).await?;
        let go_on = flags.ignore_requirements;
        connectivity::check_networks(&mut status, &broker, &id, &addresses, go_on).await?;
    } else {
        connectivity::warn_of_networks(&mut status, &broker, &id, &addresses).await?;
    }
    status.end();

    let namespaces_allowed = match &flags.allow_namespaces {
        Some(names) => names
            .iter()
            .filter(|name| !name.is_empty())
            .cloned()
            .collect(),
        None => namespace_rules(&target.cluster).await?.allow,
    };
    let mut settings = Settings {
        cluster_id: id.clone(),
        broker: BrokerAccess {
            url: access.url.clone(),
            namespace: access.namespace.clone(),
            token: String::new(),
            expires: info
                .invitation
                .as_ref()
                .map(|invitation| invitation.expires),
            ca: access.ca.clone(),
            insecure: access.insecure,
            halt_on_certificate_error: true,
        },
        addresses,
        network_plugin: network.plugin.to_string(),
        service_discovery: plan.service_discovery,
        connectivity: plan.connectivity,
        custom_domains: plan.custom_domains,
        clusterset_ip: ClustersetIp {
            enabled: choices
                .enable_clusterset_ip
                .unwrap_or(place.clusterset_ip_enabled),
            cidr: None,
            by_service: choices.clusterset_ip_by_service.unwrap_or(false),
        },
        globalnet: place.global_cidr.is_some(),
        images: plan.images,
        namespaces_allowed,
        debug: choices.pod_debug.unwrap_or(false),
        replicas: Replicas::default(),
        proxies: choices.proxies.env(),
        choices: kept::record(choices),
    };
    if flags.dry_run {
        let declared = declared(&settings.addresses, network.pods_by_node);
        let record = broker::cluster_record(&access.namespace, &id, &cluster_uid, &declared);
        if info.invitation.is_none() {
            print_objects(
                "broker",
                &broker::member_objects(&access.namespace, &id, Some(&cluster_uid)),
            )?;
        }
        print_objects("broker", &[record])?;
        print_objects(&target.name, &member::objects(&settings))?;
        let labels: Vec<Object> = new_gateways
            .iter()
            .map(|node| member::gateway_label(node))
            .collect();
        print_objects(&target.name, &labels)?;
        print_objects(&target.name, &member::properties(&id, CLUSTER_SET))?;
        return Ok(());
    }

    no_cleanup(&mut status, &target.cluster, flags).await?;
    let given = on_broker::take(&mut status, &broker, flags, &info, &id, place).await?;
    settings.clusterset_ip.cidr = given.clusterset_ip_cidr;
    settings.globalnet = given.global_cidr.is_some();
    settings.addresses.global = given.global_cidr.into_iter().collect();

    status.start("Creating SA for cluster");
    settings.broker.token = on_broker::account(&broker, &info, &id, &cluster_uid).await?;
    status.start("Connecting to Broker");
    let own = Access {
        token: settings.broker.token.clone(),
        ..access
    };
    // As the member itself: what it may not do should show now.
    let own = own.connect()?;
    if network.pods_by_node {
        status.warning(
            "The pod CIDR is known for today's nodes only, so the other clusters cannot check this cluster's addresses; --clustercidr tells them",
        );
    }
    let declared = declared(&settings.addresses, network.pods_by_node);
    let record = broker::cluster_record(&own.namespace, &id, &cluster_uid, &declared);
    own.cluster.apply(&record).await?;

    gateways::label_all(&mut status, &target.cluster, &new_gateways).await?;
    let components = words(&settings);
    status.start(format!("Deploying {components}"));
    target
        .cluster
        .apply_all(&member::objects(&settings))
        .await?;
    let properties = member::properties(&id, CLUSTER_SET);
    for there in target.cluster.apply_all(&properties).await? {
        let ours = properties
            .iter()
            .find(|ours| ours.name() == name(&there))
            .map(Object::value);
        let wants = ours.map_or("", |ours| str_at(ours, "/spec/value"));
        let has = str_at(&there, "/spec/value");
        if has != wants {
            status.warning(format!(
                "ClusterProperty {} is somebody else's and stays: it says {has:?}, not {wants:?}",
                name(&there)
            ));
        }
    }
    if settings.service_discovery {
        status.start("Forwarding the domains of the cluster set to Lighthouse");
        let custom = choices
            .coredns_custom_configmap
            .as_deref()
            .and_then(parse_custom);
        member_dns::forward(&mut status, &target.cluster, &settings.domains(), custom).await?;
    }
    let verb = if settings.components().len() > 1 {
        "are"
    } else {
        "is"
    };
    if flags.wait {
        status.start(format!("Waiting for {components} to run"));
        wait::for_workloads(&target.cluster, &workloads(&settings), flags.timeout).await?;
        status.success(format!("{} {verb} up and running", capital(&components)));
    } else {
        status.success(format!(
            "{} {verb} deployed; `subctl show versions` tells what runs",
            capital(&components)
        ));
    }
    if settings.connectivity.is_some() {
        status.note("`subctl show connections` tells when the other clusters are connected");
    }
    status.end();
    Ok(())
}

/// Pods that clean up nodes would remove what is about to be made there.
async fn no_cleanup(status: &mut Status, cluster: &Cluster, flags: &Join) -> Result<(), Error> {
    if !leftovers::are_there(cluster).await? {
        return Ok(());
    }
    status.start("Removing what an interrupted uninstall left to clean up nodes");
    let left = leftovers::remove(cluster, flags.timeout).await?;
    if left.is_empty() {
        status.end();
        return Ok(());
    }
    Err(Error::Timeout(format!(
        "an `uninstall` was interrupted, and after {} s its pods still clean up nodes: {}. Nothing was written; \
         `kubectl -n {OPERATOR_NAMESPACE} delete pods -l {CLEANUP}=true --force` removes them, then `join` again",
        flags.timeout.as_secs(),
        left.join(", ")
    )))
}

/// What is installed.
fn words(settings: &Settings) -> String {
    let components = settings.components();
    components.join(" and ").replace('-', " ")
}

fn capital(words: &str) -> String {
    let (first, rest) = words.split_at(words.len().min(1));
    first.to_uppercase() + rest
}

/// Those that have to run.
fn workloads(settings: &Settings) -> Vec<(Kind, &'static str)> {
    let mut workloads = Vec::new();
    if settings.service_discovery {
        workloads.extend([AGENT, DNS].map(|name| (kind::DEPLOYMENTS, name)));
    }
    if settings.connectivity.is_some() {
        workloads.extend([GATEWAY, ROUTE_AGENT].map(|name| (kind::DAEMON_SETS, name)));
    }
    workloads
}

/// What can be decided without asking anybody.
struct Plan {
    service_discovery: bool,
    connectivity: Option<Connectivity>,
    images: Images,
    custom_domains: Vec<String>,
}

impl Plan {
    fn new(flags: &Join, info: &BrokerInfo) -> Result<Self, Error> {
        let choices = &flags.choices;
        let components = choices.components.as_ref().unwrap_or(&info.components);
        let components =
            broker::components(components).map_err(|error| Error::Usage(error.to_string()))?;
        let has = |name: &str| components.iter().any(|component| component == name);
        if components.is_empty() {
            return Err(Error::Usage(format!(
                "there is nothing to install; name {SERVICE_DISCOVERY} or {CONNECTIVITY} in --components"
            )));
        }
        let connectivity = has(CONNECTIVITY)
            .then(|| connectivity::settings(&choices.connectivity, info))
            .transpose()?;
        if let Some(text) = &choices.coredns_custom_configmap
            && parse_custom(text).is_none()
        {
            return Err(Error::Usage(format!(
                "--coredns-custom-configmap {text:?} is not [NAMESPACE/]NAME"
            )));
        }
        let overrides = choices
            .image_override
            .iter()
            .flatten()
            .map(|text| parse_override(text))
            .collect::<Result<_, _>>();
        let custom_domains = choices
            .custom_domains
            .as_ref()
            .unwrap_or(&info.custom_domains);
        Ok(Self {
            service_discovery: has(SERVICE_DISCOVERY),
            connectivity,
            images: Images {
                repository: choices
                    .repository
                    .clone()
                    .unwrap_or_else(|| REPOSITORY.to_owned()),
                version: choices
                    .version
                    .clone()
                    .unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
                overrides: overrides.map_err(|error| Error::Usage(error.to_string()))?,
            },
            // A list with one empty name is none.
            custom_domains: custom_domains
                .iter()
                .filter(|domain| !domain.is_empty())
                .cloned()
                .collect(),
        })
    }
}

fn greet(status: &mut Status, flags: &Join, info: &BrokerInfo) {
    let file = flags.broker_info.file_name().map_or_else(
        || BROKER_INFO_FILE.to_owned(),
        |name| name.to_string_lossy().into_owned(),
    );
    status.success(format!("{file} indicates broker is at {}", info.broker_url));
    if let Some(url) = &flags.broker_url {
        status.success(format!("Overriding broker URL using {url}"));
    }
}

/// The one that was given, that the invitation is for, that the cluster has as a member already (of Go Submariner too), or that
/// the kubeconfig's name of the cluster makes.
fn cluster_id(
    flags: &Join,
    info: &BrokerInfo,
    target: &Target,
    known: Option<&str>,
) -> Result<ClusterId, Error> {
    if let Some(invitation) = &info.invitation {
        return match &flags.clusterid {
            Some(id) if *id != invitation.cluster_id => Err(Error::Usage(format!(
                "{} invites cluster {}, not {id}",
                flags.broker_info.display(),
                invitation.cluster_id
            ))),
            _ => Ok(invitation.cluster_id.clone()),
        };
    }
    if let Some(id) = &flags.clusterid {
        return Ok(id.clone());
    }
    if let Some(id) = known.and_then(|known| ClusterId::new(known).ok()) {
        return Ok(id);
    }
    if let Some(id) = ClusterId::sanitised(&target.name) {
        return Ok(id);
    }
    let answer = prompt::ask("What is your cluster ID?", "--clusterid")?;
    ClusterId::new(&answer).map_err(|error| Error::Usage(error.to_string()))
}

async fn check_version(
    status: &mut Status,
    cluster: &Cluster,
    flags: &Join,
    service_discovery: bool,
) -> Result<(), Error> {
    // EndpointSlices of v1 are of 1.21; upstream's gateways say 1.19.
    let (what, oldest) = if service_discovery {
        ("Service discovery", 21)
    } else {
        ("Connectivity", 19)
    };
    let version = cluster.version().await?;
    let mut numbers = version
        .trim_start_matches('v')
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if major > 1 || minor >= oldest {
        return Ok(());
    }
    let message = format!("{what} requires Kubernetes 1.{oldest} or later, this is {version}");
    if flags.ignore_requirements {
        status.warning(message);
        Ok(())
    } else {
        Err(Error::Usage(
            message + " (--ignore-requirements goes on nevertheless)",
        ))
    }
}

/// The way to the broker that the file and the flags name.
fn access(flags: &Join, info: &BrokerInfo) -> Access {
    Access {
        url: flags
            .broker_url
            .clone()
            .unwrap_or_else(|| info.broker_url.clone()),
        namespace: info
            .namespace()
            .unwrap_or_else(|| BROKER_NAMESPACE.to_owned()),
        token: info.token().unwrap_or_default(),
        ca: info.ca(),
        insecure: flags.choices.check_broker_certificate == Some(false),
    }
}

/// A cluster that moved would leave what it exported on the old broker, for the members there to go on asking for.
async fn check_not_a_member_elsewhere(cluster: &Cluster, given: &Access) -> Result<(), Error> {
    let have = Access::of_member(cluster).await?;
    let Some(have) = have.filter(|have| !have.is_same_broker(given)) else {
        return Ok(());
    };
    Err(Error::Taken(format!(
        "this cluster is a member of another broker: that at {}, namespace {}, and not that at {}, namespace {} \
         (a broker is known by its namespace, and by its URL or its certificate authority). Run `subctl uninstall` first, which takes it \
         off the old one",
        have.url, have.namespace, given.url, given.namespace
    )))
}

/// A cluster whose id changes would leave its old objects on the broker for ever.
fn check_not_a_member_as_another(known: Option<&str>, id: &ClusterId) -> Result<(), Error> {
    let Some(have) = known.filter(|known| *known != id.as_str()) else {
        return Ok(());
    };
    Err(Error::Taken(format!(
        "this cluster is a member as {have:?} already; run `subctl uninstall` first, or use --clusterid {have}"
    )))
}

/// What the cluster promises the others to stay inside: nothing that a new node would break.
fn declared(addresses: &Addresses, pods_by_node: bool) -> Addresses {
    let mut declared = addresses.clone();
    if pods_by_node {
        declared.pods.clear();
    }
    declared
}
