//! What became of a plan.

use std::fmt::{self, Display};

use crate::Change;

/// A plan, and what became of each step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report<K, V> {
    pub steps: Vec<Step<K, V>>,
}

/// A change, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step<K, V> {
    pub change: Change<K, V>,
    pub outcome: Outcome<K>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<K> {
    Done,
    /// The words of the error and of its causes.
    Failed(String),
    /// It needs an object that could not be made.
    Skipped {
        because: K,
    },
}

impl<K, V> Default for Report<K, V> {
    fn default() -> Self {
        Self { steps: Vec::new() }
    }
}

impl<K, V> Report<K, V> {
    /// There was nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub fn all_done(&self) -> bool {
        self.steps.iter().all(|step| step.outcome.is_done())
    }

    pub fn done(&self) -> usize {
        self.steps
            .iter()
            .filter(|step| step.outcome.is_done())
            .count()
    }

    /// The steps that failed or were skipped.
    pub fn troubles(&self) -> impl Iterator<Item = &Step<K, V>> {
        self.steps.iter().filter(|step| !step.outcome.is_done())
    }
}

impl<K> Outcome<K> {
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// The outcome of a step that ended with `result`.
    pub fn of<E: std::error::Error>(result: Result<(), E>) -> Self {
        match result {
            Ok(()) => Self::Done,
            Err(error) => Self::Failed(words(&error)),
        }
    }
}

/// An error and its causes, as a person reads them.
pub(crate) fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    words
}

/// How many, and each that is not done.
impl<K: Display, V> Display for Report<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.steps.len();
        write!(f, "{} of {all} done", self.done())?;
        for step in self.troubles() {
            write!(f, "\n{step}")?;
        }
        Ok(())
    }
}

impl<K: Display, V> Display for Step<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Outcome::Done => write!(f, "{}: done", self.change),
            Outcome::Failed(words) => write!(f, "{}: {words}", self.change),
            Outcome::Skipped { because } => {
                write!(f, "{}: skipped, it needs {because}", self.change)
            }
        }
    }
}
