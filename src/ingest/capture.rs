//! A camera as a source: read without waiting, decoded only while somebody asks, replaced by a notice while
//! it is away.
//!
//! Two threads: this one reads, decodes, encodes and draws the notice; another finds and opens the camera,
//! which can take seconds. A camera is judged by the age of its last picture.

use std::sync::mpsc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

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
use crate::ingest::finder;
use crate::ingest::finder::BackOff;
use crate::ingest::finder::Opened;
use crate::ingest::finder::Wanted;
use crate::ingest::pace::Decimator;
use crate::ingest::pace::Pace;
use crate::ingest::pace::nap;
use crate::ingest::passthrough::Passthrough;
use crate::ingest::pattern::time_of_day;
use crate::ingest::placeholder;
use crate::ingest::placeholder::Notice;
use crate::ingest::quirks::Quirks;
use crate::ingest::source::Ask;
use crate::media::AccessUnit;
use crate::media::TrackId;
use crate::telemetry::Reason;

/// A camera that gives nothing for this long is opened again. A slow one takes seconds for its first picture.
const STALLED: Duration = Duration::from_secs(10);
/// A camera that gives nothing for this long is covered by the notice.
const SILENT: Duration = Duration::from_millis(1500);
/// Longest wait for a picture, so that the end of the program is noticed.
const LOOK: Duration = Duration::from_millis(50);
/// A camera that worked for this long was fine: it is looked for at once.
const WORKED: Duration = Duration::from_secs(5);
/// Pictures that may wait in the driver while an encode takes long; of more, only the newest is used.
const BACKLOG: usize = 3;
/// JPEGs that are looked at for quirks after each opening.
const INSPECTED: u32 = 30;

/// Feeds the path from a camera until `stop`.
pub(crate) fn run(context: &Context, device: Option<String>, ask: &Ask, stop: &CancellationToken) {
    let mut capture = Capture {
        context,
        ask: *ask,
        wanted: device.map_or(Wanted::First, Wanted::Named),
        feed: None,
        notice: Notice::Waiting,
        notice_due: context.clock.now(),
        back_off: BackOff::default(),
        said: String::new(),
        quirks: Quirks::default(),
        stop,
    };
    while let Some(opened) = capture.wait_for_camera() {
        let name = opened.name.clone();
        tracing::info!(path = %context.name, "Capturing {name}: {}.", opened.plan.mode);
        let began = context.clock.now();
        let error = match capture.session(opened) {
            Ok(()) => return,
            Err(Ended::Camera(e)) => e.to_string(),
            Err(Ended::Feed(e)) => {
                capture.feed = None;
                e.to_string()
            }
        };
        tracing::warn!(path = %context.name, "Capture of {name} ended: {error}.");
        context.metrics.lose(Reason::Device, 1);
        context.path.report(PathState::Waiting, Some(error.clone()));
        capture.said = error;
        if context.clock.now().saturating_duration_since(began) > WORKED {
            capture.back_off = BackOff::default();
        }
    }
}

/// Why a session with an open camera ended.
#[derive(Debug)]
enum Ended {
    Camera(CameraError),
    Feed(FeedError),
}

impl From<FeedError> for Ended {
    fn from(e: FeedError) -> Self {
        Self::Feed(e)
    }
}

struct Capture<'a> {
    context: &'a Context,
    ask: Ask,
    wanted: Wanted,
    feed: Option<Feed>,
    notice: Notice,
    notice_due: Instant,
    back_off: BackOff,
    /// The error that was logged last.
    said: String,
    quirks: Quirks,
    stop: &'a CancellationToken,
}

