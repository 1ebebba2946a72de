//! `explain`, link by link, and what its accounts may see; the broker is in the first cluster.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use subm_subctl::cluster::{Cluster as Api, kind, str_at};
use subm_test_support::Cluster;

use crate::chain::environment;
use crate::common::{Desk, TURN, TokenController, api};
use crate::objects::{available, import, list, namespace};

const BROKER: &str = "submariner-k8s-broker";
const MEMBER: &str = "submariner-operator";

#[tokio::test(flavor = "multi_thread")]
async fn explain_names_the_first_broken_link() -> Result<()> {
    let _turn = TURN.lock().await;
    let clusters = Cluster::start_many(2).await?;
    let [first, second] = &clusters[..] else {
        unreachable!()
    };
    let desk = Desk::new(&[("a", first), ("b", second)])?;
    let _tokens = TokenController::start(first, BROKER).await?;
    let (in_a, in_b) = (api(first).await?, api(second).await?);
    desk.good("deploy-broker --components service-discovery")
        .await?;
    let line = "explain export web -n shop";
    let broken = async |words: &str| desk.answers(line, 10, &format!(" ✗ {words}")).await;

    broken("Service shop/web does not exist").await?;
    in_a.create_value(&kind::NAMESPACES, &namespace("shop"))
        .await?;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"ports": [{"port": 80}]},
    });
    in_a.create_value(&kind::SERVICES, &service).await?;
    let run = broken("this cluster knows no ServiceExport").await?;
    ensure!(
        run.out.contains("   Run `subctl join` for this cluster\n"),
        "{run:#?}"
    );
    desk.good("join broker-info.subm --clusterid a").await?;
    desk.good("--context kind-b join broker-info.subm --clusterid b")
        .await?;
    let run = broken("ServiceExport shop/web does not exist").await?;
    ensure!(
        run.out
            .contains("   Run `subctl export service web -n shop`\n"),
        "{run:#?}"
    );
    desk.good("export service web -n shop").await?;
    let run = desk.good("show exports --context kind-a").await?;
    ensure!(run.err.contains(" ⚠ No agent runs in this"), "{run:#?}");
    broken("Deployment submariner-lighthouse-agent of this cluster has no available replica")
        .await?;
    for api in [&in_a, &in_b] {
        available(api, "submariner-lighthouse-agent").await?;
        available(api, "submariner-lighthouse-coredns").await?;
    }
    broken("ServiceExport shop/web has no condition: no agent has looked at it").await?;
    conditions(&in_a, "web", "Valid", "False").await?;
    broken("ServiceExport shop/web is not valid: Because: words").await?;
    for (reasons, words, remedy) in [
        (
            &[("Valid", "False", "ServiceGlobalIPUnavailable")][..],
            "ServiceExport shop/web is not valid: ServiceGlobalIPUnavailable",
            "--globalnet=false",
        ),
        (
            &[
                ("Valid", "True", "Valid"),
                ("Ready", "False", "Failed"),
                ("Conflict", "True", "TypeConflict"),
            ],
            "ServiceExport shop/web conflicts: TypeConflict",
            "Change the Service's type",
        ),
    ] {
        say(&in_a, "web", reasons).await?;
        let run = broken(words).await?;
        ensure!(run.out.contains(remedy), "{remedy} {run:#?}");
    }
    // The last one is for good.
    desk.fails(
        "export service web -n shop --wait",
        10,
        "ServiceExport shop/web conflicts with that of another cluster: TypeConflict",
    )
    .await?;
    // Where nobody has looked at anything, it is said that nobody will.
    say(&in_a, "web", &[]).await?;
    let run = desk.good("show exports --context kind-a").await?;
    ensure!(!run.err.contains("No agent runs"), "one is: {run:#?}");
    conditions(&in_a, "web", "Ready", "True").await?;
    broken("The broker has no ServiceImport of shop/web").await?;
    let own = "a";
    import(&in_a, BROKER, "web-shop", "b").await?;
    broken("ServiceImport web-shop on the broker does not list a").await?;
    list(&in_a, BROKER, "web-shop", own).await?;
    broken("The broker has no EndpointSlice of a for shop/web").await?;
    in_a.create_value(&kind::SLICES, &slice(BROKER)).await?;
    let run = broken("\"kind-b\" has no namespace \"shop\": nothing is imported into it").await?;
    ensure!(
        run.out
            .contains("   Run `kubectl --context kind-b create namespace shop`\n"),
        "{run:#?}"
    );
    in_b.create_value(&kind::NAMESPACES, &namespace("shop"))
        .await?;
    broken("\"kind-b\" has no ServiceImport shop/web").await?;
    let agent = "submariner-lighthouse-agent";
    let denies = json!([{"name": "SUBMARINER_IMPORT_NAMESPACE_DENY_LIST", "value": "sh*"}]);
    variables(&in_b, agent, denies).await?;
    let run = broken("\"kind-b\" has no ServiceImport shop/web: its agent leaves out").await?;
    ensure!(run.out.contains("--allow-namespaces shop"), "{run:#?}");
    variables(&in_b, agent, json!([])).await?;
    import(&in_b, "shop", "web", own).await?;
    broken("\"kind-b\" has no EndpointSlice of a for shop/web").await?;
    in_b.create_value(&kind::SLICES, &slice("shop")).await?;
    let run = desk.good(line).await?;
    ensure!(
        run.out
            .contains(" ✓ \"kind-b\" has the EndpointSlices of a\n"),
        "{run:#?}"
    );

    // From the other end.
    desk.answers(
        "--context kind-b explain export web -n shop",
        10,
        "Service shop/web does not exist in this cluster, which imports it from a",
    )
    .await?;

    // A broker that is away is said to be away, and the others, of the same authority, are looked at all the same; a token that is not
    // accepted is a broken link.
    let settings = "submariner-settings";
    let there = in_a.get(&kind::CONFIG_MAPS, Some(MEMBER), settings).await?;
    let url = str_at(&there.unwrap_or_default(), "/data/brokerURL").to_owned();
    for (place, words) in [
        (
            "https://127.0.0.1:1",
            " ⚠ The broker at https://127.0.0.1:1 does not answer",
        ),
        (&*url, " ✓ ServiceImport web-shop on the broker lists a"),
    ] {
        let fields = json!({"data": {"brokerURL": place}});
        in_a.merge(&kind::CONFIG_MAPS, Some(MEMBER), settings, &fields)
            .await?;
        let run = desk.answers(line, 0, words).await?;
        ensure!(
            run.out.contains("\"kind-b\" has the EndpointSlices of a"),
            "{run:#?}"
        );
    }
    let mut secret = in_a
        .get(&kind::SECRETS, Some(MEMBER), "submariner-broker-secret")
        .await?
        .context("the Secret")?;
    secret["data"]["token"] = json!("eA==");
    in_a.replace(&kind::SECRETS, "", &secret).await?;
    broken("The broker at https://").await?;

    // A namespace that takes no part is said to be one at once, unless the cluster joined with it.
    in_a.create_value(
        &kind::SERVICES,
        &json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"}, "spec": {"ports": [{"port": 80}]}}),
    )
    .await?;
    let run = desk.good("export service web").await?;
    ensure!(
        run.err
            .contains(" ⚠ The agent of this cluster takes nothing from namespace \"default\""),
        "{run:#?}"
    );
    desk.good("join broker-info.subm --clusterid a --allow-namespaces default,kube-public")
        .await?;
    let run = desk.good("export service web").await?;
    ensure!(
        run.err.starts_with(" ✓ Service already exported\n") && !run.err.contains("takes nothing"),
        "{run:#?}"
    );
    // It stays so until somebody says otherwise.
    desk.good("join broker-info.subm --clusterid a").await?;
    let allowed = &environment(&in_a).await?["SUBMARINER_IMPORT_NAMESPACE_ALLOW_LIST"];
    ensure!(allowed == "default,kube-public", "{allowed}");
    exported_by_who_may_only_that(&desk, first, &in_a).await?;
    uninstalled_where_the_id_is_anothers(&desk, &in_a).await?;
    Ok(())
}

