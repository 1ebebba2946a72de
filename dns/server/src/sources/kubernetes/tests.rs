//! What a kind makes of the events of its watch. The watch itself is tested against API servers.

use serde_json::json;
use subm_api::{ClusterProperty, Namespace, ServiceImport, names};
use subm_dns_core::facts::{ClusterId, ObjectKind};
use subm_dns_core::name::Label;
use tokio::sync::mpsc::{self, Receiver};

use super::*;

fn refusal() -> Trouble {
    Trouble::Forbidden {
        resource: "gateways.submariner.io".to_owned(),
        message: "no".to_owned(),
    }
}

/// `unlisted` kinds are to be listed, among them this one.
fn kind<R: Reader>(reader: R, essential: bool, unlisted: usize) -> (Kind<R>, Receiver<Event>) {
    let (events, received) = mpsc::channel(1024);
    let config = kube::Config::new("http://127.0.0.1:1".parse().expect("a URL"));
    let client = Client::try_from(config).expect("a client");
    let run = Run {
        client,
        events,
        unlisted: Arc::new(AtomicUsize::new(unlisted)),
    };
    (run.kind(reader, essential), received)
}

async fn feed<R: Reader>(kind: &mut Kind<R>, events: Vec<WatchEvent<R::Object>>) {
    for event in events {
        assert!(kind.take(event).await.is_ok());
    }
}

fn told(received: &mut Receiver<Event>) -> Vec<Event> {
    std::iter::from_fn(|| received.try_recv().ok()).collect()
}

fn healthy(kind: &'static str) -> Event {
    Event::Health {
        kind,
        healthy: true,
        detail: String::new(),
    }
}

fn import(name: &str, ip: &str) -> ServiceImport {
    let object = json!({
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"type": "ClusterSetIP", "ips": [ip]},
    });
    serde_json::from_value(object).expect("an import")
}

fn gone(name: &str) -> Fact {
    Fact::Import(ObjectKey::new("shop", name), None)
}

fn only(names: &[&str]) -> Fact {
    let keys = names.iter().map(|name| ObjectKey::new("shop", name));
    Fact::Only(ObjectKind::Import, keys.collect())
}

#[tokio::test]
async fn a_second_list_takes_back_what_vanished_meanwhile() {
    let (mut imports, mut received) = kind(Imports, true, 1);
    let apply = |name| WatchEvent::Apply(import(name, "243.0.0.1"));
    feed(
        &mut imports,
        vec![
            WatchEvent::Started,
            apply("a"),
            apply("b"),
            WatchEvent::Listed,
        ],
    )
    .await;
    let events = told(&mut received);
    assert!(
        matches!(&events[0], Event::Facts(facts) if facts.len() == 2),
        "{events:?}"
    );
    assert_eq!(events[1..], [healthy("ServiceImport"), Event::Synced]);

    // A list that breaks off and begins anew takes nothing back before its end.
    feed(
        &mut imports,
        vec![
            WatchEvent::Started,
            apply("a"),
            WatchEvent::Trouble(Trouble::Expired("x".to_owned())),
        ],
    )
    .await;
    feed(&mut imports, vec![WatchEvent::Started, apply("a")]).await;
    let events = told(&mut received);
    let ends = |event: &Event| matches!(event, Event::Facts(facts) if facts.iter().any(|fact| matches!(fact, Fact::Only(..))));
    assert!(!events.iter().any(ends), "{events:?}");
    feed(&mut imports, vec![WatchEvent::Listed]).await;
    let events = told(&mut received);
    assert!(
        matches!(&events[..], [Event::Facts(facts)] if facts.last() == Some(&only(&["a"]))),
        "{events:?}"
    );
}

#[tokio::test]
async fn deleted_objects_and_a_removed_kind_are_taken_back() {
    let (mut imports, mut received) = kind(Imports, true, 2);
    let object = import("a", "243.0.0.1");
    let metadata = object.metadata.clone();
    feed(
        &mut imports,
        vec![
            WatchEvent::Started,
            WatchEvent::Apply(object),
            WatchEvent::Listed,
        ],
    )
    .await;
    told(&mut received);
    feed(&mut imports, vec![WatchEvent::Delete(metadata)]).await;
    assert_eq!(told(&mut received), [Event::Facts(vec![gone("a")])]);

    feed(
        &mut imports,
        vec![
            WatchEvent::Apply(import("b", "243.0.0.1")),
            WatchEvent::Absent,
        ],
    )
    .await;
    let events = told(&mut received);
    assert!(
        events.contains(&Event::Facts(vec![only(&[])])),
        "{events:?}"
    );
    assert!(
        !events.contains(&Event::Synced),
        "another kind is still to be listed: {events:?}"
    );
}

