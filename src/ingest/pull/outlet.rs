//! The path's side of a pulled source: one stream over all of its openings, as long as they describe the
//! same.

use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;

use super::error::PullError;
use crate::base::time::MediaTime;
use crate::base::time::NtpTime;
use crate::hub::PathState;
use crate::hub::Publisher;
use crate::hub::splice::Splice;
use crate::ingest::Context;
use crate::media::AccessUnit;
use crate::media::Codec;
use crate::media::Description;
use crate::media::MediaKind;
use crate::media::Track;
use crate::media::TrackId;
use crate::proto::rtp;
use crate::telemetry::Reason;

/// After a restart pictures are held back until one that can be decoded by itself; some sources never send
/// one.
const KEYFRAME_WITHIN: Duration = Duration::from_secs(12);

/// What an open source gives.
pub(super) enum Item {
    /// One RTP packet, as the source sent it.
    Packet(TrackId, Bytes),
    /// A sender report: a moment on the source's wall clock and on the track's clock.
    Report(TrackId, NtpTime, u32),
    /// One access unit, where the source was taken apart by FFmpeg's libraries.
    Unit(AccessUnit),
}

/// Writes one path.
pub(super) struct Outlet {
    context: Context,
    /// What the present opening describes, until its first frame.
    announced: Option<Description>,
    open: Option<Open>,
}

/// The path's stream.
struct Open {
    publisher: Publisher,
    description: Description,
    splice: Splice,
    /// Tracks that wait for a keyframe, and since when.
    waits: Vec<Option<Instant>>,
    /// The track that the source's life is judged by.
    leader: TrackId,
    ready: bool,
}

impl Outlet {
    pub(super) fn new(context: &Context) -> Self {
        Self {
            context: context.clone(),
            announced: None,
            open: None,
        }
    }
    /// The source was opened and will give this. Readers hear of it with the first frame.
    pub(super) fn announce(&mut self, description: Description) {
        self.announced = Some(description);
    }
    /// Takes what came. True: it is a sign of life, a frame of the track that counts.
    ///
    /// # Errors
    /// When the path cannot be published.
    pub(super) fn take(&mut self, item: Item) -> Result<bool, PullError> {
        let now = self.context.clock.now();
        if let Some(description) = self.announced.take() {
            self.begin(description, now)?;
        }
        let wall = self.context.clock.ntp();
        let Some(open) = &mut self.open else {
            return Ok(false);
        };
        let (track, written) = match item {
            Item::Packet(track, packet) => (track, open.packet(track, &packet, now)),
            Item::Unit(unit) => (unit.track, open.unit(unit, now)),
            Item::Report(track, ntp, rtp_time) => {
                if let Some((ntp, rtp_time)) = open.splice.report(track, ntp, rtp_time, wall) {
                    open.publisher.anchor(track, ntp, rtp_time);
                }
                return Ok(false);
            }
        };
        if !written {
            self.context.metrics.lose(Reason::BadInput, 1);
            return Ok(false);
        }
        let lives = track == open.leader;
        if lives && !open.ready {
            open.ready = true;
            self.context.path.report(PathState::Ready, None);
        }
        Ok(lives)
    }
    /// Publishes what came together.
    pub(super) fn flush(&mut self) {
        if let Some(open) = &mut self.open {
            open.publisher.flush();
        }
    }
    /// The source is away: who reads hears of us all the same.
    pub(super) fn report_while_away(&mut self) {
        if let Some(open) = &mut self.open {
            open.publisher.report_while_silent();
        }
    }
    /// The source is gone for now; its stream and its readers stay.
    pub(super) fn pause(&mut self) {
        self.flush();
        self.announced = None;
        if let Some(open) = &mut self.open {
            open.ready = false;
        }
    }
    /// Ends the stream, if there is one: its readers get to know.
    pub(super) fn end(&mut self) {
        self.open = None;
    }
    /// Whether there is a stream that readers may be on.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    fn begin(&mut self, description: Description, now: Instant) -> Result<(), PullError> {
        let name = &self.context.name;
        if let Some(open) = &mut self.open {
            if let Some(merged) = merge(&open.description, &description) {
                tracing::info!(path = %name, "The source is back.");
                open.resume(merged, now);
                return Ok(());
            }
            tracing::info!(path = %name, "The source came back with other tracks: its stream begins anew.");
            self.open = None;
        }
        let publisher = self.context.hub.publish(name, description.clone())?;
        let leader = description.video().or(description.tracks.first());
        self.open = Some(Open {
            splice: Splice::new(&description),
            waits: vec![None; description.tracks.len()],
            leader: leader.map_or(TrackId(0), |t| t.id),
            publisher,
            description,
            ready: true,
        });
        Ok(())
    }
}

