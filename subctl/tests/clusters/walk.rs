//! From an empty API server to a cluster set and back, as a user walks.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use subm_subctl::cluster::{Cluster as Api, Kind, kind, list_at, str_at};
use subm_test_support::Cluster;

use crate::common::{Desk, TURN, TokenController, api, names};
use crate::objects::{available, import};

mod broker;

const COREFILE: &str = ".:53 {\n    errors\n    health\n    kubernetes cluster.local\n    forward . /etc/resolv.conf\n    reload\n}\n";
const BROKER: &str = "submariner-k8s-broker";
const MEMBER: &str = "submariner-operator";

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_set_is_built_used_and_taken_down() -> Result<()> {
    let _turn = TURN.lock().await;
    let clusters = Cluster::start_many(3).await?;
    let [broker, c1, c2] = &clusters[..] else {
        unreachable!()
    };
    let desk = Desk::new(&[("broker", broker), ("c1", c1), ("c2", c2)])?;
    let _tokens = TokenController::start(broker, BROKER).await?;
    let (on_broker, in_c1, in_c2) = (api(broker).await?, api(c1).await?, api(c2).await?);
    for member in [&in_c1, &in_c2] {
        corefile(member, COREFILE).await?;
    }
    let before = everything(&in_c1).await?;

    // Nothing there yet.
    let run = desk.good("--context kind-broker show brokers").await?;
    ensure!(run.err.contains(" ⚠ No brokers found"), "{run:#?}");
    desk.fails(
        "--context kind-c1 export service web",
        5,
        "run `subctl join`",
    )
    .await?;
    desk.fails("--context kind-c1 recover-broker-info", 5, "--context")
        .await?;

    broker::deploy(&desk, &on_broker).await?;
    join(&desk, &on_broker, &in_c1, &in_c2).await?;
    export(&desk, &on_broker, &in_c1, &in_c2).await?;
    show(&desk).await?;
    explain(&desk).await?;

    // Gone without a trace, and the broker knows it no more.
    desk.fails("--context kind-c1 uninstall", 9, "--yes")
        .await?;
    let plan = desk
        .good("--context kind-c1 uninstall --dry-run")
        .await?
        .out;
    ensure!(
        plan.contains("deployments.apps submariner-operator/submariner-lighthouse-agent"),
        "{plan}"
    );
    for line in [
        "broker: clusters.submariner.io submariner-k8s-broker/c1\n",
        "broker: endpointslices.discovery.k8s.io submariner-k8s-broker/web-x1\n",
        "broker: serviceimports.multicluster.x-k8s.io submariner-k8s-broker/web-sample (the entry of c1; all",
    ] {
        ensure!(plan.contains(line), "{line:?} {plan}");
    }
    let plan = desk.good("--context kind-c2 uninstall --dry-run").await?;
    for line in [
        "\nserviceimports.multicluster.x-k8s.io sample/web\n",
        "\nendpointslices.discovery.k8s.io sample/web-x1\n",
    ] {
        ensure!(plan.out.contains(line), "{line:?} {plan:#?}");
    }
    let exports_kind = kind::EXPORTS.at("v1beta1");
    let exports = in_c1.list(&exports_kind, None, "").await?;
    for mut export in exports {
        export["status"]["conditions"] = json!([
            condition("Ready", "Exported"),
            condition("Theirs", "AnotherControllersWord"),
        ]);
        in_c1.replace(&exports_kind, "status", &export).await?;
    }
    let run = desk.good("--context kind-c1 uninstall --yes").await?;
    ensure!(
        run.err
            .contains(" ✓ Removing cluster \"c1\" from the broker"),
        "{run:#?}"
    );
    // But for what is users': their exports, and the definitions without which those would be gone.
    let exports = in_c1.list(&exports_kind, None, "").await?;
    ensure!(!exports.is_empty(), "uninstall took the users' exports");
    for export in &exports {
        let left = list_at(export, "/status/conditions");
        ensure!(
            matches!(left, [theirs] if theirs["type"] == "Theirs"),
            "{export}"
        );
    }
    ensure!(run.err.contains("ServiceExports stay"), "{run:#?}");
    let mut after = everything(&in_c1).await?;
    after.retain(|line| !line.ends_with(".x-k8s.io") && !line.ends_with(".about.k8s.io"));
    ensure!(after == before, "before {before:#?}\nafter {after:#?}");
    desk.good("--context kind-c1 uninstall --yes --delete-definitions")
        .await?;
    let after = everything(&in_c1).await?;
    ensure!(after == before, "before {before:#?}\nafter {after:#?}");
    ensure!(read_corefile(&in_c1).await? == COREFILE);
    let left = names(&on_broker, &kind::CLUSTERS).await?;
    ensure!(left == ["submariner-k8s-broker/c2"], "{left:?}");
    let imports = on_broker.list(&kind::IMPORTS, Some(BROKER), "").await?;
    ensure!(imports.is_empty(), "{imports:?}");
    let run = desk.good("--context kind-c1 uninstall -y").await?;
    ensure!(run.err.contains("is not installed"), "{run:#?}");

    // The broker stays while somebody needs it.
    let run = desk.good("--context kind-broker uninstall -y").await?;
    ensure!(
        run.err.contains(
            "appears to be in use by other clusters (c2) - keeping the broker components."
        ),
        "{run:#?}"
    );
    ensure!(!names(&on_broker, &kind::BROKERS).await?.is_empty());
    desk.good("--context kind-c2 uninstall -y").await?;
    desk.good("--context kind-broker uninstall -y").await?;
    let left = everything(&on_broker).await?;
    ensure!(
        left.iter().all(|line| !line.contains("submariner")),
        "{left:#?}"
    );
    Ok(())
}

