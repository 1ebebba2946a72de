//! Numbers for clusters, and what a Gateway says about them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::facts::{ClusterId, Gateway};
use crate::status::{ClusterIndex, ClusterStatus};

/// Clusters in the order in which they were met; a number is never given again.
#[derive(Debug, Default)]
pub(crate) struct Clusters {
    ids: Vec<ClusterId>,
    index: HashMap<ClusterId, ClusterIndex>,
    /// `ids` as the last status had it.
    names: Arc<[ClusterId]>,
}

impl Clusters {
    /// Gives the cluster a number. A cluster set has some hundreds of members; ids beyond 65,536 are not
    /// served, so that a broker that invents them cannot fill the memory.
    pub(crate) fn add(&mut self, id: &ClusterId) -> Option<ClusterIndex> {
        let known = self.index(id);
        if known.is_some() {
            return known;
        }
        let index = ClusterIndex::try_from(self.ids.len()).ok()?;
        self.index.insert(id.clone(), index);
        self.ids.push(id.clone());
        Some(index)
    }

    pub(crate) fn index(&self, id: &ClusterId) -> Option<ClusterIndex> {
        self.index.get(id).copied()
    }

    pub(crate) fn id(&self, index: ClusterIndex) -> Option<&ClusterId> {
        self.ids.get(usize::from(index))
    }

    /// The status that `gateway` describes; its serial is 0.
    pub(crate) fn status(
        &mut self,
        local: Option<&ClusterId>,
        gateway: Option<&Gateway>,
    ) -> ClusterStatus {
        let told = gateway.iter().flat_map(|gateway| &gateway.connections);
        for id in told.clone().map(|(id, _)| id).chain(local) {
            self.add(id);
        }
        let mut connected = vec![0_u64; self.ids.len().div_ceil(64)];
        // Only the active gateway holds tunnels; a passive one knows of none.
        for (id, _) in told.filter(|(_, is)| *is && gateway.is_some_and(|gateway| gateway.active)) {
            if let Some(index) = self.index(id) {
                connected[usize::from(index / 64)] |= 1 << (index % 64);
            }
        }
        if self.names.len() != self.ids.len() {
            self.names = self.ids.as_slice().into();
        }
        ClusterStatus {
            serial: 0,
            local: local.and_then(|id| self.index(id)),
            tracked: gateway.is_some(),
            connected: connected.into(),
            names: Arc::clone(&self.names),
            updated_at: gateway.and_then(|gateway| gateway.updated_at),
        }
    }
}

impl ClusterStatus {
    /// Whether any answer may differ between the two.
    pub(crate) fn differs_visibly(&self, before: &Self) -> bool {
        let set = |status: &Self| {
            status
                .connected
                .iter()
                .rposition(|bits| *bits != 0)
                .map_or(0, |last| last + 1)
        };
        let (len, before_len) = (set(self), set(before));
        self.local != before.local
            || self.tracked != before.tracked
            || self.connected[..len] != before.connected[..before_len]
    }
}
