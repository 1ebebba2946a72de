//! Verbs that several roles have.

/// Of what somebody looks at.
pub(crate) const READ: [&str; 3] = ["get", "list", "watch"];
/// Of what somebody keeps as it should be.
pub(crate) const MANAGE: [&str; 7] = [
    "create", "get", "list", "watch", "patch", "update", "delete",
];
