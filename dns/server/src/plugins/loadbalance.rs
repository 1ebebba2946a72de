//! `loadbalance [round_robin]`: address lists are always rotated, so this only has its words checked.

use super::{BlockSettings, Directive, args};
use crate::corefile::{Error, Problem, Stanza};

pub(super) struct LoadBalance;

impl Directive for LoadBalance {
    fn name(&self) -> &'static str {
        "loadbalance"
    }

    fn setup(&self, stanza: &Stanza, _: &mut BlockSettings<'_>) -> Result<(), Error> {
        args::no_properties(stanza)?;
        match stanza.args.first() {
            Some(token) if token.text == "weighted" => {
                let remedy = "annotate the ServiceImport with a weight per cluster instead";
                Err(Problem::NotSupported {
                    name: "loadbalance weighted".to_owned(),
                    remedy,
                }
                .at(&token.place))
            }
            Some(token) if token.text != "round_robin" => Err(Problem::Value {
                value: token.text.clone(),
                want: "a policy that is known; write round_robin",
            }
            .at(&token.place)),
            _ => args::count(stanza, ..=1, "loadbalance [round_robin]"),
        }
    }
}
