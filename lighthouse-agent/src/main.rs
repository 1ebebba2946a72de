//! See the library.

use std::process::ExitCode;

use subm_lighthouse_agent::shell::environment::{Arguments, LogFormat};
use subm_lighthouse_agent::shell::run;
use tracing_subscriber::EnvFilter;

/// As the DNS server's (docs/adr/0006): objects come and go by the thousand.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::from_command_line();
    let filter = EnvFilter::try_new(arguments.log_filter());
    let filter = match filter {
        Ok(filter) => filter,
        Err(error) => {
            eprintln!(
                "lighthouse-agent: LOG_LEVEL {:?}: {error}",
                arguments.log_level
            );
            return ExitCode::from(2);
        }
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(std::io::stderr);
    match arguments.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    // The process has one TLS; another crate may have chosen it already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let result = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run::run(arguments)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
