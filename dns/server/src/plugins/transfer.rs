//! `transfer [ZONES...] { to *|IP|CIDR|IP:PORT... }`: who may take a zone by AXFR and who hears of changes.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use subm_dns_core::transfer;

use super::{BlockSettings, Directive, Handler, Messages, Request, TransferScope, args};
use crate::config::TransferRule;
use crate::corefile::{Error, Problem, Stanza};

pub(super) struct Transfer;

impl Directive for Transfer {
    fn name(&self) -> &'static str {
        "transfer"
    }

    fn repeats(&self) -> bool {
        true
    }

    fn setup(&self, stanza: &Stanza, block: &mut BlockSettings<'_>) -> Result<(), Error> {
        let zones = if stanza.args.is_empty() {
            block.origins()
        } else {
            args::zones(&stanza.args)?
        };
        let mut rule = TransferRule::default();
        for property in &stanza.properties {
            if property.name.text != "to" {
                return Err(args::unknown(property, "to"));
            }
            for token in args::at_least_one(property, "to ADDR...")? {
                rule.allow(&token.text)
                    .map_err(|problem| problem.at(&token.place))?;
            }
        }
        if rule.to.is_empty() {
            return Err(Problem::TransferTo.at(&stanza.name.place));
        }
        block.transfer.push(TransferScope { zones, rule });
        Ok(())
    }
}

impl TransferRule {
    /// Adds `*`, an address, a network, or a secondary `IP:PORT` that is told of changes too.
    pub(crate) fn allow(&mut self, to: &str) -> Result<(), Problem> {
        if to == "*" {
            self.to
                .extend([IpNet::default(), IpNet::V6(ipnet::Ipv6Net::default())]);
        } else if let Ok(addr) = to.parse::<IpAddr>() {
            self.to.push(addr.into());
        } else if let Ok(net) = to.parse::<IpNet>() {
            self.to.push(net.trunc());
        } else if let Ok(secondary) = to.parse::<SocketAddr>() {
            self.to.push(secondary.ip().into());
            self.notify.push(secondary);
        } else {
            return Err(Problem::Value {
                value: to.to_owned(),
                want: "*, an address, a network or ADDR:PORT",
            });
        }
        Ok(())
    }

    /// Whether `client` may take the zone.
    pub fn allows(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.to.iter().any(|net| net.contains(&client))
    }
}

/// Answers a transfer; whoever may not gets the core's REFUSED.
impl Handler for TransferRule {
    fn handle<'a>(&'a self, request: Request<'a>) -> Messages<'a> {
        Box::pin(async move {
            let snapshot = request
                .snapshot
                .filter(|_| self.allows(request.client.ip()))?;
            let messages =
                transfer::messages(request.zone, snapshot, request.status, request.query);
            (!messages.is_empty()).then_some(messages)
        })
    }
}
