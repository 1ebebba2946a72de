//! A pool of addresses.
//!
//! Globalnet gives each cluster a network of global addresses and each exported Service, pod or egress some of it. The pool knows
//! which are free as intervals: what it remembers grows with what is given out, not with the network, so a /8 and an IPv6 /64 cost as
//! much as a /24.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The free and the taken addresses of one network.
///
/// The first and the last address of the network are never given: of IPv4 they are the network's own and broadcast, of IPv6 the first
/// is the routers' anycast address (RFC 4291, 2.6.1), and the last is left out for alike.
///
/// Single addresses come from the high end, blocks from the low end, first fit, as in Submariner: so blocks stay possible for long.
///
/// ```
/// use subm_nat::pool::Pool;
/// let mut pool = Pool::new("242.254.0.0/24".parse()?)?;
/// assert_eq!(pool.allocate(1)?.first().unwrap().to_string(), "242.254.0.254");
/// let block = pool.allocate(8)?;
/// assert_eq!(block.first().unwrap().to_string(), "242.254.0.1");
/// assert_eq!(block.last().unwrap().to_string(), "242.254.0.8");
/// assert_eq!((pool.capacity(), pool.free()), (254, 245));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    net: IpNet,
    /// First -> last of each run of free addresses, as numbers. Runs neither overlap nor touch.
    runs: BTreeMap<u128, u128>,
    free: u128,
}

/// Addresses in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    v4: bool,
    first: u128,
    count: u32,
}

/// What a pool cannot do. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// No address would be left.
    #[error(
        "{0} is too small for a pool: its first and last address are not given; it needs at least 4"
    )]
    TooSmall(IpNet),

    /// Too few are free.
    #[error(
        "{wanted} addresses wanted, {free} of {capacity} in {net} are free; release some or give the cluster a larger network"
    )]
    Exhausted {
        /// The pool's network.
        net: IpNet,
        /// How many were asked for.
        wanted: u32,
        /// How many are free.
        free: u128,
        /// How many there are, free or not.
        capacity: u128,
    },

    /// Enough are free, but not in a row.
    #[error(
        "a block of {wanted} addresses wanted; {free} in {net} are free, but at most {largest} in a row"
    )]
    Fragmented {
        /// The pool's network.
        net: IpNet,
        /// How many were asked for.
        wanted: u32,
        /// How many are free.
        free: u128,
        /// How many at most in a row.
        largest: u128,
    },

    /// Another network's, or one that is never given.
    #[error("{address} is not one of the addresses that {net} has to give")]
    Outside {
        /// The pool's network.
        net: IpNet,
        /// The address.
        address: IpAddr,
    },

    /// Somebody has it already, or it was asked for twice.
    #[error("{address} of {net} is taken")]
    Taken {
        /// The pool's network.
        net: IpNet,
        /// The address.
        address: IpAddr,
    },
}

impl Pool {
    /// All of `net` but the first and the last address.
    pub fn new(net: IpNet) -> Result<Self, PoolError> {
        let net = net.trunc();
        if net.max_prefix_len() - net.prefix_len() < 2 {
            return Err(PoolError::TooSmall(net));
        }
        let (first, last) = (number(net.network()) + 1, number(net.broadcast()) - 1);
        Ok(Self {
            net,
            runs: [(first, last)].into(),
            free: last - first + 1,
        })
    }

    /// One address: the highest that is free. Several: the lowest block. None: an empty block.
    pub fn allocate(&mut self, count: u32) -> Result<Block, PoolError> {
        let wanted = u128::from(count);
        if wanted > self.free {
            return Err(PoolError::Exhausted {
                net: self.net,
                wanted: count,
                free: self.free,
                capacity: self.capacity(),
            });
        }
        let first = match count {
            0 => return Ok(self.block(0, 0)),
            1 => self.runs.last_key_value().map(|(_, last)| *last),
            _ => {
                let mut runs = self.runs.iter();
                runs.find_map(|(first, last)| (last - first + 1 >= wanted).then_some(*first))
            }
        };
        let Some(first) = first else {
            let lengths = self.runs.iter().map(|(first, last)| last - first + 1);
            return Err(PoolError::Fragmented {
                net: self.net,
                wanted: count,
                free: self.free,
                largest: lengths.max().unwrap_or(0),
            });
        };
        self.take(first, first + wanted - 1);
        Ok(self.block(first, count))
    }

