//! `lighthouse-dns`: reads its command line and does what it says.

use std::process::ExitCode;

use anyhow::Context as _;
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
    let done = match about(&cli) {
        Some(text) => print(&text),
        None => start_logging(&cli.logging).and_then(|()| work(&mut cli)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // `{:#}` gives the causes in one line.
            eprint(&format!("lighthouse-dns: {error:#}\n"));
            ExitCode::FAILURE
        }
    }
}

/// What is said without a look at anything.
fn about(cli: &Cli) -> Option<String> {
    if cli.version {
        return Some(format!("lighthouse-dns {}\n", env!("CARGO_PKG_VERSION")));
    }
    cli.plugins.then(|| {
        let names = plugins::DIRECTIVES.iter().map(|one| one.name());
        names.flat_map(|name| ["dns.", name, "\n"]).collect()
    })
}

fn work(cli: &mut Cli) -> anyhow::Result<()> {
    // One provider for everything that speaks TLS; only a second call would fail.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let done = runtime.block_on(execute(cli));
    // What a source or a scrape still waits for does not hold up the end.
    runtime.shutdown_background();
    done
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
            print(&commands::explain_name(&config, &name, &qtype, from.as_deref()).await?)?;
        }
        Command::Check => match commands::check(&config).await {
            Ok(text) => print(&text)?,
            Err((text, error)) => {
                print(&text)?;
                return Err(error.into());
            }
        },
        Command::Dump => {
            commands::pick_zones(&mut config, &wanted)?;
            print(&commands::dump(&config).await?)?;
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

/// To standard output. Who closed it wants no more; a disk that is full is a failure.
fn print(text: &str) -> anyhow::Result<()> {
    use std::io::{ErrorKind, Write};
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("standard output cannot be written")
        }
        _ => Ok(()),
    }
}

fn eprint(text: &str) {
    use std::io::Write;
    let _ = std::io::stderr().write_all(text.as_bytes());
}
