//! Publishers on one connection: ANNOUNCE, SETUP, and the reports that go back to them.
//!
//! Not here: their media (`record`), who may follow whom (`publishers`).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Instant;

use crate::base::seats::Taken;
use crate::egress::rtsp::conn::Driver;
use crate::egress::rtsp::few::Few;
use crate::egress::rtsp::record::Recording;
use crate::egress::rtsp::routes::Route;
use crate::egress::rtsp::way;
use crate::hub::PathName;
use crate::hub::PublishError;
use crate::media::TrackId;
use crate::proto::rtsp::server::Answer;
use crate::proto::rtsp::server::ChosenTransport;
use crate::proto::rtsp::server::Refusal;
use crate::proto::rtsp::server::SetupRequest;
use crate::proto::rtsp::server::Target;
use crate::proto::sdp;
use crate::proto::sdp::Keying;
use crate::proto::sdp::SdpError;
use crate::telemetry::Limit;
use crate::telemetry::Reason;

const NOT_POISONED: &str = "no panic happens while the lock is held";

/// A publishing session: the stream, and the addresses it comes from by UDP.
pub(super) struct Record {
    /// It counts as a session for as long as it lives.
    _place: Taken,
    pub(super) recording: Arc<Mutex<Recording>>,
    pub(super) routes: Vec<(TrackId, SocketAddr, SocketAddr)>,
    /// Where reports on each track go that was set up.
    pub(super) reports: Vec<(TrackId, ReportTo)>,
}

/// The way back to a publisher.
#[derive(Clone, Copy)]
pub(super) enum ReportTo {
    /// This channel of the connection.
    Channel(u8),
    /// This address, as announced.
    Address(SocketAddr),
}

