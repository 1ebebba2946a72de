//! TCP and DNS over TLS (RFC 7766, RFC 7858): messages with two octets of length in front.

use std::future::{poll_fn, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use subm_dns_core::respond::Transport;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::desk::{Answer, Desk, HEADER, MAX_MESSAGE};
use super::limits::{Limits, Place};

/// Room for the octets of a connection that asks little, small enough for the allocator's quick path.
const START: usize = 1024;
/// Octets that are read and answered at once, as far as they are there; only a single message may need more.
const ROOM: usize = 4096;
/// With less room than this it is time to answer.
const LITTLE: usize = 512;
/// Octets written under one time limit.
const CHUNK: usize = 64 * 1024;
/// Answers that a connection may wait for at once; more are not read meanwhile.
const WAITING: usize = 16;

/// Serves one connection until the client leaves, is silent for too long, breaks the rules, or `drain` fires.
///
/// Replies leave in the order in which they are ready: those to all that has come with one write, a zone transfer when its
/// messages are made.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    client: SocketAddr,
    desk: &Arc<Desk>,
    place: &Place,
    limits: &Limits,
    drain: &CancellationToken,
) -> io::Result<()> {
    let mut input = Vec::with_capacity(START);
    let mut output = Vec::new();
    let mut waiting: JoinSet<Vec<Vec<u8>>> = JoinSet::new();
    let mut idle_at = Instant::now() + desk.idle_limit(limits);
    // Runs out at `idle_at` or before: to set it anew for every message costs more than to look again.
    let mut idle = pin!(sleep_until(idle_at));
    let mut drained = pin!(drain.cancelled());
    // Whether the client may send more, and whether `input` holds a message that is still to be answered.
    let (mut open, mut more) = (true, false);
    loop {
        let free = waiting.len() < WAITING;
        // In this order, so that a client that never stops asking holds up neither the end nor its own transfers.
        tokio::select! {
            biased;
            () = &mut drained, if waiting.is_empty() && !more => return leave(&mut stream, limits).await,
            Some(made) = waiting.join_next(), if !waiting.is_empty() => {
                frame_all(made.unwrap_or_default(), &mut output);
                idle_at = Instant::now() + desk.idle_limit(limits);
            }
            () = ready(()), if more && free => {}
            read = read_what_is_there(&mut stream, &mut input), if open && !more && free => open = read?,
            () = &mut idle, if waiting.is_empty() && !more => {}
        }
        let before = input.len();
        let progress = answer_some(&mut input, &mut output, client, desk, &mut waiting);
        more = progress == Progress::More;
        let now = Instant::now();
        if input.len() < before {
            place.touch();
            idle_at = now + desk.idle_limit(limits);
        } else if now >= idle_at && waiting.is_empty() && output.is_empty() {
            // Octets of a message that never ends do not count as life.
            return leave(&mut stream, limits).await;
        }
        if idle.is_elapsed() {
            idle.as_mut().reset(idle_at);
        }
        if progress == Progress::Broken || !open && !more {
            // What was asked before is still owed.
            while let Some(made) = waiting.join_next().await {
                frame_all(made.unwrap_or_default(), &mut output);
                write(&mut stream, &mut output, limits.write).await?;
            }
            write(&mut stream, &mut output, limits.write).await?;
            if !open && desk.transport == Transport::Tcp {
                // Dropping the socket says the same; TLS has a word of its own for it.
                return Ok(());
            }
            return leave(&mut stream, limits).await;
        }
        write(&mut stream, &mut output, limits.write).await?;
    }
}

/// Waits for octets and takes all that have come, as far as there is room. Whether the client may send more.
async fn read_what_is_there<S: AsyncRead + Unpin>(
    stream: &mut S,
    input: &mut Vec<u8>,
) -> io::Result<bool> {
    let before = input.len();
    input.reserve(LITTLE);
    poll_fn(|context| {
        // TLS gives no more than a record at a time, and clients put each query into one of its own.
        loop {
            if input.capacity() - input.len() < LITTLE {
                if input.capacity() >= ROOM {
                    break;
                }
                input.reserve(ROOM - input.len());
            }
            let read = pin!(stream.read_buf(input)).poll(context);
            match read {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(false)),
                Poll::Ready(Ok(_)) => {}
                // Both come again, after what was read before them is answered.
                Poll::Pending | Poll::Ready(Err(_)) if input.len() > before => break,
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(true))
    })
    .await
}

/// Closes our side; a client that takes nothing any more does not hold us up.
async fn leave<S: AsyncWrite + Unpin>(stream: &mut S, limits: &Limits) -> io::Result<()> {
    timeout(limits.write, stream.shutdown()).await?
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
    client: SocketAddr,
    desk: &Arc<Desk>,
    waiting: &mut JoinSet<Vec<Vec<u8>>>,
) -> Progress {
    if next(input) == Next::Part {
        return Progress::Done;
    }
    let mut done = 0;
    let progress = desk.attend(client, |turn| {
        loop {
            let query = match next(&input[done..]) {
                Next::Part => return Progress::Done,
                Next::Nonsense => return Progress::Broken,
                Next::Whole(query) => query,
            };
            if waiting.len() >= WAITING || output.len() >= CHUNK {
                return Progress::More;
            }
            done += 2 + query.len();
            match turn.answer(query) {
                Answer::Reply(reply) => frame(reply, output),
                Answer::Later(later) => {
                    waiting.spawn(later.messages());
                }
                Answer::Nothing => {}
            }
        }
    });
    input.drain(..done);
    if input.is_empty() {
        input.shrink_to(ROOM);
    }
    progress
}

/// What input starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next<'a> {
    Whole(&'a [u8]),
    /// Nothing, or less than a message.
    Part,
    /// What cannot become a message.
    Nonsense,
}

fn next(input: &[u8]) -> Next<'_> {
    let Some((length, rest)) = input.split_first_chunk::<2>() else {
        return Next::Part;
    };
    let length = usize::from(u16::from_be_bytes(*length));
    if length < HEADER {
        return Next::Nonsense;
    }
    rest.get(..length).map_or(Next::Part, Next::Whole)
}

pub(super) fn frame(message: &[u8], output: &mut Vec<u8>) {
    debug_assert!(message.len() <= MAX_MESSAGE);
    output.reserve(2 + message.len());
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
        let written = async {
            stream.write_all(chunk).await?;
            stream.flush().await
        };
        timeout(limit, written).await??;
    }
    output.clear();
    output.shrink_to(CHUNK);
    Ok(())
}
