//! The one writer of a path whose pictures are made here: H.264 while somebody reads, JPEG while somebody
//! looks, nothing otherwise.
//!
//! Every picture goes through the same encoder with the same parameter sets, whether it comes from a camera
//! or is a notice that the camera is away: no player has to begin anew.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::watch;

use crate::av::AvError;
use crate::av::annexb;
use crate::av::encode;
use crate::av::encode::Encoder;
use crate::av::frame::Frame;
use crate::av::jpeg;
use crate::av::jpeg::JpegEncoder;
use crate::base::time::MediaTime;
use crate::base::time::Rate;
use crate::hub::Demand;
use crate::hub::Path;
use crate::hub::Picture;
use crate::hub::PublishError;
use crate::hub::Publisher;
use crate::ingest::Context;
use crate::ingest::timeline::TimeLine;
use crate::media::AccessUnit;
use crate::media::Codec;
use crate::media::Description;
use crate::media::MediaKind;
use crate::media::Track;
use crate::media::TrackId;
use crate::proto::h264;

/// Readers that join one after the other share a keyframe when they come within this time.
const LEAST_BETWEEN_KEYFRAMES: Duration = Duration::from_millis(500);
/// The first dynamic payload type (RFC 3551 section 6).
const PAYLOAD_TYPE: u8 = 96;

/// Why a path could not be fed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FeedError {
    #[error(transparent)]
    Av(#[from] AvError),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// What is asked for now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wants {
    pub(crate) h264: bool,
    pub(crate) jpeg: bool,
}

impl Wants {
    /// Whether a decoded picture is of any use.
    pub(crate) fn any(self) -> bool {
        self.h264 || self.jpeg
    }
}

/// Writes one path.
pub(crate) struct Feed {
    /// How pictures are encoded; their size is the path's.
    options: encode::Options,
    encoder: Option<Encoder>,
    jpeg: JpegEncoder,
    publisher: Publisher,
    demand: watch::Receiver<Demand>,
    /// The sets that the path's description has now.
    sets: Vec<Bytes>,
    /// Its time line.
    pub(crate) line: TimeLine,
    reading: bool,
    wish: bool,
    last_keyframe: Option<Instant>,
}

