//! RTSP 1.0 (RFC 2326): messages as values, their parser, and the server side of a connection as a state
//! machine.
//!
//! Not here: sockets, tasks and timers (`egress::rtsp` drives [`server::Conn`]), RTP and RTCP
//! (`proto::rtp`), SDP (`proto::sdp`), the pulling client (`ingest`).

pub mod auth;
pub mod server;
