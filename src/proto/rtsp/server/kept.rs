//! Sessions that outlive their connection: a reader by UDP needs none, and may go on by another one
//! (RFC 2326 section 3.4 and appendix A: a session is the server's, not a connection's).
//!
//! Not here: who keeps them meanwhile, and who may have them back (`egress::rtsp`).

use std::fmt;
use std::time::Duration;
use std::time::Instant;

use super::Conn;
use super::Session;
use super::ask::Purpose;
use super::ask::SessionId;
use super::session::Kind;
use crate::proto::rtsp::Request;
use crate::proto::rtsp::headers;

/// A session without a connection. `Debug` shows its number alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Kept(pub(super) Session);

impl Kept {
    /// Its number.
    pub fn id(&self) -> SessionId {
        self.0.id
    }
    /// Whether its user may still read this path.
    pub fn may_go_on(&self) -> bool {
        self.0.may_go_on()
    }
    /// When it ends if nothing more is heard of its reader.
    pub fn ends_at(&self, idle: Duration) -> Instant {
        self.0.heard + idle
    }
    /// Its reader gave a sign of life at this moment, or before what is known already.
    pub fn heard(&mut self, at: Instant) {
        self.0.heard = self.0.heard.max(at);
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kept").field(&self.0.id).finish()
    }
}

impl Conn {
    /// Hands over the sessions that can live without this connection, which is over: readers by UDP.
    pub fn give_up(&mut self) -> Vec<Kept> {
        let outlives = |s: &mut Session| {
            s.purpose == Purpose::Play
                && matches!(s.kind(), Some(Kind::Udp | Kind::Multicast))
                && !s.tracks.is_empty()
        };
        self.sessions.extract_if(.., outlives).map(Kept).collect()
    }
    /// The session that a request names, if it is none of this connection but could be somebody's.
    pub(super) fn foreign_session(&self, request: &Request) -> Option<SessionId> {
        let name = headers::session_id(request.header("Session")?);
        let digits = name.len() == 16 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let id = SessionId(u64::from_str_radix(name, 16).ok().filter(|_| digits)?);
        (self.session(id).is_none() && self.sessions.len() < self.options.limits.sessions).then_some(id)
    }
    /// Goes on with a session that another connection had.
    pub(super) fn adopt(&mut self, kept: Kept) {
        self.sessions.push(kept.0);
    }
}
