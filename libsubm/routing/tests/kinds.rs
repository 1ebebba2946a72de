//! Every kind of object, in both families, in a real kernel: made, seen again, repaired, changed, and removed without a trace.

mod common;

use common::{changes, install, ip, net, node, settled, similar};
use subm_reconcile::Target as _;
use subm_routing::{
    Address, Family, Forward, Link, LinkKind, LinkName, MacAddr, Neighbour, Network, NextHop,
    Object, Route, Rule, Scope, Settings, Sysctl, Target, Vxlan,
};

const VX: LinkName = LinkName::from_static("vx-submariner");
const TUN: LinkName = LinkName::from_static("vxlan-tunnel");
const ETH: LinkName = LinkName::from_static("eth0");
const CNI: LinkName = LinkName::from_static("cni0");

/// What a gateway with a VXLAN cable has, and more: each kind, in both families.
fn gateway() -> Network {
    let vtep = ip("241.31.1.11");
    let mut network = Network::new()
        .with(
            Link::vxlan(TUN, Vxlan::new(1000, 4500).local(ip("172.31.1.11")))
                .mtu(1450)
                .mac(MacAddr::for_vtep(vtep)),
        )
        .with(Link::vxlan(VX, Vxlan::new(100, 4800).remote(ip("172.31.1.12"))).mtu(1400))
        .with(Address::new(TUN, net("241.31.1.11/8")))
        .with(Address::new(TUN, net("fd00:241::11/64")))
        .with(Address::new(VX, net("240.31.1.11/8")));
    // Neighbours and forwarding entries: unicast, and several for the flood.
    for (far, mac) in [
        ("241.31.2.11", "0a:53:f1:1f:02:0b"),
        ("fd00:241::211", "0a:53:f1:1f:02:0b"),
    ] {
        network.insert(Neighbour::new(TUN, ip(far), mac.parse().unwrap()));
    }
    network.insert(Forward::new(
        TUN,
        "0a:53:f1:1f:02:0b".parse().unwrap(),
        ip("172.31.2.11"),
    ));
    network.insert(
        Forward::new(TUN, "0a:53:f1:1f:03:0b".parse().unwrap(), ip("172.31.3.11")).port(4501),
    );
    for far in ["172.31.2.11", "172.31.3.11"] {
        network.insert(Forward::flood(TUN, ip(far)));
        network.insert(Forward::flood(VX, ip(far)));
    }
    // Routes: through gateways, straight, several, with everything, and those that drop.
    network.extend([
        Route::via(net("10.9.0.0/16"), ip("241.31.2.11"), TUN)
            .table(100)
            .metric(100)
            .source(ip("10.8.1.1")),
        Route::via(net("10.99.0.0/16"), ip("241.31.2.11"), TUN)
            .table(100)
            .metric(100)
            .mtu(1400),
        Route::via(net("fd00:9::/48"), ip("fd00:241::211"), TUN)
            .table(100)
            .metric(100)
            .source(ip("fd00:8:1::1")),
        Route::via(net("fd00:99::/48"), ip("fd00:241::211"), TUN).mtu(1400),
        Route::dev(net("10.10.0.0/16"), TUN)
            .table(150)
            .source(ip("10.8.1.1")),
        Route::dev(net("fd00:10::/48"), TUN).table(150),
        // Another's device, which no container network is known for.
        Route::dev(net("10.11.0.0/16"), ETH).table(150),
        Route::multipath(
            net("10.12.0.0/16"),
            [
                NextHop::via(ip("241.31.3.11"), TUN),
                NextHop::via(ip("241.31.2.11"), TUN).weight(3),
            ],
        ),
        Route::multipath(
            net("fd00:12::/48"),
            [
                NextHop::via(ip("fd00:241::311"), TUN),
                NextHop::via(ip("fd00:241::211"), TUN).weight(3),
            ],
        ),
        Route::multipath(
            net("10.13.0.0/16"),
            [NextHop::via(ip("192.0.2.1"), TUN).onlink()],
        ),
        Route::multipath(
            net("fd00:13::/48"),
            [NextHop::via(ip("2001:db8::1"), TUN).onlink()],
        ),
        Route::via(net("10.14.0.0/16"), ip("fd00:241::211"), TUN),
        // A number of a table that does not fit a byte.
        Route::unreachable(net("10.15.0.0/16"))
            .table(70_000)
            .metric(9),
        Route::unreachable(net("fd00:15::/48")).table(70_000),
        Route::new(net("10.16.0.0/16"), Target::Blackhole),
        Route::new(net("fd00:16::/48"), Target::Prohibit),
        Route::dev(net("0.0.0.0/0"), TUN).table(151),
        Route::dev(net("::/0"), TUN).table(151),
    ]);
    // Rules: nothing, and everything, in both families.
    for family in Family::BOTH {
        network.insert(Rule::new(family, 100, 100));
        network.insert(Rule::new(family, 150, 70_000).fwmark(0x0c_0000, 0x0c_0000));
    }
    network.extend([
        Rule::new(Family::V4, 149, 149)
            .from(net("10.9.0.0/16"))
            .to(net("10.8.0.0/16"))
            .iif(CNI),
        Rule::new(Family::V6, 149, 149)
            .from(net("fd00:9::/48"))
            .to(net("fd00:8::/48"))
            .iif(CNI),
        Rule::new(Family::V4, 148, 149).oif(TUN),
    ]);
    network.extend([
        Sysctl::rp_filter(CNI, 2),
        Sysctl::rp_filter(TUN, 2),
        Sysctl::forwarding(Family::V4, TUN, true),
        Sysctl::forwarding(Family::V6, TUN, true),
        Sysctl::send_redirects(CNI, false),
    ]);
    network
}

