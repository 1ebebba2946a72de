//! Text to tokens: words between white space, `"quoted text"`, `#` comments, `{$ENV}`.

use std::collections::BTreeMap;

use super::error::{Error, Place, Problem};

/// One word with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub place: Place,
    /// First of its line.
    pub starts_line: bool,
    /// Quoted or out of the environment: never a brace or a keyword.
    pub(super) literal: bool,
}

impl Token {
    pub(super) fn is(&self, keyword: &str) -> bool {
        !self.literal && self.text == keyword
    }
}

/// Splits `text` at white space. As CoreDNS has it: a quote counts at the start of a word only, `\"` is
/// the one escape, `#` starts a comment wherever it stands, variables that are not set are empty.
pub(super) fn lex(
    text: &str,
    start: &Place,
    env: &BTreeMap<String, String>,
) -> Result<Vec<Token>, Error> {
    let mut tokens = Vec::new();
    let mut chars = text
        .strip_prefix('\u{feff}')
        .unwrap_or(text)
        .chars()
        .peekable();
    let mut line = start.line;
    let mut starts_line = true;
    while let Some(&next) = chars.peek() {
        if next == '\n' {
            line += 1;
            starts_line = true;
            chars.next();
        } else if next.is_whitespace() {
            chars.next();
        } else if next == '#' {
            while chars.next_if(|&c| c != '\n').is_some() {}
        } else {
            let place = Place {
                file: start.file.clone(),
                line,
            };
            let quoted = next == '"';
            let raw = if quoted {
                chars.next();
                let text = quoted_text(&mut chars).ok_or_else(|| Problem::OpenQuote.at(&place))?;
                line += text.matches('\n').count() as u32;
                text
            } else {
                let mut word = String::new();
                while let Some(c) = chars.next_if(|&c| !c.is_whitespace() && c != '#') {
                    word.push(c);
                }
                word
            };
            let text = substitute(&raw, env);
            tokens.push(Token {
                literal: quoted || text != raw,
                text,
                place,
                starts_line,
            });
            starts_line = false;
        }
    }
    Ok(tokens)
}

/// What stands before the closing quote, which is taken too; `None` where there is none.
fn quoted_text(chars: &mut impl Iterator<Item = char>) -> Option<String> {
    let mut text = String::new();
    loop {
        match chars.next()? {
            '"' => return Some(text),
            '\\' => match chars.next()? {
                '"' => text.push('"'),
                other => text.extend(['\\', other]),
            },
            other => text.push(other),
        }
    }
}

/// Replaces `{$NAME}` and `{%NAME%}`. Values are taken as they are: nothing in them is replaced again.
fn substitute(text: &str, env: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (before, reference) = rest.split_at(at);
        out.push_str(before);
        let name_and_end = [("{$", "}"), ("{%", "%}")]
            .into_iter()
            .find_map(|(open, close)| {
                let inner = reference.strip_prefix(open)?;
                let len = inner.find(close)?;
                Some((&inner[..len], &inner[len + close.len()..]))
            });
        if let Some((name, after)) = name_and_end {
            out.push_str(env.get(name).map_or("", String::as_str));
            rest = after;
        } else {
            out.push('{');
            rest = &reference[1..];
        }
    }
    out.push_str(rest);
    out
}