#[tokio::test]
async fn problems_are_told_and_taken_back() {
    let (mut imports, mut received) = kind(Imports, true, 2);
    feed(
        &mut imports,
        vec![WatchEvent::Apply(import("a", "nonsense"))],
    )
    .await;
    let events = told(&mut received);
    assert!(
        matches!(&events[0], Event::Problems { object, problems } if object == "ServiceImport shop/a" && problems.len() == 1),
        "{events:?}"
    );
    feed(
        &mut imports,
        vec![WatchEvent::Apply(import("a", "243.0.0.1"))],
    )
    .await;
    let fine = |object: &str| Event::Problems {
        object: object.to_owned(),
        problems: vec![],
    };
    assert_eq!(told(&mut received)[0], fine("ServiceImport shop/a"));

    // An object without the shape of its kind is not served any more, and said.
    let metadata = import("a", "").metadata;
    let invalid = WatchEvent::Invalid {
        metadata: metadata.clone(),
        error: "invalid type".to_owned(),
    };
    feed(&mut imports, vec![invalid]).await;
    let events = told(&mut received);
    assert!(
        matches!(&events[0], Event::Problems { problems, .. } if problems.len() == 1),
        "{events:?}"
    );
    assert_eq!(events[1], Event::Facts(vec![gone("a")]));
    feed(&mut imports, vec![WatchEvent::Delete(metadata)]).await;
    assert!(told(&mut received).contains(&fine("ServiceImport shop/a")));
}

#[tokio::test]
async fn only_essential_kinds_hold_up_readiness_when_refused() {
    let (mut gateways, mut received) = kind(Gateways, false, 1);
    feed(
        &mut gateways,
        vec![
            WatchEvent::Trouble(refusal()),
            WatchEvent::Trouble(refusal()),
        ],
    )
    .await;
    let refused = |kind| Event::Health {
        kind,
        healthy: false,
        detail: refusal().to_string(),
    };
    assert_eq!(told(&mut received), [refused("Gateway"), Event::Synced]);

    let (mut imports, mut received) = kind(Imports, true, 1);
    feed(&mut imports, vec![WatchEvent::Trouble(refusal())]).await;
    assert_eq!(told(&mut received), [refused("ServiceImport")]);
    feed(
        &mut imports,
        vec![WatchEvent::Started, WatchEvent::Listed, WatchEvent::Listed],
    )
    .await;
    assert_eq!(
        told(&mut received),
        [healthy("ServiceImport"), Event::Synced]
    );
}

#[tokio::test]
async fn a_server_that_is_away_takes_nothing_back() {
    let (mut imports, mut received) = kind(Imports, true, 1);
    let apply = WatchEvent::Apply(import("a", "243.0.0.1"));
    feed(
        &mut imports,
        vec![WatchEvent::Started, apply, WatchEvent::Listed],
    )
    .await;
    told(&mut received);
    let away = || WatchEvent::Trouble(Trouble::Unreachable("refused".to_owned()));
    feed(&mut imports, vec![away(), away(), WatchEvent::Recovered]).await;
    let events = told(&mut received);
    assert!(
        matches!(events[0], Event::Health { healthy: false, .. }),
        "{events:?}"
    );
    assert_eq!(events[1..], [healthy("ServiceImport")]);
}

#[tokio::test]
async fn news_shows_that_a_watch_works_again() {
    let away = || WatchEvent::Trouble(Trouble::Unreachable("refused".to_owned()));
    let apply = |name| WatchEvent::Apply(import(name, "243.0.0.1"));
    let (mut imports, mut received) = kind(Imports, true, 1);
    feed(
        &mut imports,
        vec![WatchEvent::Started, WatchEvent::Listed, away(), apply("a")],
    )
    .await;
    assert_eq!(
        told(&mut received).last(),
        Some(&healthy("ServiceImport")),
        "a change of the watch that was resumed"
    );

    // Part of a list is not enough: it may break off again.
    feed(
        &mut imports,
        vec![away(), WatchEvent::Started, apply("a"), apply("b")],
    )
    .await;
    assert!(!told(&mut received).contains(&healthy("ServiceImport")));
    feed(&mut imports, vec![WatchEvent::Listed]).await;
    assert!(told(&mut received).contains(&healthy("ServiceImport")));
}

