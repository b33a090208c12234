//! The server side of one RTSP connection, for readers and publishers: bytes and time in; bytes, questions
//! and events out (RFC 2326).
//!
//! Not here: sockets and timers, who may be on which path, media. `egress::rtsp` drives this.

mod ask;
#[cfg(any(fuzzing, test))]
pub mod fuzz;
mod kept;
mod methods;
mod respond;
mod session;
mod setup;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

pub use ask::Answer;
pub use ask::Ask;
pub use ask::ChosenTransport;
pub use ask::Event;
pub use ask::ForPeer;
pub use ask::Group;
pub use ask::Purpose;
pub use ask::Refusal;
pub use ask::Rendition;
pub use ask::RtpInfo;
pub use ask::SessionId;
pub use ask::SetupRequest;
pub use ask::Target;
pub use ask::backchannel_track;
pub use ask::backchannel_type;
pub use kept::Kept;

use session::Session;
use session::State;

use super::Limit;
use super::Limits;
use super::Request;
use super::Response;
use super::auth::Action;
use super::auth::Permit;
use super::auth::Users;
use super::parse::Message;
use super::parse::ParseError;
use super::parse::Parser;
use super::url::Url;
use crate::media::TrackId;

/// Described paths that are remembered.
const DESCRIBED_MAX: usize = 8;
/// How long somebody with wrong credentials waits for the 401, after which the connection ends.
const PENALTY: Duration = Duration::from_secs(2);

/// What the driver knows before the first byte.
pub struct Options {
    /// Our RTP and RTCP ports. `None`: there is no UDP, and it is refused with 461.
    pub server_ports: Option<(u16, u16)>,
    /// Whether readers may have multicast; else it is refused with 461.
    pub multicast: bool,
    /// How long a session, or a connection without one, may be silent. The peer is told 5 s less.
    pub idle: Duration,
    /// Who may come in, and the realm. `None`: the listener is open.
    pub users: Option<Arc<Users>>,
    pub carrier: Carrier,
    /// How much the peer may ask for.
    pub limits: Arc<Limits>,
}

/// What carries the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Carrier {
    #[default]
    Tcp,
    /// RTSPS. Media in the clear by UDP is refused with 461: who comes by TLS does not want it.
    Tls,
    /// HTTP or WebSocket. Media goes through it too, whatever is asked: nothing else would arrive.
    Tunnel,
}

/// What the driver feeds in.
pub enum Input<'a> {
    /// Bytes as they came, cut anywhere.
    Bytes(&'a [u8]),
    /// The instant of [`Output::WaitUntil`] has come (or any other).
    Tick,
    /// Users or rules have changed: who may not be here any more is sent away.
    RightsChanged,
    /// What this session reads has ended, and the session with it. The driver knows already.
    StreamEnded(SessionId),
}

/// What the driver has to do, in this order.
///
/// `Debug` shows no bytes: replies repeat queries, packets are media.
#[derive(Clone, PartialEq, Eq)]
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

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(bytes) => write!(f, "Send({} bytes)", bytes.len()),
            Self::Ask(ask) => ask.fmt(f),
            Self::Event(event) => event.fmt(f),
            Self::Interleaved {
                track, rtcp, packet, ..
            } => {
                write!(f, "Interleaved({track:?}, rtcp: {rtcp}, {} bytes)", packet.len())
            }
            Self::WaitUntil(_) => f.write_str("WaitUntil"),
            Self::Close => f.write_str("Close"),
        }
    }
}

/// Whose doing it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Peer,
    Us,
}

/// Why a connection cannot go on. Holds no input bytes: they may carry credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnError {
    #[error("the peer's bytes are not RTSP: {0}")]
    Parse(ParseError),
    #[error("the peer sent more than {0} bytes while its last request was being answered")]
    Backlog(usize),
}

impl ConnError {
    /// The limit that was reached, if it was one that the operator can raise.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::Parse(error) => error.limit(),
            Self::Backlog(_) => None,
        }
    }
    /// Whose doing it was: decides the log level.
    pub fn side(&self) -> Side {
        match self {
            Self::Parse(_) | Self::Backlog(_) => Side::Peer,
        }
    }
}

