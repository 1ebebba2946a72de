//! One rule: what a packet must be, and what is done to it then.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use crate::{Interface, Name};

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, in order.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// That of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() {
            Self::V4
        } else {
            Self::V6
        }
    }

    /// That of a network.
    pub fn of_net(net: &IpNet) -> Self {
        Self::of(net.addr())
    }
}

/// A rule. All matches must hold; then the statements run in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// What must hold, all of it.
    pub matches: Vec<Match>,
    /// What is done then, in order.
    pub statements: Vec<Statement>,
    /// For people who read the rules of a node.
    pub comment: String,
}

impl Rule {
    /// A rule for packets for which all of `matches` hold; for every packet if there is none.
    pub fn when(matches: impl IntoIterator<Item = Match>) -> Self {
        Self {
            matches: matches.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Adds what is done.
    #[must_use]
    pub fn then(mut self, statement: impl Into<Statement>) -> Self {
        self.statements.push(statement.into());
        self
    }

    /// Says to people what it is for. nft keeps little: the first 100 bytes go to the kernel, other signs than printable ASCII as `?`.
    #[must_use]
    pub fn comment(mut self, comment: impl Into<String>) -> Self {
        self.comment = comment.into();
        self
    }
}

/// A test of a packet, or its contrary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// What is tested.
    pub test: Test,
    /// Whether it must not hold.
    pub negated: bool,
}

/// What can be tested of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Test {
    /// Its family.
    Family(Family),
    /// Its source address. Packets of the other family do not match, negated or not.
    Source(Addresses),
    /// Its destination address. Packets of the other family do not match, negated or not.
    Destination(Addresses),
    /// The device through which it came.
    InInterface(Interface),
    /// The device through which it goes.
    OutInterface(Interface),
    /// The protocol above IP.
    Protocol(Protocol),
    /// Its source port.
    SourcePort(Transport, Ports),
    /// Its destination port.
    DestinationPort(Transport, Ports),
    /// Its mark under the mask.
    Mark(Mark),
    /// Its connection's mark under the mask.
    ConnectionMark(Mark),
    /// Its connection's state is one of these.
    ConnectionState(BTreeSet<ConnectionState>),
    /// Its connection's destination was translated.
    DestinationTranslated,
    /// What its source address is to this machine's route tables (`fib saddr type`).
    SourceIs(AddressType),
    /// What its destination address is to this machine's route tables (`fib daddr type`).
    DestinationIs(AddressType),
    /// It is a TCP segment that opens a connection: SYN set, RST not.
    TcpSyn,
}

impl Match {
    /// The source is in this network or set.
    pub fn source(addresses: impl Into<Addresses>) -> Self {
        Test::Source(addresses.into()).into()
    }

    /// The destination is in this network or set.
    pub fn destination(addresses: impl Into<Addresses>) -> Self {
        Test::Destination(addresses.into()).into()
    }

    /// It came through this device.
    pub fn in_interface(interface: Interface) -> Self {
        Test::InInterface(interface).into()
    }

    /// It goes through this device.
    pub fn out_interface(interface: Interface) -> Self {
        Test::OutInterface(interface).into()
    }

    /// It is for one of these ports.
    pub fn destination_port(transport: Transport, ports: impl Into<Ports>) -> Self {
        Test::DestinationPort(transport, ports.into()).into()
    }

    /// It carries this mark.
    pub fn mark(mark: Mark) -> Self {
        Test::Mark(mark).into()
    }

    /// It opens a TCP connection.
    pub fn tcp_syn() -> Self {
        Test::TcpSyn.into()
    }

    /// The contrary.
    #[must_use]
    #[expect(
        clippy::should_implement_trait,
        reason = "reads like the rule that it makes"
    )]
    pub fn not(self) -> Self {
        Self {
            negated: !self.negated,
            ..self
        }
    }
}

impl From<Test> for Match {
    fn from(test: Test) -> Self {
        Self {
            test,
            negated: false,
        }
    }
}

/// A network, or those in a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// This network.
    Net(IpNet),
    /// Those in this set. Not the keys of a map: the kernel takes that for a use of its values.
    In(Name),
}

impl From<IpNet> for Addresses {
    fn from(net: IpNet) -> Self {
        Self::Net(net.trunc())
    }
}

