//! The packet filter of a node, as the transaction that would be loaded; with the word `load` it is loaded into the network
//! namespace in which this runs.
//!
//! ```text
//! cargo run -p subm-nat --example node
//! unshare --net target/debug/examples/node load     # as root; a namespace that ends with the program
//! ```

use subm_nat::node::{Node, VX_SUBMARINER, VX_SUBMARINER_PORT};
use subm_nat::{Nft, Observed, Plan, TABLE};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut node = Node::default();
    node.local.insert("10.8.0.0/16".parse()?);
    node.remote.insert("10.9.0.0/16".parse()?, Some(1450));
    node.devices.insert(VX_SUBMARINER);
    node.ports.insert(VX_SUBMARINER_PORT);
    node.translate_host_network([10, 8, 1, 1].into());

    if std::env::args().nth(1).as_deref() != Some("load") {
        let plan = Plan::new(&node.ruleset(), &Observed::absent())?;
        println!("{}", plan.transaction(&TABLE).unwrap_or_default());
        return Ok(());
    }
    let nft = Nft::new();
    println!("nft {}", nft.check().await?);
    println!("first:         {}", nft.reconcile(&node.ruleset()).await?);
    println!("again:         {}", nft.reconcile(&node.ruleset()).await?);
    node.remote.insert("10.10.0.0/16".parse()?, Some(1450));
    println!("a cluster more: {}", nft.reconcile(&node.ruleset()).await?);
    println!("removed:       {}", nft.remove().await?);
    Ok(())
}
