//! Word from the kernel that something changed.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket as _, SocketAddr, TokioSocket};
use nix::errno::Errno;
use tokio::runtime::Handle;

use crate::Error;

/// Links, neighbours and forwarding entries, addresses, routes and rules of both families (`enum rtnetlink_groups`).
const GROUPS: [u32; 8] = [1, 3, 5, 7, 8, 9, 11, 19];

/// Tells that links, neighbours, addresses, routes or rules of a namespace changed; not which.
pub struct Hints {
    socket: TokioSocket,
}

impl std::fmt::Debug for Hints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hints").finish_non_exhaustive()
    }
}

impl Hints {
    /// Listens in the namespace of the calling thread, for tasks of `runtime`.
    pub(crate) fn listen(runtime: &Handle) -> Result<Self, Error> {
        let _entered = runtime.enter();
        let open = || -> io::Result<TokioSocket> {
            let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
            let groups = GROUPS.iter().fold(0, |all, group| all | 1 << (group - 1));
            socket.socket_mut().bind(&SocketAddr::new(0, groups))?;
            Ok(socket)
        };
        Ok(Self {
            socket: open().map_err(Error::Socket)?,
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
                    Poll::Ready(Ok(_)) => any = true,
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
