//! Whether a member's networks are also another's: traffic for them could go to one of both only.

use std::fmt;

use ipnet::IpNet;

/// The networks of a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    pub cluster: String,
    /// Pods and Services, as they are inside.
    pub inside: Vec<IpNet>,
    /// Global CIDRs: not empty under Globalnet, and then all that the others reach.
    pub global: Vec<IpNet>,
}

/// Two networks that cannot both be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    pub ours: IpNet,
    pub theirs: IpNet,
    pub cluster: String,
}

/// As upstream's `diagnose` says it.
impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            ours,
            theirs,
            cluster,
        } = self;
        write!(f, "{ours} overlaps with {theirs} of cluster {cluster:?}")
    }
}

impl Claim {
    /// What the other clusters send here.
    fn reachable(&self) -> &[IpNet] {
        if self.global.is_empty() {
            &self.inside
        } else {
            &self.global
        }
    }
}

/// Where `ours` and another member cannot have both what they claim: what is reachable of one lies inside of the other, or is
/// reachable there too. Claims with our own name are ours from before.
pub fn find(ours: &Claim, others: &[Claim]) -> Vec<Overlap> {
    let mut found = Vec::new();
    for other in others.iter().filter(|other| other.cluster != ours.cluster) {
        for (mine, theirs) in [
            (ours.reachable(), other.reachable()),
            (ours.reachable(), &other.inside),
            (&ours.inside, other.reachable()),
        ] {
            for (mine, theirs) in pairs(mine, theirs) {
                let overlap = Overlap {
                    ours: mine,
                    theirs,
                    cluster: other.cluster.clone(),
                };
                if overlaps(&mine, &theirs) && !found.contains(&overlap) {
                    found.push(overlap);
                }
            }
        }
    }
    found
}

pub(crate) fn pairs<'a>(
    ours: &'a [IpNet],
    theirs: &'a [IpNet],
) -> impl Iterator<Item = (IpNet, IpNet)> + 'a {
    ours.iter()
        .flat_map(move |ours| theirs.iter().map(move |theirs| (*ours, *theirs)))
}

pub(crate) fn overlaps(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(cluster: &str, inside: &[&str], global: &[&str]) -> Claim {
        let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Claim {
            cluster: cluster.to_owned(),
            inside: nets(inside),
            global: nets(global),
        }
    }

    fn words(ours: &Claim, others: &[Claim]) -> Vec<String> {
        find(ours, others).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn networks_of_two_members_are_apart() {
        let ours = claim("c1", &["10.8.0.0/16", "10.88.0.0/16", "fd08::/48"], &[]);
        assert!(words(&ours, &[]).is_empty());
        let apart = claim("c2", &["10.9.0.0/16", "10.99.0.0/16", "fd09::/48"], &[]);
        assert!(words(&ours, &[apart]).is_empty());
        for (theirs, want) in [
            (
                "10.8.0.0/16",
                "10.8.0.0/16 overlaps with 10.8.0.0/16 of cluster \"c2\"",
            ),
            (
                "10.88.7.0/24",
                "10.88.0.0/16 overlaps with 10.88.7.0/24 of cluster \"c2\"",
            ),
            (
                "10.0.0.0/12",
                "10.8.0.0/16 overlaps with 10.0.0.0/12 of cluster \"c2\"",
            ),
            (
                "fd08:0:0:1::/64",
                "fd08::/48 overlaps with fd08:0:0:1::/64 of cluster \"c2\"",
            ),
        ] {
            assert_eq!(words(&ours, &[claim("c2", &[theirs], &[])]), [want]);
        }
    }

    #[test]
    fn our_own_claim_from_before_is_no_other() {
        let ours = claim("c1", &["10.8.0.0/16"], &[]);
        assert!(find(&ours, std::slice::from_ref(&ours)).is_empty());
    }

    #[test]
    fn under_globalnet_the_inside_may_be_the_same() {
        let ours = claim("g1", &["10.7.0.0/16"], &["242.0.0.0/16"]);
        assert!(words(&ours, &[claim("g2", &["10.7.0.0/16"], &["242.1.0.0/16"])]).is_empty());
        assert_eq!(
            words(&ours, &[claim("g2", &["10.7.0.0/16"], &["242.0.7.0/24"])]),
            ["242.0.0.0/16 overlaps with 242.0.7.0/24 of cluster \"g2\""]
        );
        // One that has no part in it is reached by what it has inside, which here is our own.
        assert_eq!(
            words(&ours, &[claim("c3", &["10.7.0.0/16"], &[])]),
            ["10.7.0.0/16 overlaps with 10.7.0.0/16 of cluster \"c3\""]
        );
    }
}