impl Capture<'_> {
    /// Waits until the camera is open, and shows the notice meanwhile. `None`: the program ends.
    fn wait_for_camera(&mut self) -> Option<Opened> {
        let (give, take) = mpsc::sync_channel(1);
        let (context, wanted, ask) = (self.context.clone(), self.wanted.clone(), self.ask);
        let said = std::mem::take(&mut self.said);
        // A camera that opens and then fails must not be opened without end and pause.
        let first_wait = match self.wanted {
            Wanted::Same(..) => self.back_off.next(random()),
            _ => Duration::ZERO,
        };
        let opener = move |stop: CancellationToken| {
            nap(first_wait, &stop);
            open_at_last(&context, &wanted, &ask, said, &give, &stop);
        };
        if let Err(e) = self.context.tasks.spawn_thread("camera opener", opener) {
            tracing::error!("No thread for opening the camera: {e}.");
            return None;
        }
        loop {
            match take.recv_timeout(placeholder::EVERY / 2) {
                Ok(opened) => return Some(opened),
                Err(RecvTimeoutError::Timeout) => self.show_notice(),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }
    /// Draws the notice if it is time and somebody looks.
    fn show_notice(&mut self) {
        let now = self.context.clock.now();
        let Some(feed) = &mut self.feed else { return };
        if now < self.notice_due || !feed.wants().any() {
            return;
        }
        self.notice_due = now + placeholder::EVERY;
        let (width, height) = feed.size();
        let clock = time_of_day(self.context.clock.wall());
        let pts = feed.line.now(now);
        let shown = placeholder::draw(width, height, self.notice, &clock[..8.min(clock.len())])
            .and_then(|frame| feed.show(&frame, pts, now));
        if let Err(e) = shown {
            tracing::debug!("The notice could not be shown: {e}.");
        }
    }
    /// Reads an open camera until it is gone (an error) or the program ends.
    fn session(&mut self, opened: Opened) -> Result<(), Ended> {
        self.wanted = Wanted::Same(opened.identity.clone(), opened.name.clone());
        self.context.metrics.source_starts.inc();
        self.notice = Notice::Waiting;
        if let Some(feed) = &mut self.feed {
            feed.line.forget_device();
        }
        let mut session = Session::new(self.context, opened, self.ask.bitrate)?;
        let mut backlog: Vec<Chunk> = Vec::new();
        while !self.stop.is_cancelled() {
            let now = self.context.clock.now();
            match session.opened.input.read() {
                Ok(Some(chunk)) => {
                    self.context.metrics.frames_captured.inc();
                    backlog.push(chunk);
                    if backlog.len() < 32 {
                        continue; // is there more?
                    }
                }
                Ok(None) => {}
                Err(AvError::Damaged(_)) => {
                    session.quirks.incomplete = true;
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(e) => {
                    self.notice = Notice::Unplugged;
                    return Err(Ended::Camera(session.lost(e)));
                }
            }
            if backlog.is_empty() {
                let silent = now.saturating_duration_since(session.last_picture);
                if silent > STALLED {
                    let name = session.opened.name.clone();
                    return Err(Ended::Camera(CameraError::Stalled { name }));
                }
                if silent > SILENT {
                    self.show_notice();
                }
                session.opened.input.wait(LOOK, session.pace.wait(now));
                continue;
            }
            session.pace.arrived(now);
            session.last_picture = now;
            session.take(&mut self.feed, &mut backlog, now)?;
            self.report_quirks(session.quirks);
        }
        Ok(())
    }
    /// Says once what is odd about this camera's pictures.
    fn report_quirks(&mut self, seen: Quirks) {
        let all = self.quirks.and(seen);
        if all == self.quirks {
            return;
        }
        for sentence in all.sentences() {
            if !self.quirks.sentences().contains(&sentence) {
                tracing::warn!(path = %self.context.name, "{sentence}");
            }
        }
        self.quirks = all;
    }
}

/// Finds and opens the camera, however long it takes, and hands it over. `said` is the error that was logged
/// last.
fn open_at_last(
    context: &Context,
    wanted: &Wanted,
    ask: &Ask,
    mut said: String,
    give: &mpsc::SyncSender<Opened>,
    stop: &CancellationToken,
) {
    let mut back_off = BackOff::default();
    while !stop.is_cancelled() {
        match finder::open(wanted, ask, stop) {
            Ok(opened) => {
                let _ = give.send(opened); // nobody there: the program ends
                return;
            }
            Err(e) => {
                let text = e.to_string();
                if text != said {
                    tracing::warn!(path = %context.name, "{text}.");
                }
                context.path.report(PathState::Waiting, Some(text.clone()));
                said = text;
            }
        }
        nap(back_off.next(random()), stop);
    }
}

/// Any number, for jitter; without randomness there is no jitter.
fn random() -> u8 {
    let mut random = [0];
    let _ = getrandom::fill(&mut random);
    random[0]
}

/// What reads, decodes and passes on one opening of a camera.
struct Session<'a> {
    context: &'a Context,
    opened: Opened,
    bitrate: Option<u32>,
    decoder: Option<Decoder>,
    passthrough: Option<Passthrough>,
    pace: Pace,
    decimator: Decimator,
    last_picture: Instant,
    quirks: Quirks,
    inspected: u32,
    ready: bool,
}

impl<'a> Session<'a> {
    fn new(context: &'a Context, opened: Opened, bitrate: Option<u32>) -> Result<Self, Ended> {
        let plan = &opened.plan;
        let passes = plan.mode.coding == Coding::H264
            && (plan.size.width, plan.size.height) == (plan.mode.width, plan.mode.height);
        let now = context.clock.now();
        Ok(Self {
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
        })
    }
    /// Takes what was read: passes it on, or decodes and shows it.
    fn take(
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
    fn lost(&self, error: AvError) -> CameraError {
        match CameraError::opening(&self.opened.name, error) {
            CameraError::Unplugged { .. } => CameraError::Unplugged {
                name: self.opened.name.clone(),
            },
            other => other,
        }
    }
}
