//! Which clusters can be reached, as a bit per cluster. A gateway that flaps rebuilds nothing else.

use std::sync::Arc;

use crate::facts::ClusterId;

/// A cluster's number in this process. Numbers are never given twice.
pub(crate) type ClusterIndex = u16;

/// What Gateway objects say about the clusters, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterStatus {
    pub(crate) serial: u32,
    pub(crate) local: Option<ClusterIndex>,
    /// Gateways tell; without any, every cluster counts as connected.
    pub(crate) tracked: bool,
    pub(crate) connected: Box<[u64]>,
    /// Names by number, for people.
    pub(crate) names: Arc<[ClusterId]>,
    /// `update-timestamp` of the Gateway that is believed; seconds since the epoch.
    pub(crate) updated_at: Option<u64>,
}

impl ClusterStatus {
    /// Whether answers may send a client to `cluster`. The local cluster always is.
    pub(crate) fn is_connected(&self, cluster: ClusterIndex) -> bool {
        if !self.tracked || self.local == Some(cluster) {
            return true;
        }
        let (word, bit) = (usize::from(cluster / 64), cluster % 64);
        self.connected
            .get(word)
            .is_some_and(|bits| bits >> bit & 1 == 1)
    }

    /// Grows with every visible change of either this or the snapshot.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    pub fn local(&self) -> Option<&ClusterId> {
        self.names.get(usize::from(self.local?))
    }

    /// Whether Gateway objects decide; `false` where there are none.
    pub fn is_tracked(&self) -> bool {
        self.tracked
    }

    /// Every cluster that is known, and whether it is connected.
    pub fn clusters(&self) -> impl Iterator<Item = (&ClusterId, bool)> {
        self.names
            .iter()
            .enumerate()
            .map(|(i, id)| (id, self.is_connected(i as ClusterIndex)))
    }

    /// When the Gateway that is believed was last written, seconds since the epoch.
    pub fn updated_at(&self) -> Option<u64> {
        self.updated_at
    }
}
