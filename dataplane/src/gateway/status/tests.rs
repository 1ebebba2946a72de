use proptest::prelude::*;
use serde_json::json;
use subm_tunnel::health::Rtt;
use subm_tunnel::{Cable, ConnectionStatus};

use super::*;

const NAMESPACE: &str = "submariner-operator";
const NOW: Duration = Duration::from_secs(1_795_469_969);

fn endpoint(cluster: &str) -> EndpointSpec {
    EndpointSpec {
        cluster_id: cluster.to_owned(),
        cable_name: format!("submariner-cable-{cluster}-172-31-2-11"),
        hostname: format!("{cluster}-gw1"),
        ..EndpointSpec::default()
    }
}

fn rtt(millis: u64) -> Rtt {
    Rtt::of(&[Duration::from_millis(millis)]).expect("one")
}

/// As a driver and the health check of its path say it.
fn cable(cluster: &str, status: ConnectionStatus) -> (EndpointSpec, Connection) {
    let spec = endpoint(cluster);
    let far = Cable::new(&spec.cable_name, cluster, [172, 31, 2, 11].into(), 4500);
    let mut connection = Connection::new(&far, status, "");
    connection.rtt = Some(rtt(3));
    (spec, connection)
}

fn of(active: bool, cables: &[(EndpointSpec, Connection)]) -> GatewayStatus {
    let local = endpoint("c1");
    status(&Known {
        active,
        endpoint: &local,
        cables,
        problems: &[],
        version: "0.1.0",
    })
}

fn connected() -> GatewayStatus {
    of(true, &[cable("c2", ConnectionStatus::Connected)])
}

/// What stands there after `status` was written at `at` by us.
fn ours(status: &GatewayStatus, at: Duration) -> Gateway {
    publish(NAMESPACE, "c1-gw1", status, &[], at).expect("nothing is there")
}

fn of_submariner(name: &str, ha_status: &str, timestamp: Option<&str>) -> Gateway {
    let annotations: BTreeMap<_, _> = timestamp
        .map(|at| (UPDATE_TIMESTAMP, at))
        .into_iter()
        .collect();
    serde_json::from_value(json!({
        "metadata": {"name": name, "annotations": annotations, "uid": format!("uid-{name}"), "resourceVersion": "7"},
        "status": {"haStatus": ha_status},
    }))
    .expect("a Gateway")
}

fn after(seconds: u64) -> Duration {
    NOW + Duration::from_secs(seconds)
}

/// cableengine/syncer: "Gateway latency info › should correctly update the Gateway Status information".
#[test]
fn syncer_393_round_trips_are_told_as_go_tells_durations() {
    let (spec, mut seen) = cable("c2", ConnectionStatus::Error);
    seen.rtt = Rtt::of(&[Duration::from_micros(231), Duration::from_millis(2)]);
    seen.message = "why".to_owned();
    let told = connection(&(spec.clone(), seen));
    let rtt = told.latency_rtt.expect("round trips");
    assert_eq!((rtt.min.as_str(), rtt.last.as_str()), ("231\u{b5}s", "2ms"));
    assert_eq!(
        (told.status.as_str(), told.status_message.as_str()),
        ("error", "why")
    );
    assert_eq!((told.endpoint, told.using_nat), (spec, false));
}

/// cableengine/syncer: "after syncer startup for an active gateway › should create the Gateway resource with the correct information",
/// in the form that was recorded.
#[test]
fn syncer_132_cableengine_123_304_321_a_gateway_is_as_submariner_writes_it() {
    let gateway = ours(&connected(), NOW);
    let written = serde_json::to_value(&gateway).expect("JSON");
    assert_eq!(written["metadata"]["name"], "c1-gw1");
    assert_eq!(written["metadata"]["namespace"], NAMESPACE);
    assert_eq!(
        written["metadata"]["annotations"]["update-timestamp"],
        "1795469969"
    );
    let status = &written["status"];
    assert_eq!(
        (
            &status["haStatus"],
            &status["statusFailure"],
            &status["version"]
        ),
        (&json!("active"), &json!(""), &json!("0.1.0"))
    );
    assert_eq!(status["localEndpoint"]["cluster_id"], "c1");
    let connection = &status["connections"][0];
    assert_eq!(connection["status"], "connected");
    assert_eq!(connection["statusMessage"], "");
    assert_eq!(connection["usingIP"], "172.31.2.11");
    assert_eq!(connection.get("usingNAT"), None);
    assert_eq!(connection["latencyRTT"]["last"], "3ms");
    assert_eq!(connection["endpoint"]["hostname"], "c2-gw1");
}