fn settings(folder: &tempfile::TempDir) -> Settings {
    Settings::new().memory(folder.path().join("memory.json"))
}

#[tokio::test]
async fn vxlan_41_120_140_145_150_159_all_kinds_are_made_at_once_seen_by_a_new_process_and_removed_without_a_trace()
 {
    let node = node();
    let folder = tempfile::tempdir().unwrap();
    let before = node.snapshot();
    let network = gateway();
    let mut kernel = node.kernel(settings(&folder));
    install(&mut kernel, &network).await;
    assert_eq!(kernel.observe(&network).await.unwrap().len(), network.len());
    // Another program sees what we think we made.
    let seen = node.snapshot();
    for part in [
        "vxlan id 1000 local 172.31.1.11 srcport 0 0 dstport 4500 nolearning",
        "alias subm",
        "link/ether 0a:53:f1:1f:01:0b",
        "10.9.0.0/16 via 241.31.2.11 dev vxlan-tunnel table 100 proto 83 scope global src 10.8.1.1 metric 100",
        "nexthop via 241.31.2.11 dev vxlan-tunnel weight 3",
        "0a:53:f1:1f:03:0b dev vxlan-tunnel dst 172.31.3.11 port 4501 self permanent",
        "fd00:241::211 dev vxlan-tunnel lladdr 0a:53:f1:1f:02:0b PERMANENT",
        "10.14.0.0/16 via inet6 fd00:241::211",
        "149:	from 10.9.0.0/16 to 10.8.0.0/16 iif cni0 lookup 149 proto 83",
    ] {
        assert!(seen.contains(part), "{part:?} is not in\n{seen}");
    }
    // A new process knows all of it.
    drop(kernel);
    let mut kernel = node.kernel(settings(&folder));
    settled(&mut kernel, &network).await;
    // And removes it.
    install(&mut kernel, &Network::new()).await;
    similar(&before, &node.snapshot());
    assert!(
        !folder.path().join("memory.json").exists(),
        "nothing is left to remember"
    );
}

