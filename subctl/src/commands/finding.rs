//! What a look found, of `diagnose` and of `explain`: judgements with the remedy of each that is none good.

use std::io::IsTerminal as _;

use serde_json::{Value, json};

use crate::status::Mark;

/// One part of a check, as `diagnose` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) title: String,
    /// Empty where there was nothing to say.
    pub(super) findings: Vec<Finding>,
    /// Why the check could not be made has been said instead.
    unknown: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    pub(super) text: String,
    pub(super) remedy: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Good,
    /// May be on purpose, or will be well soon.
    Doubtful,
    Broken,
}

impl Verdict {
    fn mark(self) -> Mark {
        match self {
            Self::Good => Mark::Success,
            Self::Doubtful => Mark::Warning,
            Self::Broken => Mark::Failure,
        }
    }
}

impl Finding {
    fn new(verdict: Verdict, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            verdict,
            text: text.into(),
            remedy: remedy.into(),
        }
    }

    pub(super) fn good(text: impl Into<String>) -> Self {
        Self::new(Verdict::Good, text, "")
    }

    /// Without a remedy: it says itself what is missing.
    pub(super) fn doubtful(text: impl Into<String>) -> Self {
        Self::new(Verdict::Doubtful, text, "")
    }

    pub(super) fn broken(text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Verdict::Broken, text, remedy)
    }

    /// For people: what was found, and below it what mends it.
    pub(super) fn lines(&self) -> String {
        let terminal = std::io::stdout().is_terminal();
        let mut lines = self.verdict.mark().line(&self.text, terminal);
        if !self.remedy.is_empty() {
            lines += &Mark::Note.line(&self.remedy, terminal);
        }
        lines
    }

    /// For programs.
    pub(super) fn to_json(&self) -> Value {
        let verdict = match self.verdict {
            Verdict::Good => "good",
            Verdict::Doubtful => "doubtful",
            Verdict::Broken => "broken",
        };
        json!({"verdict": verdict, "text": self.text, "remedy": self.remedy})
    }
}

impl Part {
    pub(super) fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            findings: Vec::new(),
            unknown: false,
        }
    }

    /// The check cannot be made.
    pub(super) fn unknown(&mut self, text: impl Into<String>, remedy: impl Into<String>) {
        self.unknown = true;
        self.doubtful(text, remedy);
    }

    pub(super) fn is_unknown(&self) -> bool {
        self.unknown
    }

    pub(super) fn good(&mut self, text: impl Into<String>) {
        self.push(Verdict::Good, text, "");
    }

    pub(super) fn doubtful(&mut self, text: impl Into<String>, remedy: impl Into<String>) {
        self.push(Verdict::Doubtful, text, remedy);
    }

    pub(super) fn broken(&mut self, text: impl Into<String>, remedy: impl Into<String>) {
        self.push(Verdict::Broken, text, remedy);
    }

    fn push(&mut self, verdict: Verdict, text: impl Into<String>, remedy: impl Into<String>) {
        self.findings.push(Finding::new(verdict, text, remedy));
    }

    pub(super) fn is_good(&self) -> bool {
        let mut findings = self.findings.iter();
        findings.all(|finding| finding.verdict == Verdict::Good)
    }

    pub(super) fn is_broken(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.verdict == Verdict::Broken)
    }

    /// For people: the title with what was found below it.
    pub(super) fn lines(&self) -> String {
        let verdict = if self.is_broken() {
            Verdict::Broken
        } else {
            Verdict::Good
        };
        let mut lines = Finding::new(verdict, &*self.title, "").lines();
        for finding in &self.findings {
            lines += &finding.lines();
        }
        lines
    }

    pub(super) fn to_json(&self) -> Value {
        let findings = self.findings.iter().map(Finding::to_json);
        json!({"check": self.title, "findings": findings.collect::<Vec<_>>()})
    }
}

/// Of parts that are checked, the texts that are not good.
#[cfg(test)]
pub(super) fn faults(parts: &[Part]) -> Vec<String> {
    let findings = parts.iter().flat_map(|part| &part.findings);
    let faults = findings.filter(|finding| finding.verdict != Verdict::Good);
    faults
        .map(|finding| {
            assert!(!finding.remedy.is_empty(), "{finding:?} has no remedy");
            format!(
                "{}{}",
                if finding.verdict == Verdict::Broken {
                    ""
                } else {
                    "? "
                },
                finding.text
            )
        })
        .collect()
}
