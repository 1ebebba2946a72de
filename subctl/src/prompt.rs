//! Questions, asked only where somebody can answer.

use std::io::{BufRead as _, IsTerminal as _};

use crate::error::Error;
use crate::status::tell;

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
    tell(&format!("? {question} "));
    let mut line = String::new();
    match std::io::stdin().lock().read_line(&mut line) {
        Ok(1..) => Ok(line.trim().to_owned()),
        Ok(0) | Err(_) => Err(Error::NoAnswer(format!(
            "{question} No answer was given; use {flag}"
        ))),
    }
}

/// One of several, by its name or its number in the list.
pub fn choose(question: &str, options: &[String], flag: &str) -> Result<String, Error> {
    if !can_ask() {
        return ask(&format!("{question} {}?", options.join(", ")), flag);
    }
    for (number, option) in (1..).zip(options) {
        tell(&format!("  {number}) {option}\n"));
    }
    let answer = ask(&format!("{question}?"), flag)?;
    picked(&answer, options).ok_or_else(|| {
        Error::NoAnswer(format!(
            "{answer:?} is none of {}; name one with {flag}",
            options.join(", ")
        ))
    })
}

fn picked(answer: &str, options: &[String]) -> Option<String> {
    let numbered = answer
        .parse::<usize>()
        .ok()
        .and_then(|number| options.get(number.checked_sub(1)?));
    let named = options.iter().find(|option| *option == answer);
    named.or(numbered).cloned()
}

/// Yes or no; no unless the answer says otherwise.
pub fn confirm(question: &str, flag: &str) -> Result<bool, Error> {
    let answer = ask(&format!("{question} (y/N)"), flag)?.to_lowercase();
    Ok(answer == "y" || answer == "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_names_and_numbers() {
        let options = ["w1".to_owned(), "1".to_owned()];
        assert_eq!(picked("w1", &options).as_deref(), Some("w1"));
        assert_eq!(picked("2", &options).as_deref(), Some("1"));
        assert_eq!(picked("1", &options).as_deref(), Some("1"), "a name first");
        for none in ["", "0", "3", "w2"] {
            assert_eq!(picked(none, &options), None, "{none:?}");
        }
    }
}
