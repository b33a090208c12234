//! What a reader is told of a stream, and the tracks by which it may speak to us.
//!
//! Not here: how descriptions are written (`proto::sdp`), who speaks (`talk`).

use std::sync::Arc;
use std::sync::Mutex;

use crate::egress::rtsp::conn::Driver;
use crate::egress::rtsp::routes::Route;
use crate::egress::rtsp::talk;
use crate::egress::rtsp::talk::Talk;
use crate::hub::Path;
use crate::hub::Stream;
use crate::media::Description;
use crate::media::TrackId;
use crate::proto::rtsp::server::Answer;
use crate::proto::rtsp::server::ChosenTransport;
use crate::proto::rtsp::server::Refusal;
use crate::proto::rtsp::server::SessionId;
use crate::proto::rtsp::server::SetupRequest;
use crate::proto::rtsp::server::Target;
use crate::proto::sdp;

const NOT_POISONED: &str = "no panic happens while the lock is held";

impl Driver {
    /// Answers DESCRIBE.
    pub(super) fn describe(
        &self,
        target: &Target,
        path: &Arc<Path>,
        stream: &Arc<Stream>,
    ) -> Result<Answer, Refusal> {
        let server = &self.server;
        if target.backchannel && server.floors.of(path).is_none() {
            return Err(Refusal::NoBackchannel);
        }
        let sdp = match target.wants_srtp() {
            true => {
                let sealed = server.sealed.of(path, stream).map_err(|_| Refusal::Internal)?;
                let shown = shown(target, stream)?;
                sdp::write_sealed(&shown, sealed.stream().id(), &sealed.mikey(), &sealed.inline())
            }
            false => self.in_the_clear(target, path, stream)?,
        };
        Ok(Answer::Describe { sdp })
    }
    /// With the tracks that the query asks for, the group's address for VLC if it asks for that, and the tracks by
    /// which the reader may speak.
    fn in_the_clear(&self, target: &Target, path: &Path, stream: &Stream) -> Result<String, Refusal> {
        let shown = shown(target, stream)?;
        let sdp = sdp::write(&shown, stream.id());
        if target.backchannel {
            return Ok(sdp::with_backchannel(&sdp, &talk::tracks()));
        }
        let groups = self.groups.as_ref().filter(|_| target.wants_group());
        Ok(groups.and_then(|g| g.describe(&sdp, path.name())).unwrap_or(sdp))
    }
    /// Answers SETUP of a track by which the reader speaks.
    pub(super) fn setup_talk(
        &mut self,
        setup: &SetupRequest,
        backchannel: &Path,
        track: TrackId,
    ) -> Result<Answer, Refusal> {
        if self.talks.get(setup.session).is_none() {
            let talk = Talk::new(&self.server.floors, backchannel);
            self.talks.insert(setup.session, Arc::new(Mutex::new(talk)));
        }
        let talk = self.talks.get(setup.session).ok_or(Refusal::Internal)?;
        match (setup.transport, &self.udp) {
            (ChosenTransport::Tcp { .. }, _) => self.close_talk_routes(talk, Some(track)),
            (
                ChosenTransport::Udp {
                    client_rtp,
                    client_rtcp,
                },
                Some(udp),
            ) => {
                let rtp = self.peer.with_port(client_rtp).expose_to_send();
                let rtcp = self.peer.with_port(client_rtcp).expose_to_send();
                let route = Route::Talker(Arc::clone(talk), track);
                // Taken out meanwhile: the sockets' own locks come first.
                let mut routes = std::mem::take(&mut talk.lock().expect(NOT_POISONED).routes);
                let moved = udp.move_route(&mut routes, (track, rtp, rtcp), &route, self.now());
                talk.lock().expect(NOT_POISONED).routes = routes;
                if !moved {
                    return Err(Refusal::PortsTaken);
                }
            }
            _ => return Err(Refusal::UnsupportedTransport),
        }
        Ok(Answer::SetUp { ssrc: 0 })
    }
    /// What a session says is no longer taken: by one of its tracks, or at all.
    pub(super) fn end_talk(&mut self, session: SessionId, track: Option<TrackId>) {
        let Some(talk) = self.talks.get(session) else {
            return;
        };
        self.close_talk_routes(talk, track);
        if track.is_none() {
            self.talks.remove(session);
        }
    }
    /// The same for all sessions.
    pub(super) fn end_talks(&self) {
        self.talks
            .values()
            .for_each(|talk| self.close_talk_routes(talk, None));
    }
    fn close_talk_routes(&self, talk: &Mutex<Talk>, track: Option<TrackId>) {
        let mut talk = talk.lock().expect(NOT_POISONED);
        let of_it = |(t, ..): &mut (TrackId, _, _)| track.is_none_or(|track| *t == track);
        let gone: Vec<_> = talk.routes.extract_if(.., of_it).collect();
        drop(talk); // the sockets' own locks come first
        for (_, rtp, rtcp) in gone {
            self.udp.iter().for_each(|udp| udp.close_route(&rtp, &rtcp));
        }
    }
}

/// The tracks that the query asks for.
fn shown(target: &Target, stream: &Stream) -> Result<Description, Refusal> {
    let shown = sdp::choose(&stream.description(), target.query.as_deref());
    match shown.tracks.is_empty() {
        true => Err(Refusal::NotFound),
        false => Ok(shown),
    }
}
