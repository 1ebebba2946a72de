//! Invitations, global CIDRs, and what is others'; the broker is in the first cluster.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use subm_subctl::cluster::{Cluster as Api, kind, str_at};
use subm_test_support::Cluster;

use crate::common::{Desk, TURN, TokenController, api, names};
use crate::objects::namespace;

const BROKER: &str = "submariner-k8s-broker";
const MEMBER: &str = "submariner-operator";

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_for_one_cluster_and_its_token_for_its_objects() -> Result<()> {
    let _turn = TURN.lock().await;
    let clusters = Cluster::start_many(2).await?;
    let [first, second] = &clusters[..] else {
        unreachable!()
    };
    let desk = Desk::new(&[("a", first), ("b", second)])?;
    let _tokens = TokenController::start(first, BROKER).await?;
    let (on_broker, in_b) = (api(first).await?, api(second).await?);

    desk.good("deploy-broker --per-cluster b --globalnet --globalnet-cidr-range 120.0.0.0/8 --enable-clusterset-ip --components service-discovery")
        .await?;
    desk.fails(
        "--context kind-b join broker-info-b.subm --clusterid c",
        2,
        "invites cluster b, not c",
    )
    .await?;
    let run = desk
        .good("--context kind-b join broker-info-b.subm")
        .await?;
    ensure!(!run.err.contains("connectivity component"), "{run:#?}");
    ensure!(
        run.err
            .contains("this version gives no global IPs: what the cluster exports fails"),
        "{run:#?}"
    );
    ensure!(
        run.err
            .contains(" ⚠ Found neither ConfigMap kube-system/coredns"),
        "{run:#?}"
    );
    // It is for one cluster: two agents of one id would delete each other's objects for ever.
    desk.fails(
        "--context kind-a join broker-info-b.subm",
        6,
        "existing joined cluster with the same ID",
    )
    .await?;
    // What another implementation of the API says of the cluster stays its own.
    let property = "cluster.clusterset.k8s.io";
    let mut theirs = in_b
        .get(&kind::PROPERTIES, None, property)
        .await?
        .context("the property")?;
    theirs["metadata"]["labels"] = Value::Null;
    theirs["spec"]["value"] = json!("blue");
    in_b.replace(&kind::PROPERTIES, "", &theirs).await?;
    let run = desk
        .good("--context kind-b join broker-info-b.subm")
        .await?;
    ensure!(run.err.contains("it says \"blue\", not \"b\""), "{run:#?}");
    let after = in_b.get(&kind::PROPERTIES, None, property).await?;
    ensure!(after.is_some_and(|after| str_at(&after, "/spec/value") == "blue"));
    let secret = in_b
        .get(&kind::SECRETS, Some(MEMBER), "submariner-broker-secret")
        .await?
        .context("the Secret")?;
    ensure!(
        !str_at(
            &secret,
            "/metadata/annotations/submariner.io~1token-expires"
        )
        .is_empty(),
        "{secret}"
    );
    let env = environment(&in_b).await?;
    for (name, value) in [
        ("SUBMARINER_CLUSTERID", "b"),
        ("SUBMARINER_CLUSTERSET_IP_CIDR", "243.0.0.0/20"),
        ("SUBMARINER_CLUSTERSET_IP_ENABLED", "true"),
        ("SUBMARINER_GLOBALNET_ENABLED", "true"),
    ] {
        ensure!(env[name] == value, "{name}: {env}");
    }
    let record = on_broker
        .get(&kind::CLUSTERS, Some(BROKER), "b")
        .await?
        .context("its record")?;
    ensure!(
        record["spec"]["global_cidr"] == json!(["120.0.0.0/16"]),
        "{record}"
    );

    // The others choose, within what is left.
    let line = "--context kind-a join broker-info.subm --clusterid a";
    desk.fails(
        &format!("{line} --globalnet-cidr 120.0.5.0/24"),
        6,
        "120.0.5.0/24 overlaps with 120.0.0.0/16 of cluster \"b\"",
    )
    .await?;
    desk.fails(
        &format!("{line} --globalnet-cidr 121.0.5.0/24"),
        6,
        "is not inside of the broker's range 120.0.0.0/8",
    )
    .await?;
    let in_a = api(first).await?;
    ensure!(
        in_a.get(&kind::NAMESPACES, None, MEMBER).await?.is_none(),
        "nothing was written"
    );
    let run = desk
        .good(&format!("{line} --globalnet-cidr 120.1.0.0/24"))
        .await?;
    ensure!(
        run.err
            .contains(" ✓ Using specified global CIDR 120.1.0.0/24\n"),
        "{run:#?}"
    );
    let run = desk
        .good(&format!("{line} --globalnet-cidr 120.2.0.0/24"))
        .await?;
    ensure!(
        run.err.contains(" ⚠ A pre-configured global CIDR 120.1.0.0/24 was detected - not using the specified CIDR 120.2.0.0/24\n"),
        "{run:#?}"
    );
    let map = on_broker
        .get(
            &kind::CONFIG_MAPS,
            Some(BROKER),
            "submariner-globalnet-info",
        )
        .await?
        .context("who has what")?;
    ensure!(
        str_at(&map, "/data/globalnetCidrRange") == "\"120.0.0.0/8\"",
        "{map}"
    );

    // Where the broker is, leaving gives everything back, but for what others need.
    let plan = desk.good("--context kind-a uninstall --dry-run").await?;
    for line in [
        "broker: serviceaccounts submariner-k8s-broker/cluster-a\n",
        "broker: rolebindings.rbac.authorization.k8s.io submariner-k8s-broker/cluster-a-",
    ] {
        ensure!(plan.out.contains(line), "{line:?} {plan:#?}");
    }
    desk.good("--context kind-a uninstall -y").await?;
    let map = on_broker
        .get(
            &kind::CONFIG_MAPS,
            Some(BROKER),
            "submariner-globalnet-info",
        )
        .await?
        .context("who has what")?;
    ensure!(
        !str_at(&map, "/data/clusterinfo").contains("120.1.0.0/24"),
        "{map}"
    );
    ensure!(
        on_broker
            .get(&kind::ACCOUNTS, Some(BROKER), "cluster-a")
            .await?
            .is_none()
    );
    ensure!(
        on_broker
            .get(&kind::DEFINITIONS, None, "clusters.submariner.io")
            .await?
            .is_some()
    );
    ensure!(
        on_broker
            .get(&kind::CLUSTERS, Some(BROKER), "b")
            .await?
            .is_some()
    );

    // An invitation is worth what its account is.
    let run = desk
        .good("deploy-broker --per-cluster late --invitation-ttl 1m")
        .await?;
    ensure!(
        run.err
            .contains("not the 1 min that were asked for, but 10 min"),
        "{run:#?}"
    );
    on_broker
        .delete(&kind::ACCOUNTS, Some(BROKER), "cluster-late")
        .await?;
    let run = desk
        .fails(
            // Its namespace is on its way, which no trial waits for.
            "--context kind-a join broker-info-late.subm --dry-run",
            4,
            "does not know its account any more",
        )
        .await?;
    ensure!(
        run.err.contains("https://127.") && run.err.contains("--per-cluster late"),
        "{run:#?}"
    );

    // A broker that is away does not hold up the rest, and the exit code says that it keeps something.
    first.kill_api_server();
    desk.fails("--context kind-b uninstall -y", 3, "stays on the broker")
        .await?;
    let agent = in_b
        .get(
            &kind::DEPLOYMENTS,
            Some(MEMBER),
            "submariner-lighthouse-agent",
        )
        .await?;
    ensure!(agent.is_none(), "{agent:?}");
    Ok(())
}

