//! Replies: what each answer and refusal looks like on the wire.

use super::Conn;
use super::Session;
use super::ask::Refusal;
use super::ask::RtpInfo;
use super::ask::SessionId;
use crate::proto::rtsp::Response;
use crate::proto::rtsp::headers;

/// The advertised timeout is this much below the real one: some clients (Media Foundation) send their
/// keepalive exactly when it ends.
const GRACE_SECONDS: u64 = 5;

/// What somebody reads who comes by TLS and wants datagrams that are not sealed.
pub(super) const LEAVES_TLS: &str =
    "Unsupported Transport: it would carry in the clear what TLS hides; take TCP, or SRTP by UDP";
/// What a publisher of SRTP reads whose key we do not have.
pub(super) const NO_KEY: &str = "Key Management Failure: no key that is understood; send MIKEY in the clear, or AES_CM_128_HMAC_SHA1_80 or _32";

impl Conn {
    /// A reply to the request with this CSeq; `CSeq` comes first, and exactly so cased.
    pub(super) fn reply(status: u16, cseq: &str) -> Response {
        Response::new(status).header("CSeq", cseq)
    }

    pub(super) fn send(&mut self, response: &Response) {
        self.out.push_back(super::Output::Send(response.to_bytes()));
    }

    pub(super) fn send_status(&mut self, status: u16, cseq: &str) {
        self.send(&Self::reply(status, cseq));
    }

    /// `Session` with the timeout. It is in every reply about a session.
    pub(super) fn session_header(&self, id: SessionId) -> String {
        let seconds = self.options.idle.as_secs().saturating_sub(GRACE_SECONDS).max(1);
        format!("{};timeout={seconds}", Session::wire_id(id))
    }

    /// 401. Without wrong credentials before it, this is how every connection begins.
    pub(super) fn unauthorized(&self, cseq: &str, stale: bool) -> Response {
        let reply = Self::reply(401, cseq);
        let Some(users) = &self.options.users else {
            return reply;
        };
        let challenges = users.challenges(&self.nonce(), stale);
        challenges
            .into_iter()
            .fold(reply, |r, challenge| r.header("WWW-Authenticate", challenge))
    }
}

impl Session {
    /// `RTP-Info`, or nothing if there is nothing to say.
    pub(super) fn rtp_info(&self, values: &[RtpInfo]) -> Option<String> {
        let entry = |info: &RtpInfo| {
            let track = self.tracks.iter().find(|t| t.id == info.track)?;
            Some(headers::rtp_info(&track.name, info.sequence, info.rtp_time))
        };
        let entries: Vec<String> = values.iter().filter_map(entry).collect();
        (!entries.is_empty()).then(|| entries.join(","))
    }
}

impl Refusal {
    /// The reply. FFmpeg and GStreamer show its reason phrase to their user.
    pub(super) fn response(&self, cseq: &str) -> Response {
        let response = match self {
            Self::NotFound => Response::new(404),
            Self::BadPath => Response::with_reason(400, "Bad Request: not a path name"),
            Self::Unavailable => {
                Response::with_reason(503, "Service Unavailable: the path has no stream now")
            }
            Self::Moved { location } => Response::new(302).header("Location", location.clone()),
            Self::Forbidden => Response::new(403),
            Self::AlreadyPublished => Response::with_reason(403, "Forbidden: the path has a publisher"),
            Self::BadSdp => Response::with_reason(400, "Bad Request: SDP not understood"),
            Self::UnsupportedTransport => Response::new(461),
            Self::NoBackchannel => Response::new(551).header("Unsupported", headers::BACKCHANNEL),
            Self::NoKey => Response::with_reason(463, NO_KEY),
            Self::PortsTaken => Response::with_reason(400, "Bad Request: client ports are in use"),
            Self::UnsupportedMedia { why } => {
                Response::with_reason(415, &format!("Unsupported Media Type: {why}"))
            }
            Self::Limit => Response::with_reason(453, "Not Enough Bandwidth: limit reached"),
            Self::Internal => Response::new(500),
        };
        response.header("CSeq", cseq)
    }
}
