use proptest::prelude::*;

use super::*;

fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

#[test]
fn first_fit_from_the_start() {
    let mut pool = Pool::new(net("242.0.0.0/8"), 65_000).unwrap();
    assert_eq!(pool.size(), 65_536);
    assert_eq!(pool.allocate("a", None), Ok(net("242.0.0.0/16")));
    assert_eq!(pool.allocate("b", Some(300)), Ok(net("242.1.0.0/23")));
    assert_eq!(pool.allocate("c", None), Ok(net("242.2.0.0/16")));
    assert_eq!(pool.allocate("d", Some(256)), Ok(net("242.1.2.0/24")));
    pool.release("a");
    assert_eq!(pool.allocate("e", None), Ok(net("242.0.0.0/16")));
}

#[test]
fn what_a_user_asks_for_is_checked() {
    let mut pool = Pool::new(net("120.0.0.0/8"), 65_536).unwrap();
    pool.reserve("g1", net("120.1.0.0/24")).unwrap();
    assert_eq!(
        pool.reserve("g2", net("120.1.0.0/16"))
            .unwrap_err()
            .to_string(),
        "120.1.0.0/16 overlaps with 120.1.0.0/24 of cluster \"g1\""
    );
    assert!(matches!(
        pool.reserve("g2", net("121.1.0.0/24")),
        Err(CidrError::OutOfRange { .. })
    ));
    // Its own part is not in its way.
    pool.reserve("g1", net("120.1.0.0/16")).unwrap();
    assert_eq!(pool.of("g1"), Some(net("120.1.0.0/16")));
}

#[test]
fn ranges_and_sizes_that_make_no_sense() {
    for range in ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/8"] {
        assert!(matches!(
            Pool::new(net(range), 256),
            Err(CidrError::Special(_))
        ));
    }
    assert!(Pool::new(net("10.0.0.0/24"), 129).is_err());
    assert!(Pool::new(net("10.0.0.0/32"), 1).is_err());
    assert!(Pool::new(net("10.0.0.0/24"), u32::MAX).is_err());
    assert_eq!(parse("10.1.2.3/16"), Ok(net("10.1.0.0/16")));
    assert!(parse("10.1.2.3").is_err());
}

#[test]
fn the_end_of_the_range_is_an_error() {
    let mut pool = Pool::new(net("255.255.255.0/24"), 128).unwrap();
    pool.allocate("a", None).unwrap();
    pool.allocate("b", None).unwrap();
    assert!(matches!(
        pool.allocate("c", None),
        Err(CidrError::Exhausted { .. })
    ));
}

proptest! {
    #[test]
    fn parts_never_overlap_and_stay_inside(
        sizes in proptest::collection::vec(1_u32..2000, 1..40),
        released in proptest::collection::vec(any::<bool>(), 40),
    ) {
        let mut pool = Pool::new(net("243.0.0.0/18"), 256).unwrap();
        for (i, size) in sizes.iter().enumerate() {
            let name = format!("c{i}");
            if pool.allocate(&name, Some(*size)).is_ok() && released[i] {
                pool.release(&name);
            }
        }
        let parts: Vec<Ipv4Net> = pool.members().values().flatten().copied().collect();
        for (i, part) in parts.iter().enumerate() {
            prop_assert!(pool.range().contains(part));
            for other in &parts[i + 1..] {
                prop_assert!(!part.contains(other) && !other.contains(part), "{part} {other}");
            }
        }
    }
}
