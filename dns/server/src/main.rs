//! `lighthouse-dns`: reads its command line and does what it says.

use std::process::ExitCode;

use subm_dns::cli::{Cli, Command, LogFormat, Logging};
use subm_dns::config::Config;
use subm_dns::{commands, plugins, run};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut cli = match Cli::parse_args(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    if cli.version {
        print(&format!("lighthouse-dns {}\n", env!("CARGO_PKG_VERSION")));
        return ExitCode::SUCCESS;
    }
    if cli.plugins {
        for directive in plugins::DIRECTIVES {
            print(&format!("dns.{}\n", directive.name()));
        }
        return ExitCode::SUCCESS;
    }
    let done = start_logging(&cli.logging).and_then(|()| {
        // One provider for everything that speaks TLS; only a second call would fail.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let done = runtime.block_on(execute(&mut cli));
        // What a source or a scrape still waits for does not hold up the end.
        runtime.shutdown_background();
        done
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // `{:#}` gives the causes in one line.
            eprint(&format!("lighthouse-dns: {error:#}\n"));
            ExitCode::FAILURE
        }
    }
}

async fn execute(cli: &mut Cli) -> anyhow::Result<()> {
    let Some(command) = cli.command.clone() else {
        return Ok(run::serve(cli.clone()).await?);
    };
    let wanted = match (&command, cli.conf.is_some()) {
        (Command::Dump, true) => std::mem::take(&mut cli.zone),
        _ => Vec::new(),
    };
    let mut config = Config::load(cli)?;
    match command {
        Command::Explain { name, qtype, from } => {
            print(&commands::explain_name(&config, &name, &qtype, from.as_deref()).await?);
        }
        Command::Check => match commands::check(&config).await {
            Ok(text) => print(&text),
            Err((text, error)) => {
                print(&text);
                return Err(error.into());
            }
        },
        Command::Dump => {
            commands::pick_zones(&mut config, &wanted)?;
            print(&commands::dump(&config).await?);
        }
    }
    Ok(())
}

fn start_logging(logging: &Logging) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(logging.filter()).map_err(|error| {
        anyhow::anyhow!(
            "--log-level {}: {error}; try info or subm_dns=debug",
            logging.filter()
        )
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match logging.log_format {
        LogFormat::Text => builder
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

/// To standard output; whoever closed it wants no more.
fn print(text: &str) {
    use std::io::Write;
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn eprint(text: &str) {
    use std::io::Write;
    let _ = std::io::stderr().write_all(text.as_bytes());
}
