//! `deploy-broker`: a namespace, accounts, rights, and the file that invites members.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use ipnet::Ipv4Net;
use jiff::Timestamp;
use serde_json::{Value, json};
use subm_install::broker::{self, InfoMap, Purpose, Settings};
use subm_install::cidr::Pool;
use subm_install::names::{
    BROKER, BROKER_ADMIN, BROKER_INFO_FILE, BROKER_NAMESPACE, CONNECTIVITY, IPSEC_PSK,
    SERVICE_DISCOVERY,
};
use subm_install::{BrokerInfo, ClusterId, Invitation, Object, backup_name};

use crate::broker::{Broker, read_info};
use crate::cli::{DeployBroker, KubeFlags};
use crate::cluster::{Cluster, kind, list_at, str_at};
use crate::commands::wait;
use crate::contexts::{self, Target};
use crate::error::Error;
use crate::output::print_objects;
use crate::status::Status;

/// Submariner's ranges, where nobody names others.
const GLOBALNET_RANGE: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(242, 0, 0, 0), 8);
const CLUSTERSET_IP_RANGE: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(243, 0, 0, 0), 8);
/// Global IPs of a member.
const GLOBALNET_SIZE: u32 = 65536;
/// Part of the cluster set IPs that a member gets, as in Go Submariner.
const CLUSTERSET_IP_SIZE: u32 = 4096;
/// For a namespace that is being terminated.
const TERMINATION: Duration = Duration::from_secs(300);
/// Bytes of a pre-shared key.
const PSK_SIZE: usize = 48;

pub(super) async fn run(kube: &KubeFlags, flags: &DeployBroker) -> Result<(), Error> {
    let settings = settings(kube, flags)?;
    let psk = flags
        .ipsec_psk_from
        .as_deref()
        .map(psk_of_file)
        .transpose()?;
    if flags.dry_run {
        let mut objects = broker::objects(&settings);
        objects.extend(
            settings
                .info_maps()
                .map(|map| map.object(&settings.namespace)),
        );
        objects.extend(broker::admission_policy(&settings.namespace));
        for id in &flags.per_cluster {
            objects.extend(broker::member_objects(&settings.namespace, id, None));
        }
        print_objects("broker", &objects)?;
        return Ok(());
    }
    let target = contexts::selected(kube).await?;
    let url = flags
        .broker_url
        .clone()
        .unwrap_or_else(|| target.url.clone());
    let broker = Broker {
        cluster: target.cluster.clone(),
        namespace: settings.namespace.clone(),
    };

    let mut status = Status::new();
    wait::while_terminating(&mut status, &broker.cluster, &broker.namespace, TERMINATION).await?;
    let there = find(&broker.cluster, Some(&broker.namespace)).await?;
    let settings = match there {
        Some(there) => remember(&mut status, &there, flags, settings),
        None => settings,
    };
    if settings.globalnet.is_some() {
        status.warning(
            "This version gives no global IPs: clusters that join with Globalnet export nothing, and no other cluster reaches them. Deploy without \
             (--globalnet=false), and give clusters with the same addresses other networks",
        );
    }
    status.start("Setting up broker RBAC");
    if leads_nowhere(&url) {
        status.warning(format!(
            "The broker's URL {url} leads other machines to themselves; choose another with --broker-url"
        ));
    }
    let is_cr = |object: &Object| object.kind() == "Broker";
    let mut objects = broker::objects(&settings);
    objects.retain(|object| !is_cr(object));
    broker.cluster.apply_all(&objects).await?;
    apply_policy(&broker, &mut status).await?;

    status.start("Deploying the broker");
    let settings = address_ranges(&mut status, &broker, flags, settings).await?;
    for object in broker::objects(&settings).iter().filter(|o| is_cr(o)) {
        broker.cluster.apply(object).await?;
    }
    let psk = if settings.has(CONNECTIVITY) {
        shared_key(&broker, psk).await?
    } else {
        Value::Null
    };
    let admin = broker.filled_token(BROKER_ADMIN).await?;

    let info = BrokerInfo {
        broker_url: url,
        client_token: admin,
        ipsec_psk: psk,
        service_discovery: settings.has(SERVICE_DISCOVERY),
        components: settings.components.clone(),
        custom_domains: settings.custom_domains.clone(),
        invitation: None,
    };
    save(&mut status, BROKER_INFO_FILE, &info)?;
    for id in &flags.per_cluster {
        invite(&mut status, &broker, &target, flags, &info, id).await?;
    }
    status.end();
    Ok(())
}

