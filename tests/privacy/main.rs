//! Attacks on the promise, one file per group: each is what somebody with the disk, the network or an account would try.
//!
//! `attacks` is the list of all of them, with the test that tries each, wherever it is. `drift` holds the register of fields against the program. What needs the real binary is in `tests/e2e`, what needs
//! the key of the day itself in `src/analytics/tests`.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may panic, and make their own clocks"
)]

mod a01_brute_force;
mod a16_addresses;
mod a18_guesses;
mod a26_levels;
mod a29_importer;
mod absent;
mod attacks;
mod drift;
mod mmdb;
mod places;
mod rig;
