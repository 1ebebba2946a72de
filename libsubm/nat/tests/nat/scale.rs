//! What grows is compared and written one by one.

use anyhow::{Result, ensure};
use ipnet::{IpNet, Ipv4Net};
use subm_nat::node::Node;
use subm_nat::{Plan, TABLE};
use subm_test_support::NetNs;

use crate::kernel::inside;

/// 200 clusters with 50 networks each.
const NETS: u32 = 10_000;

fn nth(at: u32) -> IpNet {
    // Every other /24, so that none touches another.
    Ipv4Net::new_assert((0x0a00_0000 + (at << 9)).into(), 24).into()
}

#[test]
fn of_ten_thousand_networks_one_that_comes_is_one_element() -> Result<()> {
    let netns = NetNs::new()?;
    // No MTU for these: one set, so that sizes are those of one.
    let mut node = Node {
        remote: (0..NETS).map(|at| (nth(at), None)).collect(),
        ..Node::default()
    };
    let (mut whole, mut one) = (0, 0);
    inside(&netns, |nft| {
        let (whole, one) = (&mut whole, &mut one);
        async move {
            let size = |plan: &Plan| plan.transaction(&TABLE).map_or(0, |text| text.len());
            let plan = nft.reconcile(&node.ruleset()).await?;
            *whole = size(&plan);
            ensure!(nft.observe().await?.elements() == NETS as usize);
            ensure!(nft.reconcile(&node.ruleset()).await?.is_empty());
            node.remote.insert(nth(NETS), None);
            let plan = nft.reconcile(&node.ruleset()).await?;
            *one = size(&plan);
            ensure!(
                !plan.replaces_structure() && plan.elements() == (0, 1),
                "{plan}"
            );
            let text = plan.transaction(&TABLE).unwrap_or_default();
            ensure!(text.matches("prefix").count() == 1, "{text}");
            ensure!(nft.reconcile(&node.ruleset()).await?.is_empty());
            node.remote.remove(&nth(0));
            let plan = nft.reconcile(&node.ruleset()).await?;
            ensure!(plan.elements() == (1, 0), "{plan}");
            ensure!(nft.reconcile(&node.ruleset()).await?.is_empty());
            Ok(())
        }
    })?;
    ensure!(one < 200 && whole > 200_000, "{one} and {whole} bytes");
    Ok(())
}
