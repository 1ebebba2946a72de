//! DNS over HTTPS (RFC 8484), HTTP/1.1 and HTTP/2.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::desk::{Answer, Desk, MAX_MESSAGE};
use super::limits::{Limits, Place};
use super::wire;

const PATH: &str = "/dns-query";
const MESSAGE: &str = "application/dns-message";
/// RFC 8484 has no padding; some clients send it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Serves one connection until it ends, is idle for too long, or `drain` fires and its requests are answered.
pub(super) async fn serve<S>(
    io: S,
    client: SocketAddr,
    desk: &Arc<Desk>,
    place: &Arc<Place>,
    limits: &Limits,
    drain: &CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let idle = desk.idle_limit(limits);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(idle);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(128)
        .keep_alive_interval(idle);
    let service = service_fn(move |request| {
        let (desk, place) = (Arc::clone(desk), Arc::clone(place));
        async move {
            place.touch();
            let response = match timeout(idle, respond(request, client, &desk)).await {
                Ok(response) => response,
                Err(_) => refuse(
                    StatusCode::REQUEST_TIMEOUT,
                    "the request did not come in time\n",
                ),
            };
            place.touch();
            Ok::<_, Infallible>(response)
        }
    });
    let connection = builder.serve_connection(TokioIo::new(io), service);
    tokio::pin!(connection);
    let mut leaving = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%client, error, "HTTPS connection failed");
                }
                return;
            }
            () = sleep(idle.saturating_sub(place.silent()).max(idle / 8)) => {
                if place.silent() >= idle {
                    if leaving {
                        return;
                    }
                    leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
            () = drain.cancelled(), if !leaving => {
                leaving = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

async fn respond(
    request: Request<Incoming>,
    client: SocketAddr,
    desk: &Arc<Desk>,
) -> Response<Full<Bytes>> {
    let query = match read_query(request).await {
        Ok(query) => query,
        Err(response) => return response,
    };
    let reply = desk.attend(client, |turn| match turn.answer(&query) {
        Answer::Reply(reply) => Some((Bytes::copy_from_slice(reply), wire::lifetime(reply))),
        Answer::Later(_) | Answer::Nothing => None,
    });
    let Some((reply, lifetime)) = reply else {
        return refuse(StatusCode::BAD_REQUEST, "not a DNS query\n");
    };
    let mut response = Response::new(Full::new(reply));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MESSAGE));
    if let Some(seconds) = lifetime
        && let Ok(value) = HeaderValue::from_str(&format!("max-age={seconds}"))
    {
        headers.insert(header::CACHE_CONTROL, value);
    }
    response
}

/// The query of a request. The body is read whatever the verdict: over HTTP/2 a reply that leaves before it is lost
/// behind the reset of the stream.
async fn read_query(request: Request<Incoming>) -> Result<Bytes, Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, MAX_MESSAGE).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Err(refuse(
                StatusCode::PAYLOAD_TOO_LARGE,
                "a message has at most 65535 octets\n",
            ));
        }
        Err(_) => return Err(refuse(StatusCode::BAD_REQUEST, "the body broke off\n")),
    };
    if head.uri.path() != PATH {
        return Err(refuse(StatusCode::NOT_FOUND, "queries go to /dns-query\n"));
    }
    match head.method {
        Method::GET => {
            let mut pairs = head.uri.query().unwrap_or("").split('&');
            let encoded = pairs.find_map(|pair| pair.strip_prefix("dns="));
            let query = encoded
                .and_then(|encoded| BASE64.decode(encoded).ok())
                .filter(|query| !query.is_empty());
            let query = query.ok_or_else(|| {
                refuse(
                    StatusCode::BAD_REQUEST,
                    "the parameter `dns` must hold a message in base64url\n",
                )
            })?;
            if query.len() > MAX_MESSAGE {
                return Err(refuse(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "a message has at most 65535 octets\n",
                ));
            }
            Ok(query.into())
        }
        Method::POST => {
            let media = head
                .headers
                .get(header::CONTENT_TYPE)
                .and_then(|value| value.to_str().ok());
            let media = media
                .and_then(|value| value.split(';').next())
                .unwrap_or("")
                .trim();
            if !media.eq_ignore_ascii_case(MESSAGE) {
                return Err(refuse(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "the body must be application/dns-message\n",
                ));
            }
            Ok(body)
        }
        _ => {
            let mut response = refuse(StatusCode::METHOD_NOT_ALLOWED, "GET or POST\n");
            response
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
            Err(response)
        }
    }
}

fn refuse(status: StatusCode, why: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(why.as_bytes())));
    *response.status_mut() = status;
    response
}