impl Open {
    fn resume(&mut self, description: Description, now: Instant) {
        self.splice.restart();
        for (wait, track) in self.waits.iter_mut().zip(&description.tracks) {
            *wait = (track.kind == MediaKind::Video).then_some(now);
        }
        if self.description != description {
            self.publisher.describe(description.clone());
            self.description = description;
        }
    }
    fn packet(&mut self, track: TrackId, packet: &[u8], now: Instant) -> bool {
        let Some(codec) = self.description.track(track).map(|t| t.codec) else {
            return false;
        };
        let Ok(header) = rtp::Header::parse(packet) else {
            return false;
        };
        let starts = |payload: &[u8]| rtp::starts_keyframe(codec, payload);
        if self.waits_for_keyframe(track, now, || starts(&packet[header.payload.clone()])) {
            return true;
        }
        let mut packet = packet.to_vec();
        self.splice.packet(track, &mut packet, now) && self.publisher.write_packet(track, &packet).is_ok()
    }
    fn unit(&mut self, mut unit: AccessUnit, now: Instant) -> bool {
        if self.waits_for_keyframe(unit.track, now, || unit.keyframe) {
            return true;
        }
        let Some(rate) = self.description.track(unit.track).map(|t| t.rate) else {
            return false;
        };
        let Some(time) = self
            .splice
            .unit_time(unit.track, unit.pts.rescale(rate).rtp(), now)
        else {
            return false;
        };
        unit.pts = MediaTime::new(time.into(), rate);
        self.publisher.write_unit(&unit).is_ok()
    }
    fn waits_for_keyframe(&mut self, track: TrackId, now: Instant, starts: impl FnOnce() -> bool) -> bool {
        let Some(wait) = self.waits.get_mut(usize::from(track.0)) else {
            return false;
        };
        let Some(since) = *wait else { return false };
        if starts() || now.saturating_duration_since(since) > KEYFRAME_WITHIN {
            *wait = None;
        }
        wait.is_some()
    }
}

/// The new description as the readers of the old one can go on with it; `None` if they cannot.
fn merge(old: &Description, new: &Description) -> Option<Description> {
    if old.tracks.len() != new.tracks.len() {
        return None;
    }
    let pairs = old.tracks.iter().zip(&new.tracks);
    let tracks = pairs.map(|(old, new)| {
        let same = (old.kind, old.codec, old.rate, old.channels)
            == (new.kind, new.codec, new.rate, new.channels)
            && (old.encoding.eq_ignore_ascii_case(&new.encoding))
            && same_decoder(old, new);
        same.then(|| Track {
            payload_type: old.payload_type,
            fmtp: new.fmtp.clone().or_else(|| old.fmtp.clone()),
            ..new.clone()
        })
    });
    tracks.collect::<Option<_>>().map(|tracks| Description { tracks })
}

/// Whether a decoder that was made for one takes the other. Parameter sets of video come in the stream, too.
fn same_decoder(old: &Track, new: &Track) -> bool {
    let config = |track: &Track| track.fmtp_param("config").map(str::to_ascii_lowercase);
    match old.codec {
        Codec::H264 | Codec::H265 | Codec::Jpeg | Codec::Vp8 | Codec::Vp9 | Codec::MpegTs => true,
        Codec::Opus | Codec::Pcma | Codec::Pcmu => true,
        Codec::Aac | Codec::AacLatm | Codec::Mpeg4Visual => config(old) == config(new),
        _ => old.fmtp == new.fmtp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::sdp;

    fn described(text: &str) -> Description {
        sdp::parse(text.as_bytes()).unwrap().0
    }

    const H264: &str = "m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\n";

    #[test]
    fn readers_go_on_when_only_parameter_sets_and_payload_types_change() {
        let old = described(&format!(
            "{H264}a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0I=,aM4=\n"
        ));
        let new = described("m=video 0 RTP/AVP 97\na=rtpmap:97 h264/90000\na=fmtp:97 packetization-mode=1\n");
        let merged = merge(&old, &new).unwrap();
        assert_eq!(merged.tracks[0].payload_type, 96);
        assert_eq!(merged.tracks[0].fmtp.as_deref(), Some("packetization-mode=1"));
        let bare = described(H264);
        assert_eq!(merge(&old, &bare).unwrap().tracks[0].fmtp, old.tracks[0].fmtp);
    }

    #[test]
    fn other_tracks_codecs_and_configurations_are_another_stream() {
        let old = described(H264);
        let h265 = described("m=video 0 RTP/AVP 96\na=rtpmap:96 H265/90000\n");
        assert_eq!(merge(&old, &h265), None);
        let more = described(&format!("{H264}m=audio 0 RTP/AVP 8\n"));
        assert_eq!(merge(&old, &more), None);
        let aac = |config: &str| {
            described(&format!(
                "m=audio 0 RTP/AVP 97\na=rtpmap:97 mpeg4-generic/48000/2\na=fmtp:97 config={config}\n"
            ))
        };
        assert_eq!(merge(&aac("1190"), &aac("1210")), None);
        assert!(merge(&aac("11B0"), &aac("11b0")).is_some());
    }
}