impl From<IpAddr> for Addresses {
    fn from(address: IpAddr) -> Self {
        Self::Net(address.into())
    }
}

impl From<Name> for Addresses {
    fn from(set: Name) -> Self {
        Self::In(set)
    }
}

/// A protocol above IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
    /// ICMP of IPv4.
    Icmp,
    /// ICMPv6.
    Icmpv6,
    /// ESP of IPsec.
    Esp,
    /// Another, by its number at IANA.
    Other(u8),
}

impl Protocol {
    /// Its number at IANA.
    pub fn number(self) -> u8 {
        match self {
            Self::Icmp => 1,
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Esp => 50,
            Self::Icmpv6 => 58,
            Self::Sctp => 132,
            Self::Other(number) => number,
        }
    }
}

/// A protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// Ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// One of these; of an empty list none.
    Among(BTreeSet<u16>),
    /// From the first to the last.
    Range(RangeInclusive<u16>),
    /// Those in this set.
    In(Name),
}

impl From<u16> for Ports {
    fn from(port: u16) -> Self {
        Self::Among([port].into())
    }
}

impl From<BTreeSet<u16>> for Ports {
    fn from(ports: BTreeSet<u16>) -> Self {
        Self::Among(ports)
    }
}

/// Some bits of a packet's 32-bit mark: those in `mask` are as in `value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// The bits.
    pub value: u32,
    /// Which bits are meant; the others belong to somebody else.
    pub mask: u32,
}

impl Mark {
    /// These bits set; the others do not matter and are not changed.
    pub const fn bits(bits: u32) -> Self {
        Self {
            value: bits,
            mask: bits,
        }
    }
}

/// What connection tracking knows of a packet's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConnectionState {
    /// Its first packet.
    New,
    /// Packets of both directions were seen.
    Established,
    /// Belongs to another connection, as an ICMP error does.
    Related,
    /// Fits no connection.
    Invalid,
    /// Is not tracked.
    Untracked,
}

/// What an address is to a machine's route tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressType {
    /// One of its own.
    Local,
    /// One that it routes to.
    Unicast,
    /// A broadcast address of one of its networks.
    Broadcast,
    /// A group.
    Multicast,
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// No more rules of this base chain. Other base chains of the same hook, also those of other tables, still see it, and one that
    /// drops it wins.
    Accept,
    /// It ends here, whatever others say.
    Drop,
    /// Back to the calling chain; in a base chain its policy.
    Return,
    /// On in this plain chain, and back here from its end.
    Jump(Name),
}

/// What a map is looked up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selector {
    /// The source address.
    Source,
    /// The destination address.
    Destination,
    /// The mark.
    Mark,
    /// The destination port.
    DestinationPort(Transport),
}

/// What is done to a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Statement {
    /// Packets and bytes are counted; for people.
    Counter,
    /// These bits of the packet's mark are set.
    SetMark(Mark),
    /// These bits of the connection's mark are set.
    SetConnectionMark(Mark),
    /// The MSS option of a TCP segment with SYN is lowered. It is never raised.
    ClampMss(Mss),
    /// The source becomes the address of the device through which the packet goes.
    Masquerade,
    /// The source becomes another.
    Snat(NatTo),
    /// The source stays what it is, and so is settled for the connection: no NAT base chain that comes later is asked (a *null binding*).
    KeepSource(Family),
    /// The destination becomes another, at another port if one is given.
    Dnat(NatTo, Option<u16>),
    /// The verdict that a map holds. Without an element for the packet the rule ends.
    VerdictFrom(Selector, Name),
    /// A verdict.
    Verdict(Verdict),
}

impl From<Verdict> for Statement {
    fn from(verdict: Verdict) -> Self {
        Self::Verdict(verdict)
    }
}

/// What an address is translated to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NatTo {
    /// This address.
    Address(IpAddr),
    /// One of the addresses from the first to the last.
    Range(IpAddr, IpAddr),
    /// What a map holds. Without an element for the packet nothing is translated, and the next rule is tried.
    Map(Selector, Name),
}

/// The largest TCP segment that may be announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mss {
    /// What the smaller of the route MTUs of both directions leaves, less the headers of the packet's family.
    PathMtu,
    /// This many bytes.
    Bytes(u16),
}
