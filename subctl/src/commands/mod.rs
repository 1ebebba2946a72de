//! What each command does.

mod benchmark;
mod completion;
mod deploy_broker;
mod diagnose;
mod explain;
mod export;
mod finding;
mod interrupt;
mod join;
mod leftovers;
mod member_dns;
mod nettest;
mod operator;
mod recover;
mod show;
mod uninstall;
mod wait;

use subm_install::names::OPERATOR_NAMESPACE;

use crate::cli::{Cli, Command, Explain, Export, Unexport};
use crate::error::Error;
use crate::output::print;

/// As Go subctl writes it.
pub const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

/// Does what the command line says.
pub async fn run(cli: Cli) -> Result<(), Error> {
    let kube = &cli.kube;
    match cli.command {
        Command::DeployBroker(flags) => deploy_broker::run(kube, &flags).await,
        Command::Join(flags) => join::run(kube, &flags).await,
        Command::Export {
            what: Export::Service(flags),
        } => export::export(kube, &flags).await,
        Command::Unexport {
            what: Unexport::Service { name, dry_run },
        } => export::unexport(kube, &name, dry_run).await,
        Command::Show(flags) => show::run(kube, &flags).await,
        Command::Diagnose(flags) => diagnose::run(kube, &flags).await,
        Command::Benchmark { what } => benchmark::run(kube, &what).await,
        Command::Explain {
            what: Explain::Export { name, output },
        } => explain::run(kube, &name, output).await,
        Command::Uninstall(flags) => uninstall::run(kube, &flags).await,
        Command::RecoverBrokerInfo(flags) => recover::run(kube, &flags).await,
        Command::Version => print(&format!("subctl version: {VERSION}\n")),
        Command::Completion { shell } => completion::run(shell),
    }
}

/// Where a member's components run; not the broker's `-n`.
const MEMBER: Option<&str> = Some(OPERATOR_NAMESPACE);