/// One RTSP connection. Knows bytes and time; knows nothing of sockets, tasks or addresses.
///
/// Feed one input with [`Conn::handle`] (or [`Conn::answer`]), then call [`Conn::poll`] until it gives
/// `WaitUntil` or `Close`. After an error poll gives what is still to be sent, then `Close`.
///
/// A session belongs to its connection, and credentials that set it up count for all that is asked of it
/// there; when the connection is over, [`Conn::give_up`] hands on what can live without, and another one may
/// ask for it. Not kept here: a limit on how long a reader by TCP may take nothing; the driver has one on its
/// writes.
pub struct Conn {
    options: Options,
    /// The same for the whole connection: live555 gives up when it changes.
    nonce: [u8; 16],
    ids: Box<dyn FnMut() -> u64 + Send>,
    parser: Parser,
    out: VecDeque<Output>,
    /// The newest is last.
    sessions: Vec<Session>,
    // Boxed what is rare or soon over: there are thousands of these, and most only play.
    announced: Option<Box<Announced>>,
    /// Paths, and their only track if they were shown with one.
    described: Vec<(String, Option<TrackId>)>,
    /// Whoever asked for a description here does not want to be counted, whatever a later request leaves out.
    objected: bool,
    pending: Option<Box<Pending>>,
    penalty: Option<Box<Penalty>>,
    /// The newest time that we were told.
    now: Instant,
    /// When the last whole message came.
    heard: Instant,
    closed: bool,
}

/// What this connection wants to publish.
struct Announced {
    url: Url,
    target: Target,
    /// The control of each track, as the SDP has it.
    controls: Vec<String>,
    permit: Option<Permit>,
}

impl Announced {
    /// Whether who announced it may still publish it.
    fn may_go_on(&self) -> bool {
        let holds = |p: &Permit| p.holds(Action::Publish, &self.target.path);
        self.permit.as_ref().is_none_or(holds)
    }
}

/// Somebody who may come in; without a permit where the listener is open.
struct Admitted(Option<Permit>);

/// A request that waits for the driver.
struct Pending {
    cseq: String,
    waiting: Waiting,
}

/// What is needed for the reply.
enum Waiting {
    Describe {
        content_base: String,
        path: String,
    },
    Announce(Box<(Url, Target, Option<Permit>)>),
    Setup(Box<setup::Draft>),
    Play {
        session: SessionId,
        range: &'static str,
    },
    Record {
        session: SessionId,
    },
    /// A session that is none of ours may be somebody's who lost the connection.
    Claim(Box<Request>),
}

/// A reply held back because of wrong credentials.
struct Penalty {
    at: Instant,
    reply: Vec<u8>,
}

impl Conn {
    /// A connection that has just been accepted. `nonce` is random, for Digest; `ids` gives random numbers
    /// for sessions, which nobody can guess.
    pub fn new(now: Instant, options: Options, nonce: [u8; 16], ids: Box<dyn FnMut() -> u64 + Send>) -> Self {
        Self {
            parser: Parser::new(Arc::clone(&options.limits)),
            options,
            nonce,
            ids,
            out: VecDeque::new(),
            sessions: Vec::new(),
            announced: None,
            described: Vec::new(),
            objected: false,
            pending: None,
            penalty: None,
            now,
            heard: now,
            closed: false,
        }
    }

