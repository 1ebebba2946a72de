//! Questions, asked only where somebody can answer.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use crate::error::Error;

/// Both ends are a person's.
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// The answer, trimmed. `flag` is what would make the question unnecessary.
pub fn ask(question: &str, flag: &str) -> Result<String, Error> {
    if !can_ask() {
        return Err(Error::NoAnswer(format!(
            "{question} There is no terminal to answer on; use {flag}"
        )));
    }
    eprint!("? {question} ");
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    match std::io::stdin().lock().read_line(&mut line) {
        Ok(1..) => Ok(line.trim().to_owned()),
        Ok(0) | Err(_) => Err(Error::NoAnswer(format!(
            "{question} No answer was given; use {flag}"
        ))),
    }
}

/// Yes or no; no unless the answer says otherwise.
pub fn confirm(question: &str, flag: &str) -> Result<bool, Error> {
    let answer = ask(&format!("{question} (y/N)"), flag)?.to_lowercase();
    Ok(answer == "y" || answer == "yes")
}
