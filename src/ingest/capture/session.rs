//! One opening of a camera: what is read is decoded and shown, or passed on as it is.

use std::time::Instant;

use bytes::Bytes;

use crate::av::AvError;
use crate::av::decode::Decoder;
use crate::av::device::Coding;
use crate::av::encode;
use crate::av::frame::Frame;
use crate::av::input::Chunk;
use crate::hub::PathState;
use crate::ingest::Context;
use crate::ingest::error::CameraError;
use crate::ingest::feed::Feed;
use crate::ingest::feed::FeedError;
use crate::ingest::finder::Opened;
use crate::ingest::pace::Decimator;
use crate::ingest::pace::Pace;
use crate::ingest::passthrough::Passthrough;
use crate::ingest::quirks::Quirks;
use crate::media::AccessUnit;
use crate::media::TrackId;

/// Pictures that may wait in the driver while an encode takes long; of more, only the newest is used.
const BACKLOG: usize = 3;
/// JPEGs that are looked at for quirks after each opening.
const INSPECTED: u32 = 30;

/// What reads, decodes and passes on one opening of a camera.
pub(super) struct Session<'a> {
    context: &'a Context,
    pub(super) opened: Opened,
    bitrate: Option<u32>,
    decoder: Option<Decoder>,
    passthrough: Option<Passthrough>,
    pub(super) pace: Pace,
    decimator: Decimator,
    pub(super) last_picture: Instant,
    pub(super) quirks: Quirks,
    inspected: u32,
    ready: bool,
}

impl<'a> Session<'a> {
    pub(super) fn new(context: &'a Context, opened: Opened, bitrate: Option<u32>) -> Self {
        let plan = &opened.plan;
        let passes = plan.mode.coding == Coding::H264
            && (plan.size.width, plan.size.height) == (plan.mode.width, plan.mode.height);
        let now = context.clock.now();
        Self {
            context,
            bitrate,
            decoder: None,
            passthrough: passes.then(Passthrough::default),
            pace: Pace::new(plan.mode.rate.fps()),
            decimator: Decimator::new(plan.fps, plan.mode.rate.fps()),
            last_picture: now,
            quirks: Quirks::default(),
            inspected: 0,
            ready: false,
            opened,
        }
    }
    /// Takes what was read: passes it on, or decodes and shows it.
    pub(super) fn take(
        &mut self,
        feed: &mut Option<Feed>,
        backlog: &mut Vec<Chunk>,
        now: Instant,
    ) -> Result<(), FeedError> {
        if self.passthrough.is_none() && backlog.len() > BACKLOG {
            let old = backlog.len() - 1;
            self.context.metrics.frames_skipped.inc_by(old as u64);
            backlog.drain(..old);
        }
        for chunk in backlog.drain(..) {
            if self.passthrough.is_some() {
                self.pass(feed, chunk, now)?;
            } else {
                self.show(feed, chunk, now)?;
            }
        }
        Ok(())
    }
    /// A picture of the camera that must be decoded.
    fn show(&mut self, feed: &mut Option<Feed>, chunk: Chunk, now: Instant) -> Result<(), FeedError> {
        self.inspect(&chunk);
        if !self.decimator.keep(chunk.pts, now) {
            return Ok(());
        }
        if let Some(feed) = feed.as_mut() {
            self.report_ready();
            if !feed.wants().any() {
                return Ok(());
            }
        }
        let device_time = chunk.pts;
        let Some(frame) = self.decode(chunk)? else {
            return Ok(());
        };
        if feed.is_none() {
            // The first picture tells the range of luma, which the stream's header must have right.
            let opened = Feed::encoding(self.context, self.encoding(frame.full_range()))?;
            self.report_ready();
            *feed = Some(opened);
        }
        let feed = feed.as_mut().expect("opened above");
        let pts = feed.line.of_device(device_time, now);
        match feed.show(&frame, pts, now) {
            Ok(()) => Ok(()),
            Err(e) => {
                tracing::warn!("A picture could not be encoded: {e}.");
                self.context.metrics.frames_skipped.inc();
                Ok(())
            }
        }
    }
    /// A picture of a camera that gives H.264 itself.
    fn pass(&mut self, feed: &mut Option<Feed>, chunk: Chunk, now: Instant) -> Result<(), FeedError> {
        let Some(passthrough) = &mut self.passthrough else {
            return Ok(());
        };
        let Some(keyframe) = passthrough.look(chunk.data()) else {
            return Ok(());
        };
        let sets = passthrough.sets();
        let feed = match feed {
            Some(feed) => feed,
            None if !keyframe => return Ok(()),
            None => feed.insert(Feed::passing(self.context, self.encoding(false), sets.clone())?),
        };
        self.report_ready();
        let unit = AccessUnit {
            track: TrackId(0),
            pts: feed.line.of_device(chunk.pts, now),
            keyframe,
            data: Bytes::copy_from_slice(chunk.data()),
        };
        feed.pass(&unit, &sets);
        if !feed.wants().jpeg {
            self.decoder = None;
            return Ok(());
        }
        if self.decoder.is_none() && !keyframe {
            return Ok(());
        }
        if let Some(frame) = self.decode(chunk)?
            && let Err(e) = feed.show_jpeg(&frame)
        {
            tracing::debug!("A picture could not be made: {e}.");
        }
        Ok(())
    }
    /// Decodes one read. Damage costs the picture, not the session.
    fn decode(&mut self, chunk: Chunk) -> Result<Option<Frame>, AvError> {
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            none => none.insert(self.opened.input.decoder()?),
        };
        match decoder.push_chunk(chunk) {
            Ok(frames) => Ok(frames.into_iter().next_back()),
            Err(e) => {
                tracing::trace!("A picture of the camera was skipped: {e}.");
                self.quirks.incomplete = true;
                Ok(None)
            }
        }
    }
    fn inspect(&mut self, chunk: &Chunk) {
        if self.inspected < INSPECTED && self.opened.plan.mode.coding == Coding::Jpeg {
            self.inspected += 1;
            self.quirks = self.quirks.and(Quirks::of(chunk.data()));
        }
    }
    fn encoding(&self, full_range: bool) -> encode::Options {
        let plan = &self.opened.plan;
        encode::Options {
            width: plan.size.width & !1,
            height: plan.size.height & !1,
            fps: plan.fps,
            bitrate: self.bitrate,
            full_range,
            encoder: None,
        }
    }
    fn report_ready(&mut self) {
        if !self.ready {
            self.ready = true;
            self.context.path.report(PathState::Ready, None);
        }
    }
    /// What an error of reading means.
    pub(super) fn lost(&self, error: AvError) -> CameraError {
        match CameraError::opening(&self.opened.name, error) {
            CameraError::Unplugged { .. } => CameraError::Unplugged {
                name: self.opened.name.clone(),
            },
            other => other,
        }
    }
}
