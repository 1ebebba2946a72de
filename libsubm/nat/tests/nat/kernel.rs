//! Against nft and the kernel: each test in network namespaces of its own.

use std::future::Future;
use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use ipnet::IpNet;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use subm_nat::node::{Node, VX_SUBMARINER, VX_SUBMARINER_PORT};
use subm_nat::{
    Chain, Family, Hook, Interface, Kind, Mark, Match, Name, NatTo, Nft, Observed, Plan, Rule,
    Ruleset, Selector, Set, Statement, TABLE, Test, Verdict, priority,
};
use subm_test_support::{KernelState, NetNs};

use crate::generate;

/// Runs what speaks to nft inside.
pub(crate) fn inside<T: Send, F: Future<Output = Result<T>>>(
    netns: &NetNs,
    what: impl FnOnce(Nft) -> F + Send,
) -> Result<T> {
    netns.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(what(Nft::new()))
    })
}

pub(crate) fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

pub(crate) fn some_node() -> Node {
    let mut node = Node {
        local: ["10.8.0.0/16", "fd08::/48"].map(net).into(),
        remote: [
            (net("10.9.0.0/16"), Some(1400)),
            (net("10.99.0.0/16"), Some(1400)),
            (net("fd09::/48"), Some(1400)),
            (net("10.10.0.0/16"), None),
        ]
        .into(),
        devices: [VX_SUBMARINER, Interface::literal("submariner")].into(),
        ports: [VX_SUBMARINER_PORT, 4500, 4490].into(),
        ..Node::default()
    };
    node.translate_host_network([10, 8, 1, 1].into());
    node
}

#[test]
fn this_machines_nft_is_new_enough() -> Result<()> {
    inside(&NetNs::new()?, |nft| async move {
        ensure!(nft.check().await? >= subm_nat::Version::MINIMUM);
        Ok(())
    })
}

/// Structure and elements go in, nothing is left to do, elements alone change as elements, and nothing stays.
#[test]
fn a_nodes_life() -> Result<()> {
    let netns = NetNs::new()?;
    let before = KernelState::of(&netns)?;
    inside(&netns, |nft| async move {
        let mut node = some_node();
        ensure!(nft.reconcile(&node.ruleset()).await?.replaces_structure());
        // As a program that starts again with the same desire.
        ensure!(nft.reconcile(&node.ruleset()).await?.is_empty());
        node.remote.insert(net("10.11.0.0/16"), Some(1400));
        let plan = nft.reconcile(&node.ruleset()).await?;
        ensure!(plan.to_string() == "mss4: -0 +1, remote4: -0 +1", "{plan}");
        // A narrower and a wider one take each other's place.
        node.remote.remove(&net("10.11.0.0/16"));
        node.remote.insert(net("10.11.0.0/17"), Some(1400));
        let plan = nft.reconcile(&node.ruleset()).await?;
        ensure!(plan.to_string() == "mss4: -1 +1, remote4: -1 +1", "{plan}");
        ensure!(nft.reconcile(&node.ruleset()).await?.is_empty());
        ensure!(nft.remove().await?);
        ensure!(!nft.remove().await?);
        ensure!(!nft.observe().await?.exists());
        Ok(())
    })?;
    before.ensure_same(&KernelState::of(&netns)?)
}

/// The properties on the real thing: any ruleset can be loaded after any other, and is then what is observed.
#[test]
fn the_difference_makes_what_is_desired() -> Result<()> {
    let netns = NetNs::new()?;
    inside(&netns, |nft| async move {
        let nft = &nft;
        let mut runner = TestRunner::default();
        for case in 0..60 {
            let history = generate::history()
                .new_tree(&mut runner)
                .map_err(anyhow::Error::msg)?
                .current();
            for desired in &history {
                let done = nft.reconcile(desired).await;
                let plan = done.with_context(|| {
                    let plan = Plan::new(desired, &Observed::absent()).unwrap();
                    format!(
                        "case {case}: {}",
                        plan.transaction(&TABLE).unwrap_or_default()
                    )
                })?;
                let again = Plan::new(desired, &nft.observe().await?)?;
                ensure!(
                    again.is_empty(),
                    "case {case}: after {plan}: {again}\n{desired:#?}"
                );
            }
        }
        Ok(())
    })
}

const FLOWTABLE: &str = "flowtable ft { hook ingress priority 0; }";

const FOREIGN: &str = r#"
table inet other {
    set nets { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.168.0.0/16 }; }
    map names { type mark : verdict; elements = { 0x00000001 : accept }; }
    FLOWTABLE
    chain forward {
        type filter hook forward priority 0; policy drop;
        ip saddr @nets limit rate 10/second burst 5 packets log prefix "with: words" accept comment "a comment of theirs"
        tcp dport { 22, 80 } meta mark vmap @names
        ct state vmap { established : accept, invalid : drop }
        @th,16,16 0x1234 accept
    }
}
table ip submariner {
    chain c { type filter hook input priority 0; }
}
table ip6 submariner {
    set s { type ipv6_addr; elements = { fd00::1 }; }
}
table bridge filter {
    chain c { ether daddr 00:00:00:00:00:01 drop; }
}
"#;

