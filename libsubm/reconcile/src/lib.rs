//! Desired state against observed state.
