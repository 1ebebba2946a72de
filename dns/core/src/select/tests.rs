use super::*;

fn candidates(weights: &[u16]) -> Vec<Candidate> {
    let candidate = |(cluster, weight): (usize, &u16)| Candidate {
        cluster: cluster as ClusterIndex,
        position: cluster as u16,
        healthy: true,
        weight: *weight,
        rdata: [0; 16],
    };
    weights.iter().enumerate().map(candidate).collect()
}

fn sequence(weights: &[u16], turns: u32) -> Vec<u16> {
    let candidates = candidates(weights);
    (0..turns)
        .map(|turn| {
            by_weight(candidates.iter(), || turn)
                .expect("there are candidates")
                .cluster
        })
        .collect()
}

#[test]
fn equal_weights_take_strict_turns_whatever_the_weight() {
    assert_eq!(sequence(&[1, 1, 1], 6), [0, 1, 2, 0, 1, 2]);
    assert_eq!(sequence(&[7, 7], 4), [0, 1, 0, 1]);
}

#[test]
fn each_cycle_gives_each_candidate_its_weight() {
    for weights in [
        &[5, 1, 1][..],
        &[2, 3],
        &[1, 10, 4, 4],
        &[100, 1],
        &[65535, 1, 2],
    ] {
        let total: u32 = weights.iter().map(|weight| u32::from(*weight)).sum();
        let given = sequence(weights, total);
        for (cluster, weight) in weights.iter().enumerate() {
            let count = given
                .iter()
                .filter(|given| usize::from(**given) == cluster)
                .count();
            assert_eq!(
                count,
                usize::from(*weight),
                "cluster {cluster} of {weights:?}"
            );
        }
    }
}

#[test]
fn a_heavy_candidate_does_not_get_all_its_turns_in_a_row() {
    let given = sequence(&[5, 5, 1], 11);
    let longest = given.chunk_by(|a, b| a == b).map(<[u16]>::len).max();
    assert!(longest < Some(5), "{given:?}");
}

#[test]
fn turns_run_on_over_the_end_of_u32() {
    let candidates = candidates(&[1, 2]);
    for turn in [u32::MAX - 1, u32::MAX, 0] {
        assert!(by_weight(candidates.iter(), || turn).is_some());
    }
}

#[test]
fn strides_have_no_common_divisor_with_the_total() {
    for total in 1..2000 {
        assert_eq!(gcd(stride(total), total), 1, "total {total}");
    }
}
