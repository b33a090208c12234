//! What each method does, SETUP excepted (`setup`).

use super::Admitted;
use super::Announced;
use super::Carrier;
use super::Conn;
use super::DESCRIBED_MAX;
use super::Output;
use super::PENALTY;
use super::Penalty;
use super::Pending;
use super::Waiting;
use super::ask::Answer;
use super::ask::Ask;
use super::ask::Event;
use super::ask::ForPeer;
use super::ask::Purpose;
use super::ask::Refusal;
use super::ask::RtpInfo;
use super::ask::SessionId;
use super::ask::Target;
use super::ask::backchannel_type;
use super::respond::LEAVES_TLS;
use super::session::State;
use crate::media::TrackId;
use crate::proto::rtsp::Method;
use crate::proto::rtsp::Request;
use crate::proto::rtsp::Response;
use crate::proto::rtsp::auth::Action;
use crate::proto::rtsp::auth::Claim;
use crate::proto::rtsp::auth::Permit;
use crate::proto::rtsp::auth::Verdict;
use crate::proto::rtsp::headers;
use crate::proto::rtsp::url::Url;

impl Conn {
    /// One request, with everything that is the same for all methods.
    pub(super) fn request(&mut self, request: &Request) {
        let Some(cseq) = request.header("CSeq").and_then(headers::cseq) else {
            return self.send(&Response::new(400));
        };
        if request.version.0 != 1 {
            return self.send_status(505, cseq);
        }
        let required = ["Require", "Proxy-Require"]
            .into_iter()
            .flat_map(|name| request.headers_named(name));
        let unsupported: Vec<String> = required.flat_map(headers::unsupported_options).collect();
        if !unsupported.is_empty() {
            let reply = Self::reply(551, cseq).header("Unsupported", unsupported.join(", "));
            return self.send(&reply);
        }
        if request.method == Method::Other {
            return self.send_status(501, cseq);
        }
        let Some(url) = Url::parse(&request.url) else {
            return self.send_status(400, cseq);
        };
        let lacks_url = request.url.is_empty() || request.url == "*";
        let may_lack = [Method::Options, Method::GetParameter, Method::SetParameter];
        if lacks_url && !may_lack.contains(&request.method) {
            return self.send_status(400, cseq);
        }
        match self.foreign_session(request) {
            Some(session) => {
                let waiting = Waiting::Claim(Box::new(request.clone()));
                self.ask(cseq, waiting, Ask::Claim { session });
            }
            None => self.dispatch(request, &url, cseq),
        }
    }

    fn dispatch(&mut self, request: &Request, url: &Url, cseq: &str) {
        match request.method {
            Method::Describe => self.describe(request, url, cseq),
            Method::Announce => self.announce(request, url, cseq),
            Method::Setup => {
                if let Some(admitted) = self.admits(request, url, cseq) {
                    self.setup(request, url, admitted, cseq);
                }
            }
            Method::Options | Method::GetParameter | Method::SetParameter => self.keepalive(request, cseq),
            Method::Play | Method::Pause | Method::Record | Method::Teardown => {
                self.in_session(request, url, cseq);
            }
            Method::Other => self.send_status(501, cseq),
        }
    }

    /// Whether who asks may come in; if not, the reply is on its way.
    ///
    /// PLAY and the others within a session come here only with credentials: without, the session is
    /// enough, for it was set up on this very connection by somebody who had them.
    fn admits(&mut self, request: &Request, url: &Url, cseq: &str) -> Option<Admitted> {
        let Some(users) = &self.options.users else {
            return Some(Admitted(None));
        };
        let outside = [Method::Describe, Method::Announce, Method::Setup].contains(&request.method);
        let claim = Claim {
            method: request.method.as_str(),
            url,
            authorization: request.header("Authorization"),
            check_uri: outside,
        };
        match users.check(&claim, &self.nonce()) {
            Verdict::Good => {
                let action = self.action(request, url);
                let permit = users.admit(&claim);
                let holds = |p: &Permit| action.is_none_or(|action| p.holds(action, url.path()));
                if permit.as_ref().is_some_and(holds) {
                    return Some(Admitted(permit));
                }
                let path = url.path().to_owned();
                self.out.push_back(Output::Event(Event::Forbidden { path }));
                self.send_status(403, cseq);
            }
            Verdict::Missing => self.send(&self.unauthorized(cseq, false)),
            Verdict::Stale => self.send(&self.unauthorized(cseq, true)),
            Verdict::Wrong => {
                let path = url.path().to_owned();
                self.out.push_back(Output::Event(Event::Unauthorized { path }));
                let reply = self.unauthorized(cseq, false).to_bytes();
                let at = self.now + PENALTY;
                self.penalty = Some(Box::new(Penalty { at, reply }));
            }
        }
        None
    }

