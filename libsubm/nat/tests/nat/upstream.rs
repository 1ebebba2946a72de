//! What Submariner's tests of its packet filter ask for (`pkg/packetfilter`, its adapter, its nftables driver), by their names.
//! There rules are added and deleted one by one; here the same ends are said as what should be.

use anyhow::{Result, ensure};
use subm_nat::{Chain, Family, Hook, Kind, Name, Rule, Ruleset, Set, Statement, Verdict, priority};
use subm_test_support::NetNs;

use crate::kernel::{inside, net};

const CHAIN: Name = Name::literal("one");

struct Node(NetNs);

impl Node {
    fn new() -> Result<Self> {
        Ok(Self(NetNs::new()?))
    }

    /// Loads it; whether anything was done.
    fn load(&self, ruleset: &Ruleset) -> Result<bool> {
        inside(&self.0, |nft| async move {
            Ok(!nft.reconcile(ruleset).await?.is_empty())
        })
    }

    /// Runs a command of nft and says what our table is then, without hashes.
    fn list(&self) -> Result<String> {
        let text = self.0.output("nft", &["list", "ruleset"])?;
        let plain = |line: &str| {
            line.split(" comment ")
                .next()
                .unwrap_or(line)
                .trim()
                .to_owned()
        };
        Ok(text.lines().map(plain).collect::<Vec<_>>().join("\n"))
    }

    /// Where in the listing each of these is.
    fn order(&self, words: &[&str]) -> Result<Vec<Option<usize>>> {
        let text = self.list()?;
        Ok(words.iter().map(|word| text.find(word)).collect())
    }
}

fn rule(verdict: Verdict) -> Rule {
    Rule::default().then(verdict)
}

fn of_chain(rules: impl IntoIterator<Item = Rule>) -> Ruleset {
    let mut ruleset = Ruleset::new();
    ruleset.chains.insert(CHAIN, Chain::plain(rules));
    ruleset
}

/// Adapter › PrependUnique › the rules don't exist › should prepend them; the rules already exist in the proper position › should not
/// prepend them; rules already exist but not in the proper position › should remove the misplaced rules and prepend them.
#[test]
fn packetfilter_126_135_147_rules_stand_once_and_in_their_order() -> Result<()> {
    let node = Node::new()?;
    let mark = || Rule::default().then(Statement::Counter);
    let [first, second] = [mark(), rule(Verdict::Return)];
    node.load(&of_chain([second.clone()]))?;
    let desired = of_chain([first.clone(), second.clone()]);
    ensure!(node.load(&desired)?);
    ensure!(!node.load(&desired)?, "in their places");
    let places = node.order(&["counter packets", "return"])?;
    ensure!(
        places[0].is_some() && places[0] < places[1],
        "{}",
        node.list()?
    );
    node.load(&of_chain([second, first]))?;
    let places = node.order(&["counter packets", "return"])?;
    ensure!(
        places[1].is_some() && places[1] < places[0],
        "{}",
        node.list()?
    );
    // By hand: the first rule of the chain goes, and comes again as the last.
    ensure!(node.list()?.matches("counter packets").count() == 1);
    node.load(&desired)?;
    let handle = node
        .0
        .output("nft", &["-a", "list", "chain", "inet", "submariner", "one"])?;
    let line = handle
        .lines()
        .find(|line| line.contains("counter"))
        .unwrap_or_default()
        .to_owned();
    let (text, handle) = line.trim().rsplit_once(" # handle ").unwrap_or_default();
    node.0.nft(&format!(
        "delete rule inet submariner one handle {handle}\nadd rule inet submariner one {text}"
    ))?;
    let places = node.order(&["counter packets", "return"])?;
    ensure!(places[1] < places[0], "moved");
    ensure!(node.load(&desired)?);
    let places = node.order(&["counter packets", "return"])?;
    ensure!(places[0] < places[1], "{}", node.list()?);
    Ok(())
}

/// Adapter › UpdateChainRules › should correctly update the rules; nftables › Adding and deleting rules.
#[test]
fn packetfilter_163_nftables_223_rules_come_and_go() -> Result<()> {
    let node = Node::new()?;
    node.load(&of_chain([rule(Verdict::Accept), rule(Verdict::Drop)]))?;
    node.load(&of_chain([rule(Verdict::Drop), rule(Verdict::Return)]))?;
    let one = node
        .0
        .output("nft", &["list", "chain", "inet", "submariner", "one"])?;
    ensure!(
        !one.contains("accept") && one.contains("drop") && one.contains("return"),
        "{one}"
    );
    Ok(())
}

/// nftables › Creating and deleting a chain; Creating and deleting an IP hook chain. Upstream gives every NAT chain the priority of
/// destination NAT, and one name to the chains of two hooks.
#[test]
fn nftables_158_189_chains_come_and_go() -> Result<()> {
    let node = Node::new()?;
    let mut desired = of_chain([]);
    let base = |kind, hook, priority| Chain::base(kind, hook, priority, []);
    let source = base(Kind::Nat, Hook::Postrouting, priority::SRCNAT);
    desired.chains.insert(Name::literal("source"), source);
    let mangle = base(Kind::Filter, Hook::Postrouting, priority::MANGLE);
    desired.chains.insert(Name::literal("mangle"), mangle);
    node.load(&desired)?;
    let text = node.list()?;
    ensure!(text.contains("chain one {\n}"), "{text}");
    ensure!(
        text.contains("type nat hook postrouting priority srcnat; policy accept;"),
        "{text}"
    );
    ensure!(
        text.contains("type filter hook postrouting priority mangle; policy accept;"),
        "{text}"
    );
    node.load(&of_chain([]))?;
    ensure!(!node.list()?.contains("hook"));
    node.load(&Ruleset::new())?;
    ensure!(node.list()?.is_empty());
    Ok(())
}

/// nftables › Creating and deleting sets; Adding and deleting entries from a set. Upstream's sets cannot hold networks.
#[test]
fn nftables_317_346_sets_and_their_entries_come_and_go() -> Result<()> {
    let node = Node::new()?;
    let of = |nets: &[&str]| {
        let mut set = Set::of_nets(Family::V4);
        for text in nets {
            set.insert(net(text));
        }
        let mut ruleset = Ruleset::new();
        ruleset.sets.insert(Name::literal("nets"), set);
        ruleset
    };
    node.load(&of(&[]))?;
    ensure!(node.list()?.contains("set nets"));
    node.load(&of(&["10.0.0.0/8", "192.0.2.1/32"]))?;
    ensure!(
        node.list()?
            .contains("elements = { 10.0.0.0/8, 192.0.2.1 }"),
        "{}",
        node.list()?
    );
    node.load(&of(&["192.0.2.1/32"]))?;
    ensure!(
        node.list()?.contains("elements = { 192.0.2.1 }"),
        "{}",
        node.list()?
    );
    node.load(&of_chain([]))?;
    ensure!(!node.list()?.contains("set nets"));
    Ok(())
}
