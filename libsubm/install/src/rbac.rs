//! Verbs that several roles have.

/// Of what somebody looks at.
pub(crate) const READ: [&str; 3] = ["get", "list", "watch"];
/// Of what somebody keeps as it should be, and writes whole.
pub(crate) const KEEP: [&str; 6] = ["create", "get", "list", "watch", "update", "delete"];
/// Of what somebody keeps as it should be, and writes in parts.
pub(crate) const MANAGE: [&str; 7] = [
    "create", "get", "list", "watch", "patch", "update", "delete",
];