/// Everything that can be wrong is wrong before anything is written.
fn settings(kube: &KubeFlags, flags: &DeployBroker) -> Result<Settings, Error> {
    let usage = |error: &dyn std::fmt::Display| Error::Usage(error.to_string());
    let components = match &*flags.components {
        [] => &[SERVICE_DISCOVERY, CONNECTIVITY].map(str::to_owned),
        asked => asked,
    };
    let components = broker::components(components).map_err(|error| usage(&error))?;
    let range = flags.globalnet_cidr_range.unwrap_or(GLOBALNET_RANGE);
    let size = flags.globalnet_cluster_size.unwrap_or(GLOBALNET_SIZE);
    let globalnet = match (flags.globalnet.unwrap_or_default(), Pool::new(range, size)) {
        (true, Ok(pool)) => Some(pool),
        (true, Err(error)) => {
            return Err(Error::Usage(format!(
                "invalid GlobalCIDR configuration: {error}"
            )));
        }
        (false, _) => None,
    };
    let range = flags
        .clusterset_ip_cidr_range
        .unwrap_or(CLUSTERSET_IP_RANGE);
    let clusterset_ip = Pool::new(range, CLUSTERSET_IP_SIZE)
        .map_err(|error| Error::Usage(format!("invalid ClustersetIP configuration: {error}")))?;
    let mut domains = flags.custom_domains.clone().unwrap_or_default();
    domains.retain(|domain| !domain.is_empty());
    Ok(Settings {
        namespace: kube
            .namespace
            .clone()
            .unwrap_or_else(|| BROKER_NAMESPACE.to_owned()),
        components,
        custom_domains: domains,
        globalnet,
        clusterset_ip,
        clusterset_ip_enabled: flags.enable_clusterset_ip.unwrap_or_default(),
    })
}

/// What a second run does not name stays as the Broker object has it: a run for another reason is no wish to change it.
fn remember(
    status: &mut Status,
    there: &Value,
    flags: &DeployBroker,
    mut settings: Settings,
) -> Settings {
    let texts = |pointer: &str| -> Vec<String> {
        let texts = list_at(there, pointer).iter().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    };
    // Go subctl sorts nothing.
    let set = |list: &[String]| list.iter().cloned().collect::<BTreeSet<_>>();
    let mut keep = |what: &str, asked: bool, have: Vec<String>, wanted: &mut Vec<String>| {
        if !asked && !have.is_empty() {
            *wanted = have;
        } else if asked && set(wanted) != set(&have) {
            let words = |list: &[String]| match list {
                [] => "none".to_owned(),
                list => list.join(", "),
            };
            status.success(format!(
                "{what} have changed: {}, before {}; members have what they joined with until they `join` again",
                words(wanted),
                words(&have)
            ));
        }
    };
    let mut components = texts("/spec/components");
    components.retain(|name| [SERVICE_DISCOVERY, CONNECTIVITY].contains(&&**name));
    keep(
        "The broker's components",
        !flags.components.is_empty(),
        components,
        &mut settings.components,
    );
    keep(
        "The broker's custom domains",
        flags.custom_domains.is_some(),
        texts("/spec/defaultCustomDomains"),
        &mut settings.custom_domains,
    );
    settings
}

fn leads_nowhere(url: &str) -> bool {
    let host = url
        .parse::<http::Uri>()
        .ok()
        .and_then(|uri| uri.host().map(str::to_owned))
        .unwrap_or_default();
    host == "localhost" || host.starts_with("127.") || host == "[::1]"
}

/// Writes the ConfigMaps with who has which addresses, and returns the settings as they are then: what members have been given
/// stays theirs. Go subctl says nothing when another range on a second run has no effect, and its Broker has the range that was
/// asked for.
async fn address_ranges(
    status: &mut Status,
    broker: &Broker,
    flags: &DeployBroker,
    mut settings: Settings,
) -> Result<Settings, Error> {
    for wanted in settings.info_maps() {
        let purpose = wanted.purpose;
        // A second run for another reason, such as an invitation, is no wish to change it.
        let asked = match purpose {
            Purpose::Globalnet => {
                flags.globalnet.is_some()
                    || flags.globalnet_cidr_range.is_some()
                    || flags.globalnet_cluster_size.is_some()
            }
            Purpose::ClustersetIp => {
                flags.enable_clusterset_ip.is_some() || flags.clusterset_ip_cidr_range.is_some()
            }
        };
        if broker
            .cluster
            .create(&wanted.object(&settings.namespace))
            .await?
        {
            continue;
        }
        let stands = broker
            .change_info(purpose, |there| {
                let was = there.clone();
                if asked {
                    there.ask(&wanted);
                }
                Ok((was, there.clone()))
            })
            .await?;
        let Some((was, stands)) = stands else {
            continue;
        };
        let words = |map: &InfoMap| {
            let range = map.pool.as_ref().map(|pool| pool.range().to_string());
            format!(
                "range {}, enabled: {}",
                range.as_deref().unwrap_or("none"),
                map.enabled
            )
        };
        if stands != was {
            status.success(format!(
                "ConfigMap {} has changed ({})",
                purpose.map_name(),
                words(&stands)
            ));
        }
        if stands.enabled != was.enabled {
            for id in broker.members(None).await? {
                status.warning(format!(
                    "Cluster {id:?} joined before ConfigMap {} changed; let it `join` again",
                    purpose.map_name()
                ));
            }
        }
        let range = |map: &InfoMap| map.pool.as_ref().map(Pool::range);
        let differs =
            stands.enabled != wanted.enabled || wanted.enabled && range(&stands) != range(&wanted);
        if asked && differs {
            status.warning(format!(
                "ConfigMap {} stays as it is ({}): members have addresses of it",
                purpose.map_name(),
                words(&stands)
            ));
        }
        settings.take(stands);
    }
    Ok(settings)
}

