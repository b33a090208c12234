//! (being built)
pub mod pictures;
