//! Measures lighthouse-dns beside other servers. `bench/README.md` says how to run it and how to read it.
//!
//! ```text
//!  tables/* ──▶ Table ──▶ markdown, plot
//!     │ uses
//!     ├── peers/*, server      the servers, and one data set for all (data)
//!     ├── dnsperf, openloop    load: as much as goes, or by schedule
//!     ├── cpu, probe           what the servers use and say
//!     └── turns, workbench     rounds, and figures per query
//! ```

pub mod awake;
pub mod clusterset;
pub mod controlplane;
pub mod cpu;
pub mod data;
pub mod dataplane;
pub mod dnsperf;
pub mod machine;
pub mod markdown;
pub mod openloop;
pub mod peers;
pub mod plot;
pub mod probe;
pub mod report;
pub mod server;
pub mod streams;
mod sys;
pub mod tables;
pub mod turns;
pub mod workbench;
