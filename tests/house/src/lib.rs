//! Rules of the house that no compiler checks. See `tests/house.rs`.
