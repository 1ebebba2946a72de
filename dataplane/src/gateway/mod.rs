//! What a gateway decides.
