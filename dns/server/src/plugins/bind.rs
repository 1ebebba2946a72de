//! `bind ADDR|INTERFACE... { except ADDR|INTERFACE... }`.

use std::net::IpAddr;

use super::{BlockSettings, Directive, args};
use crate::corefile::{Error, Problem, Stanza, Token};

pub(super) struct Bind;

const USAGE: &str = "bind ADDR|INTERFACE...";

impl Directive for Bind {
    fn name(&self) -> &'static str {
        "bind"
    }

    fn repeats(&self) -> bool {
        true
    }

    fn setup(&self, stanza: &Stanza, block: &mut BlockSettings<'_>) -> Result<(), Error> {
        args::count(stanza, 1.., USAGE)?;
        let mut except = Vec::new();
        for property in &stanza.properties {
            match &*property.name.text {
                "except" => {
                    let tokens = args::at_least_one(property, "except ADDR|INTERFACE...")?;
                    except.extend(addresses(tokens, block)?);
                }
                _ => return Err(args::unknown(property, "except")),
            }
        }
        let wanted = addresses(&stanza.args, block)?;
        for addr in wanted {
            if !except.contains(&addr) && !block.bind.contains(&addr) {
                block.bind.push(addr);
            }
        }
        if block.bind.is_empty() {
            return Err(Problem::BindNothing.at(&stanza.name.place));
        }
        Ok(())
    }
}

/// Addresses, and the addresses of interfaces. An interface's IPv6 link-local addresses are left out:
/// they are no use without a zone id, and no resolver is configured with one.
fn addresses(tokens: &[Token], block: &BlockSettings<'_>) -> Result<Vec<IpAddr>, Error> {
    let mut found = Vec::new();
    for token in tokens {
        if let Ok(addr) = token.text.parse::<IpAddr>() {
            found.push(addr);
            continue;
        }
        let of_interface = block
            .host
            .interfaces
            .iter()
            .filter(|(name, _)| *name == token.text);
        let before = found.len();
        found.extend(
            of_interface
                .map(|&(_, addr)| addr)
                .filter(|addr| !is_link_local(addr)),
        );
        if found.len() == before {
            return Err(
                Problem::Bind(token.text.clone(), block.host.interface_names()).at(&token.place),
            );
        }
    }
    Ok(found)
}

fn is_link_local(addr: &IpAddr) -> bool {
    matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local())
}
