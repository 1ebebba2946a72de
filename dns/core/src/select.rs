//! Which addresses of an RRset are given now: the rules of docs/answers.md over a cluster status.

use crate::authority::LostCluster;
use crate::snapshot::{Addresses, Candidate, Group};
use crate::status::{ClusterIndex, ClusterStatus};

/// Which clusters may be given.
#[derive(Clone, Copy)]
pub(crate) struct Reach<'a> {
    pub(crate) status: &'a ClusterStatus,
    pub(crate) lost: LostCluster,
}

/// What is left of an RRset under a [`Reach`].
#[derive(Clone, Copy)]
pub(crate) enum Chosen<'a> {
    /// Records of no such type here.
    None,
    /// There would be some, but nothing can be reached.
    Unreachable,
    /// There would be some, but no backend is ready.
    Unhealthy,
    All(&'a [u8]),
    /// Groups that `usable` admits.
    Union {
        groups: &'a [Group],
        usable: Usable<'a>,
    },
    One(&'a Candidate),
}

impl Chosen<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::None | Self::Unreachable | Self::Unhealthy)
    }
}

/// Whether a cluster is given, once the policy has had its say.
#[derive(Clone, Copy)]
pub(crate) enum Usable<'a> {
    Connected(&'a ClusterStatus),
    /// Everything; `stale` if only because nothing is connected.
    Any {
        stale: bool,
    },
}

impl Usable<'_> {
    pub(crate) fn admits(self, cluster: ClusterIndex) -> bool {
        match self {
            Self::Connected(status) => status.is_connected(cluster),
            Self::Any { .. } => true,
        }
    }

    /// Whether an address that all of these have is given.
    pub(crate) fn admits_any(self, clusters: &[ClusterIndex]) -> bool {
        clusters.iter().any(|cluster| self.admits(*cluster))
    }

    pub(crate) fn is_stale(self) -> bool {
        matches!(self, Self::Any { stale: true })
    }
}

impl<'a> Reach<'a> {
    /// What of `clusters` is usable; `None` where the policy leaves nothing.
    pub(crate) fn usable(
        self,
        mut clusters: impl Iterator<Item = ClusterIndex>,
    ) -> Option<Usable<'a>> {
        if self.lost == LostCluster::Keep {
            return Some(Usable::Any { stale: false });
        }
        if clusters.any(|cluster| self.status.is_connected(cluster)) {
            return Some(Usable::Connected(self.status));
        }
        (self.lost == LostCluster::KeepLastResort).then_some(Usable::Any { stale: true })
    }

    pub(crate) fn choose(
        self,
        addresses: &'a Addresses,
        turn: impl FnOnce() -> u32,
    ) -> (Chosen<'a>, bool) {
        match addresses {
            Addresses::None => (Chosen::None, false),
            Addresses::All(rdata) => (Chosen::All(rdata), false),
            Addresses::Union(groups) => match self.usable(
                groups
                    .iter()
                    .flat_map(|group| group.clusters.iter().copied()),
            ) {
                Some(usable) => (Chosen::Union { groups, usable }, usable.is_stale()),
                None => (Chosen::Unreachable, false),
            },
            Addresses::One(candidates) => self.choose_one(candidates, turn),
        }
    }

    /// Every candidate that its turn may bring: the local one alone while it is ready.
    pub(crate) fn in_turn(
        self,
        candidates: &'a [Candidate],
    ) -> impl Iterator<Item = &'a Candidate> {
        let ready = || candidates.iter().filter(|candidate| candidate.is_ready());
        let local = self
            .local_first(candidates)
            .map(|candidate| candidate.cluster);
        let usable = self.usable(ready().map(|candidate| candidate.cluster));
        ready().filter(move |candidate| match local {
            Some(local) => candidate.cluster == local,
            None => usable.is_some_and(|usable| usable.admits(candidate.cluster)),
        })
    }

    /// The local cluster's candidate, if it is to be given.
    fn local_first(self, candidates: &'a [Candidate]) -> Option<&'a Candidate> {
        let local = self.status.local?;
        candidates
            .iter()
            .find(|candidate| candidate.cluster == local && candidate.is_ready())
    }

    fn choose_one(
        self,
        candidates: &'a [Candidate],
        turn: impl FnOnce() -> u32,
    ) -> (Chosen<'a>, bool) {
        if let Some(local) = self.local_first(candidates) {
            return (Chosen::One(local), false);
        }
        let ready = || candidates.iter().filter(|candidate| candidate.is_ready());
        let Some(usable) = self.usable(ready().map(|candidate| candidate.cluster)) else {
            let chosen = if ready().next().is_some() {
                Chosen::Unreachable
            } else {
                Chosen::Unhealthy
            };
            return (chosen, false);
        };
        match by_weight(
            ready().filter(|candidate| usable.admits(candidate.cluster)),
            turn,
        ) {
            Some(candidate) => (Chosen::One(candidate), usable.is_stale()),
            None => (Chosen::Unhealthy, false),
        }
    }
}

impl Candidate {
    fn is_ready(&self) -> bool {
        self.healthy && self.weight > 0
    }
}

/// The candidate whose turn it is: slot `(turn * stride) mod total` of the weights laid end to end.
fn by_weight<'a>(
    mut candidates: impl Iterator<Item = &'a Candidate> + Clone,
    turn: impl FnOnce() -> u32,
) -> Option<&'a Candidate> {
    let weights = candidates
        .clone()
        .map(|candidate| u64::from(candidate.weight));
    let first = weights.clone().next()?;
    if weights.clone().all(|weight| weight == first) {
        let count = candidates.clone().count();
        return candidates.nth(turn() as usize % count);
    }
    let total = weights.sum();
    let mut slot = u64::from(turn()) * stride(total) % total;
    candidates.find(|candidate| {
        let weight = u64::from(candidate.weight);
        let hit = slot < weight;
        slot = slot.wrapping_sub(weight);
        hit
    })
}

/// The number nearest to `0.618 * total` without a common divisor: steps of this size visit every slot
/// once in a cycle and spread each candidate's slots over it.
fn stride(total: u64) -> u64 {
    let golden = total * 618 / 1000;
    let coprime = |number: &u64| gcd(*number, total) == 1;
    let below = (1..=golden).rev().find(coprime);
    let above = (golden + 1..=total.max(1)).find(coprime);
    let distance = |number: &u64| (number * 1000).abs_diff(total * 618);
    [below, above]
        .into_iter()
        .flatten()
        .min_by_key(distance)
        .unwrap_or(1)
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests;
