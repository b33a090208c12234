//! A moving test picture: libav's `testsrc2` with the time of day and a number burned in.

use std::time::Duration;
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;

use crate::av::AvError;
use crate::av::decode::Decoder;
use crate::av::encode;
use crate::av::frame::Frame;
use crate::av::input::Input;
use crate::av::options::Opening;
use crate::base::time::MediaTime;
use crate::base::time::Rate;
use crate::hub::PathState;
use crate::ingest::Context;
use crate::ingest::draw;
use crate::ingest::feed::Feed;
use crate::ingest::feed::FeedError;
use crate::ingest::modes::DEFAULT_FPS;
use crate::ingest::modes::DEFAULT_SIZE;
use crate::ingest::pace::nap;
use crate::ingest::source::Ask;

pub use draw::read_number;

/// Longest sleep, so that the end of the program is noticed.
const NAP: Duration = Duration::from_millis(100);
/// Time before another start after a failure.
const AGAIN: Duration = Duration::from_secs(2);

/// Feeds the path until `stop`.
pub(crate) fn run(context: &Context, ask: &Ask, stop: &CancellationToken) {
    while let Err(e) = feed(context, ask, stop) {
        tracing::error!(path = %context.name, "The test picture does not work: {e}. It is started again.");
        context.path.report(PathState::Waiting, Some(e.to_string()));
        nap(AGAIN, stop);
    }
}

fn feed(context: &Context, ask: &Ask, stop: &CancellationToken) -> Result<(), FeedError> {
    let size = ask.size.unwrap_or(DEFAULT_SIZE);
    let fps = ask.fps.unwrap_or(DEFAULT_FPS);
    let mut pattern = Pattern::open(size.width & !1, size.height & !1, fps, stop)?;
    let options = encode::Options {
        width: size.width & !1,
        height: size.height & !1,
        fps: f64::from(fps),
        bitrate: ask.bitrate,
        full_range: false,
        encoder: None,
    };
    let mut feed = Feed::encoding(context, options)?;
    context.metrics.source_starts.inc();
    let start = context.clock.now();
    let mut number = 0_u32;
    while !stop.is_cancelled() {
        // From the start, not from the last picture: rounding must not add up.
        let due = start + Duration::from_secs(1) * number / fps;
        let now = context.clock.now();
        if let Some(left) = due.checked_duration_since(now).filter(|l| !l.is_zero()) {
            std::thread::sleep(left.min(NAP));
            continue;
        }
        let behind = now.saturating_duration_since(due).as_secs_f64() * f64::from(fps);
        if behind >= 3.0 {
            // A machine that is too slow, or was asleep, shows fewer pictures instead of old ones.
            context.metrics.frames_skipped.inc_by(behind as u64);
            number = number.wrapping_add(behind as u32);
        }
        context.metrics.frames_captured.inc();
        if feed.wants().any() {
            let mut frame = pattern.next()?;
            burn(&mut frame, number, &time_of_day(context.clock.wall()));
            let pts = MediaTime::new(i64::from(number) * 90_000 / i64::from(fps), Rate::VIDEO);
            feed.show(&frame, pts, now)?;
        }
        number = number.wrapping_add(1);
    }
    Ok(())
}

/// libav's picture source.
struct Pattern {
    input: Input,
    decoder: Decoder,
}

impl Pattern {
    fn open(width: u32, height: u32, fps: u32, stop: &CancellationToken) -> Result<Self, AvError> {
        let opening = Opening {
            input: "lavfi",
            address: format!("testsrc2=size={width}x{height}:rate={fps},format=yuv420p"),
            options: Vec::new(),
            coding: None,
        };
        let input = Input::open(&opening, stop.clone())?;
        let decoder = input.decoder()?;
        Ok(Self { input, decoder })
    }
    fn next(&mut self) -> Result<Frame, AvError> {
        let chunk = self.input.read()?.ok_or(AvError::Damaged("test picture"))?;
        let frames = self.decoder.push_chunk(chunk)?;
        let mut frame = frames
            .into_iter()
            .next()
            .ok_or(AvError::Damaged("test picture"))?;
        frame.make_writable()?;
        Ok(frame)
    }
}

/// Burns in the number, for programs as blocks and for people as digits, and the time.
fn burn(frame: &mut Frame, number: u32, time: &str) {
    draw::number(frame, number);
    let number = format!("{number:08}");
    let lines = [time, &number];
    let scale = (frame.width() / 4 / draw::text_width(1, &lines).max(1)).clamp(1, 6);
    let left = scale * 4;
    draw::text(frame, left, draw::NUMBER_HEIGHT + left, scale, &lines);
}

/// Local time of day, to the millisecond.
pub(crate) fn time_of_day(wall: SystemTime) -> String {
    let now = jiff::Timestamp::try_from(wall).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let local = now.to_zoned(jiff::tz::TimeZone::system());
    local.strftime("%H:%M:%S.%3f").to_string()
}
