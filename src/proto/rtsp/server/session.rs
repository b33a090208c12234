//! The state of one session: its tracks, their transports, and how long it may be silent.

use std::time::Duration;
use std::time::Instant;

use super::ask::ChosenTransport;
use super::ask::Purpose;
use super::ask::Rendition;
use super::ask::SessionId;
use super::ask::backchannel_type;
use crate::media::TrackId;
use crate::proto::rtsp::auth::Action;
use crate::proto::rtsp::auth::Permit;

/// Whether media flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Set up, or paused.
    Ready,
    Playing,
    Recording,
}

/// Where a transport puts its packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Udp,
    Multicast,
    Tcp,
}

impl Kind {
    pub(super) fn of(transport: ChosenTransport) -> Self {
        match transport {
            ChosenTransport::Udp { .. } => Self::Udp,
            ChosenTransport::Multicast => Self::Multicast,
            ChosenTransport::Tcp { .. } => Self::Tcp,
        }
    }
}

/// A track that is set up.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct TrackSetup {
    pub(super) id: TrackId,
    pub(super) transport: ChosenTransport,
    /// How `RTP-Info` names it.
    pub(super) name: Box<str>,
}

/// One session. While its connection lives, no other one can name it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) purpose: Purpose,
    pub(super) rendition: Rendition,
    pub(super) path: String,
    pub(super) state: State,
    pub(super) tracks: Vec<TrackSetup>,
    /// When it was last heard of.
    pub(super) heard: Instant,
    /// What its user was let in by; none on a listener that is open.
    pub(super) permit: Option<Permit>,
}

impl Session {
    /// The id on the wire. No dashes: they confuse some clients.
    pub(super) fn wire_id(id: SessionId) -> String {
        format!("{:016x}", id.0)
    }

    /// The transport that all tracks share; none while there are no tracks.
    pub(super) fn kind(&self) -> Option<Kind> {
        self.tracks.first().map(|t| Kind::of(t.transport))
    }

    /// Whether its user may still do what is done here.
    pub(super) fn may_go_on(&self) -> bool {
        let speaks = self.tracks.iter().any(|t| backchannel_type(t.id).is_some());
        let actions = match self.purpose {
            Purpose::Record => &[Action::Publish][..],
            Purpose::Play if speaks => &[Action::Read, Action::Publish],
            Purpose::Play => &[Action::Read],
        };
        let holds = |p: &Permit| actions.iter().all(|action| p.holds(*action, &self.path));
        self.permit.as_ref().is_none_or(holds)
    }

    pub(super) fn has(&self, track: TrackId) -> bool {
        self.tracks.iter().any(|t| t.id == track)
    }

    /// When the session ends, if nothing more is heard. A reader by TCP may be silent for ever: many are,
    /// and the driver notices by its writes when it is gone.
    pub(super) fn ends_at(&self, idle: Duration) -> Option<Instant> {
        let silent_reader = self.state == State::Playing && self.kind() == Some(Kind::Tcp);
        (!silent_reader).then(|| self.heard + idle)
    }

    /// Sets a track up, or anew.
    pub(super) fn put(&mut self, track: TrackSetup) {
        match self.tracks.iter_mut().find(|t| t.id == track.id) {
            Some(old) => *old = track,
            None => {
                self.tracks.reserve_exact(1); // two are the rule, and a list that grows by itself has room for four
                self.tracks.push(track);
            }
        }
    }

    /// The track whose channel this is, and whether the channel is that of RTCP.
    pub(super) fn by_channel(&self, channel: u8) -> Option<(TrackId, bool)> {
        self.tracks.iter().find_map(|t| match t.transport {
            ChosenTransport::Tcp { rtp_channel, .. } if rtp_channel == channel => Some((t.id, false)),
            ChosenTransport::Tcp { rtcp_channel, .. } if rtcp_channel == channel => Some((t.id, true)),
            _ => None,
        })
    }
}
