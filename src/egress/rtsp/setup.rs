//! SETUP of a reader: which stream it reads, in which form, and how it gets it.
//!
//! Not here: the words of it (`proto::rtsp`), publishers (`announce`), tracks by which readers speak (`describe`).

use std::sync::Arc;

use crate::base::peer::PeerAddr;
use crate::egress::rtsp::Server;
use crate::egress::rtsp::conn::Driver;
use crate::egress::rtsp::play::Play;
use crate::egress::rtsp::play::TrackWay;
use crate::egress::rtsp::way::Ports;
use crate::hub::Path;
use crate::hub::Stream;
use crate::media::TrackId;
use crate::privacy::RawViewer;
use crate::proto::rtsp::server::Answer;
use crate::proto::rtsp::server::ChosenTransport;
use crate::proto::rtsp::server::Refusal;
use crate::proto::rtsp::server::Rendition;
use crate::proto::rtsp::server::SetupRequest;
use crate::proto::rtsp::server::Target;
use crate::proto::rtsp::server::backchannel_type;

impl Driver {
    /// Answers SETUP of a reader.
    pub(super) async fn setup_play(&mut self, mut setup: SetupRequest) -> Result<Answer, Refusal> {
        let mut play = match self.plays.remove(setup.session) {
            Some(play) => play,
            None => {
                let (server, peer) = (Arc::clone(&self.server), self.peer.again());
                let place = server.session()?;
                Box::new(new_play(&server, peer, &mut setup).await?.sitting(place))
            }
        };
        let known = play.has_tracks() || self.talks.get(setup.session).is_some();
        let speaks = setup.track.filter(|t| backchannel_type(*t).is_some());
        if speaks.is_some() || setup.target.backchannel {
            let path = self.server.context.hub.find(play.path_name().as_str());
            let backchannel = path.and_then(|path| self.server.floors.of(&path));
            let answer = match (backchannel, speaks) {
                (Some(backchannel), Some(track)) => Some(self.setup_talk(&setup, &backchannel, track)),
                (Some(_), None) => None,
                (None, _) => Some(Err(Refusal::NoBackchannel)),
            };
            if let Some(answer) = answer {
                match answer.is_ok() || known {
                    true => self.plays.insert(setup.session, play),
                    false => self.end_talk(setup.session, None),
                }
                return answer;
            }
        }
        let way = match setup.transport {
            ChosenTransport::Tcp {
                rtp_channel,
                rtcp_channel,
            } => TrackWay::Tcp(rtp_channel, rtcp_channel),
            ChosenTransport::Udp {
                client_rtp,
                client_rtcp,
            } => TrackWay::Udp(Ports::new(
                self.peer.with_port(client_rtp).expose_to_send(),
                self.peer.with_port(client_rtcp).expose_to_send(),
            )),
            ChosenTransport::Multicast => TrackWay::Multicast,
        };
        let (track, now) = (setup.track.unwrap_or(TrackId(0)), self.now());
        let answer = match play.stream().ssrc(track) {
            None => Err(Refusal::NotFound),
            Some(_) if play.stream().is_sealed() != setup.sealed => Err(Refusal::UnsupportedTransport),
            Some(_) if !play.may_go(&way) => Err(Refusal::UnsupportedTransport),
            Some(ssrc) if matches!(way, TrackWay::Multicast) => {
                let joined = self.join_group(&mut play, &setup, ssrc, track);
                let mut set = |answer| play.set_way(track, way, None, now).then_some(answer);
                joined.and_then(|answer| set(answer).ok_or(Refusal::Internal))
            }
            Some(_) if !play.set_way(track, way, self.udp.as_ref(), now) => Err(Refusal::PortsTaken),
            Some(ssrc) => Ok(match play.sealed() {
                None => Answer::SetUp { ssrc },
                Some(sealed) => Answer::SetUpSealed {
                    ssrc,
                    mikey: sealed.mikey(),
                },
            }),
        };
        if answer.is_ok() || known {
            self.plays.insert(setup.session, play); // a refused first SETUP leaves no session behind
        }
        answer
    }
    fn join_group(
        &self,
        play: &mut Play,
        setup: &SetupRequest,
        ssrc: u32,
        track: TrackId,
    ) -> Result<Answer, Refusal> {
        let groups = self
            .groups
            .as_ref()
            .filter(|_| setup.rendition == Rendition::Native && !setup.sealed);
        let groups = groups.ok_or(Refusal::UnsupportedTransport)?;
        let group = groups
            .told(play.path_name(), play.stream(), track)
            .ok_or(Refusal::Limit)?;
        play.set_group(groups);
        Ok(Answer::SetUpMulticast { ssrc, group })
    }
}

/// The path and its stream; waits a while for a stream that is about to begin.
pub(super) async fn find(server: &Server, target: &Target) -> Result<(Arc<Path>, Arc<Stream>), Refusal> {
    let path = server.context.hub.find(&target.path).ok_or(Refusal::NotFound)?;
    if let Some(location) = path.moved_to() {
        return Err(Refusal::Moved { location });
    }
    let stream = path
        .ready(server.context.options.get().patience)
        .await
        .ok_or(Refusal::Unavailable)?;
    Ok((path, stream))
}

/// A session that reads what its first SETUP asks for. `peer` goes through the privacy door here.
async fn new_play(server: &Server, peer: PeerAddr, setup: &mut SetupRequest) -> Result<Play, Refusal> {
    let (path, stream) = find(server, &setup.target).await?;
    let name = path.name().shared();
    let agent = setup.target.take_user_agent();
    let consent = setup.target.take_consent();
    let raw = RawViewer::new(peer, agent.as_deref())
        .opt_out(setup.target.stats_off)
        .consent(consent);
    let viewer = server.context.door.admit_to(&name, raw);
    let now = server.context.clock.now();
    if setup.sealed && setup.rendition == Rendition::Native {
        let sealed = server.sealed.of(&path, &stream).map_err(|_| Refusal::Internal)?;
        return Ok(Play::new_sealed(sealed, name, viewer, now));
    }
    if setup.rendition == Rendition::Native {
        return Ok(Play::new(path.attach(), stream, name, viewer, now));
    }
    let rendition = server.renditions.of(&path, &stream).map_err(|e| {
        tracing::warn!(path = %path.name(), error = %e, "A player without DESCRIBE was refused.");
        Refusal::UnsupportedMedia { why: e.to_string() }
    })?;
    let stream = rendition.stream().ok_or(Refusal::Unavailable)?;
    Ok(Play::new(rendition.attach(), stream, name, viewer, now))
}
