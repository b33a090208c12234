//! The notice that is shown while a camera is away.

use std::time::Duration;

use crate::av::AvError;
use crate::av::frame::Frame;
use crate::ingest::draw;

/// Time between two pictures of the notice. VLC's satip access gives up after 2 s of silence, and a reader
/// that joins should see something soon.
pub(crate) const EVERY: Duration = Duration::from_millis(250);
/// Luma of the ground: dark, but not the black of a camera with its lid closed.
const GROUND: u8 = 44;

/// Why there is no picture of the camera.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Notice {
    Unplugged,
    Waiting,
}

impl Notice {
    fn lines(self) -> [&'static str; 2] {
        match self {
            Self::Unplugged => ["CAMERA UNPLUGGED", "WAITING FOR IT"],
            Self::Waiting => ["NO PICTURE", "WAITING FOR THE CAMERA"],
        }
    }
}

/// Draws the notice; `clock` shows that the stream is alive.
pub(crate) fn draw(width: u32, height: u32, notice: Notice, clock: &str) -> Result<Frame, AvError> {
    let mut frame = Frame::black(width, height)?;
    draw::fill(&mut frame, 0, 0, width, height, GROUND);
    let [first, second] = notice.lines();
    let lines = [first, second, "", clock];
    let scale = (width / draw::text_width(1, &lines).max(1)).clamp(1, 6);
    let scale = if scale > 1 { scale - 1 } else { 1 };
    let left = width.saturating_sub(draw::text_width(scale, &lines)) / 2;
    draw::text(&mut frame, left, height / 3, scale, &lines);
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_fit_and_differ() {
        for (width, height) in [(160, 120), (320, 240), (1280, 720)] {
            let a = draw(width, height, Notice::Unplugged, "12:00:00").unwrap();
            let b = draw(width, height, Notice::Waiting, "12:00:00").unwrap();
            assert_ne!(a.luma().0, b.luma().0);
            assert_eq!(a.luma_at(0, 0), Some(GROUND));
            let bright = a.luma().0.iter().filter(|s| **s > 200).count();
            assert!(
                bright * 100 > (width * height) as usize,
                "{width}x{height}: {bright}"
            );
        }
    }
}
