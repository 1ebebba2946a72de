use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn pool(net: &str) -> Pool {
    Pool::new(net.parse().unwrap()).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn allocated(pool: &mut Pool, count: u32) -> Vec<IpAddr> {
    pool.allocate(count).unwrap().iter().collect()
}

// The unit behaviours of Submariner's pool, one by one.

#[test]
fn sizes() {
    for (net, size) in [
        ("10.0.0.0/30", 2),
        ("10.0.0.0/24", 254),
        ("10.0.0.0/16", 65_534),
    ] {
        assert_eq!(
            (pool(net).free(), pool(net).capacity()),
            (size, size),
            "{net}"
        );
    }
    for net in ["10.0.0.0/31", "10.0.0.0/32", "fd00::/127", "fd00::/128"] {
        let net = net.parse().unwrap();
        assert_eq!(Pool::new(net), Err(PoolError::TooSmall(net)));
    }
    // 33 is no length at all.
    assert!("10.0.0.0/33".parse::<IpNet>().is_err());
}

#[test]
fn one_address_is_the_highest_free() {
    let mut pool = pool("10.0.0.0/29");
    assert_eq!(allocated(&mut pool, 1), [ip("10.0.0.6")]);
    assert_eq!(pool.free(), 5);
    assert_eq!(allocated(&mut pool, 1), [ip("10.0.0.5")]);
    assert_eq!((pool.free(), pool.taken()), (4, 2));
}

#[test]
fn all_are_unique_until_none_is_left() {
    let mut pool = pool("10.0.0.0/24");
    let all: BTreeSet<_> = (0..254).flat_map(|_| allocated(&mut pool, 1)).collect();
    assert_eq!(all.len(), 254);
    assert!(!all.contains(&ip("10.0.0.0")) && !all.contains(&ip("10.0.0.255")));
    let error = pool.allocate(1).unwrap_err();
    let net = pool.net();
    assert_eq!(
        error,
        PoolError::Exhausted {
            net,
            wanted: 1,
            free: 0,
            capacity: 254
        }
    );
    assert_eq!(
        error.to_string(),
        "1 addresses wanted, 0 of 254 in 10.0.0.0/24 are free; release some or give the cluster a larger network"
    );
}

#[test]
fn a_block_is_the_lowest_in_a_row() {
    let mut pool = pool("10.0.0.0/24");
    assert_eq!(
        allocated(&mut pool, 3),
        [ip("10.0.0.1"), ip("10.0.0.2"), ip("10.0.0.3")]
    );
    assert_eq!(allocated(&mut pool, 2), [ip("10.0.0.4"), ip("10.0.0.5")]);
    // First fit.
    pool.release([ip("10.0.0.2"), ip("10.0.0.3")]).unwrap();
    assert_eq!(allocated(&mut pool, 2), [ip("10.0.0.2"), ip("10.0.0.3")]);
}

#[test]
fn a_block_needs_enough() {
    let mut pool = pool("10.0.0.0/29");
    let before = pool.clone();
    let net = pool.net();
    let exhausted = PoolError::Exhausted {
        net,
        wanted: 7,
        free: 6,
        capacity: 6,
    };
    assert_eq!(pool.allocate(7), Err(exhausted));
    assert_eq!(pool, before);
    assert_eq!(allocated(&mut pool, 6).len(), 6);
}

#[test]
fn a_block_needs_them_in_a_row() {
    let mut pool = pool("10.0.0.0/29");
    pool.reserve([ip("10.0.0.3"), ip("10.0.0.5")]).unwrap();
    let before = pool.clone();
    let net = pool.net();
    let fragmented = PoolError::Fragmented {
        net,
        wanted: 3,
        free: 4,
        largest: 2,
    };
    assert_eq!(pool.allocate(3), Err(fragmented));
    assert_eq!(pool, before);
}

#[test]
fn none_is_nothing() {
    let mut pool = pool("10.0.0.0/30");
    pool.allocate(2).unwrap();
    let none = pool.allocate(0).unwrap();
    assert!(none.is_empty() && none.first().is_none() && none.last().is_none());
    assert_eq!((none.len(), pool.taken()), (0, 2));
    // A negative number cannot be said.
}

#[test]
fn what_is_released_can_be_allocated_again() {
    let mut pool = pool("10.0.0.0/30");
    pool.allocate(2).unwrap();
    assert_eq!(pool.release([ip("10.0.0.1")]), Ok(1));
    // Twice is no error, and no second address.
    assert_eq!(pool.release([ip("10.0.0.1")]), Ok(0));
    assert_eq!(pool.release([ip("10.0.0.2"), ip("10.0.0.2")]), Ok(1));
    assert_eq!(pool.free(), 2);
    pool.allocate(1).unwrap();
    assert_eq!(allocated(&mut pool, 1), [ip("10.0.0.1")]);
}

#[test]
fn what_is_outside_cannot_be_released_or_reserved() {
    let mut pool = pool("10.0.0.0/30");
    pool.allocate(2).unwrap();
    let net = pool.net();
    for address in ["10.0.0.0", "10.0.0.3", "10.0.1.1", "::1", "::ffff:10.0.0.1"].map(ip) {
        let outside = PoolError::Outside { net, address };
        assert_eq!(
            pool.release([ip("10.0.0.1"), address]),
            Err(outside.clone())
        );
        assert_eq!(pool.taken(), 2, "all or none");
        assert_eq!(pool.reserve([address]), Err(outside));
        assert!(!pool.is_free(address));
    }
}

#[test]
fn what_is_reserved_is_not_allocated() {
    let mut pool = pool("10.0.0.0/30");
    pool.reserve([ip("10.0.0.2")]).unwrap();
    assert_eq!(allocated(&mut pool, 1), [ip("10.0.0.1")]);
    let net = pool.net();
    for address in ["10.0.0.1", "10.0.0.2"].map(ip) {
        assert_eq!(
            pool.reserve([address]),
            Err(PoolError::Taken { net, address })
        );
    }
}

#[test]
fn all_are_reserved_or_none() {
    let mut pool = pool("10.0.0.0/29");
    pool.reserve([ip("10.0.0.3")]).unwrap();
    let before = pool.clone();
    let net = pool.net();
    let address = ip("10.0.0.3");
    let taken = Err(PoolError::Taken { net, address });
    assert_eq!(
        pool.reserve([ip("10.0.0.1"), ip("10.0.0.2"), address]),
        taken
    );
    assert_eq!(pool, before);
    let address = ip("10.0.0.1");
    assert_eq!(
        pool.reserve([address, address]),
        Err(PoolError::Taken { net, address })
    );
    assert_eq!(pool, before);
}

/// Instead of a reporter that is called, figures that can be asked for at any time.
#[test]
fn figures_follow() {
    let mut pool = pool("10.0.0.0/24");
    pool.allocate(10).unwrap();
    pool.allocate(1).unwrap();
    assert_eq!((pool.capacity(), pool.free(), pool.taken()), (254, 243, 11));
    pool.release([ip("10.0.0.4")]).unwrap();
    assert_eq!((pool.capacity(), pool.free(), pool.taken()), (254, 244, 10));
}

#[test]
fn a_large_network_costs_what_is_taken() {
    for net in ["10.0.0.0/8", "fd00::/64", "::/0", "0.0.0.0/0"] {
        let mut pool = pool(net);
        assert_eq!(pool.runs(), 1);
        allocated(&mut pool, 8);
        for _ in 0..8 {
            allocated(&mut pool, 1);
        }
        assert_eq!((pool.taken(), pool.runs()), (16, 1));
    }
    assert_eq!(
        pool("fd00::/64").allocate(2).unwrap().first(),
        Some(ip("fd00::1"))
    );
    assert_eq!(
        pool("fd00::/64").allocate(1).unwrap().first(),
        Some(ip("fd00::ffff:ffff:ffff:fffe"))
    );
    assert_eq!(pool("::/0").capacity(), u128::MAX - 1);
}

/// What callers may do, on a network small enough to run out.
#[derive(Clone, Debug)]
enum Call {
    Allocate(u32),
    Reserve(Vec<u8>),
    Release(Vec<u8>),
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let some = || proptest::collection::vec(0_u8..32, 0..5);
    let call = prop_oneof![
        3 => Just(Call::Allocate(1)),
        2 => (0_u32..9).prop_map(Call::Allocate),
        2 => some().prop_map(Call::Reserve),
        3 => some().prop_map(Call::Release),
    ];
    proptest::collection::vec(call, 0..60)
}

proptest! {
    /// Against a set of all free addresses, as the original keeps it.
    #[test]
    fn it_behaves_as_a_set_of_all_free_addresses(
        net in prop::sample::select(vec!["10.1.2.96/27", "fd00::60/123"]),
        calls in calls(),
    ) {
        let mut pool = pool(net);
        let all: Vec<IpAddr> = pool.net().subnets(pool.net().max_prefix_len()).unwrap().map(|net| net.addr()).collect();
        let valid: BTreeSet<_> = all[1..31].iter().copied().collect();
        let mut free = valid.clone();
        let addresses = |numbers: &[u8]| -> Vec<_> { numbers.iter().map(|at| all[usize::from(*at)]).collect() };
        for call in calls {
            match call {
                Call::Allocate(count) => {
                    let sorted: Vec<_> = free.iter().copied().collect();
                    let expected = match count {
                        0 => Some(Vec::new()),
                        1 => sorted.last().map(|address| vec![*address]),
                        _ => sorted.windows(count as usize).map(<[_]>::to_vec).find(|window| {
                            let at = |address| all.iter().position(|one| one == address).unwrap();
                            at(window.last().unwrap()) - at(&window[0]) == count as usize - 1
                        }),
                    };
                    match (pool.allocate(count), expected) {
                        (Ok(block), Some(expected)) => {
                            prop_assert_eq!(block.iter().collect::<Vec<_>>(), expected.clone());
                            free.retain(|address| !expected.contains(address));
                        }
                        (Err(PoolError::Exhausted { free: left, .. }), None) => {
                            prop_assert!(left < u128::from(count));
                        }
                        (Err(PoolError::Fragmented { free: left, largest, .. }), None) => {
                            prop_assert!(left >= u128::from(count) && largest < u128::from(count));
                        }
                        (got, expected) => prop_assert!(false, "{got:?} for {expected:?}"),
                    }
                }
                Call::Reserve(numbers) => {
                    let wanted = addresses(&numbers);
                    let unique: BTreeSet<_> = wanted.iter().copied().collect();
                    let possible = unique.len() == wanted.len() && unique.is_subset(&free);
                    prop_assert_eq!(pool.reserve(wanted).is_ok(), possible);
                    if possible {
                        free.retain(|address| !unique.contains(address));
                    }
                }
                Call::Release(numbers) => {
                    let given = addresses(&numbers);
                    let possible = given.iter().all(|address| valid.contains(address));
                    prop_assert_eq!(pool.release(given.clone()).is_ok(), possible);
                    if possible {
                        free.extend(given);
                    }
                }
            }
            prop_assert_eq!(pool.free(), free.len() as u128);
            prop_assert_eq!(pool.capacity(), 30);
            prop_assert!(all.iter().all(|address| pool.is_free(*address) == free.contains(address)));
            prop_assert!(pool.runs() as u128 <= pool.taken() + 1, "memory is what is taken");
        }
    }
}
