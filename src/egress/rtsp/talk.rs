//! The back channel: readers speak, and what they say is a path of its own, `PATH/backchannel`, where that is configured
//! (ONVIF streaming specification, section on bidirectional connections).
//!
//! One speaks at a time: who sends first has the floor until it is silent for [`FLOOR`], pauses or leaves. Who reads the
//! back channel stays connected meanwhile. Cameras that are pulled cannot be spoken to: retina has no way to send.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::Weak;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::Notify;

use crate::base::clock::SharedClock;
use crate::base::time::Rate;
use crate::egress::rtsp::publishers::Publishers;
use crate::egress::rtsp::record::Recording;
use crate::hub::Hub;
use crate::hub::Path;
use crate::hub::PathName;
use crate::media::Codec;
use crate::media::Description;
use crate::media::MediaKind;
use crate::media::Track;
use crate::media::TrackId;
use crate::proto::rtp;
use crate::proto::rtsp::server::backchannel_track;
use crate::proto::rtsp::server::backchannel_type;
use crate::telemetry::Metrics;
use crate::telemetry::Reason;

const NOT_POISONED: &str = "no panic happens while the lock is held";
/// Who is silent for so long has said what there was to say.
const FLOOR: Duration = Duration::from_secs(2);
/// Readers of a back channel wait so long for somebody to speak again.
pub(super) const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// The tracks by which a reader may speak, as they are described.
pub(super) fn tracks() -> [Track; 2] {
    [(0, Codec::Pcmu, "PCMU"), (8, Codec::Pcma, "PCMA")].map(|(payload_type, codec, encoding)| Track {
        id: backchannel_track(payload_type),
        kind: MediaKind::Audio,
        codec,
        payload_type,
        rate: Rate::new(8_000).expect("not zero"),
        encoding: encoding.into(),
        channels: None,
        fmtp: None,
    })
}

/// All back channels.
pub(super) struct Floors {
    hub: Arc<Hub>,
    publishers: Arc<Publishers>,
    clock: SharedClock,
    metrics: Arc<Metrics>,
    /// Who speaks.
    speaks: Mutex<HashMap<PathName, Weak<Mutex<Recording>>>>,
}

impl Floors {
    /// `publishers` take paths over, and keep them for [`PATIENCE`].
    pub(super) fn new(
        hub: Arc<Hub>,
        publishers: Arc<Publishers>,
        clock: SharedClock,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        Arc::new(Self {
            hub,
            publishers,
            clock,
            metrics,
            speaks: Mutex::default(),
        })
    }
    /// The back channel of a path, if it has one.
    pub(super) fn of(&self, path: &Path) -> Option<Arc<Path>> {
        let name = format!("{}/backchannel", path.name());
        let found = self.hub.find(&name)?;
        (found.is_backchannel() && found.name().as_str() == name).then_some(found)
    }
    /// Gives somebody the floor; `None` while another one speaks.
    fn claim(&self, name: &PathName, track: &Track, now: Instant) -> Option<Arc<Mutex<Recording>>> {
        let mut speaks = self.speaks.lock().expect(NOT_POISONED);
        speaks.retain(|_, r| r.strong_count() > 0);
        if let Some(other) = speaks.get(name).and_then(Weak::upgrade) {
            let heard = other.lock().expect(NOT_POISONED).heard();
            if now.saturating_duration_since(heard) < FLOOR {
                return None;
            }
        }
        let track = Track {
            id: TrackId(0),
            ..track.clone()
        };
        let description = Description {
            tracks: vec![track.clone()],
        };
        let line = self.publishers.publish(name, description).ok()?;
        let (publishers, attention) = (Arc::clone(&self.publishers), Arc::new(Notify::new()));
        let (clock, metrics) = (self.clock.clone(), Arc::clone(&self.metrics));
        let mut recording = Recording::new(line, &[track], publishers, attention, clock, metrics);
        recording.set_running(true);
        let recording = Arc::new(Mutex::new(recording));
        self.publishers.register(name, &recording);
        speaks.insert(name.clone(), Arc::downgrade(&recording));
        tracing::info!(path = %name, "A reader speaks.");
        Some(recording)
    }
}

/// A reader that may speak.
pub(super) struct Talk {
    floors: Arc<Floors>,
    name: PathName,
    /// PLAY was answered, and PAUSE has not come since.
    running: bool,
    /// When it last sent something.
    heard: Option<Instant>,
    /// By which track it speaks, and what takes it, while it has the floor.
    floor: Option<(TrackId, Arc<Mutex<Recording>>)>,
    /// Where its tracks come from by UDP: RTP and RTCP.
    pub(super) routes: Vec<(TrackId, SocketAddr, SocketAddr)>,
}

