//! The admission policy of the broker: what one member may not do to another, and that Go Lighthouse's writes pass.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use subm_subctl::broker::{Access, Broker, read_info};
use subm_subctl::cluster::{Kind, kind};
use subm_subctl::error::Error;
use subm_test_support::{Cluster, eventually};

use crate::common::{Desk, SOON, TURN, TokenController};

const BROKER: &str = "submariner-k8s-broker";
/// Go Lighthouse knows this version only.
const GO_IMPORTS: Kind = Kind::new("multicluster.x-k8s.io", "v1alpha1", "serviceimports");

/// A broker with two members, each with its own account.
struct Set {
    c1: Broker,
    c2: Broker,
    admin: Broker,
    _tokens: TokenController,
    _desk: Desk,
    _cluster: Cluster,
    // Dropped last.
    _turn: tokio::sync::MutexGuard<'static, ()>,
}

async fn set() -> Result<Set> {
    let turn = TURN.lock().await;
    let cluster = Cluster::start().await?;
    let desk = Desk::new(&[("broker", &cluster)])?;
    let tokens = TokenController::start(&cluster, BROKER).await?;
    let run = desk
        .good("deploy-broker --per-cluster c1,c2 --invitation-ttl 1h")
        .await?;
    ensure!(
        run.err
            .contains(" ✓ The invitation of c1 to kind-broker expires at "),
        "{run:#?}"
    );
    let of_file = |name: &str| -> Result<Broker> {
        let info = read_info(&desk.path(name))?;
        let access = Access {
            url: info.broker_url.clone(),
            namespace: BROKER.to_owned(),
            token: info.token().unwrap_or_default(),
            ca: info.ca(),
            insecure: false,
        };
        Ok(access.connect()?)
    };
    let set = Set {
        c1: of_file("broker-info-c1.subm")?,
        c2: of_file("broker-info-c2.subm")?,
        admin: of_file("broker-info.subm")?,
        _tokens: tokens,
        _desk: desk,
        _cluster: cluster,
        _turn: turn,
    };
    // A policy counts from when the API server has compiled it.
    eventually(SOON, || async {
        match set
            .c1
            .cluster
            .create_value(&kind::LEASES, &lease("cluster-c2"))
            .await
        {
            Err(Error::Refused { message, .. })
                if message.contains("its Lease is named after it") =>
            {
                Ok(())
            }
            Ok(_) => {
                set.admin
                    .cluster
                    .delete(&kind::LEASES, Some(BROKER), "cluster-c2")
                    .await?;
                anyhow::bail!("not yet")
            }
            Err(error) => Err(error.into()),
        }
    })
    .await?;
    Ok(set)
}

fn lease(name: &str) -> Value {
    json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name, "namespace": BROKER}, "spec": {}})
}

fn slice(name: &str, id: &str) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": BROKER, "labels": {
            "endpointslice.kubernetes.io/managed-by": "lighthouse-agent.submariner.io",
            "multicluster.kubernetes.io/source-cluster": id,
            "submariner-io/clusterID": id,
            "submariner-io/originatingNamespace": "sample",
        }},
        "addressType": "IPv4", "endpoints": [{"addresses": ["10.96.1.1"]}], "ports": [],
    })
}

/// As Go Lighthouse posts it, status and all.
fn aggregate(name: &str, id: &str) -> Value {
    json!({
        "apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ServiceImport",
        "metadata": {"name": name, "namespace": BROKER, "annotations": {
            "multicluster.kubernetes.io/service-name": "web",
            "lighthouse.submariner.io/sourceNamespace": "sample",
            "lighthouse.submariner.io/use-clusterset-ip": "false",
            format!("timestamp.submariner.io/{id}"): "1795466855000000000",
        }},
        "spec": {"type": "ClusterSetIP", "ports": [], "sessionAffinity": "None"},
        "status": {"clusters": [{"cluster": id}]},
    })
}

fn record(name: &str, id: &str) -> Value {
    json!({
        "apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ServiceImport",
        "metadata": {"name": name, "namespace": BROKER, "labels": {
            "multicluster.kubernetes.io/source-cluster": id, "multicluster.kubernetes.io/service-name": "web",
            "lighthouse.submariner.io/sourceNamespace": "sample",
        }},
        "spec": {"type": "ClusterSetIP", "ports": [], "ips": ["10.96.1.1"]},
    })
}

fn cluster(name: &str, id: &str) -> Value {
    json!({
        "apiVersion": "submariner.io/v1", "kind": "Cluster", "metadata": {"name": name, "namespace": BROKER},
        "spec": {"cluster_id": id, "cluster_cidr": ["10.8.0.0/16"], "service_cidr": [], "global_cidr": [], "color_codes": ["blue"]},
    })
}

