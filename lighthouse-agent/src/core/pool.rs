//! Cluster set IPs out of a range of this cluster's own, the highest first, as Lighthouse gives them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::ServiceKey;

/// Addresses given so far; its size is theirs, not the range's.
#[derive(Debug, Default)]
pub struct Pool {
    range: Option<Ipv4Net>,
    taken: BTreeMap<Ipv4Addr, ServiceKey>,
    of: HashMap<ServiceKey, Ipv4Addr>,
    /// Services whose address only others say that we gave.
    claimed: HashSet<ServiceKey>,
    /// All above it are taken.
    highest: Option<Ipv4Addr>,
}

impl Pool {
    /// At least four addresses; network and broadcast address are not given.
    pub fn new(range: Option<Ipv4Net>) -> Self {
        Self {
            range: range.filter(|range| range.prefix_len() <= 30),
            ..Self::default()
        }
    }

    pub fn is_there(&self) -> bool {
        self.range.is_some()
    }

    /// The service's address; a new one where it has none. `None`: all are taken.
    pub fn take(&mut self, key: &ServiceKey) -> Option<Ipv4Addr> {
        if let Some(ip) = self.of(key) {
            return Some(ip);
        }
        let range = self.range?;
        let lowest = u32::from(range.network()) + 1;
        let top = self
            .highest
            .map_or(u32::from(range.broadcast()) - 1, u32::from);
        let free = (lowest..=top)
            .rev()
            .map(Ipv4Addr::from)
            .find(|ip| !self.taken.contains_key(ip))?;
        self.highest = Some(free);
        self.reserve(key, free);
        Some(free)
    }

    /// A service has this address already. Of no concern where it is not of our range; `false` where another service has it.
    pub fn reserve(&mut self, key: &ServiceKey, ip: Ipv4Addr) -> bool {
        if !self.range.is_some_and(|range| range.contains(&ip)) {
            return true;
        }
        if self.taken.get(&ip).is_some_and(|holder| holder != key) {
            return false;
        }
        if self.of(key) != Some(ip) {
            self.release(key);
            self.taken.insert(ip, key.clone());
            self.of.insert(key.clone(), ip);
        }
        true
    }

    /// As [`reserve`](Self::reserve), where only others say that we gave the address: we exported the service once, or they lie.
    /// Such addresses are a quarter of the range at most, so that nobody can use it up for us.
    pub fn claim(&mut self, key: &ServiceKey, ip: Ipv4Addr) -> bool {
        let Some(range) = self.range.filter(|range| range.contains(&ip)) else {
            return true;
        };
        if self.of(key) == Some(ip) {
            return true;
        }
        let all = 1_usize << (32 - range.prefix_len());
        let has_room = self.claimed.contains(key) || self.claimed.len() < all / 4;
        let claimed = has_room && self.reserve(key, ip);
        if claimed {
            self.claimed.insert(key.clone());
        }
        claimed
    }

    pub fn of(&self, key: &ServiceKey) -> Option<Ipv4Addr> {
        self.of.get(key).copied()
    }

