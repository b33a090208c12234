//! The audit trail: who did what to the statistics and their settings, reads included, so that nobody can do it unseen.
//!
//! Entries are chained (each has a MAC over itself and the MAC before it), and how far the chain is gets signed and
//! logged, so that a change, a gap, a move, or an end that was cut off is found and named. No entry has anything of a
//! viewer ([`Event`] has no place for it). Kept for twelve months, in bounded files.
//!
//! Over the same stream of events [`rules`] watch how the statistics are used. Not here: where alerts are sent
//! (`alerts`), what is done (each room tells its own).

mod checkpoint;
mod desk;
mod entry;
mod keys;
pub mod rules;
mod trail;
mod verify;

pub use crate::audit::desk::Audit;
pub use crate::audit::desk::Sink;
pub use crate::audit::desk::write_now;
pub use crate::audit::entry::Action;
pub use crate::audit::entry::Actor;
pub use crate::audit::entry::Entry;
pub use crate::audit::entry::Event;
pub use crate::audit::entry::Outcome;
pub use crate::audit::entry::Purpose;
pub use crate::audit::keys::Keys;
pub use crate::audit::trail::Options;
pub use crate::audit::trail::TrailError;
pub use crate::audit::verify::Problem;
pub use crate::audit::verify::Verified;
pub use crate::audit::verify::last_settings;
pub use crate::audit::verify::show;
pub use crate::audit::verify::verify;

#[cfg(test)]
mod tests;
