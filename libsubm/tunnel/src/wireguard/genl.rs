//! Requests of the generic netlink family `wireguard` and their answers.
//!
//! The crates that would do this log messages, and these hold keys.

use std::fmt::Debug;
use std::io;

use netlink_packet_core::{
    DecodeError, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer,
    NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_generic::GenlMessage;
use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_wireguard::WireguardMessage;
use netlink_sys::protocols::NETLINK_GENERIC;
use netlink_sys::{AsyncSocket as _, AsyncSocketExt as _, SocketAddr, TokioSocket};
use zeroize::{Zeroize as _, Zeroizing};

use crate::Error;

/// How often a list is asked for again that changed while it was read.
const DUMPS: u32 = 10;
/// The kernel's error for a family that it does not have.
const ENOENT: i32 = 2;

/// A socket to the kernel's WireGuard of the network namespace in which it was opened.
pub(super) struct Connection {
    socket: TokioSocket,
    family: u16,
    sequence: u32,
}

/// What one message of the kernel says to a request.
enum Answer<T> {
    Object(T),
    /// It was the last.
    End,
    Refused(io::Error),
}

impl Connection {
    /// Asks the kernel for its WireGuard; it loads the module if it has one.
    pub(super) async fn open() -> Result<Self, Error> {
        let mut socket = TokioSocket::new(NETLINK_GENERIC).map_err(Error::Netlink)?;
        socket.socket_mut().bind_auto().map_err(Error::Netlink)?;
        let mut connection = Self {
            socket,
            family: 0,
            sequence: 0,
        };
        let request = GenlMessage::from_payload(GenlCtrl {
            cmd: GenlCtrlCmd::GetFamily,
            nlas: vec![GenlCtrlAttrs::FamilyName("wireguard".to_owned())],
        });
        let answers = match connection.request(request, 0).await {
            Ok((answers, _)) => answers,
            Err(Error::Netlink(error)) if error.raw_os_error() == Some(ENOENT) => {
                return Err(Error::NoKernelWireGuard);
            }
            Err(error) => return Err(error),
        };
        let id = answers
            .iter()
            .flat_map(|answer| &answer.payload.nlas)
            .find_map(|nla| match nla {
                GenlCtrlAttrs::FamilyId(id) => Some(*id),
                _ => None,
            });
        connection.family = id.ok_or_else(|| Error::Answer("the family has no id".to_owned()))?;
        Ok(connection)
    }

    /// Makes a change.
    pub(super) async fn set(&mut self, message: WireguardMessage) -> Result<(), Error> {
        let mut request = GenlMessage::from_payload(message);
        request.set_resolved_family_id(self.family);
        self.request(request, 0).await.map(|_| ())
    }

    /// All that a device has, in parts.
    pub(super) async fn get(
        &mut self,
        message: WireguardMessage,
    ) -> Result<Vec<WireguardMessage>, Error> {
        for _ in 0..DUMPS {
            let mut request = GenlMessage::from_payload(message.clone());
            request.set_resolved_family_id(self.family);
            let (answers, torn) = self.request(request, NLM_F_DUMP).await?;
            if !torn {
                return Ok(answers.into_iter().map(|answer| answer.payload).collect());
            }
        }
        Err(Error::Answer(
            "its peers change faster than they can be listed".to_owned(),
        ))
    }

    /// The objects with which the kernel answers, and whether they changed meanwhile.
    async fn request<T>(&mut self, request: T, flags: u16) -> Result<(Vec<T>, bool), Error>
    where
        T: NetlinkSerializable + NetlinkDeserializable<Error = DecodeError> + Debug,
        NetlinkPayload<T>: From<T>,
    {
        self.sequence = self.sequence.wrapping_add(1);
        let datagram = encode(request, NLM_F_ACK | flags, self.sequence);
        let kernel = SocketAddr::new(0, 0);
        let sent = self.socket.send_to(&datagram, &kernel);
        if sent.await.map_err(Error::Netlink)? != datagram.len() {
            let error = io::Error::other("a request was cut short");
            return Err(Error::Netlink(error));
        }
        let (mut objects, mut torn) = (Vec::new(), false);
        loop {
            let (mut datagram, _) = self.socket.recv_from_full().await.map_err(Error::Netlink)?;
            let answers = decode(&datagram, self.sequence, &mut torn);
            datagram.zeroize();
            for answer in answers? {
                match answer {
                    Answer::Object(object) => objects.push(object),
                    Answer::End => return Ok((objects, torn)),
                    Answer::Refused(error) => return Err(Error::Netlink(error)),
                }
            }
        }
    }
}

/// A request as the kernel reads it.
pub(super) fn encode<T>(request: T, flags: u16, sequence: u32) -> Zeroizing<Vec<u8>>
where
    T: NetlinkSerializable,
    NetlinkPayload<T>: From<T>,
{
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
    message.finalize();
    let mut datagram = Zeroizing::new(vec![0; message.buffer_len()]);
    message.serialize(&mut datagram);
    datagram
}

/// The answers of a datagram to the request of that number.
fn decode<T>(datagram: &[u8], sequence: u32, torn: &mut bool) -> Result<Vec<Answer<T>>, Error>
where
    T: NetlinkDeserializable<Error = DecodeError> + Debug,
{
    let mut answers = Vec::new();
    let mut rest = datagram;
    while let Ok(buffer) = NetlinkBuffer::new_checked(rest) {
        let length = buffer.length() as usize;
        let Some(bytes) = rest.get(..length).filter(|_| length > 0) else {
            break;
        };
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        let message = NetlinkMessage::<T>::deserialize(bytes)
            .map_err(|error| Error::Answer(error.to_string()))?;
        let (header, payload) = message.into_parts();
        // What an earlier request left, if it was given up.
        if header.sequence_number != sequence {
            continue;
        }
        *torn |= header.flags & NLM_F_DUMP_INTR != 0;
        match payload {
            NetlinkPayload::InnerMessage(object) => answers.push(Answer::Object(object)),
            NetlinkPayload::Done(done) if done.code != 0 => {
                let error = io::Error::from_raw_os_error(done.code.abs());
                answers.push(Answer::Refused(error));
            }
            NetlinkPayload::Error(error) if error.code.is_some() => {
                answers.push(Answer::Refused(error.to_io()));
            }
            NetlinkPayload::Done(_) | NetlinkPayload::Error(_) => answers.push(Answer::End),
            _ => {}
        }
    }
    Ok(answers)
}
