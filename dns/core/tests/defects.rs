//! One test per defect of Lighthouse (its number in the register of defects) that concerns answers.
mod common;