    /// What a request does with its path; `None` if that was asked before.
    fn action(&self, request: &Request, url: &Url) -> Option<Action> {
        match request.method {
            Method::Announce => Some(Action::Publish),
            Method::Describe => Some(Action::Read),
            // The tracks of what was announced are called as the publisher likes. Who speaks publishes.
            Method::Setup if url.track().and_then(backchannel_type).is_some() => Some(Action::Publish),
            Method::Setup if self.announced.is_none() => Some(Action::Read),
            Method::Setup => self.reads_beside_publishing(request, url).then_some(Action::Read),
            _ => None,
        }
    }
    /// What the driver needs to know of a request.
    pub(super) fn target(request: &Request, url: &Url) -> Target {
        let says = |name: &str, value: &str| {
            request
                .headers_named(name)
                .any(|v| v.trim().eq_ignore_ascii_case(value))
        };
        let query = url.query().unwrap_or_default();
        let stats_off = url.stats_off()
            || says("X-Stats", "off")
            || says("DNT", "1")
            || says("Sec-GPC", "1")
            || query
                .split('&')
                .any(|pair| pair.eq_ignore_ascii_case("stats=off"));
        Target {
            path: url.path().to_owned(),
            query: url.query().map(str::to_owned),
            stats_off,
            backchannel: request.headers_named("Require").any(headers::wants_backchannel),
            user_agent: request.header("User-Agent").map(str::to_owned),
            consent: consent_of(query)
                .or_else(|| request.header("X-Consent"))
                .map(str::to_owned),
        }
    }

    fn describe(&mut self, request: &Request, url: &Url, cseq: &str) {
        if self.admits(request, url, cseq).is_none() {
            return;
        }
        let target = Self::target(request, url);
        self.objected |= target.stats_off;
        // The description would send the player to a group, which everybody could hear.
        if self.options.carrier == Carrier::Tls && self.options.multicast && target.wants_group() {
            return self.send(&Response::with_reason(461, LEAVES_TLS).header("CSeq", cseq));
        }
        let waiting = Waiting::Describe {
            content_base: url.content_base(),
            path: target.path.clone(),
        };
        self.ask(cseq, waiting, Ask::Describe(target));
    }

    fn announce(&mut self, request: &Request, url: &Url, cseq: &str) {
        let Some(Admitted(permit)) = self.admits(request, url, cseq) else {
            return;
        };
        if self.announced.is_some() {
            return self.send_status(455, cseq);
        }
        if request.body.is_empty() {
            return self.send(&Refusal::BadSdp.response(cseq));
        }
        let target = Self::target(request, url);
        let waiting = Waiting::Announce(Box::new((url.clone(), target.clone(), permit)));
        self.ask(cseq, waiting, Ask::Announce(target, request.body.clone()));
    }

    /// OPTIONS, GET_PARAMETER and SET_PARAMETER, which are there to be sent now and then. They need no
    /// credentials: FFmpeg gives up when OPTIONS is refused.
    fn keepalive(&mut self, request: &Request, cseq: &str) {
        let Ok(session) = self.named_session(request) else {
            return self.send_status(454, cseq);
        };
        if let Some(id) = session {
            self.touch(id);
        }
        // There is no parameter that could be set; a body that only ends lines sets none.
        let sets = request.method == Method::SetParameter && !request.body.trim_ascii().is_empty();
        let mut reply = Self::reply(if sets { 451 } else { 200 }, cseq);
        if request.method == Method::Options {
            reply = reply.header("Public", Method::public());
        }
        if let Some(id) = session {
            reply = reply.header("Session", self.session_header(id));
        }
        self.send(&reply);
    }

