//! H.264 for live viewing: no delay, no B-frames, keyframes when asked for.
//!
//! The encoder is libx264 where it exists; else whatever the machine has that opens and gives a picture.

use std::collections::VecDeque;

use bytes::Bytes;
use bytes::BytesMut;
use ffmpeg_next::Codec as AvCodec;
use ffmpeg_next::Dictionary;
use ffmpeg_next::Packet;
use ffmpeg_next::Rational;
use ffmpeg_next::codec;
use ffmpeg_next::encoder;
use ffmpeg_next::format::Pixel;
use ffmpeg_next::picture;

use crate::av::AvError;
use crate::av::annexb;
use crate::av::frame::Frame;
use crate::av::frame::check_size;
use crate::av::init;
use crate::av::scale::Scaler;
use crate::av::sys;
use crate::base::time::MediaTime;
use crate::base::time::Rate;
use crate::media::AccessUnit;
use crate::media::TrackId;

/// Time between keyframes, in units of [`Rate::VIDEO`].
const KEYFRAME_EVERY: i64 = 2 * 90_000;
/// Pictures that an encoder may swallow before it must have given one back.
const MAX_DELAY: usize = 8;

/// What is wanted of an encoder.
#[derive(Clone, PartialEq, Debug)]
pub struct Options {
    /// Pixels; odd numbers are rounded down.
    pub width: u32,
    /// Pixels; odd numbers are rounded down.
    pub height: u32,
    /// Expected frames per second, for rate control.
    pub fps: f64,
    /// Bits per second; `None` for one that suits the size.
    pub bitrate: Option<u32>,
    /// Keep luma's range of 0 to 255 (a camera's JPEG) where the encoder can say so.
    pub full_range: bool,
    /// Use this encoder of the libraries and no other.
    pub encoder: Option<String>,
}

/// An open H.264 encoder.
pub struct Encoder {
    encoder: encoder::Video,
    name: &'static str,
    scaler: Scaler,
    parameter_sets: Vec<Bytes>,
    last_keyframe: Option<MediaTime>,
    /// The libraries count pictures; the times of those that have not come out yet.
    count: i64,
    pending: VecDeque<(i64, MediaTime)>,
}

/// The libraries' name of an encoder, and its options.
type Candidate = (&'static str, &'static [(&'static str, &'static str)]);

/// Encoders in the order in which they are tried, with their options for least delay.
const CANDIDATES: &[Candidate] = &[
    (
        "libx264",
        &[
            ("preset", "superfast"),
            ("tune", "zerolatency"),
            ("forced-idr", "1"),
            ("sc_threshold", "0"),
            ("threads", "1"),
        ],
    ),
    (
        "h264_nvenc",
        &[
            ("preset", "p3"),
            ("tune", "ull"),
            ("zerolatency", "1"),
            ("delay", "0"),
            ("forced-idr", "1"),
        ],
    ),
    ("h264_videotoolbox", &[("realtime", "1"), ("allow_sw", "1")]),
    (
        "h264_qsv",
        &[("async_depth", "1"), ("forced_idr", "1"), ("preset", "veryfast")],
    ),
    ("h264_amf", &[("usage", "ultralowlatency"), ("forced_idr", "1")]),
    ("h264_mf", &[("scenario", "live_streaming")]),
    ("h264_v4l2m2m", &[]),
    ("libopenh264", &[("allow_skip_frames", "0")]),
];

