//! The floor: the system calls of a worker and nothing else.

use super::{ECHO, PADDED_ECHO};
use crate::server::{Server, free_addr, on_cores};
use crate::tables::Lab;

/// `reply` is the length of replies; without it they are as long as the queries.
pub fn start(lab: &Lab, reply: Option<usize>) -> anyhow::Result<Server> {
    let addr = free_addr()?;
    let mut command = on_cores("0", &lab.binaries.join("udp-echo"));
    command.arg(addr.to_string());
    if let Some(size) = reply {
        command.arg(size.to_string());
    }
    let name = if reply.is_some() { PADDED_ECHO } else { ECHO };
    Server::start(name, addr, command)
}
