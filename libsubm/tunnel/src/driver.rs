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
///
/// # How a program uses it
///
/// It has a [`Kernel`](subm_routing::Kernel), the cables to the gateways that it believes in, and this:
///
/// ```no_run
/// use std::time::Instant;
/// use subm_routing::{Kernel, Network};
/// use subm_tunnel::health::Monitor;
/// use subm_tunnel::{Cable, CableDriver, Connection, Local};
///
/// type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
///
/// /// Whenever a cable, an address of this gateway or its device has changed, and from time to time.
/// async fn make(
///     driver: &mut impl CableDriver,
///     kernel: &mut Kernel,
///     monitor: &Monitor,
///     local: &Local,
///     cables: &[Cable], // all of them: one that is not among them any more goes
/// ) -> Result<()> {
///     driver.prepare(local).await?;
///     let (network, refusals) = driver.plan(local, cables);
///     let report = kernel.apply(&network).await?;
///     let applied = driver.ensure(local, cables).await?;
///     for trouble in report.troubles().map(ToString::to_string).chain(applied.troubles) {
///         eprintln!("{trouble}"); // and try again soon
///     }
///     // A reply that comes another way must not witness for a cable that is not there.
///     let made = cables.iter().filter(|cable| !refusals.contains_key(&cable.name));
///     let target = |cable: &Cable| (cable.name.clone(), "10.9.1.1".parse().unwrap()); // its healthCheckIP
///     monitor.set_targets(made.map(target).collect());
///     Ok(())
/// }
///
/// /// Each second, and when `monitor.changed()`. The first error means that the device is gone: `make` it again.
/// async fn look(driver: &mut impl CableDriver, monitor: &Monitor) -> Result<Vec<Connection>> {
///     let healths = monitor.healths();
///     let merge = |connection: Connection| {
///         let health = healths.get(&connection.cable);
///         connection.with_health(health)
///     };
///     let connections = driver.observe(Instant::now()).await?;
///     Ok(connections.into_iter().map(merge).collect())
/// }
///
/// /// Another gateway leads, or all of it is uninstalled.
/// async fn unmake(driver: &mut impl CableDriver, kernel: &mut Kernel) -> Result<()> {
///     kernel.apply(&Network::new()).await?;
///     driver.teardown().await?;
///     Ok(())
/// }
/// ```
///
/// All of it is declarative: each call takes all cables, and the result is that of the last call, whatever was before, also before this
/// process. A cable that did not change is not touched.
///
/// A process that ends without `unmake` leaves what is in the kernel, and traffic flows on; its successor takes it over. But what a process
/// runs itself ([`Capabilities::implementation`]) ends with it.
///
/// Where [`Capabilities::routes`] is false, the caller routes the cables' subnets to [`Capabilities::device`].
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

    /// Makes keys and peers as the cables want them. The device must be there: planned and applied, or prepared.
    fn ensure(
        &mut self,
        local: &Local,
        cables: &[Cable],
    ) -> impl Future<Output = Result<Applied, Error>> + Send;

    /// How each cable of the last [`ensure`](Self::ensure) is at the time `now`, refused ones included. It asks the device; nothing is
    /// sent to anybody.
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