    fn in_session(&mut self, request: &Request, url: &Url, cseq: &str) {
        let Ok(Some(id)) = self.named_session(request) else {
            // Without a session credentials are all that a request can have.
            if self.admits(request, url, cseq).is_some() {
                self.send_status(454, cseq);
            }
            return;
        };
        if request.header("Authorization").is_some() && self.admits(request, url, cseq).is_none() {
            return;
        }
        self.touch(id);
        match request.method {
            Method::Play => self.play(request, id, cseq),
            Method::Pause => self.pause(id, cseq),
            Method::Record => self.record(id, cseq),
            _ => self.teardown(url, id, cseq),
        }
    }

    /// The session that a request is about: by its header, or else the newest of this connection. An error
    /// if it names one that is not here.
    pub(super) fn named_session(&self, request: &Request) -> Result<Option<SessionId>, ()> {
        let Some(value) = request.header("Session") else {
            return Ok(self.sessions.last().map(|s| s.id));
        };
        let name = headers::session_id(value);
        let named = self
            .sessions
            .iter()
            .find(|s| super::Session::wire_id(s.id) == name);
        named.map(|s| Some(s.id)).ok_or(())
    }

    fn play(&mut self, request: &Request, id: SessionId, cseq: &str) {
        let Some(session) = self.session(id) else {
            return self.send_status(454, cseq);
        };
        if session.purpose != Purpose::Play || session.tracks.is_empty() {
            return self.send_status(455, cseq);
        }
        let range = headers::live_range(request.header("Range"));
        self.ask(
            cseq,
            Waiting::Play { session: id, range },
            Ask::Play { session: id },
        );
    }

    fn record(&mut self, id: SessionId, cseq: &str) {
        let announced = self.announced.as_ref().map_or(0, |a| a.controls.len());
        let Some(session) = self.session(id) else {
            return self.send_status(454, cseq);
        };
        let complete = session.purpose == Purpose::Record
            && !session.tracks.is_empty()
            && session.tracks.len() == announced;
        match session.state {
            State::Recording => self.send_session(200, id, cseq),
            State::Ready if complete => {
                self.ask(cseq, Waiting::Record { session: id }, Ask::Record { session: id });
            }
            State::Ready | State::Playing => self.send_status(455, cseq),
        }
    }

    fn pause(&mut self, id: SessionId, cseq: &str) {
        let Some(session) = self.session_mut(id) else {
            return self.send_status(454, cseq);
        };
        if session.state != State::Ready {
            session.state = State::Ready;
            self.out.push_back(Output::Event(Event::Paused { session: id }));
        }
        self.send_session(200, id, cseq);
    }

    /// The whole session or, as VLC does when a track is deselected, one track of a reader's.
    fn teardown(&mut self, url: &Url, id: SessionId, cseq: &str) {
        let Some(session) = self.session(id) else {
            return self.send_status(454, cseq);
        };
        match url.track() {
            Some(track) if session.purpose == Purpose::Play => self.teardown_track(id, track, cseq),
            _ => {
                let header = self.session_header(id);
                self.end_session(id);
                self.out.push_back(Output::Event(Event::TornDown { session: id }));
                self.send(&Self::reply(200, cseq).header("Session", header));
            }
        }
    }

    fn teardown_track(&mut self, id: SessionId, track: TrackId, cseq: &str) {
        let Some(session) = self.session_mut(id) else {
            return self.send_status(454, cseq);
        };
        if !session.has(track) {
            return self.send_status(404, cseq);
        }
        session.tracks.retain(|t| t.id != track);
        let ends = session.tracks.is_empty() && session.state != State::Ready;
        if ends {
            session.state = State::Ready;
        }
        self.out
            .push_back(Output::Event(Event::TrackTornDown { session: id, track }));
        if ends {
            self.out.push_back(Output::Event(Event::Paused { session: id }));
        }
        self.send_session(200, id, cseq);
    }

    fn send_session(&mut self, status: u16, id: SessionId, cseq: &str) {
        let reply = Self::reply(status, cseq).header("Session", self.session_header(id));
        self.send(&reply);
    }

