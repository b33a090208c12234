//! What the connection and its driver say to each other: targets, questions, answers, events. Only values.

use std::fmt;

use super::kept::Kept;
use crate::media::TrackId;
use crate::proto::mikey::Message;
use crate::proto::rtsp::Limit;

/// A session of one connection. Ids come from the driver's generator; in hex they are the text on the wire.
/// Another connection can use them only when their own is over (see [`super::Kept`]).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SessionId(pub u64);

/// What a request is about, with what the privacy door may need to know of who asks.
///
/// `Debug` shows neither query nor agent: queries carry tokens, agents identify.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// Percent-decoded, without slashes at either end. Anything may be in it: it came from the network.
    pub path: String,
    /// The query as sent, without the question mark. Never to be logged.
    pub query: Option<String>,
    /// The viewer asked not to be counted: `?stats=off`, `X-Stats: off`, `DNT: 1` or `Sec-GPC: 1`.
    pub stats_off: bool,
    /// The reader requires a back channel (`Require: www.onvif.org/ver20/backchannel`).
    pub backchannel: bool,
    pub(super) user_agent: Option<String>,
    pub(super) consent: Option<String>,
}

/// The tracks of a back channel have numbers from here on, to which the payload type is added: 0 for mu-law, 8 for
/// A-law (RFC 3551). No stream has as many tracks.
const BACKCHANNEL: u8 = 200;

/// The track by which readers speak with this payload type.
pub const fn backchannel_track(payload_type: u8) -> TrackId {
    TrackId(BACKCHANNEL + payload_type)
}

/// The payload type of a track by which readers speak; `None` for tracks of the stream.
pub fn backchannel_type(track: TrackId) -> Option<u8> {
    let payload_type = track.0.checked_sub(BACKCHANNEL)?;
    [0, 8].contains(&payload_type).then_some(payload_type)
}

impl Target {
    /// The `User-Agent`, handed out once, for the privacy door alone.
    pub fn take_user_agent(&mut self) -> Option<String> {
        self.user_agent.take()
    }
    /// The proof of having agreed to be counted (`X-Consent: TOKEN`, `?consent=TOKEN`), handed out once, for the privacy
    /// door alone.
    pub fn take_consent(&mut self) -> Option<String> {
        self.consent.take()
    }
}

impl Target {
    /// The reader asked for SRTP: `?srtp`, before there is a transport to say so.
    pub fn wants_srtp(&self) -> bool {
        wants_srtp(self.query.as_deref())
    }
    /// The reader goes by the address in the description, and wants a group there: `?vlcmulticast`.
    pub fn wants_group(&self) -> bool {
        let mut words = self.query.as_deref().unwrap_or_default().split('&');
        words.any(|q| q.trim_end_matches('/').eq_ignore_ascii_case("vlcmulticast"))
    }
}

pub(super) fn wants_srtp(query: Option<&str>) -> bool {
    let mut pairs = query.unwrap_or_default().split('&');
    pairs.any(|pair| ["srtp", "srtp=1", "srtp=true"].contains(&pair.trim_end_matches('/')))
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("path", &self.path)
            .field("stats_off", &self.stats_off)
            .finish_non_exhaustive()
    }
}

/// In which form a reader wants the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rendition {
    /// Each track in its own RTP payload format.
    Native,
    /// All tracks in one MPEG transport stream, payload type 33 (RFC 2250): VLC's `satip` module asks so.
    MpegTs,
}

/// Which way the media of a session goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// We send.
    Play,
    /// The peer sends.
    Record,
}

/// The transport of one track, as it will be told to the peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChosenTransport {
    /// The peer's ports; its host is the RTSP connection's, and never another.
    Udp { client_rtp: u16, client_rtcp: u16 },
    /// A group that the driver names with [`Answer::SetUpMulticast`]; only where [`super::Options::multicast`].
    Multicast,
    /// Channels of the interleaved frames on this connection (RFC 2326 section 10.12).
    Tcp { rtp_channel: u8, rtcp_channel: u8 },
}

/// Where a track is sent for everybody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// The group's address.
    pub destination: String,
    /// RTP and RTCP.
    pub ports: (u16, u16),
    pub ttl: u8,
}

/// One track of a session is about to be set up.
///
/// A request for a track that the session has already replaces that track's transport.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetupRequest {
    pub session: SessionId,
    /// For `Record`: what was announced on this connection.
    pub target: Target,
    /// `None` exactly when `rendition` is [`Rendition::MpegTs`]; packets of that one are called
    /// `TrackId(0)`.
    pub track: Option<TrackId>,
    pub rendition: Rendition,
    pub purpose: Purpose,
    pub transport: ChosenTransport,
    /// Packets are SRTP and SRTCP.
    pub sealed: bool,
    /// The key that a publisher told with the request.
    pub key: Option<Message>,
}

