//! `subctl`: reads its command line, does what it says, and ends with the code that says how it went.

use std::process::ExitCode;

use subm_subctl::cli::Cli;
use subm_subctl::commands;

fn main() -> ExitCode {
    let cli = match Cli::parse_args(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    // One provider for everything that speaks TLS; only a second call would fail.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("subctl: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(commands::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is_told() {
                eprintln!(" ✗ {}", error.with_causes());
            }
            eprintln!("\nsubctl version: {}", commands::VERSION);
            ExitCode::from(error.code())
        }
    }
}