#[tokio::test]
async fn d24_drift_of_every_kind_is_corrected_and_nothing_else_is_touched() {
    let node = node();
    let folder = tempfile::tempdir().unwrap();
    let network = gateway();
    let mut kernel = node.kernel(settings(&folder));
    install(&mut kernel, &network).await;
    let good = node.snapshot();
    for (damage, repair) in [
        (
            "link set vxlan-tunnel mtu 1300",
            vec![
                "change link vxlan-tunnel",
                "change route fd00:99::/48 table 254 metric 1024",
            ],
        ),
        // The kernel forgets neighbours with the address.
        (
            "link set vxlan-tunnel address 02:00:00:00:00:01",
            vec![
                "change link vxlan-tunnel",
                "create neighbour 241.31.2.11 dev vxlan-tunnel",
                "create neighbour fd00:241::211 dev vxlan-tunnel",
            ],
        ),
        (
            "addr del 240.31.1.11/8 dev vx-submariner",
            vec!["create address 240.31.1.11/8 dev vx-submariner"],
        ),
        (
            "addr add 240.9.9.9/32 dev vx-submariner",
            vec!["delete address 240.9.9.9/32 dev vx-submariner"],
        ),
        (
            "-6 addr add fd00:241::99/128 dev vxlan-tunnel",
            vec!["delete address fd00:241::99/128 dev vxlan-tunnel"],
        ),
        (
            "neigh replace 241.31.2.11 lladdr 02:00:00:00:00:02 dev vxlan-tunnel nud permanent",
            vec!["change neighbour 241.31.2.11 dev vxlan-tunnel"],
        ),
        (
            "neigh del fd00:241::211 dev vxlan-tunnel",
            vec!["create neighbour fd00:241::211 dev vxlan-tunnel"],
        ),
        (
            "route del 10.9.0.0/16 table 100",
            vec!["create route 10.9.0.0/16 table 100 metric 100"],
        ),
        (
            "route replace 10.9.0.0/16 dev vxlan-tunnel table 100 metric 100 proto 83",
            vec!["change route 10.9.0.0/16 table 100 metric 100"],
        ),
        (
            "-6 route replace fd00:12::/48 via fd00:241::999 dev vxlan-tunnel proto 83",
            vec!["change route fd00:12::/48 table 254 metric 1024"],
        ),
        (
            "-6 route add fd00:66::/48 dev vxlan-tunnel proto 83",
            vec!["delete route fd00:66::/48 table 254 metric 1024"],
        ),
        (
            "rule del pref 100 lookup 100",
            vec!["create IPv4 rule 100: from all lookup 100"],
        ),
        (
            "-6 rule add pref 66 lookup 66 proto 83",
            vec!["delete IPv6 rule 66: from all lookup 66"],
        ),
    ] {
        node.ip(damage);
        let report = kernel.apply(&network).await.unwrap();
        assert_eq!(changes(&report), repair, "after: ip {damage}");
        settled(&mut kernel, &network).await;
    }
    for (damage, repair) in [
        (
            "fdb del 00:00:00:00:00:00 dev vxlan-tunnel dst 172.31.3.11",
            "create fdb 00:00:00:00:00:00 dev vxlan-tunnel dst 172.31.3.11",
        ),
        (
            "fdb append 00:00:00:00:00:00 dev vxlan-tunnel dst 172.31.9.9",
            "delete fdb 00:00:00:00:00:00 dev vxlan-tunnel dst 172.31.9.9",
        ),
        (
            "fdb replace 0a:53:f1:1f:02:0b dev vxlan-tunnel dst 172.31.9.9",
            "change fdb 0a:53:f1:1f:02:0b dev vxlan-tunnel",
        ),
    ] {
        assert!(node.output("bridge", damage).status.success(), "{damage}");
        assert_eq!(changes(&kernel.apply(&network).await.unwrap()), [repair]);
        settled(&mut kernel, &network).await;
    }
    node.set_sysctl("ipv4/conf/cni0/rp_filter", "1");
    assert_eq!(
        changes(&kernel.apply(&network).await.unwrap()),
        ["change sysctl net/ipv4/conf/cni0/rp_filter"]
    );
    settled(&mut kernel, &network).await;
    // A device that is put down loses routes and IPv6 addresses: all of it comes back in one go.
    node.ip("link set vxlan-tunnel down");
    let report = kernel.apply(&network).await.unwrap();
    assert!(changes(&report).len() > 5, "{:?}", changes(&report));
    settled(&mut kernel, &network).await;
    node.ip("link del vxlan-tunnel");
    assert!(kernel.apply(&network).await.unwrap().all_done());
    settled(&mut kernel, &network).await;
    // But for indices, the order in which things were made, and link-local addresses, which come when they like, all is as it was.
    let words = |text: String| {
        let mut lines: Vec<String> = text
            .lines()
            .filter(|line| !line.contains("fe80::"))
            .map(|line| {
                line.split_once(": ")
                    .map_or(line, |(_, rest)| rest)
                    .to_owned()
            })
            .collect();
        lines.sort();
        lines
    };
    assert_eq!(words(good), words(node.snapshot()));
}

