//! A conversation with the kernel of one network namespace, on one thread.

use std::collections::{BTreeMap, BTreeSet};

use netlink_packet_route::RouteNetlinkMessage;
use nix::errno::Errno;
use subm_reconcile::{Change, Outcome, Plan, Report, Step};

use super::links::Links;
use super::proc::{Memory, Proc};
use super::routes::{Select, rule_request};
use super::socket::{BATCH, Netlink};
use crate::model::{Address, Family, Key, Network, Object, Route, Sysctl, SysctlKey};
use crate::plan::needs;
use crate::{Error, Settings};

/// A request and its flags.
pub(crate) type Request = (RouteNetlinkMessage, u16);

pub(crate) type Objects = BTreeMap<Key, Object>;

/// Protocol numbers up to this one are the kernel's and everybody's; beyond are those of programs, which are owners of their own.
const EVERYBODYS: u8 = 4;

pub(crate) struct Session {
    pub(crate) settings: Settings,
    pub(crate) netlink: Netlink,
    pub(crate) links: Links,
    pub(crate) proc: Proc,
    pub(crate) memory: Memory,
}

impl Session {
    pub(crate) fn open(settings: Settings) -> Result<Self, Error> {
        Ok(Self {
            netlink: Netlink::open()?,
            links: Links::default(),
            proc: Proc::new(),
            memory: Memory::read(settings.memory.clone()),
            settings,
        })
    }

    /// All that is ours. `desired` are the parameters to look at besides those that are remembered.
    pub(crate) fn observe(&mut self, desired: Vec<Sysctl>) -> Result<Network, Error> {
        let mut network = Network::new();
        self.look_at_links()?;
        let own: Vec<_> = self.own_links().cloned().collect();
        let names: BTreeSet<_> = own.iter().map(|device| device.link.name).collect();
        network.extend(own.iter().map(|device| device.link.clone()));
        if !own.is_empty() {
            for found in self.look_at_addresses()? {
                if names.contains(&found.link) && !is_link_local(&found.net) {
                    network.insert(Address::new(found.link, found.net));
                }
            }
        }
        for device in &own {
            network.extend(self.look_at_neighbours(device)?);
            network.extend(self.look_at_forwards(device)?);
        }
        self.observe_routes(&mut network)?;
        self.observe_sysctls(desired, &mut network)?;
        Ok(network)
    }

    fn observe_routes(&mut self, network: &mut Network) -> Result<(), Error> {
        let take_over = self.settings.take_over.clone();
        let protocol = self.settings.mark.protocol();
        for family in Family::BOTH {
            for device in &take_over.links {
                if let Ok(index) = self.links.index(*device) {
                    let routes = self.look_at_routes(family, Select::Device(index))?;
                    let unmarked =
                        |route: &Route| route.protocol == protocol || route.protocol <= EVERYBODYS;
                    network.extend(routes.into_iter().filter(unmarked));
                }
            }
            for (table, _) in &take_over.tables {
                network.extend(self.look_at_routes(family, Select::Table(*table))?);
            }
            network.extend(self.look_at_routes(family, Select::Protocol(protocol))?);
            network.extend(self.look_at_rules(family)?.into_iter().filter(|rule| {
                rule.protocol == protocol || take_over.tables.contains(&(rule.table, rule.priority))
            }));
        }
        Ok(())
    }

    fn observe_sysctls(
        &mut self,
        desired: Vec<Sysctl>,
        network: &mut Network,
    ) -> Result<(), Error> {
        for key in self.memory.keys() {
            match (
                self.memory.get(&key, self.index_of(&key)).cloned(),
                self.proc.read(key.path()),
            ) {
                (Some(_), Ok(now)) => {
                    network.insert(Sysctl::new(key, now));
                }
                // The device is gone, and with it what it was before.
                _ => self.memory.forget(&key)?,
            }
        }
        for sysctl in desired {
            // As it is desired, and not by us: nothing to put back one day.
            if network.get(&Key::Sysctl(sysctl.key.clone())).is_none()
                && self
                    .proc
                    .read(sysctl.key.path())
                    .is_ok_and(|now| now == sysctl.value)
            {
                network.insert(sysctl);
            }
        }
        Ok(())
    }

    /// Carries out a plan. What is one request each is sent in batches.
    pub(crate) fn carry_out(&mut self, plan: Plan<Key, Object>) -> Report<Key, Object> {
        let mut steps: Vec<Step<Key, Object>> = Vec::with_capacity(plan.len());
        let mut missing: BTreeSet<Key> = BTreeSet::new();
        let mut batch: Vec<(Change<Key, Object>, Request)> = Vec::new();
        for change in plan {
            let needs = if missing.is_empty() {
                Vec::new()
            } else {
                needs(&change)
            };
            if let Some(because) = needs.into_iter().find(|key| missing.contains(key)) {
                missing.insert(change.key().clone());
                steps.push(Step {
                    change,
                    outcome: Outcome::Skipped { because },
                });
                continue;
            }
            let outcome = match self.request(&change) {
                Ok(Some(request)) => {
                    batch.push((change, request));
                    if batch.len() == BATCH {
                        self.send(&mut batch, &mut steps);
                    }
                    continue;
                }
                Ok(None) => {
                    self.send(&mut batch, &mut steps);
                    Outcome::of(self.apply(&change))
                }
                Err(error) => Outcome::of(Err(error)),
            };
            if !outcome.is_done() && !change.is_delete() {
                missing.insert(change.key().clone());
            }
            steps.push(Step { change, outcome });
        }
        self.send(&mut batch, &mut steps);
        Report { steps }
    }