/// cableengine: "not started › and list of cable connections is queried › should return non-nil", "after Stop › should return empty".
#[test]
fn cableengine_341_347_363_369_a_passive_gateway_lists_nothing() {
    let passive = of(false, &[cable("c2", ConnectionStatus::Connected)]);
    assert_eq!(passive.ha_status, "passive");
    assert!(passive.local_endpoint.is_some());
    assert_eq!(
        serde_json::to_value(&passive).expect("JSON")["connections"],
        json!([])
    );
}

/// cableengine/syncer: "a specific status error is set › should update the Gateway resource with the correct StatusFailure".
#[test]
fn syncer_187_371_problems_are_told_together() {
    let status = status(&Known {
        active: true,
        endpoint: &endpoint("c1"),
        cables: &[],
        problems: &["one".to_owned(), "two".to_owned()],
        version: "",
    });
    assert_eq!(status.status_failure, "one; two");
}

#[test]
fn syncer_96_without_news_nothing_is_written_for_a_minute() {
    let status = connected();
    let there = [ours(&status, NOW)];
    for seconds in 0..60 {
        assert_eq!(
            publish(NAMESPACE, "c1-gw1", &status, &there, after(seconds)),
            None,
            "after {seconds} s"
        );
    }
    // "should periodically update the Gateway resource timestamp"
    let renewed = publish(NAMESPACE, "c1-gw1", &status, &there, after(60)).expect("due");
    assert_eq!(
        annotation(&renewed.metadata, UPDATE_TIMESTAMP),
        Some("1795470029")
    );
    assert_eq!(renewed.status, there[0].status);
}

/// cableengine/syncer: "the cable engine info changes › should update the Gateway Status with the correct information".
#[test]
fn syncer_148_news_are_written_at_once() {
    let there = [ours(&connected(), NOW)];
    let mut other = cable("c2", ConnectionStatus::Connected);
    other.1.message = "why".to_owned();
    let news = [
        of(false, &[]),
        of(true, &[]),
        of(true, &[cable("c2", ConnectionStatus::Error)]),
        of(true, &[other]),
        GatewayStatus {
            status_failure: "x".to_owned(),
            ..connected()
        },
        GatewayStatus {
            local_endpoint: None,
            ..connected()
        },
    ];
    for status in news {
        let written = publish(NAMESPACE, "c1-gw1", &status, &there, NOW).expect("news");
        assert_eq!(written.status.as_ref(), Some(&status));
    }
}

#[test]
fn another_round_trip_time_is_no_news() {
    let there = [ours(&connected(), NOW)];
    let mut other = cable("c2", ConnectionStatus::Connected);
    other.1.rtt = Some(rtt(4));
    let status = of(true, std::slice::from_ref(&other));
    let at = |seconds| publish(NAMESPACE, "c1-gw1", &status, &there, after(seconds));
    assert_eq!(at(59), None);
    let due = at(60).and_then(|gateway| gateway.status).expect("due");
    let rtt = due.connections.good[0].1.latency_rtt.clone();
    assert_eq!(rtt.map(|rtt| rtt.last), Some("4ms".to_owned()));
    other.1.rtt = None;
    assert!(
        publish(NAMESPACE, "c1-gw1", &of(true, &[other]), &there, NOW).is_some(),
        "that there is none"
    );
}