/// Rules that this crate does not know, in tables beside ours, one of them of our name but another family.
#[test]
fn what_others_made_stays_byte_for_byte() -> Result<()> {
    let netns = NetNs::new()?;
    // Not every kernel has flowtables.
    if netns.nft(&FOREIGN.replace("FLOWTABLE", FLOWTABLE)).is_err() {
        netns.nft(&FOREIGN.replace("FLOWTABLE", ""))?;
    }
    let list = || netns.output("nft", &["-a", "list", "ruleset"]);
    let of_others = || -> Result<String> {
        [
            "inet other",
            "ip submariner",
            "ip6 submariner",
            "bridge filter",
        ]
        .map(|table| {
            let (family, name) = table.split_once(' ').context("two words")?;
            netns.output("nft", &["-a", "list", "table", family, name])
        })
        .into_iter()
        .collect()
    };
    let (all, others) = (list()?, of_others()?);
    let mut node = some_node();
    for step in 0..3_u8 {
        node.remote.insert(
            IpNet::new([10, 20 + step, 0, 0].into(), 16)?,
            Some(1300 + u32::from(step)),
        );
        inside(&netns, |nft| async move {
            Ok(nft.reconcile(&node.ruleset()).await?)
        })?;
        ensure!(of_others()? == others);
        ensure!(list()? != all, "ours stands beside");
        node = some_node();
    }
    ensure!(inside(
        &netns,
        |nft| async move { Ok(nft.remove().await?) }
    )?);
    ensure!(list()? == all, "{}\n{all}", list()?);
    Ok(())
}

/// What a person puts into our table is no reason to fail, and does not stay.
#[test]
fn strange_things_in_our_table_are_replaced() -> Result<()> {
    let netns = NetNs::new()?;
    let desired = some_node().ruleset();
    let desired = &desired;
    let strange = [
        "add chain inet submariner theirs { type filter hook input priority 5; }",
        "add rule inet submariner source log prefix \"hello\" drop",
        "insert rule inet submariner forward counter drop",
        "add set inet submariner theirs { type ether_addr . inet_service; flags timeout; }",
        "add counter inet submariner theirs",
        "delete chain inet submariner mss",
        "flush chain inet submariner source",
        "chain inet submariner forward { policy drop; }",
        "delete table inet submariner; add table inet submariner; add chain inet submariner source",
    ];
    for script in strange {
        inside(
            &netns,
            |nft| async move { Ok(nft.reconcile(desired).await?) },
        )?;
        netns.nft(script)?;
        let done = inside(&netns, |nft| async move {
            let plan = nft.reconcile(desired).await?;
            ensure!(nft.reconcile(desired).await?.is_empty());
            Ok(plan)
        })?;
        ensure!(done.replaces_structure(), "{script}: {done}");
    }
    // Elements by hand are undone as elements.
    netns.nft("add element inet submariner remote4 { 192.0.2.1-192.0.2.6 }\ndelete element inet submariner remote4 { 10.9.0.0/16 }")?;
    let done = inside(&netns, |nft| async move {
        let plan = nft.reconcile(desired).await?;
        ensure!(nft.reconcile(desired).await?.is_empty());
        Ok(plan)
    })?;
    ensure!(
        !done.replaces_structure() && done.elements().1 >= 1,
        "{done}"
    );
    Ok(())
}

/// The route agent and Globalnet may each have one.
#[test]
fn two_programs_with_tables_of_their_own_do_not_meet() -> Result<()> {
    let netns = NetNs::new()?;
    inside(&netns, |nft| async move {
        let other = nft.clone().table(Name::literal("submariner-globalnet"));
        let ruleset = some_node().ruleset();
        nft.reconcile(&ruleset).await?;
        other.reconcile(&ruleset).await?;
        ensure!(nft.reconcile(&ruleset).await?.is_empty());
        ensure!(other.remove().await?);
        ensure!(nft.reconcile(&ruleset).await?.is_empty());
        Ok(())
    })
}

/// A transaction is loaded whole or not at all.
#[test]
fn what_the_kernel_refuses_changes_nothing() -> Result<()> {
    let netns = NetNs::new()?;
    inside(&netns, |nft| async move {
        let good = some_node().ruleset();
        nft.reconcile(&good).await?;
        let mut bad = good.clone();
        // A plain chain is judged by who calls it, which only the kernel knows.
        let masquerade = Chain::plain([Rule::default().then(Statement::Masquerade)]);
        bad.chains.insert(Name::literal("called"), masquerade);
        let call = Rule::default().then(Verdict::Jump(Name::literal("called")));
        let base = Chain::base(Kind::Filter, Hook::Forward, priority::FILTER, [call]);
        bad.chains.insert(Name::literal("zz-last"), base);
        let error = nft.reconcile(&bad).await.unwrap_err();
        ensure!(
            matches!(error, subm_nat::Error::Refused { .. }),
            "{error:?}"
        );
        ensure!(nft.reconcile(&good).await?.is_empty());
        Ok(())
    })
}