fn condition(r#type: &str, reason: &str) -> Value {
    json!({
        "type": r#type, "status": "True", "reason": reason, "message": "",
        "lastTransitionTime": "2026-11-27T00:00:00Z",
    })
}

async fn join(desk: &Desk, on_broker: &Api, in_c1: &Api, in_c2: &Api) -> Result<()> {
    desk.fails(
        "--context kind-c1 join nowhere.subm",
        8,
        "nowhere.subm cannot be read",
    )
    .await?;
    std::fs::write(desk.path("broken.subm"), "eyJicm9rZXJVUkwiOi")?;
    desk.fails("--context kind-c1 join broken.subm", 8, "broken.subm")
        .await?;
    desk.fails(
        "--context kind-c1 join broker-info.subm --cable-driver libreswan",
        2,
        "no cables of IPsec",
    )
    .await?;
    let dry = desk
        .good("--context kind-c1 join broker-info.subm --components service-discovery --clusterid c1 --dry-run")
        .await?
        .out;
    ensure!(
        dry.contains("name: submariner-lighthouse-agent")
            && !dry.contains(&broker::info(desk)?.token().context("a token")?),
        "{dry}"
    );
    ensure!(in_c1.get(&kind::NAMESPACES, None, MEMBER).await?.is_none());

    // The article's line, with one dash.
    let run = desk
        .good("--context kind-c1 join broker-info.subm --components service-discovery -clusterid c1 --clustercidr 10.8.0.0/16 --image-override submariner-lighthouse-agent=agent:7")
        .await?;
    ensure!(
        run.out.contains(
            "        Service CIDRs:   [10.96.0.0/16]\n        Cluster CIDRs:   [10.8.0.0/16]\n"
        ),
        "{run:#?}"
    );
    for line in [
        " ✓ broker-info.subm indicates broker is at https://",
        " ✓ Discovering network details\n",
        " ✓ Gathering relevant information from Broker\n",
        " ✓ Creating SA for cluster\n",
        " ✓ Connecting to Broker\n",
    ] {
        ensure!(run.err.contains(line), "{line:?} {run:#?}");
    }
    let deployment = in_c1
        .get(
            &kind::DEPLOYMENTS,
            Some(MEMBER),
            "submariner-lighthouse-agent",
        )
        .await?
        .context("the agent")?;
    ensure!(str_at(&deployment, "/spec/template/spec/containers/0/image") == "agent:7");
    let service = in_c1
        .get(
            &kind::SERVICES,
            Some(MEMBER),
            "submariner-lighthouse-coredns",
        )
        .await?
        .context("its Service")?;
    let section = format!(
        "#lighthouse-start AUTO-GENERATED SECTION. DO NOT EDIT\nclusterset.local:53 {{\n    forward . {}\n}}\n#lighthouse-end\n{COREFILE}",
        str_at(&service, "/spec/clusterIP")
    );
    ensure!(read_corefile(in_c1).await? == section);
    let record = on_broker
        .get(&kind::CLUSTERS, Some(BROKER), "c1")
        .await?
        .context("its record")?;
    ensure!(
        record["spec"]["cluster_cidr"] == json!(["10.8.0.0/16"]),
        "{record}"
    );

    // Again: nothing that was there is written anew.
    let version = coredns_version(in_c1).await?;
    desk.good("--context kind-c1 join broker-info.subm --components service-discovery --clusterid c1 --clustercidr 10.8.0.0/16")
        .await?;
    ensure!(coredns_version(in_c1).await? == version);

    // One id, one cluster; one cluster, one id.
    desk.fails(
        "--context kind-c2 join broker-info.subm --components service-discovery --clusterid c1",
        6,
        "Cluster IDs must be unique",
    )
    .await?;
    ensure!(
        in_c2.get(&kind::NAMESPACES, None, MEMBER).await?.is_none(),
        "nothing was written"
    );
    desk.fails(
        "--context kind-c1 join broker-info.subm --components service-discovery --clusterid c9",
        6,
        "is a member as \"c1\" already",
    )
    .await?;
    let run = desk
        .good(
            "--context kind-c2 join broker-info.subm --components service-discovery --clusterid c2",
        )
        .await?;
    ensure!(
        run.err.contains(
            "networks are another's too: 10.96.0.0/16 overlaps with 10.96.0.0/16 of cluster \"c1\""
        ),
        "{run:#?}"
    );
    let parts = on_broker
        .get(
            &kind::CONFIG_MAPS,
            Some(BROKER),
            "submariner-clustersetip-info",
        )
        .await?
        .context("parts")?;
    ensure!(
        str_at(&parts, "/data/clusterinfo").contains("243.0.16.0/20"),
        "{parts}"
    );
    // Members may not become the admin.
    desk.fails(
        "--context kind-c1 recover-broker-info",
        4,
        "run this with the context of the broker's cluster",
    )
    .await?;
    Ok(())
}

