//! Tokens to server blocks. Snippets and imports are expanded on the way, as CoreDNS does it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{Error, Place, Problem};
use super::import;
use super::lexer::{Token, lex};

/// More words than this out of imports can only be a loop.
const MAX_IMPORTED: usize = 100_000;

/// A Corefile with all that it imports.
#[derive(Clone, Debug)]
pub struct Corefile {
    pub blocks: Vec<ServerBlock>,
    /// Every file that was read, the Corefile itself first.
    pub files: Vec<PathBuf>,
}

/// `KEY... { STANZA... }`.
#[derive(Clone, Debug)]
pub struct ServerBlock {
    /// At least one.
    pub keys: Vec<Token>,
    pub stanzas: Vec<Stanza>,
}

/// One directive: `NAME ARG... { PROPERTY... }`.
#[derive(Clone, Debug)]
pub struct Stanza {
    pub name: Token,
    pub args: Vec<Token>,
    pub properties: Vec<Property>,
}

/// One line in a directive's braces: `NAME ARG...`.
#[derive(Clone, Debug)]
pub struct Property {
    pub name: Token,
    pub args: Vec<Token>,
}

/// Parses `text`, which stands in `file`. Imports are read from disk.
pub fn parse(file: &Path, text: &str, env: &BTreeMap<String, String>) -> Result<Corefile, Error> {
    let start = Place {
        file: Arc::from(file),
        line: 1,
    };
    let mut tokens = lex(text, &start, env)?;
    tokens.reverse();
    let mut parser = Parser {
        tokens,
        env,
        snippets: HashMap::new(),
        imported: 0,
        files: vec![file.to_owned()],
        last: start.clone(),
    };
    let mut blocks = Vec::new();
    while let Some(block) = parser.block()? {
        blocks.push(block);
    }
    if blocks.is_empty() {
        return Err(Problem::Empty.at(&start));
    }
    Ok(Corefile {
        blocks,
        files: parser.files,
    })
}