/// Each statement and match as nft itself says it, so that a wrong rendering cannot hide behind a right reading.
#[test]
fn nftables_32_iptables_31_nft_reads_rules_as_they_are_meant() -> Result<()> {
    let netns = NetNs::new()?;
    let mut ruleset = Ruleset::new();
    let (nets, values) = (Name::literal("nets"), Name::literal("values"));
    ruleset.sets.insert(nets.clone(), Set::of_nets(Family::V6));
    let mut map = Set::map_of_nets(Family::V4, subm_nat::DataType::Verdict);
    map.insert_value(net("10.1.0.0/16"), Verdict::Jump(Name::literal("plain")));
    ruleset.sets.insert(values.clone(), map);
    let address = IpAddr::from([192, 0, 2, 1]);
    let v6: IpAddr = "2001:db8::1".parse()?;
    let mark = Mark::bits(0xC_0000);
    let when = |one: Match| Rule::when([one]);
    let mut filter: Vec<_> = generate::clamps()
        .map(|clamp| when(Match::tcp_syn()).then(clamp))
        .into();
    filter.extend([
        when(Match::source(nets.clone()).not()).then(Statement::Counter),
        when(Match::destination(net("10.0.0.0/8"))).then(Verdict::Accept),
        when(Match::mark(mark).not()).then(Statement::SetMark(mark)),
        when(
            Test::ConnectionMark(Mark {
                value: 7,
                mask: u32::MAX,
            })
            .into(),
        )
        .then(Statement::SetConnectionMark(mark)),
        when(Test::ConnectionState([subm_nat::ConnectionState::New].into()).into())
            .then(Verdict::Drop),
        when(Test::DestinationTranslated.into()).then(Verdict::Return),
        when(Test::Protocol(subm_nat::Protocol::Udp).into())
            .then(Statement::VerdictFrom(Selector::Source, values)),
        when(Match::source(net("0.0.0.0/0"))).then(Statement::Counter),
        when(Match::out_interface(VX_SUBMARINER)).then(Statement::Counter),
    ]);
    let source = [
        Rule::default().then(Statement::KeepSource(Family::V6)),
        Rule::default().then(Statement::Snat(NatTo::Address(address))),
        Rule::default().then(Statement::Snat(NatTo::Range(
            address,
            [192, 0, 2, 9].into(),
        ))),
        Rule::default().then(Statement::Masquerade),
    ];
    let dnat = when(Match::destination_port(subm_nat::Transport::Tcp, 80))
        .then(Statement::Dnat(NatTo::Address(v6), Some(8080)));
    let local =
        when(Test::DestinationIs(subm_nat::AddressType::Local).into()).then(Statement::Counter);
    let base = |name, kind, hook, rules: Vec<Rule>| {
        (Name::literal(name), Chain::base(kind, hook, 7, rules))
    };
    ruleset.chains.extend([
        base("filter", Kind::Filter, Hook::Postrouting, filter),
        base("source", Kind::Nat, Hook::Postrouting, source.into()),
        base("target", Kind::Nat, Hook::Prerouting, vec![local, dnat]),
        (Name::literal("plain"), Chain::plain([])),
    ]);
    inside(
        &netns,
        |nft| async move { Ok(nft.reconcile(&ruleset).await?) },
    )?;
    let text = netns.output("nft", &["-s", "list", "table", "inet", "submariner"])?;
    // What nft says, without our comments.
    let lines: Vec<_> = text
        .lines()
        .map(|line| line.split(" comment ").next().unwrap_or(line).trim())
        .collect();
    for expected in [
        "tcp flags syn / syn,rst tcp option maxseg size set rt mtu",
        "tcp flags syn / syn,rst tcp option maxseg size set 1360",
        "ip6 saddr != @nets counter",
        "ip daddr 10.0.0.0/8 accept",
        "meta mark & 0x000c0000 != 0x000c0000 meta mark set meta mark | 0x000c0000",
        "ct mark 0x00000007 ct mark set ct mark | 0x000c0000",
        "ct state == new drop",
        "ct status & dnat == dnat return",
        "meta l4proto udp ip saddr vmap @values",
        "meta nfproto ipv4 counter",
        "oifname \"vx-submariner\" counter",
        "snat ip6 to ip6 saddr",
        "snat ip to 192.0.2.1",
        "snat ip to 192.0.2.1-192.0.2.9",
        "masquerade",
        "tcp dport 80 dnat ip6 to [2001:db8::1]:8080",
        "fib daddr type local counter",
        "elements = { 10.1.0.0/16 : jump plain }",
        "type filter hook postrouting priority filter + 7; policy accept;",
    ] {
        ensure!(lines.contains(&expected), "no {expected:?} in\n{text}");
    }
    Ok(())
}
