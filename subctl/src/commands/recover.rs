//! `recover-broker-info`: the file again, from what is on the broker.

use serde_json::Value;
use subm_install::BrokerInfo;
use subm_install::broker::token_secret_name;
use subm_install::names::{
    BROKER_ADMIN, BROKER_INFO_FILE, CONNECTIVITY, IPSEC_PSK, SERVICE_DISCOVERY,
};

use crate::broker::{Access, Broker, decoded};
use crate::cli::{KubeFlags, RecoverBrokerInfo};
use crate::cluster::{annotation, kind, list_at, namespace, str_at};
use crate::commands::{MEMBER, deploy_broker};
use crate::contexts;
use crate::error::Error;
use crate::status::Status;

pub(super) async fn run(kube: &KubeFlags, flags: &RecoverBrokerInfo) -> Result<(), Error> {
    let target = contexts::selected(kube).await?;
    let mut status = Status::new();
    status.start(format!(
        "Checking if the Broker is installed on the Submariner cluster {:?}",
        target.name
    ));
    let here = deploy_broker::find(&target.cluster, kube.namespace.as_deref()).await?;
    let (broker, cr, url) = if let Some(cr) = here {
        let broker = Broker {
            cluster: target.cluster.clone(),
            namespace: namespace(&cr).unwrap_or_default().to_owned(),
        };
        (broker, cr, target.url.clone())
    } else {
        status.note(
            "Broker not found. Trying to connect to the Broker installed on a different cluster",
        );
        elsewhere(&mut status, &target.cluster).await?
    };
    status.start("Retrieving data to reconstruct broker-info.subm");
    let token = admin_token(&broker).await?;
    let psk = match broker
        .cluster
        .get(&kind::SECRETS, Some(&broker.namespace), IPSEC_PSK)
        .await?
    {
        Some(psk) => psk,
        // Go Submariner's members have it.
        None => target
            .cluster
            .get(&kind::SECRETS, MEMBER, IPSEC_PSK)
            .await?
            .unwrap_or_default(),
    };
    let texts = |pointer: &str| {
        let texts = list_at(&cr, pointer).iter().filter_map(Value::as_str);
        texts.map(str::to_owned).collect::<Vec<_>>()
    };
    let components = texts("/spec/components");
    if psk.is_null() && components.iter().any(|component| component == CONNECTIVITY) {
        status.warning(format!(
            "No Secret {IPSEC_PSK} on the broker or here: run this with the context of a cluster that has joined, or cables cannot be built"
        ));
    }
    let info = BrokerInfo {
        broker_url: flags.broker_url.clone().unwrap_or(url),
        client_token: token,
        ipsec_psk: psk,
        service_discovery: components
            .iter()
            .any(|component| component == SERVICE_DISCOVERY),
        components,
        custom_domains: texts("/spec/defaultCustomDomains"),
        invitation: None,
    };
    status.success(format!(
        "Successfully retrieved the data. Writing it to {BROKER_INFO_FILE}"
    ));
    deploy_broker::save(&mut status, BROKER_INFO_FILE, &info)
}

/// The broker that a member has joined.
async fn elsewhere(
    status: &mut Status,
    member: &crate::cluster::Cluster,
) -> Result<(Broker, Value, String), Error> {
    let Some(access) = Access::of_member(member).await? else {
        return Err(Error::NotFound(
            "this cluster has no broker and has joined none; name the broker's cluster with --context".to_owned(),
        ));
    };
    let broker = access.connect()?;
    let cr = deploy_broker::find(&broker.cluster, Some(&broker.namespace)).await;
    match cr {
        Ok(Some(cr)) => {
            status.success(format!(
                "Found Broker installed on a different cluster in namespace {}",
                broker.namespace
            ));
            Ok((broker, cr, access.url))
        }
        Ok(None) => Err(Error::NotFound(format!(
            "the broker at {} is no more",
            access.url
        ))),
        // As it should be: what a member may read must not let it become the admin.
        Err(Error::Refused { message, .. }) => Err(Error::Refused {
            doing: "this cluster's account the broker's secrets".to_owned(),
            message: format!(
                "{message}; run this with the context of the broker's cluster, {}",
                access.url
            ),
        }),
        Err(error) => Err(error),
    }
}

/// Ours, or that of Go subctl, whose name ends with random letters.
async fn admin_token(broker: &Broker) -> Result<Value, Error> {
    let namespace = Some(&*broker.namespace);
    let filled = |secret: &Value| decoded(&secret["data"]["token"]).is_some();
    let ours = broker
        .cluster
        .get(&kind::SECRETS, namespace, &token_secret_name(BROKER_ADMIN))
        .await?;
    if let Some(ours) = ours.filter(filled) {
        return Ok(ours);
    }
    let secrets = broker.cluster.list(&kind::SECRETS, namespace, "").await?;
    let of_admin = |secret: &Value| {
        str_at(secret, "/type") == "kubernetes.io/service-account-token"
            && annotation(secret, "kubernetes.io/service-account.name") == BROKER_ADMIN
    };
    secrets.into_iter().find(|secret| of_admin(secret) && filled(secret)).ok_or_else(|| {
        Error::NotFound(format!(
            "no Secret in namespace {} has a token of {BROKER_ADMIN}; run `subctl deploy-broker` again",
            broker.namespace
        ))
    })
}
