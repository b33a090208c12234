//! A camera as a source: read without waiting, decoded only while somebody asks, replaced by a notice while
//! it is away.
//!
//! Two threads: this one reads, decodes, encodes and draws the notice; another finds and opens the camera,
//! which can take seconds. A camera is judged by the age of its last picture.

mod session;

use std::sync::mpsc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::av::AvError;
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
use crate::ingest::pace::nap;
use crate::ingest::pattern::time_of_day;
use crate::ingest::placeholder;
use crate::ingest::placeholder::Notice;
use crate::ingest::quirks::Quirks;
use crate::ingest::source::Ask;
use crate::telemetry::Reason;

use session::Session;

/// A camera that gives nothing for this long is opened again. A slow one takes seconds for its first picture.
const STALLED: Duration = Duration::from_secs(10);
/// A camera that gives nothing for this long is covered by the notice.
const SILENT: Duration = Duration::from_millis(1500);
/// Longest wait for a picture, so that the end of the program is noticed.
const LOOK: Duration = Duration::from_millis(50);
/// A camera that worked for this long was fine: it is looked for at once.
const WORKED: Duration = Duration::from_secs(5);

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
        let mut session = Session::new(self.context, opened, self.ask.bitrate);
        let mut backlog: Vec<Chunk> = Vec::new();
        while !self.stop.is_cancelled() {
            let now = self.context.clock.now();
            match session.opened.input.read() {
                Ok(Some(chunk)) => {
                    self.context.metrics.frames_captured.inc();
                    self.context.metrics.frames_skipped.inc_by(chunk.missed.into());
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

#[cfg(test)]
mod tests;
