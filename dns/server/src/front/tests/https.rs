use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

enum Client {
    One(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Two(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

impl Client {
    async fn connect(addr: SocketAddr, dir: &Path, alpn: &[u8]) -> Self {
        let io = TokioIo::new(tls_connect(addr, dir, alpn).await.unwrap());
        if alpn == b"h2" {
            let (client, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                    .await
                    .unwrap();
            tokio::spawn(connection);
            Self::Two(client)
        } else {
            let (client, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            Self::One(client)
        }
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        media: &str,
        body: Vec<u8>,
    ) -> Response<Bytes> {
        let uri: Uri = format!("https://localhost{path}").parse().unwrap();
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("host", "localhost");
        let request = request
            .header("content-type", media)
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let response = match self {
            Self::One(client) => timeout(PATIENCE, client.send_request(request)).await,
            Self::Two(client) => timeout(PATIENCE, client.send_request(request)).await,
        };
        let (head, body) = response.expect("no response in time").unwrap().into_parts();
        Response::from_parts(head, body.collect().await.unwrap().to_bytes())
    }
}

const MEDIA: &str = "application/dns-message";

#[tokio::test]
async fn get_and_post_over_both_versions() {
    let context = context(limits());
    let (listener, dir) = with_certificate(Transport::Https);
    let (_front, addr) = start(&listener, &context);
    for alpn in [&b"http/1.1"[..], b"h2"] {
        let mut client = Client::connect(addr, dir.path(), alpn).await;
        let encoded = URL_SAFE_NO_PAD.encode(query(0, ZONE, SOA));
        let got = client
            .send(
                Method::GET,
                &format!("/dns-query?dns={encoded}"),
                "",
                Vec::new(),
            )
            .await;
        let posted = client
            .send(Method::POST, "/dns-query", MEDIA, query(0, ZONE, SOA))
            .await;
        for response in [got, posted] {
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()["content-type"], MEDIA);
            assert_eq!(response.headers()["cache-control"], "max-age=5");
            assert_answer(response.body(), 0);
        }
    }
}

#[tokio::test]
async fn faults_have_their_status() {
    let context = context(limits());
    let (listener, dir) = with_certificate(Transport::Https);
    let (_front, addr) = start(&listener, &context);
    let mut client = Client::connect(addr, dir.path(), b"h2").await;
    let cases = [
        (Method::GET, "/", "", vec![], 404),
        (Method::GET, "/dns-query", "", vec![], 400),
        (Method::GET, "/dns-query?dns=!!!", "", vec![], 400),
        (Method::GET, "/dns-query?dns=AAAA", "", vec![], 400),
        (Method::PUT, "/dns-query", MEDIA, query(0, ZONE, SOA), 405),
        (
            Method::POST,
            "/dns-query",
            "text/plain",
            query(0, ZONE, SOA),
            415,
        ),
        (Method::POST, "/dns-query", MEDIA, vec![0; 65_536], 413),
        (Method::POST, "/dns-query", MEDIA, vec![], 400),
    ];
    for (method, path, media, body, want) in cases {
        let response = client.send(method.clone(), path, media, body).await;
        assert_eq!(response.status(), want, "{method} {path} {media}");
    }
}

#[tokio::test]
async fn no_transfers() {
    let context = context(limits());
    let (listener, dir) = with_certificate(Transport::Https);
    let (_front, addr) = start(&listener, &context);
    let mut client = Client::connect(addr, dir.path(), b"h2").await;
    let response = client
        .send(Method::POST, "/dns-query", MEDIA, query(0, ZONE, AXFR))
        .await;
    assert_eq!(
        (response.status().as_u16(), response.body()[3] & 0x0f),
        (200, 5)
    );
}
