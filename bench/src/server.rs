//! A server under test: started on a core, its CPU time read, ended with its value.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;

use subm_test_support::Process;

use crate::cpu;

/// A running server and where it answers.
pub struct Server {
    pub name: String,
    pub addr: SocketAddr,
    pub process: Process,
}

impl Server {
    /// Microseconds of CPU time that it has used.
    pub fn cpu_micros(&self) -> anyhow::Result<u64> {
        cpu::micros(self.process.id())
    }
}

/// `program`, to run on these cores only: `0`, or `0,1`.
pub fn on_cores(cores: &str, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", cores]).arg(program);
    command
}

/// A port of 127.0.0.1 that is free for UDP right now.
pub fn free_addr() -> std::io::Result<SocketAddr> {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