/// What the agents would do is done by hand: here it is the command line that is tested.
async fn export(desk: &Desk, on_broker: &Api, in_c1: &Api, in_c2: &Api) -> Result<()> {
    in_c1
        .create_value(
            &kind::NAMESPACES,
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "sample"}}),
        )
        .await?;
    desk.fails(
        "--context kind-c1 export service --namespace sample web",
        5,
        "Unable to find the Service \"web\" in namespace \"sample\"",
    )
    .await?;
    in_c1
        .create_value(
            &kind::SERVICES,
            &json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "sample"},
                "spec": {"ports": [{"port": 80}]},
            }),
        )
        .await?;
    let dry = desk
        .good("--context kind-c1 export service web -n sample --dry-run")
        .await?;
    ensure!(dry.out.contains("kind: ServiceExport"), "{dry:#?}");
    let run = desk
        .good("--context kind-c1 export service --namespace sample web")
        .await?;
    ensure!(
        run.err
            .starts_with(" ✓ Service exported successfully\n ⚠ No agent runs in this cluster"),
        "{run:#?}"
    );
    let run = desk
        .good("--context kind-c1 export service web --namespace sample --use-clusterset-ip")
        .await?;
    for line in [
        " ✓ Service already exported; now it asks for a clusterset IP\n",
        " ⚠ Nothing in this release routes the addresses of the clusterset IP pool",
    ] {
        ensure!(run.err.contains(line), "{line:?} {run:#?}");
    }
    desk.fails(
        "--context kind-c1 export service web -n sample --use-clusterset-ip=x",
        2,
        "x",
    )
    .await?;
    let export = in_c1
        .get(&kind::EXPORTS, Some("sample"), "web")
        .await?
        .context("the export")?;
    ensure!(
        str_at(
            &export,
            "/metadata/annotations/lighthouse.submariner.io~1use-clusterset-ip"
        ) == "true"
    );
    desk.fails(
        "--context kind-c1 unexport service web",
        5,
        "Service default/web was not previously exported",
    )
    .await?;

    // The other cluster has nothing yet, not even the namespace, which nobody makes: said before the wait.
    let line = "--context kind-c1 export service web -n sample --wait --timeout 1s";
    let run = desk
        .fails(
            line,
            7,
            "Not resolvable in \"kind-c2\": no namespace \"sample\", and nothing is imported until there is one: \
             `kubectl --context kind-c2 create namespace sample`",
        )
        .await?;
    let (said, waits) = (
        run.err.find(" ⚠ \"kind-c2\": no namespace \"sample\""),
        run.err.find(" • Waiting until"),
    );
    ensure!(said.is_some() && said < waits, "{run:#?}");
    ensure!(
        !run.err.contains("kind-broker"),
        "a broker is no member: {run:#?}"
    );
    broker_record(on_broker).await?;
    in_c2
        .create_value(
            &kind::NAMESPACES,
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "sample"}}),
        )
        .await?;
    desk.fails(
        line,
        7,
        "Not resolvable in \"kind-c2\": no ServiceImport sample/web",
    )
    .await?;
    import(in_c2, "sample", "web", "c1").await?;
    import(in_c2, MEMBER, "web-sample-c1", "c1").await?;
    in_c2
        .create_value(&kind::SLICES, &slice("sample", "web-x1"))
        .await?;
    // It resolves; what the agent says of it comes last, and `explain` right after shall find all well.
    desk.fails(line, 7, "no agent has looked at it").await?;
    let say = async |r#type: &str, status: &str, reason: &str| {
        let exports = kind::EXPORTS.at("v1beta1");
        let export = in_c1.get(&exports, Some("sample"), "web").await?;
        let mut export = export.context("the export")?;
        let mut said = condition(r#type, reason);
        said["status"] = json!(status);
        export["status"]["conditions"] = json!([said]);
        in_c1.replace(&exports, "status", &export).await?;
        anyhow::Ok(())
    };
    say("Ready", "False", "Pending").await?;
    desk.fails(line, 7, "ServiceExport sample/web: Pending")
        .await?;
    // Its settings permit the namespace: an agent before it said so.
    say("Valid", "False", "RestrictedNamespace").await?;
    desk.fails(line, 7, "its agent has not looked at it since")
        .await?;
    say("Valid", "False", "InvalidExportedMetadata").await?;
    desk.fails(line, 10, "not valid: InvalidExportedMetadata")
        .await?;
    say("Ready", "True", "Exported").await?;
    let run = desk.good(line).await?;
    ensure!(
        run.err.contains(" ⚠ Imported in \"kind-c2\" after ")
            && run
                .err
                .contains("but no DNS server of the cluster set runs there"),
        "{run:#?}"
    );
    available(in_c2, "submariner-lighthouse-coredns").await?;
    let run = desk.good(line).await?;
    ensure!(
        run.err.contains(" ✓ Resolvable in \"kind-c2\" after "),
        "{run:#?}"
    );
    // With nobody else to look at there is still the own agent's word.
    let alone = format!("{line} --contexts kind-c1");
    let alone = alone.replacen("--context kind-c1 ", "", 1);
    let run = desk.good(&alone).await?;
    ensure!(
        run.err.contains(" ⚠ Other clusters were not looked at"),
        "{run:#?}"
    );
    say("Ready", "False", "Pending").await?;
    desk.fails(&alone, 7, "sample/web is not exported after 1 s")
        .await?;
    say("Valid", "False", "InvalidServiceType").await?;
    desk.fails(&alone, 10, "not valid: InvalidServiceType")
        .await?;
    say("Ready", "True", "Exported").await?;
    Ok(())
}