impl Feed {
    /// Opens the path for pictures that are encoded here.
    pub(crate) fn encoding(context: &Context, options: encode::Options) -> Result<Self, FeedError> {
        let encoder = Encoder::open(&options)?;
        tracing::info!(path = %context.name, encoder = encoder.name(), "Encoding H.264.");
        let sets = encoder.parameter_sets().to_vec();
        Self::open(context, options, sets, Some(encoder))
    }
    /// Opens the path for H.264 that a camera makes; `options` are for the notice when it is away.
    pub(crate) fn passing(
        context: &Context,
        options: encode::Options,
        sets: Vec<Bytes>,
    ) -> Result<Self, FeedError> {
        Self::open(context, options, sets, None)
    }
    fn open(
        context: &Context,
        options: encode::Options,
        sets: Vec<Bytes>,
        encoder: Option<Encoder>,
    ) -> Result<Self, FeedError> {
        // Before anybody can see the stream: nobody else shall make its pictures.
        context.path.pictures().set_made_by_source(true);
        let publisher = context.hub.publish(&context.name, description(&sets))?;
        let demand = publisher.path().demand();
        Ok(Self {
            options,
            encoder,
            jpeg: JpegEncoder::new(jpeg::QUALITY),
            publisher,
            demand,
            sets,
            line: TimeLine::new(context.clock.now()),
            reading: false,
            wish: false,
            last_keyframe: None,
        })
    }
    /// The path that is written.
    pub(crate) fn path(&self) -> &Arc<Path> {
        self.publisher.path()
    }
    /// Pixels of the path's pictures.
    pub(crate) fn size(&self) -> (u32, u32) {
        (self.options.width, self.options.height)
    }
    /// What is asked for now. Call it for every picture, wanted or not: it also notices who came and went.
    pub(crate) fn wants(&mut self) -> Wants {
        let demand = *self.demand.borrow_and_update();
        let reading = demand.readers > 0;
        if self.reading && !reading && self.encoder.is_some() {
            self.publisher.pause(); // the next reader must not begin in the past
        }
        if reading && !self.reading {
            self.last_keyframe = None; // the first reader gets a keyframe with the next picture
        }
        self.reading = reading;
        Wants {
            h264: reading,
            jpeg: demand.pictures > 0,
        }
    }
    /// Encodes a picture for those who want it.
    pub(crate) fn show(&mut self, frame: &Frame, pts: MediaTime, now: Instant) -> Result<(), AvError> {
        let wants = self.wants();
        if wants.jpeg {
            self.show_jpeg(frame)?;
        }
        if wants.h264 {
            self.show_h264(frame, pts, now)?;
        }
        Ok(())
    }
    /// Encodes a picture for those who look at stills.
    pub(crate) fn show_jpeg(&mut self, frame: &Frame) -> Result<(), AvError> {
        let made = self.jpeg.encode(frame, None)?;
        self.path().pictures().publish(Picture {
            jpeg: made.jpeg,
            width: made.width,
            height: made.height,
        });
        Ok(())
    }
    fn show_h264(&mut self, frame: &Frame, pts: MediaTime, now: Instant) -> Result<(), AvError> {
        let keyframe = self.keyframe_is_wished(now);
        if self.encoder.is_none() {
            self.encoder = Some(Encoder::open(&self.options)?);
        }
        let encoder = self.encoder.as_mut().expect("opened above");
        let sets = encoder.parameter_sets().to_vec();
        let units = match encoder.encode(frame, pts, keyframe) {
            Ok(units) => units,
            Err(e) => {
                self.encoder = None; // hardware goes away too: the next picture opens a new one
                return Err(e);
            }
        };
        self.describe(&sets);
        for unit in units {
            if unit.keyframe {
                self.last_keyframe = Some(now);
            }
            self.write(&unit);
        }
        Ok(())
    }
    /// Passes on an access unit that the camera made, with the sets that are valid for it.
    pub(crate) fn pass(&mut self, unit: &AccessUnit, sets: &[Bytes]) {
        self.encoder = None; // of a notice, which has passed
        self.describe(sets);
        self.write(unit);
    }
    fn keyframe_is_wished(&mut self, now: Instant) -> bool {
        self.wish |= self.publisher.take_keyframe_wish();
        let Some(last) = self.last_keyframe else {
            self.wish = false;
            return true;
        };
        let due = self.wish && now.saturating_duration_since(last) >= LEAST_BETWEEN_KEYFRAMES;
        self.wish &= !due;
        due
    }
    fn describe(&mut self, sets: &[Bytes]) {
        if self.sets != sets {
            self.sets = sets.to_vec();
            self.publisher.describe(description(sets));
        }
    }
    fn write(&mut self, unit: &AccessUnit) {
        if let Err(e) = self.publisher.write_unit(unit) {
            tracing::warn!("A picture could not be published: {e}.");
        }
    }
}

/// What SDP says of H.264 with these parameter sets.
fn description(sets: &[Bytes]) -> Description {
    let find = |kind| sets.iter().find(|s| annexb::kind(s) == kind);
    let fmtp = match (find(annexb::SPS), find(annexb::PPS)) {
        (Some(sps), Some(pps)) => h264::fmtp(sps, pps),
        _ => "packetization-mode=1".to_owned(),
    };
    Description {
        tracks: vec![Track {
            id: TrackId(0),
            kind: MediaKind::Video,
            codec: Codec::H264,
            payload_type: PAYLOAD_TYPE,
            rate: Rate::VIDEO,
            encoding: "H264".to_owned(),
            channels: None,
            fmtp: Some(fmtp),
        }],
    }
}
