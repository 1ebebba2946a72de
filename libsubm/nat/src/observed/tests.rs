use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{Plan, Set, TABLE};

fn read(objects: &Json) -> Observed {
    Observed::read(&TABLE, json!({"nftables": objects}).to_string().as_bytes()).unwrap()
}

fn elements(kind: &str, data: Option<&str>, list: &Json) -> Option<Elements> {
    let mut fields =
        json!({"family": "inet", "table": "submariner", "name": "s", "type": kind, "elem": list});
    if let Some(data) = data {
        fields["map"] = data.into();
    }
    read(&json!([{"set": fields}]))
        .elements_of(&Name::literal("s"))
        .cloned()
}

#[test]
fn no_table() {
    assert!(!read(&json!([{"metainfo": {"version": "1.0.6"}}])).exists());
    let others = json!([
        {"table": {"family": "ip", "name": "submariner"}},
        {"table": {"family": "inet", "name": "other"}},
        {"rule": {"family": "inet", "table": "other", "chain": "c"}},
        {"set": {"family": "ip", "table": "submariner", "name": "s"}},
    ]);
    assert!(!read(&others).exists());
    assert!(read(&json!([{"table": {"family": "inet", "name": "submariner"}}])).exists());
}

#[test]
fn what_is_no_json_of_nft_is_an_error() {
    for text in [
        "",
        "null",
        "[]",
        "{}",
        r#"{"nftables": 1}"#,
        "\0\u{ff}",
        &"[".repeat(100_000),
    ] {
        assert!(
            Observed::read(&TABLE, text.as_bytes()).is_err(),
            "{text:.20}"
        );
    }
}

#[test]
fn elements_in_all_shapes() {
    let nets = |list: &[&str]| -> Option<Elements> {
        let key = |text: &&str| (Key::from(text.parse::<IpNet>().unwrap()), None);
        Some(list.iter().map(key).collect())
    };
    let prefix = json!({"prefix": {"addr": "10.0.0.0", "len": 8}});
    assert_eq!(
        elements("ipv4_addr", None, &json!([prefix])),
        nets(&["10.0.0.0/8"])
    );
    assert_eq!(
        elements("ipv6_addr", None, &json!(["fd00::1"])),
        nets(&["fd00::1/128"])
    );
    let wrapped = json!({"elem": {"val": prefix, "comment": "by hand", "timeout": 5}});
    assert_eq!(
        elements("ipv4_addr", None, &json!([wrapped])),
        nets(&["10.0.0.0/8"])
    );
    let port = [(Key::Port(53), None)].into();
    assert_eq!(elements("inet_service", None, &json!([53])), Some(port));
    let verdict = Value::Verdict(Verdict::Jump(Name::literal("c")));
    let jump = [(
        Key::from("10.0.0.0/8".parse::<IpNet>().unwrap()),
        Some(verdict),
    )]
    .into();
    let list = json!([[prefix, {"jump": {"target": "c"}}]]);
    assert_eq!(elements("ipv4_addr", Some("verdict"), &list), Some(jump));
}

#[test]
fn elements_that_are_not_understood() {
    for strange in [
        json!("10.0.0.0/8"),
        json!(7),
        json!(null),
        json!({"concat": ["10.0.0.1", 80]}),
        json!({"prefix": {"addr": "10.0.0.0", "len": 33}}),
        json!({"prefix": {"addr": "fd00::", "len": 8}}),
        json!({"range": ["10.0.0.1", "10.0.0.6"]}),
        json!({"elem": {"elem": {"val": "10.0.0.1"}}}),
        json!({"elem": {"val": {"elem": {"val": "10.0.0.1"}}}}),
    ] {
        assert_eq!(
            elements("ipv4_addr", None, &json!([strange])),
            None,
            "{strange}"
        );
    }
    assert_eq!(elements("inet_service", None, &json!([65_536])), None);
    assert_eq!(elements("mark", None, &json!([-1])), None);
    assert_eq!(
        elements(
            "ipv4_addr",
            Some("verdict"),
            &json!([["10.0.0.1", {"goto": {"target": "c"}}]])
        ),
        None
    );
    assert_eq!(
        elements("ether_addr", None, &json!(["00:00:00:00:00:01"])),
        None
    );
}

/// JSON with the words of nft in likely and unlikely places.
fn any_json() -> impl Strategy<Value = Json> {
    let word = prop::sample::select(vec![
        "inet",
        "ip",
        "submariner",
        "ipv4_addr",
        "ipv6_addr",
        "mark",
        "inet_service",
        "verdict",
        "10.0.0.0",
        "fd00::",
        "255.255.255.255",
        "jump",
        "accept",
        "subm-structure",
        "postrouting",
        "",
    ]);
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        (0_u64..140).prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        word.prop_map(Json::from),
        ".{0,8}".prop_map(Json::from),
    ];
    let field = prop::sample::select(vec![
        "nftables",
        "table",
        "chain",
        "rule",
        "set",
        "map",
        "element",
        "flowtable",
        "family",
        "name",
        "type",
        "hook",
        "prio",
        "policy",
        "comment",
        "elem",
        "val",
        "prefix",
        "addr",
        "len",
        "range",
        "concat",
        "jump",
        "target",
        "accept",
        "flags",
        "expr",
        "handle",
    ]);
    leaf.prop_recursive(8, 128, 8, move |inner| {
        let fields = proptest::collection::btree_map(field.clone(), inner.clone(), 0..8);
        prop_oneof![
            proptest::collection::vec(inner, 0..8).prop_map(Json::from),
            fields.prop_map(|fields| Json::Object(
                fields
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect()
            )),
        ]
    })
}

/// Objects of our table whose other fields are anything.
fn any_object() -> impl Strategy<Value = Json> {
    let kind = prop::sample::select(vec![
        "table", "chain", "rule", "set", "map", "element", "counter",
    ]);
    (kind, any_json(), any_json(), any_json()).prop_map(|(kind, one, two, three)| {
        json!({kind: {
            "family": "inet", "table": "submariner", "name": "remote", "chain": "source", "type": "ipv4_addr",
            "elem": one, "map": two, "comment": three, "prio": three, "hook": two,
        }})
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn reading_never_panics(json in any_json(), objects in proptest::collection::vec(any_object(), 0..6)) {
        let _ = Observed::read(&TABLE, json.to_string().as_bytes());
        let observed = read(&json!([json]));
        let mut desired = Ruleset::new();
        let mut remote = Set::of_nets(Family::V4);
        remote.insert("10.0.0.0/8".parse::<IpNet>().unwrap());
        desired.sets.insert(Name::literal("remote"), remote);
        // Whatever was read, what is wanted can be planned.
        Plan::new(&desired, &observed).unwrap();
        Plan::new(&desired, &read(&objects.into())).unwrap();
    }

    #[test]
    fn reading_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Observed::read(&TABLE, &bytes);
    }
}
