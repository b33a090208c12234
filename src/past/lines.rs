//! Lines of logs to records. Pure; whatever bytes come, nothing panics and nothing of a line is kept but its record.

use std::net::IpAddr;
use std::net::SocketAddr;

use jiff::tz::TimeZone;

use crate::base::peer::PeerAddr;
use crate::past::mediamtx::MediaMtx;
use crate::past::owncast;
use crate::past::requests;

/// Whose log it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// nginx's and Apache's common and combined logs: one line for each request.
    Requests,
    /// Icecast's: combined, and the seconds that the listener stayed.
    Icecast,
    /// MediaMTX's log, as text or as JSON.
    MediaMtx,
    /// Owncast's list of viewers, in JSON.
    Owncast,
}

impl Format {
    /// Whether records are of requests, of which many make a session. Else each is a session.
    pub fn has_requests(self) -> bool {
        matches!(self, Self::Requests)
    }

    /// Days that may be open at a time. Lines of requests come in the order of time but for some minutes around
    /// midnight; lines of sessions when they end, up to `LONGEST` after they began.
    pub fn open_days(self) -> usize {
        match self {
            Self::Requests => 2,
            _ => 2 + (LONGEST / 86_400) as usize,
        }
    }
}

/// What carried the media. A closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carrier {
    RtspTcp,
    RtspUdp,
    Hls,
    WebRtc,
    Rtmp,
    Srt,
    Moq,
    Mjpeg,
    Mp4,
    /// Any other stream over HTTP: Icecast's, FLV, WebM.
    Http,
}

impl Carrier {
    /// The protocol's word in the statistics.
    pub fn protocol(self) -> &'static str {
        match self {
            Self::RtspTcp | Self::RtspUdp => "rtsp",
            Self::Hls => "hls",
            Self::WebRtc => "webrtc",
            Self::Rtmp => "rtmp",
            Self::Srt => "srt",
            Self::Moq => "moq",
            Self::Mjpeg => "mjpeg",
            Self::Mp4 => "mp4",
            Self::Http => "http",
        }
    }
    /// What was below it.
    pub fn transport(self) -> &'static str {
        match self {
            Self::RtspUdp | Self::WebRtc | Self::Srt | Self::Moq => "udp",
            _ => "tcp",
        }
    }
}

/// Somebody watched something. Neither printed nor copied; address and agent can be handed on once.
pub struct Record {
    pub(super) peer: PeerAddr,
    pub(super) agent: String,
    /// Whether the query said not to be counted. All else of a query is stepped over.
    pub(super) objects: bool,
    /// What was asked for, as it was written, without a query.
    pub(super) path: String,
    pub(super) carrier: Carrier,
    /// Seconds since 1970.
    pub(super) from: i64,
    /// Not before `from`; the same where the log does not say how long.
    pub(super) to: i64,
}

impl Record {
    /// From when to when, in seconds since 1970.
    pub fn span(&self) -> (i64, i64) {
        (self.from, self.to)
    }
}

/// What a line says.
pub enum Line {
    /// Somebody watched.
    Watched(Record),
    /// Something else.
    Other,
    /// It is none of this format.
    Broken,
}

impl Line {
    /// A line that was read as far as it had to be.
    pub(super) fn of(record: Option<Record>) -> Self {
        record.map_or(Self::Other, Self::Watched)
    }
}

/// Reads lines in turn; some formats need more than one for a record.
pub struct Reader {
    format: Format,
    mediamtx: MediaMtx,
}

/// Longest time that one record may last, in seconds: a week.
pub(super) const LONGEST: i64 = 7 * 86_400;

impl Reader {
    /// A reader of this format. `zone`: of the machine that wrote times without a zone.
    pub fn new(format: Format, zone: TimeZone) -> Self {
        Self {
            format,
            mediamtx: MediaMtx::new(zone),
        }
    }

    /// Reads one line (of Owncast: one object), without what ends it.
    pub fn line(&mut self, line: &str) -> Line {
        if line.trim().is_empty() {
            return Line::Other;
        }
        let read = match self.format {
            Format::Requests => requests::request(line),
            Format::Icecast => requests::icecast(line),
            Format::MediaMtx => self.mediamtx.line(line),
            Format::Owncast => owncast::viewer(line),
        };
        read.unwrap_or(Line::Broken)
    }

    /// When a line was written, in seconds since 1970 (of Owncast: when its viewer came).
    pub fn written(&mut self, line: &str) -> Option<i64> {
        match (self.line(line), self.format) {
            (Line::Broken, _) => None,
            (_, Format::Requests | Format::Icecast) => requests::written(line),
            (_, Format::MediaMtx) => self.mediamtx.written(line),
            (Line::Watched(record), Format::Owncast) => Some(record.from),
            (Line::Other, Format::Owncast) => None,
        }
    }

    /// Sessions that began and of which no end was read: nobody knows how long they lasted.
    pub fn unfinished(&self) -> usize {
        self.mediamtx.unfinished()
    }
}

/// An address, with or without a port.
pub(super) fn peer(text: &str) -> Option<PeerAddr> {
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return Some(PeerAddr::new(addr));
    }
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let bare = bare.unwrap_or(text).split('%').next().unwrap_or_default();
    bare.parse::<IpAddr>()
        .ok()
        .map(|ip| PeerAddr::new(SocketAddr::new(ip, 0)))
}
