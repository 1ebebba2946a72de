use std::sync::Mutex;

use subm_dns_core::facts::{
    ClusterId, Fact, Import, ImportForm, ObjectKey, ServiceKey, ServiceType, Slice, SliceForm,
};

use super::*;

/// Writes down what it is told.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Board for &'static Notes {
    fn publish(&self, published: &Published, _: &Timing) {
        let count = published.snapshot.service_count();
        self.0.lock().unwrap().push(format!("{count} services"));
    }

    fn problems(&self, _: usize, new: &[Problem]) {
        self.0
            .lock()
            .unwrap()
            .extend(new.iter().map(|problem| problem.message.clone()));
    }

    fn source(&self, kind: &'static str, healthy: bool, _: &str) {
        self.0.lock().unwrap().push(format!("{kind} {healthy}"));
    }

    fn last_serial(&self) -> Option<u32> {
        None
    }
}

fn import(name: &str) -> Event {
    let import = Import {
        service: ServiceKey::new("shop", name).unwrap(),
        form: ImportForm::Aggregated,
        kind: ServiceType::ClusterSetIp,
        ips: vec!["243.0.0.1".parse().unwrap()],
        ports: Vec::new(),
        weights: Vec::new(),
    };
    Event::Facts(vec![Fact::Import(
        ObjectKey::new("shop", name),
        Some(import),
    )])
}

fn problem(message: &str) -> Event {
    let problem = Problem {
        object: "o".into(),
        field: "f".into(),
        message: message.into(),
    };
    Event::Problems {
        object: "o".into(),
        problems: vec![problem],
    }
}

/// What a board is told of these events, which all are there at once.
fn told(events: Vec<Event>) -> Vec<String> {
    told_of(events, false)
}

fn told_of(events: Vec<Event>, apart: bool) -> Vec<String> {
    let board: &'static Notes = Box::leak(Box::default());
    let (send, receive) = mpsc::channel(events.len());
    for event in events {
        send.try_send(event).expect("there is room");
    }
    drop(send);
    run(
        Settings {
            cluster_id: None,
            longest_zone: 18,
        },
        receive,
        &LocalSlices {
            want: watch::Sender::new(false),
            apart,
        },
        &board,
    );
    board.0.lock().unwrap().clone()
}

#[test]
fn nothing_is_published_before_everything_has_been_read() {
    assert_eq!(
        told(vec![import("web"), import("db")]),
        Vec::<String>::new()
    );
}

#[test]
fn what_has_piled_up_is_published_together() {
    assert_eq!(
        told(vec![import("web"), Event::Synced, import("db")]),
        ["2 services"]
    );
}

#[test]
fn an_empty_cluster_set_is_published_too() {
    assert_eq!(told(vec![Event::Synced]), ["0 services"]);
}

#[test]
fn a_problem_is_said_once() {
    assert_eq!(
        told(vec![problem("bad"), problem("bad"), problem("worse")]),
        ["bad", "worse"]
    );
}

#[test]
fn health_is_passed_on() {
    let lost = Event::Health {
        kind: "gateways",
        healthy: false,
        detail: "403".into(),
    };
    assert_eq!(told(vec![lost]), ["gateways false"]);
}

/// A headless service of the local cluster, with the global IPs that it has elsewhere.
fn at_home() -> Event {
    let service = ServiceKey::new("shop", "db").unwrap();
    let east = ClusterId::new("east").unwrap();
    let import = Import {
        service: service.clone(),
        form: ImportForm::Aggregated,
        kind: ServiceType::Headless,
        ips: Vec::new(),
        ports: Vec::new(),
        weights: Vec::new(),
    };
    let slice = Slice {
        service,
        cluster: east.clone(),
        form: SliceForm::Backends,
        publish_not_ready: false,
        globalnet: true,
        ports: Vec::new(),
        endpoints: Vec::new(),
        triggered_at: None,
    };
    Event::Facts(vec![
        Fact::ClusterProperty(Some(east)),
        Fact::Import(ObjectKey::new("shop", "db"), Some(import)),
        Fact::Slice(ObjectKey::new("shop", "db-1"), Some(slice)),
    ])
}

#[test]
fn global_addresses_are_not_given_at_home_while_local_ones_are_read() {
    assert_eq!(
        told_of(vec![at_home(), Event::Synced], true),
        Vec::<String>::new()
    );
    let all = vec![at_home(), Event::Synced, Event::LocalSlicesRead];
    assert_eq!(told_of(all, true), ["1 services"]);
    // Manifests hold them with everything else.
    assert_eq!(
        told_of(vec![at_home(), Event::Synced], false),
        ["1 services"]
    );
}
