//! V4L2 read directly. libavdevice asks every driver for 32 buffers of the largest picture, which is 59 MB for
//! 720p; four are enough, and here one can wait for a picture instead of looking for it.

use std::io;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::time::Duration;

use ffmpeg_next::Packet;
use ffmpeg_next::format::Pixel;
use v4l::Device;
use v4l::Format;
use v4l::FourCC;
use v4l::Fraction;
use v4l::buffer::Flags;
use v4l::buffer::Metadata;
use v4l::buffer::Type;
use v4l::io::mmap::Stream;
use v4l::io::traits::CaptureStream;
use v4l::video::Capture as _;
use v4l::video::capture::Parameters;

use crate::av::AvError;
use crate::av::decode::Decoder;
use crate::av::device::Coding;
use crate::av::device::Mode;
use crate::av::input::Chunk;
use crate::media::Codec;

const BUFFERS: u32 = 4;
/// How long opening waits for the first picture; a slower camera gives it to a later read.
const FIRST: Duration = Duration::from_secs(1);
/// `POLLIN` of poll(2).
const READABLE: i16 = 1;

/// A camera that streams.
pub(super) struct V4l2 {
    /// `None` only while it is dropped.
    stream: Option<Stream<'static>>,
    mode: Mode,
    /// Bytes of a raw picture's row, and as the driver pads it.
    row: Option<(usize, usize)>,
    pending: Option<Chunk>,
    /// Whether the bindings' `next` may be used: it wants to hold a buffer.
    primed: bool,
    /// The driver's number of the newest picture.
    sequence: Option<u32>,
}

impl V4l2 {
    /// Starts the camera in this very mode; a driver that insists on another is refused.
    pub(super) fn open(node: &str, mode: &Mode) -> Result<Self, AvError> {
        // The bindings take much of what drivers say on trust and panic where it is not so.
        let opened = catch_unwind(AssertUnwindSafe(|| start(node, mode)));
        match opened {
            Ok(Ok(this)) => Ok(this),
            Ok(Err(error)) => Err(os(error)),
            Err(_) => Err(os(io::Error::other("the driver answers strangely"))),
        }
    }
    pub(super) fn mode(&self) -> &Mode {
        &self.mode
    }
    pub(super) fn decoder(&self) -> Result<Decoder, AvError> {
        match self.mode.coding {
            Coding::H264 => Decoder::new(Codec::H264, None),
            Coding::Jpeg => Decoder::new(Codec::Jpeg, None),
            Coding::Raw(name) => {
                let format = name.parse::<Pixel>().map_err(|_| AvError::NoInput(name))?;
                Decoder::raw(format, self.mode.width, self.mode.height)
            }
            Coding::Other => Err(AvError::NoInput("camera")),
        }
    }
    /// Waits until there is a picture or an error, but not longer than `at_most`.
    pub(super) fn wait(&self, at_most: Duration) {
        if self.pending.is_none() {
            self.is_ready(at_most);
        }
    }
    pub(super) fn read(&mut self) -> Result<Option<Chunk>, AvError> {
        if let Some(chunk) = self.pending.take() {
            return Ok(Some(chunk));
        }
        if !self.is_ready(Duration::ZERO) {
            return Ok(None);
        }
        let stream = self.stream.as_mut().expect("there until dropped");
        if !self.primed {
            // A picture that came after its time was up: its bytes cannot be had, the next ones can.
            return match stream.dequeue() {
                Ok(_) => {
                    self.primed = true;
                    Ok(None)
                }
                Err(e) => none_or(e),
            };
        }
        match stream.next() {
            Ok((bytes, meta)) => {
                let mut chunk = picture(bytes, meta, self.row, &self.mode)?;
                chunk.missed = missed(self.sequence.replace(meta.sequence), meta.sequence);
                Ok(Some(chunk))
            }
            Err(e) => none_or(e),
        }
    }
    fn is_ready(&self, at_most: Duration) -> bool {
        let stream = self.stream.as_ref().expect("there until dropped");
        let ms = i32::try_from(at_most.as_millis()).unwrap_or(i32::MAX);
        // An error of polling is for the read to find.
        stream.handle().poll(READABLE, ms).map_or(true, |n| n > 0)
    }
}

