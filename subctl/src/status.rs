//! Progress on standard error: a spinner on a terminal, plain lines elsewhere.
//!
//! What is said within a step stands below its line, as in Go subctl: there the spinner has gone by then.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::error::Error;

/// Tells what is going on.
#[derive(Debug, Default)]
pub struct Status {
    step: Option<Step>,
    /// Lines that wait for the end of the step.
    queued: Vec<(Mark, String)>,
}

#[derive(Debug)]
struct Step {
    message: String,
    spinner: Option<ProgressBar>,
}

/// What a line begins with.
#[derive(Clone, Copy, Debug)]
pub enum Mark {
    Success,
    Failure,
    Warning,
    /// Nothing: it belongs to the line above.
    Note,
}

impl Mark {
    /// The whole line; in colour for a terminal.
    pub fn line(self, message: &str, terminal: bool) -> String {
        let (sign, colour) = match self {
            Self::Success => ("✓", 32),
            Self::Failure => ("✗", 31),
            Self::Warning => ("⚠", 33),
            Self::Note => return format!("   {message}\n"),
        };
        if terminal {
            format!(" \u{1b}[{colour}m{sign}\u{1b}[0m {message}\n")
        } else {
            format!(" {sign} {message}\n")
        }
    }
}

impl Status {
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a step; the one before has succeeded.
    pub fn start(&mut self, message: impl Into<String>) {
        self.end();
        let message = message.into();
        let spinner = if terminal() {
            let style = ProgressStyle::with_template(" {spinner} {msg}  ...")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            let spinner = ProgressBar::new_spinner()
                .with_style(style)
                .with_message(message.clone());
            spinner.enable_steady_tick(Duration::from_millis(100));
            Some(spinner)
        } else {
            tell(&format!(" • {message}  ...\n"));
            None
        };
        self.step = Some(Step { message, spinner });
    }

    /// Whether a step has begun.
    pub fn is_within(&self) -> bool {
        self.step.is_some()
    }

    /// The step has succeeded.
    pub fn end(&mut self) {
        self.finish(Mark::Success);
    }

    /// There was nothing that the step could be done to; a warning tells what is left to do.
    pub fn undone(&mut self) {
        self.finish(Mark::Warning);
    }

    /// The step is over, and standard output tells how it ended.
    pub fn clear(&mut self) {
        if let Some(spinner) = self.step.take().and_then(|step| step.spinner) {
            spinner.finish_and_clear();
        }
    }

    /// The step has failed, and what was said within it tells why.
    pub fn failed(&mut self) {
        self.finish(Mark::Failure);
    }

    /// The step has failed, if there is one, or else this is the failure. The error comes back as told.
    pub fn fail(&mut self, error: Error) -> Error {
        if error.is_told() {
            self.finish(Mark::Failure);
            return error;
        }
        self.queued.push((Mark::Failure, error.with_causes()));
        self.finish(Mark::Failure);
        Error::Told(Box::new(error))
    }

    pub fn success(&mut self, message: impl Into<String>) {
        self.say(Mark::Success, message.into());
    }

    pub fn warning(&mut self, message: impl Into<String>) {
        self.say(Mark::Warning, message.into());
    }

    pub fn failure(&mut self, message: impl Into<String>) {
        self.say(Mark::Failure, message.into());
    }

    /// A line without judgement.
    pub fn note(&mut self, message: impl Into<String>) {
        self.say(Mark::Note, message.into());
    }

    fn say(&mut self, mark: Mark, message: String) {
        if self.step.is_some() {
            self.queued.push((mark, message));
        } else {
            print(mark, &message);
        }
    }

    fn finish(&mut self, mark: Mark) {
        if let Some(step) = self.step.take() {
            if let Some(spinner) = step.spinner {
                spinner.finish_and_clear();
            }
            print(mark, &step.message);
        }
        for (mark, message) in self.queued.drain(..) {
            print(mark, &message);
        }
    }
}

/// A command that ends in the middle of a step by `?` has failed in it; whoever ends well says so.
impl Drop for Status {
    fn drop(&mut self) {
        self.finish(Mark::Failure);
    }
}

/// To standard error. Where that is closed or full nobody listens any more, and a change that is under way goes on nevertheless.
pub fn tell(text: &str) {
    let mut err = std::io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

fn terminal() -> bool {
    std::io::stderr().is_terminal()
}

fn print(mark: Mark, message: &str) {
    tell(&mark.line(message, terminal()));
}
