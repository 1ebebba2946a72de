//! Parts of an address range, one per member: global CIDRs and cluster set IPs.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// A range, and who has which part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    range: Ipv4Net,
    /// Addresses per member unless it asks otherwise; a power of two.
    size: u32,
    members: BTreeMap<String, Vec<Ipv4Net>>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    #[error("{0:?} is not an IPv4 CIDR such as 242.0.0.0/8")]
    Form(String),
    #[error("{0} cannot be shared out: it is unspecified, loopback, link-local or multicast")]
    Special(Ipv4Net),
    #[error(
        "{size} addresses per cluster are more than half of {range}; choose a larger range or a smaller size"
    )]
    Size { size: u32, range: Ipv4Net },
    #[error("no part of {range} with {size} addresses is free")]
    Exhausted { range: Ipv4Net, size: u32 },
    #[error("{cidr} is not inside of the broker's range {range}")]
    OutOfRange { cidr: Ipv4Net, range: Ipv4Net },
    #[error("{cidr} overlaps with {other} of cluster {cluster:?}")]
    Overlap {
        cidr: Ipv4Net,
        other: Ipv4Net,
        cluster: String,
    },
}

/// A CIDR as users write it; bits of the host part are cleared.
pub fn parse(text: &str) -> Result<Ipv4Net, CidrError> {
    let net: Ipv4Net = text
        .trim()
        .parse()
        .map_err(|_| CidrError::Form(text.to_owned()))?;
    Ok(net.trunc())
}

impl Pool {
    /// `size` is rounded up to a power of two.
    pub fn new(range: Ipv4Net, size: u32) -> Result<Self, CidrError> {
        let range = range.trunc();
        let first = range.network();
        if first.is_unspecified()
            || first.is_loopback()
            || first.is_link_local()
            || first.is_multicast()
        {
            return Err(CidrError::Special(range));
        }
        let size = Self::rounded(size, range)?;
        Ok(Self {
            range,
            size,
            members: BTreeMap::new(),
        })
    }

    /// With what members have already, right or wrong: it was somebody else who gave it.
    #[must_use]
    pub fn with_members(mut self, members: BTreeMap<String, Vec<Ipv4Net>>) -> Self {
        self.members = members;
        self
    }

    pub fn range(&self) -> Ipv4Net {
        self.range
    }

    pub fn size(&self) -> u32 {
        self.size
    }

    pub fn members(&self) -> &BTreeMap<String, Vec<Ipv4Net>> {
        &self.members
    }

    /// What a member has.
    pub fn of(&self, member: &str) -> Option<Ipv4Net> {
        self.members.get(member)?.first().copied()
    }

    /// The first free part, of `size` addresses or the pool's own size.
    pub fn allocate(&mut self, member: &str, size: Option<u32>) -> Result<Ipv4Net, CidrError> {
        let size = size.map_or(Ok(self.size), |size| Self::rounded(size, self.range))?;
        let prefix = 32 - size.trailing_zeros() as u8;
        let exhausted = CidrError::Exhausted {
            range: self.range,
            size,
        };
        let mut at = u32::from(self.range.network());
        let last = u32::from(self.range.broadcast());
        loop {
            let Ok(part) = Ipv4Net::new(Ipv4Addr::from(at), prefix) else {
                return Err(exhausted);
            };
            match self.overlap(part, member) {
                None => {
                    self.members.insert(member.to_owned(), vec![part]);
                    return Ok(part);
                }
                // On behind what is in the way, at the next multiple of the size.
                Some((_, taken)) => {
                    let end = u32::from(taken.broadcast()).max(u32::from(part.broadcast()));
                    let next = end
                        .checked_add(1)
                        .and_then(|next| next.checked_next_multiple_of(size));
                    match next {
                        Some(next) if next <= last && last - next >= size - 1 => at = next,
                        _ => return Err(exhausted),
                    }
                }
            }
        }
    }

    /// A part that the member asked for.
    pub fn reserve(&mut self, member: &str, cidr: Ipv4Net) -> Result<(), CidrError> {
        let cidr = cidr.trunc();
        if !self.range.contains(&cidr) {
            return Err(CidrError::OutOfRange {
                cidr,
                range: self.range,
            });
        }
        if let Some((cluster, other)) = self.overlap(cidr, member) {
            return Err(CidrError::Overlap {
                cidr,
                other,
                cluster: cluster.to_owned(),
            });
        }
        self.members.insert(member.to_owned(), vec![cidr]);
        Ok(())
    }

    /// Gives back what a member has.
    pub fn release(&mut self, member: &str) {
        self.members.remove(member);
    }

    /// Another member's part that overlaps with `cidr`, the one that reaches furthest.
    fn overlap(&self, cidr: Ipv4Net, member: &str) -> Option<(&str, Ipv4Net)> {
        let others = self.members.iter().filter(|(name, _)| *name != member);
        others
            .flat_map(|(name, nets)| nets.iter().map(move |net| (name.as_str(), *net)))
            .filter(|(_, net)| net.contains(&cidr) || cidr.contains(net))
            .max_by_key(|(_, net)| net.broadcast())
    }

    fn rounded(size: u32, range: Ipv4Net) -> Result<u32, CidrError> {
        let too_large = CidrError::Size { size, range };
        let Some(rounded) = size.max(1).checked_next_power_of_two() else {
            return Err(too_large);
        };
        let half = (1_u64 << (32 - u32::from(range.prefix_len()))) / 2;
        if u64::from(rounded) <= half {
            Ok(rounded)
        } else {
            Err(too_large)
        }
    }
}

#[cfg(test)]
mod tests;
