use std::sync::Mutex;

use subm_dns_core::facts::{Fact, Import, ImportForm, ObjectKey, ServiceKey, ServiceType};

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

    fn last_serial(&self) -> u32 {
        0
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
        &watch::channel(false).0,
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
