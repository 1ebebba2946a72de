//! TCP and DNS over TLS (RFC 7766, RFC 7858): messages with two octets of length in front.

use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::desk::{Answer, Desk, HEADER, MAX_MESSAGE};
use super::limits::{Limits, Place};

/// Octets written under one time limit.
const CHUNK: usize = 64 * 1024;
/// Answers that a connection may wait for at once; more are not read meanwhile.
const WAITING: usize = 16;

/// Serves one connection until the client leaves, is silent for too long, breaks the rules, or `drain` fires.
///
/// Replies leave in the order in which they are ready: those of one read with one write, a zone transfer when its
/// messages are made.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    client: SocketAddr,
    desk: &Arc<Desk>,
    place: &Place,
    limits: &Limits,
    drain: &CancellationToken,
) -> io::Result<()> {
    let mut input = Vec::with_capacity(4096);
    let mut output = Vec::with_capacity(4096);
    let mut scratch = vec![0; MAX_MESSAGE];
    let mut waiting: JoinSet<Vec<Vec<u8>>> = JoinSet::new();
    let mut idle_at = Instant::now() + idle_limit(desk, limits);
    // Whether the client may send more, and whether `input` holds a message that is still to be answered.
    let (mut open, mut more) = (true, false);
    loop {
        let free = waiting.len() < WAITING;
        tokio::select! {
            read = stream.read_buf(&mut input), if open && !more && free => open = read? > 0,
            () = ready(()), if more && free => {}
            Some(made) = waiting.join_next(), if !waiting.is_empty() => {
                frame_all(made.unwrap_or_default(), &mut output);
                idle_at = Instant::now() + idle_limit(desk, limits);
            }
            // Octets of a message that never ends do not count as life.
            () = sleep_until(idle_at), if waiting.is_empty() && !more => return leave(&mut stream, limits).await,
            () = drain.cancelled(), if waiting.is_empty() && !more => return leave(&mut stream, limits).await,
        }
        let before = input.len();
        let progress = answer_some(
            &mut input,
            &mut output,
            &mut scratch,
            client,
            desk,
            &mut waiting,
        );
        more = progress == Progress::More;
        if input.len() < before {
            place.touch();
            idle_at = Instant::now() + idle_limit(desk, limits);
        }
        if progress == Progress::Broken || !open && !more {
            // What was asked before is still owed.
            while let Some(made) = waiting.join_next().await {
                frame_all(made.unwrap_or_default(), &mut output);
                write(&mut stream, &mut output, limits.write).await?;
            }
            write(&mut stream, &mut output, limits.write).await?;
            return leave(&mut stream, limits).await;
        }
        write(&mut stream, &mut output, limits.write).await?;
    }
}

/// Closes our side; a client that takes nothing any more does not hold us up.
async fn leave<S: AsyncWrite + Unpin>(stream: &mut S, limits: &Limits) -> io::Result<()> {
    timeout(limits.write, stream.shutdown()).await?
}

/// What clients are told (RFC 7828), else the limit of all connections.
pub(super) fn idle_limit(desk: &Desk, limits: &Limits) -> Duration {
    let told = desk.listener().authority.keepalive;
    told.map_or(limits.idle, |tenths| {
        Duration::from_millis(u64::from(tenths) * 100)
    })
}

/// What is left of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Nothing, or a part of a message.
    Done,
    /// Whole messages, which have to wait: enough is to be written or made first.
    More,
    /// The client speaks something else.
    Broken,
}

/// Answers whole messages in `input` and takes them out, until there is enough to write.
fn answer_some(
    input: &mut Vec<u8>,
    output: &mut Vec<u8>,
    scratch: &mut [u8],
    client: SocketAddr,
    desk: &Arc<Desk>,
    waiting: &mut JoinSet<Vec<Vec<u8>>>,
) -> Progress {
    let mut done = 0;
    let mut progress = Progress::Done;
    while let Some((length, rest)) = input[done..].split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length));
        if length < HEADER {
            progress = Progress::Broken;
            break;
        }
        let Some(query) = rest.get(..length) else {
            break;
        };
        if waiting.len() >= WAITING || output.len() >= CHUNK {
            progress = Progress::More;
            break;
        }
        done += 2 + length;
        match desk.answer(query, client, scratch) {
            Answer::Reply(len) => frame(&scratch[..len], output),
            Answer::Later(later) => {
                waiting.spawn(later.messages());
            }
            Answer::Nothing => {}
        }
    }
    input.drain(..done);
    if input.is_empty() {
        input.shrink_to(4096);
    }
    progress
}

pub(super) fn frame(message: &[u8], output: &mut Vec<u8>) {
    debug_assert!(message.len() <= MAX_MESSAGE);
    output.extend_from_slice(&(message.len() as u16).to_be_bytes());
    output.extend_from_slice(message);
}

pub(super) fn frame_all(messages: Vec<Vec<u8>>, output: &mut Vec<u8>) {
    for message in messages {
        frame(&message, output);
    }
}

async fn write<S: AsyncWrite + Unpin>(
    stream: &mut S,
    output: &mut Vec<u8>,
    limit: Duration,
) -> io::Result<()> {
    if output.is_empty() {
        return Ok(());
    }
    for chunk in output.chunks(CHUNK) {
        timeout(limit, stream.write_all(chunk)).await??;
    }
    timeout(limit, stream.flush()).await??;
    output.clear();
    output.shrink_to(CHUNK);
    Ok(())
}