#[test]
fn a_message_that_counts_seconds_is_no_news() {
    let of = |message: &str| {
        let mut broken = cable("c2", ConnectionStatus::Error);
        broken.1.message = message.to_owned();
        of(true, &[broken])
    };
    let there = [ours(&of("no handshake for 131.0 seconds"), NOW)];
    let news = |message: &str| publish(NAMESPACE, "c1-gw1", &of(message), &there, NOW).is_some();
    assert!(!news("no handshake for 132.5 seconds"));
    assert!(news("no bytes received for 132.5 seconds") && news(""));
}

/// A Submariner's active gateway deletes what is older than 15 s.
#[test]
fn beside_a_gateway_of_submariners_its_rhythm_holds() {
    let status = of(false, &[]);
    let there = [
        ours(&status, NOW),
        of_submariner("c1-gw2", "active", Some("1795469969")),
    ];
    assert_eq!(
        publish(NAMESPACE, "c1-gw1", &status, &there, after(4)),
        None
    );
    assert!(publish(NAMESPACE, "c1-gw1", &status, &there, after(5)).is_some());
    let another_of_ours = publish(NAMESPACE, "c1-gw3", &status, &[], NOW).expect("new");
    let among_ourselves = [there[0].clone(), another_of_ours];
    assert_eq!(
        publish(NAMESPACE, "c1-gw1", &status, &among_ourselves, after(5)),
        None
    );
}

#[test]
fn what_a_submariner_left_or_a_clock_spoilt_is_written_anew() {
    let status = connected();
    let good = ours(&status, NOW);
    for timestamp in [None, Some(""), Some("soon"), Some("-1"), Some("1795470000")] {
        let mut there = good.clone();
        let annotations = there.metadata.annotations.get_or_insert_default();
        match timestamp {
            Some(text) => annotations.insert(UPDATE_TIMESTAMP.to_owned(), text.to_owned()),
            None => annotations.remove(UPDATE_TIMESTAMP),
        };
        assert!(
            publish(NAMESPACE, "c1-gw1", &status, &[there], NOW).is_some(),
            "{timestamp:?}"
        );
    }
    let mut of_go = good;
    of_go
        .metadata
        .annotations
        .get_or_insert_default()
        .remove(VALID_FOR);
    assert!(publish(NAMESPACE, "c1-gw1", &status, &[of_go], NOW).is_some());
}

/// cableengine/syncer: "should preserve existing annotations".
#[test]
fn syncer_210_annotations_of_others_stay() {
    let mut there = ours(&connected(), NOW);
    there.metadata.resource_version = Some("7".to_owned());
    let annotations = there.metadata.annotations.get_or_insert_default();
    annotations.insert(
        "submariner.io/globalIp".to_owned(),
        "242.0.255.1".to_owned(),
    );
    let written = publish(NAMESPACE, "c1-gw1", &of(false, &[]), &[there], NOW).expect("news");
    assert_eq!(
        annotation(&written.metadata, "submariner.io/globalIp"),
        Some("242.0.255.1")
    );
    assert_eq!(written.metadata.resource_version.as_deref(), Some("7"));
}

/// Defect 18: its own Gateway is found by the name that it writes.
#[test]
fn d18_a_node_with_an_odd_name_has_one_gateway() {
    let status = connected();
    let there = publish(NAMESPACE, "GW_1", &status, &[], NOW).expect("new");
    assert_eq!(there.metadata.name.as_deref(), Some("gw-1"));
    assert_eq!(
        publish(
            NAMESPACE,
            "GW_1",
            &status,
            std::slice::from_ref(&there),
            NOW
        ),
        None
    );
    let mut freshness = Freshness::default();
    for seconds in [0, 3600] {
        assert_eq!(
            freshness.look(
                "GW_1",
                true,
                std::slice::from_ref(&there),
                Duration::from_secs(seconds)
            ),
            []
        );
    }
    assert_eq!(publish(NAMESPACE, "__", &status, &[], NOW), None);
}

