//! SETUP: which track, which session, which transport (RFC 2326 section 10.4).

use super::Admitted;
use super::Carrier;
use super::Conn;
use super::Output;
use super::Pending;
use super::Session;
use super::Waiting;
use super::ask::Ask;
use super::ask::ChosenTransport;
use super::ask::Event;
use super::ask::Group;
use super::ask::Purpose;
use super::ask::Refusal;
use super::ask::Rendition;
use super::ask::SessionId;
use super::ask::SetupRequest;
use super::ask::Target;
use super::ask::backchannel_type;
use super::ask::wants_srtp;
use super::respond::LEAVES_TLS;
use super::respond::NO_KEY;
use super::session::Kind;
use super::session::State;
use super::session::TrackSetup;
use crate::media::TrackId;
use crate::proto::mikey;
use crate::proto::rtsp::Limit;
use crate::proto::rtsp::Request;
use crate::proto::rtsp::Response;
use crate::proto::rtsp::auth::Permit;
use crate::proto::rtsp::headers;
use crate::proto::rtsp::headers::Lower;
use crate::proto::rtsp::headers::Mode;
use crate::proto::rtsp::headers::Transport;
use crate::proto::rtsp::url::Url;

/// What a SETUP is about.
struct Subject {
    purpose: Purpose,
    rendition: Rendition,
    track: TrackId,
    target: Target,
}

/// A URL is kept for each track of thousands of sessions; with a token in it, it may have some hundred bytes.
const NAME_MAX: usize = 512;

/// How `RTP-Info` names a track: as the peer did in SETUP, without credentials, or, where that was very long, as the
/// description names it. Players take either for the track that they know.
fn name(url: &Url, track: TrackId) -> Box<str> {
    let whole = url.without_credentials();
    match whole.len() <= NAME_MAX {
        true => whole.into(),
        false => format!("trackID={}", track.0).into(),
    }
}

/// A SETUP that waits for the driver's answer.
pub(super) struct Draft {
    session: SessionId,
    purpose: Purpose,
    rendition: Rendition,
    path: String,
    track: TrackSetup,
    /// The client's spelling, for the reply.
    protocol: String,
    content_base: String,
    permit: Option<Permit>,
}

