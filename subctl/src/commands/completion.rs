//! `completion SHELL`.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::error::Error;
use crate::output::print;

pub(super) fn run(shell: Shell) -> Result<(), Error> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "subctl", &mut text);
    print(&String::from_utf8_lossy(&text))
}