/// How long each of these may stand still until the active gateway `c1-gw1` deletes it.
fn lasts(gateway: &Gateway) -> u64 {
    let mut freshness = Freshness::default();
    let all = [gateway.clone(), ours(&connected(), NOW)];
    (0..10_000)
        .find(|seconds| {
            let stale = freshness.look("c1-gw1", true, &all, Duration::from_secs(*seconds));
            stale
                .iter()
                .any(|stale| Some(&stale.name) == gateway.metadata.name.as_ref())
        })
        .expect("for ever")
}

/// cableengine/syncer: "Stale Gateway cleanup", all cases.
#[test]
fn syncer_257_268_274_284_gateways_that_stand_still_are_deleted() {
    let passive = |timestamp| of_submariner("c1-gw2", "passive", timestamp);
    assert_eq!(
        lasts(&passive(Some("1795469969"))),
        15,
        "the update timestamp expires"
    );
    assert_eq!(
        lasts(&passive(None)),
        15,
        "the annotation, or all annotations, are missing"
    );
    assert_eq!(
        lasts(&passive(Some("invalid"))),
        15,
        "the annotation is invalid"
    );
    // By their own clock it may be any time.
    assert_eq!(lasts(&passive(Some("1"))), 15);
    assert_eq!(lasts(&passive(Some("99999999999"))), 15);
    let of_ours = publish(NAMESPACE, "c1-gw2", &of(false, &[]), &[], NOW).expect("new");
    assert_eq!(lasts(&of_ours), 180);
    let former = publish(NAMESPACE, "c1-gw2", &of(true, &[]), &[], NOW).expect("new");
    assert_eq!(lasts(&former), 15, "it says that it is active, and we are");
    let mut vain = of_ours;
    for (text, seconds) in [("99999999", 3600), ("0", 15), ("soon", 15)] {
        let annotations = vain.metadata.annotations.get_or_insert_default();
        annotations.insert(VALID_FOR.to_owned(), text.to_owned());
        assert_eq!(lasts(&vain), seconds, "{text}");
    }
}

#[test]
fn a_deletion_is_of_what_was_seen() {
    let mut freshness = Freshness::default();
    let there = [of_submariner("c1-gw2", "passive", None)];
    freshness.look("c1-gw1", true, &there, Duration::ZERO);
    let stale = freshness.look("c1-gw1", true, &there, Duration::from_secs(15));
    let expected = Stale {
        name: "c1-gw2".to_owned(),
        uid: Some("uid-c1-gw2".to_owned()),
        resource_version: Some("7".to_owned()),
    };
    assert_eq!(stale, [expected]);
}

#[test]
fn who_goes_on_writing_stays() {
    let mut freshness = Freshness::default();
    for round in 0..100_u64 {
        let timestamp = (NOW.as_secs() + 5 * round).to_string();
        let there = [of_submariner("c1-gw2", "passive", Some(&timestamp))];
        assert_eq!(
            freshness.look("c1-gw1", true, &there, Duration::from_secs(14 * round)),
            []
        );
    }
}

#[test]
fn a_passive_gateway_deletes_nothing_but_knows_the_age() {
    let mut freshness = Freshness::default();
    let there = [of_submariner("c1-gw2", "active", None)];
    for seconds in [0, 100] {
        assert_eq!(
            freshness.look("c1-gw1", false, &there, Duration::from_secs(seconds)),
            []
        );
    }
    assert_eq!(
        freshness
            .look("c1-gw1", true, &there, Duration::from_secs(101))
            .len(),
        1
    );
}

proptest! {
    /// Any order of cables is the same status, and what was written is good until something changes.
    #[test]
    fn order_is_no_news(order in Just(["c5", "c2", "c4", "c3"]).prop_shuffle()) {
        let cables = order.map(|cluster| cable(cluster, ConnectionStatus::Connected));
        let shuffled = of(true, &cables);
        let clusters: Vec<&str> = shuffled.connections.iter().map(|c| c.endpoint.cluster_id.as_str()).collect();
        prop_assert_eq!(&clusters, &["c2", "c3", "c4", "c5"]);
        prop_assert_eq!(publish(NAMESPACE, "c1-gw1", &shuffled, &[ours(&shuffled, NOW)], after(1)), None);
    }
}
