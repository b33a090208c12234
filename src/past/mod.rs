//! Logs of other servers become sessions without who: what they wrote about viewers goes through a privacy door as
//! viewers do, with one random key for each day of the records, and only random numbers of a day and coarse facts come out.
//!
//! `files` gives lines, `lines` makes records of them, and a record's address and agent move into
//! [`crate::privacy::PastDoor`] at once ([`Days::add`]). What is left is put together to sessions of days. Names of paths are
//! kept only where the operator named them; users and referrers are not even looked at, and in a query only for `stats=off`. A line that cannot be read
//! is a number in a report, never a text.
//!
//! A log is read from its beginning each time: which days are done already is for the store to know
//! (`analytics::past`), so a run that was killed needs nothing of its own on any disk to go on.
//!
//! Not here: the store, what is printed (`cli`).

mod days;
mod files;
mod lines;
mod mediamtx;
mod owncast;
mod requests;
mod time;

pub use crate::past::days::Day;
pub use crate::past::days::Days;
pub use crate::past::days::Session;
pub use crate::past::days::Settings;
pub use crate::past::days::Told;
pub use crate::past::files::Log;
pub use crate::past::files::LogError;
pub use crate::past::files::Piece;
pub use crate::past::files::begins;
pub use crate::past::files::mark;
#[cfg(any(fuzzing, test))]
pub use crate::past::files::pieces;
pub use crate::past::lines::Carrier;
pub use crate::past::lines::Format;
pub use crate::past::lines::Line;
pub use crate::past::lines::Reader;
pub use crate::past::lines::Record;

#[cfg(test)]
mod tests;
