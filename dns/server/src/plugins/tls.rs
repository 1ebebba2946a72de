//! `tls CERT KEY [CA] { client_auth nocert|require_and_verify }`.

use std::path::PathBuf;

use super::{BlockSettings, Directive, args};
use crate::config::TlsFiles;
use crate::corefile::{Error, Problem, Stanza, Token};

pub(super) struct Tls;

impl Directive for Tls {
    fn name(&self) -> &'static str {
        "tls"
    }

    fn setup(&self, stanza: &Stanza, block: &mut BlockSettings<'_>) -> Result<(), Error> {
        args::count(stanza, 2..=3, "tls CERT KEY [CA]")?;
        let mut verify_clients = false;
        for property in &stanza.properties {
            if property.name.text != "client_auth" {
                return Err(args::unknown(property, "client_auth"));
            }
            let token = args::single(property, "client_auth nocert|require_and_verify")?;
            verify_clients = match &*token.text {
                "nocert" => false,
                "require_and_verify" if stanza.args.len() == 3 => true,
                "require_and_verify" => {
                    return Err(Problem::Value {
                        value: token.text.clone(),
                        want: "possible without a CA; write tls CERT KEY CA",
                    }
                    .at(&token.place));
                }
                "request" | "require" | "verify_if_given" => {
                    let remedy = "use nocert or require_and_verify";
                    return Err(Problem::NotSupported {
                        name: token.text.clone(),
                        remedy,
                    }
                    .at(&token.place));
                }
                _ => {
                    return Err(Problem::Value {
                        value: token.text.clone(),
                        want: "nocert or require_and_verify",
                    }
                    .at(&token.place));
                }
            };
        }
        let mut files = stanza
            .args
            .iter()
            .map(existing)
            .collect::<Result<Vec<_>, _>>()?
            .into_iter();
        let (Some(certificate), Some(key)) = (files.next(), files.next()) else {
            return Ok(());
        };
        let client_ca = files.next().filter(|_| verify_clients);
        block.tls.set(
            TlsFiles {
                certificate,
                key,
                client_ca,
            },
            &stanza.name.place,
            "certificate",
            "a server block",
        )
    }
}

fn existing(token: &Token) -> Result<PathBuf, Error> {
    let path = PathBuf::from(&token.text);
    if path.exists() {
        return Ok(path);
    }
    Err(Problem::Missing {
        path,
        remedy: "name a file in PEM form",
    }
    .at(&token.place))
}
