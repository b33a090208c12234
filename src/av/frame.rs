//! A decoded picture. Cheap to move; copied only where the name says so.

use ffmpeg_next::color::Range;
use ffmpeg_next::format::Pixel;
use ffmpeg_next::frame::Video;

use crate::av::AvError;
use crate::av::sys;
use crate::base::time::MediaTime;

/// The largest width or height that is handled; beyond, some encoders and RFC 6184 decoders give up.
pub const MAX_SIDE: u32 = 8192;

/// A decoded picture with its time.
pub struct Frame {
    video: Video,
    /// When it was taken, on the clock of the track or device it came from.
    pub pts: Option<MediaTime>,
}

impl Frame {
    /// A black picture in planar 4:2:0 with limited range, to draw on.
    pub fn black(width: u32, height: u32) -> Result<Self, AvError> {
        let mut video = allocate(Pixel::YUV420P, width, height)?;
        video.set_color_range(Range::MPEG);
        video.data_mut(0).fill(16);
        video.data_mut(1).fill(128);
        video.data_mut(2).fill(128);
        Ok(Self { video, pts: None })
    }
    /// Takes over a picture of the libraries.
    ///
    /// Full-range 4:2:0 (and its relatives) is renamed to libav's J formats, which is how the scaler and
    /// the encoders learn of the range.
    pub(crate) fn from_av(mut video: Video, pts: Option<MediaTime>) -> Self {
        if video.color_range() == Range::JPEG {
            let full = match video.format() {
                Pixel::YUV420P => Pixel::YUVJ420P,
                Pixel::YUV422P => Pixel::YUVJ422P,
                Pixel::YUV444P => Pixel::YUVJ444P,
                other => other,
            };
            video.set_format(full);
        }
        Self { video, pts }
    }
    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.video.width()
    }
    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.video.height()
    }
    /// Whether luma runs from 0 to 255 (as cameras' JPEGs do) instead of 16 to 235.
    pub fn full_range(&self) -> bool {
        matches!(
            self.video.format(),
            Pixel::YUVJ420P | Pixel::YUVJ422P | Pixel::YUVJ444P | Pixel::YUVJ440P
        )
    }
    /// Makes sure that drawing on the picture changes nobody else's.
    pub fn make_writable(&mut self) -> Result<(), AvError> {
        sys::make_writable(&mut self.video)
    }
    /// The luma samples (8 bits, planar formats only) and the bytes from one row to the next.
    pub fn luma(&self) -> (&[u8], usize) {
        (self.video.data(0), self.video.stride(0))
    }
    /// The luma samples to draw on, and the bytes from one row to the next.
    pub fn luma_mut(&mut self) -> (&mut [u8], usize) {
        let stride = self.video.stride(0);
        (self.video.data_mut(0), stride)
    }
    /// The brightness at a point, 0 to 255 as stored; `None` outside of the picture.
    pub fn luma_at(&self, x: u32, y: u32) -> Option<u8> {
        if x >= self.width() || y >= self.height() {
            return None;
        }
        let (data, stride) = self.luma();
        data.get(y as usize * stride + x as usize).copied()
    }
    pub(crate) fn as_av(&self) -> &Video {
        &self.video
    }
}

/// A picture without content. The libraries abort on sizes they cannot allocate, so these are checked here.
pub(crate) fn allocate(format: Pixel, width: u32, height: u32) -> Result<Video, AvError> {
    check_size(width, height)?;
    Ok(Video::new(format, width, height))
}

/// Whether a picture of this size can be handled at all.
pub(crate) fn check_size(width: u32, height: u32) -> Result<(), AvError> {
    if width == 0 || height == 0 || width > MAX_SIDE || height > MAX_SIDE {
        return Err(AvError::Size { width, height });
    }
    Ok(())
}
