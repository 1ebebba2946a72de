//! See the library.

use std::process::ExitCode;

use subm_kube::daemon::{self, Log, Threads};
use subm_lighthouse_agent::shell::environment::{Arguments, LogFormat};
use subm_lighthouse_agent::shell::run;

/// As the DNS server's (docs/adr/0006): objects come and go by the thousand.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::from_command_line();
    let filter = arguments.log_filter().to_owned();
    let log = Log {
        filter: &filter,
        json: arguments.log_format == LogFormat::Json,
    };
    daemon::run("lighthouse-agent", log, Threads::Two, run::run(arguments))
}
