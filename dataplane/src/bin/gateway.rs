//! See the library.

use std::process::ExitCode;

use subm_dataplane::shell::gateway::{Arguments, run};
use subm_kube::daemon::{self, Log};

fn main() -> ExitCode {
    let arguments = Arguments::from_command_line();
    let filter = arguments.log_filter().to_owned();
    let log = Log {
        filter: &filter,
        json: false,
    };
    let threads = Arguments::threads();
    daemon::run("submariner-gateway", log, threads, run(arguments))
}
