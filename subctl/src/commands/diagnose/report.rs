//! What is found is the answer, on standard output; what goes on meanwhile is told on standard error.

use crate::commands::finding::{Finding, Part};
use crate::error::Error;
use crate::output::print;
use crate::status::Status;

pub(super) struct Report {
    /// For people; programs read data, and nothing beside.
    lines: bool,
    progress: Status,
}

impl Report {
    pub(super) fn new(lines: bool) -> Self {
        Self {
            lines,
            progress: Status::new(),
        }
    }

    /// A line by itself.
    pub(super) fn heading(&mut self, text: &str) -> Result<(), Error> {
        self.print(|| format!("{text}\n"))
    }

    /// A check begins that takes time.
    pub(super) fn begin(&mut self, title: &str) {
        if self.lines {
            self.progress.start(title);
        }
    }

    /// What a check found.
    pub(super) fn tell(&mut self, part: &Part) -> Result<(), Error> {
        self.progress.clear();
        self.print(|| part.lines())
    }

    /// What stands beside the checks.
    pub(super) fn doubt(&mut self, text: &str) -> Result<(), Error> {
        self.print(|| Finding::doubtful(text).lines())
    }

    /// A cluster could not be looked at.
    pub(super) fn failure(&mut self, error: Error) -> Error {
        self.progress.fail(error)
    }

    fn print(&self, text: impl FnOnce() -> String) -> Result<(), Error> {
        if self.lines { print(&text()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_its_title_with_what_was_found_below() {
        let mut part = Part::new("Checking it");
        assert_eq!(part.lines(), " ✓ Checking it\n");
        part.good("One holds");
        part.doubtful("Another may not", "Look");
        assert_eq!(
            part.lines(),
            " ✓ Checking it\n ✓ One holds\n ⚠ Another may not\n   Look\n"
        );
        part.broken("A third does not", "Mend it");
        assert_eq!(
            part.lines(),
            " ✗ Checking it\n ✓ One holds\n ⚠ Another may not\n   Look\n ✗ A third does not\n   Mend it\n"
        );
    }
}
