//! Requests to the kernel and its answers, on a blocking socket.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use crate::{Error, Traffic};

/// How often a torn dump is tried again.
const DUMPS: u32 = 10;

/// So many requests are sent at once; their answers fit the socket's buffer.
pub(crate) const BATCH: usize = 32;

/// Attributes of an error (`enum nlmsgerr_attrs`).
const NLMSGERR_ATTR_MSG: u16 = 1;

pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
    pub(crate) traffic: Traffic,
}

impl Netlink {
    pub(crate) fn open() -> Result<Self, Error> {
        Ok(Self {
            socket: open().map_err(Error::Socket)?,
            sequence: 0,
            traffic: Traffic::default(),
        })
    }

    /// All objects that a request lists. `what` names them.
    pub(crate) fn dump(
        &mut self,
        what: &'static str,
        request: &RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, Error> {
        for _ in 0..DUMPS {
            if let Some(objects) = self.dump_once(request.clone())? {
                return Ok(objects);
            }
            tracing::debug!(what, "a dump was torn; it is tried again");
        }
        Err(Error::Torn(what))
    }

    /// `None`: the objects changed meanwhile, some may be missing.
    fn dump_once(
        &mut self,
        request: RouteNetlinkMessage,
    ) -> Result<Option<Vec<RouteNetlinkMessage>>, Error> {
        self.traffic.dumps += 1;
        let sequence = self.send([(request, NLM_F_DUMP)])?;
        let mut listing = Listing::default();
        loop {
            for (header, payload) in self.receive()? {
                if header.sequence_number == sequence && listing.take(header, payload)? {
                    return Ok((!listing.torn).then_some(listing.objects));
                }
            }
        }
    }

    /// The one object that a request asks for.
    pub(crate) fn get(
        &mut self,
        request: RouteNetlinkMessage,
    ) -> Result<RouteNetlinkMessage, Error> {
        self.traffic.gets += 1;
        let sequence = self.send([(request, 0)])?;
        loop {
            for (header, payload) in self.receive()? {
                if header.sequence_number != sequence {
                    continue;
                }
                match payload {
                    NetlinkPayload::InnerMessage(object) => return Ok(object),
                    NetlinkPayload::Error(error) => return Err(refused(&error)),
                    _ => {}
                }
            }
        }
    }

    /// One change.
    pub(crate) fn change(&mut self, request: RouteNetlinkMessage, flags: u16) -> Result<(), Error> {
        self.changes(vec![(request, flags)])
            .pop()
            .unwrap_or(Err(Error::Ended))
    }

    /// Changes, each with its own result. At most [`BATCH`].
    pub(crate) fn changes(
        &mut self,
        requests: Vec<(RouteNetlinkMessage, u16)>,
    ) -> Vec<Result<(), Error>> {
        let count = requests.len();
        self.traffic.writes += count as u64;
        let requests = requests
            .into_iter()
            .map(|(request, flags)| (request, flags | NLM_F_ACK));
        let mut results: Vec<Option<Result<(), Error>>> = Vec::new();
        results.resize_with(count, || None);
        let outcome = self.send(requests).and_then(|last| {
            let first = last.wrapping_sub(count as u32 - 1);
            while results.iter().any(Option::is_none) {
                for (header, payload) in self.receive()? {
                    let at = header.sequence_number.wrapping_sub(first) as usize;
                    let (Some(slot), NetlinkPayload::Error(answer)) =
                        (results.get_mut(at), payload)
                    else {
                        continue;
                    };
                    *slot = Some(match answer.code {
                        None => Ok(()),
                        Some(_) => Err(refused(&answer)),
                    });
                }
            }
            Ok(())
        });
        if let Err(error) = &outcome {
            // Answers were lost. Whatever still comes must not be taken for that of a later request.
            tracing::debug!(%error, "the netlink socket is opened anew");
            if let Ok(socket) = open() {
                self.socket = socket;
            }
        }
        let lost = || {
            Err(Error::Socket(io::Error::other(
                "the kernel's answer was lost",
            )))
        };
        results
            .into_iter()
            .map(|result| result.unwrap_or_else(lost))
            .collect()
    }

    /// Sends requests as one datagram; gives the number of the last one.
    fn send(
        &mut self,
        requests: impl IntoIterator<Item = (RouteNetlinkMessage, u16)>,
    ) -> Result<u32, Error> {
        let mut datagram = Vec::new();
        for (request, flags) in requests {
            self.sequence = self.sequence.wrapping_add(1);
            let mut header = NetlinkHeader::default();
            header.flags = NLM_F_REQUEST | flags;
            header.sequence_number = self.sequence;
            let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
            message.finalize();
            let at = datagram.len();
            datagram.resize(at + message.buffer_len().next_multiple_of(4), 0);
            message.serialize(&mut datagram[at..]);
        }
        let sent = self
            .socket
            .send_to(&datagram, &SocketAddr::new(0, 0), 0)
            .map_err(Error::Socket)?;
        if sent != datagram.len() {
            return Err(Error::Socket(io::Error::other("a request was cut short")));
        }
        Ok(self.sequence)
    }

    /// The messages of the next datagram. One that cannot be read is left out: it is of a kind that we do not make.
    fn receive(
        &mut self,
    ) -> Result<Vec<(NetlinkHeader, NetlinkPayload<RouteNetlinkMessage>)>, Error> {
        let datagram = loop {
            match self.socket.recv_from_full() {
                Ok((datagram, _)) => break datagram,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Socket(error)),
            }
        };
        let messages = messages(&datagram);
        self.traffic.received += messages.len() as u64;
        Ok(messages)
    }
}

