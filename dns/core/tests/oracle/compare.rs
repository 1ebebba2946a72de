//! Replies held against the list of names.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Choice, Names, Node};
use crate::common::reply::{A, AAAA, ANY, NOERROR, NS, NXDOMAIN, Record, Reply, SOA, SRV, TXT};

/// The right answer to one question.
struct Wanted {
    rcode: u16,
    /// Type of the RRset in Answer; `None` for none.
    rtype: Option<u16>,
}

impl Node {
    pub fn has(&self, rtype: u16) -> bool {
        match rtype {
            A => !self.a.is_empty(),
            AAAA => !self.aaaa.is_empty(),
            SRV => !self.srv.is_empty(),
            TXT => self.txt.is_some(),
            SOA | NS => self.is_apex,
            _ => false,
        }
    }

    fn is_empty(&self) -> bool {
        ![A, AAAA, SRV, TXT, SOA]
            .iter()
            .any(|rtype| self.has(*rtype))
    }
}

impl Names {
    fn wanted(&self, name: &str, qtype: u16) -> Wanted {
        let Some(node) = self.nodes.get(name) else {
            return Wanted {
                rcode: NXDOMAIN,
                rtype: None,
            };
        };
        let candidates: &[u16] = match qtype {
            ANY => &[SOA, A, AAAA, SRV, TXT],
            NS => &[NS],
            SOA => &[SOA],
            A => &[A],
            AAAA => &[AAAA],
            SRV => &[SRV],
            TXT => &[TXT],
            _ => &[],
        };
        Wanted {
            rcode: NOERROR,
            rtype: candidates.iter().copied().find(|rtype| node.has(*rtype)),
        }
    }

    /// Whether `name` in lower case is the origin or below it.
    pub fn covers(&self, name: &str) -> bool {
        name == self.origin || name.ends_with(&format!(".{}", self.origin))
    }

    /// Asserts that `reply`, which nothing was left out of, is the answer to `asked` and `qtype`.
    pub fn check(&self, asked: &str, qtype: u16, reply: &Reply) {
        let what = || format!("{asked} type {qtype}: {reply:#?}");
        let name = asked.to_ascii_lowercase();
        let wanted = self.wanted(&name, qtype);
        assert!(reply.aa, "{}", what());
        assert!(!reply.tc, "{}", what());
        assert_eq!(reply.rcode, wanted.rcode, "{}", what());
        assert_eq!(
            reply.question,
            Some((asked.to_owned(), qtype, 1)),
            "{}",
            what()
        );
        let origin = &asked[asked.len() - self.origin.len()..];
        let Some(rtype) = wanted.rtype else {
            assert_eq!(reply.answer, [], "{}", what());
            assert_eq!(reply.additional, [], "{}", what());
            assert!(
                matches!(&reply.authority[..], [soa] if self.is_soa(soa, origin)),
                "{}",
                what()
            );
            return;
        };
        assert_eq!(reply.authority, [], "{}", what());
        let node = &self.nodes[&name];
        for record in &reply.answer {
            assert_eq!(record.owner, asked, "{}", what());
            assert_eq!(record.rtype, rtype, "{}", what());
            assert_eq!(record.class, 1, "{}", what());
            assert_eq!(record.ttl, self.ttl_of(rtype), "{}", what());
        }
        let data: BTreeSet<&str> = reply.answer.iter().map(|record| &record.data[..]).collect();
        match rtype {
            A => assert!(node.a.allows(&parse(&data)), "{:?} {}", node.a, what()),
            AAAA => assert!(
                node.aaaa.allows(&parse(&data)),
                "{:?} {}",
                node.aaaa,
                what()
            ),
            SRV => {
                let wanted = self.srv_data(node, origin);
                assert_eq!(data, wanted.iter().map(|s| &s[..]).collect(), "{}", what());
            }
            TXT => assert_eq!(data, BTreeSet::from(["1.0.0"]), "{}", what()),
            NS => assert_eq!(data, BTreeSet::from([&format!("ns.dns.{origin}")[..]])),
            _ => assert!(self.is_soa(&reply.answer[0], origin), "{}", what()),
        }
        match rtype {
            SRV => {
                let targets: BTreeSet<&str> = node.srv.iter().map(|(_, t)| &t[..]).collect();
                self.check_glue(&targets, origin, reply);
            }
            NS => {
                let target = format!("ns.dns.{}", self.origin);
                self.check_glue(&BTreeSet::from([&target[..]]), origin, reply);
            }
            _ => assert_eq!(reply.additional, [], "{}", what()),
        }
    }

    fn ttl_of(&self, rtype: u16) -> u32 {
        match rtype {
            TXT => 28_800,
            SOA => self.ttl.min(300),
            _ => self.ttl,
        }
    }

    fn is_soa(&self, record: &Record, origin: &str) -> bool {
        let ttl = self.ttl;
        record.owner == origin
            && record.rtype == SOA
            && record.ttl == ttl.min(300)
            && record
                .data
                .starts_with(&format!("ns.dns.{origin} hostmaster.{origin} "))
            && record.data.ends_with(&format!(" 7200 1800 86400 {ttl}"))
    }