async fn show(desk: &Desk) -> Result<()> {
    let run = desk.good("show brokers").await?;
    ensure!(run.out.starts_with("Cluster \"kind-broker\"\n"), "{run:#?}");
    let table = "NAMESPACE               NAME                COMPONENTS                        GLOBALNET   GLOBALNET CIDR   DEFAULT GLOBALNET SIZE   DEFAULT DOMAINS   \n\
                 submariner-k8s-broker   submariner-broker   connectivity, service-discovery   no                           0                        ";
    ensure!(run.out.contains(table), "{}", run.out);
    let shown = desk
        .json("show brokers --context kind-broker -o json")
        .await?;
    ensure!(
        shown[0]["brokers"][0]["components"] == json!(["connectivity", "service-discovery"]),
        "{shown}"
    );
    let shown = desk
        .json("show all -o json --contexts kind-c1,kind-c2")
        .await?;
    ensure!(
        shown[0]["cluster"] == "kind-c1"
            && shown[1]["networks"]["serviceCIDRs"] == json!(["10.96.0.0/16"]),
        "{shown}"
    );
    ensure!(
        shown[0]["versions"]
            .as_array()
            .is_some_and(|rows| rows.len() == 2),
        "{shown}"
    );
    let run = desk.good("show all --context kind-c1").await?;
    for line in [
        " ✓ Detecting broker(s)",
        " ⚠ Submariner connectivity feature is not installed",
        " ✓ Showing versions",
    ] {
        ensure!(run.err.contains(line), "{line} {run:#?}");
    }
    ensure!(
        run.out.contains(
            "    Discovered network details via Submariner:\n        Network plugin:  generic\n"
        ),
        "{run:#?}"
    );
    let shown = desk.json("show exports --context kind-c1 -o json").await?;
    ensure!(
        shown[0]["exports"][0]["name"] == "web" && shown[0]["exports"][0]["valid"] == "-",
        "{shown}"
    );
    let shown = desk.json("show imports --context kind-c2 -o json").await?;
    ensure!(
        shown[0]["imports"][0]["clusters"] == json!(["c1"]),
        "{shown}"
    );
    ensure!(
        shown[0]["imports"].as_array().map(Vec::len) == Some(1)
            && shown[0]["imports"][0]["ips"] == json!(["10.96.1.1"]),
        "of Services, by their addresses, but for the view of release 0.14: {shown}"
    );
    let shown = desk
        .json("show imports -n submariner-operator --context kind-c2 -o json")
        .await?;
    ensure!(shown[0]["imports"][0]["name"] == "web-sample-c1", "{shown}");
    let run = desk.good("show imports").await?;
    ensure!(
        run.out.matches("Cluster ").count() == 2
            && run
                .err
                .contains("\"kind-broker\" is no member of a cluster set: left out"),
        "{run:#?}"
    );
    let run = desk.good("show imports --context kind-broker").await?;
    ensure!(run.err.contains("No service is imported"), "{run:#?}");
    let run = desk
        .good("show imports --context kind-broker -n submariner-k8s-broker")
        .await?;
    ensure!(run.out.contains("web-sample"), "{run:#?}");
    let run = desk.good("show imports --context kind-c2 -o yaml").await?;
    ensure!(run.out.contains("context: kind-c2"), "{run:#?}");
    desk.fails("show all --context nowhere", 3, "no context \"nowhere\"")
        .await?;
    Ok(())
}

