//! What all drivers of cables have in common.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use subm_routing::{LinkName, Network};

use crate::connection::Connection;
use crate::{Cable, Error, Local, Refusals};

/// A way to connect gateways.
///
/// Two kinds of work are apart. What the kernel's network needs is a value, made by a pure function ([`CableDriver::plan`]), which the
/// caller merges with what else it wants of the kernel. What a device needs besides, such as keys and peers, the driver does itself.
/// The order is
///
/// 1. [`prepare`](Self::prepare): a device that this process runs itself is there afterwards;
/// 2. [`plan`](Self::plan), and the caller makes the kernel so;
/// 3. [`ensure`](Self::ensure): keys and peers;
/// 4. [`observe`](Self::observe), as often as wanted; back to 1 when anything changed or failed, or from time to time.
///
/// All of it is declarative: each call takes all cables, and the result is that of the last call, whatever was before. A cable that did
/// not change is not touched.
pub trait CableDriver: Send {
    /// What it can do and what it is.
    fn capabilities(&self) -> Capabilities;

    /// What the Endpoint of this gateway publishes of it, for `backend_config`.
    fn backend_config(&self, local: &Local) -> BTreeMap<String, String>;

    /// What the kernel needs for all cables together, and which of them cannot be. Of cables that exclude each other the one that comes
    /// first is made.
    fn plan(&self, local: &Local, cables: &[Cable]) -> (Network, Refusals);

    /// Makes what must be there before the kernel can be made as planned.
    fn prepare(&mut self, local: &Local) -> impl Future<Output = Result<(), Error>> + Send;

    /// Makes keys and peers as the cables want them.
    fn ensure(
        &mut self,
        local: &Local,
        cables: &[Cable],
    ) -> impl Future<Output = Result<Applied, Error>> + Send;

    /// How each cable of the last [`ensure`](Self::ensure) is, refused ones included.
    fn observe(
        &mut self,
        now: Instant,
    ) -> impl Future<Output = Result<Vec<Connection>, Error>> + Send;

    /// Ends what [`prepare`](Self::prepare) began. What was planned for the kernel goes when the caller wants nothing any more.
    fn teardown(&mut self) -> impl Future<Output = Result<(), Error>> + Send;
}

/// What a driver can do and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// `backend` of an Endpoint.
    pub name: &'static str,
    /// Who does the work, for logs and status: `kernel`, or `userspace (gotatun)`.
    pub implementation: &'static str,
    /// The device of all cables.
    pub device: LinkName,
    /// Whether nobody on the way can read or change what is sent.
    pub encrypts: bool,
    /// Whether it works where addresses and ports are translated.
    pub nat: bool,
    /// Whether the plan has the routes to the subnets. If not, the caller routes them to the device.
    pub routes: bool,
    /// Whether traffic and handshakes are seen, so that the driver itself knows a cable that does not work.
    pub sees_traffic: bool,
    /// Bytes that it adds to a packet: what fits into a cable is the MTU without them.
    pub overhead: u32,
}

/// What [`CableDriver::ensure`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Applied {
    /// Changes that were made, in words. None where all was as it should be.
    pub changes: Vec<String>,
    /// Changes that failed, in words, with the reason. They are tried again with the next call.
    pub troubles: Vec<String>,
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} changes", self.changes.len())?;
        for trouble in &self.troubles {
            write!(f, "\n{trouble}")?;
        }
        Ok(())
    }
}
