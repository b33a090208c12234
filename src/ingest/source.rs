//! SOURCE strings of the command line and the configuration. Pure.

use std::fmt;

use crate::ingest::pull::AddressError;
use crate::ingest::pull::Pull;
use crate::ingest::pull::Scheme;

/// The codings of addresses that are understood.
const KINDS: &str = "`webcam:`, `webcam:DEVICE`, `pattern:`, `publish:`, `rtsp://`, `rtsps://`, `http://`, \
                     `https://`, `rtmp://`, `srt://`, `udp://`, `file:` and `redirect:`";
/// What may follow a `?`.
const KEYS: &[&str] = &["size", "fps", "format", "bitrate"];
const MIN_SIDE: u32 = 32;
const MAX_WIDTH: u32 = 7680;
const MAX_HEIGHT: u32 = 4320;
const MAX_FPS: u32 = 120;

/// Width and height in pixels.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Size {
    pub width: u32,
    pub height: u32,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// What is asked of the pictures of a source; the rest is chosen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Ask {
    pub size: Option<Size>,
    /// Frames per second.
    pub fps: Option<u32>,
    /// How the camera is to code its pictures.
    pub format: Option<Format>,
    /// Of the H.264 stream, bits per second.
    pub bitrate: Option<u32>,
}

/// How a camera is asked to code its pictures.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Format {
    Mjpeg,
    Raw,
    H264,
}

impl Format {
    const ALL: [Self; 3] = [Self::Mjpeg, Self::Raw, Self::H264];

    fn as_str(self) -> &'static str {
        match self {
            Self::Mjpeg => "mjpeg",
            Self::Raw => "raw",
            Self::H264 => "h264",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where the pictures of a path come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// A camera of this machine.
    Webcam {
        /// A device node, a name, or the part of one that is enough; `None` for the first camera.
        device: Option<String>,
        ask: Ask,
    },
    /// A moving test picture with a clock and a number.
    Pattern { ask: Ask },
    /// Whoever publishes to the path.
    Publish,
    /// What readers say by the back channel of another path.
    Backchannel,
    /// Nothing: readers are sent to this RTSP address, which has no credentials in it.
    Redirect(String),
    /// An address that is read.
    Pull(Box<Pull>),
}

/// Why a text is no SOURCE. Never repeats more of it than a scheme, a key or a value of ours.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SourceError {
    #[error("a source begins with its kind: {KINDS}")]
    NoKind,
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error("there is no source of the kind `{0}:`; there are {KINDS}")]
    Unknown(String),
    #[error("`publish:` takes nothing after the colon: the publisher chooses")]
    PublishTakesNothing,
    #[error("`redirect:` needs an rtsp:// or rtsps:// address without user and password behind it")]
    BadRedirect,
    #[error("`pattern:` has no device; write `pattern:?size=640x360&fps=15`")]
    PatternHasNoDevice,
    #[error("the device's name holds a control character")]
    BadDevice,
    #[error(
        "`{0}` is not known here; there are `size`, `fps`, `format` and `bitrate`, as in \
         `?size=1280x720&fps=30`"
    )]
    UnknownKey(String),
    #[error("`{0}` is there twice")]
    TwiceKey(&'static str),
    #[error(
        "size `{0}` is not WIDTHxHEIGHT in pixels, {MIN_SIDE}x{MIN_SIDE} to {MAX_WIDTH}x{MAX_HEIGHT}, \
         as in `size=1280x720`"
    )]
    BadSize(String),
    #[error("fps `{0}` is not a whole number from 1 to {MAX_FPS}, as in `fps=30`")]
    BadFps(String),
    #[error("format `{0}` is not `mjpeg`, `raw` or `h264`, as in `format=mjpeg`")]
    BadFormat(String),
    #[error("`pattern:` has no `format`; that is for cameras")]
    PatternHasNoFormat,
    #[error("bitrate `{0}` is not 50k to 50M bits per second, as in `bitrate=2M` or `bitrate=800k`")]
    BadBitrate(String),
}