/// Why a SETUP is refused: a status, and its reason where the usual words say too little.
struct No(u16, Option<&'static str>);

impl From<u16> for No {
    fn from(status: u16) -> Self {
        Self(status, None)
    }
}

/// The session that a SETUP goes to.
enum Place {
    Existing(SessionId),
    New,
    /// A new one instead of this one, which the client has given up.
    Instead(SessionId),
}

impl Conn {
    pub(super) fn setup(&mut self, request: &Request, url: &Url, admitted: Admitted, cseq: &str) {
        match self.try_setup(request, url) {
            Ok((mut draft, ask)) => {
                draft.permit = admitted.0;
                let cseq = cseq.to_owned();
                let waiting = Waiting::Setup(Box::new(draft));
                self.pending = Some(Box::new(Pending { cseq, waiting }));
                self.out.push_back(Output::Ask(Ask::Setup(ask)));
            }
            Err(No(status, reason)) => {
                if status == 453 {
                    // A session that is named is full, or else there is none left to be had.
                    let limit = match request.header("Session") {
                        Some(_) => Limit::Tracks,
                        None => Limit::SessionsPerConnection,
                    };
                    self.out.push_back(Output::Event(Event::Limited(limit)));
                }
                match reason {
                    None => self.send_status(status, cseq),
                    Some(reason) => self.send(&Response::with_reason(status, reason).header("CSeq", cseq)),
                }
            }
        }
    }

    /// Whether somebody who publishes on this connection wants to read on it as well. It is decided as SETUP itself
    /// decides it: a publisher may call its tracks like those of another path. What will be refused reads nothing.
    pub(super) fn reads_beside_publishing(&self, request: &Request, url: &Url) -> bool {
        let Ok(offers) = self.offers(request, wants_srtp(url.query())) else {
            return false;
        };
        let subject = self.subject(request, url, offers[0].0.mode);
        subject.is_ok_and(|subject| subject.purpose == Purpose::Play)
    }

    /// All the decisions, or a status.
    fn try_setup(&mut self, request: &Request, url: &Url) -> Result<(Draft, SetupRequest), No> {
        let wish = wants_srtp(url.query());
        let offers = self.offers(request, wish)?;
        let subject = self.subject(request, url, offers[0].0.mode)?;
        let place = self.place(request, &subject, &offers)?;
        let transport = self.pick(&offers, &place, subject.track).ok_or(461u16)?;
        let sealed = transport.sealed || (wish && subject.purpose == Purpose::Play);
        let speaks = subject.purpose == Purpose::Play && backchannel_type(subject.track).is_some();
        if speaks && (sealed || transport.lower == Lower::Multicast) {
            return Err(461.into()); // there is no key for this direction, and a group has no way back
        }
        let session = self.session_of(&place);
        let chosen = self.choose(transport, session, subject.track).ok_or(461u16)?;
        let key = match request.header("KeyMgmt").map(mikey::of_header) {
            // A key that a reader offers is for its reports, which are read without.
            Some(Err(_)) if subject.purpose == Purpose::Record => return Err(No(463, Some(NO_KEY))),
            key => key.and_then(Result::ok),
        };
        let ask = SetupRequest {
            session,
            target: subject.target,
            track: (subject.rendition == Rendition::Native).then_some(subject.track),
            rendition: subject.rendition,
            purpose: subject.purpose,
            transport: chosen,
            sealed,
            key,
        };
        let draft = Draft {
            session,
            purpose: subject.purpose,
            rendition: subject.rendition,
            path: ask.target.path.clone(),
            track: TrackSetup {
                id: subject.track,
                transport: chosen,
                name: match subject.purpose {
                    Purpose::Play => name(url, subject.track),
                    Purpose::Record => Box::default(), // there is no `RTP-Info` for who sends
                },
            },
            protocol: transport.protocol.clone(),
            content_base: url.content_base(),
            permit: None,
        };
        Ok((draft, ask))
    }

    /// The offered transports that we have, best first.
    fn offers(&self, request: &Request, sealed: bool) -> Result<Vec<(Transport, Kind)>, No> {
        let all: Vec<Transport> = request
            .headers_named("Transport")
            .flat_map(Transport::parse_list)
            .collect();
        if all.is_empty() {
            return Err(400.into());
        }
        let leaves = self.options.carrier == Carrier::Tls
            && all
                .iter()
                .any(|t| matches!(t.lower, Lower::Udp | Lower::Multicast));
        let ours = |mut transport: Transport| match transport.lower {
            Lower::Tcp => Some((transport, Kind::Tcp)),
            Lower::Udp if self.options.carrier == Carrier::Tunnel => {
                (transport.lower, transport.protocol) = (
                    Lower::Tcp,
                    match transport.sealed {
                        true => "RTP/SAVP/TCP".to_owned(),
                        false => "RTP/AVP/TCP".to_owned(),
                    },
                );
                Some((transport, Kind::Tcp))
            }
            Lower::Udp => {
                let ports = transport
                    .client_port
                    .filter(|(rtp, rtcp)| *rtp != 0 && *rtcp != 0);
                let secret = sealed || transport.sealed;
                let allowed = secret || self.options.carrier == Carrier::Tcp;
                let carried = self.options.server_ports.is_some() && allowed;
                (ports.is_some() && carried).then_some((transport, Kind::Udp))
            }
            Lower::Multicast => {
                let carried = self.options.multicast && self.options.carrier == Carrier::Tcp;
                let ours = carried && transport.mode != Some(Mode::Record);
                ours.then_some((transport, Kind::Multicast))
            }
            Lower::Other => None,
        };
        let offers: Vec<_> = all.into_iter().filter_map(ours).collect();
        match offers.is_empty() {
            true if leaves => Err(No(461, Some(LEAVES_TLS))),
            true => Err(461.into()),
            false => Ok(offers),
        }
    }

    /// Which track of what. A publisher's URLs are made of the controls in its own SDP, a reader's of ours.
    fn subject(&self, request: &Request, url: &Url, mode: Option<Mode>) -> Result<Subject, u16> {
        if mode != Some(Mode::Play)
            && let Some(announced) = &self.announced
        {
            let only = announced.controls.len() == 1 && url.path() == announced.url.path();
            let named = announced
                .controls
                .iter()
                .position(|c| url.names(&announced.url, c));
            if let Some(n) = named.or(only.then_some(0)) {
                return Ok(Subject {
                    purpose: Purpose::Record,
                    rendition: Rendition::Native,
                    track: TrackId(u8::try_from(n).map_err(|_| 404u16)?),
                    target: announced.target.clone(),
                });
            }
            if mode == Some(Mode::Record) || url.path() == announced.url.path() {
                return Err(404);
            }
        }
        if mode == Some(Mode::Record) {
            return Err(455);
        }
        let described = self.described.iter().find(|(path, _)| path == url.path());
        let described = described.map(|(_, only)| *only);
        if described.is_none() && url.track().is_some() && self.described_below(url.path()) {
            return Err(404);
        }
        let (track, rendition) = match (url.track(), described) {
            (Some(track), _) => (track, Rendition::Native),
            (None, Some(Some(only))) => (only, Rendition::Native),
            (None, Some(None)) => return Err(459),
            // No DESCRIBE came before: VLC's satip module, which expects MPEG-TS.
            (None, None) => (TrackId(0), Rendition::MpegTs),
        };
        let mut target = Self::target(request, url);
        target.stats_off |= self.objected;
        Ok(Subject {
            purpose: Purpose::Play,
            rendition,
            track,
            target,
        })
    }

    /// Whether only something right below this path was described. GStreamer joins `rtsp://h/a/cam?q/` and
    /// a control as RFC 3986 wants it, to `rtsp://h/a/trackID=0`, and joins as all others do after a 404;
    /// so `a` must not be taken for its wish, even if there is an `a`.
    fn described_below(&self, path: &str) -> bool {
        let parent = |child: &str| child.rsplit_once('/').map_or("", |(parent, _)| parent).to_owned();
        self.described.iter().any(|(known, _)| parent(known) == path)
    }

    /// Which session. One that is named must fit; without a name the newest is meant if it fits, or else a
    /// new one begins.
    fn place(
        &self,
        request: &Request,
        subject: &Subject,
        offers: &[(Transport, Kind)],
    ) -> Result<Place, u16> {
        let named = request.header("Session").is_some();
        let Some(id) = self.named_session(request).map_err(|()| 454u16)? else {
            return Ok(Place::New);
        };
        let Some(session) = self.session(id) else {
            return Err(454);
        };
        let same = session.purpose == subject.purpose
            && session.rendition == subject.rendition
            && session.path == subject.target.path;
        let again = session.has(subject.track);
        let full = session.tracks.len() >= self.options.limits.tracks && !again;
        if named {
            let flows = again && session.state != State::Ready;
            if session.path != subject.target.path {
                return Err(404); // and not 455: GStreamer tries another URL after 404 alone
            }
            return match (same, flows, full) {
                (false, _, _) | (_, true, _) => Err(455),
                (_, _, true) => Err(453),
                _ => Ok(Place::Existing(id)),
            };
        }
        let kind_fits = session
            .kind()
            .is_none_or(|kind| offers.iter().any(|o| o.1 == kind));
        if same && kind_fits && !again && !full {
            return Ok(Place::Existing(id));
        }
        if subject.purpose == Purpose::Record && session.purpose == Purpose::Record {
            return Err(455); // one announcement, one publishing session
        }
        // FFmpeg, when no packet came by UDP: PAUSE, then SETUP by TCP as if nothing had been before.
        if same && !kind_fits && session.state == State::Ready {
            return Ok(Place::Instead(id));
        }
        if self.sessions.len() >= self.options.limits.sessions {
            Err(453)
        } else {
            Ok(Place::New)
        }
    }

    /// The first offer that goes with the other tracks of the session: all share one transport. A session
    /// whose only track is set up anew may change it.
    fn pick<'a>(
        &self,
        offers: &'a [(Transport, Kind)],
        place: &Place,
        track: TrackId,
    ) -> Option<&'a Transport> {
        let session = match place {
            Place::Existing(id) => self.session(*id),
            Place::New | Place::Instead(_) => None,
        };
        let others = session.filter(|s| s.tracks.iter().any(|t| t.id != track));
        let kind = others.and_then(Session::kind);
        let fits = |offer: &&(Transport, Kind)| kind.is_none_or(|k| k == offer.1);
        offers.iter().find(fits).map(|(transport, _)| transport)
    }

    fn session_of(&mut self, place: &Place) -> SessionId {
        match *place {
            Place::Existing(id) => id,
            Place::New => self.fresh_id(),
            Place::Instead(old) => {
                self.end_session(old);
                self.out
                    .push_back(Output::Event(Event::TornDown { session: old }));
                self.fresh_id()
            }
        }
    }

    /// An id that no session here has.
    fn fresh_id(&mut self) -> SessionId {
        let mut id = SessionId((self.ids)());
        while self.session(id).is_some() {
            id = SessionId(id.0.wrapping_add(1));
        }
        id
    }

    /// Ports as asked; channels as asked if they are a free pair, or else the next free pair that begins
    /// even. None if there is none.
    fn choose(&self, transport: &Transport, session: SessionId, track: TrackId) -> Option<ChosenTransport> {
        if transport.lower == Lower::Udp {
            let (client_rtp, client_rtcp) = transport.client_port?;
            return Some(ChosenTransport::Udp {
                client_rtp,
                client_rtcp,
            });
        }
        if transport.lower == Lower::Multicast {
            return Some(ChosenTransport::Multicast);
        }
        let taken = |channel: u8| {
            let others = self
                .sessions
                .iter()
                .filter_map(|s| Some((s.id, s.by_channel(channel)?.0)));
            others.into_iter().any(|owner| owner != (session, track))
        };
        let free = |(a, b): &(u8, u8)| a.checked_add(1) == Some(*b) && !taken(*a) && !taken(*b);
        let even = || (0..=254).step_by(2).map(|a| (a, a + 1)).find(free);
        let (rtp_channel, rtcp_channel) = transport.interleaved.filter(free).or_else(even)?;
        Some(ChosenTransport::Tcp {
            rtp_channel,
            rtcp_channel,
        })
    }

    /// The driver has the track ready.
    pub(super) fn set_up(
        &mut self,
        draft: Draft,
        told: u32,
        mikey: Option<&str>,
        group: Option<&Group>,
        cseq: &str,
    ) {
        // Who sends chooses it.
        let ours = draft.purpose == Purpose::Play && backchannel_type(draft.track.id).is_none();
        let ssrc = ours.then_some(told);
        let transport = match (draft.track.transport, self.options.server_ports) {
            (
                ChosenTransport::Udp {
                    client_rtp,
                    client_rtcp,
                },
                Some(server),
            ) => headers::udp_reply(&draft.protocol, (client_rtp, client_rtcp), server, ssrc),
            (
                ChosenTransport::Tcp {
                    rtp_channel,
                    rtcp_channel,
                },
                _,
            ) => headers::tcp_reply(&draft.protocol, (rtp_channel, rtcp_channel), ssrc),
            (ChosenTransport::Multicast, _) if let Some(g) = group => {
                headers::multicast_reply(&draft.protocol, &g.destination, g.ports, g.ttl, told)
            }
            (ChosenTransport::Udp { .. }, None) | (ChosenTransport::Multicast, _) => {
                return self.send(&Refusal::Internal.response(cseq));
            }
        };
        let mut reply = Self::reply(200, cseq)
            .header("Session", self.session_header(draft.session))
            .header("Transport", transport);
        if draft.rendition == Rendition::MpegTs {
            // satip compares names with case, and makes its next URL of these two.
            reply = reply
                .header("Content-Base", draft.content_base)
                .header("com.ses.streamID", "0");
        }
        if let Some(data) = mikey {
            let uri = &draft.track.name;
            reply = reply.header("KeyMgmt", format!("prot=mikey;uri=\"{uri}\";data=\"{data}\""));
        }
        let now = self.now;
        match self.session_mut(draft.session) {
            Some(session) => {
                session.put(draft.track);
                session.heard = now;
                session.permit = draft.permit;
            }
            None => {
                self.sessions.reserve_exact(1); // more than one is rare
                self.sessions.push(Session {
                    id: draft.session,
                    purpose: draft.purpose,
                    rendition: draft.rendition,
                    path: draft.path,
                    state: State::Ready,
                    tracks: vec![draft.track],
                    heard: now,
                    permit: draft.permit,
                });
            }
        }
        self.send(&reply);
    }
}