async fn apply_policy(broker: &Broker, status: &mut Status) -> Result<(), Error> {
    let served = broker
        .cluster
        .served_version(
            "admissionregistration.k8s.io",
            "validatingadmissionpolicies",
            &["v1"],
        )
        .await?;
    if served.is_none() {
        status.warning(
            "This API server has no ValidatingAdmissionPolicy (Kubernetes 1.30 has): members can alter each other's objects on the broker",
        );
        return Ok(());
    }
    for object in broker::admission_policy(&broker.namespace) {
        broker.cluster.apply(&object).await?;
    }
    Ok(())
}

/// The key of all cables: the one given, else the one that was there, else a new one. A new key at each run, as Go subctl makes
/// it, would cut off members that joined before.
async fn shared_key(broker: &Broker, given: Option<Value>) -> Result<Value, Error> {
    let namespace = Some(&*broker.namespace);
    if let Some(given) = given {
        let bytes = crate::broker::decoded_bytes(&given["data"]["psk"]).ok_or_else(|| {
            Error::Usage("the file of --ipsec-psk-from has no IPsec PSK".to_owned())
        })?;
        return broker
            .cluster
            .apply(&broker::psk_secret(&broker.namespace, &bytes))
            .await;
    }
    if let Some(there) = broker
        .cluster
        .get(&kind::SECRETS, namespace, IPSEC_PSK)
        .await?
    {
        return Ok(there);
    }
    let key: [u8; PSK_SIZE] = rand::random();
    broker
        .cluster
        .apply(&broker::psk_secret(&broker.namespace, &key))
        .await
}

fn psk_of_file(path: &Path) -> Result<Value, Error> {
    let info = read_info(path)?;
    if str_at(&info.ipsec_psk, "/data/psk").is_empty() {
        return Err(Error::Usage(format!("{} has no IPsec PSK", path.display())));
    }
    Ok(info.ipsec_psk)
}

/// Writes the file, readable by its owner alone; one that was there is kept beside it.
pub(super) fn save(status: &mut Status, name: &str, info: &BrokerInfo) -> Result<(), Error> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    status.start(format!("Saving broker info to file {name:?}"));
    let path = Path::new(name);
    let failed = |what: &'static str| {
        move |source| Error::File {
            path: path.to_owned(),
            what,
            source,
        }
    };
    if path.exists() {
        let backup = free(backup_name(name, Timestamp::now()));
        std::fs::rename(path, &backup).map_err(failed("cannot be kept as a backup"))?;
        status.success(format!("Backed up previous file {name:?} to {backup:?}"));
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed("cannot be written"))?;
    file.write_all(info.encode().as_bytes())
        .map_err(failed("cannot be written"))?;
    status.end();
    Ok(())
}

/// The name, or where a file has it, as after two runs within a second, the name with the first number that none has.
fn free(name: String) -> String {
    if !Path::new(&name).exists() {
        return name;
    }
    let mut numbered = (1u64..).map(|number| format!("{name}.{number}"));
    let other = numbered.find(|name| !Path::new(name).exists());
    other.unwrap_or(name)
}