fn endpoint(name: &str, id: &str) -> Value {
    json!({
        "apiVersion": "submariner.io/v1", "kind": "Endpoint", "metadata": {"name": name, "namespace": BROKER},
        "spec": {"cluster_id": id, "cable_name": format!("submariner-cable-{id}-172-18-0-4"), "subnets": []},
    })
}

impl Set {
    async fn read(&self, kind: &Kind, name: &str) -> Result<Value> {
        Ok(self
            .admin
            .cluster
            .get(kind, Some(BROKER), name)
            .await?
            .unwrap_or_default())
    }

    /// `who` reads the object, changes it and puts it back.
    async fn put(
        &self,
        who: &Broker,
        kind: &Kind,
        name: &str,
        subresource: &str,
        change: impl Fn(&mut Value),
    ) -> Result<(), Error> {
        let mut object = who
            .cluster
            .get(kind, Some(BROKER), name)
            .await?
            .unwrap_or_default();
        change(&mut object);
        who.cluster
            .replace(kind, subresource, &object)
            .await
            .map(drop)
    }
}

/// Refused by the policy, in words that name what is whose.
fn refused<T: std::fmt::Debug>(what: &str, answer: Result<T, Error>) -> Result<()> {
    match answer {
        Err(Error::Refused { message, .. })
            if message.contains("may write only what is its own") =>
        {
            Ok(())
        }
        other => anyhow::bail!("{what}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d4_a_member_cannot_touch_what_is_anothers() -> Result<()> {
    let set = set().await?;
    let (own, other) = (&set.c1.cluster, &set.c2.cluster);
    let space = Some(BROKER);

    // What agents would take for something else.
    for label in [
        "kubernetes.io/service-name",
        "lighthouse.submariner.io/derived-from",
    ] {
        let mut odd = slice("web-x0", "c1");
        odd["metadata"]["labels"][label] = json!("payments");
        refused(label, own.create_value(&kind::SLICES, &odd).await)?;
    }
    for name in [
        "0",
        "web-sampler",
        "web-sample-x",
        "web-sample-2345678901234",
    ] {
        refused(
            "an aggregate under another name",
            own.create_value(&GO_IMPORTS, &aggregate(name, "c1")).await,
        )?;
    }

    for name in [
        "web-sample-east-c1",
        "web-other-c1",
        "web-sample-12345678901-c1",
    ] {
        refused(
            "a record under a name that another cluster may need",
            own.create_value(&GO_IMPORTS, &record(name, "c1")).await,
        )?;
    }
    let longer = "web-sample-1234567890-c1";
    own.create_value(&GO_IMPORTS, &record(longer, "c1")).await?;
    own.delete(&GO_IMPORTS, space, longer).await?;

    // Objects with one owner: made by it, changed by it, deleted by it; by nobody else.
    let owned: [(&Kind, Value, Value, &str); 5] = [
        (
            &kind::SLICES,
            slice("web-x1", "c1"),
            slice("web-x2", "c1"),
            "web-x1",
        ),
        (
            &GO_IMPORTS,
            record("web-sample-c1", "c1"),
            record("web-sample-1234567890-c1", "c1"),
            "web-sample-c1",
        ),
        (
            &kind::LEASES,
            lease("cluster-c1"),
            lease("cluster-c1"),
            "cluster-c1",
        ),
        (
            &kind::CLUSTERS,
            cluster("c1", "c1"),
            cluster("c1", "c1"),
            "c1",
        ),
        (
            &kind::ENDPOINTS,
            endpoint("c1-submariner-cable-c1-172-18-0-4", "c1"),
            endpoint("c1-submariner-cable-c1-172-18-0-5", "c1"),
            "c1-submariner-cable-c1-172-18-0-4",
        ),
    ];
    for (kind, mine, fake, name) in &owned {
        refused(
            &format!("{kind} in another's name"),
            other.create_value(kind, fake).await,
        )?;
        own.create_value(kind, mine).await?;
        let annotate = |object: &mut Value| object["metadata"]["annotations"]["a"] = json!("b");
        refused(
            &format!("changing {kind}"),
            set.put(&set.c2, kind, name, "", annotate).await,
        )?;
        set.put(&set.c1, kind, name, "", annotate).await?;
        refused(
            &format!("deleting {kind}"),
            other.delete(kind, space, name).await,
        )?;
    }
    let steal = |object: &mut Value| {
        object["metadata"]["labels"]["multicluster.kubernetes.io/source-cluster"] = json!("c2");
        object["metadata"]["labels"]["submariner-io/clusterID"] = json!("c2");
    };
    refused(
        "taking a slice over",
        set.put(&set.c2, &kind::SLICES, "web-x1", "", steal).await,
    )?;
    refused(
        "giving a slice away",
        set.put(&set.c1, &kind::SLICES, "web-x1", "", steal).await,
    )?;
    let unlabel = |object: &mut Value| object["metadata"]["labels"] = json!({});
    refused(
        "a record that becomes an aggregate",
        set.put(&set.c1, &GO_IMPORTS, "web-sample-c1", "", unlabel)
            .await,
    )?;
    refused(
        "a record in the place of an aggregate",
        other
            .create_value(&GO_IMPORTS, &record("web-sample", "c2"))
            .await,
    )?;
    let mut half = slice("half", "c2");
    half["metadata"]["labels"]["submariner-io/clusterID"] = json!("c1");
    refused(
        "a slice with two ids",
        other.create_value(&kind::SLICES, &half).await,
    )?;
    refused(
        "another's name for a Cluster",
        other
            .create_value(&kind::CLUSTERS, &cluster("c3", "c2"))
            .await,
    )?;
    for (kind, _, _, name) in &owned {
        ensure!(own.delete(kind, space, name).await?, "{kind}");
    }

    // Of what else is in the namespace, members see nothing.
    for kind in [
        kind::SECRETS,
        kind::CONFIG_MAPS,
        kind::ACCOUNTS,
        kind::ROLE_BINDINGS,
    ] {
        let answer = own.list(&kind, space, "").await;
        ensure!(
            matches!(answer, Err(Error::Refused { .. })),
            "{kind}: {answer:?}"
        );
    }
    // The admin is not a member.
    set.admin
        .cluster
        .create_value(&kind::SLICES, &slice("web-x3", "c1"))
        .await?;
    ensure!(
        set.admin
            .cluster
            .delete(&kind::SLICES, space, "web-x3")
            .await?
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregate_is_shared_and_each_part_has_its_owner() -> Result<()> {
    let set = set().await?;
    let space = Some(BROKER);
    let name = "web-sample";
    let stamp = |id: &str, value: &str| {
        let (key, value) = (format!("timestamp.submariner.io/{id}"), json!(value));
        move |object: &mut Value| {
            object["metadata"]["annotations"][&key] = value.clone();
        }
    };
    let unstamp = |id: &str| {
        let key = format!("timestamp.submariner.io/{id}");
        move |object: &mut Value| {
            object["metadata"]["annotations"]
                .as_object_mut()
                .map(|annotations| annotations.remove(&key));
        }
    };
    let listing = |ids: &[&str]| {
        let clusters: Vec<Value> = ids.iter().map(|id| json!({"cluster": id})).collect();
        move |object: &mut Value| {
            object["status"] = json!({"clusters": clusters});
        }
    };

    // Go Lighthouse's way: POST with status, then the status by itself, then ports.
    let mut foreign = aggregate(name, "c1");
    foreign["metadata"]["annotations"]["timestamp.submariner.io/c2"] = json!("1");
    refused(
        "another's timestamp in a new aggregate",
        set.c1.cluster.create_value(&GO_IMPORTS, &foreign).await,
    )?;
    set.c1
        .cluster
        .create_value(&GO_IMPORTS, &aggregate(name, "c1"))
        .await?;
    refused(
        "deleting what another has just made",
        set.c2.cluster.delete(&GO_IMPORTS, space, name).await,
    )?;
    set.put(&set.c1, &GO_IMPORTS, name, "status", listing(&["c1"]))
        .await?;
    let ports =
        |object: &mut Value| object["spec"]["ports"] = json!([{"port": 8080, "protocol": "TCP"}]);
    set.put(&set.c1, &GO_IMPORTS, name, "", ports).await?;

    // The second exporter joins.
    refused(
        "leaving before coming",
        set.c2.cluster.delete(&GO_IMPORTS, space, name).await,
    )?;
    refused(
        "a list without the first",
        set.put(&set.c2, &GO_IMPORTS, name, "status", listing(&["c2"]))
            .await,
    )?;
    refused(
        "a list with a stranger",
        set.put(&set.c2, &GO_IMPORTS, name, "status", listing(&["c1", "c3"]))
            .await,
    )?;
    set.put(&set.c2, &GO_IMPORTS, name, "status", listing(&["c1", "c2"]))
        .await?;
    refused(
        "another's timestamp",
        set.put(&set.c2, &GO_IMPORTS, name, "", stamp("c1", "1"))
            .await,
    )?;
    refused(
        "removing another's timestamp",
        set.put(&set.c2, &GO_IMPORTS, name, "", unstamp("c1")).await,
    )?;
    refused(
        "a stranger's timestamp",
        set.put(&set.c2, &GO_IMPORTS, name, "", stamp("c3", "1"))
            .await,
    )?;
    set.put(&set.c2, &GO_IMPORTS, name, "", stamp("c2", "2"))
        .await?;
    let affinity = |object: &mut Value| object["spec"]["sessionAffinity"] = json!("ClientIP");
    set.put(&set.c2, &GO_IMPORTS, name, "", affinity).await?;

    // Ways around.
    let disguise = |object: &mut Value| {
        object["metadata"]["labels"]["multicluster.kubernetes.io/source-cluster"] = json!("c2");
    };
    refused(
        "an aggregate that becomes a record",
        set.put(&set.c2, &GO_IMPORTS, name, "", disguise).await,
    )?;
    let rename = |object: &mut Value| {
        object["metadata"]["annotations"]["multicluster.kubernetes.io/service-name"] =
            json!("bank");
    };
    refused(
        "another service's aggregate",
        set.put(&set.c2, &GO_IMPORTS, name, "", rename).await,
    )?;
    let orphan = |object: &mut Value| {
        object["metadata"]["ownerReferences"] =
            json!([{"apiVersion": "v1", "kind": "Pod", "name": "gone", "uid": "1"}]);
    };
    refused(
        "a death sentence by the garbage collector",
        set.put(&set.c2, &GO_IMPORTS, name, "", orphan).await,
    )?;
    let immortal =
        |object: &mut Value| object["metadata"]["finalizers"] = json!(["c2.example/for-ever"]);
    refused(
        "a finalizer",
        set.put(&set.c2, &GO_IMPORTS, name, "", immortal).await,
    )?;
    let hide =
        |object: &mut Value| object["metadata"]["labels"]["submariner-io/clusterID"] = json!("c1");
    refused(
        "a label that makes c1 skip it",
        set.put(&set.c2, &GO_IMPORTS, name, "", hide).await,
    )?;
    // Through the other version, too.
    refused(
        "v1beta1",
        set.put(&set.c2, &kind::IMPORTS, name, "status", listing(&["c2"]))
            .await,
    )?;
    refused(
        "deleting with another in it",
        set.c2.cluster.delete(&kind::IMPORTS, space, name).await,
    )?;
    let object = set.read(&GO_IMPORTS, name).await?;
    ensure!(
        object["status"]["clusters"] == json!([{"cluster": "c1"}, {"cluster": "c2"}]),
        "{object}"
    );

    // The first leaves, then the last, who deletes it.
    set.put(&set.c1, &GO_IMPORTS, name, "status", listing(&["c2"]))
        .await?;
    set.put(&set.c1, &GO_IMPORTS, name, "", unstamp("c1"))
        .await?;
    refused(
        "deleting after leaving",
        set.c1.cluster.delete(&GO_IMPORTS, space, name).await,
    )?;
    ensure!(set.c2.cluster.delete(&GO_IMPORTS, space, name).await?);
    Ok(())
}

/// Definitions of Go Submariner have no status subresource in places: then the status is in every write.
#[tokio::test(flavor = "multi_thread")]
async fn server_side_apply_of_one_part_passes() -> Result<()> {
    let set = set().await?;
    let apply = async |who: &Broker, id: &str| {
        let object = json!({
            "apiVersion": "multicluster.x-k8s.io/v1beta1", "kind": "ServiceImport",
            "metadata": {"name": "web-sample", "namespace": BROKER, "annotations": {format!("timestamp.submariner.io/{id}"): "1"}},
            "spec": {"type": "ClusterSetIP", "ports": []},
        });
        who.cluster
            .apply_value(&kind::IMPORTS, "", &object, &format!("agent-{id}"))
            .await?;
        let status = json!({
            "apiVersion": "multicluster.x-k8s.io/v1beta1", "kind": "ServiceImport",
            "metadata": {"name": "web-sample", "namespace": BROKER},
            "status": {"clusters": [{"cluster": id}]},
        });
        who.cluster
            .apply_value(&kind::IMPORTS, "status", &status, &format!("agent-{id}"))
            .await?;
        anyhow::Ok(())
    };
    apply(&set.c1, "c1").await?;
    apply(&set.c2, "c2").await?;
    let object = set.read(&kind::IMPORTS, "web-sample").await?;
    ensure!(
        object["status"]["clusters"] == json!([{"cluster": "c1"}, {"cluster": "c2"}]),
        "{object}"
    );
    // Applying nothing takes the own part away, and no more.
    let nothing = json!({
        "apiVersion": "multicluster.x-k8s.io/v1beta1", "kind": "ServiceImport",
        "metadata": {"name": "web-sample", "namespace": BROKER}, "status": {"clusters": []},
    });
    set.c1
        .cluster
        .apply_value(&kind::IMPORTS, "status", &nothing, "agent-c1")
        .await?;
    let object = set.read(&kind::IMPORTS, "web-sample").await?;
    ensure!(
        object["status"]["clusters"] == json!([{"cluster": "c2"}]),
        "{object}"
    );

    Ok(())
}