    fn ask(&mut self, cseq: &str, waiting: Waiting, ask: Ask) {
        let cseq = cseq.to_owned();
        self.pending = Some(Box::new(Pending { cseq, waiting }));
        self.out.push_back(Output::Ask(ask));
    }

    /// Turns the driver's answer into the reply.
    pub(super) fn answered(&mut self, pending: Pending, answer: Answer) {
        let Pending { cseq, waiting } = pending;
        match (waiting, answer) {
            (_, Answer::Refused(refusal)) => self.send(&refusal.response(&cseq)),
            (Waiting::Describe { content_base, path }, Answer::Describe { sdp }) => {
                self.described(path, &sdp);
                let reply = Self::reply(200, &cseq).header("Content-Base", content_base);
                self.send(&reply.body("application/sdp", sdp));
            }
            (Waiting::Announce(subject), Answer::Announced { controls }) => {
                let (url, target, permit) = *subject;
                self.announced = Some(Box::new(Announced {
                    url,
                    target,
                    controls,
                    permit,
                }));
                self.send_status(200, &cseq);
            }
            (Waiting::Setup(draft), Answer::SetUp { ssrc }) => self.set_up(*draft, ssrc, None, None, &cseq),
            (Waiting::Setup(draft), Answer::SetUpSealed { ssrc, mikey }) => {
                self.set_up(*draft, ssrc, Some(&mikey), None, &cseq);
            }
            (Waiting::Setup(draft), Answer::SetUpMulticast { ssrc, group }) => {
                self.set_up(*draft, ssrc, None, Some(&group), &cseq);
            }
            (Waiting::Play { session, range }, Answer::Playing { rtp_info }) => {
                self.playing(session, range, &rtp_info, None, &cseq);
            }
            (Waiting::Play { session, range }, Answer::PlayingNoted { rtp_info, receipt }) => {
                self.playing(session, range, &rtp_info, Some(receipt), &cseq);
            }
            (Waiting::Record { session }, Answer::Recording) => {
                let now = self.now;
                if let Some(s) = self.session_mut(session) {
                    s.state = State::Recording;
                    s.heard = now;
                }
                self.send_session(200, session, &cseq);
            }
            (Waiting::Claim(request), Answer::Kept(kept)) => {
                kept.into_iter().for_each(|kept| self.adopt(*kept));
                if let Some(url) = Url::parse(&request.url) {
                    self.dispatch(&request, &url, &cseq);
                }
            }
            _ => self.send(&Refusal::Internal.response(&cseq)),
        }
    }

    fn playing(
        &mut self,
        id: SessionId,
        range: &'static str,
        values: &[RtpInfo],
        receipt: Option<ForPeer>,
        cseq: &str,
    ) {
        let header = self.session_header(id);
        let now = self.now;
        let Some(session) = self.session_mut(id) else {
            return self.send_status(454, cseq);
        };
        session.state = State::Playing;
        session.heard = now;
        let info = session.rtp_info(values);
        let mut reply = Self::reply(200, cseq)
            .header("Session", header)
            .header("Range", range);
        if let Some(info) = info {
            reply = reply.header("RTP-Info", info);
        }
        if let Some(ForPeer(receipt)) = receipt {
            reply = reply.header("Privacy-Receipt", receipt);
        }
        self.send(&reply);
    }

    /// Remembers what a path was shown with: a SETUP of its base URL means the only track.
    fn described(&mut self, path: String, sdp: &str) {
        let only = sdp.lines().filter(|l| l.starts_with("m=")).count() == 1;
        let control = sdp.lines().find_map(|l| l.strip_prefix("a=control:trackID="));
        let track = control.and_then(|n| n.parse().ok()).map_or(TrackId(0), TrackId);
        self.described.retain(|(known, _)| *known != path);
        if self.described.len() == DESCRIBED_MAX {
            self.described.remove(0);
        }
        self.described.reserve_exact(1);
        self.described.push((path, only.then_some(track)));
    }
}

/// The value of `consent=` in a query; players may put a slash behind it.
fn consent_of(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.eq_ignore_ascii_case("consent")
            .then(|| value.trim_end_matches('/'))
    })
}
