//! DNS over QUIC (RFC 9250): one query per bidirectional stream.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    Connection, Endpoint, EndpointConfig, RecvStream, SendStream, ServerConfig, TokioRuntime,
    VarInt,
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::desk::{Answer, Desk, HEADER, MAX_MESSAGE, canonical};
use super::limits::{Limits, Place, Places};
use super::{stream, wire};

/// Error codes of RFC 9250 section 4.3.
const NO_ERROR: VarInt = VarInt::from_u32(0);
const PROTOCOL_ERROR: VarInt = VarInt::from_u32(2);
const REQUEST_CANCELLED: VarInt = VarInt::from_u32(3);
const EXCESSIVE_LOAD: VarInt = VarInt::from_u32(4);
/// Queries of one connection that are open at once.
const STREAMS: u32 = 128;

pub(super) fn endpoint(
    socket: UdpSocket,
    tls: Arc<rustls::ServerConfig>,
    idle: Duration,
) -> io::Result<Endpoint> {
    Endpoint::new(
        EndpointConfig::default(),
        Some(server_config(tls, idle)?),
        socket,
        Arc::new(TokioRuntime),
    )
}

/// Without early data: its replay would be harmless for queries, but not for transfers.
pub(super) fn server_config(
    tls: Arc<rustls::ServerConfig>,
    idle: Duration,
) -> io::Result<ServerConfig> {
    let crypto = QuicServerConfig::try_from(tls).map_err(io::Error::other)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    let mut transport = quinn::TransportConfig::default();
    let whole = VarInt::from_u32(2 + MAX_MESSAGE as u32);
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(whole)
        .receive_window(VarInt::from_u32(4 * (2 + MAX_MESSAGE as u32)))
        .send_window(1 << 20)
        .max_idle_timeout(Some(idle.try_into().map_err(io::Error::other)?));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Takes connections until `drain` fires; then those that are open finish what they were asked.
pub(super) async fn accept(
    endpoint: Endpoint,
    desk: Arc<Desk>,
    places: Arc<Places>,
    limits: Limits,
    drain: CancellationToken,
    tasks: TaskTracker,
) {
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            () = drain.cancelled() => None,
        };
        let Some(incoming) = incoming else { break };
        // Under load an address must show that it is there before it gets a place: first packets are easily forged.
        if places.is_half_full() && !incoming.remote_address_validated() {
            // Fails only where a retry was sent already.
            let _ = incoming.retry();
            continue;
        }
        let place = places.take();
        let (desk, drain) = (Arc::clone(&desk), drain.clone());
        tasks.spawn(async move {
            let client = incoming.remote_address();
            match timeout(limits.handshake, async { incoming.accept()?.await }).await {
                Ok(Ok(connection)) => {
                    serve(connection, &desk, &Arc::new(place), &limits, &drain).await;
                }
                Ok(Err(error)) => tracing::debug!(%client, %error, "QUIC handshake failed"),
                Err(_) => tracing::debug!(%client, "QUIC handshake took too long"),
            }
        });
    }
    endpoint.set_server_config(None);
    endpoint.wait_idle().await;
}

async fn serve(
    connection: Connection,
    desk: &Arc<Desk>,
    place: &Arc<Place>,
    limits: &Limits,
    drain: &CancellationToken,
) {
    let streams = TaskTracker::new();
    let limits = *limits;
    let idle = desk.idle_limit(&limits);
    loop {
        tokio::select! {
            accepted = connection.accept_bi() => {
                let Ok((send, receive)) = accepted else { break };
                place.touch();
                let (desk, connection) = (Arc::clone(desk), connection.clone());
                streams.spawn(async move {
                    if let Err(Violation) = answer(send, receive, &connection, &desk, &limits).await {
                        connection.close(PROTOCOL_ERROR, b"");
                    }
                });
            }
            // Pings keep a connection alive for the transport, not for us.
            () = sleep(idle.saturating_sub(place.silent()).max(idle / 8)) => {
                if place.silent() >= idle && streams.is_empty() {
                    break;
                }
            }
            () = place.wanted() => {
                connection.close(EXCESSIVE_LOAD, b"");
                return;
            }
            () = drain.cancelled() => {
                streams.close();
                streams.wait().await;
                break;
            }
        }
    }
    connection.close(NO_ERROR, b"");
}

/// The client broke a rule that RFC 9250 section 4.3.3 wants the connection closed for.
struct Violation;

async fn answer(
    mut send: SendStream,
    mut receive: RecvStream,
    connection: &Connection,
    desk: &Arc<Desk>,
    limits: &Limits,
) -> Result<(), Violation> {
    let read = timeout(
        desk.idle_limit(limits),
        receive.read_to_end(2 + MAX_MESSAGE),
    )
    .await;
    let framed = match read {
        Ok(Ok(framed)) => framed,
        Ok(Err(quinn::ReadToEndError::TooLong)) => return Err(Violation),
        Ok(Err(quinn::ReadToEndError::Read(_))) | Err(_) => {
            // Neither fails but for a stream that is closed already.
            let _ = receive.stop(REQUEST_CANCELLED);
            let _ = send.reset(REQUEST_CANCELLED);
            return Ok(());
        }
    };
    let query = one_message(&framed).ok_or(Violation)?;
    let client = canonical(connection.remote_address());
    let mut output = Vec::new();
    let later = desk.attend(client, |turn| match turn.answer(query) {
        Answer::Reply(reply) => {
            stream::frame(reply, &mut output);
            Ok(None)
        }
        Answer::Later(later) => Ok(Some(later)),
        Answer::Nothing => Err(Violation),
    })?;
    if let Some(later) = later {
        stream::frame_all(later.messages().await, &mut output);
    }
    for chunk in output.chunks(64 * 1024) {
        if !matches!(
            timeout(limits.write, send.write_all(chunk)).await,
            Ok(Ok(()))
        ) {
            let _ = send.reset(REQUEST_CANCELLED);
            return Ok(());
        }
    }
    if send.finish().is_ok() {
        // Until the client has it all, draining must not close the connection.
        let _ = timeout(limits.write, send.stopped()).await;
    }
    Ok(())
}

/// The message of a stream: exactly one, with id 0 (section 4.2.1) and without the keepalive of TCP (section 5.5.2).
fn one_message(framed: &[u8]) -> Option<&[u8]> {
    let (length, message) = framed.split_first_chunk::<2>()?;
    let whole =
        usize::from(u16::from_be_bytes(*length)) == message.len() && message.len() >= HEADER;
    (whole && message[..2] == [0, 0] && !wire::has_keepalive(message)).then_some(message)
}
