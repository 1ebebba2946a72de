//! Who has which networks.

use std::collections::BTreeMap;

use ipnet::IpNet;

/// Networks, and who has each, so that whoever wants a part of one, or one around it, is told.
///
/// What it costs to ask depends on the length of an address, not on how many networks there are.
///
/// ```
/// use subm_tunnel::Claims;
///
/// let mut claims = Claims::default();
/// claims.take("10.9.0.0/16".parse()?, "c2");
/// assert_eq!(claims.holder("10.9.4.0/24".parse()?), Some("c2"), "a part of it");
/// assert_eq!(claims.holder("10.0.0.0/8".parse()?), Some("c2"), "one around it");
/// assert_eq!(claims.holder("10.10.0.0/16".parse()?), None);
/// # Ok::<(), ipnet::AddrParseError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Claims<'a>(BTreeMap<IpNet, &'a str>);

impl<'a> Claims<'a> {
    /// Whoever asked for it before is to be told first: a network that is there already gets another holder.
    pub fn take(&mut self, net: IpNet, by: &'a str) {
        self.0.insert(net, by);
    }

    /// Who has this network, a part of it, or one around it. Of two networks that overlap one contains the other.
    pub fn holder(&self, net: IpNet) -> Option<&'a str> {
        let mut around = std::iter::successors(Some(net), IpNet::supernet);
        let outer = around.find_map(|net| self.0.get(&net));
        let last = IpNet::new_assert(net.broadcast(), net.max_prefix_len());
        outer.copied().or_else(|| {
            let (_, by) = self.0.range(net..=last).next()?;
            Some(*by)
        })
    }
}
