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
        write!(f, "{:.2} / {:.2} / {:.2}", self.min, self.median, self.max)
    }
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

    pub fn is_met(&self) -> bool {
        self.measured <= self.at_most
    }

    /// Missed by more than the run's spread can explain.
    pub fn is_missed(&self) -> bool {
        self.measured > self.at_most * (1.0 + self.noise)
    }
}