#[tokio::test]
async fn copies_that_say_nothing_are_not_told() {
    let (mut imports, mut received) = kind(Imports, true, 2);
    let mut copy = import("a", "243.0.0.1");
    copy.metadata.labels = Some([(names::SERVICE_NAME.to_owned(), "a".to_owned())].into());
    let list = || {
        vec![
            WatchEvent::Started,
            WatchEvent::Apply(copy.clone()),
            WatchEvent::Listed,
        ]
    };
    feed(&mut imports, list()).await;
    assert_eq!(told(&mut received), [healthy("ServiceImport")]);
    feed(&mut imports, list()).await;
    assert_eq!(told(&mut received), [Event::Facts(vec![only(&[])])]);
    // But an import that becomes one is taken back.
    feed(
        &mut imports,
        vec![WatchEvent::Apply(import("a", "243.0.0.1"))],
    )
    .await;
    told(&mut received);
    feed(&mut imports, vec![WatchEvent::Apply(copy)]).await;
    assert_eq!(told(&mut received), [Event::Facts(vec![gone("a")])]);
}

#[tokio::test]
async fn problems_of_what_a_list_does_not_name_are_taken_back() {
    let (mut imports, mut received) = kind(Imports, true, 2);
    let broken = |name| WatchEvent::Apply(import(name, "nonsense"));
    feed(
        &mut imports,
        vec![
            WatchEvent::Started,
            broken("a"),
            broken("b"),
            broken("c"),
            WatchEvent::Listed,
        ],
    )
    .await;
    told(&mut received);
    // The first of these lists breaks off.
    feed(
        &mut imports,
        vec![
            WatchEvent::Started,
            broken("a"),
            WatchEvent::Started,
            broken("a"),
            WatchEvent::Apply(import("b", "243.0.0.1")),
            WatchEvent::Listed,
        ],
    )
    .await;
    let events = told(&mut received);
    let fine: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Problems { object, problems } if problems.is_empty() => Some(object.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(fine, ["ServiceImport shop/b", "ServiceImport shop/c"]);
}

#[tokio::test]
async fn the_newer_property_goes_before_the_older() {
    let property = |name: &str, value: &str| -> ClusterProperty {
        let object = json!({"metadata": {"name": name}, "spec": {"value": value}});
        serde_json::from_value(object).expect("a property")
    };
    let (mut properties, mut received) = kind(Properties::default(), false, 1);
    let new = property("cluster.clusterset.k8s.io", "east");
    let id =
        |id: Option<&str>| Event::Facts(vec![Fact::ClusterProperty(id.and_then(ClusterId::new))]);
    feed(&mut properties, vec![WatchEvent::Apply(new.clone())]).await;
    feed(
        &mut properties,
        vec![WatchEvent::Apply(property("id.k8s.io", "ancient"))],
    )
    .await;
    assert_eq!(told(&mut received), [id(Some("east")), id(Some("east"))]);
    feed(&mut properties, vec![WatchEvent::Delete(new.metadata)]).await;
    assert_eq!(told(&mut received), [id(Some("ancient"))]);
}

#[tokio::test]
async fn namespaces_come_and_go() {
    let (mut namespaces, mut received) = kind(Namespaces, false, 1);
    let shop: Namespace =
        serde_json::from_value(json!({"metadata": {"name": "shop"}})).expect("a namespace");
    let fact = |exists| {
        Event::Facts(vec![Fact::Namespace(
            Label::new("shop").expect("a label"),
            exists,
        )])
    };
    feed(
        &mut namespaces,
        vec![
            WatchEvent::Apply(shop.clone()),
            WatchEvent::Delete(shop.metadata),
        ],
    )
    .await;
    assert_eq!(told(&mut received), [fact(true), fact(false)]);
}
