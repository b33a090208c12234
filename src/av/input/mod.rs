//! An open capture device (or lavfi's test pictures), read without waiting.
//!
//! FFmpeg's libraries do it on every platform; cameras of Linux are read directly where they can be, for less
//! memory.

#[cfg(target_os = "linux")]
mod v4l2;

use std::time::Duration;

use ffmpeg_next::Error;
use ffmpeg_next::Packet;
use ffmpeg_next::Rescale;
use ffmpeg_next::codec::Id;
use ffmpeg_next::format::context;
use tokio_util::sync::CancellationToken;

use crate::av::AvError;
use crate::av::decode::Decoder;
use crate::av::device::Coding;
use crate::av::device::Mode;
use crate::av::options;
use crate::av::options::Opening;
use crate::av::sys;

/// An open device.
pub struct Input(Inner);

enum Inner {
    Libav(Libav),
    #[cfg(target_os = "linux")]
    V4l2(Box<v4l2::V4l2>),
}

struct Libav {
    context: context::Input,
    width: u32,
    height: u32,
    id: Id,
}

/// What one read gives: a coded or raw picture.
pub struct Chunk {
    pub(crate) av_packet: Packet,
    /// When the device says that it was taken, in microseconds of its own clock.
    pub pts: Option<i64>,
    /// Pictures before it that the driver had no room for, where it tells.
    pub missed: u32,
}

impl Chunk {
    /// The picture's bytes.
    pub fn data(&self) -> &[u8] {
        self.av_packet.data().unwrap_or_default()
    }
}

impl Input {
    /// Opens a camera in a mode, or in the one it is in; `stop` ends an opening that hangs, where the
    /// libraries look at it.
    pub fn camera(node: &str, mode: Option<&Mode>, stop: CancellationToken) -> Result<Self, AvError> {
        #[cfg(target_os = "linux")]
        if let Some(mode) = mode {
            match v4l2::V4l2::open(node, mode) {
                Ok(opened) => return Ok(Self(Inner::V4l2(Box::new(opened)))),
                Err(e) if is_final(&e) => return Err(e),
                Err(e) => tracing::debug!("The camera is left to libavdevice: {e}."),
            }
        }
        Self::open(&options::native()(node, mode), stop)
    }
    /// Opens a device by the libraries.
    pub fn open(opening: &Opening, stop: CancellationToken) -> Result<Self, AvError> {
        let context = sys::open_input(opening, stop)?;
        let stream = context.stream(0).ok_or(AvError::NoInput(opening.input))?;
        let parameters = stream.parameters();
        let (width, height) = sys::picture_size(&parameters);
        let id = parameters.id();
        drop(parameters);
        Ok(Self(Inner::Libav(Libav {
            context,
            width,
            height,
            id,
        })))
    }
    /// Width and height that the device settled on.
    pub fn size(&self) -> (u32, u32) {
        match &self.0 {
            Inner::Libav(libav) => (libav.width, libav.height),
            #[cfg(target_os = "linux")]
            Inner::V4l2(v4l2) => (v4l2.mode().width, v4l2.mode().height),
        }
    }
    /// How its pictures are coded. What is raw for the libraries is `Raw("")`: only the decoder needs more.
    pub fn coding(&self) -> Coding {
        match &self.0 {
            Inner::Libav(libav) => match libav.id {
                Id::H264 => Coding::H264,
                Id::MJPEG => Coding::Jpeg,
                Id::RAWVIDEO | Id::WRAPPED_AVFRAME => Coding::Raw(""),
                _ => Coding::Other,
            },
            #[cfg(target_os = "linux")]
            Inner::V4l2(v4l2) => v4l2.mode().coding.clone(),
        }
    }
    /// A decoder of its pictures.
    pub fn decoder(&self) -> Result<Decoder, AvError> {
        match &self.0 {
            Inner::Libav(libav) => {
                let stream = libav.context.stream(0).ok_or(AvError::NoInput("capture"))?;
                Decoder::of_device(stream.parameters())
            }
            #[cfg(target_os = "linux")]
            Inner::V4l2(v4l2) => v4l2.decoder(),
        }
    }
    /// Waits for the next picture, but not longer than `at_most`, nor than `guess` where one cannot wait for
    /// the device itself.
    pub fn wait(&self, at_most: Duration, guess: Duration) {
        match &self.0 {
            Inner::Libav(_) => std::thread::sleep(guess.min(at_most)),
            #[cfg(target_os = "linux")]
            Inner::V4l2(v4l2) => v4l2.wait(at_most),
        }
    }
    /// The next picture, or `None` when there is none yet. A damaged one is [`AvError::Damaged`]; any
    /// other error means that the device is gone or broken.
    pub fn read(&mut self) -> Result<Option<Chunk>, AvError> {
        match &mut self.0 {
            Inner::Libav(libav) => libav.read(),
            #[cfg(target_os = "linux")]
            Inner::V4l2(v4l2) => v4l2.read(),
        }
    }
}

impl Libav {
    fn read(&mut self) -> Result<Option<Chunk>, AvError> {
        let mut av_packet = Packet::empty();
        match av_packet.read(&mut self.context) {
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
        let base = self.context.stream(av_packet.stream()).map(|s| s.time_base());
        let pts = av_packet
            .pts()
            .zip(base)
            .map(|(t, base)| t.rescale(base, (1, 1_000_000)));
        Ok(Some(Chunk {
            av_packet,
            pts,
            missed: 0,
        }))
    }
}

/// Errors that are no different by another way in: not there, not allowed, in use.
#[cfg(target_os = "linux")]
fn is_final(e: &AvError) -> bool {
    use nix::errno::Errno;
    let number = e.errno().map(Errno::from_raw);
    matches!(
        number,
        Some(Errno::ENOENT | Errno::ENODEV | Errno::ENXIO | Errno::EACCES | Errno::EPERM | Errno::EBUSY)
    )
}
