//! Which of a camera's modes to run it in. Pure.
//!
//! Rules, in this order: the size that is asked (else the largest up to 1280x720), fast enough for what is
//! asked (else for 30 frames a second), and of the codings that can do both the cheapest: H.264 as the camera
//! made it, raw, JPEG. Raw 720p over USB 2 comes at 10 frames a second at most, so there JPEG wins.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write;

use crate::av::device::Coding;
use crate::av::device::FrameRate;
use crate::av::device::Mode;
use crate::ingest::source::Ask;
use crate::ingest::source::Format;
use crate::ingest::source::Size;

/// What is wanted of a camera of which nothing is asked.
pub(crate) const DEFAULT_SIZE: Size = Size {
    width: 1280,
    height: 720,
};
/// Frames per second of a camera of which nothing is asked.
pub(crate) const DEFAULT_FPS: u32 = 30;
/// Below this, motion looks broken: a smaller size that is faster is better.
const SMOOTH_FPS: f64 = 20.0;
/// 29.97 passes for 30.
const NEARLY: f64 = 0.98;

/// A mode, and what becomes of its pictures.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Plan {
    pub(crate) mode: Mode,
    /// Size of the stream: the mode's, or smaller in the same shape when the camera lacks the asked size.
    pub(crate) size: Size,
    /// Frames per second of the stream: the mode's, or fewer when the camera lacks the asked rate.
    pub(crate) fps: f64,
}

/// Chooses the mode. The error text says which modes there are.
pub(crate) fn choose(modes: &[Mode], ask: &Ask) -> Result<Plan, String> {
    let usable: Vec<&Mode> = modes.iter().filter(|m| m.coding != Coding::Other).collect();
    if usable.is_empty() {
        return Err("has no mode whose pictures can be read".to_owned());
    }
    let formatted: Vec<&Mode> = usable.iter().filter(|m| is_of(m, ask.format)).copied().collect();
    let found = match ask.size {
        Some(size) => of_size(&formatted, size, ask.fps),
        None => of_default_size(&formatted, ask.fps),
    };
    let mode = found.ok_or_else(|| format!("{}; it has {}", refusal(ask), describe(&usable)))?;
    let size = Size {
        width: mode.width,
        height: mode.height,
    };
    Ok(Plan {
        mode: mode.clone(),
        size: ask.size.unwrap_or(size),
        fps: ask
            .fps
            .map_or(mode.rate.fps(), |f| f64::from(f).min(mode.rate.fps())),
    })
}

/// What is asked and cannot be, as in `cannot do 640x480 at 60 frames per second in mjpeg`.
fn refusal(ask: &Ask) -> String {
    let mut text = "cannot do ".to_owned();
    match ask.size {
        Some(size) => text.push_str(&size.to_string()),
        None => text.push_str("any size"),
    }
    if let Some(fps) = ask.fps {
        let _ = write!(text, " at {fps} frames per second");
    }
    if let Some(format) = ask.format {
        let _ = write!(text, " in {format}");
    }
    text
}

/// What to try, in this order, on systems that do not tell modes. `None` takes what the camera runs in.
pub(crate) fn guesses(ask: &Ask) -> Vec<Option<Plan>> {
    let size = ask.size.unwrap_or(DEFAULT_SIZE);
    let fps = ask.fps.unwrap_or(DEFAULT_FPS);
    let plan = |coding: Coding, fourcc: &str| {
        Some(Plan {
            mode: Mode {
                coding,
                fourcc: fourcc.to_owned(),
                width: size.width,
                height: size.height,
                rate: FrameRate::whole(fps),
            },
            size,
            fps: f64::from(fps),
        })
    };
    let known = [
        (Coding::Jpeg, "mjpeg"),
        (Coding::Raw("nv12"), "nv12"),
        (Coding::Raw("yuyv422"), "yuyv422"),
        (Coding::Raw("uyvy422"), "uyvy422"),
        (Coding::H264, "h264"),
    ];
    let asked = known.into_iter().filter_map(|(coding, name)| plan(coding, name));
    let asked = asked.filter(|p| match ask.format {
        None => {
            p.mode.coding != Coding::H264 && !(p.mode.coding == Coding::Jpeg && cfg!(target_os = "macos"))
        }
        some => is_of(&p.mode, some),
    });
    asked.map(Some).chain([None]).collect()
}

