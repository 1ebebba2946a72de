//! Word from the kernel that something changed.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::io;
use std::task::Poll;

use netlink_packet_core::{NLM_F_REPLACE, NetlinkHeader, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_packet_route::route::{RouteAttribute, RouteMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket as _, SocketAddr, TokioSocket};
use nix::errno::Errno;
use tokio::runtime::Handle;

use super::addresses::NUD_PERMANENT;
use super::session::Session;
use super::socket::messages;
use crate::{Error, Settings};

/// Links, neighbours and forwarding entries, addresses, routes and rules of both families (`enum rtnetlink_groups`).
const GROUPS: [u32; 8] = [1, 3, 5, 7, 8, 9, 11, 19];

/// Tells that a network namespace changed in a way that may matter; not how.
///
/// What matters: links, addresses and rules; routes that are ours, that took another's place, or that are default routes;
/// permanent neighbours and forwarding entries of our links. What a busy node does all day does not: neighbours that come and
/// go, bridges that learn, routes of routing daemons.
pub struct Hints {
    socket: TokioSocket,
    filter: Filter,
}

impl std::fmt::Debug for Hints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hints").finish_non_exhaustive()
    }
}

impl Hints {
    /// Listens in the namespace of the calling thread, for tasks of `runtime`.
    pub(crate) fn listen(session: &mut Session, runtime: &Handle) -> Result<Self, Error> {
        let _entered = runtime.enter();
        let open = || -> io::Result<TokioSocket> {
            let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
            let groups = GROUPS.iter().fold(0, |all, group| all | 1 << (group - 1));
            socket.socket_mut().bind(&SocketAddr::new(0, groups))?;
            Ok(socket)
        };
        let socket = open().map_err(Error::Socket)?;
        // After the socket is open, so that no device of ours is missed.
        session.look_at_links()?;
        let own = session.own_links().map(|device| device.index).collect();
        Ok(Self {
            socket,
            filter: Filter {
                settings: session.settings.clone(),
                own,
            },
        })
    }

    /// Waits until something changed since the last call. Many changes at once are one.
    ///
    /// When the kernel had more to say than the socket holds, that is a change too.
    pub async fn changed(&mut self) -> Result<(), Error> {
        let mut any = false;
        poll_fn(|context| {
            loop {
                match self.socket.poll_recv_from_full(context) {
                    Poll::Ready(Ok((datagram, _))) => {
                        // Each is looked at: some teach the filter.
                        for (header, payload) in messages(&datagram) {
                            any |= self.filter.matters(&header, &payload);
                        }
                    }
                    Poll::Ready(Err(error)) => match error.raw_os_error().map(Errno::from_raw) {
                        Some(Errno::ENOBUFS) => any = true,
                        Some(Errno::EINTR) => {}
                        _ => return Poll::Ready(Err(Error::Socket(error))),
                    },
                    Poll::Pending if any => return Poll::Ready(Ok(())),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }
}

/// Knows what matters.
struct Filter {
    settings: Settings,
    /// The indices of the devices that are ours.
    own: BTreeSet<u32>,
}

impl Filter {
    fn matters(
        &mut self,
        header: &NetlinkHeader,
        payload: &NetlinkPayload<RouteNetlinkMessage>,
    ) -> bool {
        let NetlinkPayload::InnerMessage(message) = payload else {
            return true;
        };
        match message {
            RouteNetlinkMessage::NewLink(link) => {
                if self.owns(link) {
                    self.own.insert(link.header.index);
                }
                true
            }
            RouteNetlinkMessage::NewNeighbour(neighbour) => {
                self.is_on_ours(neighbour) && u16::from(neighbour.header.state) & NUD_PERMANENT != 0
            }
            RouteNetlinkMessage::DelNeighbour(neighbour) => self.is_on_ours(neighbour),
            RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
                header.flags & NLM_F_REPLACE != 0 || self.route_matters(route)
            }
            // Links and addresses that go, addresses and rules that come.
            _ => true,
        }
    }

    fn owns(&self, link: &LinkMessage) -> bool {
        link.attributes.iter().any(|attribute| match attribute {
            LinkAttribute::IfAlias(alias) => alias == self.settings.mark.alias(),
            LinkAttribute::IfName(name) => self
                .settings
                .take_over
                .links
                .iter()
                .any(|link| link.as_str() == name),
            _ => false,
        })
    }

    fn is_on_ours(&self, neighbour: &NeighbourMessage) -> bool {
        self.own.contains(&neighbour.header.ifindex)
    }

    fn route_matters(&self, route: &RouteMessage) -> bool {
        u8::from(route.header.protocol) == self.settings.mark.protocol()
            || route.header.destination_prefix_length == 0
            || route.attributes.iter().any(|attribute| match attribute {
                RouteAttribute::Table(table) => self
                    .settings
                    .take_over
                    .tables
                    .iter()
                    .any(|(taken, _)| taken == table),
                RouteAttribute::Oif(index) => self.own.contains(index),
                _ => false,
            })
    }
}
