//! The server side of one RTSP connection, for readers and publishers: bytes and time in; bytes, questions
//! and events out (RFC 2326).
//!
//! Not here: sockets and timers, who may be on which path, media. `egress::rtsp` drives this.

mod ask;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

pub use ask::Answer;
pub use ask::Ask;
pub use ask::ChosenTransport;
pub use ask::Event;
pub use ask::Purpose;
pub use ask::Refusal;
pub use ask::Rendition;
pub use ask::RtpInfo;
pub use ask::SessionId;
pub use ask::SetupRequest;
pub use ask::Target;

use super::auth::Users;
use crate::media::TrackId;

/// What the driver knows before the first byte.
pub struct Options {
    /// Our RTP and RTCP ports. `None`: there is no UDP, and it is refused with 461.
    pub server_ports: Option<(u16, u16)>,
    /// How long a session, or a connection without one, may be silent. The peer is told 5 s less.
    pub idle: Duration,
    /// Who may come in, and the realm. `None`: the listener is open.
    pub users: Option<Arc<Users>>,
}

/// What the driver feeds in.
pub enum Input<'a> {
    /// Bytes as they came, cut anywhere.
    Bytes(&'a [u8]),
    /// The instant of [`Output::WaitUntil`] has come (or any other).
    Tick,
}

/// What the driver has to do, in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Write these bytes, in one piece, before anything that comes later.
    Send(Vec<u8>),
    /// Answer with [`Conn::answer`].
    Ask(Ask),
    Event(Event),
    /// A packet that the peer sent between its requests.
    Interleaved {
        session: SessionId,
        track: TrackId,
        /// RTCP, or else RTP.
        rtcp: bool,
        packet: Vec<u8>,
    },
    /// Nothing to do before this instant, or the next bytes.
    WaitUntil(Instant),
    /// Close the connection; nothing follows.
    Close,
}

/// Whose doing it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Peer,
    Us,
}

/// Why a connection cannot go on. Holds no input bytes: they may carry credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnError {
    #[error("the peer sent more than {0} bytes while its last request was being answered")]
    Backlog(usize),
}

impl ConnError {
    /// Whose doing it was: decides the log level.
    pub fn side(&self) -> Side {
        match self {
            Self::Backlog(_) => Side::Peer,
        }
    }
}

/// One RTSP connection. Knows bytes and time; knows nothing of sockets, tasks or addresses.
///
/// Feed one input with [`Conn::handle`] (or [`Conn::answer`]), then call [`Conn::poll`] until it gives
/// `WaitUntil` or `Close`. After an error poll gives what is still to be sent, then `Close`.
pub struct Conn {
    out: VecDeque<Output>,
    options: Options,
    _nonce: [u8; 16],
    _ids: Box<dyn FnMut() -> u64 + Send>,
    now: Instant,
}

impl Conn {
    /// A connection that has just been accepted. `nonce` is random, for Digest; `ids` gives random numbers
    /// for sessions, which nobody can guess.
    pub fn new(now: Instant, options: Options, nonce: [u8; 16], ids: Box<dyn FnMut() -> u64 + Send>) -> Self {
        Self {
            out: VecDeque::new(),
            options,
            _nonce: nonce,
            _ids: ids,
            now,
        }
    }

    /// Takes one input. While an [`Ask`] is out bytes may come, but only some are kept: better do not read
    /// meanwhile.
    pub fn handle(&mut self, now: Instant, _input: Input<'_>) -> Result<(), ConnError> {
        self.now = now;
        Ok(())
    }

    /// What to do next.
    pub fn poll(&mut self) -> Output {
        let wait = Output::WaitUntil(self.now + self.options.idle);
        self.out.pop_front().unwrap_or(wait)
    }

    /// The answer to the [`Ask`] that is out. Without one it is ignored.
    pub fn answer(&mut self, now: Instant, _answer: Answer) {
        self.now = now;
    }

    /// RTCP of a reader or media of a publisher arrived by UDP: the session lives.
    pub fn alive(&mut self, now: Instant, _session: SessionId) {
        self.now = now;
    }
}