    /// Takes one input. While an [`Ask`] is out bytes may come, but only [`Limits::backlog`] are kept: better
    /// do not read meanwhile.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) -> Result<(), ConnError> {
        self.now = now;
        match input {
            // After wrong credentials nobody listens.
            Input::Bytes(_) if self.closed || self.penalty.is_some() => {}
            Input::Bytes(bytes) => {
                self.parser.push(bytes);
                self.read()?;
            }
            Input::Tick => self.tick(),
            Input::RightsChanged => self.dismiss(),
            Input::StreamEnded(session) => self.end_session(session),
        }
        Ok(())
    }

    /// What to do next.
    pub fn poll(&mut self) -> Output {
        match self.out.pop_front() {
            Some(output) => output,
            None if self.closed => Output::Close,
            None => {
                self.parser.rest();
                if !self.sessions.iter().any(|s| s.state == State::Recording) {
                    self.out.shrink_to_fit();
                }
                Output::WaitUntil(self.wake_at())
            }
        }
    }

    /// The answer to the [`Ask`] that is out. Without one it is ignored. Requests that came meanwhile are
    /// looked at now; if they are no RTSP, poll will say `Close`.
    pub fn answer(&mut self, now: Instant, answer: Answer) {
        self.now = now;
        if let Some(pending) = self.pending.take() {
            self.answered(*pending, answer);
            // An error here has its reply and its end; there is nobody to be told.
            let _told = self.read();
        }
    }

    /// RTCP of a reader or media of a publisher arrived by UDP, `heard` for the last time: the session lived then.
    pub fn alive(&mut self, now: Instant, session: SessionId, heard: Instant) {
        self.now = now;
        if let Some(session) = self.session_mut(session) {
            session.heard = session.heard.max(heard.min(now));
        }
    }

    /// Reads what there is, up to the next question.
    fn read(&mut self) -> Result<(), ConnError> {
        while self.pending.is_none() && self.penalty.is_none() && !self.closed {
            match self.parser.next_message() {
                Ok(None) => break,
                Ok(Some(Message::Request(request))) => {
                    self.heard = self.now;
                    self.request(&request);
                }
                Ok(Some(Message::Interleaved(frame))) => {
                    self.heard = self.now;
                    self.interleaved(frame);
                }
                Err(error) => {
                    self.send(&Response::new(error.status()));
                    self.closed = true;
                    return Err(ConnError::Parse(error));
                }
            }
        }
        let backlog = self.options.limits.backlog();
        if self.pending.is_some() && self.parser.waiting() > backlog {
            self.closed = true;
            return Err(ConnError::Backlog(backlog));
        }
        Ok(())
    }

    /// A packet on one of our channels, if it is one that should come now. Others are passed over: they are
    /// late after a PAUSE, or nobody's.
    fn interleaved(&mut self, frame: super::Interleaved) {
        let found = self.sessions.iter_mut().find_map(|s| {
            let (track, rtcp) = s.by_channel(frame.channel)?;
            Some((s, track, rtcp))
        });
        let Some((session, track, rtcp)) = found else {
            return;
        };
        session.heard = self.now;
        let wanted = match session.state {
            State::Ready => false,
            State::Playing => rtcp || backchannel_type(track).is_some(),
            State::Recording => true,
        };
        if wanted {
            let session = session.id;
            let packet = frame.packet;
            self.out.push_back(Output::Interleaved {
                session,
                track,
                rtcp,
                packet,
            });
        }
    }

    fn tick(&mut self) {
        if let Some(penalty) = self.penalty.take_if(|p| p.at <= self.now) {
            self.out.push_back(Output::Send(penalty.reply));
            self.closed = true;
        }
        if self.closed || self.pending.is_some() {
            return;
        }
        let over = |s: &Session| s.ends_at(self.options.idle).is_some_and(|at| at <= self.now);
        let over: Vec<SessionId> = self.sessions.iter().filter(|s| over(s)).map(|s| s.id).collect();
        for session in over {
            self.end_session(session);
            self.out.push_back(Output::Event(Event::TimedOut { session }));
        }
        if self.sessions.is_empty() && self.penalty.is_none() {
            self.closed = self.heard + self.options.idle <= self.now;
        }
    }

    /// Ends sessions whose user may not have them any more, and the connection with them: it was the same user's.
    fn dismiss(&mut self) {
        let over: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|s| !s.may_go_on())
            .map(|s| s.id)
            .collect();
        let announced = self.announced.as_ref().is_some_and(|a| !a.may_go_on());
        self.closed |= announced || !over.is_empty();
        for session in over {
            let path = self.session(session).map(|s| s.path.clone()).unwrap_or_default();
            self.end_session(session);
            self.out
                .push_back(Output::Event(Event::Dismissed { session, path }));
        }
    }

    /// When something has to be done without a cause from outside; always later than now.
    fn wake_at(&self) -> Instant {
        let rest = self.now + self.options.idle;
        if self.pending.is_some() {
            return rest;
        }
        let sessions = self.sessions.iter().filter_map(|s| s.ends_at(self.options.idle));
        let alone = self.sessions.is_empty() && self.penalty.is_none();
        let conn = alone.then_some(self.heard + self.options.idle);
        let penalty = self.penalty.as_ref().map(|p| p.at);
        sessions.chain(conn).chain(penalty).fold(rest, Instant::min)
    }

    /// What Digest is computed with, as it is on the wire.
    fn nonce(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.nonce))
    }

    fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.iter().find(|s| s.id == id)
    }

    fn session_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|s| s.id == id)
    }

    fn touch(&mut self, id: SessionId) {
        let now = self.now;
        if let Some(session) = self.session_mut(id) {
            session.heard = now;
        }
    }

    /// Forgets a session; what was announced goes with the one that published it.
    fn end_session(&mut self, id: SessionId) {
        if self.session(id).is_some_and(|s| s.purpose == Purpose::Record) {
            self.announced = None;
        }
        self.sessions.retain(|s| s.id != id);
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
fn some_instant() -> Instant {
    Instant::now()
}
