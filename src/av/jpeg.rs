//! JPEG files from decoded pictures, and smaller JPEGs from JPEGs.

use bytes::Bytes;
use ffmpeg_next::Dictionary;
use ffmpeg_next::Packet;
use ffmpeg_next::Rational;
use ffmpeg_next::codec;
use ffmpeg_next::codec::Flags;
use ffmpeg_next::codec::Id;
use ffmpeg_next::encoder;
use ffmpeg_next::format::Pixel;

use crate::av::AvError;
use crate::av::decode::Decoder;
use crate::av::frame::Frame;
use crate::av::init;
use crate::av::scale::Scaler;
use crate::av::sys;
use crate::base::time::MediaTime;
use crate::base::time::Rate;
use crate::media::AccessUnit;
use crate::media::Codec;
use crate::media::TrackId;

/// The quality used where nobody asks for another.
pub const QUALITY: u8 = 80;

/// A picture as a JPEG file, without any metadata.
pub struct Jpeg {
    pub jpeg: Bytes,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// Encodes pictures; keeps its tables while size and format stay.
pub struct JpegEncoder {
    quantiser: i32,
    opened: Option<Opened>,
    count: i64,
}

struct Opened {
    encoder: encoder::Video,
    scaler: Scaler,
}

impl JpegEncoder {
    /// `quality` from 1 to 100, as most programs count it.
    pub fn new(quality: u8) -> Self {
        init();
        Self {
            quantiser: quantiser(quality),
            opened: None,
            count: 0,
        }
    }
    /// Encodes a picture, scaled to `width` pixels (never up; the height follows) if one is given.
    pub fn encode(&mut self, frame: &Frame, width: Option<u32>) -> Result<Jpeg, AvError> {
        let (width, height) = shrunk(frame.width(), frame.height(), width);
        let resized = width != frame.width() || height != frame.height();
        let format = match frame.as_av().format() {
            full @ (Pixel::YUVJ420P | Pixel::YUVJ422P | Pixel::YUVJ444P) if !resized => full,
            _ => Pixel::YUVJ420P,
        };
        let opened = self.opened(format, width, height)?;
        let mut av_frame = match opened.scaler.fits(frame) {
            true => sys::share(frame.as_av())?,
            false => sys::share(opened.scaler.run(frame)?)?,
        };
        self.count += 1;
        av_frame.set_pts(Some(self.count));
        sys::set_quantiser(&mut av_frame, self.quantiser);
        let opened = self.opened(format, width, height)?;
        let doing = "encoding a JPEG";
        opened
            .encoder
            .send_frame(&av_frame)
            .map_err(|e| AvError::from_av(doing, e))?;
        let mut av_packet = Packet::empty();
        opened
            .encoder
            .receive_packet(&mut av_packet)
            .map_err(|e| AvError::from_av(doing, e))?;
        Ok(Jpeg {
            jpeg: Bytes::copy_from_slice(av_packet.data().unwrap_or_default()),
            width,
            height,
        })
    }
    fn opened(&mut self, format: Pixel, width: u32, height: u32) -> Result<&mut Opened, AvError> {
        let same = self.opened.as_ref().is_some_and(|o| {
            o.encoder.format() == format && o.encoder.width() == width && o.encoder.height() == height
        });
        if !same {
            self.opened = Some(open(format, width, height)?);
        }
        Ok(self.opened.as_mut().expect("opened above"))
    }
}

/// A JPEG scaled down to `width` pixels; the bytes themselves when they are not wider.
pub fn resize(jpeg: &[u8], width: u32) -> Result<Jpeg, AvError> {
    let mut decoder = Decoder::new(Codec::Jpeg, None)?;
    let unit = AccessUnit {
        track: TrackId(0),
        pts: MediaTime::new(0, Rate::VIDEO),
        keyframe: true,
        data: Bytes::copy_from_slice(jpeg),
    };
    let frames = decoder.push(&unit)?;
    let frame = frames.first().ok_or(AvError::Damaged("JPEG"))?;
    if frame.width() <= width {
        return Ok(Jpeg {
            jpeg: unit.data,
            width: frame.width(),
            height: frame.height(),
        });
    }
    JpegEncoder::new(QUALITY).encode(frame, Some(width))
}

fn open(format: Pixel, width: u32, height: u32) -> Result<Opened, AvError> {
    let scaler = Scaler::new(format, width, height)?;
    let found = encoder::find(Id::MJPEG).ok_or(AvError::Refused {
        doing: "encoding a JPEG",
        reason: "this build of FFmpeg has no JPEG encoder".into(),
    })?;
    let doing = "opening the JPEG encoder";
    let context = codec::Context::new_with_codec(found);
    let mut video = context
        .encoder()
        .video()
        .map_err(|e| AvError::from_av(doing, e))?;
    video.set_width(width);
    video.set_height(height);
    video.set_format(format);
    video.set_time_base(Rational(1, 1000));
    // BITEXACT keeps the libraries' version out of the file.
    video.set_flags(Flags::QSCALE | Flags::BITEXACT);
    let mut options = Dictionary::new();
    options.set("huffman", "default"); // the standard tables: half the work, some percent more bytes
    options.set("threads", "1");
    let encoder = video.open_with(options).map_err(|e| AvError::from_av(doing, e))?;
    Ok(Opened { encoder, scaler })
}

/// The libraries' quantiser (2 best, 31 worst) for a quality of 1 to 100.
fn quantiser(quality: u8) -> i32 {
    2 + i32::from(100 - quality.clamp(1, 100)) * 29 / 99
}

/// The size of a picture scaled to `width`, never up, both sides even and at least 2.
fn shrunk(width: u32, height: u32, wanted: Option<u32>) -> (u32, u32) {
    let Some(wanted) = wanted.filter(|w| *w < width) else {
        return (width, height);
    };
    let even = |n: u64| (n.max(2) & !1) as u32;
    let wide = even(u64::from(wanted));
    let high = even((u64::from(height) * u64::from(wide) + u64::from(width) / 2) / u64::from(width.max(1)));
    (wide, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32) -> Frame {
        let mut frame = Frame::black(width, height).unwrap();
        let (luma, stride) = frame.luma_mut();
        for y in 0..height as usize {
            luma[y * stride + width as usize / 2..][..width as usize / 2].fill(235);
        }
        frame
    }

    fn decode(jpeg: &[u8]) -> Frame {
        let unit = AccessUnit {
            track: TrackId(0),
            pts: MediaTime::new(7, Rate::VIDEO),
            keyframe: true,
            data: Bytes::copy_from_slice(jpeg),
        };
        let mut frames = Decoder::new(Codec::Jpeg, None).unwrap().push(&unit).unwrap();
        assert_eq!(frames.len(), 1);
        frames.pop().unwrap()
    }

    #[test]
    fn a_picture_survives_encoding_with_its_size_range_and_content() {
        let made = JpegEncoder::new(90).encode(&picture(320, 240), None).unwrap();
        assert_eq!(made.jpeg[..2], [0xff, 0xd8]);
        assert_eq!((made.width, made.height), (320, 240));
        let back = decode(&made.jpeg);
        assert_eq!((back.width(), back.height()), (320, 240));
        assert!(back.full_range());
        // Limited range 16 and 235 become 0 and 255 in a JPEG.
        assert!(back.luma_at(10, 10).unwrap() < 6, "{:?}", back.luma_at(10, 10));
        assert!(
            back.luma_at(300, 200).unwrap() > 249,
            "{:?}",
            back.luma_at(300, 200)
        );
        assert_eq!(back.pts.unwrap().ticks, 7);
    }

    #[test]
    fn the_file_tells_nothing_of_the_program_that_made_it() {
        let made = JpegEncoder::new(QUALITY).encode(&picture(64, 48), None).unwrap();
        assert!(!made.jpeg.windows(4).any(|w| w == b"Lavc"));
        assert!(!made.jpeg.windows(2).any(|w| w == [0xff, 0xfe]), "a comment");
    }

    #[test]
    fn widths_change_from_picture_to_picture_and_never_scale_up() {
        let mut encoder = JpegEncoder::new(QUALITY);
        let frame = picture(640, 360);
        for (wanted, got) in [
            (Some(320), (320, 180)),
            (Some(101), (100, 56)),
            (None, (640, 360)),
            (Some(9999), (640, 360)),
            (Some(0), (2, 2)),
        ] {
            let made = encoder.encode(&frame, wanted).unwrap();
            assert_eq!((made.width, made.height), got);
            let back = decode(&made.jpeg);
            assert_eq!((back.width(), back.height()), got);
        }
    }

    #[test]
    fn a_jpeg_is_resized_without_being_told_its_size() {
        let big = JpegEncoder::new(QUALITY)
            .encode(&picture(640, 480), None)
            .unwrap();
        let small = resize(&big.jpeg, 160).unwrap();
        assert_eq!((small.width, small.height), (160, 120));
        assert_eq!(resize(&big.jpeg, 640).unwrap().jpeg, big.jpeg);
        assert!(resize(b"not a picture at all", 160).is_err());
        assert!(resize(&big.jpeg[..40], 160).is_err());
    }

    #[test]
    fn better_quality_is_more_bytes() {
        let mut frame = Frame::black(320, 240).unwrap();
        for (i, sample) in frame.luma_mut().0.iter_mut().enumerate() {
            *sample = (i * i % 251) as u8; // busy enough to be worth bits
        }
        let size = |q| JpegEncoder::new(q).encode(&frame, None).unwrap().jpeg.len();
        assert!(size(95) > 2 * size(30));
        assert_eq!((quantiser(0), quantiser(100)), (31, 2));
    }
}
