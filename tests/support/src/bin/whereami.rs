//! Says where it runs and whose address it sees: what pods of the image `whereami` run.
//!
//! It listens on the port `PORT` (80 by default), for HTTP and for datagrams. `CLUSTER_NAME`, `NODE_NAME` and `POD_NAME` say
//! who it is.

use anyhow::{Context as _, Result};
use subm_test_support::whereami::{Identity, serve};

fn main() -> Result<()> {
    let port = match std::env::var("PORT") {
        Ok(port) => port.parse().with_context(|| format!("PORT={port}"))?,
        Err(_) => 80,
    };
    serve(&Identity::of_environment(), port)
}
