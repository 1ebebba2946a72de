//! Measuring several subjects in turns, so that a machine's changing mood meets all of them.

use anyhow::Context;

use crate::report::Spread;

/// `N` figures of each subject, in each round once. Every other round goes backwards: drift within a round cancels out.
pub fn in_turns<S, const N: usize>(
    rounds: usize,
    subjects: &[S],
    mut measure: impl FnMut(&S) -> anyhow::Result<[f64; N]>,
) -> anyhow::Result<Vec<[Spread; N]>> {
    let mut figures = vec![[const { Vec::new() }; N]; subjects.len()];
    for round in 0..rounds {
        for turn in 0..subjects.len() {
            let at = if round % 2 == 0 {
                turn
            } else {
                subjects.len() - 1 - turn
            };
            for (all, figure) in figures[at].iter_mut().zip(measure(&subjects[at])?) {
                all.push(figure);
            }
        }
    }
    let spread = |figures: &Vec<f64>| Spread::of(figures).context("no round was asked for");
    figures
        .iter()
        .map(|figures| {
            let mut spreads = Vec::new();
            for each in figures {
                spreads.push(spread(each)?);
            }
            spreads
                .try_into()
                .map_err(|_| anyhow::anyhow!("{N} figures"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_go_back_and_forth() -> anyhow::Result<()> {
        let mut order = Vec::new();
        let spreads = in_turns(3, &[1.0, 2.0], |subject| {
            order.push(*subject);
            Ok([*subject, order.len() as f64])
        })?;
        assert_eq!(order, [1.0, 2.0, 2.0, 1.0, 1.0, 2.0]);
        assert_eq!(spreads[1][0], Spread::of(&[2.0]).context("one")?);
        assert_eq!(
            spreads[0][1],
            Spread::of(&[1.0, 4.0, 5.0]).context("three")?
        );
        assert!(in_turns(0, &[()], |()| Ok([0.0])).is_err());
        Ok(())
    }
}