    fn srv_data(&self, node: &Node, origin: &str) -> BTreeSet<String> {
        let written = |(port, target): &(u16, String)| {
            format!("0 50 {port} {}", self.with_case(target, origin))
        };
        node.srv.iter().map(written).collect()
    }

    /// The zone part as asked, lower case before it.
    fn with_case(&self, name: &str, origin: &str) -> String {
        format!(
            "{}{origin}",
            name.strip_suffix(&self.origin).expect("in the zone")
        )
    }

    /// Additional holds the addresses of `targets`, all of them, once each.
    fn check_glue(&self, targets: &BTreeSet<&str>, origin: &str, reply: &Reply) {
        let mut seen = 0;
        for target in targets {
            let node = &self.nodes[*target];
            let owner = self.with_case(target, origin);
            for (rtype, choice) in [(A, &node.a), (AAAA, &node.aaaa)] {
                let glue: Vec<&Record> = reply
                    .additional
                    .iter()
                    .filter(|record| record.owner == owner && record.rtype == rtype)
                    .collect();
                seen += glue.len();
                assert!(glue.iter().all(|record| record.ttl == self.ttl));
                let data = glue.iter().map(|record| &record.data[..]).collect();
                assert!(
                    choice.allows(&parse(&data)),
                    "glue {owner} {choice:?}: {reply:#?}"
                );
            }
        }
        assert_eq!(seen, reply.additional.len(), "other glue: {reply:#?}");
    }

    /// Asserts what a reply over UDP may leave out of `whole`, the same answer over a stream.
    pub fn check_datagram(udp: &Reply, whole: &Reply, limit: usize) {
        assert!(
            udp.octets.len() <= limit,
            "{} octets of {limit}",
            udp.octets.len()
        );
        assert_eq!(udp.rcode, whole.rcode);
        assert_eq!(udp.question, whole.question);
        assert_eq!(udp.opt.is_some(), whole.opt.is_some());
        assert_eq!(udp.authority.len(), whole.authority.len());
        assert_eq!(
            udp.tc,
            udp.answer.len() < whole.answer.len(),
            "TC: {udp:#?}"
        );
        assert!(udp.answer.len() <= whole.answer.len());
        if whole.octets.len() <= limit {
            assert_eq!(udp.octets.len(), whole.octets.len(), "{udp:#?} {whole:#?}");
        }
    }

    /// Every record of the zone but SOA, as `owner type data`, all that round robin can give included.
    pub fn records(&self) -> BTreeSet<(String, u16, String)> {
        let mut records = BTreeSet::new();
        for (name, node) in &self.nodes {
            let mut add = |rtype, data| records.insert((name.clone(), rtype, data));
            for (rtype, choice) in [(A, &node.a), (AAAA, &node.aaaa)] {
                for ip in choice.possible() {
                    add(rtype, ip.to_string());
                }
            }
            for data in self.srv_data(node, &self.origin) {
                add(SRV, data);
            }
            if let Some(text) = &node.txt {
                add(TXT, text.clone());
            }
            if node.is_apex {
                add(NS, format!("ns.dns.{}", self.origin));
            }
        }
        records
    }

    pub fn empty_names(&self) -> BTreeSet<&str> {
        let empty = self.nodes.iter().filter(|(_, node)| node.is_empty());
        empty.map(|(name, _)| &name[..]).collect()
    }
}

fn parse(data: &BTreeSet<&str>) -> BTreeSet<IpAddr> {
    data.iter()
        .map(|ip| ip.parse().expect("an address"))
        .collect()
}

/// The turn of weighted round robin as docs/answers.md defines it: who is picked at turns `from..`.
pub fn turns(weights: &[(IpAddr, u16)], from: u64, count: usize) -> Vec<IpAddr> {
    let equal = weights.windows(2).all(|pair| pair[0].1 == pair[1].1);
    let weight = |w: u16| if equal { 1 } else { u64::from(w) };
    let total: u64 = weights.iter().map(|(_, w)| weight(*w)).sum();
    let step = if equal { 1 } else { step(total) };
    let pick = |turn: u64| {
        let mut slot = turn * step % total;
        for (ip, w) in weights {
            if slot < weight(*w) {
                return *ip;
            }
            slot -= weight(*w);
        }
        unreachable!("a slot below the total")
    };
    (from..).take(count).map(pick).collect()
}

/// The number nearest to 0.618 · total without a common divisor with it.
fn step(total: u64) -> u64 {
    let gcd = |mut a: u64, mut b: u64| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let distance = |n: &u64| (n * 1000).abs_diff(618 * total);
    let coprime = (1..=total).filter(|n| gcd(*n, total) == 1);
    coprime.min_by_key(distance).expect("1 at least")
}

#[allow(dead_code, reason = "used by the properties of selection")]
pub fn weights(choice: &Choice) -> &[(IpAddr, u16)] {
    match choice {
        Choice::One(some) => some,
        Choice::All(_) => &[],
    }
}
