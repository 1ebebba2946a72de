//! How long nft takes for many networks: first all of them, then nothing, then one more.
//!
//! ```text
//! cargo build --release -p subm-nat --example scale
//! unshare --net target/release/examples/scale 10000     # as root; a namespace that ends with the program
//! ```

use std::net::Ipv4Addr;
use std::time::Instant;

use ipnet::Ipv4Net;
use subm_nat::node::Node;
use subm_nat::{Nft, Observed, Plan, TABLE};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: u32 = std::env::args()
        .nth(1)
        .unwrap_or("10000".to_owned())
        .parse()?;
    // Every other /24, so that none touches another.
    let nth = |at: u32| Ipv4Net::new(Ipv4Addr::from(0x0a00_0000 + (at << 9)), 24);
    let nft = Nft::new();
    let mut node = Node::default();
    for at in 0..count {
        node.remote.insert(nth(at)?.into(), None);
    }
    for what in ["all of them", "nothing new", "one more"] {
        if what == "one more" {
            node.remote.insert(nth(count)?.into(), None);
        }
        let start = Instant::now();
        let observed: Observed = nft.observe().await?;
        let read = start.elapsed();
        let start = Instant::now();
        let plan = Plan::new(&node.ruleset(), &observed)?;
        let planned = start.elapsed();
        let bytes = plan.transaction(&TABLE).map_or(0, |text| text.len());
        let start = Instant::now();
        nft.apply(&plan).await?;
        let applied = start.elapsed();
        println!(
            "{what}: read {read:.1?}, plan {planned:.1?}, apply {applied:.1?}, {bytes} bytes: {plan}"
        );
    }
    nft.remove().await?;
    Ok(())
}
