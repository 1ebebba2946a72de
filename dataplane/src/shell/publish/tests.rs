//! What an API server refuses is said, and keeps nothing else from being done.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::json;
use subm_api::submariner::{Endpoint, Gateway};
use tower::service_fn;

use super::*;

/// An API server with one answer for all; it fails those of this method.
fn server(failing: Option<(Method, StatusCode)>) -> (Server, Arc<Mutex<Vec<String>>>) {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&calls);
    let answer = move |request: Request<Body>| {
        let line = format!("{} {}", request.method(), request.uri().path());
        log.lock().expect("no panic").push(line);
        let refused = failing
            .as_ref()
            .filter(|(method, _)| method == request.method())
            .map(|(_, code)| *code);
        let (code, body) = match refused {
            Some(code) => (
                code,
                json!({"kind": "Status", "status": "Failure", "code": code.as_u16(), "message": "because", "reason": "x"}),
            ),
            None => (
                StatusCode::OK,
                json!({"apiVersion": "submariner.io/v1", "kind": "Gateway", "metadata": {"name": "gw", "resourceVersion": "7"}}),
            ),
        };
        let mut response = Response::new(Body::from(body.to_string().into_bytes()));
        *response.status_mut() = code;
        std::future::ready(Ok::<_, Infallible>(response))
    };
    let server = Server {
        client: Client::new(service_fn(answer), "operator"),
        namespace: "operator".to_owned(),
        manager: "test",
    };
    (server, calls)
}

fn gateway(version: Option<&str>) -> Gateway {
    serde_json::from_value(json!({
        "metadata": {"name": "gw", "resourceVersion": version},
        "status": {"haStatus": "active"},
    }))
    .expect("a Gateway")
}

fn stale() -> Vec<Stale> {
    let one = |name: &str| Stale {
        name: name.to_owned(),
        uid: None,
        resource_version: None,
    };
    vec![one("former"), one("older")]
}

/// Creating, updating and reading the Gateway, and deleting those of others: each may fail, and the rest is done.
#[tokio::test]
async fn syncer_305_334_344_360_what_is_refused_is_said_and_the_rest_is_done() {
    let cases = [
        (Method::POST, None, "cannot be written: "),
        (Method::PUT, Some("7"), "cannot be written: "),
        (Method::GET, Some("7"), "cannot be written: "),
        (Method::DELETE, Some("7"), "cannot be deleted: "),
    ];
    for (failing, version, words) in cases {
        let (server, calls) = server(Some((failing.clone(), StatusCode::FORBIDDEN)));
        let publication = publish(&server, Some(gateway(version)), stale()).await;
        let calls = calls.lock().expect("no panic").join("\n");
        let troubles = &publication.troubles;
        assert!(troubles[0].contains(words), "{failing}: {troubles:?}");
        let deletes = failing == Method::DELETE;
        assert_eq!(troubles.len(), if deletes { 2 } else { 1 }, "{troubles:?}");
        assert_eq!(publication.written.is_some(), deletes);
        for name in ["former", "older"] {
            let deletion =
                format!("DELETE /apis/submariner.io/v1/namespaces/operator/gateways/{name}");
            assert!(calls.contains(&deletion), "{failing}: {calls}");
        }
    }
}

/// Somebody was faster: that will be read, and is nothing to tell.
#[tokio::test]
async fn what_was_overtaken_is_no_trouble() {
    for failing in [Method::POST, Method::DELETE] {
        let (server, _) = server(Some((failing, StatusCode::CONFLICT)));
        let publication = publish(&server, Some(gateway(None)), stale()).await;
        assert_eq!(publication.troubles, [""; 0]);
    }
    let (server, calls) = server(None);
    let publication = publish(&server, Some(gateway(Some("6"))), Vec::new()).await;
    assert!(publication.written.is_none() && publication.troubles.is_empty());
    let calls = calls.lock().expect("no panic").clone();
    assert!(
        calls.iter().all(|call| call.starts_with("GET ")),
        "{calls:?}"
    );
}

/// datastoresyncer: "deletion of the Endpoint from the local datastore returns not found › should ignore it".
#[tokio::test]
async fn datastoresyncer_e203_what_is_gone_already_need_not_be_deleted() {
    let (server, _) = server(Some((Method::DELETE, StatusCode::NOT_FOUND)));
    let deleted = server.delete(&Endpoint::KIND, "c1-x", None, None).await;
    assert!(matches!(deleted, Ok(false)), "{deleted:?}");
}
