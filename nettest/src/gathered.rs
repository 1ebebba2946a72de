//! What of all sightings is told. Pure.

use std::collections::BTreeSet;

use crate::report::{Seen, Sighting};

/// So many fit into one answer.
const KEPT: usize = 30;

/// One packet is seen on several links where one is made of others: bonds, bridges, VLANs. That makes it no second packet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gathered(BTreeSet<Sighting>);

/// Which packet it was, and where in its way.
fn key(sighting: &Sighting) -> (u16, u16) {
    (sighting.tag, sighting.port)
}

impl Gathered {
    /// How many different packets there were.
    pub(crate) fn packets(&self) -> usize {
        let keys: BTreeSet<_> = self.0.iter().map(key).collect();
        keys.len()
    }

    /// Where there are too many, it goes before what is said twice, or says less.
    pub(crate) fn add(&mut self, new: Sighting) {
        if self.0.len() >= KEPT && !self.0.contains(&new) {
            let alike = |one: &&Sighting| key(one) == key(&new);
            if self.0.iter().filter(alike).any(|old| !old.fragment) {
                return;
            }
            let piece = self.0.iter().find(|old| alike(old));
            let twice = |one: &&Sighting| {
                let mut others = self
                    .0
                    .iter()
                    .filter(|other| other != one && key(other) == key(one));
                others.any(|other| other.fragment <= one.fragment)
            };
            let goes = match piece {
                Some(_) if new.fragment => return,
                Some(piece) => Some(piece),
                None => self.0.iter().rfind(twice),
            };
            let Some(goes) = goes.cloned() else { return };
            self.0.remove(&goes);
        }
        self.0.insert(new);
    }

    pub(crate) fn seen(self) -> Seen {
        Seen {
            sightings: self.0.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{LIMIT, encode};

    fn sighting(tag: u16, link: &str, fragment: bool) -> Sighting {
        Sighting {
            tag,
            link: link.to_owned(),
            from: "fd53:7562:6d00:64::f010:7ffd".parse().unwrap(),
            port: 4800,
            length: 1500,
            fragment,
        }
    }

    #[test]
    fn one_packet_on_two_links_is_one() {
        let mut gathered = Gathered::default();
        for link in ["eth0", "bond0", "eth0", "br-ex"] {
            gathered.add(sighting(2, link, false));
        }
        assert_eq!(gathered.packets(), 1);
        gathered.add(sighting(3, "eth0", false));
        assert_eq!(gathered.packets(), 2);
        assert_eq!(gathered.seen().sightings.len(), 4);
    }

    #[test]
    fn however_many_links_there_are_each_packet_is_told_and_the_answer_fits() {
        let mut gathered = Gathered::default();
        for link in 0..100 {
            let link = format!("vlan-{link:010}");
            gathered.add(sighting(0, &link, false));
            gathered.add(sighting(1, &link, true));
        }
        for tag in 1..24 {
            gathered.add(sighting(tag, "vx-submariner", false));
        }
        assert_eq!(gathered.packets(), 24);
        let seen = gathered.seen();
        for tag in 0..24 {
            let mut all = seen.sightings.iter();
            assert!(
                all.any(|one| one.tag == tag && !one.fragment),
                "{tag} is not told whole"
            );
        }
        assert!(seen.sightings.len() <= KEPT);
        assert!(encode(&Ok(seen)).starts_with("{\"Ok\""), "{LIMIT}");
    }
}
