//! Reading of arguments, alike for all directives and flags.

use std::time::Duration;

use subm_dns_core::authority::MAX_TTL;
use subm_dns_core::name::WireName;

use crate::corefile::{Error, Problem, Property, Stanza, Token};

/// Checks the number of arguments of a stanza.
pub(super) fn count(
    stanza: &Stanza,
    allowed: impl std::ops::RangeBounds<usize>,
    usage: &'static str,
) -> Result<(), Error> {
    check_count(&stanza.name, stanza.args.len(), allowed, usage)
}

/// The only argument of a property.
pub(super) fn single<'a>(property: &'a Property, usage: &'static str) -> Result<&'a Token, Error> {
    check_count(&property.name, property.args.len(), 1..=1, usage)?;
    Ok(&property.args[0])
}

pub(super) fn at_least_one<'a>(
    property: &'a Property,
    usage: &'static str,
) -> Result<&'a [Token], Error> {
    check_count(&property.name, property.args.len(), 1.., usage)?;
    Ok(&property.args)
}

pub(super) fn check_count(
    name: &Token,
    have: usize,
    allowed: impl std::ops::RangeBounds<usize>,
    usage: &'static str,
) -> Result<(), Error> {
    if allowed.contains(&have) {
        return Ok(());
    }
    Err(Problem::Arguments {
        name: name.text.clone(),
        usage,
    }
    .at(&name.place))
}

/// A stanza that takes no braces.
pub(super) fn no_properties(stanza: &Stanza) -> Result<(), Error> {
    stanza
        .properties
        .first()
        .map_or(Ok(()), |property| Err(unknown(property, "none")))
}

pub(super) fn unknown(property: &Property, known: &'static str) -> Error {
    Problem::UnknownProperty {
        name: property.name.text.clone(),
        known,
    }
    .at(&property.name.place)
}

/// A zone's name; the transport and port of a server block's key are cut off, as CoreDNS does it.
pub(crate) fn zone(text: &str) -> Result<WireName, Problem> {
    let name = text.split_once("://").map_or(text, |(_, rest)| rest);
    let name = name.rsplit_once(':').map_or(name, |(name, _)| name);
    WireName::parse(name).map_err(|reason| Problem::Zone {
        zone: text.to_owned(),
        reason,
    })
}

pub(super) fn zones(tokens: &[Token]) -> Result<Vec<WireName>, Error> {
    tokens
        .iter()
        .map(|token| zone(&token.text).map_err(|problem| problem.at(&token.place)))
        .collect()
}

/// `fallthrough [ZONES...]`; without zones everything falls through.
pub(super) fn fallthrough(property: &Property) -> Result<Vec<WireName>, Error> {
    if property.args.is_empty() {
        Ok(vec![WireName::root()])
    } else {
        zones(&property.args)
    }
}

/// `ttl SECONDS`; as in Lighthouse, further arguments are ignored.
pub(super) fn ttl(property: &Property) -> Result<u32, Error> {
    check_count(&property.name, property.args.len(), 1.., "ttl SECONDS")?;
    let text = &*property.args[0].text;
    let parse = || {
        let seconds = text
            .parse()
            .map_err(|_| Problem::TtlNumber(text.to_owned()))?;
        ttl_in_range(seconds)
    };
    parse().map_err(|problem| problem.at(&property.args[0].place))
}

pub(crate) fn ttl_in_range(seconds: i64) -> Result<u32, Problem> {
    u32::try_from(seconds)
        .ok()
        .filter(|&ttl| ttl <= MAX_TTL)
        .ok_or(Problem::TtlRange(seconds))
}

/// A duration as Go writes it: `30s`, `1m30s`, `500ms`, `0`.
pub(crate) fn duration(text: &str) -> Result<Duration, Problem> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| Problem::Duration(text.to_owned()))
}