/// A question to the driver. It gives exactly one [`Answer`]; requests behind it wait for that.
///
/// `Debug` shows no SDP: the peer's address is in it.
#[derive(Clone, PartialEq, Eq)]
pub enum Ask {
    /// Wants [`Answer::Describe`].
    Describe(Target),
    /// Wants [`Answer::Announced`]. The body of the request as it came; comes at most once while a
    /// publishing session (or the announcement without one) is there.
    Announce(Target, Vec<u8>),
    /// Wants [`Answer::SetUp`].
    Setup(SetupRequest),
    /// Wants [`Answer::Playing`]. Comes again for a session that plays: a track was added, or the peer
    /// repeats itself; tracks that play go on, new ones begin.
    ///
    /// No interleaved packet may be sent before what [`super::Conn::poll`] gives after the answer.
    Play { session: SessionId },
    /// Wants [`Answer::Recording`]. Comes again after [`Event::Paused`].
    Record { session: SessionId },
    /// Wants [`Answer::Kept`]. The peer names a session that is not of this connection: perhaps it lost the
    /// one that it was set up on.
    Claim { session: SessionId },
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Describe(target) => write!(f, "Describe({target:?})"),
            Self::Announce(target, sdp) => write!(f, "Announce({target:?}, {} bytes)", sdp.len()),
            Self::Setup(request) => write!(f, "Setup({request:?})"),
            Self::Play { session } => write!(f, "Play({session:?})"),
            Self::Record { session } => write!(f, "Record({session:?})"),
            Self::Claim { session } => write!(f, "Claim({session:?})"),
        }
    }
}

/// The driver's answer to an [`Ask`]. [`Answer::Refused`] fits each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The stream's SDP, with `a=control:trackID=N` for track N.
    Describe { sdp: String },
    /// The announced SDP is accepted. `controls[N]` is what it says in `a=control` of track N, empty if
    /// nothing: the peer builds the URLs of its SETUP requests from it.
    Announced { controls: Vec<String> },
    /// The track is ready. `ssrc` is told to readers; publishers choose their own.
    SetUp { ssrc: u32 },
    /// The same for [`ChosenTransport::Multicast`].
    SetUpMulticast { ssrc: u32, group: Group },
    /// The next packets of the session's tracks. An empty list leaves the header `RTP-Info` out.
    Playing { rtp_info: Vec<RtpInfo> },
    /// The same with the header `Privacy-Receipt`, for this reader alone.
    PlayingNoted {
        rtp_info: Vec<RtpInfo>,
        receipt: ForPeer,
    },
    /// The track is ready, and sealed with a key: the base64 of a MIKEY message.
    SetUpSealed { ssrc: u32, mikey: String },
    /// The publisher may send.
    Recording,
    /// The session that was kept, if there is one that this peer may have.
    Kept(Option<Box<Kept>>),
    /// It cannot be done.
    Refused(Refusal),
}

/// A text for the peer alone: its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct ForPeer(pub String);

impl fmt::Debug for ForPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForPeer(..)")
    }
}

/// The first packet of a track after PLAY (RFC 2326 section 12.33).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RtpInfo {
    pub track: TrackId,
    pub sequence: u16,
    pub rtp_time: u32,
}

/// Why something asked for cannot be done; becomes a status line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// 404: no such path, or no such track on it.
    NotFound,
    /// 400: not a name that a path can have.
    BadPath,
    /// 503: the path is there and its stream is not, and did not come in time.
    Unavailable,
    /// 403: this listener, path or user does not allow it.
    Forbidden,
    /// 302: it is elsewhere, at this absolute URL.
    Moved { location: String },
    /// 403: somebody publishes there.
    AlreadyPublished,
    /// 400: the announced SDP cannot be read.
    BadSdp,
    /// 461: not by this transport.
    UnsupportedTransport,
    /// 551: a back channel is required where there is none.
    NoBackchannel,
    /// 463: media would be SRTP, and its key is missing or cannot be read (RFC 4567).
    NoKey,
    /// 400: another reader of the same host has these UDP ports.
    PortsTaken,
    /// 415: the stream cannot be had in the asked rendition, or not be taken in. `why` is sent to the peer.
    UnsupportedMedia { why: String },
    /// 453: a limit on readers, sessions or tracks.
    Limit,
    /// 500: a fault of ours.
    Internal,
}

/// What happened without a question.
///
/// When the connection ends, for whatever reason, all its sessions end, and no event says so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// No media from now on (play), none expected (record). Comes before the reply is sent.
    Paused { session: SessionId },
    /// The session is gone. Of a publishing session the announcement goes with it.
    TornDown { session: SessionId },
    /// One track of a playing session is gone; the session stays, and if it was the last track,
    /// [`Event::Paused`] follows.
    TrackTornDown { session: SessionId, track: TrackId },
    /// Nothing was heard of the session for [`super::Options::idle`]; it is gone, as if torn down.
    TimedOut { session: SessionId },
    /// The session is gone, as if torn down: its user may not do that on this path any more. The path is as unsafe as
    /// [`Target::path`].
    Dismissed { session: SessionId, path: String },
    /// Something was refused at a limit.
    Limited(Limit),
    /// A user may not do what was asked on this path, which is as unsafe as [`Target::path`].
    Forbidden { path: String },
    /// Somebody gave wrong credentials for this path (not: none). The path is as unsafe as
    /// [`Target::path`].
    Unauthorized { path: String },
}