struct Parser<'a> {
    /// What is still to come, the next one last.
    tokens: Vec<Token>,
    env: &'a BTreeMap<String, String>,
    snippets: HashMap<String, (Place, Vec<Token>)>,
    imported: usize,
    files: Vec<PathBuf>,
    /// Place of the token that was taken last.
    last: Place,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.pop()?;
        self.last = token.place.clone();
        Some(token)
    }

    fn next_if(&mut self, test: impl Fn(&Token) -> bool) -> Option<Token> {
        if test(self.tokens.last()?) {
            self.next()
        } else {
            None
        }
    }

    /// The next server block; snippets before it are remembered.
    fn block(&mut self) -> Result<Option<ServerBlock>, Error> {
        loop {
            let keys = self.keys()?;
            let Some(first) = keys.first() else {
                return match self.next() {
                    Some(brace) => Err(Problem::Brace("{").at(&brace.place)),
                    None => Ok(None),
                };
            };
            let place = first.place.clone();
            let braces = self.next_if(|token| token.is("{")).is_some();
            if braces && let Some(name) = snippet_name(&keys) {
                self.snippet(name, &place)?;
                continue;
            }
            let mut stanzas = Vec::new();
            loop {
                self.expand_imports()?;
                match self.next() {
                    // A file with a single block needs no braces around it.
                    None if !braces => break,
                    None => return Err(Problem::OpenBlock.at(&place)),
                    Some(token) if token.is("}") && braces => break,
                    Some(token) if token.is("}") => {
                        return Err(Problem::Brace("}").at(&token.place));
                    }
                    Some(token) if token.is("{") => {
                        return Err(Problem::Brace("{").at(&token.place));
                    }
                    Some(name) => stanzas.push(self.stanza(name)?),
                }
            }
            return Ok(Some(ServerBlock { keys, stanzas }));
        }
    }

    /// Zones up to the end of the line or `{`; a comma at the end of one carries on to the next line.
    fn keys(&mut self) -> Result<Vec<Token>, Error> {
        let mut keys: Vec<Token> = Vec::new();
        let mut comma = false;
        loop {
            if keys.is_empty() || comma {
                self.expand_imports()?;
            }
            let more =
                |token: &Token| !token.is("{") && (keys.is_empty() || comma || !token.starts_line);
            let Some(mut key) = self.next_if(more) else {
                break;
            };
            if key.is("}") {
                return Err(Problem::Brace("}").at(&key.place));
            }
            comma = key.text.ends_with(',');
            if comma {
                key.text.pop();
            }
            // An unset variable leaves an empty word.
            if !key.text.is_empty() {
                keys.push(key);
            }
        }
        if comma {
            Err(Problem::DanglingComma.at(&self.last))
        } else {
            Ok(keys)
        }
    }

    /// Takes the body of a snippet unread, up to its closing brace.
    fn snippet(&mut self, name: String, place: &Place) -> Result<(), Error> {
        let mut body = Vec::new();
        let mut depth = 0;
        loop {
            let Some(token) = self.next() else {
                return Err(Problem::OpenBlock.at(place));
            };
            if token.is("{") {
                depth += 1;
            } else if token.is("}") {
                if depth == 0 {
                    break;
                }
                depth -= 1;
            }
            body.push(token);
        }
        if let Some((first, _)) = self.snippets.get(&name) {
            return Err(Problem::SnippetTwice {
                name,
                first: first.clone(),
            }
            .at(place));
        }
        self.snippets.insert(name, (place.clone(), body));
        Ok(())
    }

    fn stanza(&mut self, name: Token) -> Result<Stanza, Error> {
        let args = self.arguments();
        let mut properties = Vec::new();
        if self
            .next_if(|token| token.is("{") && !token.starts_line)
            .is_some()
        {
            loop {
                self.expand_imports()?;
                match self.next() {
                    None => return Err(Problem::OpenBlock.at(&name.place)),
                    Some(token) if token.is("}") => break,
                    Some(token) if token.is("{") => {
                        return Err(Problem::Brace("{").at(&token.place));
                    }
                    Some(property) => properties.push(Property {
                        name: property,
                        args: self.arguments(),
                    }),
                }
            }
        } else if let Some(token) = self.next_if(|token| token.is("}") && !token.starts_line) {
            return Err(Problem::Brace("}").at(&token.place));
        }
        Ok(Stanza {
            name,
            args,
            properties,
        })
    }

    fn arguments(&mut self) -> Vec<Token> {
        let mut args = Vec::new();
        while let Some(arg) =
            self.next_if(|token| !token.starts_line && !token.is("{") && !token.is("}"))
        {
            args.push(arg);
        }
        args
    }

    /// Puts what `import` means in its place, while the next token is one.
    fn expand_imports(&mut self) -> Result<(), Error> {
        while let Some(keyword) = self.next_if(|token| token.is("import")) {
            let [target] = <[Token; 1]>::try_from(self.arguments())
                .map_err(|_| Problem::ImportArguments.at(&keyword.place))?;
            let mut imported = self.imported_tokens(&target)?;
            self.imported += imported.len() + 1;
            if self.imported > MAX_IMPORTED {
                return Err(Problem::ImportLoop(MAX_IMPORTED).at(&keyword.place));
            }
            if let Some(first) = imported.first_mut() {
                first.starts_line = true;
            }
            self.tokens.extend(imported.into_iter().rev());
        }
        Ok(())
    }

    fn imported_tokens(&mut self, target: &Token) -> Result<Vec<Token>, Error> {
        if let Some((_, body)) = self.snippets.get(&target.text) {
            return Ok(body.clone());
        }
        let mut tokens = Vec::new();
        for file in import::files(&target.text, &target.place.file)
            .map_err(|problem| problem.at(&target.place))?
        {
            let text = std::fs::read_to_string(&file)
                .map_err(|reason| import::unreadable(&file, reason).at(&target.place))?;
            tokens.extend(lex(
                &text,
                &Place {
                    file: Arc::from(&*file),
                    line: 1,
                },
                self.env,
            )?);
            if !self.files.contains(&file) {
                self.files.push(file);
            }
        }
        Ok(tokens)
    }
}

/// `(name)` as the only key starts a snippet.
fn snippet_name(keys: &[Token]) -> Option<String> {
    let [key] = keys else { return None };
    Some(key.text.strip_prefix('(')?.strip_suffix(')')?.to_owned())
}
