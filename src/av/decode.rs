//! Coded pictures in, decoded pictures out.

use ffmpeg_next::Packet;
use ffmpeg_next::codec;
use ffmpeg_next::codec::Flags;
use ffmpeg_next::codec::Id;
use ffmpeg_next::codec::Parameters;
use ffmpeg_next::codec::threading;
use ffmpeg_next::decoder;
use ffmpeg_next::format::Pixel;
use ffmpeg_next::frame::Video;

use crate::av::AvError;
use crate::av::frame::Frame;
use crate::av::frame::check_size;
use crate::av::init;
use crate::av::input::Chunk;
use crate::av::sys;
use crate::base::time::MediaTime;
use crate::base::time::Rate;
use crate::media::AccessUnit;
use crate::media::Codec;

/// What is said of bytes that do not decode.
const DOING: &str = "video";

/// A decoder of one track. Gives each picture at once and runs on the caller's thread alone.
pub struct Decoder {
    inner: decoder::Video,
    rate: Rate,
}

impl Decoder {
    /// A decoder of H.264, H.265 (Annex B), MPEG-1, 2 and 4 part 2, JPEG, AV1, VP8 or VP9.
    ///
    /// `extradata` are parameter sets known from elsewhere (SDP), in the form the stream has them: Annex B
    /// NAL units, or MPEG-4's `config`.
    pub fn new(codec: Codec, extradata: Option<&[u8]>) -> Result<Self, AvError> {
        init();
        let id = id_of(codec).ok_or(AvError::NoDecoder(codec))?;
        let found = decoder::find(id).ok_or(AvError::NoDecoder(codec))?;
        let mut context = codec::Context::new_with_codec(found);
        if let Some(data) = extradata.filter(|d| !d.is_empty()) {
            sys::set_extradata(&mut context, data)?;
        }
        Self::open(context)
    }
    /// A decoder of what a device says it gives, raw pictures included.
    pub(crate) fn of_device(parameters: Parameters) -> Result<Self, AvError> {
        let context = codec::Context::from_parameters(parameters)
            .map_err(|e| AvError::from_av("preparing a decoder", e))?;
        Self::open(context)
    }
    /// A decoder that gives bytes of a known layout as pictures.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "for V4L2"))]
    pub(crate) fn raw(format: Pixel, width: u32, height: u32) -> Result<Self, AvError> {
        init();
        check_size(width, height)?;
        let found = decoder::find(Id::RAWVIDEO).ok_or(AvError::NoInput("raw"))?;
        let mut context = codec::Context::new_with_codec(found);
        sys::set_picture(&mut context, format, width, height);
        Self::open(context)
    }
    fn open(mut context: codec::Context) -> Result<Self, AvError> {
        context.set_threading(threading::Config::count(1));
        context.set_flags(Flags::LOW_DELAY);
        let inner = context
            .decoder()
            .video()
            .map_err(|e| AvError::from_av("opening a decoder", e))?;
        Ok(Self {
            inner,
            rate: Rate::VIDEO,
        })
    }
    /// Decodes one access unit: mostly one picture, none before the first keyframe.
    ///
    /// [`AvError::Damaged`] means that this unit was lost and the next may be pushed all the same.
    pub fn push(&mut self, unit: &AccessUnit) -> Result<Vec<Frame>, AvError> {
        if unit.data.is_empty() {
            return Err(AvError::Damaged(DOING));
        }
        self.rate = unit.pts.rate;
        let mut av_packet = Packet::copy(&unit.data);
        av_packet.set_pts(Some(unit.pts.ticks));
        self.push_av(&av_packet)
    }
    /// Decodes what a device gave; its bytes are handed over, so that raw pictures need not be copied.
    pub fn push_chunk(&mut self, chunk: Chunk) -> Result<Vec<Frame>, AvError> {
        self.push_av(&chunk.av_packet)
    }
    fn push_av(&mut self, av_packet: &Packet) -> Result<Vec<Frame>, AvError> {
        self.inner
            .send_packet(av_packet)
            .map_err(|e| AvError::from_av(DOING, e))?;
        let mut frames = Vec::new();
        loop {
            let mut video = Video::empty();
            match self.inner.receive_frame(&mut video) {
                Ok(()) => {
                    let pts = video.timestamp().map(|t| MediaTime::new(t, self.rate));
                    frames.push(Frame::from_av(video, pts));
                }
                Err(e) if sys::is_again(e) || e == ffmpeg_next::Error::Eof => return Ok(frames),
                Err(e) => return Err(AvError::from_av(DOING, e)),
            }
        }
    }
}

/// Whether this build can show what is coded like this.
pub(crate) fn has_decoder(codec: Codec) -> bool {
    init();
    id_of(codec).and_then(decoder::find).is_some()
}

/// The libraries' number of a coding; `None` for what has no pictures.
fn id_of(codec: Codec) -> Option<Id> {
    Some(match codec {
        Codec::H264 => Id::H264,
        Codec::H265 => Id::HEVC,
        Codec::Jpeg => Id::MJPEG,
        Codec::Mpeg4Visual => Id::MPEG4,
        Codec::Mpeg2Video => Id::MPEG2VIDEO, // which reads MPEG-1 too
        Codec::Av1 => Id::AV1,
        Codec::Vp8 => Id::VP8,
        Codec::Vp9 => Id::VP9,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::av::jpeg::JpegEncoder;
    use crate::media::TrackId;

    fn unit(data: &'static [u8]) -> AccessUnit {
        AccessUnit {
            track: TrackId(0),
            pts: MediaTime::new(0, Rate::VIDEO),
            keyframe: true,
            data: Bytes::from_static(data),
        }
    }

    #[test]
    fn damaged_units_are_errors_and_the_decoder_goes_on() {
        let mut decoder = Decoder::new(Codec::Jpeg, None).unwrap();
        assert!(decoder.push(&unit(b"")).is_err());
        assert!(decoder.push(&unit(b"\xff\xd8\xff\xc0 not a jpeg")).is_err());
        let made = JpegEncoder::new(80)
            .encode(&Frame::black(32, 32).unwrap(), None)
            .unwrap();
        let whole = AccessUnit {
            data: made.jpeg,
            ..unit(b"")
        };
        assert_eq!(decoder.push(&whole).unwrap().len(), 1);
    }

    #[test]
    fn a_coding_without_pictures_has_no_decoder() {
        assert!(matches!(
            Decoder::new(Codec::Aac, None),
            Err(AvError::NoDecoder(Codec::Aac))
        ));
    }

    #[test]
    fn decoders_and_encoders_may_move_between_threads() {
        fn may_move<T: Send>() {}
        may_move::<Decoder>();
        may_move::<JpegEncoder>();
        may_move::<Frame>();
    }
}
