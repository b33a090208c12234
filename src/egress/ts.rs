//! The MPEG-TS rendition of a path: one transport stream in one RTP track (RFC 2250, payload type 33).
//!
//! It is what stock VLC of Debian and Ubuntu can play: its RTSP access (`satip`) sends SETUP without DESCRIBE
//! and expects MPEG-TS. Muxed once per path, while somebody reads it, from the path's own packets.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::base::clock::SharedClock;
use crate::base::tasks::Tasks;
use crate::base::time::MediaTime;
use crate::base::time::NtpTime;
use crate::base::time::Rate;
use crate::hub::Hub;
use crate::hub::Next;
use crate::hub::Path;
use crate::hub::PublishError;
use crate::hub::Publisher;
use crate::hub::Reader;
use crate::hub::Stream;
use crate::hub::burst::Burst;
use crate::hub::burst::BurstKind;
use crate::media::AccessUnit;
use crate::media::Codec;
use crate::media::Description;
use crate::media::MediaKind;
use crate::media::Track;
use crate::media::TrackId;
use crate::proto::mpegts::Muxer;
use crate::proto::rtp::Depacketizer;

/// A rendition nobody reads goes away after this time.
const LINGER: Duration = Duration::from_secs(5);
/// RTP payload type of MPEG-TS (RFC 3551 table 5).
const PAYLOAD_TYPE: u8 = 33;

/// Why there is no MPEG-TS rendition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RenditionError {
    #[error("none of the stream's codecs goes into MPEG-TS; open it with a player that sends DESCRIBE")]
    Codecs,
    #[error("the rendition cannot be published")]
    Publish(#[from] PublishError),
}

/// The renditions in use, by the stream they are made from.
pub struct Renditions {
    hub: Arc<Hub>,
    tasks: Tasks,
    clock: SharedClock,
    live: Mutex<HashMap<u64, Arc<Path>>>,
}

impl Renditions {
    /// None yet; they are made as they are asked for.
    pub fn new(hub: Arc<Hub>, tasks: Tasks, clock: SharedClock) -> Arc<Self> {
        Arc::new(Self {
            hub,
            tasks,
            clock,
            live: Mutex::default(),
        })
    }
    /// The MPEG-TS rendition of a path's stream: an unlisted path of its own.
    ///
    /// # Errors
    /// When MPEG-TS can carry none of the stream's tracks.
    pub fn of(self: &Arc<Self>, path: &Arc<Path>, stream: &Arc<Stream>) -> Result<Arc<Path>, RenditionError> {
        let mut live = self.live.lock().expect("no panic happens while the lock is held");
        if let Some(rendition) = live.get(&stream.id()) {
            return Ok(Arc::clone(rendition));
        }
        let remuxer = Remuxer::new(&stream.description()).ok_or(RenditionError::Codecs)?;
        let publisher = self.hub.derive(
            path.name(),
            Description {
                tracks: vec![ts_track()],
            },
        )?;
        let rendition = Arc::clone(publisher.path());
        live.insert(stream.id(), Arc::clone(&rendition));
        let (all, path, stream) = (Arc::clone(self), Arc::clone(path), Arc::clone(stream));
        let clock = Arc::clone(&self.clock);
        self.tasks.spawn("mpeg-ts", move |stop| async move {
            let id = stream.id();
            run(&path, stream, remuxer, publisher, clock, stop).await;
            all.live
                .lock()
                .expect("no panic happens while the lock is held")
                .remove(&id);
        });
        Ok(rendition)
    }
}

