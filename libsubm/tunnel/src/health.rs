//! Whether packets come back through a cable, and how long they take.
//!
//! Every remote gateway has an address in its cluster's pod network (`healthCheckIP`). An ICMP echo to it goes the way that packets of
//! pods go, so it sees what a driver cannot: a route that is missing, a firewall, a node that forwards nothing.
//!
//! ```text
//!   targets by cable --> Monitor (one task) --> Path, one for each cable: when to send, what a reply or its absence means
//!                           |   ^
//!                        Pinger: sends an echo, waits for the reply
//! ```
//!
//! [`Path`] takes the time as a parameter and does nothing; [`Monitor`] has the clock and the sockets.

mod icmp;
mod monitor;
mod path;
mod rtt;

pub use icmp::Icmp;
pub use monitor::{Healths, Monitor, PingError, Pinger};
pub use path::{Action, Echo, Health, Path, PathStatus, Settings};
pub use rtt::{Rtt, go_duration};
