use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ranked(u8, u8);

impl Display for Ranked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0, self.1)
    }
}

impl Key for Ranked {
    // Against the order of the keys, so that a mix-up of both shows.
    fn rank(&self) -> u8 {
        10 - self.0
    }
}

fn states() -> impl Strategy<Value = State<Ranked, u8>> {
    let key = (0_u8..4, 0_u8..6).prop_map(|(rank, key)| Ranked(rank, key));
    prop::collection::btree_map(key, 0_u8..3, 0..20)
}

fn applied(mut state: State<Ranked, u8>, plan: &Plan<Ranked, u8>) -> State<Ranked, u8> {
    for change in plan {
        let before = state.get(change.key()).copied();
        assert_eq!(
            before.as_ref(),
            change.from(),
            "{change} starts from what is there"
        );
        match change.to() {
            Some(to) => state.insert(change.key().clone(), *to),
            None => state.remove(change.key()),
        };
    }
    state
}

proptest! {
    #[test]
    fn a_plan_leads_to_what_is_desired(desired in states(), observed in states()) {
        let plan = diff(&desired, &observed);
        prop_assert_eq!(applied(observed, &plan), desired);
    }

    #[test]
    fn nothing_differs_from_itself(state in states()) {
        prop_assert!(diff(&state, &state).is_empty());
    }

    #[test]
    fn what_comes_goes_before_what_goes(desired in states(), observed in states()) {
        let plan = diff(&desired, &observed);
        let order: Vec<_> = plan
            .iter()
            .map(|change| {
                let rank = i32::from(change.key().rank());
                if change.is_delete() { (1, -rank) } else { (0, rank) }
            })
            .collect();
        prop_assert!(order.is_sorted(), "{order:?}");
    }

    #[test]
    fn the_number_of_changes_is_that_of_differences(desired in states(), observed in states()) {
        let both = desired.keys().chain(observed.keys());
        let differ = both
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .filter(|key| desired.get(*key) != observed.get(*key))
            .count();
        prop_assert_eq!(diff(&desired, &observed).len(), differ);
    }
}