impl Encoder {
    /// Opens the first encoder that works and learns its parameter sets by encoding one black picture.
    pub fn open(options: &Options) -> Result<Self, AvError> {
        Self::open_first(CANDIDATES, options)
    }
    fn open_first(candidates: &[Candidate], options: &Options) -> Result<Self, AvError> {
        init();
        check_size(options.width & !1, options.height & !1)?;
        let mut tried = Vec::new();
        for (name, settings) in candidates {
            if options.encoder.as_deref().is_some_and(|only| only != *name) {
                continue;
            }
            let Some(found) = encoder::find_by_name(name) else {
                tried.push(format!("no {name}"));
                continue;
            };
            match Self::open_one(name, found, settings, options) {
                Ok(encoder) => return Ok(encoder),
                Err(e) => tried.push(format!("{name}: {e}")),
            }
        }
        if tried.is_empty() {
            tried.push(format!(
                "unknown encoder {}",
                options.encoder.as_deref().unwrap_or("")
            ));
        }
        Err(AvError::NoEncoder {
            tried: tried.join(", "),
        })
    }
    fn open_one(
        name: &'static str,
        found: AvCodec,
        settings: &[(&str, &str)],
        options: &Options,
    ) -> Result<Self, AvError> {
        let (width, height) = (options.width & !1, options.height & !1);
        let format = choose_format(found, options.full_range);
        let encoder = open_av(found, format, settings, options)?;
        let mut this = Self {
            encoder,
            name,
            scaler: Scaler::new(format, width, height)?,
            parameter_sets: Vec::new(),
            last_keyframe: None,
            count: 0,
            pending: VecDeque::new(),
        };
        this.learn(width, height)?;
        this.last_keyframe = None;
        Ok(this)
    }
    /// Feeds black pictures until the parameter sets came out.
    fn learn(&mut self, width: u32, height: u32) -> Result<(), AvError> {
        let black = Frame::black(width, height)?;
        for n in 0..MAX_DELAY {
            let units = self.encode(&black, MediaTime::new(n as i64, Rate::VIDEO), n == 0)?;
            let outside = sys::extradata(&self.encoder);
            for data in units.iter().map(|u| &u.data[..]).chain([&outside[..]]) {
                let sets: Vec<_> = annexb::nal_units(data)
                    .filter(|u| matches!(annexb::kind(u), annexb::SPS | annexb::PPS))
                    .map(Bytes::copy_from_slice)
                    .collect();
                let has = |kind| sets.iter().any(|s| annexb::kind(s) == kind);
                if has(annexb::SPS) && has(annexb::PPS) {
                    self.parameter_sets = sets;
                }
            }
            if !units.is_empty() && !self.parameter_sets.is_empty() {
                return Ok(());
            }
        }
        Err(AvError::Refused {
            doing: "trying an encoder",
            reason: "it gave no parameter sets".into(),
        })
    }
    /// The libraries' name of the encoder in use.
    pub fn name(&self) -> &'static str {
        self.name
    }
    /// SPS and PPS as NAL units without start codes.
    pub fn parameter_sets(&self) -> &[Bytes] {
        &self.parameter_sets
    }
    /// Width and height of what comes out.
    pub fn size(&self) -> (u32, u32) {
        (self.encoder.width(), self.encoder.height())
    }
    /// Encodes a picture of any size and format. Mostly gives one access unit at once.
    ///
    /// Keyframes come every two seconds of `pts` and when `keyframe` asks for one; each carries the
    /// parameter sets.
    pub fn encode(
        &mut self,
        frame: &Frame,
        pts: MediaTime,
        keyframe: bool,
    ) -> Result<Vec<AccessUnit>, AvError> {
        let mut av_frame = match self.scaler.fits(frame) {
            true => sys::share(frame.as_av())?,
            false => sys::share(self.scaler.run(frame)?)?,
        };
        let keyframe = keyframe || self.keyframe_is_due(pts);
        // Pictures of a JPEG decoder say "I", which would force every one of ours to be a keyframe.
        av_frame.set_kind(match keyframe {
            true => picture::Type::I,
            false => picture::Type::None,
        });
        self.count += 1;
        av_frame.set_pts(Some(self.count));
        if self.pending.len() >= 4 * MAX_DELAY {
            self.pending.pop_front(); // an encoder that swallows pictures must not make us grow
        }
        self.pending.push_back((self.count, pts));
        let doing = "encoding H.264";
        self.encoder
            .send_frame(&av_frame)
            .map_err(|e| AvError::from_av(doing, e))?;
        let mut units = Vec::new();
        loop {
            let mut av_packet = Packet::empty();
            match self.encoder.receive_packet(&mut av_packet) {
                Ok(()) => units.push(self.unit(&av_packet, pts)),
                Err(e) if sys::is_again(e) || e == ffmpeg_next::Error::Eof => return Ok(units),
                Err(e) => return Err(AvError::from_av(doing, e)),
            }
        }
    }
    fn keyframe_is_due(&self, pts: MediaTime) -> bool {
        let Some(last) = self.last_keyframe else {
            return true;
        };
        let since = pts.rescale(Rate::VIDEO).ticks - last.rescale(Rate::VIDEO).ticks;
        !(0..KEYFRAME_EVERY - 900).contains(&since) // 10 ms early rather than one frame late
    }
    fn unit(&mut self, av_packet: &Packet, newest: MediaTime) -> AccessUnit {
        let number = av_packet.pts().unwrap_or(self.count);
        while self.pending.front().is_some_and(|(n, _)| *n < number) {
            self.pending.pop_front();
        }
        let pts = match self.pending.front() {
            Some((n, pts)) if *n == number => *pts,
            _ => newest,
        };
        let data = av_packet.data().unwrap_or_default();
        let keyframe = annexb::nal_units(data).any(|u| annexb::kind(u) == annexb::IDR);
        if keyframe {
            self.last_keyframe = Some(pts);
        }
        AccessUnit {
            track: TrackId(0),
            pts,
            keyframe,
            data: match keyframe {
                true => with_parameter_sets(data, &self.parameter_sets),
                false => Bytes::copy_from_slice(data),
            },
        }
    }
}

