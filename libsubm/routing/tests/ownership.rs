//! What is ours, what is others', and what becomes ours.

mod common;

use common::{changes, install, ip, net, node, settled, similar};
use subm_routing::{
    Address, Family, Link, LinkName, MacAddr, Mark, Network, Route, Rule, Settings, TakeOver, Vxlan,
};

const VX: LinkName = LinkName::from_static("vx-submariner");
const TUN: LinkName = LinkName::from_static("vxlan-tunnel");
const ETH: LinkName = LinkName::from_static("eth0");

#[tokio::test]
async fn what_is_in_the_place_of_ours_but_not_ours_is_said_and_left() {
    let node = node();
    node.ip("link add vx-submariner type vxlan id 100 dstport 4800 nolearning");
    // Or it has an address that is tentative now and is not when all is compared.
    node.ip("link set vx-submariner addrgenmode none");
    node.ip("link set vx-submariner up");
    let mut kernel = node.kernel(Settings::new());
    let network = Network::new()
        .with(Link::vxlan(VX, Vxlan::new(100, 4800)))
        .with(Address::new(VX, net("240.31.1.11/8")))
        .with(Route::via(net("10.77.0.0/16"), ip("172.31.1.78"), ETH))
        .with(Route::via(net("10.80.0.0/16"), ip("172.31.1.78"), ETH))
        .with(Rule::new(Family::V4, 100, 77));
    let before = node.snapshot();
    let report = kernel.apply(&network).await.unwrap();
    let said: Vec<_> = report.troubles().map(ToString::to_string).collect();
    assert_eq!(said.len(), 3, "{said:#?}");
    assert!(
        said[0].contains("a device vx-submariner is there that is not ours"),
        "{said:?}"
    );
    assert_eq!(
        said[1],
        "create address 240.31.1.11/8 dev vx-submariner: skipped, it needs link vx-submariner"
    );
    assert!(
        said[2].starts_with("create route 10.77.0.0/16") && said[2].contains("not ours"),
        "{said:?}"
    );
    assert_eq!(report.done(), 2, "the rest is done");
    // Our rule is beside the equal one of somebody else; only ours goes.
    assert_eq!(
        node.ip("rule").matches("100:\tfrom all lookup 77").count(),
        2
    );
    let report = kernel.apply(&Network::new()).await.unwrap();
    assert_eq!(changes(&report).len(), 2);
    similar(&before, &node.snapshot());
}

#[tokio::test]
async fn what_a_go_submariner_left_is_taken_over_by_name() {
    let node = node();
    let before = node.snapshot();
    node.ip("link add vx-submariner type vxlan id 100 dstport 4800 nolearning remote 172.31.1.12");
    node.ip("addr add 240.31.1.11/8 brd + dev vx-submariner");
    node.ip("link set vx-submariner mtu 1450 up");
    node.ip("link add vxlan-tunnel type vxlan id 1000 dstport 4500 nolearning");
    node.ip("link set vxlan-tunnel up");
    node.output(
        "bridge",
        "fdb append 00:00:00:00:00:00 dev vxlan-tunnel dst 172.31.2.11",
    );
    node.ip("route add 10.9.0.0/16 via 240.31.1.12 dev vx-submariner proto static");
    node.ip("route add 10.99.0.0/16 via 240.31.1.12 dev vx-submariner proto static");
    node.ip("rule add pref 150 lookup 150");
    node.ip("route add 10.9.0.0/16 dev eth0 table 150 proto static");
    let network = Network::new()
        .with(Link::vxlan(VX, Vxlan::new(100, 4800).remote(ip("172.31.1.12"))).mtu(1450))
        .with(Address::new(VX, net("240.31.1.11/8")))
        .with(Route::via(net("10.9.0.0/16"), ip("240.31.1.12"), VX))
        .with(Rule::new(Family::V4, 150, 150));
    let settings = || Settings::new().take_over(TakeOver::new().link(VX).link(TUN).table(150, 150));
    let mut kernel = node.kernel(settings());
    let report = kernel.apply(&network).await.unwrap();
    assert_eq!(
        changes(&report),
        [
            "change link vx-submariner",
            "change route 10.9.0.0/16 table 254 metric 0",
            "create IPv4 rule 150: from all lookup 150",
            "delete IPv4 rule 150: from all lookup 150",
            "delete route 10.99.0.0/16 table 254 metric 0",
            "delete route 10.79.0.0/16 table 150 metric 0",
            "delete route 10.9.0.0/16 table 150 metric 0",
            "delete link vxlan-tunnel",
        ]
    );
    settled(&mut kernel, &network).await;
    assert!(node.ip("rule show pref 150").contains("proto 83"));
    assert!(node.ip("-d link show vx-submariner").contains("alias subm"));
    install(&mut kernel, &Network::new()).await;
    // The route of table 150 that was there before was in a table that was to be taken over.
    let before: Vec<_> = before
        .lines()
        .filter(|line| !line.contains("10.79.0.0/16"))
        .collect();
    let before = before.join("\n");
    similar(&before, &node.snapshot());
}

#[tokio::test]
async fn two_owners_do_not_see_each_other() {
    let node = node();
    let other = Mark::new(84, "subm/agent");
    let taken = TakeOver::new().link(TUN).table(100, 100);
    let mut gateway = node.kernel(Settings::new().take_over(taken));
    let mut agent = node.kernel(Settings::new().mark(other));
    let of = |link, table| {
        Network::new()
            .with(Link::vxlan(link, Vxlan::new(table, 4800)))
            .with(Address::new(link, net("240.31.1.11/8")))
            .with(Route::dev(net("10.9.0.0/16"), link).table(table))
            .with(Rule::new(Family::V6, table, table))
    };
    install(&mut gateway, &of(TUN, 100)).await;
    // As a route agent routes to the gateway's device.
    let on_theirs = of(VX, 150).with(Route::dev(net("10.10.0.0/16"), TUN).table(150));
    install(&mut agent, &on_theirs).await;
    settled(&mut gateway, &of(TUN, 100)).await;
    settled(&mut agent, &on_theirs).await;
    install(&mut agent, &Network::new()).await;
    settled(&mut gateway, &of(TUN, 100)).await;
    install(&mut gateway, &Network::new()).await;
}

#[tokio::test]
async fn a_half_made_device_is_finished_and_a_finished_one_of_others_is_not_touched() {
    let node = node();
    let mac = MacAddr::for_vtep(ip("240.31.1.21"));
    // As it is when the process ends between the two requests that make a device.
    node.ip(&format!(
        "link add vx-submariner mtu 1450 address {mac} type vxlan id 100 dstport 4800 nolearning"
    ));
    let network = Network::new().with(Link::vxlan(VX, Vxlan::new(100, 4800)).mtu(1450).mac(mac));
    let mut kernel = node.kernel(Settings::new());
    install(&mut kernel, &network).await;
    install(&mut kernel, &Network::new()).await;
    // Somebody's: the same, but up.
    node.ip(&format!(
        "link add vx-submariner mtu 1450 address {mac} type vxlan id 100 dstport 4800 nolearning"
    ));
    node.ip("link set vx-submariner up");
    let report = kernel.apply(&network).await.unwrap();
    assert_eq!(report.done(), 0, "{report}");
    install(&mut kernel, &Network::new()).await;
    node.ip("link show vx-submariner");
}
