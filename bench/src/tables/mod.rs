//! Every table of the report, one file each.

mod change;
mod cpu;
mod dataplane;
mod discovery;
mod latency;
mod paced;
mod programming;
mod scaling;
mod startup;
mod streams;

use std::path::PathBuf;

use crate::report::Table;

/// What a table is measured with.
pub struct Lab {
    /// Folder with the release binaries of this workspace.
    pub binaries: PathBuf,
    /// For data and configuration; gone after the run.
    pub folder: PathBuf,
    pub services: usize,
    /// Each subject is measured so often, in turns.
    pub rounds: usize,
    /// Length of one measurement.
    pub seconds: u64,
}

/// Measures one or more tables.
pub type Measure = fn(&Lab) -> anyhow::Result<Vec<Table>>;

/// By the name that selects them on the command line.
pub const ALL: &[(&str, Measure)] = &[
    ("cpu", cpu::measure),
    ("paced", paced::measure),
    ("latency", latency::measure),
    ("scaling", scaling::measure),
    ("change", change::measure),
    ("startup", startup::startup),
    ("scale", startup::scale),
    ("programming", programming::programming),
    ("streams", streams::measure),
    ("discovery", discovery::measure),
    ("dataplane", dataplane::times),
    ("paths", dataplane::paths),
    ("wireguard", dataplane::wireguard),
    ("many", dataplane::many),
];