/// The keyframe's bytes, with the parameter sets before it unless it has its own.
fn with_parameter_sets(data: &[u8], sets: &[Bytes]) -> Bytes {
    if annexb::nal_units(data).any(|u| annexb::kind(u) == annexb::SPS) {
        return Bytes::copy_from_slice(data);
    }
    let mut out = BytesMut::with_capacity(data.len() + 128);
    for set in sets {
        out.extend_from_slice(&[0, 0, 0, 1]);
        out.extend_from_slice(set);
    }
    out.extend_from_slice(data);
    out.freeze()
}

/// The pixel format to feed an encoder with: 4:2:0 in the range of the source if it can, else what it has.
fn choose_format(found: AvCodec, full_range: bool) -> Pixel {
    let supported: Vec<Pixel> = match found.video().ok().and_then(|v| v.formats()) {
        Some(formats) => formats.collect(),
        None => return Pixel::YUV420P,
    };
    let wanted: &[Pixel] = match full_range {
        true => &[Pixel::YUVJ420P, Pixel::YUV420P, Pixel::NV12],
        false => &[Pixel::YUV420P, Pixel::NV12],
    };
    let has = wanted.iter().find(|f| supported.contains(f));
    has.copied().unwrap_or(Pixel::YUV420P)
}

fn open_av(
    found: AvCodec,
    format: Pixel,
    settings: &[(&str, &str)],
    options: &Options,
) -> Result<encoder::Video, AvError> {
    let doing = "opening an H.264 encoder";
    let (width, height) = (options.width & !1, options.height & !1);
    let fps = options.fps.clamp(1.0, 240.0);
    let bits = options
        .bitrate
        .unwrap_or_else(|| default_bitrate(width, height, fps)) as usize;
    let mut context = codec::Context::new_with_codec(found);
    sys::set_rate_buffer(&mut context, bits, format == Pixel::YUVJ420P);
    let mut video = context
        .encoder()
        .video()
        .map_err(|e| AvError::from_av(doing, e))?;
    video.set_width(width);
    video.set_height(height);
    video.set_format(format);
    let rate = Rational((fps * 1000.0).round() as i32, 1000).reduce();
    video.set_time_base(rate.invert());
    video.set_frame_rate(Some(rate));
    video.set_max_b_frames(0);
    video.set_bit_rate(bits);
    video.set_max_bit_rate(bits);
    // Keyframes are asked for by time; this is for encoders that do not listen.
    video.set_gop((fps * 2.0).round() as u32);
    let mut dictionary = Dictionary::new();
    for (key, value) in settings {
        dictionary.set(key, value);
    }
    video
        .open_with(dictionary)
        .map_err(|e| AvError::from_av(doing, e))
}

