//! Louver: a relay that turns a webcam or any publisher into an IP camera, and tells how it is
//! watched without knowing who watches.
//!
//! The modules, in the order in which they may know each other (`tests/architecture.rs` holds the
//! table; ARCHITECTURE.md tells the story):
#![deny(clippy::disallowed_methods)] // the list and the reasons are in clippy.toml
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests make their own clocks and tasks")
)]

pub mod base; // clock, tasks, peers: knows nothing of video
pub mod logs; // log lines, looked at once more; what a panic tells
pub mod telemetry; // counters; a label cannot be a string

pub mod media; // the shared nouns: track, codec, access unit
pub mod proto; // PURE: bytes and time in, values out

pub mod av; // FFmpeg's libraries behind a small safe face
pub mod hub; // the middle: paths, the ring of bursts, readers
pub mod ingest; // cameras and test pictures; ends in hub::Publisher

pub mod analytics; // behind the door: sessions, store, questions
pub mod privacy; // THE ROOM: RawViewer goes in, Viewer comes out

pub mod rights; // consents, receipts, erasures, share links

pub mod alerts; // alerts on their way to people: e-mail, webhook
pub mod audit; // who did what to the statistics: a chain of entries
pub mod papers; // notice, records, self-check, made of settings and register
pub mod past; // logs of other servers: sessions without who
pub mod scan; // finds personal data in files

pub mod egress; // readers attach, bytes leave; RTSP publishers arrive
pub mod web; // page, pictures, API over HTTP

pub mod app; // bind all, build, spawn, drain
pub mod cli; // the command line
pub mod config; // the file: shapes first, rules second

#[cfg(any(fuzzing, test))]
pub mod fuzzing; // bodies of fuzz targets, which tests run too
