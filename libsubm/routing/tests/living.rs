//! A kernel that lives: questions, hints, the loop, other programs that change things meanwhile.

mod common;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{NetNs, eventually, install};
use subm_reconcile::{Reconciler, Timing};
use subm_routing::{
    Address, Family, Link, LinkName, Network, Route, Rule, Settings, Vxlan, interface_within,
};
use tokio::sync::watch;

const VX: LinkName = LinkName::from_static("vx-submariner");

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn net(text: &str) -> ipnet::IpNet {
    text.parse().unwrap()
}

fn node() -> NetNs {
    let node = NetNs::new();
    node.ip("link add eth0 mtu 1480 type veth peer name uplink");
    node.ip("link add cni0 type veth peer name pod");
    for device in ["eth0", "uplink", "cni0", "pod"] {
        node.ip(&format!("link set {device} up"));
    }
    node.ip("addr add 172.31.1.11/24 dev eth0");
    node.ip("addr add fd00:31::11/64 dev eth0 nodad");
    node.ip("addr add 10.8.1.1/24 dev cni0");
    node.ip("addr add fd00:8:1::1/64 dev cni0 nodad");
    node
}

#[tokio::test]
async fn questions_are_answered_in_both_families() {
    let node = node();
    let kernel = node.kernel(Settings::new());
    for family in Family::BOTH {
        assert_eq!(kernel.default_route(family).await.unwrap(), None);
    }
    assert_eq!(kernel.path_to(ip("8.8.8.8")).await.unwrap(), None);
    node.ip("route add default via 172.31.1.250 dev eth0 metric 200");
    node.ip("route add default via 172.31.1.254 dev eth0 metric 100 src 172.31.1.11");
    node.ip("route add default via fd00:31::fe dev eth0");
    node.ip("route add unreachable 10.66.0.0/16");
    let v4 = kernel
        .default_route(Family::V4)
        .await
        .unwrap()
        .expect("a default route");
    assert_eq!(
        (v4.link.as_str(), v4.gateway, v4.address, v4.mtu),
        (
            "eth0",
            Some(ip("172.31.1.254")),
            Some(ip("172.31.1.11")),
            1480
        )
    );
    let v6 = kernel
        .default_route(Family::V6)
        .await
        .unwrap()
        .expect("a default route");
    assert_eq!(
        (v6.link.as_str(), v6.gateway, v6.address, v6.mtu),
        (
            "eth0",
            Some(ip("fd00:31::fe")),
            Some(ip("fd00:31::11")),
            1480
        )
    );
    let interfaces = kernel.interfaces().await.unwrap();
    let names: Vec<_> = interfaces
        .iter()
        .map(|interface| interface.name.to_string())
        .collect();
    assert_eq!(names[0], "lo");
    assert!(interfaces[0].loopback && interfaces[0].addresses.contains(&net("127.0.0.1/8")));
    let (cni, address) =
        interface_within(&interfaces, &[net("10.8.0.0/16")]).expect("a container network");
    assert_eq!((cni.name.as_str(), address), ("cni0", ip("10.8.1.1")));
    let (_, address) =
        interface_within(&interfaces, &[net("fd00:8::/32")]).expect("a container network");
    assert_eq!(address, ip("fd00:8:1::1"));
    assert!(interface_within(&interfaces, &[net("10.9.0.0/16")]).is_none());
    let path = kernel
        .path_to(ip("8.8.8.8"))
        .await
        .unwrap()
        .expect("a path");
    assert_eq!(
        (path.link.as_str(), path.gateway, path.source),
        ("eth0", Some(ip("172.31.1.254")), Some(ip("172.31.1.11")))
    );
    let path = kernel
        .path_to(ip("2001:db8::1"))
        .await
        .unwrap()
        .expect("a path");
    assert_eq!(
        (path.gateway, path.source),
        (Some(ip("fd00:31::fe")), Some(ip("fd00:31::11")))
    );
    let path = kernel
        .path_to(ip("172.31.1.77"))
        .await
        .unwrap()
        .expect("a path");
    assert_eq!((path.gateway, path.mtu), (None, 1480));
    assert_eq!(
        kernel
            .path_to(ip("172.31.1.11"))
            .await
            .unwrap()
            .expect("itself")
            .link
            .as_str(),
        "lo"
    );
    assert_eq!(
        kernel.path_to(ip("10.66.0.1")).await.unwrap(),
        None,
        "unreachable"
    );
    assert_eq!(kernel.routes(Family::V4, 254).await.unwrap().len(), 5);
}

/// Defect 12 of the Go route agent: a lookup without a route ended the process.
#[tokio::test]
async fn d12_no_route_is_an_answer() {
    let kernel = NetNs::new().kernel(Settings::new());
    for destination in ["192.0.2.1", "2001:db8::1"] {
        assert_eq!(kernel.path_to(ip(destination)).await.unwrap(), None);
    }
}

fn network() -> Network {
    Network::new()
        .with(Link::vxlan(VX, Vxlan::new(100, 4800)))
        .with(Address::new(VX, net("240.31.1.21/8")))
        .with(Route::via(net("10.9.0.0/16"), ip("240.31.1.11"), VX))
        .with(Rule::new(Family::V4, 100, 100))
}

