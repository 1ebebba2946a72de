//! Cluster set IPs out of a range of this cluster's own, the highest first, as Lighthouse gives them.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::ServiceKey;

/// Addresses given so far; its size is theirs, not the range's.
#[derive(Debug, Default)]
pub struct Pool {
    range: Option<Ipv4Net>,
    taken: BTreeMap<Ipv4Addr, ServiceKey>,
    of: HashMap<ServiceKey, Ipv4Addr>,
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

    pub fn of(&self, key: &ServiceKey) -> Option<Ipv4Addr> {
        self.of.get(key).copied()
    }

    pub fn release(&mut self, key: &ServiceKey) {
        if let Some(ip) = self.of.remove(key) {
            self.taken.remove(&ip);
            self.highest = self.highest.max(Some(ip));
        }
    }
}

#[cfg(test)]
mod tests {
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
    fn a_large_range_costs_nothing() {
        let mut pool = Pool::new("243.0.0.0/8".parse().ok());
        assert_eq!(pool.take(&key("a")), "243.255.255.254".parse().ok());
        assert_eq!(pool.taken.len(), 1);
    }
}
