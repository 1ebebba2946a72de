//! Gateways in network namespaces, joined by a switch. Each has a thread in its namespace, as a gateway program would be.

#![allow(dead_code, unreachable_pub)] // Each test file uses its part.

pub mod scenarios;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use subm_routing::{Family, Kernel, Network, Route, Rule, Settings};
use subm_test_support::{KernelState, NetNs};
use subm_tunnel::health::{Icmp, Monitor, Settings as Checks};
use subm_tunnel::{
    Applied, Cable, CableDriver, Connection, ConnectionStatus, Error, Local, PrivateKey,
};
use tokio::sync::mpsc;

/// Everything here takes milliseconds; machines can be busy.
pub const SOON: Duration = Duration::from_secs(30);

/// A switch between the gateways.
pub struct Switch(NetNs);

impl Switch {
    pub fn new() -> Result<Self> {
        let netns = NetNs::new()?;
        netns.ip("link add lan type bridge\nlink set lan up")?;
        Ok(Self(netns))
    }

    /// A node: 172.31.0.N and fd00:31::N on `eth0`; what is behind it is 10.N.0.1 and fd0N::1, on its loopback.
    pub fn node(&self, n: u8) -> Result<Arc<NetNs>> {
        let node = NetNs::new()?;
        self.0.ip(&format!(
            "link add p{n} master lan type veth peer name eth0 netns {}\nlink set p{n} up",
            node.path()
        ))?;
        node.sysctl(&[
            ("ipv6/conf/default/accept_dad", "0"),
            ("ipv6/conf/eth0/accept_dad", "0"),
        ])?;
        // A link-local address of the kernel's making would come when it pleases.
        node.ip(&format!(
            "link set eth0 addrgenmode none\naddr add fe80::{n}/64 dev eth0 nodad\naddr add 172.31.0.{n}/24 dev eth0\naddr add fd00:31::{n}/64 dev eth0 nodad\nlink set eth0 up\n\
             addr add 10.{n}.0.1/32 dev lo\naddr add fd0{n}::1/128 dev lo nodad"
        ))?;
        Ok(Arc::new(node))
    }

    /// Takes a node's cable out, or puts it in again.
    pub fn plug(&self, n: u8, plugged: bool) -> Result<()> {
        self.0.ip(&format!(
            "link set p{n} {}",
            if plugged { "up" } else { "down" }
        ))
    }
}

pub fn pod(n: u8) -> IpAddr {
    Ipv4Addr::new(10, n, 0, 1).into()
}

pub fn pod6(n: u8) -> IpAddr {
    Ipv6Addr::new(0xfd00 + u16::from(n), 0, 0, 0, 0, 0, 0, 1).into()
}

pub fn lan(n: u8) -> IpAddr {
    Ipv4Addr::new(172, 31, 0, n).into()
}

pub fn lan6(n: u8) -> IpAddr {
    Ipv6Addr::new(0xfd00, 0x31, 0, 0, 0, 0, 0, n.into()).into()
}

/// The cable to node N.
pub fn cable(n: u8, key: Option<&PrivateKey>) -> Cable {
    let cable = Cable::new(format!("cable-c{n}"), format!("c{n}"), lan(n), 4500).subnets([
        format!("10.{n}.0.0/16").parse().unwrap(),
        format!("fd0{n}::/32").parse().unwrap(),
    ]);
    match key {
        Some(key) => cable.public_key(key.public()),
        None => cable,
    }
}

enum Job {
    Apply(Vec<Cable>, Local, Sender<Result<Applied>>),
    Observe(Sender<Result<Vec<Connection>, Error>>),
    Teardown(Sender<Result<()>>),
}

/// A gateway: a driver, and the kernel of its node.
pub struct Gateway {
    n: u8,
    pub netns: Arc<NetNs>,
    jobs: mpsc::UnboundedSender<Job>,
    thread: Option<JoinHandle<()>>,
}

struct Process<D> {
    driver: D,
    kernel: Kernel,
    local: Local,
}