/// Link by link, as each is mended.
async fn explain(desk: &Desk) -> Result<()> {
    desk.answers(
        "--context kind-c1 explain export nothing -n sample",
        10,
        "Service sample/nothing does not exist",
    )
    .await?;
    // No kubelet runs the agent.
    let run = desk
        .answers(
            "--context kind-c1 explain export web -n sample",
            10,
            "Deployment submariner-lighthouse-agent of this cluster has no available replica",
        )
        .await?;
    ensure!(
        run.out.contains(" ✓ ServiceExport sample/web exists\n"),
        "{run:#?}"
    );
    ensure!(
        run.out
            .contains(" ⚠ Service sample/web has no ready endpoint"),
        "{run:#?}"
    );
    let c1 = desk.json("show exports --context kind-c1 -o json").await?;
    ensure!(c1[0]["exports"].as_array().is_some(), "{c1}");
    Ok(())
}

async fn broker_record(on_broker: &Api) -> Result<()> {
    import(on_broker, BROKER, "web-sample", "c1").await?;
    on_broker
        .create_value(&kind::SLICES, &slice(BROKER, "web-x1"))
        .await?;
    Ok(())
}

fn slice(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": namespace, "labels": {
            "endpointslice.kubernetes.io/managed-by": "lighthouse-agent.submariner.io",
            "multicluster.kubernetes.io/service-name": "web",
            "multicluster.kubernetes.io/source-cluster": "c1",
            "lighthouse.submariner.io/sourceNamespace": "sample",
            "lighthouse.submariner.io/is-headless": "false",
        }},
        "addressType": "IPv4", "endpoints": [{"addresses": ["10.96.1.1"]}], "ports": [],
    })
}