impl Drop for V4l2 {
    fn drop(&mut self) {
        let stream = self.stream.take();
        // The bindings panic when a device does not let go in an orderly way.
        if catch_unwind(AssertUnwindSafe(|| drop(stream))).is_err() {
            tracing::debug!("The camera did not let go in an orderly way.");
        }
    }
}

fn start(node: &str, mode: &Mode) -> io::Result<V4l2> {
    let device = Device::with_path(node)?;
    let fourcc = fourcc(&mode.fourcc)?;
    let got = device.set_format(&Format::new(mode.width, mode.height, fourcc))?;
    if got.fourcc != fourcc || got.width != mode.width || got.height != mode.height {
        return Err(io::Error::other("the driver changed the mode"));
    }
    // Drivers without settable rates have no such call; what they give is what there is.
    let interval = Fraction::new(mode.rate.den, mode.rate.num);
    if let Err(e) = device.set_params(&Parameters::new(interval)) {
        tracing::debug!("The camera's rate could not be set: {e}.");
    }
    let row = row_bytes(&mode.coding, mode.width, got.stride)?;
    let mut stream = Stream::with_buffers(&device, Type::VideoCapture, BUFFERS)?;
    stream.set_timeout(FIRST);
    let (pending, primed) = match stream.next() {
        Ok((bytes, meta)) => (picture(bytes, meta, row, mode).ok(), true),
        Err(e) if e.kind() == io::ErrorKind::TimedOut => (None, false),
        Err(e) => return Err(e),
    };
    stream.set_timeout(Duration::from_millis(10)); // it is only read when there is something
    Ok(V4l2 {
        stream: Some(stream),
        mode: mode.clone(),
        row,
        pending,
        primed,
        sequence: None,
    })
}

fn fourcc(name: &str) -> io::Result<FourCC> {
    let mut letters = [b' '; 4];
    let bytes = name.as_bytes();
    let named = letters.get_mut(..bytes.len()).filter(|_| !bytes.is_empty());
    named
        .ok_or_else(|| io::Error::other("the mode has no four letters"))?
        .copy_from_slice(bytes);
    Ok(FourCC::new(&letters))
}

/// Bytes of a row as they should be and as the driver lays them out; `None` for coded pictures. Padded rows of
/// formats with several planes are refused: libavdevice may know them.
fn row_bytes(coding: &Coding, width: u32, stride: u32) -> io::Result<Option<(usize, usize)>> {
    let Coding::Raw(name) = coding else {
        return Ok(None);
    };
    let (bytes, planes) = match *name {
        "yuyv422" | "uyvy422" => (2 * width, 1),
        "rgb24" | "bgr24" => (3 * width, 1),
        "gray" => (width, 1),
        _ => (width, 3),
    };
    if stride == bytes || stride == 0 || (planes == 1 && stride > bytes) {
        return Ok(Some((bytes as usize, stride.max(bytes) as usize)));
    }
    Err(io::Error::other("the driver pads rows"))
}

/// What the driver gave, copied, so that it has its buffer back at once.
fn picture(
    bytes: &[u8],
    meta: &Metadata,
    row: Option<(usize, usize)>,
    mode: &Mode,
) -> Result<Chunk, AvError> {
    let used = bytes.get(..meta.bytesused as usize).unwrap_or(bytes);
    if meta.flags.contains(Flags::ERROR) || used.is_empty() {
        return Err(AvError::Damaged("camera"));
    }
    let av_packet = match row {
        Some((row, stride)) if stride > row => {
            let rows: Vec<u8> = used
                .chunks(stride)
                .filter_map(|r| r.get(..row))
                .flatten()
                .copied()
                .collect();
            whole(&rows, mode)?
        }
        Some(_) => whole(used, mode)?,
        None => Packet::copy(used),
    };
    #[allow(clippy::useless_conversion, reason = "seconds have 32 bits on some systems")]
    let (seconds, micros) = (i64::from(meta.timestamp.sec), i64::from(meta.timestamp.usec));
    Ok(Chunk {
        av_packet,
        pts: Some(seconds * 1_000_000 + micros),
        missed: 0,
    })
}

