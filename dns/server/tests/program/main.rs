//! lighthouse-dns as its users see it: commands, messages, logs, pages, signals, sockets.

mod clusters;
mod commands;
#[path = "../common/mod.rs"]
mod common;
mod logs;
mod manifests;
mod mistakes;
mod overload;
mod pages;
mod reload;
mod stop;
mod streams;
