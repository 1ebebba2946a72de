//! What a gateway decides: what its operator wants of it, what it tells the other clusters, and what it writes where.
//!
//! ```text
//!   environment -> settings --+-> endpoint: this gateway's Endpoint --+-> sync: writes at home and on the broker
//!   labels, annotations ------+                                       |
//!   addresses ----------------+                                       +-> status: its Gateway object
//!   remotes -> cables: what the driver shall make, what is checked ---+
//!                      how they are, in words ------------------------+
//! ```

pub mod cables;
pub mod endpoint;
pub mod public_ip;
pub mod settings;
pub mod status;
pub mod sync;

pub use endpoint::{Problem, cluster_name, endpoint_name, gateway_name};
pub use public_ip::{PublicIp, PublicIpError};
pub use settings::{ClusterId, Settings};