/// The asked size itself, else the smallest larger one of the same shape, to be scaled down.
fn of_size<'a>(modes: &[&'a Mode], size: Size, fps: Option<u32>) -> Option<&'a Mode> {
    let exact = modes
        .iter()
        .filter(|m| (m.width, m.height) == (size.width, size.height));
    if let Some(mode) = best(exact.copied(), fps) {
        return Some(mode);
    }
    let larger = |m: &&&Mode| m.width >= size.width && m.height >= size.height && same_shape(m, size);
    let candidates: Vec<&Mode> = modes
        .iter()
        .filter(larger)
        .copied()
        .filter(|m| serves(m, fps))
        .collect();
    let smallest = candidates.iter().map(|m| area(m)).min()?;
    best(candidates.into_iter().filter(|m| area(m) == smallest), fps)
}

/// Without an asked size: fast enough first, then the largest up to the default, else the smallest above.
fn of_default_size<'a>(modes: &[&'a Mode], fps: Option<u32>) -> Option<&'a Mode> {
    let limit = u64::from(DEFAULT_SIZE.width) * u64::from(DEFAULT_SIZE.height);
    let mut by_size: BTreeMap<(u32, u32), Vec<&Mode>> = BTreeMap::new();
    for mode in modes {
        by_size.entry((mode.width, mode.height)).or_default().push(mode);
    }
    let of_each = by_size
        .into_values()
        .filter_map(|modes| best(modes.into_iter(), fps));
    of_each.max_by_key(|m| {
        let small = area(m) <= limit;
        let nearness = if small { area(m) } else { u64::MAX - area(m) };
        (m.rate.fps() >= SMOOTH_FPS || fps.is_some(), small, nearness)
    })
}

/// Of modes of one size: fast enough, not needlessly fast, then the cheapest coding.
fn best<'a>(modes: impl Iterator<Item = &'a Mode>, fps: Option<u32>) -> Option<&'a Mode> {
    let wanted = f64::from(fps.unwrap_or(DEFAULT_FPS));
    modes.filter(|m| serves(m, fps)).min_by_key(|m| {
        let rate = m.rate.fps();
        let enough = rate >= wanted * NEARLY;
        let millihertz = (rate * 1000.0) as u64;
        let speed = if enough { millihertz } else { u64::MAX - millihertz };
        (Reverse(enough), speed, cost(&m.coding))
    })
}

/// Whether a mode is coded as asked, or nothing is asked.
fn is_of(mode: &Mode, format: Option<Format>) -> bool {
    match format {
        None => true,
        Some(Format::H264) => mode.coding == Coding::H264,
        Some(Format::Mjpeg) => mode.coding == Coding::Jpeg,
        Some(Format::Raw) => matches!(mode.coding, Coding::Raw(_)),
    }
}

/// Whether a mode gives the asked rate, or any when none is asked.
fn serves(mode: &Mode, fps: Option<u32>) -> bool {
    fps.is_none_or(|fps| mode.rate.fps() >= f64::from(fps) * NEARLY)
}

/// Cheapest first: nothing to do, nothing to decode, something to decode. Of raw formats, those that an
/// encoder takes with the least conversion, and those with colour.
fn cost(coding: &Coding) -> u8 {
    match coding {
        Coding::H264 => 0,
        Coding::Raw("yuv420p") => 1,
        Coding::Raw("nv12") => 2,
        Coding::Raw("yuyv422" | "uyvy422" | "yuv422p") => 3,
        Coding::Raw("gray") => 6,
        Coding::Raw(_) => 4,
        Coding::Jpeg => 5,
        Coding::Other => 7,
    }
}

fn same_shape(mode: &Mode, size: Size) -> bool {
    let (a, b) = (
        f64::from(mode.width) / f64::from(mode.height.max(1)),
        f64::from(size.width) / f64::from(size.height.max(1)),
    );
    (a / b - 1.0).abs() < 0.01
}

fn area(mode: &Mode) -> u64 {
    u64::from(mode.width) * u64::from(mode.height)
}