    pub(crate) fn carry_out_one(&mut self, change: &Change<Key, Object>) -> Result<(), Error> {
        let result = match self.request(change)? {
            Some((request, flags)) => self.netlink.change(request, flags),
            None => return self.apply(change),
        };
        result.or_else(|error| forgive(change, error))
    }

    fn send(
        &mut self,
        batch: &mut Vec<(Change<Key, Object>, Request)>,
        steps: &mut Vec<Step<Key, Object>>,
    ) {
        if batch.is_empty() {
            return;
        }
        let (changes, requests): (Vec<_>, Vec<_>) = std::mem::take(batch).into_iter().unzip();
        let results = self.netlink.changes(requests);
        steps.extend(changes.into_iter().zip(results).map(|(change, result)| {
            let result = result.or_else(|error| forgive(&change, error));
            Step {
                outcome: Outcome::of(result),
                change,
            }
        }));
    }

    /// The one request that makes a change; `None` if it takes more than that.
    fn request(&self, change: &Change<Key, Object>) -> Result<Option<Request>, Error> {
        let request = match change {
            Change::Create { to, .. } => match to {
                Object::Address(address) => self.address(address, true),
                Object::Neighbour(neighbour) => self.neighbour(neighbour, true),
                Object::Forward(forward) => self.forward(forward, true),
                Object::Route(route) => self.create_route(route),
                Object::Rule(rule) => Ok(rule_request(rule, true)),
                Object::Link(_) | Object::Sysctl(_) => return Ok(None),
            },
            Change::Update { to, .. } => match to {
                Object::Address(address) => self.address(address, true),
                Object::Neighbour(neighbour) => self.neighbour(neighbour, true),
                Object::Forward(forward) => self.forward(forward, true),
                Object::Route(route) => self.replace_route(route),
                Object::Rule(rule) => Ok(rule_request(rule, true)),
                Object::Link(_) | Object::Sysctl(_) => return Ok(None),
            },
            Change::Delete { from, .. } => match from {
                Object::Address(address) => self.address(address, false),
                Object::Neighbour(neighbour) => self.neighbour(neighbour, false),
                Object::Forward(forward) => self.forward(forward, false),
                Object::Route(route) => self.delete_route(route),
                Object::Rule(rule) => Ok(rule_request(rule, false)),
                Object::Link(_) | Object::Sysctl(_) => return Ok(None),
            },
        };
        request.map(Some)
    }

    fn apply(&mut self, change: &Change<Key, Object>) -> Result<(), Error> {
        let result = match change {
            Change::Create {
                to: Object::Link(to),
                ..
            } => self.create_link(to),
            Change::Update {
                to: Object::Link(to),
                ..
            } => self.update_link(to),
            Change::Delete {
                from: Object::Link(from),
                ..
            } => self.delete_link(from),
            Change::Create {
                to: Object::Sysctl(to),
                ..
            }
            | Change::Update {
                to: Object::Sysctl(to),
                ..
            } => self.set_sysctl(to),
            Change::Delete {
                from: Object::Sysctl(from),
                ..
            } => self.restore_sysctl(from),
            _ => Ok(()),
        };
        result.or_else(|error| forgive(change, error))
    }

    /// The index of the device to which a parameter belongs; 0 if it belongs to none.
    fn index_of(&self, key: &SysctlKey) -> u32 {
        key.link()
            .and_then(|link| self.links.index(link).ok())
            .unwrap_or(0)
    }

    fn set_sysctl(&mut self, to: &Sysctl) -> Result<(), Error> {
        let path = to.key.path();
        let fault = |source| Error::Sysctl {
            path: path.to_owned(),
            source,
        };
        let now = self.proc.read(path).map_err(fault)?;
        self.memory.remember(to, self.index_of(&to.key), now)?;
        self.proc.write(path, &to.value).map_err(fault)
    }

    fn restore_sysctl(&mut self, from: &Sysctl) -> Result<(), Error> {
        let path = from.key.path();
        if let Some(entry) = self.memory.get(&from.key, self.index_of(&from.key)) {
            let fault = |source| Error::Sysctl {
                path: path.to_owned(),
                source,
            };
            // Somebody else's change since is theirs.
            if self.proc.read(path).map_err(fault)? == entry.ours {
                self.proc.write(path, &entry.before).map_err(fault)?;
            }
        }
        self.memory.forget(&from.key)
    }
}

/// What is to be removed and is not there is as it should be.
fn forgive(change: &Change<Key, Object>, error: Error) -> Result<(), Error> {
    const GONE: [Errno; 5] = [
        Errno::ENOENT,
        Errno::ESRCH,
        Errno::ENODEV,
        Errno::ENXIO,
        Errno::EADDRNOTAVAIL,
    ];
    if change.is_delete() && error.code().is_some_and(|code| GONE.contains(&code)) {
        Ok(())
    } else {
        Err(error)
    }
}

/// These are the kernel's affair.
fn is_link_local(net: &ipnet::IpNet) -> bool {
    matches!(net, ipnet::IpNet::V6(net) if net.addr().is_unicast_link_local())
}
