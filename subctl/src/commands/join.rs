//! `join BROKER-INFO`: service discovery in a cluster, and the cluster's place on the broker.

mod on_broker;

use ipnet::IpNet;
use subm_install::broker::Addresses;
use subm_install::coredns::parse_custom;
use subm_install::images::{Images, REPOSITORY, parse_override};
use subm_install::member::{self, BrokerAccess, ClustersetIp, Replicas, Settings};
use subm_install::names::{
    AGENT, BROKER_INFO_FILE, BROKER_NAMESPACE, CONNECTIVITY, DNS, SERVICE_DISCOVERY,
};
use subm_install::network::{self, Network};
use subm_install::{BrokerInfo, ClusterId, Object, broker};

use crate::broker::{Access, read_info};
use crate::cli::{Join, KubeFlags};
use crate::cluster::{Cluster, cluster_uid, name, str_at};
use crate::commands::export::{member_id, namespace_rules};
use crate::commands::{member_dns, operator, wait};
use crate::contexts::{self, Target};
use crate::error::Error;
use crate::output::{print, print_objects};
use crate::prompt;
use crate::status::Status;

/// Kubernetes of the first EndpointSlices in v1.
const OLDEST_MINOR: u32 = 21;
/// What the cluster set is called where nobody asks (KEP-2149 wants a name).
const CLUSTER_SET: &str = "submariner";

pub(super) async fn run(kube: &KubeFlags, flags: &Join) -> Result<(), Error> {
    let info = read_info(&flags.broker_info)?;
    let plan = Plan::new(flags, &info)?;
    let target = contexts::selected(kube).await?;
    let mut status = Status::new();
    greet(&mut status, flags, &info);
    if flags.repository.is_none() && flags.image_override.is_empty() {
        status.warning(
            "No images of this release are published: build and push them (`make images`, docs/images.md), and name the place with --repository, or pods will not start",
        );
    }
    let known = member_id(&target.cluster).await?;
    let id = cluster_id(flags, &info, &target, known.as_deref())?;
    check_version(&mut status, &target.cluster, flags).await?;
    check_not_a_member_as_another(known.as_deref(), &id)?;
    status.success(format!(
        "The cluster of context {:?} joins as {:?}",
        target.context,
        id.as_str()
    ));
    operator::check_at_rest(&target.cluster).await?;
    let network = discover(&mut status, &target.cluster, flags).await?;

    let access = Access {
        url: flags
            .broker_url
            .clone()
            .unwrap_or_else(|| info.broker_url.clone()),
        namespace: info
            .namespace()
            .unwrap_or_else(|| BROKER_NAMESPACE.to_owned()),
        token: info.token().unwrap_or_default(),
        ca: info.ca(),
        insecure: !flags.check_broker_certificate,
    };
    let broker = access.connect()?;
    let cluster_uid = cluster_uid(&target.cluster).await?;
    status.start("Gathering relevant information from Broker");
    let joining = on_broker::Joining {
        id: &id,
        cluster_uid: &cluster_uid,
        was_member: known.is_some(),
    };
    let place = on_broker::find(&mut status, &broker, flags, &info, &joining).await?;
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
        addresses: Addresses {
            pods: network.pods.iter().map(ToString::to_string).collect(),
            services: network.services.iter().map(ToString::to_string).collect(),
            global: Vec::new(),
        },
        network_plugin: network.plugin.to_string(),
        components: vec![SERVICE_DISCOVERY.to_owned()],
        custom_domains: plan.custom_domains,
        clusterset_ip: ClustersetIp {
            enabled: flags
                .enable_clusterset_ip
                .unwrap_or(place.clusterset_ip_enabled),
            cidr: None,
            by_service: flags.clusterset_ip_by_service,
        },
        globalnet: false,
        images: plan.images,
        namespaces_allowed,
        debug: flags.pod_debug,
        replicas: Replicas::default(),
        proxies: flags.proxies.env(),
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
        print_objects(&target.name, &member::properties(&id, CLUSTER_SET))?;
        return Ok(());
    }

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

    status.start("Deploying service discovery");
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
    status.start("Forwarding the domains of the cluster set to Lighthouse");
    let custom = flags
        .coredns_custom_configmap
        .as_deref()
        .and_then(parse_custom);
    member_dns::forward(&mut status, &target.cluster, &settings.domains(), custom).await?;
    if flags.wait {
        status.start("Waiting for service discovery to run");
        wait::for_deployments(&target.cluster, &[AGENT, DNS], flags.timeout).await?;
        status.success("Service discovery is up and running");
    } else {
        status
            .success("Service discovery is deployed; `subctl show versions` tells whether it runs");
    }
    status.end();
    Ok(())
}

