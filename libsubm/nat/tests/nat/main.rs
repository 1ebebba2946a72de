//! Rulesets against a model of nft, and against nft and the kernel in network namespaces of their own.

mod generate;
mod kernel;
mod model;
mod program;
mod properties;
mod scale;
mod traffic;
mod upstream;