/// A developer may write in a namespace, and not read what the agent was told.
async fn exported_by_who_may_only_that(desk: &Desk, cluster: &Cluster, api: &Api) -> Result<()> {
    let rbac = "rbac.authorization.k8s.io";
    let role = json!({
        "apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": {"name": "dev", "namespace": "shop"},
        "rules": [
            {"apiGroups": [""], "resources": ["services"], "verbs": ["get"]},
            {"apiGroups": ["multicluster.x-k8s.io"], "resources": ["serviceexports"], "verbs": ["get", "create"]},
        ],
    });
    let binding = json!({
        "apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": {"name": "dev", "namespace": "shop"},
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "dev"},
        "subjects": [{"kind": "ServiceAccount", "name": "dev", "namespace": "shop"}],
    });
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "dev", "namespace": "shop"}});
    api.create_value(&kind::ACCOUNTS, &account).await?;
    api.create_value(&kind::ROLES, &role).await?;
    api.create_value(&kind::ROLE_BINDINGS, &binding).await?;
    let token = cluster.service_account_token("shop", "dev").await?;
    let kubeconfig = cluster.kubeconfig_for(&token)?;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "api", "namespace": "shop"}, "spec": {"ports": [{"port": 80}]},
    });
    api.create_value(&kind::SERVICES, &service).await?;
    let line = format!(
        "--kubeconfig {} export service api -n shop",
        kubeconfig.display()
    );
    let run = desk.good(&line).await?;
    ensure!(run.err == " ✓ Service exported successfully\n", "{run:#?}");
    // What it may not look at is no broken link, and the missing right is named.
    conditions(api, "api", "Ready", "True").await?;
    let line = line.replace("export service", "explain export");
    let run = desk.good(&format!("{line} -o json")).await?;
    let answer: Value = serde_json::from_str(&run.out)?;
    let links = subm_subctl::cluster::list_at(&answer, "/links");
    let has = |verdict: &str, words: &str| {
        links
            .iter()
            .any(|link| link["verdict"] == verdict && str_at(link, "/text").contains(words))
    };
    for (verdict, words) in [
        ("good", "Service shop/api exists"),
        ("good", "ServiceExport shop/api exists"),
        ("doubtful", "cannot get resource \"configmaps\""),
        ("doubtful", "cannot list resource \"endpointslices\""),
        ("doubtful", "cannot get resource \"deployments\""),
        ("doubtful", "cannot get resource \"secrets\""),
    ] {
        ensure!(has(verdict, words), "{verdict} {words}: {run:#?}");
    }
    Ok(())
}