    pub fn release(&mut self, key: &ServiceKey) {
        self.claimed.remove(key);
        if let Some(ip) = self.of.remove(key) {
            self.taken.remove(&ip);
            // Before the first is given nothing is known to be taken.
            self.highest = self.highest.map(|highest| highest.max(ip));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(name: &str) -> ServiceKey {
        ServiceKey::new("ns", name).expect("a name")
    }

    #[test]
    fn the_highest_free_address_comes_first() {
        let mut pool = Pool::new("243.1.0.0/29".parse().ok());
        let given: Vec<String> = ["a", "b", "c"]
            .iter()
            .map(|name| pool.take(&key(name)).unwrap().to_string())
            .collect();
        assert_eq!(given, ["243.1.0.6", "243.1.0.5", "243.1.0.4"]);
        assert_eq!(
            pool.take(&key("a")),
            "243.1.0.6".parse().ok(),
            "it keeps its address"
        );
        pool.release(&key("b"));
        assert_eq!(pool.take(&key("d")), "243.1.0.5".parse().ok());
    }

    #[test]
    fn an_exhausted_pool_gives_nothing_until_one_is_back() {
        let mut pool = Pool::new("243.1.0.0/30".parse().ok());
        assert!(pool.take(&key("a")).is_some() && pool.take(&key("b")).is_some());
        assert_eq!(pool.take(&key("c")), None);
        pool.release(&key("a"));
        assert!(pool.take(&key("c")).is_some());
    }

    #[test]
    fn what_is_in_use_is_not_given_again() {
        let mut pool = Pool::new("243.1.0.0/29".parse().ok());
        assert!(pool.reserve(&key("old"), "243.1.0.6".parse().unwrap()));
        assert!(pool.reserve(&key("foreign"), "10.0.0.1".parse().unwrap()));
        assert!(!pool.reserve(&key("late"), "243.1.0.6".parse().unwrap()));
        assert_eq!(pool.take(&key("new")), "243.1.0.5".parse().ok());
        assert_eq!(pool.take(&key("old")), "243.1.0.6".parse().ok());
    }

    #[test]
    fn addresses_that_only_others_know_of_leave_room_for_ours() {
        let mut pool = Pool::new("243.1.0.0/28".parse().ok());
        let claims = (1..=14).filter(|last| {
            let ip = Ipv4Addr::new(243, 1, 0, *last);
            pool.claim(&key(&format!("theirs-{last}")), ip)
        });
        assert_eq!(claims.count(), 4);
        assert!(
            pool.claim(&key("theirs-1"), "243.1.0.1".parse().unwrap()),
            "again"
        );
        pool.release(&key("theirs-1"));
        assert!(pool.claim(&key("theirs-9"), "243.1.0.9".parse().unwrap()));
        assert_eq!(pool.take(&key("ours")), "243.1.0.14".parse().ok());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Take(u8),
        Reserve(u8, u8),
        Claim(u8, u8),
        Release(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..20_u8).prop_map(Step::Take),
            (0..20_u8, 0..16_u8).prop_map(|(key, ip)| Step::Reserve(key, ip)),
            (0..20_u8, 0..16_u8).prop_map(|(key, ip)| Step::Claim(key, ip)),
            (0..20_u8).prop_map(Step::Release),
        ]
    }

    proptest! {
        /// Whatever was before: no two services have one address, and one is given as long as one is free.
        #[test]
        fn none_is_given_twice_and_none_is_lost(steps in proptest::collection::vec(step(), 0..60)) {
            let mut pool = Pool::new("243.1.0.0/28".parse().ok());
            let address = |last: u8| Ipv4Addr::new(243, 1, 0, last);
            let name = |number: u8| key(&format!("s{number}"));
            for step in steps {
                match step {
                    Step::Take(number) => {
                        let had = pool.of(&name(number));
                        let free = (1..=14).any(|last| !pool.taken.contains_key(&address(last)));
                        prop_assert_eq!(pool.take(&name(number)).is_some(), free || had.is_some());
                    }
                    Step::Reserve(number, last) => drop(pool.reserve(&name(number), address(last))),
                    Step::Claim(number, last) => drop(pool.claim(&name(number), address(last))),
                    Step::Release(number) => pool.release(&name(number)),
                }
                prop_assert_eq!(pool.taken.len(), pool.of.len());
                prop_assert!(pool.taken.iter().all(|(ip, holder)| pool.of(holder) == Some(*ip)));
            }
        }
    }

    #[test]
    fn a_large_range_costs_nothing() {
        let mut pool = Pool::new("243.0.0.0/8".parse().ok());
        assert_eq!(pool.take(&key("a")), "243.255.255.254".parse().ok());
        assert_eq!(pool.taken.len(), 1);
    }
}