impl Talk {
    /// `backchannel` is what it may speak to.
    pub(super) fn new(floors: &Arc<Floors>, backchannel: &Path) -> Self {
        Self {
            floors: Arc::clone(floors),
            name: backchannel.name().clone(),
            running: false,
            heard: None,
            floor: None,
            routes: Vec::new(),
        }
    }
    /// What it sends counts from now on, or no more: then others may speak.
    pub(super) fn set_running(&mut self, running: bool) {
        self.running = running;
        if !running {
            self.floor = None;
        }
    }
    /// When it last sent something.
    pub(super) fn heard(&self) -> Option<Instant> {
        self.heard
    }
    /// What takes a packet that came by one of its tracks, as that one's only track; `None` while it may not speak, or
    /// if the packet is none of such a track.
    pub(super) fn takes(
        &mut self,
        track: TrackId,
        is_rtcp: bool,
        packet: &[u8],
        now: Instant,
    ) -> Option<Arc<Mutex<Recording>>> {
        self.heard = Some(now);
        let payload_type = backchannel_type(track).filter(|_| self.running)?;
        let fits = rtp::Header::parse(packet).is_ok_and(|h| h.payload_type == payload_type);
        if !is_rtcp && !fits {
            self.floors.metrics.lose(Reason::BadInput, 1);
            return None;
        }
        if let Some((by, recording)) = &self.floor {
            let lost = recording.lock().expect(NOT_POISONED).is_taken_over();
            match *by == track && !lost {
                true => return Some(Arc::clone(recording)),
                false if is_rtcp => return None,
                false => self.floor = None, // by the other coding now, or after another one spoke
            }
        }
        if is_rtcp {
            return None;
        }
        let known = tracks().into_iter().find(|t| t.id == track)?;
        let recording = self.floors.claim(&self.name, &known, now)?;
        self.floor = Some((track, Arc::clone(&recording)));
        Some(recording)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::base::clock::Clock;
    use crate::base::clock::ManualClock;
    use crate::base::live::Live;
    use crate::egress::rtsp::Options;
    use crate::hub;

    const MU_LAW: TrackId = backchannel_track(0);
    const A_LAW: TrackId = backchannel_track(8);

    fn packet(payload_type: u8) -> Vec<u8> {
        vec![0x80, payload_type, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0xff]
    }

    /// Two readers of one path that may speak.
    fn two() -> (Arc<ManualClock>, Arc<Hub>, Talk, Talk) {
        let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        let hub = Hub::new(hub::Options::default(), clock.clone(), Metrics::new());
        let name = PathName::parse("cam").unwrap();
        let path = hub.configure(&name, "publish:");
        let speaking = Options {
            takeover: true,
            keep_readers: PATIENCE,
            ..Options::default()
        };
        let shared: SharedClock = clock.clone();
        let publishers = Publishers::new(Live::new(speaking), Arc::clone(&hub), shared);
        let floors = Floors::new(Arc::clone(&hub), publishers, clock.clone(), Metrics::new());
        assert!(floors.of(&path).is_none(), "not configured");
        hub.configure(&PathName::parse("cam/backchannel").unwrap(), "backchannel:");
        let backchannel = floors.of(&path).unwrap();
        let talk = || {
            let mut talk = Talk::new(&floors, &backchannel);
            talk.set_running(true);
            talk
        };
        (clock, hub, talk(), talk())
    }
    /// Whether it is heard.
    fn says(talk: &mut Talk, track: TrackId, payload_type: u8, clock: &ManualClock) -> bool {
        let packet = packet(payload_type);
        let takes = talk.takes(track, false, &packet, clock.now());
        takes.is_some_and(|recording| {
            recording.lock().unwrap().packet(TrackId(0), false, &packet);
            true
        })
    }

    #[test]
    fn one_speaks_at_a_time_and_silence_gives_the_floor_away() {
        let (clock, hub, mut anna, mut bob) = two();
        let path = hub.find("cam/backchannel").unwrap();
        assert!(path.stream().is_none());
        assert!(says(&mut anna, MU_LAW, 0, &clock));
        assert_eq!(path.stream().unwrap().description().tracks[0].codec, Codec::Pcmu);
        for _ in 0..5 {
            clock.advance(FLOOR - Duration::from_millis(1));
            assert!(!says(&mut bob, MU_LAW, 0, &clock));
            assert!(says(&mut anna, MU_LAW, 0, &clock));
        }
        clock.advance(FLOOR);
        assert!(
            says(&mut bob, A_LAW, 8, &clock),
            "she has said what there was to say"
        );
        assert!(!says(&mut anna, MU_LAW, 0, &clock), "now she has to wait");
        assert_eq!(path.stream().unwrap().description().tracks[0].codec, Codec::Pcma);
        bob.set_running(false);
        assert!(!says(&mut bob, A_LAW, 8, &clock), "a pause is a pause");
        assert!(path.stream().is_none());
        assert!(
            says(&mut anna, MU_LAW, 0, &clock),
            "and gives the floor away at once"
        );
    }

    #[test]
    fn reports_and_other_codings_give_nobody_the_floor() {
        let (clock, _hub, mut anna, mut bob) = two();
        assert!(!says(&mut anna, MU_LAW, 8, &clock), "not what this track is for");
        assert!(!says(&mut anna, TrackId(0), 0, &clock), "a track of the stream");
        let report = [0x80, 200, 0, 0];
        assert!(anna.takes(MU_LAW, true, &report, clock.now()).is_none());
        assert!(says(&mut bob, MU_LAW, 0, &clock));
        assert!(
            bob.takes(MU_LAW, true, &report, clock.now()).is_some(),
            "of who speaks they count"
        );
        assert!(bob.takes(A_LAW, true, &report, clock.now()).is_none());
    }
}