/// Variables of the agent, by name.
pub(crate) async fn environment(api: &Api) -> Result<Value> {
    let agent = api
        .get(
            &kind::DEPLOYMENTS,
            Some(MEMBER),
            "submariner-lighthouse-agent",
        )
        .await?
        .context("the agent")?;
    let mut env = json!({});
    for variable in subm_subctl::cluster::list_at(&agent, "/spec/template/spec/containers/0/env") {
        env[str_at(variable, "/name")] = variable["value"].clone();
    }
    Ok(env)
}

/// What was there before stays, and a Submariner that runs is not disturbed.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_have_in_a_cluster_is_left_alone() -> Result<()> {
    let _turn = TURN.lock().await;
    let cluster = Cluster::start().await?;
    let desk = Desk::new(&[("a", &cluster)])?;
    let api = api(&cluster).await?;
    let workload = |kind: &str, more: Value| {
        let mut object =
            json!({"kind": kind, "metadata": {"name": "theirs", "namespace": "infra"}});
        if let (Value::Object(object), Value::Object(more)) = (&mut object, more) {
            object.extend(more);
        }
        object
    };
    api.create_value(&kind::NAMESPACES, &namespace("infra"))
        .await?;
    let theirs = [
        (
            kind::CONFIG_MAPS,
            workload("ConfigMap", json!({"apiVersion": "v1"})),
        ),
        (
            kind::LEASES,
            workload("Lease", json!({"apiVersion": "coordination.k8s.io/v1"})),
        ),
        (
            kind::SLICES,
            workload(
                "EndpointSlice",
                json!({"apiVersion": "discovery.k8s.io/v1", "addressType": "IPv4", "endpoints": []}),
            ),
        ),
    ];
    for (kind, object) in &theirs {
        api.create_value(kind, object).await?;
    }
    let _tokens = TokenController::start(&cluster, "infra").await?;
    desk.good("-n infra deploy-broker --components service-discovery")
        .await?;
    desk.good("uninstall --yes").await?;
    ensure!(
        names(&api, &kind::BROKERS)
            .await
            .is_ok_and(|left| left.is_empty())
    );
    for (kind, _) in &theirs {
        ensure!(
            api.get(kind, Some("infra"), "theirs").await?.is_some(),
            "{kind} is gone"
        );
    }
    let there = api.get(&kind::NAMESPACES, None, "infra").await?;
    ensure!(there.is_some_and(|there| there["metadata"]["deletionTimestamp"].is_null()));

    // Submariner's own operator.
    desk.good("-n infra deploy-broker --components service-discovery")
        .await?;
    api.create_value(&kind::NAMESPACES, &namespace(MEMBER))
        .await?;
    let operator = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "submariner-operator", "namespace": MEMBER},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": {"name": "x"}},
            "template": {"metadata": {"labels": {"name": "x"}}, "spec": {"containers": [{"name": "x", "image": "x"}]}},
        },
    });
    api.create_value(&kind::DEPLOYMENTS, &operator).await?;
    for line in ["join broker-info.subm --clusterid east", "uninstall --yes"] {
        desk.fails(line, 6, "scale deployment submariner-operator --replicas=0")
            .await?;
    }
    // At rest it is still not ours to remove.
    let mut operator = api
        .get(&kind::DEPLOYMENTS, Some(MEMBER), "submariner-operator")
        .await?
        .context("the operator")?;
    operator["spec"]["replicas"] = json!(0);
    api.replace(&kind::DEPLOYMENTS, "", &operator).await?;
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "submariners.submariner.io"},
        "spec": {
            "group": "submariner.io", "scope": "Namespaced",
            "names": {"kind": "Submariner", "plural": "submariners", "singular": "submariner", "listKind": "SubmarinerList"},
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    });
    api.create_value(&kind::DEFINITIONS, &definition).await?;
    api.served(
        "submariners.submariner.io",
        std::time::Duration::from_secs(30),
    )
    .await?;
    let submariner = json!({
        "apiVersion": "submariner.io/v1alpha1", "kind": "Submariner",
        "metadata": {"name": "submariner", "namespace": MEMBER}, "spec": {"clusterID": "west"},
    });
    api.create_value(&kind::SUBMARINERS, &submariner).await?;
    desk.fails("uninstall --yes", 6, "use the subctl that did")
        .await?;
    desk.fails(
        "join broker-info.subm --clusterid east",
        6,
        "a member as \"west\"",
    )
    .await?;
    Ok(())
}