async fn corefile(api: &Api, text: &str) -> Result<()> {
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "coredns", "namespace": "kube-system"},
        "data": {"Corefile": text},
    });
    // The API server makes the namespace within moments of its start.
    subm_test_support::eventually(crate::common::SOON, || async {
        api.create_value(&kind::CONFIG_MAPS, &map).await
    })
    .await?;
    Ok(())
}

async fn read_corefile(api: &Api) -> Result<String> {
    let map = api
        .get(&kind::CONFIG_MAPS, Some("kube-system"), "coredns")
        .await?
        .context("coredns")?;
    Ok(str_at(&map, "/data/Corefile").to_owned())
}

async fn coredns_version(api: &Api) -> Result<String> {
    let map = api
        .get(&kind::CONFIG_MAPS, Some("kube-system"), "coredns")
        .await?
        .context("coredns")?;
    Ok(str_at(&map, "/metadata/resourceVersion").to_owned())
}

/// What a user might find left over. Without controllers a namespace stays `Terminating`; then it counts as gone.
async fn everything(api: &Api) -> Result<Vec<String>> {
    const KINDS: [Kind; 17] = [
        kind::CONFIG_MAPS,
        kind::SECRETS,
        kind::ACCOUNTS,
        kind::SERVICES,
        kind::DEPLOYMENTS,
        kind::BUDGETS,
        kind::SLICES,
        kind::LEASES,
        kind::ROLES,
        kind::ROLE_BINDINGS,
        kind::CLUSTER_ROLES,
        kind::CLUSTER_ROLE_BINDINGS,
        kind::POLICIES,
        kind::POLICY_BINDINGS,
        kind::DEFINITIONS,
        kind::PROPERTIES,
        kind::BROKERS,
    ];
    let mut lines = Vec::new();
    for kind in &KINDS {
        let names = names(api, kind).await?;
        lines.extend(names.iter().map(|name| format!("{kind} {name}")));
    }
    for namespace in api.list(&kind::NAMESPACES, None, "").await? {
        if namespace["metadata"]["deletionTimestamp"].is_null() {
            lines.push(format!(
                "namespace {}",
                subm_subctl::cluster::name(&namespace)
            ));
        }
    }
    lines.retain(|line| !is_the_control_planes(line) && !line.contains("sample"));
    lines.sort();
    Ok(lines)
}

/// What API servers make at their own pace: default roles, their own namespaces and what is in them.
fn is_the_control_planes(line: &str) -> bool {
    let ours = line.contains("submariner") || line.contains("coredns");
    let theirs = ["rbac.authorization", "kube-", "kubernetes", "default/"];
    !ours && theirs.iter().any(|word| line.contains(word))
}
