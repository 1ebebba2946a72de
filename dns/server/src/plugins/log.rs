//! `log [NAMES...] [FORMAT] { class all|success|denial|error... }`: the query log.

use subm_dns_core::name::WireName;

use super::{BlockSettings, Directive, LogRule, args};
use crate::config::QueryLog;
use crate::corefile::{Error, Problem, Stanza};

pub(super) struct Log;

impl Directive for Log {
    fn name(&self) -> &'static str {
        "log"
    }

    fn repeats(&self) -> bool {
        true
    }

    fn setup(&self, stanza: &Stanza, block: &mut BlockSettings<'_>) -> Result<(), Error> {
        let mut names = &*stanza.args;
        if let Some((format, others)) = names
            .split_last()
            .filter(|(last, _)| last.text.contains('{'))
        {
            names = others;
            tracing::warn!(place = %format.place, "log: formats have no effect; lines have the form of CoreDNS's common");
        }
        let names = if names.is_empty() {
            vec![WireName::root()]
        } else {
            args::zones(names)?
        };
        let mut classes = QueryLog {
            success: false,
            denial: false,
            error: false,
        };
        for property in &stanza.properties {
            if property.name.text != "class" {
                return Err(args::unknown(property, "class"));
            }
            for token in args::at_least_one(property, "class all|success|denial|error...")? {
                match &*token.text {
                    "all" => classes = QueryLog::ALL,
                    "success" => classes.success = true,
                    "denial" => classes.denial = true,
                    "error" => classes.error = true,
                    _ => {
                        return Err(Problem::Value {
                            value: token.text.clone(),
                            want: "all, success, denial or error",
                        }
                        .at(&token.place));
                    }
                }
            }
        }
        if stanza.properties.is_empty() {
            classes = QueryLog::ALL;
        }
        block.log.push(LogRule {
            names,
            classes,
            place: stanza.name.place.clone(),
        });
        Ok(())
    }
}