/// A file for one member: its account, its addresses, a token that expires.
async fn invite(
    status: &mut Status,
    broker: &Broker,
    target: &Target,
    flags: &DeployBroker,
    whole: &BrokerInfo,
    id: &ClusterId,
) -> Result<(), Error> {
    status.start(format!("Inviting cluster {:?}", id.as_str()));
    for object in broker::member_objects(&broker.namespace, id, None) {
        // The token comes of a request; a Secret's would never expire.
        if object.kind() != "Secret" {
            broker.cluster.create(&object).await?;
        }
    }
    let cidr = async |purpose| {
        let allocated = broker.change_info(purpose, |map| allocate(map, id)).await?;
        Ok::<_, Error>(allocated.flatten())
    };
    let global_cidr = cidr(Purpose::Globalnet).await?;
    let clusterset_ip_cidr = cidr(Purpose::ClustersetIp).await?;
    let clusterset_ip_enabled = broker
        .info(Purpose::ClustersetIp)
        .await?
        .is_some_and(|map| map.enabled);
    let (token, expires) = token(
        &broker.cluster,
        &broker.namespace,
        &id.account(),
        flags.invitation_ttl,
    )
    .await?;
    let mut info = whole.clone();
    info.client_token = token_as_secret(
        &whole.client_token,
        &broker.namespace,
        &id.account(),
        &token,
    );
    info.invitation = Some(Invitation {
        cluster_id: id.clone(),
        expires,
        global_cidr,
        clusterset_ip_cidr,
        clusterset_ip_enabled,
    });
    save(status, &format!("broker-info-{id}.subm"), &info)?;
    status.success(format!(
        "The invitation of {id} to {} expires at {expires}",
        target.name
    ));
    if let Some(words) = differs(flags.invitation_ttl, Timestamp::now(), expires) {
        status.warning(words);
    }
    Ok(())
}

/// What to say where the API server gave a token of another age than was asked for.
fn differs(asked: Duration, now: Timestamp, expires: Timestamp) -> Option<String> {
    const MINUTE: u64 = 60;
    let given = u64::try_from(expires.as_second() - now.as_second()).unwrap_or(0);
    (given.abs_diff(asked.as_secs()) > MINUTE).then(|| {
        format!(
            "That is not the {} min that were asked for, but {} min: the API server gives tokens no other age (its flag \
             --service-account-max-token-expiration; ten minutes at least)",
            asked.as_secs() / MINUTE,
            given.div_ceil(MINUTE)
        )
    })
}

fn allocate(map: &mut InfoMap, id: &ClusterId) -> Result<Option<String>, Error> {
    // Cluster set IPs can be switched on per service; global IPs are for all or none.
    let wanted = map.enabled || map.purpose == Purpose::ClustersetIp;
    let Some(pool) = map.pool.as_mut().filter(|_| wanted) else {
        return Ok(None);
    };
    let cidr = match pool.of(id.as_str()) {
        Some(cidr) => cidr,
        None => pool
            .allocate(id.as_str(), None)
            .map_err(|error| Error::Taken(error.to_string()))?,
    };
    Ok(Some(cidr.to_string()))
}

async fn token(
    cluster: &Cluster,
    namespace: &str,
    account: &str,
    ttl: Duration,
) -> Result<(String, Timestamp), Error> {
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": ttl.as_secs().max(600)},
    });
    let answer = cluster
        .post_to(&kind::ACCOUNTS, namespace, account, "token", &request)
        .await?;
    let token = str_at(&answer, "/status/token").to_owned();
    let expires = str_at(&answer, "/status/expirationTimestamp").parse();
    match expires {
        Ok(expires) if !token.is_empty() => Ok((token, expires)),
        _ => Err(Error::Server {
            doing: format!("a request for a token of {account}"),
            code: 201,
            message: "the answer has no token".to_owned(),
        }),
    }
}

/// In the form in which the file has the admin's, so that Go subctl can read it.
fn token_as_secret(admin: &Value, namespace: &str, account: &str, token: &str) -> Value {
    use base64::Engine as _;
    let base64 = |text: &str| base64::prelude::BASE64_STANDARD.encode(text);
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": format!("{account}-invitation"),
            "namespace": namespace,
            "annotations": {"kubernetes.io/service-account.name": account},
        },
        "type": "kubernetes.io/service-account-token",
        "data": {
            "ca.crt": admin["data"]["ca.crt"],
            "namespace": base64(namespace),
            "token": base64(token),
        },
    })
}

/// The Broker object of a cluster, with its namespace.
pub(super) async fn find(
    cluster: &Cluster,
    namespace: Option<&str>,
) -> Result<Option<Value>, Error> {
    let brokers = cluster.list(&kind::BROKERS, namespace, "").await?;
    Ok(brokers
        .into_iter()
        .find(|broker| crate::cluster::name(broker) == BROKER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_overwrites_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().join("file.time").display().to_string();
        for wanted in ["file.time", "file.time.1", "file.time.2"] {
            let free = free(name.clone());
            assert!(free.ends_with(wanted), "{free}");
            std::fs::write(&free, "").unwrap();
        }
    }

    #[test]
    fn a_token_of_another_age_is_said_to_be_one() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let in_seconds = |more: i64| Timestamp::from_second(1_000_000 + more).unwrap();
        let hour = Duration::from_secs(3600);
        assert_eq!(differs(hour, now, in_seconds(3599)), None);
        let words = differs(Duration::from_secs(60), now, in_seconds(600)).unwrap();
        assert!(
            words.contains("not the 1 min that were asked for, but 10 min"),
            "{words}"
        );
        assert!(differs(hour, now, in_seconds(1800)).is_some());
    }
}