    /// Takes just these, all or none: those of an earlier life of the program.
    pub fn reserve(
        &mut self,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Result<(), PoolError> {
        let net = self.net;
        let mut taken = Vec::new();
        let done = addresses.into_iter().try_for_each(|address| {
            let number = self.number(address)?;
            if !self.is_free(address) {
                return Err(PoolError::Taken { net, address });
            }
            self.take(number, number);
            taken.push(number);
            Ok(())
        });
        if done.is_err() {
            for number in taken {
                self.give(number);
            }
        }
        done
    }

    /// Gives back, all or none; how many of them were taken. That some were free already is no error: a release may be repeated.
    pub fn release(
        &mut self,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Result<u32, PoolError> {
        let numbers = addresses.into_iter().map(|address| self.number(address));
        let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
        let mut count = 0;
        for number in numbers {
            if self.run_of(number).is_none() {
                self.give(number);
                count += 1;
            }
        }
        Ok(count)
    }

    /// The network, without host bits.
    pub fn net(&self) -> IpNet {
        self.net
    }

    /// How many addresses there are, free or not.
    pub fn capacity(&self) -> u128 {
        number(self.net.broadcast()) - number(self.net.network()) - 1
    }

    /// How many are free.
    pub fn free(&self) -> u128 {
        self.free
    }

    /// How many are taken.
    pub fn taken(&self) -> u128 {
        self.capacity() - self.free
    }

    /// How many runs of free addresses there are: what the pool remembers. Never more than are taken, and one.
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    /// Whether this address can be reserved.
    pub fn is_free(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.is_v4() && self.run_of(number(address)).is_some()
    }

    fn is_v4(&self) -> bool {
        matches!(self.net, IpNet::V4(_))
    }

    fn block(&self, first: u128, count: u32) -> Block {
        Block {
            v4: self.is_v4(),
            first,
            count,
        }
    }

    /// The number of one of the addresses that can be given.
    fn number(&self, address: IpAddr) -> Result<u128, PoolError> {
        let ends = [self.net.network(), self.net.broadcast()];
        if self.net.contains(&address) && !ends.contains(&address) {
            Ok(number(address))
        } else {
            Err(PoolError::Outside {
                net: self.net,
                address,
            })
        }
    }

    fn run_of(&self, number: u128) -> Option<(u128, u128)> {
        let (first, last) = self.runs.range(..=number).next_back()?;
        (number <= *last).then_some((*first, *last))
    }

    /// Takes free addresses of one run out.
    fn take(&mut self, first: u128, last: u128) {
        let Some((start, end)) = self.run_of(first) else {
            return;
        };
        self.runs.remove(&start);
        if start < first {
            self.runs.insert(start, first - 1);
        }
        if last < end {
            self.runs.insert(last + 1, end);
        }
        self.free -= last - first + 1;
    }

    /// Puts a taken address back.
    fn give(&mut self, number: u128) {
        let (mut first, mut last) = (number, number);
        // The numbers of what can be given are never 0 nor the greatest.
        if let Some((start, _)) = self.run_of(number - 1) {
            self.runs.remove(&start);
            first = start;
        }
        if let Some(end) = self.runs.remove(&(number + 1)) {
            last = end;
        }
        self.runs.insert(first, last);
        self.free += 1;
    }
}

impl Block {
    /// How many.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The lowest.
    pub fn first(&self) -> Option<IpAddr> {
        self.iter().next()
    }

    /// The highest.
    pub fn last(&self) -> Option<IpAddr> {
        self.iter().next_back()
    }

    /// From the lowest to the highest.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = IpAddr> + use<> {
        let Self { v4, first, count } = *self;
        (0..count).map(move |at| address(v4, first + u128::from(at)))
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => address.into(),
    }
}

/// Numbers of IPv4 addresses fit.
fn address(v4: bool, number: u128) -> IpAddr {
    if v4 {
        Ipv4Addr::from(number as u32).into()
    } else {
        Ipv6Addr::from(number).into()
    }
}

#[cfg(test)]
mod tests;
