//! The Corefile: text to server blocks. What a directive means is the business of
//! [`plugins`](crate::plugins).
//!
//! ```text
//! text --lexer--> tokens --parser (snippets, imports)--> server blocks: keys and stanzas
//! ```

mod error;
mod import;
mod lexer;
mod parser;
#[cfg(test)]
mod tests;

pub use error::{Error, Place, Problem};
pub use lexer::Token;
pub use parser::{Corefile, Property, ServerBlock, Stanza, parse};
