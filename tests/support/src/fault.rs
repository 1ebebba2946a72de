//! What goes wrong on the way: faults of links as verbs, each with its undo.
//!
//! | verb | how | on which kernel |
//! |---|---|---|
//! | [`Link::cut`] | device down: the other end loses its carrier | any |
//! | [`Link::drop_packets`], [`Link::lose`] | nft, family netdev, both directions | any with nft's netdev ingress and egress |
//! | [`Link::limit`] | token bucket | any with `tbf` |
//! | [`Link::delay`] | netem | many have none: [`can_delay`] |
//!
//! All of it happens in the namespace of the LAN's bridge: a node's own links, rules and queues are as they were.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::netns::NetNs;

/// A fault that is there until [`Fault::heal`], or until this is dropped.
#[must_use = "the fault ends when this is dropped"]
pub struct Fault {
    what: String,
    undo: Option<Box<dyn FnOnce() -> Result<()> + Send>>,
}

impl Fault {
    pub(crate) fn new(
        what: impl Into<String>,
        undo: impl FnOnce() -> Result<()> + Send + 'static,
    ) -> Self {
        Self {
            what: what.into(),
            undo: Some(Box::new(undo)),
        }
    }

    /// Ends the fault.
    pub fn heal(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        let undo = self.undo.take().map_or(Ok(()), |undo| undo());
        undo.with_context(|| format!("healing: {}", self.what))
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("{error:#}");
        }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fault").field(&self.what).finish()
    }
}

/// Which packets a fault concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packets {
    protocol: Option<&'static str>,
    port: Option<u16>,
    way: Way,
}

/// Seen from the node, or from the LAN that is joined to a fabric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Both,
    Out,
    In,
}

impl Packets {
    const fn of(protocol: Option<&'static str>, port: Option<u16>) -> Self {
        Self {
            protocol,
            port,
            way: Way::Both,
        }
    }

    /// Every frame, ARP included.
    pub const fn all() -> Self {
        Self::of(None, None)
    }

    /// UDP from or to a port.
    pub const fn udp(port: u16) -> Self {
        Self::of(Some("udp"), Some(port))
    }

    /// TCP from or to a port.
    pub const fn tcp(port: u16) -> Self {
        Self::of(Some("tcp"), Some(port))
    }

    /// ICMP and ICMPv6, but for neighbour discovery.
    pub const fn icmp() -> Self {
        Self::of(Some("icmp"), None)
    }

    /// ESP that is not in UDP.
    pub const fn esp() -> Self {
        Self::of(Some("esp"), None)
    }

    /// Only those that leave the node (or the LAN).
    #[must_use]
    pub const fn leaving(mut self) -> Self {
        self.way = Way::Out;
        self
    }

    /// Only those that arrive at the node (or at the LAN).
    #[must_use]
    pub const fn arriving(mut self) -> Self {
        self.way = Way::In;
        self
    }

    /// Rules of nft that let `verdict` happen to them.
    fn rules(&self, verdict: &str) -> Vec<String> {
        let Some(protocol) = self.protocol else {
            return vec![verdict.to_owned()];
        };
        if let Some(port) = self.port {
            // No packet meets both: it would be lost twice as often.
            return vec![
                format!("{protocol} sport {port} {verdict}"),
                format!("{protocol} sport != {port} {protocol} dport {port} {verdict}"),
            ];
        }
        if protocol == "icmp" {
            let echo = |name| {
                format!(
                    "{name} type {{ echo-request, echo-reply, destination-unreachable }} {verdict}"
                )
            };
            return vec![
                echo("icmp"),
                echo("icmpv6"),
                format!("icmpv6 type packet-too-big {verdict}"),
            ];
        }
        vec![format!("meta l4proto {protocol} {verdict}")]
    }
}

impl fmt::Display for Packets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.protocol.unwrap_or("all"))?;
        if let Some(port) = self.port {
            write!(f, " port {port}")?;
        }
        f.write_str(match self.way {
            Way::Both => "",
            Way::Out => ", leaving",
            Way::In => ", arriving",
        })
    }
}

/// The link of a node, at its far end; or that of a LAN to the router, at its own end.
///
/// ```no_run
/// # fn main() -> anyhow::Result<()> {
/// use subm_test_support::{Fabric, Packets};
/// let fabric = Fabric::new()?;
/// let c1 = fabric.site("c1").gateways(1).start()?;
/// let fault = c1.lan().uplink()?.drop_packets(Packets::udp(4500))?;
/// // … nothing gets through …
/// fault.heal()?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Link {
    netns: Arc<NetNs>,
    device: String,
    end: End,
}

/// Which end of a link a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// What leaves goes out here.
    Own,
    /// What leaves comes in here.
    Far,
}

