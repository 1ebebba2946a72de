//! `subctl`: reads its command line, does what it says, and ends with the code that says how it went.

#![deny(clippy::print_stderr, clippy::print_stdout)]

use std::process::ExitCode;

use subm_subctl::cli::Cli;
use subm_subctl::commands;
use subm_subctl::status::tell;

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
            tell(&format!("subctl: {error}\n"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(commands::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is_told() {
                tell(&format!(" ✗ {}\n", error.with_causes()));
            }
            tell(&format!("\nsubctl version: {}\n", commands::VERSION));
            ExitCode::from(error.code())
        }
    }
}