/// Its Secrets were copied, say from a backup: what is on the broker is the other cluster's.
async fn uninstalled_where_the_id_is_anothers(desk: &Desk, api: &Api) -> Result<()> {
    let record = api.get(&kind::CLUSTERS, Some(BROKER), "a").await?;
    let mut record = record.context("the Cluster")?;
    record["metadata"]["annotations"]["submariner.io/cluster-uid"] = json!("another");
    api.replace(&kind::CLUSTERS, "", &record).await?;
    let run = desk.good("uninstall --yes").await?;
    ensure!(
        run.err.contains(
            " ⚠ a on the broker is another cluster (its kube-system has the uid another)"
        ),
        "{run:#?}"
    );
    ensure!(api.get(&kind::CLUSTERS, Some(BROKER), "a").await?.is_some());
    ensure!(
        api.get(&kind::SLICES, Some(BROKER), "web-x1")
            .await?
            .is_some()
    );
    let agent = "submariner-lighthouse-agent";
    ensure!(
        api.get(&kind::DEPLOYMENTS, Some(MEMBER), agent)
            .await?
            .is_none()
    );
    Ok(())
}

/// Valid as `Valid` says, or all of both kinds true.
pub(crate) async fn conditions(api: &Api, name: &str, last: &str, status: &str) -> Result<()> {
    let both = [("Valid", status, "Because"), ("Ready", status, "Because")];
    let kinds = if last == "Ready" { 2 } else { 1 };
    say(api, name, &both[..kinds]).await
}

/// Conditions as they are named: type, status, reason.
async fn say(api: &Api, name: &str, said: &[(&str, &str, &str)]) -> Result<()> {
    let export = api.get(&kind::EXPORTS, Some("shop"), name).await?;
    let mut export = export.context("the export")?;
    let said = said.iter().map(|(kind, status, reason)| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": "words", "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    });
    export["status"] = json!({"conditions": said.collect::<Vec<_>>()});
    api.replace(&kind::EXPORTS, "status", &export).await?;
    Ok(())
}

/// Gives a Deployment these variables, and says that it runs with them.
async fn variables(api: &Api, name: &str, env: Value) -> Result<()> {
    let deployment = api.get(&kind::DEPLOYMENTS, Some(MEMBER), name).await?;
    let mut deployment = deployment.context("a Deployment")?;
    deployment["spec"]["template"]["spec"]["containers"][0]["env"] = env;
    api.replace(&kind::DEPLOYMENTS, "", &deployment).await?;
    available(api, name).await
}

pub(crate) fn slice(namespace: &str) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "web-x1", "namespace": namespace, "labels": {
            "multicluster.kubernetes.io/service-name": "web",
            "multicluster.kubernetes.io/source-cluster": "a",
            "lighthouse.submariner.io/sourceNamespace": "shop",
        }},
        "addressType": "IPv4", "endpoints": [{"addresses": ["10.96.1.1"]}], "ports": [],
    })
}