/// Remuxes until the stream ends or nobody has read for a while.
async fn run(
    path: &Arc<Path>,
    stream: Arc<Stream>,
    mut remuxer: Remuxer,
    mut publisher: Publisher,
    clock: SharedClock,
    stop: CancellationToken,
) {
    let _demand = path.attach();
    let mut reader = Reader::new(Arc::clone(&stream));
    let mut demand = publisher.path().demand();
    let mut until = clock.now() + LINGER;
    loop {
        let unread = demand.borrow_and_update().readers == 0;
        if !unread {
            until = clock.now() + LINGER;
        }
        tokio::select! {
            next = reader.next() => match next {
                Next::Burst(burst) => remuxer.burst(&stream, &burst, &mut publisher),
                Next::Lagged { .. } => {}
                Next::Ended => return,
            },
            changed = demand.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(until.into()), if unread => return,
            () = stop.cancelled() => return,
        }
    }
}

/// The one track of the rendition.
fn ts_track() -> Track {
    Track {
        id: TrackId(0),
        kind: MediaKind::Video,
        codec: Codec::MpegTs,
        payload_type: PAYLOAD_TYPE,
        rate: Rate::VIDEO,
        encoding: "MP2T".to_owned(),
        channels: None,
        fmtp: None,
    }
}

/// Packets of a stream in, access units of transport stream packets out.
struct Remuxer {
    muxer: Muxer,
    tracks: Vec<Option<TrackIn>>,
    has_video: bool,
    base: Option<NtpTime>,
}

struct TrackIn {
    depacketizer: Depacketizer,
    is_video: bool,
    /// The first unit's own time, and the 90 kHz time of the rendition that it belongs to.
    origin: Option<(i64, i64)>,
}

impl Remuxer {
    fn new(description: &Description) -> Option<Self> {
        let muxer = Muxer::new(&description.tracks)?;
        let carried = |t: &&Track| !muxer.left_out().contains(&t.id);
        let has_video = description
            .tracks
            .iter()
            .filter(carried)
            .any(|t| t.kind == MediaKind::Video);
        let tracks = (description.tracks.iter())
            .map(|t| {
                let depacketizer = Some(t).filter(carried).and_then(Depacketizer::new)?;
                Some(TrackIn {
                    depacketizer,
                    is_video: t.kind == MediaKind::Video,
                    origin: None,
                })
            })
            .collect();
        Some(Self {
            muxer,
            tracks,
            has_video,
            base: None,
        })
    }
    fn burst(&mut self, stream: &Stream, burst: &Burst, publisher: &mut Publisher) {
        if burst.kind == BurstKind::Report {
            return;
        }
        let Some(Some(input)) = self.tracks.get_mut(usize::from(burst.track.0)) else {
            return;
        };
        for packet in burst.iter() {
            if input.depacketizer.push(packet).is_err() {
                continue; // a damaged packet costs its own unit; the depacketizer goes on behind it
            }
            while let Some(mut unit) = input.depacketizer.pull() {
                let Some(ticks) = input.time(stream, &unit, &mut self.base) else {
                    continue;
                };
                unit.pts = MediaTime::new(ticks, Rate::VIDEO);
                let mut packets = Vec::new();
                self.muxer.mux(&unit, &mut packets);
                let leads = !self.has_video || input.is_video;
                let out = AccessUnit {
                    track: TrackId(0),
                    pts: unit.pts,
                    keyframe: unit.keyframe && leads,
                    data: Bytes::from(packets),
                };
                let _ = publisher.write_unit(&out); // the track and its packetizer exist: made above
            }
        }
    }
}

impl TrackIn {
    /// The unit's 90 kHz time on the clock that all tracks of the rendition share. Each track's clock is
    /// tied to it once: a publisher that corrects its reports must not make the picture jump.
    fn time(&mut self, stream: &Stream, unit: &AccessUnit, base: &mut Option<NtpTime>) -> Option<i64> {
        if self.origin.is_none() {
            let ntp = stream.ntp(unit.track, unit.pts.rtp())?;
            let base = *base.get_or_insert(ntp);
            let start = (ntp.seconds_since(base) * 90_000.0) as i64;
            self.origin = Some((unit.pts.ticks, start));
        }
        let (first, start) = self.origin?;
        let since = MediaTime::new(unit.pts.ticks - first, unit.pts.rate).rescale(Rate::VIDEO);
        Some(start + since.ticks)
    }
}