impl Source {
    /// Reads a SOURCE string.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let text = text.trim();
        let (kind, rest) = text.split_once(':').ok_or(SourceError::NoKind)?;
        match kind.to_ascii_lowercase().as_str() {
            "webcam" => webcam(rest),
            "pattern" => pattern(rest),
            "publish" if rest.is_empty() => Ok(Self::Publish),
            "publish" => Err(SourceError::PublishTakesNothing),
            "backchannel" if rest.is_empty() => Ok(Self::Backchannel),
            "redirect" => redirect(rest),
            "" => Err(SourceError::NoKind),
            other => match Scheme::of(other) {
                Some(scheme) => Ok(Self::Pull(Box::new(Pull::parse(scheme, rest)?))),
                None => Err(SourceError::Unknown(shown(other))),
            },
        }
    }
    /// The source as a SOURCE string; holds no credentials.
    pub fn label(&self) -> String {
        match self {
            Self::Webcam { device, ask } => {
                format!("webcam:{}{}", device.as_deref().unwrap_or(""), query(ask))
            }
            Self::Pattern { ask } => format!("pattern:{}", query(ask)),
            Self::Publish => "publish:".to_owned(),
            Self::Backchannel => "backchannel:".to_owned(),
            Self::Redirect(to) => format!("redirect:{to}"),
            Self::Pull(pull) => pull.label(),
        }
    }
}

fn redirect(rest: &str) -> Result<Source, SourceError> {
    let to = rest.trim();
    let (scheme, behind) = to.split_once("://").ok_or(SourceError::BadRedirect)?;
    let known = ["rtsp", "rtsps"].contains(&scheme.to_ascii_lowercase().as_str());
    let plain = !behind.contains(['@', '#']) && behind.bytes().all(|b| b.is_ascii_graphic());
    if !known || !plain || behind.is_empty() || behind.starts_with('/') {
        return Err(SourceError::BadRedirect);
    }
    Ok(Source::Redirect(to.to_owned()))
}

fn webcam(rest: &str) -> Result<Source, SourceError> {
    let (device, ask) = split(rest)?;
    if device.chars().any(char::is_control) {
        return Err(SourceError::BadDevice);
    }
    let device = device.trim();
    Ok(Source::Webcam {
        device: (!device.is_empty()).then(|| device.to_owned()),
        ask,
    })
}

fn pattern(rest: &str) -> Result<Source, SourceError> {
    let (device, ask) = split(rest)?;
    match device.trim() {
        "" if ask.format.is_some() => Err(SourceError::PatternHasNoFormat),
        "" => Ok(Source::Pattern { ask }),
        _ => Err(SourceError::PatternHasNoDevice),
    }
}

/// Parts a device from what is asked of it. Windows' device paths hold `\\?\` and `&`, so a question mark
/// after a backslash belongs to the device.
fn split(rest: &str) -> Result<(&str, Ask), SourceError> {
    let at = rest
        .char_indices()
        .rfind(|(at, c)| *c == '?' && !rest[..*at].ends_with('\\'));
    match at {
        Some((at, _)) => Ok((&rest[..at], ask(&rest[at + 1..])?)),
        None => Ok((rest, Ask::default())),
    }
}

fn ask(query: &str) -> Result<Ask, SourceError> {
    let mut ask = Ask::default();
    for pair in query.split('&').filter(|p| !p.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = KEYS.iter().find(|k| k.eq_ignore_ascii_case(key.trim()));
        let Some(key) = key.copied() else {
            return Err(SourceError::UnknownKey(shown(
                pair.split('=').next().unwrap_or(""),
            )));
        };
        let value = value.trim();
        let twice = match key {
            "size" => ask.size.replace(size(value)?).is_some(),
            "fps" => ask.fps.replace(fps(value)?).is_some(),
            "format" => ask.format.replace(format(value)?).is_some(),
            _ => ask.bitrate.replace(bitrate(value)?).is_some(),
        };
        if twice {
            return Err(SourceError::TwiceKey(key));
        }
    }
    Ok(ask)
}