#[tokio::test]
async fn the_loop_corrects_drift_at_once_and_rests_when_there_is_none() {
    let node = node();
    let kernel = node.kernel(Settings::new());
    let mut hints = kernel.hints().await.unwrap();
    let (desired, receiver) = watch::channel(None);
    // Without resync: only hints can make it look.
    let mut timing = Timing::default();
    timing.resync = Duration::from_secs(3600);
    let reconciler = Reconciler::new("network", kernel, receiver, timing);
    let (hint, mut status) = (reconciler.hint(), reconciler.status());
    let forwarder = tokio::spawn(async move {
        while hints.changed().await.is_ok() {
            hint.give();
        }
    });
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(reconciler.run(async move {
        let _ = stopped.await;
    }));
    let wanted = Arc::new(network().into_objects());
    desired.send_replace(Some(wanted.clone()));
    status
        .wait_for(|status| status.converged_to(&wanted))
        .await
        .unwrap();
    for damage in [
        "route del 10.9.0.0/16",
        "rule del pref 100",
        "addr del 240.31.1.21/8 dev vx-submariner",
        "link del vx-submariner",
    ] {
        let looks = status.borrow().looks;
        node.ip(damage);
        let began = Instant::now();
        eventually("it is repaired", || {
            node.ip("route show 10.9.0.0/16").contains("240.31.1.11")
                && node.ip("rule").contains("lookup 100")
        })
        .await;
        eprintln!("ip {damage}: repaired after {:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(2));
        // One look to repair it, one to see that it is so.
        status
            .wait_for(|status| status.looks >= looks + 2 && status.converged_to(&wanted))
            .await
            .unwrap();
    }
    // What others do all day is no reason to look.
    let looks = status.borrow().looks;
    for others in [
        "route add 10.77.0.0/16 dev eth0 proto bgp",
        "route del 10.77.0.0/16 dev eth0",
        "neigh add 172.31.1.70 lladdr 02:00:00:00:00:70 dev eth0 nud reachable",
        "neigh del 172.31.1.70 dev eth0",
        "neigh add 240.31.1.70 lladdr 02:00:00:00:00:70 dev vx-submariner nud stale",
    ] {
        node.ip(others);
    }
    node.ip("route del 10.9.0.0/16");
    status
        .wait_for(|status| status.looks >= looks + 2 && status.converged_to(&wanted))
        .await
        .unwrap();
    assert_eq!(
        status.borrow().looks,
        looks + 2,
        "one to repair, one to see"
    );
    let empty = Arc::new(Network::new().into_objects());
    desired.send_replace(Some(empty.clone()));
    status
        .wait_for(|status| status.converged_to(&empty))
        .await
        .unwrap();
    stop.send(()).unwrap();
    let kernel = running.await.unwrap();
    assert!(kernel.observe(&Network::new()).await.unwrap().is_empty());
    forwarder.abort();
}

/// Whatever else happens in the kernel while it is observed: none of ours is missing from an observation.
#[tokio::test]
async fn an_observation_is_whole_while_everything_else_changes() {
    let node = node();
    let mut wanted = Network::new();
    for number in 0..64_u8 {
        let link: LinkName = format!("subm{number}").parse().unwrap();
        wanted.insert(Link::veth(link, format!("peer{number}").parse().unwrap()));
        wanted.insert(Address::new(
            link,
            format!("10.1.{number}.1/24").parse().unwrap(),
        ));
        wanted.insert(Address::new(
            link,
            format!("fd00:1:{number:x}::1/64").parse().unwrap(),
        ));
        wanted.insert(Route::dev(
            format!("10.2.{number}.0/24").parse().unwrap(),
            link,
        ));
    }
    let mut kernel = node.kernel(Settings::new());
    install(&mut kernel, &wanted).await;
    let node = Arc::new(node);
    let busy = Arc::new(AtomicBool::new(true));
    let (other, going) = (node.clone(), busy.clone());
    let churn = std::thread::spawn(move || {
        let mut rounds = 0;
        while going.load(Ordering::Relaxed) {
            other.output("ip", "link add aaa type veth peer name zzz");
            other.output("ip", "addr add 10.3.0.1/24 dev aaa");
            other.output("ip", "link del aaa");
            rounds += 1;
        }
        rounds
    });
    let before = kernel.traffic().await.unwrap().dumps;
    let mut observations = 0;
    let deadline = Instant::now() + Duration::from_secs(2);
    while Instant::now() < deadline {
        let observed = kernel.observe(&wanted).await.unwrap();
        assert_eq!(observed.len(), wanted.len());
        observations += 1;
    }
    busy.store(false, Ordering::Relaxed);
    let changes = churn.join().unwrap() * 3;
    let dumps = kernel.traffic().await.unwrap().dumps - before;
    eprintln!("{observations} observations during {changes} changes, {dumps} dumps");
    assert!(changes >= 6 && observations > 5);
    install(&mut kernel, &Network::new()).await;
}
