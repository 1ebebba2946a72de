//! `errors`: errors are always logged, so this only has its words checked.

use super::{BlockSettings, Directive, args};
use crate::corefile::{Error, Problem, Stanza};

pub(super) struct Errors;

impl Directive for Errors {
    fn name(&self) -> &'static str {
        "errors"
    }

    fn setup(&self, stanza: &Stanza, _: &mut BlockSettings<'_>) -> Result<(), Error> {
        args::count(stanza, ..=1, "errors [stdout]")?;
        if let Some(token) = stanza.args.first().filter(|token| token.text != "stdout") {
            return Err(Problem::Value {
                value: token.text.clone(),
                want: "stdout, the only place that errors may name",
            }
            .at(&token.place));
        }
        for property in &stanza.properties {
            if !matches!(&*property.name.text, "consolidate" | "stacktrace") {
                return Err(args::unknown(property, "consolidate, stacktrace"));
            }
            tracing::warn!(place = %property.name.place, property = property.name.text, "errors: this property has no effect here");
        }
        Ok(())
    }
}