/// Pictures that the driver had no buffer for, by its numbers. A number that goes back, or far, is a new count.
fn missed(last: Option<u32>, now: u32) -> u32 {
    match last.map(|last| now.wrapping_sub(last)) {
        Some(step @ 1..=1000) => step - 1,
        _ => 0,
    }
}

/// A raw picture must have all its rows.
fn whole(bytes: &[u8], mode: &Mode) -> Result<Packet, AvError> {
    let pixels = mode.width as usize * mode.height as usize;
    let size = match mode.coding {
        Coding::Raw("yuyv422" | "uyvy422" | "yuv422p") => 2 * pixels,
        Coding::Raw("rgb24" | "bgr24") => 3 * pixels,
        Coding::Raw("gray") => pixels,
        _ => pixels + 2 * mode.width.div_ceil(2) as usize * mode.height.div_ceil(2) as usize,
    };
    bytes
        .get(..size)
        .map(Packet::copy)
        .ok_or(AvError::Damaged("camera"))
}

/// Nothing there after all, or the end of the camera.
fn none_or(e: io::Error) -> Result<Option<Chunk>, AvError> {
    match e.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => {
            // Readiness without a picture would make a busy loop.
            std::thread::sleep(Duration::from_millis(2));
            Ok(None)
        }
        _ => Err(AvError::Os {
            doing: "reading the device",
            error: e,
        }),
    }
}

fn os(error: io::Error) -> AvError {
    AvError::Os {
        doing: "opening the device",
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::av::device::FrameRate;

    fn mode(coding: Coding, width: u32, height: u32) -> Mode {
        Mode {
            coding,
            fourcc: "YUYV".into(),
            width,
            height,
            rate: FrameRate::whole(30),
        }
    }

    fn meta(bytesused: u32, flags: Flags) -> Metadata {
        Metadata {
            bytesused,
            flags,
            ..Metadata::default()
        }
    }

    #[test]
    fn padded_rows_are_taken_out_and_short_pictures_are_damaged() {
        let mode = mode(Coding::Raw("yuyv422"), 2, 2);
        let padded = [1, 2, 3, 4, 0, 0, 5, 6, 7, 8, 0, 0];
        let row = row_bytes(&mode.coding, 2, 6).unwrap();
        let chunk = picture(&padded, &meta(12, Flags::empty()), row, &mode).unwrap();
        assert_eq!(chunk.data(), [1, 2, 3, 4, 5, 6, 7, 8]);
        let short = picture(&padded, &meta(5, Flags::empty()), row, &mode);
        assert!(matches!(short, Err(AvError::Damaged(_))));
        let marked = picture(&padded, &meta(12, Flags::ERROR), row, &mode);
        assert!(matches!(marked, Err(AvError::Damaged(_))));
        assert!(row_bytes(&Coding::Raw("yuv420p"), 2, 6).is_err());
        assert_eq!(row_bytes(&Coding::Jpeg, 2, 0).unwrap(), None);
    }

    #[test]
    fn gaps_in_the_drivers_numbers_are_missed_pictures() {
        assert_eq!(missed(None, 77), 0);
        assert_eq!(missed(Some(77), 78), 0);
        assert_eq!(missed(Some(77), 81), 3);
        assert_eq!(missed(Some(u32::MAX), 0), 0);
        assert_eq!(missed(Some(500), 0), 0);
        assert_eq!(missed(Some(0), 0), 0);
    }

    #[test]
    fn four_letters_are_filled_up() {
        assert_eq!(fourcc("Y8").unwrap().repr, *b"Y8  ");
        assert!(fourcc("").is_err());
        assert!(fourcc("MJPEG").is_err());
    }

    #[test]
    fn a_node_that_is_not_there_is_told_by_its_number() {
        let Err(e) = V4l2::open("/dev/no-such-node", &mode(Coding::Jpeg, 640, 480)) else {
            panic!("opened");
        };
        assert_eq!(e.errno(), Some(2), "{e}");
    }
}