impl Driver {
    pub(super) fn announce(&mut self, target: &Target, body: &[u8]) -> Result<Answer, Refusal> {
        let context = &self.server.context;
        let options = context.options.get();
        let name = PathName::parse(&target.path).map_err(|_| Refusal::BadPath)?;
        let taken = context
            .hub
            .find(name.as_str())
            .is_some_and(|path| !path.takes_publishers());
        if taken || !options.publish {
            // A name that nobody configured may hold what is nobody's business: it is not told.
            match taken {
                true => self.refused(Some(&name), "this path has a source of its own"),
                false => self.refused(None, "[publish] does not allow it"),
            }
            return Err(Refusal::Forbidden);
        }
        let (description, controls) = sdp::parse(body).map_err(|e| {
            tracing::warn!(path = %name, error = %e, "A publisher announced a stream that cannot be read.");
            match e {
                SdpError::TooManyTracks { .. } => self.too_many_tracks(),
                _ => Refusal::BadSdp,
            }
        })?;
        if description.tracks.len() > options.limits.of_connection.tracks {
            tracing::warn!(path = %name, "A publisher announced more tracks than [limits] allows.");
            return Err(self.too_many_tracks());
        }
        let keys = sdp::keys(body);
        if keys.contains(&Keying::Unreadable) {
            tracing::warn!(path = %name, "A publisher announced SRTP with a key that is not understood.");
            return Err(Refusal::NoKey);
        }
        let tracks = description.tracks.clone();
        let publishers = &self.server.publishers;
        let line = publishers.publish(&name, description).map_err(|e| match e {
            PublishError::AlreadyPublished => {
                self.refused(
                    Some(&name),
                    "the path has one; [publish] takeover lets the newest win",
                );
                Refusal::AlreadyPublished
            }
            PublishError::TooManyPaths => {
                context.metrics.limit(Limit::PublishedPaths);
                Refusal::Limit
            }
            PublishError::NoTracks => Refusal::BadSdp,
            PublishError::NoRandomness => Refusal::Internal,
        })?;
        tracing::info!(path = %name, tracks = controls.len(), "A publisher came.");
        let (clock, metrics) = (context.clock.clone(), Arc::clone(&context.metrics));
        let attention = Arc::clone(&self.attention);
        let mut recording = Recording::new(line, &tracks, Arc::clone(publishers), attention, clock, metrics);
        for (n, keying) in (0..).zip(&keys) {
            match keying {
                Keying::Key(message) => recording.unseal(TrackId(n), message),
                Keying::Missing | Keying::Unreadable => recording.expect_sealed(TrackId(n)),
                Keying::Clear => {}
            }
        }
        let recording = Arc::new(Mutex::new(recording));
        publishers.register(&name, &recording);
        self.announced = Some(recording);
        Ok(Answer::Announced { controls })
    }
    /// Tells the operator why a publisher cannot publish, now and then.
    fn refused(&self, path: Option<&PathName>, why: &str) {
        let Some(more) = self.server.refusals.tell(self.now()) else {
            return;
        };
        let path = path.map_or("", PathName::as_str);
        tracing::warn!(path, more, "A publisher was refused: {why}.");
    }
    fn too_many_tracks(&self) -> Refusal {
        self.server.context.metrics.limit(Limit::Tracks);
        Refusal::Limit
    }
    pub(super) fn setup_record(&mut self, setup: &SetupRequest) -> Result<Answer, Refusal> {
        let track = setup.track.ok_or(Refusal::NotFound)?;
        // The first SETUP makes the session; one that is refused leaves the announcement for another try.
        let mut record = match self.records.remove(setup.session) {
            Some(record) => record,
            None => Record {
                _place: self.server.session()?,
                recording: self.announced.take().ok_or(Refusal::Internal)?,
                routes: Vec::new(),
                reports: Vec::new(),
            },
        };
        let known = {
            let mut recording = record.recording.lock().expect(NOT_POISONED);
            if let (Some(key), true) = (&setup.key, setup.sealed) {
                recording.unseal(track, key);
            }
            recording.is_sealed(track) || !(setup.sealed || recording.expects_sealed(track))
        };
        let opened = match known {
            true => self.open_publisher_routes(&mut record, setup.transport, track),
            false => Err(Refusal::NoKey),
        };
        if opened.is_ok() {
            let to = match setup.transport {
                ChosenTransport::Tcp { rtcp_channel, .. } => Some(ReportTo::Channel(rtcp_channel)),
                ChosenTransport::Udp { client_rtcp, .. } => Some(ReportTo::Address(
                    self.peer.with_port(client_rtcp).expose_to_send(),
                )),
                ChosenTransport::Multicast => None, // nobody publishes so
            };
            record.reports.retain(|(known, _)| *known != track);
            record.reports.extend(to.map(|to| (track, to)));
        }
        if !record.reports.is_empty() {
            self.records.insert(setup.session, record);
        } else {
            self.announced = Some(record.recording);
        }
        opened.map(|()| Answer::SetUp { ssrc: 0 })
    }
    fn open_publisher_routes(
        &self,
        record: &mut Record,
        transport: ChosenTransport,
        track: TrackId,
    ) -> Result<(), Refusal> {
        let ChosenTransport::Udp {
            client_rtp,
            client_rtcp,
        } = transport
        else {
            return Ok(());
        };
        let udp = self.udp.as_ref().ok_or(Refusal::UnsupportedTransport)?;
        let rtp = self.peer.with_port(client_rtp).expose_to_send();
        let rtcp = self.peer.with_port(client_rtcp).expose_to_send();
        let route = Route::Publisher(Arc::clone(&record.recording), track);
        match udp.move_route(&mut record.routes, (track, rtp, rtcp), &route, self.now()) {
            true => Ok(()),
            false => Err(Refusal::PortsTaken),
        }
    }
    /// When publishers are told next how their packets arrive.
    pub(super) fn reports_due(&self) -> Option<Instant> {
        let due = |r: &Record| r.recording.lock().expect(NOT_POISONED).reports_due();
        self.records.values().filter_map(due).min()
    }
    /// Tells publishers how their packets arrive. One that does not read is told nothing more for now.
    pub(super) fn report(&self, now: Instant) -> io::Result<()> {
        for record in self.records.values() {
            let reports = record.recording.lock().expect(NOT_POISONED).take_reports(now);
            for (track, packet) in reports {
                let to = record
                    .reports
                    .iter()
                    .find(|(t, _)| *t == track)
                    .map(|(_, to)| *to);
                match (to, &self.udp) {
                    (Some(ReportTo::Channel(channel)), _) if !self.out.is_full() => {
                        let frame = way::framed(channel, &packet);
                        self.out.write(frame.iter())?;
                    }
                    (Some(ReportTo::Address(to)), Some(udp)) => udp.report_to(&packet, to),
                    _ => {}
                }
            }
        }
        Ok(())
    }
    /// Whether another publisher has a path that was published here.
    pub(super) fn is_taken_over(&self) -> bool {
        let mut all = self.records.values().map(|r| &r.recording).chain(&self.announced);
        all.any(|r| r.lock().expect(NOT_POISONED).is_taken_over())
    }
    /// When a publisher here has sent no media for too long.
    pub(super) fn silent_at(&self) -> Option<Instant> {
        let all = self.records.values().map(|r| &r.recording).chain(&self.announced);
        let since = all.filter_map(|r| r.lock().expect(NOT_POISONED).silent_since());
        Some(since.min()? + self.server.context.options.get().silence())
    }
    /// Ends the publishers here, if one has sent no media for too long; whether that was so.
    pub(super) fn end_silent(&mut self, now: Instant) -> bool {
        if self.silent_at().is_none_or(|at| now < at) {
            return false;
        }
        let seconds = self.server.context.options.get().silence().as_secs();
        let all = self.records.values().map(|r| &r.recording).chain(&self.announced);
        for recording in all {
            let recording = recording.lock().expect(NOT_POISONED);
            if let Some(path) = recording.path() {
                tracing::warn!(%path, seconds, "A publisher was ended: it kept its session without sending media.");
                self.server.context.metrics.lose(Reason::PublisherSilent, 1);
            }
        }
        // Now, and not when its socket is closed: who sees that may come back at once.
        self.records.values().for_each(|record| self.close_routes(record));
        (self.records, self.announced) = (Few::default(), None);
        true
    }
    pub(super) fn close_routes(&self, record: &Record) {
        for (_, rtp, rtcp) in &record.routes {
            self.udp.iter().for_each(|udp| udp.close_route(rtp, rtcp));
        }
    }
}