/// The messages of a datagram that can be read.
pub(crate) fn messages(
    datagram: &[u8],
) -> Vec<(NetlinkHeader, NetlinkPayload<RouteNetlinkMessage>)> {
    let mut messages = Vec::new();
    let mut rest = datagram;
    while let Ok(buffer) = NetlinkBuffer::new_checked(rest) {
        let length = buffer.length() as usize;
        let Some(message) = rest.get(..length).filter(|_| length > 0) else {
            break;
        };
        match NetlinkMessage::<RouteNetlinkMessage>::deserialize(message) {
            Ok(message) => messages.push(message.into_parts()),
            Err(error) => tracing::debug!(%error, "a netlink message of an unknown form"),
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    messages
}

/// The answers to a request that lists objects.
#[derive(Default)]
struct Listing {
    objects: Vec<RouteNetlinkMessage>,
    /// The objects changed while they were listed. Any message can say so, the last one too.
    torn: bool,
}

impl Listing {
    /// Takes an answer; whether it was the last one.
    fn take(
        &mut self,
        header: NetlinkHeader,
        payload: NetlinkPayload<RouteNetlinkMessage>,
    ) -> Result<bool, Error> {
        self.torn |= header.flags & NLM_F_DUMP_INTR != 0;
        match payload {
            NetlinkPayload::InnerMessage(object) => self.objects.push(object),
            NetlinkPayload::Done(done) if done.code == 0 => return Ok(true),
            NetlinkPayload::Done(done) => return Err(Error::refused(done.code, None)),
            NetlinkPayload::Error(error) => return Err(refused(&error)),
            _ => {}
        }
        Ok(false)
    }
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    // Kernels before 4.20 have none of these; answers are then unfiltered, and filtered here.
    let _ = socket.set_netlink_get_strict_chk(true);
    let _ = socket.set_ext_ack(true);
    let _ = socket.set_cap_ack(true);
    Ok(socket)
}

fn refused(error: &netlink_packet_core::ErrorMessage) -> Error {
    Error::refused(error.raw_code(), words(error))
}

/// The kernel's own words in an answer.
fn words(error: &netlink_packet_core::ErrorMessage) -> Option<String> {
    use netlink_packet_core::NlasIterator;
    // With a capped answer there is the header of the request, then the attributes.
    let attributes = error.header.get(16..)?;
    NlasIterator::new(attributes)
        .flatten()
        .find(|nla| nla.kind() == NLMSGERR_ATTR_MSG)
        .map(|nla| {
            String::from_utf8_lossy(nla.value())
                .trim_end_matches('\0')
                .to_owned()
        })
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{DoneMessage, NLM_F_MULTIPART};
    use netlink_packet_route::link::LinkMessage;

    use super::*;

    fn listed(flags: &[u16], code: i32) -> Result<Listing, Error> {
        let mut listing = Listing::default();
        let header = |flags: u16| {
            let mut header = NetlinkHeader::default();
            header.flags = NLM_F_MULTIPART | flags;
            header
        };
        let (last, first) = flags.split_last().expect("a flag");
        for flags in first {
            let object = RouteNetlinkMessage::NewLink(LinkMessage::default());
            assert!(!listing.take(header(*flags), NetlinkPayload::InnerMessage(object))?);
        }
        let mut done = DoneMessage::default();
        done.code = code;
        assert!(listing.take(header(*last), NetlinkPayload::Done(done))?);
        Ok(listing)
    }

    #[test]
    fn a_torn_dump_is_known_by_any_of_its_messages() {
        let whole = listed(&[0, 0, 0], 0).unwrap();
        assert!(!whole.torn && whole.objects.len() == 2);
        for torn in [
            [NLM_F_DUMP_INTR, 0, 0],
            [0, NLM_F_DUMP_INTR, 0],
            [0, 0, NLM_F_DUMP_INTR],
        ] {
            assert!(listed(&torn, 0).unwrap().torn, "{torn:?}");
        }
    }

    #[test]
    fn an_error_at_the_end_is_no_empty_list() {
        assert_eq!(
            listed(&[0, 0], -12).err().unwrap().code(),
            Some(nix::errno::Errno::ENOMEM)
        );
    }
}
