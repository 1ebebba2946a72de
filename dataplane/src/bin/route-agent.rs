//! See the library.

use std::process::ExitCode;

use clap::Parser as _;
use subm_dataplane::shell::agent::{Arguments, run};
use subm_kube::daemon::{self, Log, Threads};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = arguments.log_level.clone();
    let log = Log {
        filter: &filter,
        json: false,
    };
    daemon::run("submariner-route-agent", log, Threads::One, run(arguments))
}
