use proptest::prelude::*;

use super::*;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn keys(set: &Set) -> Vec<String> {
    let key = |key: &Key| match key {
        Key::Net(net) => net.to_string(),
        other => format!("{other:?}"),
    };
    set.normal().keys().map(key).collect()
}

#[test]
fn of_overlapping_networks_a_set_keeps_the_widest() {
    let mut set = Set::of_nets(Family::V4);
    for text in [
        "10.1.0.0/16",
        "10.0.0.0/8",
        "10.1.2.0/24",
        "11.0.0.0/24",
        "11.0.1.0/24",
    ] {
        set.insert(net(text));
    }
    // Neighbours are not put together: one that comes or goes stays one element.
    assert_eq!(keys(&set), ["10.0.0.0/8", "11.0.0.0/24", "11.0.1.0/24"]);
}

#[test]
fn in_a_map_the_longest_prefix_wins() {
    let mut map = Set::map_of_nets(Family::V4, DataType::Verdict);
    map.insert_value(net("10.0.0.0/8"), Verdict::Accept);
    map.insert_value(net("10.0.0.0/10"), Verdict::Drop);
    assert_eq!(keys(&map), ["10.0.0.0/10", "10.64.0.0/10", "10.128.0.0/9"]);
    let values: Vec<_> = map.normal().into_values().flatten().collect();
    let [drop, accept] = [Verdict::Drop, Verdict::Accept].map(Value::Verdict);
    assert_eq!(values, [drop, accept.clone(), accept]);
}

#[test]
fn host_bits_do_not_matter() {
    let mut set = Set::of_nets(Family::V4);
    set.insert(net("10.1.2.3/8"));
    assert!(set.remove(net("10.0.0.0/8")));
    assert!(set.is_empty() && !set.remove(net("10.0.0.0/8")));
}

#[test]
fn the_whole_of_a_family_can_be_cut() {
    let mut map = Set::map_of_nets(Family::V6, DataType::Mark);
    map.insert_value(net("::/0"), Value::Mark(1));
    map.insert_value(
        net("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"),
        Value::Mark(2),
    );
    map.insert_value(net("::/128"), Value::Mark(3));
    let normal = map.normal();
    // Both ends out of 128 bits: 127 pieces to each side.
    assert_eq!(normal.len(), 2 * 127 + 2);
    assert_eq!(normal[&Key::from(net("::/128"))], Some(Value::Mark(3)));
}

/// Networks near each other, so that they overlap often.
fn near() -> impl Strategy<Value = IpNet> {
    let v4 = (0_u32..64, 24_u8..=32).prop_map(|(bits, length)| {
        let address = Ipv4Addr::from(0x0a00_0000 | bits << 2);
        IpNet::from(Ipv4Net::new(address, length).unwrap()).trunc()
    });
    prop_oneof![30 => v4, 1 => Just(net("0.0.0.0/0")), 1 => Just(net("10.0.0.0/8"))]
}

proptest! {
    #[test]
    fn normal_forms_answer_as_the_elements_do(
        nets in proptest::collection::vec((near(), 0_u32..4), 0..24),
        probes in proptest::collection::vec(0_u32..1024, 64),
    ) {
        let mut set = Set::of_nets(Family::V4);
        let mut map = Set::map_of_nets(Family::V4, DataType::Mark);
        for (net, value) in &nets {
            set.insert(*net);
            map.insert_value(*net, Value::Mark(*value));
        }
        for one in [&set, &map] {
            // The kernel's condition.
            let keys: Vec<_> = one.normal().into_keys().collect();
            for (at, key) in keys.iter().enumerate() {
                for other in &keys[at + 1..] {
                    let (Key::Net(key), Key::Net(other)) = (key, other) else { panic!("not networks") };
                    prop_assert!(!key.contains(other) && !other.contains(key), "{key} {other}");
                }
            }
        }
        for probe in probes {
            let address = IpAddr::from(Ipv4Addr::from(0x0a00_0000 | probe));
            let find = |elements: &Elements| {
                let holds = |key: &Key| matches!(key, Key::Net(net) if net.contains(&address));
                let length = |key: &Key| if let Key::Net(net) = key { net.prefix_len() } else { 0 };
                let longest = elements.iter().filter(|(key, _)| holds(key)).max_by_key(|(key, _)| length(key));
                longest.map(|(_, value)| value.clone())
            };
            prop_assert_eq!(find(&set.normal()), find(&set.elements));
            prop_assert_eq!(find(&map.normal()), find(&map.elements));
        }
    }
}
