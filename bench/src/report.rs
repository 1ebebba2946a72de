//! What a measurement gives: tables of spreads, and goals that they meet or miss.

use std::fmt;

/// Minimum, median and maximum over the rounds of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

impl Spread {
    /// Of figures in any order; `None` without any.
    pub fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            min: *sorted.first()?,
            median: sorted[sorted.len() / 2],
            max: *sorted.last()?,
        })
    }

    /// Half the way from minimum to maximum, as a part of the median: what this run cannot tell apart.
    pub fn noise(&self) -> f64 {
        (self.max - self.min) / 2.0 / self.median
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [min, median, max] = [self.min, self.median, self.max].map(figure);
        write!(f, "{min} / {median} / {max}")
    }
}

/// With as many digits as a measurement deserves.
pub fn figure(value: f64) -> String {
    let decimals = match value.abs() {
        0.0..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

/// One thing measured at several subjects, usually servers.
#[derive(Clone, Debug)]
pub struct Table {
    /// Also the name of its files, in lower case and with hyphens.
    pub title: String,
    /// Of every cell: `µs of CPU per query`.
    pub unit: String,
    /// How it was measured, in a sentence or two.
    pub method: String,
    pub columns: Vec<String>,
    pub rows: Vec<Row>,
    pub goals: Vec<Goal>,
}

impl Table {
    /// The cell of a row and a column, by their names.
    pub fn cell(&self, row: &str, column: &str) -> Option<&Spread> {
        let column = self.columns.iter().position(|name| name == column)?;
        let row = self.rows.iter().find(|have| have.name == row)?;
        row.cells.get(column)?.as_ref()
    }

    /// Adds the goal that a row's cell in column `ours` is at most so many times the one in `theirs`. Without either
    /// cell there is no goal.
    pub fn goal(&mut self, row: &str, ours: &str, theirs: &str, at_most: f64) {
        if let (Some(our), Some(their)) = (self.cell(row, ours), self.cell(row, theirs)) {
            let goal = Goal::ratio(format!("{row}: {ours} / {theirs}"), our, their, at_most);
            self.goals.push(goal);
        }
    }

    /// The title as a part of a file's name.
    pub fn slug(&self) -> String {
        let words = self
            .title
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join("-").to_ascii_lowercase()
    }
}

/// A workload; one cell per column, `None` where a subject has no such thing.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: String,
    pub cells: Vec<Option<Spread>>,
}

/// A ratio, or another figure, with the most that it may be.
#[derive(Clone, Debug)]
pub struct Goal {
    /// `A hit: lighthouse-dns / UDP echo`.
    pub what: String,
    pub measured: f64,
    pub at_most: f64,
    /// What this run's own spread leaves open, as a part of `at_most`.
    pub noise: f64,
}

impl Goal {
    /// The ratio of two medians of one run.
    pub fn ratio(what: impl Into<String>, ours: &Spread, theirs: &Spread, at_most: f64) -> Self {
        Self {
            what: what.into(),
            measured: ours.median / theirs.median,
            at_most,
            noise: ours.noise().max(theirs.noise()),
        }
    }

    pub fn verdict(&self) -> Verdict {
        if self.is_met() {
            Verdict::Met
        } else if self.is_missed() {
            Verdict::Missed
        } else {
            Verdict::WithinSpread
        }
    }

    pub fn is_met(&self) -> bool {
        self.measured <= self.at_most
    }

    /// Missed by more than the run's spread can explain.
    pub fn is_missed(&self) -> bool {
        self.measured > self.at_most * (1.0 + self.noise)
    }
}

/// What became of a goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Met,
    /// Not met, but the rounds differ by more than is missing.
    WithinSpread,
    Missed,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Met => "met",
            Self::WithinSpread => "within this run's spread",
            Self::Missed => "**missed**",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(min: f64, median: f64, max: f64) -> Spread {
        Spread { min, median, max }
    }

    #[test]
    fn a_spread_sorts_its_figures() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[3.0]), Some(spread(3.0, 3.0, 3.0)));
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Some(spread(1.0, 2.0, 3.0)));
        assert!((spread(9.0, 10.0, 11.0).noise() - 0.1).abs() < 1e-9);
    }

    #[test]
    fn figures_have_three_digits_or_more() {
        assert_eq!(
            spread(6.878, 68.78, 6878.4).to_string(),
            "6.88 / 68.8 / 6878"
        );
    }

    #[test]
    fn a_goal_is_missed_only_beyond_the_spread() {
        let theirs = spread(10.0, 10.0, 10.0);
        for (ours, verdict) in [
            (spread(10.5, 11.0, 11.5), Verdict::Met),
            (spread(10.8, 11.3, 11.8), Verdict::WithinSpread),
            (spread(11.9, 12.0, 12.1), Verdict::Missed),
        ] {
            assert_eq!(Goal::ratio("", &ours, &theirs, 1.1).verdict(), verdict);
        }
    }

    #[test]
    fn goals_need_both_cells() {
        let mut table = Table {
            title: "CPU, paced".into(),
            unit: String::new(),
            method: String::new(),
            columns: vec!["ours".into(), "theirs".into(), "others".into()],
            rows: vec![Row {
                name: "A".into(),
                cells: vec![
                    Some(spread(1.0, 1.0, 1.0)),
                    None,
                    Some(spread(2.0, 2.0, 2.0)),
                ],
            }],
            goals: vec![],
        };
        table.goal("A", "ours", "theirs", 1.0);
        table.goal("B", "ours", "others", 1.0);
        assert!(table.goals.is_empty());
        table.goal("A", "ours", "others", 1.0);
        assert!((table.goals[0].measured - 0.5).abs() < 1e-9);
        assert_eq!(table.slug(), "cpu-paced");
    }
}
