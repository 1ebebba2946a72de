//! Two network namespaces joined by a VXLAN: each side is one value.
//!
//!     cargo run -p subm-routing --example two_namespaces     (as root)

use std::{fs::File, net::UdpSocket, process::Command, thread, time::Duration};

use nix::sched::{CloneFlags, setns, unshare};
use subm_routing::{
    Address, Forward, Kernel, Link, LinkName, MacAddr, Network, Route, Settings, Vxlan,
};

const TUNNEL: LinkName = LinkName::from_static("vxlan-tunnel");

/// Side 1 or 2: its tunnel, the way to the other side, and a subnet that it stands for.
fn side(me: u8, other: u8) -> anyhow::Result<Network> {
    let (vtep, far) = ([241, 0, 0, me].into(), [241, 0, 0, other].into());
    let subnet = format!("10.{other}.0.0/16").parse()?;
    Ok(Network::new()
        .with(
            Link::vxlan(TUNNEL, Vxlan::new(1000, 4500))
                .mtu(1450)
                .mac(MacAddr::for_vtep(vtep)),
        )
        .with(Address::new(TUNNEL, format!("{vtep}/8").parse()?))
        .with(Address::new(TUNNEL, format!("10.{me}.0.1/32").parse()?))
        .with(Forward::flood(TUNNEL, [192, 0, 2, other].into()))
        .with(Route::via(subnet, far, TUNNEL).source([10, me, 0, 1].into())))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let ends = wired()?;
    for (end, (me, other)) in ends.iter().zip([(1, 2), (2, 1)]) {
        let mut kernel = Kernel::open_in(end.try_clone()?, Settings::new())?;
        println!("side {me}: {}", kernel.apply(&side(me, other)?).await?);
    }
    println!("through the tunnel: {}", hello(&ends)?);
    for end in ends {
        let mut kernel = Kernel::open_in(end, Settings::new())?;
        println!("removed: {}", kernel.apply(&Network::new()).await?);
    }
    Ok(())
}

/// Two namespaces with a wire between them: 192.0.2.1 and 192.0.2.2. Not the business of this crate, so by hand.
fn wired() -> anyhow::Result<[File; 2]> {
    let new = || {
        thread::spawn(|| -> anyhow::Result<File> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Ok(File::open("/proc/thread-self/ns/net")?)
        })
        .join()
        .expect("no panic")
    };
    let ends = [new()?, new()?];
    let other = std::os::fd::AsRawFd::as_raw_fd(&ends[1]);
    let other = format!("/proc/{}/fd/{other}", std::process::id());
    run_in(
        &ends[0],
        &format!("ip link add wire type veth peer name wire netns {other}"),
    )?;
    for (end, address) in ends.iter().zip(["192.0.2.1/24", "192.0.2.2/24"]) {
        run_in(end, &format!("ip addr add {address} dev wire"))?;
        run_in(end, "ip link set wire up")?;
    }
    Ok(ends)
}

/// A datagram from one side's address to the other's.
fn hello(ends: &[File; 2]) -> anyhow::Result<String> {
    let [sender, receiver] = [(&ends[0], "10.1.0.1:0"), (&ends[1], "10.2.0.1:7000")]
        .map(|(end, address)| inside(end, || Ok(UdpSocket::bind(address)?)));
    let receiver = receiver?;
    receiver.set_read_timeout(Some(Duration::from_secs(5)))?;
    sender?.send_to(b"hello", "10.2.0.1:7000")?;
    let mut buffer = [0; 16];
    let (length, from) = receiver.recv_from(&mut buffer)?;
    Ok(format!(
        "{:?} from {from}",
        String::from_utf8_lossy(&buffer[..length])
    ))
}

/// Runs `f` on a thread in a namespace.
fn inside<T: Send>(
    namespace: &File,
    f: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    thread::scope(|scope| {
        let run = || {
            setns(namespace, CloneFlags::CLONE_NEWNET)?;
            f()
        };
        scope.spawn(run).join().expect("no panic")
    })
}

fn run_in(namespace: &File, command: &str) -> anyhow::Result<()> {
    inside(namespace, || {
        let words: Vec<_> = command.split(' ').collect();
        let status = Command::new(words[0]).args(&words[1..]).status()?;
        anyhow::ensure!(status.success(), "{command}: {status}");
        Ok(())
    })
}
