//! An open capture device (or lavfi's test pictures), read without waiting.

use ffmpeg_next::Error;
use ffmpeg_next::Packet;
use ffmpeg_next::Rescale;
use ffmpeg_next::codec::Id;
use ffmpeg_next::format::context;
use tokio_util::sync::CancellationToken;

use crate::av::AvError;
use crate::av::decode::Decoder;
use crate::av::device::Coding;
use crate::av::options::Opening;
use crate::av::sys;

/// An open device.
pub struct Input {
    inner: context::Input,
    width: u32,
    height: u32,
    id: Id,
}

/// What one read gives: a coded or raw picture.
pub struct Chunk {
    pub(crate) av_packet: Packet,
    /// When the device says that it was taken, in microseconds of its own clock.
    pub pts: Option<i64>,
}

impl Chunk {
    /// The picture's bytes.
    pub fn data(&self) -> &[u8] {
        self.av_packet.data().unwrap_or_default()
    }
}

impl Input {
    /// Opens a device; `stop` ends an opening that hangs, where the libraries look at it.
    pub fn open(opening: &Opening, stop: CancellationToken) -> Result<Self, AvError> {
        let inner = sys::open_input(opening, stop)?;
        let stream = inner.stream(0).ok_or(AvError::NoInput(opening.input))?;
        let parameters = stream.parameters();
        let (width, height) = sys::picture_size(&parameters);
        let id = parameters.id();
        drop(parameters);
        Ok(Self {
            inner,
            width,
            height,
            id,
        })
    }
    /// Width and height that the device settled on.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }
    /// How its pictures are coded. All that is raw is `Raw("")`: only the decoder needs to know more.
    pub fn coding(&self) -> Coding {
        match self.id {
            Id::H264 => Coding::H264,
            Id::MJPEG => Coding::Jpeg,
            Id::RAWVIDEO | Id::WRAPPED_AVFRAME => Coding::Raw(""),
            _ => Coding::Other,
        }
    }
    /// A decoder of its pictures.
    pub fn decoder(&self) -> Result<Decoder, AvError> {
        let stream = self.inner.stream(0).ok_or(AvError::NoInput("capture"))?;
        Decoder::of_device(stream.parameters())
    }
    /// The next picture, or `None` when there is none yet. A damaged one is [`AvError::Damaged`]; any
    /// other error means that the device is gone or broken.
    pub fn read(&mut self) -> Result<Option<Chunk>, AvError> {
        let mut av_packet = Packet::empty();
        match av_packet.read(&mut self.inner) {
            Ok(()) => {}
            Err(e) if sys::is_again(e) => return Ok(None),
            Err(Error::Eof | Error::Exit) => {
                return Err(AvError::Refused {
                    doing: "reading the device",
                    reason: "it ended".into(),
                });
            }
            Err(e) => return Err(AvError::from_av("reading the device", e)),
        }
        let base = self.inner.stream(av_packet.stream()).map(|s| s.time_base());
        let pts = av_packet
            .pts()
            .zip(base)
            .map(|(t, base)| t.rescale(base, (1, 1_000_000)));
        Ok(Some(Chunk { av_packet, pts }))
    }
}
