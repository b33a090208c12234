//! Protocols as values and state machines: bytes and time in, values out.
//!
//! The rules of this folder: no tokio, no sockets, no files, no clock, no addresses. Time is an argument.
//! Whatever bytes come from the network, nothing here panics; every buffer has a bound.

pub mod aac;
pub mod ac3;
pub mod av1;
pub mod bits;
pub mod h264;
pub mod h265;
pub mod jpeg;
mod jpeg_tables;
pub mod latm;
pub mod mikey;
pub mod mpa;
pub mod mpeg2;
pub mod mpeg4;
pub mod mpegts;
pub mod rtp;
pub mod rtsp;
pub mod sdp;
pub mod vorbis;