impl Gateway {
    /// Runs the driver that `open` gives, in the node's namespace.
    pub fn start<D, F, O>(n: u8, netns: Arc<NetNs>, open: O) -> Result<Self>
    where
        D: CableDriver + 'static,
        F: Future<Output = Result<D, Error>>,
        O: FnOnce() -> F + Send + 'static,
    {
        let (jobs, mut todo) = mpsc::unbounded_channel();
        let (ready, started) = channel();
        let place = Arc::clone(&netns);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let start = async {
                    place.enter()?;
                    Ok::<_, anyhow::Error>(Process {
                        driver: open().await?,
                        kernel: Kernel::open(Settings::new())?,
                        local: local(n),
                    })
                };
                let mut process = match start.await {
                    Ok(process) => {
                        let _ = ready.send(Ok(()));
                        process
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error));
                        return;
                    }
                };
                while let Some(job) = todo.recv().await {
                    process.work(job).await;
                }
            });
        });
        started.recv().context("the gateway ended")??;
        Ok(Self {
            n,
            netns,
            jobs,
            thread: Some(thread),
        })
    }

    /// As a gateway program reconciles: prepare, plan, apply, ensure.
    pub fn apply(&self, cables: &[Cable]) -> Result<Applied> {
        self.apply_as(cables, local(self.n))
    }

    /// The same with another near end.
    pub fn apply_as(&self, cables: &[Cable], local: Local) -> Result<Applied> {
        let (answer, result) = channel();
        self.ask(Job::Apply(cables.to_vec(), local, answer), &result)?
    }

    pub fn observe(&self) -> Result<Vec<Connection>> {
        let (answer, result) = channel();
        Ok(self.ask(Job::Observe(answer), &result)??)
    }

    /// Nothing is wanted any more.
    pub fn teardown(&self) -> Result<()> {
        let (answer, result) = channel();
        self.ask(Job::Teardown(answer), &result)?
    }

    fn ask<T>(&self, job: Job, result: &Receiver<T>) -> Result<T> {
        self.jobs.send(job).ok().context("the gateway ended")?;
        result.recv().context("the gateway ended")
    }

    /// The connection of a cable.
    pub fn connection(&self, cable: &str) -> Result<Connection> {
        let all = self.observe()?;
        let found = all.iter().find(|connection| connection.cable == cable);
        found
            .cloned()
            .with_context(|| format!("{cable} in {all:?}"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let (jobs, _) = mpsc::unbounded_channel();
        self.jobs = jobs;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl<D: CableDriver> Process<D> {
    async fn work(&mut self, job: Job) {
        match job {
            Job::Apply(cables, local, answer) => {
                self.local = local;
                let _ = answer.send(self.apply(&cables).await);
            }
            Job::Observe(answer) => {
                let _ = answer.send(self.driver.observe(Instant::now()).await);
            }
            Job::Teardown(answer) => {
                let _ = answer.send(self.teardown().await);
            }
        }
    }

    async fn apply(&mut self, cables: &[Cable]) -> Result<Applied> {
        self.driver.prepare(&self.local).await?;
        let (mut network, refused) = self.driver.plan(&self.local, cables);
        let capabilities = self.driver.capabilities();
        if !capabilities.routes {
            let made = cables
                .iter()
                .filter(|cable| !refused.contains_key(&cable.name));
            for subnet in made.flat_map(|cable| &cable.subnets) {
                let source = match Family::of_net(subnet) {
                    Family::V4 => self.local.source.map(IpAddr::V4),
                    Family::V6 => self.local.source6.map(IpAddr::V6),
                };
                network.insert(
                    Route::dev(*subnet, capabilities.device)
                        .table(150)
                        .source(source.context("a source")?),
                );
            }
            network.extend(Family::BOTH.map(|family| Rule::new(family, 150, 150)));
        }
        let report = self.kernel.apply(&network).await?;
        ensure!(report.all_done(), "{report}");
        Ok(self.driver.ensure(&self.local, cables).await?)
    }

    async fn teardown(&mut self) -> Result<()> {
        let report = self.kernel.apply(&Network::new()).await?;
        ensure!(report.all_done(), "{report}");
        Ok(self.driver.teardown().await?)
    }
}

pub fn local(n: u8) -> Local {
    Local {
        private_ip: IpAddr::from([172, 31, 0, n]),
        port: 4500,
        mtu: 1500,
        source: Some(Ipv4Addr::new(10, n, 0, 1)),
        source6: Some(Ipv6Addr::new(0xfd00 + u16::from(n), 0, 0, 0, 0, 0, 0, 1)),
    }
}

/// A process that ends without a word leaves what is in the kernel; the next one takes it over.
pub fn a_killed_process_is_followed(
    switch: &Switch,
    start: impl Fn(Arc<NetNs>) -> Result<Gateway>,
    cables: &[Cable],
    traffic_stays: bool,
    others: &[&Gateway],
) -> Result<()> {
    let node = switch.node(1)?;
    let one = start(Arc::clone(&node))?;
    one.apply(cables)?;
    for (n, other) in (2..).zip(others) {
        reaches((&one, pod(1)), (other, pod(n)))?;
    }
    let before = KernelState::of(&node)?;
    let talk = traffic_stays
        .then(|| Conversation::start((&one, pod(1)), (others[1], pod(3))))
        .transpose()?;
    drop(one);
    let one = start(Arc::clone(&node))?;
    let applied = one.apply(cables)?;
    if traffic_stays {
        ensure!(applied == Applied::default(), "{applied:?}");
        before.ensure_same(&KernelState::of(&node)?)?;
    }
    for (n, other) in (2..).zip(others) {
        reaches((&one, pod(1)), (other, pod(n)))?;
    }
    // What the first one made is removed by the second one.
    drop(one);
    let one = start(Arc::clone(&node))?;
    one.apply(&cables[1..])?;
    let left = KernelState::of(&node)?;
    if let Some(talk) = talk {
        ensure!(talk.end()? > 10);
        ensure!(
            left.changes(&before).contains("10.2.0.0/16"),
            "{}",
            left.changes(&before)
        );
    }
    ensure!(one.observe()?.len() == 1);
    reaches((&one, pod(1)), (others[1], pod(3)))
}

/// As a gateway program merges them: the driver's word and that of the health check.
pub fn a_cut_is_told_within_six_seconds(
    switch: &Switch,
    (one, two): (&Gateway, &Gateway),
) -> Result<()> {
    let cable = format!("cable-c{}", two.n);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .on_thread_start({
            let node = Arc::clone(&one.netns);
            move || node.enter().expect("its namespace")
        })
        .build()?;
    let monitor = runtime.block_on(async {
        tokio::spawn(async { Monitor::start(Icmp::new(), Checks::default()) }).await
    })?;
    monitor.set_targets([(cable.clone(), pod(two.n))].into());
    let becomes = |status: ConnectionStatus| {
        let start = Instant::now();
        eventually(|| {
            let connection = one.connection(&cable)?;
            let connection = connection.with_health(monitor.healths().get(&cable));
            ensure!(connection.status == status, "{connection:?}");
            Ok(connection)
        })
        .map(|connection| (connection, start.elapsed()))
    };
    eventually(|| {
        let healths = monitor.healths();
        let rtt = healths.get(&cable).and_then(|health| health.rtt);
        rtt.context("no reply yet")
    })?;
    becomes(ConnectionStatus::Connected)?;
    switch.plug(two.n, false)?;
    let (connection, took) = becomes(ConnectionStatus::Error)?;
    ensure!(took < Duration::from_secs(6), "{took:?}");
    ensure!(connection.message.contains("ping"), "{connection:?}");
    switch.plug(two.n, true)?;
    let (connection, took) = becomes(ConnectionStatus::Connected)?;
    ensure!(took < Duration::from_secs(6), "{took:?}");
    ensure!(connection.message.is_empty(), "{connection:?}");
    Ok(())
}

/// Tries until it is so.
pub fn eventually<T>(what: impl FnMut() -> Result<T>) -> Result<T> {
    let mut what = what;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(subm_test_support::eventually(SOON, || {
            std::future::ready(what())
        }))
}

/// Sends a datagram and waits for it to come back.
fn echo(socket: &UdpSocket, to: SocketAddr, number: u32) -> Result<()> {
    let mut buffer = [0; 2048];
    socket.send_to(&number.to_be_bytes(), to)?;
    loop {
        let (length, from) = socket.recv_from(&mut buffer)?;
        // Late answers to earlier ones are none.
        if from == to && buffer[..length] == number.to_be_bytes() {
            return Ok(());
        }
    }
}

/// Answers datagrams in a namespace until dropped.
pub struct Echo(Arc<AtomicBool>);

impl Echo {
    pub fn start(netns: &NetNs, at: IpAddr) -> Result<(Self, SocketAddr)> {
        let socket = netns.run(|| Ok(UdpSocket::bind((at, 0))?))?;
        let address = socket.local_addr()?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(&buffer[..length], from);
                }
            }
        });
        Ok((Self(stop), address))
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether packets of `from` come back from `to`, soon.
pub fn reaches(from: (&Gateway, IpAddr), to: (&Gateway, IpAddr)) -> Result<()> {
    let (_echo, address) = Echo::start(&to.0.netns, to.1)?;
    let socket = from.0.netns.run(|| Ok(UdpSocket::bind((from.1, 0))?))?;
    socket.set_read_timeout(Some(Duration::from_millis(300)))?;
    eventually(|| echo(&socket, address, 1)).with_context(|| format!("{} to {}", from.1, to.1))
}

/// A conversation that goes on while something else is done: each packet must be answered.
pub struct Conversation {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u32>>,
    _echo: Echo,
}

impl Conversation {
    pub fn start(from: (&Gateway, IpAddr), to: (&Gateway, IpAddr)) -> Result<Self> {
        reaches(from, to)?;
        let (echo_server, address) = Echo::start(&to.0.netns, to.1)?;
        let socket = from.0.netns.run(|| Ok(UdpSocket::bind((from.1, 0))?))?;
        // A loaded machine may be late; a lost packet is lost for ever.
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                number += 1;
                echo(&socket, address, number)
                    .with_context(|| format!("packet {number} was lost"))?;
            }
            Ok(number)
        });
        Ok(Self {
            stop,
            thread,
            _echo: echo_server,
        })
    }

    /// How many packets there were; none was lost.
    pub fn end(self) -> Result<u32> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(count) => count,
            Err(_) => bail!("the conversation panicked"),
        }
    }
}