#[tokio::test]
async fn vxlan_65_73_81_89_changes_are_made_in_place_where_the_kernel_can_and_anew_where_it_cannot()
{
    let node = node();
    let mut kernel = node.kernel(Settings::new());
    let route = Route::via(net("10.9.0.0/16"), ip("240.31.1.11"), VX);
    let with = |vxlan: Vxlan| {
        Network::new()
            .with(
                Link::vxlan(VX, vxlan)
                    .mtu(1450)
                    .mac(MacAddr::for_vtep(ip("240.31.1.21"))),
            )
            .with(Address::new(VX, net("240.31.1.21/8")))
            .with(route.clone())
    };
    let index = || {
        node.ip("-o link show vx-submariner")
            .split(':')
            .next()
            .unwrap()
            .to_owned()
    };
    install(
        &mut kernel,
        &with(Vxlan::new(100, 4800).remote(ip("172.31.1.11"))),
    )
    .await;
    let first = index();
    // Another gateway leads: nothing but the remote changes, and traffic is not interrupted.
    for vxlan in [
        Vxlan::new(100, 4800).remote(ip("172.31.1.12")),
        Vxlan::new(100, 4800)
            .remote(ip("172.31.1.12"))
            .local(ip("172.31.1.11")),
        Vxlan::new(100, 4800)
            .remote(ip("172.31.1.13"))
            .local(ip("172.31.1.11"))
            .learning(true),
    ] {
        let network = with(vxlan);
        let report = kernel.apply(&network).await.unwrap();
        assert_eq!(changes(&report), ["change link vx-submariner"]);
        settled(&mut kernel, &network).await;
        assert_eq!(index(), first, "in place");
    }
    // Another identifier, port, or family: anew, and with all that belongs to it, in one go and with the same address.
    for vxlan in [
        Vxlan::new(101, 4800).remote(ip("172.31.1.13")),
        Vxlan::new(101, 4801).remote(ip("172.31.1.13")),
        Vxlan::new(101, 4801)
            .remote(ip("fd00:31::12"))
            .local(ip("fd00:31::11")),
        Vxlan::new(101, 4801).remote(ip("fd00:31::12")),
        Vxlan::new(101, 4801),
    ] {
        let network = with(vxlan);
        let before = index();
        let report = kernel.apply(&network).await.unwrap();
        assert_eq!(
            changes(&report),
            [
                "delete link vx-submariner",
                "create link vx-submariner",
                "create address 240.31.1.21/8 dev vx-submariner",
                "create route 10.9.0.0/16 table 254 metric 0"
            ]
        );
        settled(&mut kernel, &network).await;
        assert_ne!(index(), before, "anew");
        assert!(
            node.ip("link show vx-submariner")
                .contains("0a:53:f0:1f:01:15"),
            "the same address"
        );
    }
    // Under another name: the one in the way goes first.
    let other: LinkName = "vx-other-name".parse().unwrap();
    let network = Network::new().with(Link::vxlan(other, Vxlan::new(101, 4801)));
    let report = kernel.apply(&network).await.unwrap();
    assert_eq!(
        changes(&report),
        ["delete link vx-submariner", "create link vx-other-name"]
    );
    settled(&mut kernel, &network).await;
    install(&mut kernel, &Network::new()).await;
}

#[tokio::test]
async fn the_address_of_a_tunnel_changes_without_losing_its_routes() {
    let node = node();
    let mut kernel = node.kernel(Settings::new());
    let with = |address: &str| {
        Network::new()
            .with(Link::vxlan(VX, Vxlan::new(100, 4800)))
            .with(Address::new(VX, net(address)))
            .with(Address::new(VX, net("fd00:240::21/64")))
            .with(Route::via(net("10.9.0.0/16"), ip("240.31.1.11"), VX))
            .with(Route::via(net("fd00:9::/48"), ip("fd00:240::11"), VX))
    };
    install(&mut kernel, &with("240.31.1.21/8")).await;
    let report = kernel.apply(&with("240.31.1.22/8")).await.unwrap();
    assert_eq!(
        changes(&report),
        [
            "create address 240.31.1.22/8 dev vx-submariner",
            "delete address 240.31.1.21/8 dev vx-submariner"
        ]
    );
    settled(&mut kernel, &with("240.31.1.22/8")).await;
}

