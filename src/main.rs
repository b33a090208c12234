//! The `louver` program: everything is in the library.

fn main() {}
