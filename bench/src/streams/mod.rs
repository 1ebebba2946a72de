//! Queries over connections: who answers them, who asks, and what it costs.

pub mod asker;
pub mod certificate;
pub mod load;
pub mod peers;