#[tokio::test]
async fn a_pair_of_devices_comes_and_goes_as_one() {
    let node = node();
    let before = node.snapshot();
    let (a, b) = (
        LinkName::from_static("subm-a"),
        LinkName::from_static("subm-b"),
    );
    let mut kernel = node.kernel(Settings::new());
    let network = Network::new()
        .with(
            Link::veth(a, b)
                .mtu(1400)
                .mac("02:00:00:00:00:0a".parse().unwrap()),
        )
        .with(Link::veth(b, a).mac("02:00:00:00:00:0b".parse().unwrap()))
        .with(Address::new(a, net("10.1.0.1/30")))
        .with(Address::new(b, net("fd00:1::2/64")));
    install(&mut kernel, &network).await;
    // One end only: the other is not ours any more, but there.
    let c = LinkName::from_static("subm-c");
    let other = Network::new()
        .with(Link::veth(a, c))
        .with(Address::new(a, net("10.1.0.1/30")));
    let report = kernel.apply(&other).await.unwrap();
    assert_eq!(
        changes(&report),
        [
            "delete link subm-a",
            "create link subm-a",
            "create address 10.1.0.1/30 dev subm-a"
        ]
    );
    settled(&mut kernel, &other).await;
    install(&mut kernel, &network).await;
    install(&mut kernel, &Network::new()).await;
    similar(&before, &node.snapshot());
}

#[tokio::test]
async fn a_device_that_others_make_is_marked_configured_and_given_back() {
    let node = node();
    let device = LinkName::from_static("submariner");
    let mut kernel = node.kernel(Settings::new());
    let network = Network::new()
        .with(Link::external(device).mtu(1380))
        .with(Address::new(device, net("10.1.0.1/32")))
        .with(Route::dev(net("10.9.0.0/16"), device).table(150))
        .with(Sysctl::rp_filter(device, 2));
    let report = kernel.apply(&network).await.unwrap();
    let said: Vec<_> = report.troubles().map(ToString::to_string).collect();
    assert_eq!(
        said[0],
        "create link submariner: there is no device submariner (yet)"
    );
    assert_eq!(said.len(), 4, "and what needs it is skipped: {said:?}");
    node.ip("tuntap add dev submariner mode tun");
    let given = node.snapshot();
    install(&mut kernel, &network).await;
    assert!(node.ip("link show submariner").contains("mtu 1380"));
    install(&mut kernel, &Network::new()).await;
    let link = node.ip("-d link show submariner");
    assert!(!link.contains("alias"), "{link}");
    assert!(given.contains("submariner"));
}

#[tokio::test]
async fn kinds_that_this_kernel_lacks_are_said_and_others_work() {
    let node = node();
    let mut kernel = node.kernel(Settings::new());
    for link in [
        Link::wireguard("submariner".parse().unwrap()).mtu(1420),
        Link::dummy("subm-dummy".parse().unwrap()),
    ] {
        let name = link.name;
        let kind = link.kind.clone();
        let network = Network::new()
            .with(link)
            .with(Address::new(name, net("10.1.0.1/32")));
        let report = kernel.apply(&network).await.unwrap();
        let word = match kind {
            LinkKind::WireGuard => "wireguard",
            _ => "dummy",
        };
        if node
            .output("ip", &format!("link add probe type {word}"))
            .status
            .success()
        {
            node.ip("link del probe");
            assert!(report.all_done(), "{report}");
            settled(&mut kernel, &network).await;
        } else {
            eprintln!("this kernel has no {word} devices: only what is said about it is tested");
            assert!(
                report.to_string().contains("this kernel lacks it"),
                "{report}"
            );
            assert_eq!(report.done(), 0);
        }
        install(&mut kernel, &Network::new()).await;
    }
}

#[tokio::test]
async fn steps_can_be_applied_one_by_one() {
    let node = node();
    let mut kernel = node.kernel(Settings::new());
    let network = gateway();
    let observed = kernel.observe(&network).await.unwrap();
    for change in &kernel.plan(network.objects(), observed.objects()) {
        subm_reconcile::Target::apply(&mut kernel, change)
            .await
            .unwrap();
        // Making it twice does no harm, but for what may not be there when it is made.
        if !matches!(change.to(), Some(Object::Route(_))) {
            subm_reconcile::Target::apply(&mut kernel, change)
                .await
                .unwrap();
        }
    }
    assert_eq!(Scope::Link, Route::dev(net("10.0.0.0/8"), VX).scope);
}