/// Faults have tables of their own, so that they can be there at the same time.
static NEXT: AtomicU32 = AtomicU32::new(0);

impl Link {
    pub(crate) fn new(netns: &Arc<NetNs>, device: &str, end: End) -> Self {
        Self {
            netns: Arc::clone(netns),
            device: device.to_owned(),
            end,
        }
    }

    /// The namespace of this end: a place to capture what passes.
    pub fn netns(&self) -> &Arc<NetNs> {
        &self.netns
    }

    /// The device of this end.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Pulls the cable: nothing passes. A node sees its carrier go; at the uplink of a LAN nodes see nothing.
    pub fn cut(&self) -> Result<Fault> {
        let device = &self.device;
        self.netns.ip(&format!("link set {device} down"))?;
        let link = self.clone();
        Ok(Fault::new(format!("{device} is cut"), move || {
            link.netns.ip(&format!("link set {} up", link.device))
        }))
    }

    /// Cuts and heals, `times` over, the link being down and up for `period` each.
    pub async fn flap(&self, times: u32, period: Duration) -> Result<()> {
        for _ in 0..times {
            let cut = self.cut()?;
            tokio::time::sleep(period).await;
            cut.heal()?;
            tokio::time::sleep(period).await;
        }
        Ok(())
    }

    /// Drops packets without a word. `Packets::all()` makes a link that seems to be there and carries nothing.
    pub fn drop_packets(&self, packets: Packets) -> Result<Fault> {
        self.rules(&packets, "drop")
    }

    /// Loses one in so many packets of all kinds by chance, in each direction: `0.1` loses a tenth.
    pub fn lose(&self, share: f64) -> Result<Fault> {
        self.lose_packets(Packets::all(), share)
    }

    /// As [`Link::lose`], of some packets only.
    pub fn lose_packets(&self, packets: Packets, share: f64) -> Result<Fault> {
        ensure!(
            (0.0..=1.0).contains(&share),
            "{share} is not between 0 and 1"
        );
        // Bounded above.
        #[allow(clippy::cast_sign_loss)]
        let thousandths = (share * 1000.0).round() as u32;
        self.rules(
            &packets,
            &format!("numgen random mod 1000 < {thousandths} drop"),
        )
    }

    fn rules(&self, packets: &Packets, verdict: &str) -> Result<Fault> {
        let device = &self.device;
        let table = format!("netdev lab-fault-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let rules = packets.rules(verdict).join("\n");
        let chain = |hook: &str| {
            format!(
                "chain {hook} {{\ntype filter hook {hook} device \"{device}\" priority 0;\n{rules}\n}}\n"
            )
        };
        let chains = match (packets.way, self.end) {
            (Way::Both, _) => chain("ingress") + &chain("egress"),
            (Way::Out, End::Far) | (Way::In, End::Own) => chain("ingress"),
            (Way::In, End::Far) | (Way::Out, End::Own) => chain("egress"),
        };
        self.netns.nft(&format!("table {table} {{\n{chains}}}\n"))?;
        let netns = Arc::clone(&self.netns);
        Ok(Fault::new(
            format!("{verdict} on {device}: {packets}"),
            move || netns.nft(&format!("delete table {table}\n")),
        ))
    }

    /// Holds packets back, in one direction: round trips take so much longer. An error where the kernel has no netem, which
    /// [`can_delay`] tells beforehand.
    pub fn delay(&self, by: Duration) -> Result<Fault> {
        // Netem's own limit of 1000 packets loses some of a fast flow.
        self.queue(&format!("netem delay {}us limit 100000", by.as_micros()))
    }

    /// Lets no more than `bits` a second through in one direction (to a node, or out of a LAN), by a token bucket.
    pub fn limit(&self, bits: u64) -> Result<Fault> {
        self.queue(&format!("tbf rate {bits}bit burst 64kb latency 50ms"))
    }

    fn queue(&self, discipline: &str) -> Result<Fault> {
        let device = self.device.clone();
        let words = format!("qdisc add dev {device} root {discipline}");
        let words: Vec<&str> = words.split(' ').collect();
        self.netns.output("tc", &words)?;
        let netns = Arc::clone(&self.netns);
        Ok(Fault::new(format!("{discipline} on {device}"), move || {
            let delete = ["qdisc", "del", "dev", &device, "root"];
            netns.output("tc", &delete).map(drop)
        }))
    }
}

/// Whether this kernel has netem, without which no packet can be held back.
pub fn can_delay() -> Result<bool> {
    let netns = NetNs::new()?;
    let output = netns.try_output(
        "tc",
        &["qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"],
    )?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.success() {
        true => Ok(true),
        false if said.contains("qdisc kind is unknown") => Ok(false),
        false => bail!("tc: {said}"),
    }
}
