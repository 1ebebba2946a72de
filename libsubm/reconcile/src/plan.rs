//! What differs, and in which order to change it.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Display};

/// Values by key: what is desired, or what was observed.
pub type State<K, V> = BTreeMap<K, V>;

/// By what a target knows its objects.
///
/// `Display` is how reports name the object.
pub trait Key: Clone + Ord + Debug + Display + Send + Sync + 'static {
    /// Objects of a smaller rank are made before, and removed after, those of a greater one: a link before its addresses.
    fn rank(&self) -> u8 {
        0
    }
}

impl Key for String {}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<K, V> {
    Create { key: K, to: V },
    Update { key: K, from: V, to: V },
    Delete { key: K, from: V },
}

impl<K, V> Change<K, V> {
    pub fn key(&self) -> &K {
        match self {
            Self::Create { key, .. } | Self::Update { key, .. } | Self::Delete { key, .. } => key,
        }
    }

    /// What was observed.
    pub fn from(&self) -> Option<&V> {
        match self {
            Self::Create { .. } => None,
            Self::Update { from, .. } | Self::Delete { from, .. } => Some(from),
        }
    }

    /// What is desired.
    pub fn to(&self) -> Option<&V> {
        match self {
            Self::Create { to, .. } | Self::Update { to, .. } => Some(to),
            Self::Delete { .. } => None,
        }
    }

    pub fn is_delete(&self) -> bool {
        matches!(self, Self::Delete { .. })
    }
}

/// `create link a`, `change link a`, `delete link a`.
impl<K: Display, V> Display for Change<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self {
            Self::Create { .. } => "create",
            Self::Update { .. } => "change",
            Self::Delete { .. } => "delete",
        };
        write!(f, "{verb} {}", self.key())
    }
}

/// The changes that lead from what was observed to what is desired, in the order in which they are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan<K, V> {
    changes: Vec<Change<K, V>>,
}

impl<K, V> Default for Plan<K, V> {
    fn default() -> Self {
        Self {
            changes: Vec::new(),
        }
    }
}

impl<K, V> Plan<K, V> {
    pub fn iter(&self) -> std::slice::Iter<'_, Change<K, V>> {
        self.changes.iter()
    }

    pub fn len(&self) -> usize {
        self.changes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// In the order given: for targets that know a better one than [`diff`].
impl<K, V> FromIterator<Change<K, V>> for Plan<K, V> {
    fn from_iter<I: IntoIterator<Item = Change<K, V>>>(changes: I) -> Self {
        Self {
            changes: changes.into_iter().collect(),
        }
    }
}

impl<K, V> IntoIterator for Plan<K, V> {
    type Item = Change<K, V>;
    type IntoIter = std::vec::IntoIter<Change<K, V>>;

    fn into_iter(self) -> Self::IntoIter {
        self.changes.into_iter()
    }
}

impl<'a, K, V> IntoIterator for &'a Plan<K, V> {
    type Item = &'a Change<K, V>;
    type IntoIter = std::slice::Iter<'a, Change<K, V>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// What differs between both sides, over the keys of both.
///
/// Creations and updates come first, by ascending rank and key; then deletions, by descending rank and key.
pub fn diff<K: Key, V: Clone + PartialEq>(
    desired: &State<K, V>,
    observed: &State<K, V>,
) -> Plan<K, V> {
    let mut changes: Vec<_> = desired
        .iter()
        .filter_map(|(key, to)| match observed.get(key) {
            None => Some(Change::Create {
                key: key.clone(),
                to: to.clone(),
            }),
            Some(from) if from == to => None,
            Some(from) => Some(Change::Update {
                key: key.clone(),
                from: from.clone(),
                to: to.clone(),
            }),
        })
        .collect();
    // Stable: within a rank the order of the keys stays.
    changes.sort_by_key(|change| change.key().rank());
    let made = changes.len();
    changes.extend(
        observed
            .iter()
            .rev()
            .filter(|(key, _)| !desired.contains_key(*key))
            .map(|(key, from)| Change::Delete {
                key: key.clone(),
                from: from.clone(),
            }),
    );
    changes[made..].sort_by_key(|change| std::cmp::Reverse(change.key().rank()));
    Plan { changes }
}

#[cfg(test)]
mod tests;
