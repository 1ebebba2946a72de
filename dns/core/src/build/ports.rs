//! Port lists, each kept once per service.

use crate::facts::Port;
use crate::snapshot::{Octets, PortList, SrvPort};

use smallvec::SmallVec;

#[derive(Debug, Default)]
pub(crate) struct PortLists(SmallVec<[PortList; 1]>);

impl PortLists {
    /// The number of the list of `ports`, each once, in order.
    pub(crate) fn intern<'a>(&mut self, ports: impl IntoIterator<Item = &'a Port>) -> u16 {
        let mut list = PortList::new();
        for port in ports {
            let port = SrvPort {
                name: port
                    .name
                    .as_ref()
                    .map_or_else(Octets::new, |name| Octets::from_slice(name.as_bytes())),
                protocol: port.protocol,
                number: port.number,
            };
            if !list.contains(&port) {
                list.push(port);
            }
        }
        self.intern_list(list)
    }

    /// The number of the list that has the ports of both.
    pub(crate) fn union(&mut self, a: u16, b: u16) -> u16 {
        if a == b {
            return a;
        }
        let mut list = self.0[usize::from(a)].clone();
        for port in &self.0[usize::from(b)] {
            if !list.contains(port) {
                list.push(port.clone());
            }
        }
        self.intern_list(list)
    }

    fn intern_list(&mut self, list: PortList) -> u16 {
        let at = self
            .0
            .iter()
            .position(|have| *have == list)
            .unwrap_or_else(|| {
                // Slices of one service have few different lists; more than fit share the last.
                if u16::try_from(self.0.len()).is_ok() {
                    self.0.push(list);
                }
                self.0.len() - 1
            });
        at as u16
    }

    pub(crate) fn finish(self) -> SmallVec<[PortList; 1]> {
        self.0
    }
}