/// The modes in one line: `MJPG 1280x720 (30, 15), 640x480 (30); YUYV 640x480 (30)`.
pub(crate) fn describe(modes: &[&Mode]) -> String {
    let mut text = String::new();
    let (mut format, mut size) = (None, None);
    for mode in modes {
        if format != Some(&mode.fourcc) {
            text.push_str(match format {
                None => "",
                Some(_) => "); ",
            });
            let _ = write!(text, "{} ", mode.fourcc);
            (format, size) = (Some(&mode.fourcc), None);
        }
        if size == Some((mode.width, mode.height)) {
            let _ = write!(text, ", {}", mode.rate);
        } else {
            let between = if size.is_some() { "), " } else { "" };
            let _ = write!(text, "{between}{}x{} ({}", mode.width, mode.height, mode.rate);
            size = Some((mode.width, mode.height));
        }
    }
    text.push(')');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(coding: Coding, width: u32, height: u32, fps: u32) -> Mode {
        let fourcc = match coding {
            Coding::H264 => "H264",
            Coding::Jpeg => "MJPG",
            Coding::Raw("nv12") => "NV12",
            _ => "YUYV",
        };
        Mode {
            coding,
            fourcc: fourcc.into(),
            width,
            height,
            rate: FrameRate::whole(fps),
        }
    }

    const YUYV: Coding = Coding::Raw("yuyv422");

    /// The laptop camera of the first user: everything in MJPEG at 30; raw too, but 720p at 10 only.
    fn laptop() -> Vec<Mode> {
        let sizes = [
            (1280, 720),
            (640, 480),
            (640, 360),
            (352, 288),
            (320, 240),
            (176, 144),
        ];
        let jpeg = sizes.map(|(w, h)| mode(Coding::Jpeg, w, h, 30));
        let raw = sizes.map(|(w, h)| mode(YUYV, w, h, if w == 1280 { 10 } else { 30 }));
        [jpeg, raw].concat()
    }

    fn ask(size: Option<(u32, u32)>, fps: Option<u32>) -> Ask {
        Ask {
            size: size.map(|(width, height)| Size { width, height }),
            fps,
            ..Ask::default()
        }
    }

    fn chosen(modes: &[Mode], size: Option<(u32, u32)>, fps: Option<u32>) -> String {
        choose(modes, &ask(size, fps)).unwrap().mode.to_string()
    }

    #[test]
    fn a_laptop_camera_gives_720p_as_mjpeg_and_small_sizes_raw() {
        for (size, fps, expected) in [
            (None, None, "MJPG 1280x720 at 30"),
            (Some((1280, 720)), Some(30), "MJPG 1280x720 at 30"),
            (Some((1280, 720)), None, "MJPG 1280x720 at 30"),
            (Some((1280, 720)), Some(10), "YUYV 1280x720 at 10"),
            (Some((640, 480)), Some(30), "YUYV 640x480 at 30"),
            (Some((320, 240)), Some(30), "YUYV 320x240 at 30"),
            (None, Some(30), "MJPG 1280x720 at 30"),
            (None, Some(15), "MJPG 1280x720 at 30"),
        ] {
            assert_eq!(chosen(&laptop(), size, fps), expected, "{size:?} {fps:?}");
        }
    }

    #[test]
    fn an_asked_format_is_kept_to() {
        let asked = |format, size| Ask {
            format: Some(format),
            ..ask(size, None)
        };
        let vga = Some((640, 480));
        let mjpeg = choose(&laptop(), &asked(Format::Mjpeg, vga)).unwrap();
        assert_eq!(mjpeg.mode.to_string(), "MJPG 640x480 at 30");
        let raw = choose(&laptop(), &asked(Format::Raw, None)).unwrap();
        assert_eq!(raw.mode.to_string(), "YUYV 640x480 at 30", "720p raw stutters");
        let none = choose(&laptop(), &asked(Format::H264, vga)).unwrap_err();
        assert!(
            none.starts_with("cannot do 640x480 in h264; it has MJPG 1280x720 (30)"),
            "{none}"
        );
    }

    #[test]
    fn fewer_frames_than_any_mode_has_are_made_from_the_next_faster_mode() {
        let plan = choose(&laptop(), &ask(Some((640, 480)), Some(12))).unwrap();
        assert_eq!((plan.mode.rate.fps(), plan.fps), (30.0, 12.0));
        let ntsc = Mode {
            rate: FrameRate {
                num: 30_000,
                den: 1001,
            },
            ..mode(YUYV, 640, 480, 30)
        };
        assert!(choose(&[ntsc], &ask(None, Some(30))).is_ok(), "29.97 is 30");
    }

    #[test]
    fn a_size_the_camera_lacks_is_scaled_from_a_larger_one_of_the_same_shape() {
        let plan = choose(&laptop(), &ask(Some((480, 360)), None)).unwrap();
        assert_eq!(plan.mode.to_string(), "YUYV 640x480 at 30");
        assert_eq!(plan.size.to_string(), "480x360");
        let wide = choose(&laptop(), &ask(Some((960, 540)), None)).unwrap();
        assert_eq!(wide.mode.to_string(), "MJPG 1280x720 at 30");
    }

    #[test]
    fn what_no_mode_gives_is_told_with_all_there_is() {
        let text = choose(&laptop(), &ask(Some((1920, 1080)), None)).unwrap_err();
        assert!(
            text.starts_with("cannot do 1920x1080; it has MJPG 1280x720 (30), 640x480 (30)"),
            "{text}"
        );
        assert!(text.contains("; YUYV 1280x720 (10), 640x480 (30)"), "{text}");
        let text = choose(&laptop(), &ask(Some((640, 480)), Some(60))).unwrap_err();
        assert!(
            text.starts_with("cannot do 640x480 at 60 frames per second; it has MJPG"),
            "{text}"
        );
        let text = choose(&laptop(), &ask(None, Some(60))).unwrap_err();
        assert!(
            text.starts_with("cannot do any size at 60 frames per second"),
            "{text}"
        );
        assert!(choose(&[], &ask(None, None)).is_err());
    }

    #[test]
    fn rates_of_one_size_stand_together() {
        let modes = [
            mode(Coding::Jpeg, 640, 480, 30),
            mode(Coding::Jpeg, 640, 480, 15),
            mode(YUYV, 320, 240, 30),
        ];
        let modes: Vec<&Mode> = modes.iter().collect();
        assert_eq!(describe(&modes), "MJPG 640x480 (30, 15); YUYV 320x240 (30)");
    }

    #[test]
    fn h264_of_the_camera_itself_is_taken_when_it_has_size_and_rate() {
        let mut modes = laptop();
        modes.push(mode(Coding::H264, 1280, 720, 30));
        modes.push(mode(Coding::H264, 640, 480, 15));
        assert_eq!(chosen(&modes, None, None), "H264 1280x720 at 30");
        assert_eq!(chosen(&modes, Some((640, 480)), Some(30)), "YUYV 640x480 at 30");
    }

    #[test]
    fn a_smooth_small_picture_beats_a_large_one_that_stutters() {
        let raw_only = [mode(YUYV, 1280, 720, 10), mode(YUYV, 640, 480, 30)];
        assert_eq!(chosen(&raw_only, None, None), "YUYV 640x480 at 30");
        let slow_only = [mode(YUYV, 1280, 720, 10), mode(YUYV, 640, 480, 15)];
        assert_eq!(chosen(&slow_only, None, None), "YUYV 1280x720 at 10");
    }

    #[test]
    fn not_more_than_asked_is_taken() {
        let many = [
            mode(Coding::Jpeg, 1920, 1080, 30),
            mode(Coding::Jpeg, 1280, 720, 60),
            mode(Coding::Jpeg, 1280, 720, 30),
            mode(Coding::Raw("nv12"), 640, 480, 30),
            mode(YUYV, 640, 480, 30),
        ];
        assert_eq!(chosen(&many, None, None), "MJPG 1280x720 at 30");
        assert_eq!(chosen(&many, None, Some(50)), "MJPG 1280x720 at 60");
        assert_eq!(chosen(&many, Some((640, 480)), None), "NV12 640x480 at 30");
        let large_only = [
            mode(Coding::Jpeg, 2592, 1944, 30),
            mode(Coding::Jpeg, 1920, 1080, 30),
        ];
        assert_eq!(chosen(&large_only, None, None), "MJPG 1920x1080 at 30");
    }

    #[test]
    fn formats_that_are_no_pictures_are_never_chosen() {
        let mut modes = vec![mode(Coding::Other, 1280, 720, 30), mode(YUYV, 320, 240, 30)];
        assert_eq!(chosen(&modes, None, None), "YUYV 320x240 at 30");
        modes.pop();
        assert!(choose(&modes, &ask(None, None)).is_err());
    }

    #[test]
    fn guesses_begin_with_what_keeps_up() {
        let first = guesses(&ask(None, None)).remove(0).unwrap();
        assert_eq!((first.size.width, first.fps), (1280, 30.0));
        assert!(guesses(&ask(None, None)).last().unwrap().is_none());
    }
}
