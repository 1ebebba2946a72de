//! What holds for every ruleset, shown on a model of nft.

use ipnet::IpNet;
use proptest::prelude::*;
use subm_nat::node::Node;
use subm_nat::{Family, Name, Observed, Plan, Ruleset, Set, TABLE};

use crate::generate;
use crate::model::Nft;

fn observe(nft: &Nft) -> Observed {
    let listing = nft.list(TABLE.as_str());
    listing.map_or_else(Observed::absent, |listing| {
        Observed::read(&TABLE, &listing).unwrap()
    })
}

/// Loads the difference; how many commands that took.
fn reconcile(nft: &mut Nft, desired: &Ruleset) -> Plan {
    let plan = Plan::new(desired, &observe(nft)).unwrap();
    if let Some(transaction) = plan.transaction(&TABLE) {
        nft.load(&transaction)
            .unwrap_or_else(|error| panic!("{error:#}\n{plan}\n{transaction}"));
    }
    plan
}

fn loaded(desired: &Ruleset) -> Nft {
    let mut nft = Nft::default();
    reconcile(&mut nft, desired);
    nft
}

fn node() -> impl Strategy<Value = Node> {
    let nets = |most: usize| {
        let one = prop_oneof![generate::net(Family::V4), generate::net(Family::V6)];
        proptest::collection::vec((one, proptest::option::of(1000_u32..2000)), 0..most)
    };
    (nets(4), nets(16)).prop_map(|(local, remote)| Node {
        local: local.into_iter().map(|(net, _)| net).collect(),
        remote: remote.into_iter().collect(),
        ..Node::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// apply(diff(desired, observed)) = desired, whatever was there before; and then there is nothing to do.
    #[test]
    fn the_difference_makes_what_is_desired(history in generate::history()) {
        let mut nft = Nft::default();
        for desired in &history {
            desired.check().unwrap();
            reconcile(&mut nft, desired);
            prop_assert_eq!(&nft, &loaded(desired));
            let again = Plan::new(desired, &observe(&nft)).unwrap();
            prop_assert!(again.is_empty(), "{again}");
            prop_assert_eq!(again.transaction(&TABLE), None);
        }
    }

    /// Other elements alone never touch the structure, and the transaction is the symmetric difference.
    #[test]
    fn elements_are_compared_one_by_one(one in node(), other in node()) {
        let (one, other) = (one.ruleset(), other.ruleset());
        let mut nft = loaded(&one);
        let plan = reconcile(&mut nft, &other);
        prop_assert_eq!(plan.replaces_structure(), one.chains != other.chains);
        prop_assert_eq!(nft, loaded(&other));
    }

    /// An empty desire leaves nothing.
    #[test]
    fn nothing_desired_is_nothing_left(desired in generate::ruleset()) {
        let mut nft = loaded(&desired);
        reconcile(&mut nft, &Ruleset::new());
        prop_assert_eq!(nft, Nft::default());
    }

    /// Tables of others, also of our name's neighbours, are not touched.
    #[test]
    fn others_tables_stay(history in generate::history(), foreign in generate::ruleset()) {
        let mut nft = Nft::default();
        let theirs = Name::literal("submariner2");
        if let Some(transaction) = Plan::new(&foreign, &Observed::absent()).unwrap().transaction(&theirs) {
            nft.load(&transaction).unwrap();
        }
        let before = nft.tables.get(theirs.as_str()).cloned();
        for desired in &history {
            reconcile(&mut nft, desired);
            prop_assert_eq!(nft.tables.get(theirs.as_str()), before.as_ref());
        }
    }

    /// Order of insertion does not matter.
    #[test]
    fn any_order_gives_the_same(
        nets in proptest::collection::vec(generate::net(Family::V4), 0..20).prop_shuffle(),
        base in generate::ruleset(),
    ) {
        let of = |nets: &mut dyn Iterator<Item = &IpNet>| {
            let mut set = Set::of_nets(Family::V4);
            nets.for_each(|net| set.insert(*net));
            let mut ruleset = base.clone();
            ruleset.sets.insert(Name::literal("more"), set);
            ruleset
        };
        let (one, other) = (of(&mut nets.iter()), of(&mut nets.iter().rev()));
        let plan = |desired| Plan::new(desired, &Observed::absent()).unwrap().transaction(&TABLE);
        prop_assert_eq!(plan(&one), plan(&other));
    }

    /// Whatever a person does to the table by hand, it ends as desired.
    #[test]
    fn tampering_is_undone(desired in generate::ruleset(), at in any::<prop::sample::Index>(), how in 0..5) {
        let mut nft = loaded(&desired);
        let untouched = nft.clone();
        let Some(table) = nft.tables.get_mut(TABLE.as_str()) else { return Ok(()) };
        match how {
            0 if !table.rules.is_empty() => drop(table.rules.remove(at.index(table.rules.len()))),
            1 if !table.rules.is_empty() => {
                let rule = at.index(table.rules.len());
                table.rules[rule]["comment"] = "by hand".into();
            }
            2 => {
                let chain = table.chains.keys().nth(at.index(table.chains.len())).unwrap().clone();
                table.chains.remove(&chain);
                table.rules.retain(|rule| rule["chain"] != chain);
            }
            3 => drop(table.chains.insert("extra".to_owned(), serde_json::json!({
                "family": "inet", "table": "submariner", "name": "extra",
            }))),
            _ => {
                let set = table.sets.keys().nth(at.index(table.sets.len())).unwrap().clone();
                table.sets.remove(&set);
            }
        }
        prop_assert!(!Plan::new(&desired, &observe(&nft)).unwrap().is_empty());
        reconcile(&mut nft, &desired);
        prop_assert_eq!(nft, untouched);
    }
}

/// Elements that cannot be read are thrown out and written anew.
#[test]
fn a_set_that_cannot_be_read_is_filled_again() {
    let mut desired = Ruleset::new();
    let mut set = Set::of_nets(Family::V4);
    set.insert("10.0.0.0/8".parse::<IpNet>().unwrap());
    desired.sets.insert(Name::literal("nets"), set);
    let nft = loaded(&desired);
    let listing = String::from_utf8(nft.list(TABLE.as_str()).unwrap()).unwrap();
    let strange = listing.replace(
        r#"{"addr":"10.0.0.0","len":8}"#,
        r#"{"addr":"ten","len":8}"#,
    );
    assert_ne!(listing, strange);
    let observed = Observed::read(&TABLE, strange.as_bytes()).unwrap();
    let plan = Plan::new(&desired, &observed).unwrap();
    assert_eq!(plan.to_string(), "nets: emptied -0 +1");
    let transaction = plan.transaction(&TABLE).unwrap();
    assert!(
        transaction.contains(r#"{"flush":{"set":{"family":"inet","name":"nets""#),
        "{transaction}"
    );
}
