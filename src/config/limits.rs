//! `[limits]`: how much there may be of what strangers can bring.

use crate::config::file::LimitsFile;
use crate::config::values::Checker;

/// Each is counted in `/metrics` under its key when it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// TCP connections to all RTSP and RTSPS listeners.
    pub rtsp_connections: usize,
    /// Of those, from one host (an IPv4 address, or an IPv6 network of 64 bits); 0: no limit.
    pub rtsp_connections_per_host: usize,
    /// TCP connections to each HTTP listener.
    pub http_connections: usize,
    /// RTSP sessions.
    pub sessions: usize,
    /// Of those, on one connection.
    pub sessions_per_connection: usize,
    /// Sessions by UDP whose TCP connection was lost.
    pub kept_sessions: usize,
    /// Of those, of one host.
    pub kept_sessions_per_host: usize,
    /// RTSP in HTTP: tunnels of a listener.
    pub tunnels: usize,
    /// Bytes of a request's line and headers.
    pub request_size: usize,
    /// Headers of a request.
    pub request_headers: usize,
    /// Bytes of a request's body: what a publisher announces.
    pub announce_size: usize,
    /// Tracks of a session, and of what a publisher announces.
    pub tracks: usize,
    /// Paths that publishers may open beside the configured ones.
    pub published_paths: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rtsp_connections: 10_000,
            rtsp_connections_per_host: 0,
            http_connections: 10_000,
            sessions: 20_000,
            sessions_per_connection: 8,
            kept_sessions: 4_096,
            kept_sessions_per_host: 64,
            tunnels: 4_096,
            request_size: 20 << 10,
            request_headers: 64,
            announce_size: 64 << 10,
            tracks: 16,
            published_paths: 1_000,
        }
    }
}

/// More than any machine has of it.
const MANY: i64 = 1_000_000;

impl Checker<'_> {
    pub(super) fn limits(&mut self, f: &LimitsFile) -> Limits {
        let d = Limits::default();
        let mut count = |key, raw, least, most, default| self.number(key, raw, least..=most, default);
        let counts = Limits {
            rtsp_connections: count(
                "rtsp_connections",
                &f.rtsp_connections,
                1,
                MANY,
                d.rtsp_connections,
            ),
            rtsp_connections_per_host: count(
                "rtsp_connections_per_host",
                &f.rtsp_connections_per_host,
                0,
                MANY,
                d.rtsp_connections_per_host,
            ),
            http_connections: count(
                "http_connections",
                &f.http_connections,
                1,
                MANY,
                d.http_connections,
            ),
            sessions: count("sessions", &f.sessions, 1, MANY, d.sessions),
            sessions_per_connection: count(
                "sessions_per_connection",
                &f.sessions_per_connection,
                1,
                1_000,
                d.sessions_per_connection,
            ),
            kept_sessions: count("kept_sessions", &f.kept_sessions, 0, MANY, d.kept_sessions),
            kept_sessions_per_host: count(
                "kept_sessions_per_host",
                &f.kept_sessions_per_host,
                0,
                MANY,
                d.kept_sessions_per_host,
            ),
            tunnels: count("tunnels", &f.tunnels, 0, MANY, d.tunnels),
            request_headers: count(
                "request_headers",
                &f.request_headers,
                16,
                1_000,
                d.request_headers,
            ),
            tracks: count("tracks", &f.tracks, 1, 16, d.tracks),
            published_paths: count("published_paths", &f.published_paths, 0, MANY, d.published_paths),
            ..d.clone()
        };
        Limits {
            request_size: self.size("request_size", &f.request_size, 1 << 10..=1 << 20, d.request_size),
            announce_size: self.size(
                "announce_size",
                &f.announce_size,
                1 << 10..=64 << 10,
                d.announce_size,
            ),
            ..counts
        }
    }
}
