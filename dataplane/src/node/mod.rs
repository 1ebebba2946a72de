//! What a node needs.