fn size(value: &str) -> Result<Size, SourceError> {
    let sides = value.split_once(['x', 'X']);
    let sides = sides.and_then(|(w, h)| Some((w.parse::<u32>().ok()?, h.parse::<u32>().ok()?)));
    match sides {
        Some((width @ MIN_SIDE..=MAX_WIDTH, height @ MIN_SIDE..=MAX_HEIGHT)) => Ok(Size { width, height }),
        _ => Err(SourceError::BadSize(shown(value))),
    }
}

fn fps(value: &str) -> Result<u32, SourceError> {
    match value.parse() {
        Ok(fps @ 1..=MAX_FPS) => Ok(fps),
        _ => Err(SourceError::BadFps(shown(value))),
    }
}

fn format(value: &str) -> Result<Format, SourceError> {
    let found = Format::ALL
        .into_iter()
        .find(|f| f.as_str().eq_ignore_ascii_case(value));
    found.ok_or_else(|| SourceError::BadFormat(shown(value)))
}

fn bitrate(value: &str) -> Result<u32, SourceError> {
    let (digits, unit) = match value.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&value[..at], 1000.0),
        Some((at, 'm' | 'M')) => (&value[..at], 1_000_000.0),
        _ => (value, 1.0),
    };
    let plain = digits.chars().all(|c| c.is_ascii_digit() || c == '.');
    let bits = digits
        .parse::<f64>()
        .ok()
        .filter(|_| plain)
        .map(|n| (n * unit).round());
    match bits {
        Some(bits) if (50_000.0..=50_000_000.0).contains(&bits) => Ok(bits as u32),
        _ => Err(SourceError::BadBitrate(shown(value))),
    }
}

/// What of a user's text may stand in an error: short and printable.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}