/// Bits per second that suit a size: about 2 Mbit/s for 1280x720 at 30.
pub fn default_bitrate(width: u32, height: u32, fps: f64) -> u32 {
    let pixels = f64::from(width) * f64::from(height) * fps.clamp(1.0, 60.0);
    (pixels * 0.075).clamp(200_000.0, 8_000_000.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::av::decode::Decoder;
    use crate::media::Codec;

    fn options(width: u32, height: u32) -> Options {
        Options {
            width,
            height,
            fps: 30.0,
            bitrate: None,
            full_range: false,
            encoder: None,
        }
    }

    /// Something that moves, so that pictures differ.
    fn picture(width: u32, height: u32, n: usize) -> Frame {
        let mut frame = Frame::black(width, height).unwrap();
        let (luma, stride) = frame.luma_mut();
        for y in 0..height as usize {
            for x in 0..width as usize {
                luma[y * stride + x] = 16 + ((x + y + 4 * n) % 200) as u8;
            }
        }
        frame
    }

    fn at(ms: i64) -> MediaTime {
        MediaTime::new(ms * 90, Rate::VIDEO)
    }

    #[test]
    fn every_picture_comes_out_at_once_and_decodes_to_what_went_in() {
        let mut encoder = Encoder::open(&options(320, 240)).unwrap();
        let mut decoder = Decoder::new(Codec::H264, None).unwrap();
        for n in 0..40_usize {
            let frame = picture(320, 240, n);
            let units = encoder.encode(&frame, at(33 * n as i64), false).unwrap();
            assert_eq!(units.len(), 1, "picture {n}");
            assert_eq!(units[0].pts, at(33 * n as i64));
            let decoded = decoder.push(&units[0]).unwrap();
            assert_eq!(decoded.len(), 1, "picture {n}");
            assert_eq!(decoded[0].pts, Some(at(33 * n as i64)));
            let off = (0..320).map(|x| {
                let (a, b) = (
                    frame.luma_at(x, 100).unwrap(),
                    decoded[0].luma_at(x, 100).unwrap(),
                );
                u32::from(a.abs_diff(b))
            });
            assert!(off.sum::<u32>() / 320 < 16, "picture {n}");
        }
    }

    #[test]
    fn keyframes_come_by_time_and_on_demand_with_parameter_sets() {
        let mut encoder = Encoder::open(&options(160, 120)).unwrap();
        let mut keys = Vec::new();
        // 10 pictures a second although 30 were announced: dim light makes cameras slow.
        for n in 0..50 {
            let units = encoder
                .encode(&picture(160, 120, n), at(100 * n as i64), n == 33)
                .unwrap();
            if units[0].keyframe {
                keys.push(n);
                let kinds: Vec<_> = annexb::nal_units(&units[0].data).map(annexb::kind).collect();
                assert_eq!(kinds[..2], [annexb::SPS, annexb::PPS]);
                assert!(kinds.contains(&annexb::IDR));
            }
        }
        assert_eq!(keys, [0, 20, 33]);
    }

    #[test]
    fn the_parameter_sets_are_known_before_the_first_picture_and_stay() {
        let mut encoder = Encoder::open(&options(160, 120)).unwrap();
        let sets = encoder.parameter_sets().to_vec();
        assert_eq!(
            sets.iter().map(|s| annexb::kind(s)).collect::<Vec<_>>(),
            [annexb::SPS, annexb::PPS]
        );
        let first = encoder.encode(&picture(160, 120, 0), at(0), false).unwrap();
        assert!(first[0].keyframe);
        let in_band: Vec<_> = annexb::nal_units(&first[0].data).take(2).collect();
        assert_eq!(in_band, sets);
    }

    #[test]
    fn pictures_of_other_sizes_and_ranges_are_conformed() {
        let mut encoder = Encoder::open(&Options {
            full_range: true,
            ..options(161, 121)
        })
        .unwrap();
        assert_eq!(encoder.size(), (160, 120));
        let units = encoder.encode(&picture(640, 480, 0), at(0), false).unwrap();
        let decoded = Decoder::new(Codec::H264, None).unwrap().push(&units[0]).unwrap();
        assert_eq!((decoded[0].width(), decoded[0].height()), (160, 120));
        assert!(decoded[0].full_range());
    }

    #[test]
    fn the_bitrate_is_kept() {
        let mut encoder = Encoder::open(&Options {
            bitrate: Some(300_000),
            ..options(320, 240)
        })
        .unwrap();
        let mut bytes = 0;
        for n in 0..150_usize {
            let mut frame = picture(320, 240, n);
            let (luma, _) = frame.luma_mut();
            let mut noise = n as u32 + 1;
            for sample in luma {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *sample = 16 + (noise >> 25) as u8;
            }
            let units = encoder.encode(&frame, at(33 * n as i64), false).unwrap();
            bytes += units.iter().map(|u| u.data.len()).sum::<usize>();
        }
        let rate = bytes * 8 / 5;
        assert!(rate < 450_000, "{rate} bit/s of pure noise");
        assert!((1_900_000..2_200_000).contains(&default_bitrate(1280, 720, 30.0)));
    }

    #[test]
    fn an_encoder_that_is_not_there_is_named() {
        let wanted = Options {
            encoder: Some("libopenh265".into()),
            ..options(160, 120)
        };
        let Err(e) = Encoder::open(&wanted) else {
            panic!("opened")
        };
        assert!(e.to_string().contains("unknown encoder libopenh265"), "{e}");
        assert!(Encoder::open(&options(0, 120)).is_err());
        assert!(Encoder::open(&options(20_000, 120)).is_err());
    }

    #[test]
    fn encoders_that_do_not_work_here_are_passed_over_and_told() {
        // No encoder of that name; one that encodes something else and so has no parameter sets.
        let broken: &[Candidate] = &[("h264_of_tomorrow", &[]), ("mpeg4", &[])];
        let Err(e) = Encoder::open_first(broken, &options(160, 120)) else {
            panic!("opened");
        };
        let text = e.to_string();
        assert!(text.contains("no h264_of_tomorrow, mpeg4: "), "{text}");
        let last = [broken, &CANDIDATES[..1]].concat();
        let encoder = Encoder::open_first(&last, &options(160, 120)).unwrap();
        assert_eq!(encoder.name(), CANDIDATES[0].0);
    }

    #[test]
    fn sets_are_put_before_a_keyframe_that_lacks_them() {
        let sets = [Bytes::from_static(&[0x67, 1]), Bytes::from_static(&[0x68, 2])];
        let bare = [0, 0, 0, 1, 0x65, 9];
        let whole = with_parameter_sets(&bare, &sets);
        assert_eq!(
            whole[..],
            [0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2, 0, 0, 0, 1, 0x65, 9]
        );
        assert_eq!(with_parameter_sets(&whole, &sets), whole);
    }
}
