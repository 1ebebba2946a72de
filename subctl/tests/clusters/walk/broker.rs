//! The broker: made, made again with other wishes, and recovered.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use subm_install::BrokerInfo;
use subm_subctl::cluster::{Cluster as Api, kind, str_at};

use super::BROKER;
use crate::common::{Desk, mode, names};

pub(super) async fn deploy(desk: &Desk, on_broker: &Api) -> Result<()> {
    let dry = desk
        .good("--context kind-broker deploy-broker --dry-run")
        .await?
        .out;
    ensure!(
        dry.contains("kind: ValidatingAdmissionPolicy") && !desk.path("broker-info.subm").exists(),
        "{dry}"
    );
    ensure!(names(on_broker, &kind::BROKERS).await?.is_empty());
    desk.fails(
        "deploy-broker --components dns",
        2,
        "invalid components parameter",
    )
    .await?;
    desk.fails(
        "deploy-broker --globalnet --globalnet-cidr-range 127.0.0.0/8",
        2,
        "invalid GlobalCIDR configuration",
    )
    .await?;

    let run = desk.good("--context kind-broker deploy-broker").await?;
    for line in [
        " • Setting up broker RBAC  ...\n",
        " ✓ Setting up broker RBAC\n",
        " ✓ Deploying the broker\n",
        " ✓ Saving broker info to file \"broker-info.subm\"\n",
    ] {
        ensure!(run.err.contains(line), "{line:?} {run:#?}");
    }
    ensure!(mode(&desk.path("broker-info.subm"))? == 0o600);
    let first = info(desk)?;
    ensure!(
        first.broker_url.starts_with("https://127.")
            && first.token().is_some()
            && first.ca().is_some()
    );
    ensure!(first.components == ["connectivity", "service-discovery"]);

    // A second run keeps the key of those who have joined, and the file that was there. While nobody has addresses it may
    // share out others.
    let globalnet = "--context kind-broker deploy-broker --globalnet --globalnet-cidr-range";
    let run = desk.good(&format!("{globalnet} 241.0.0.0/9")).await?;
    let none =
        " ⚠ This version gives no global IPs: clusters that join with Globalnet export nothing";
    ensure!(run.err.contains(none), "{run:#?}");
    ensure!(ranges(on_broker).await? == ["true", "241.0.0.0/9", "true", "\"241.0.0.0/9\""]);
    allocated(
        on_broker,
        "[{\"cluster_id\":\"old\",\"global_cidr\":[\"241.0.0.0/16\"]}]",
    )
    .await?;
    let run = desk.good(&format!("{globalnet} 242.0.0.0/8")).await?;
    ensure!(
        run.err.contains(
            "submariner-globalnet-info stays as it is (range 241.0.0.0/9, enabled: true)"
        ),
        "{run:#?}"
    );
    ensure!(ranges(on_broker).await? == ["true", "241.0.0.0/9", "true", "\"241.0.0.0/9\""]);
    allocated(on_broker, "[]").await?;
    // Who asks for something else asks for no change of it.
    desk.good("--context kind-broker deploy-broker").await?;
    ensure!(ranges(on_broker).await? == ["true", "241.0.0.0/9", "true", "\"241.0.0.0/9\""]);
    let run = desk
        .good("--context kind-broker deploy-broker --globalnet=false")
        .await?;
    ensure!(
        run.err
            .contains("submariner-globalnet-info has changed (range 241.0.0.0/9, enabled: false)"),
        "{run:#?}"
    );
    ensure!(ranges(on_broker).await?[..3] == ["false", "", "false"]);
    ensure!(
        run.err
            .contains(" ✓ Backed up previous file \"broker-info.subm\" to \"broker-info.subm."),
        "{run:#?}"
    );
    ensure!(info(desk)?.ipsec_psk["data"] == first.ipsec_psk["data"]);

    // Components and domains stay too, and a change of them is told.
    let line = "--context kind-broker deploy-broker";
    let words = "--components service-discovery --custom-domains shop.example";
    let run = desk.good(&format!("{line} {words}")).await?;
    for line in [
        "components have changed: service-discovery, before connectivity, service-discovery;",
        "custom domains have changed: shop.example, before none;",
    ] {
        ensure!(run.err.contains(line), "{line:?} {run:#?}");
    }
    let run = desk.good(line).await?;
    let now = info(desk)?;
    ensure!(
        now.components == ["service-discovery"]
            && now.custom_domains == ["shop.example"]
            && !run.err.contains("have changed"),
        "{now:?} {run:#?}"
    );
    let words = "--components service-discovery,connectivity --custom-domains=";
    let run = desk.good(&format!("{line} {words}")).await?;
    ensure!(
        info(desk)?.custom_domains.is_empty()
            && run
                .err
                .contains("custom domains have changed: none, before shop.example;"),
        "{run:#?}"
    );
    // The same in another order is no change.
    let mut cr = on_broker
        .list(&kind::BROKERS, Some(BROKER), "")
        .await?
        .swap_remove(0);
    cr["spec"]["components"] = json!(["service-discovery", "connectivity"]);
    on_broker.replace(&kind::BROKERS, "", &cr).await?;
    let run = desk.good(&format!("{line} {words}")).await?;
    ensure!(!run.err.contains("have changed"), "{run:#?}");

    // The same from the broker alone.
    std::fs::remove_file(desk.path("broker-info.subm"))?;
    let run = desk
        .good("--context kind-broker recover-broker-info")
        .await?;
    ensure!(
        run.err
            .contains("Successfully retrieved the data. Writing it to broker-info.subm"),
        "{run:#?}"
    );
    let recovered = info(desk)?;
    ensure!(recovered.client_token["data"] == first.client_token["data"]);
    ensure!(recovered.ipsec_psk["data"] == first.ipsec_psk["data"]);
    ensure!((recovered.broker_url, recovered.components) == (first.broker_url, first.components));
    Ok(())
}

/// Globalnet as the Broker has it, and as the ConfigMap that counts.
async fn ranges(on_broker: &Api) -> Result<[String; 4]> {
    let space = Some(BROKER);
    let broker = on_broker.list(&kind::BROKERS, space, "").await?;
    let map = globalnet_info(on_broker).await?;
    let spec = &broker.first().context("a Broker")?["spec"];
    Ok([
        spec["globalnetEnabled"].to_string(),
        str_at(spec, "/globalnetCIDRRange").to_owned(),
        str_at(&map, "/data/globalnetEnabled").to_owned(),
        str_at(&map, "/data/globalnetCidrRange").to_owned(),
    ])
}

async fn globalnet_info(on_broker: &Api) -> Result<Value> {
    on_broker
        .get(
            &kind::CONFIG_MAPS,
            Some(BROKER),
            "submariner-globalnet-info",
        )
        .await?
        .context("the ConfigMap of Globalnet")
}

/// As if members had joined.
async fn allocated(on_broker: &Api, members: &str) -> Result<()> {
    let mut map = globalnet_info(on_broker).await?;
    map["data"]["clusterinfo"] = json!(members);
    on_broker.replace(&kind::CONFIG_MAPS, "", &map).await?;
    Ok(())
}

pub(super) fn info(desk: &Desk) -> Result<BrokerInfo> {
    let text = std::fs::read_to_string(desk.path("broker-info.subm"))?;
    Ok(BrokerInfo::decode(&text)?)
}