fn query(ask: &Ask) -> String {
    let mut pairs = Vec::new();
    pairs.extend(ask.size.map(|s| format!("size={s}")));
    pairs.extend(ask.fps.map(|f| format!("fps={f}")));
    pairs.extend(ask.format.map(|f| format!("format={f}")));
    pairs.extend(ask.bitrate.map(|b| format!("bitrate={b}")));
    match pairs.is_empty() {
        true => String::new(),
        false => format!("?{}", pairs.join("&")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webcam_of(text: &str) -> (Option<String>, Ask) {
        match Source::parse(text) {
            Ok(Source::Webcam { device, ask }) => (device, ask),
            other => panic!("{text}: {other:?}"),
        }
    }

    const VGA: Size = Size {
        width: 640,
        height: 480,
    };

    #[test]
    fn the_sources_of_the_manual_are_read() {
        assert_eq!(webcam_of("webcam:"), (None, Ask::default()));
        let (device, ask) = webcam_of("webcam:/dev/video0?size=640x480&fps=30");
        assert_eq!(device.as_deref(), Some("/dev/video0"));
        assert_eq!((ask.size, ask.fps, ask.bitrate), (Some(VGA), Some(30), None));
        assert_eq!(webcam_of("webcam:HD Camera").0.as_deref(), Some("HD Camera"));
        assert_eq!(webcam_of("webcam:?bitrate=1.5M").1.bitrate, Some(1_500_000));
        assert_eq!(webcam_of("Webcam:?bitrate=800k").1.bitrate, Some(800_000));
        let elsewhere = Source::parse("redirect:rtsp://192.0.2.7/a?b=c").unwrap();
        assert_eq!(elsewhere.label(), "redirect:rtsp://192.0.2.7/a?b=c");
        for bad in [
            "",
            "http://h/a",
            "rtsp://u:p@h/a",
            "rtsp:///a",
            "rtsp://h/a b",
            "rtsp://h/a#b",
        ] {
            let parsed = Source::parse(&format!("redirect:{bad}"));
            assert_eq!(parsed, Err(SourceError::BadRedirect), "{bad}");
        }
        assert_eq!(Source::parse("publish:"), Ok(Source::Publish));
        assert_eq!(Source::parse("backchannel:"), Ok(Source::Backchannel));
        assert!(Source::parse("backchannel:x").is_err());
        let ask = Ask {
            size: Some(VGA),
            fps: Some(15),
            ..Ask::default()
        };
        assert_eq!(
            Source::parse("pattern:?size=640x480&fps=15"),
            Ok(Source::Pattern { ask })
        );
    }

    #[test]
    fn question_marks_and_ampersands_of_windows_device_paths_stay_in_the_name() {
        let path = r"@device_pnp_\\?\usb#vid_05c8&pid_03ea&mi_00#7&2a&0&0000#{65e8773d-8f56}\global";
        assert_eq!(webcam_of(&format!("webcam:{path}")).0.as_deref(), Some(path));
        let (device, ask) = webcam_of(&format!("webcam:{path}?size=640x480"));
        assert_eq!(device.as_deref(), Some(path));
        assert_eq!(ask.size, Some(VGA));
        assert_eq!(webcam_of("webcam:Cam: left").0.as_deref(), Some("Cam: left"));
    }

    #[test]
    fn errors_name_what_is_wrong_and_what_there_is() {
        let text = |source| Source::parse(source).unwrap_err().to_string();
        assert_eq!(
            text("webcam:?sise=1x1"),
            "`sise` is not known here; there are `size`, `fps`, `format` and `bitrate`, as in \
             `?size=1280x720&fps=30`"
        );
        assert!(text("webcam:?size=1280").starts_with("size `1280` is not WIDTHxHEIGHT"));
        assert!(text("webcam:?size=0x0").contains("32x32 to 7680x4320"));
        assert!(text("pattern:?fps=0").starts_with("fps `0` is not a whole number from 1 to 120"));
        assert!(text("pattern:?fps=29.97").starts_with("fps `29.97`"));
        assert!(text("pattern:?bitrate=fast").contains("50k to 50M"));
        assert!(text("pattern:?bitrate=NaN").contains("50k to 50M"));
        assert!(text("webcam:?format=yuv").starts_with("format `yuv` is not `mjpeg`"));
        assert!(text("pattern:?format=raw").contains("for cameras"));
        assert!(text("pattern:?fps=1&fps=2").contains("twice"));
        assert!(text("pattern:/dev/video0").contains("pattern:?size=640x360&fps=15"));
        assert!(text("publish:now").contains("publisher chooses"));
        assert!(text("webcam").contains("`webcam:`"));
        assert!(text("").contains("`webcam:`"));
        assert!(text("gopher:x").starts_with("there is no source of the kind `gopher:`"));
    }

    #[test]
    fn addresses_are_sources_and_show_no_credentials() {
        for (url, label) in [
            ("rtsp://bob:secret@cam/1", "rtsp://cam/1"),
            ("file:clip.mp4?loop=1", "file:clip.mp4?loop=1"),
            ("SRT://bob:secret@x:9000", "srt://x:9000"),
        ] {
            assert_eq!(Source::parse(url).unwrap().label(), label);
        }
        let text = Source::parse("rtsp://bob:secret@/1").unwrap_err().to_string();
        assert!(text.starts_with("the address has no host"), "{text}");
        assert!(!text.contains("secret") && !text.contains("bob"), "{text}");
    }

    #[test]
    fn labels_read_back_to_the_same_source() {
        for text in [
            "webcam:",
            "webcam:/dev/video0?size=640x480&fps=30&format=mjpeg&bitrate=2000000",
            "pattern:?fps=15",
            "pattern:",
            "publish:",
        ] {
            let source = Source::parse(text).unwrap();
            assert_eq!(source.label(), text);
            assert_eq!(Source::parse(&source.label()), Ok(source));
        }
    }
}
