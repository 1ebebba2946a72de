//! The cluster's own DNS, pointed at Lighthouse and back. What it says is `subm_install::coredns`'s business.

use serde_json::{Value, json};
use subm_install::coredns::{
    COREFILE_KEY, CUSTOM_KEY, Forward, Found, Place, choose, custom_section, openshift_servers,
    with_section, without_section,
};
use subm_install::names::DNS;

use crate::cluster::{Cluster, PAUSE, kind, list_at, str_at};
use crate::commands::MEMBER;
use crate::error::Error;
use crate::status::Status;

const OPENSHIFT_DNS: &str = "default";
/// Annotation of Lighthouse's Service: the custom ConfigMap that the user named, for the way back.
const CUSTOM_PLACE: &str = "submariner.io/coredns-custom-configmap";

/// Makes the cluster's DNS ask Lighthouse for the domains.
pub(super) async fn forward(
    status: &mut Status,
    cluster: &Cluster,
    domains: &[String],
    custom: Option<(&str, &str)>,
) -> Result<(), Error> {
    let service = cluster.get(&kind::SERVICES, MEMBER, DNS).await?;
    let address = service
        .as_ref()
        .and_then(|service| str_at(service, "/spec/clusterIP").parse().ok());
    let (Some(mut service), Some(server)) = (service, address) else {
        return Err(Error::NotFound(format!("Service {DNS} has no ClusterIP")));
    };
    let forward = Forward {
        domains: domains.to_vec(),
        server,
    };
    let Some(place) = choose(custom, &found(cluster).await?) else {
        status.warning(format!(
            "Found neither ConfigMap kube-system/coredns nor OpenShift's DNS: make the cluster's DNS forward {} to {server}, or name a \
             ConfigMap that its Corefile imports with --coredns-custom-configmap",
            domains.join(", ")
        ));
        status.undone();
        return Ok(());
    };
    if let Place::Custom { namespace, name } = &place {
        service["metadata"]["annotations"][CUSTOM_PLACE] = json!(format!("{namespace}/{name}"));
        cluster.replace(&kind::SERVICES, "", &service).await?;
    }
    write(cluster, &place, Some(&forward)).await?;
    Ok(())
}

/// Where something would be taken out, in words.
pub(super) async fn traces(cluster: &Cluster) -> Result<Vec<String>, Error> {
    let mut traces = Vec::new();
    for place in places(cluster).await? {
        if changed(cluster, &place, None).await?.is_some() {
            traces.push(words(&place));
        }
    }
    Ok(traces)
}

/// Takes out what [`forward`] put in, everywhere. Where that was, in words.
pub(super) async fn unforward(cluster: &Cluster) -> Result<Vec<String>, Error> {
    let mut cleaned = Vec::new();
    for place in places(cluster).await? {
        if write(cluster, &place, None).await? {
            cleaned.push(words(&place));
        }
    }
    Ok(cleaned)
}

fn words(place: &Place) -> String {
    match place {
        Place::Corefile { namespace, name } => {
            format!("the section of ConfigMap {namespace}/{name}")
        }
        Place::Custom { namespace, name } => {
            format!("the key {CUSTOM_KEY} of ConfigMap {namespace}/{name}")
        }
        Place::OpenShift => "the servers of OpenShift's DNS".to_owned(),
    }
}

/// Wherever it may have been.
async fn places(cluster: &Cluster) -> Result<Vec<Place>, Error> {
    let corefile = |namespace: &str, name: &str| Place::Corefile {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let mut places = vec![
        corefile("kube-system", "coredns"),
        corefile("openshift-dns", "dns-default"),
        Place::OpenShift,
    ];
    let service = cluster.get(&kind::SERVICES, MEMBER, DNS).await?;
    let custom = service
        .as_ref()
        .map(|service| crate::cluster::annotation(service, CUSTOM_PLACE));
    if let Some((namespace, name)) = custom.and_then(|custom| custom.split_once('/')) {
        places.push(Place::Custom {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        });
    }
    Ok(places)
}

async fn found(cluster: &Cluster) -> Result<Found, Error> {
    let map = async |namespace, name| {
        Ok::<_, Error>(
            cluster
                .get(&kind::CONFIG_MAPS, Some(namespace), name)
                .await?
                .is_some(),
        )
    };
    Ok(Found {
        coredns: map("kube-system", "coredns").await?,
        openshift: cluster
            .get(&kind::OPENSHIFT_DNS, None, OPENSHIFT_DNS)
            .await?
            .is_some(),
        microshift: map("openshift-dns", "dns-default").await?,
    })
}

/// Writes if something is to change, and again if somebody else wrote meanwhile. Whether something was written.
async fn write(cluster: &Cluster, place: &Place, forward: Option<&Forward>) -> Result<bool, Error> {
    const TRIES: usize = 10;
    for _ in 0..TRIES {
        let Some((object, new)) = changed(cluster, place, forward).await? else {
            return Ok(false);
        };
        let kind = match place {
            Place::OpenShift => kind::OPENSHIFT_DNS,
            Place::Corefile { .. } | Place::Custom { .. } => kind::CONFIG_MAPS,
        };
        let done = if new {
            cluster.create_value(&kind, &object).await
        } else {
            cluster.replace(&kind, "", &object).await
        };
        match done {
            Ok(_) => return Ok(true),
            Err(Error::Taken(_)) => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(error),
        }
    }
    Err(Error::Taken(format!(
        "{} changes faster than it can be written",
        words(place)
    )))
}

/// The object as it should be, and whether it is new; nothing if it is so already.
async fn changed(
    cluster: &Cluster,
    place: &Place,
    forward: Option<&Forward>,
) -> Result<Option<(Value, bool)>, Error> {
    match place {
        Place::Corefile { namespace, name } => {
            let Some(mut map) = cluster
                .get(&kind::CONFIG_MAPS, Some(namespace), name)
                .await?
            else {
                return Ok(None);
            };
            let old = str_at(&map, "/data/Corefile").to_owned();
            let new = forward.map_or_else(
                || without_section(&old),
                |forward| with_section(&old, forward),
            );
            let new = new
                .map_err(|error| Error::Usage(format!("ConfigMap {namespace}/{name}: {error}")))?;
            map["data"][COREFILE_KEY] = json!(new);
            Ok((new != old).then_some((map, false)))
        }
        Place::Custom { namespace, name } => {
            let there = cluster
                .get(&kind::CONFIG_MAPS, Some(namespace), name)
                .await?;
            let new = there.is_none();
            if new && forward.is_none() {
                return Ok(None);
            }
            let mut map = there.unwrap_or_else(|| {
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": name}, "data": {}})
            });
            let old = map["data"][CUSTOM_KEY].clone();
            match forward {
                Some(forward) => map["data"][CUSTOM_KEY] = json!(custom_section(forward)),
                None => {
                    map["data"]
                        .as_object_mut()
                        .map(|data| data.remove(CUSTOM_KEY));
                }
            }
            Ok((map["data"][CUSTOM_KEY] != old).then_some((map, new)))
        }
        Place::OpenShift => {
            let Some(mut dns) = cluster
                .get(&kind::OPENSHIFT_DNS, None, OPENSHIFT_DNS)
                .await?
            else {
                return Ok(None);
            };
            let old = list_at(&dns, "/spec/servers").to_vec();
            let new = openshift_servers(&old, forward);
            let differs = new != old;
            dns["spec"]["servers"] = json!(new);
            Ok(differs.then_some((dns, false)))
        }
    }
}