/// What can be decided without asking anybody.
struct Plan {
    images: Images,
    custom_domains: Vec<String>,
}

impl Plan {
    fn new(flags: &Join, info: &BrokerInfo) -> Result<Self, Error> {
        let components = if flags.components.is_empty() {
            &info.components
        } else {
            &flags.components
        };
        let components =
            broker::components(components).map_err(|error| Error::Usage(error.to_string()))?;
        if !components
            .iter()
            .any(|component| component == SERVICE_DISCOVERY)
        {
            return Err(Error::Usage(format!(
                "there is nothing to install: {CONNECTIVITY} comes with the data plane, which this release does not have; \
                 name {SERVICE_DISCOVERY} in --components"
            )));
        }
        if let Some(text) = &flags.coredns_custom_configmap
            && parse_custom(text).is_none()
        {
            return Err(Error::Usage(format!(
                "--coredns-custom-configmap {text:?} is not [NAMESPACE/]NAME"
            )));
        }
        let overrides = flags
            .image_override
            .iter()
            .map(|text| parse_override(text))
            .collect::<Result<_, _>>();
        let custom_domains = if flags.custom_domains.is_empty() {
            &info.custom_domains
        } else {
            &flags.custom_domains
        };
        Ok(Self {
            images: Images {
                repository: flags
                    .repository
                    .clone()
                    .unwrap_or_else(|| REPOSITORY.to_owned()),
                version: flags
                    .version
                    .clone()
                    .unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
                overrides: overrides.map_err(|error| Error::Usage(error.to_string()))?,
            },
            custom_domains: custom_domains.clone(),
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
    let components = if flags.components.is_empty() {
        &info.components
    } else {
        &flags.components
    };
    if components.iter().any(|component| component == CONNECTIVITY) {
        status.warning(
            "The connectivity component comes with the data plane, which this release does not have: it is not installed, \
             service discovery is",
        );
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

async fn check_version(status: &mut Status, cluster: &Cluster, flags: &Join) -> Result<(), Error> {
    let version = cluster.version().await?;
    let mut numbers = version
        .trim_start_matches('v')
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if major > 1 || minor >= OLDEST_MINOR {
        return Ok(());
    }
    let message = format!(
        "Service discovery requires Kubernetes 1.{OLDEST_MINOR} or later, this is {version}"
    );
    if flags.ignore_requirements {
        status.warning(message);
        Ok(())
    } else {
        Err(Error::Usage(
            message + " (--ignore-requirements goes on nevertheless)",
        ))
    }
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

async fn discover(status: &mut Status, cluster: &Cluster, flags: &Join) -> Result<Network, Error> {
    status.start("Discovering network details");
    let mut network = crate::facts::network(cluster).await;
    let given = |cidrs: &Option<crate::cli::Cidrs>| {
        cidrs
            .as_ref()
            .map(|cidrs| cidrs.0.clone())
            .unwrap_or_default()
    };
    for mismatch in network.overridden(&given(&flags.clustercidr), &given(&flags.servicecidr)) {
        status.warning(mismatch.to_string());
    }
    status.end();
    fill(status, &mut network.pods, "Pod", "--clustercidr")?;
    fill(status, &mut network.services, "Service", "--servicecidr")?;
    if !flags.dry_run {
        print(&describe(&network))?;
    }
    Ok(network)
}

fn fill(status: &mut Status, nets: &mut Vec<IpNet>, what: &str, flag: &str) -> Result<(), Error> {
    if !nets.is_empty() {
        return Ok(());
    }
    if !prompt::can_ask() {
        status.warning(format!(
            "Could not determine the {what} CIDR of the cluster; give it with {flag}"
        ));
        return Ok(());
    }
    let answer = prompt::ask(&format!("What's the {what} CIDR for your cluster?"), flag)?;
    *nets =
        network::parse(&answer).map_err(|error| Error::Usage(format!("{answer:?}: {error}")))?;
    Ok(())
}

/// As Go subctl prints it.
pub(super) fn describe(network: &Network) -> String {
    let list = |nets: &[IpNet]| network::joined(nets).replace(", ", " ");
    format!(
        "        Network plugin:  {}\n        Service CIDRs:   [{}]\n        Cluster CIDRs:   [{}]\n",
        network.plugin,
        list(&network.services),
        list(&network.pods)
    )
}

/// What the cluster promises the others to stay inside: nothing that a new node would break.
fn declared(addresses: &Addresses, pods_by_node: bool) -> Addresses {
    let mut declared = addresses.clone();
    if pods_by_node {
        declared.pods.clear();
    }
    declared
}
