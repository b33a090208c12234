//! Streams that FFmpeg's libraries take apart: files, and network sources of any protocol they know.
//!
//! Blocks: call it from a thread. Not here: what the units become (`ingest::pull`), devices (`av::input`).

use ffmpeg_next::Error;
use ffmpeg_next::Packet;
use ffmpeg_next::Rescale;
use ffmpeg_next::codec::Context;
use ffmpeg_next::codec::Id;
use ffmpeg_next::codec::Parameters;
use ffmpeg_next::format::context;
use tokio_util::sync::CancellationToken;

use crate::av::AvError;
use crate::av::sys;
use crate::media::Codec;
use crate::media::MediaKind;

/// What is opened, and how.
pub struct Opening {
    /// As the libraries want it, credentials included: never for logs.
    pub url: String,
    /// Options of the libraries; those that they do not know are without effect.
    pub options: Vec<(&'static str, String)>,
}

/// An open source.
pub struct Demuxer {
    context: context::Input,
    streams: Vec<Elementary>,
}

/// One elementary stream as its container describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Elementary {
    pub kind: MediaKind,
    pub codec: Codec,
    /// Samples per second; 0 for video.
    pub sample_rate: u32,
    /// What its units are beyond their codec.
    pub form: Form,
    /// Parameter sets or configuration outside of the stream, in the container's form; may be empty.
    pub extradata: Vec<u8>,
}

/// How a container has units that are had in several ways.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Form {
    /// As the codec has them.
    #[default]
    Usual,
    /// Samples of so many bytes each, of so many channels.
    Samples {
        bytes: usize,
        little_endian: bool,
        channels: u8,
    },
    /// AAC in LOAS frames.
    Loas,
}

/// One coded picture or audio frame, in the container's form.
pub struct Coded {
    /// Which of [`Demuxer::streams`].
    pub stream: usize,
    /// Presentation time in microseconds from an origin that all streams share; `None` if unknown.
    pub pts: Option<i64>,
    /// Decoding time, likewise: never goes back.
    pub dts: Option<i64>,
    pub keyframe: bool,
    av_packet: Packet,
}

impl Coded {
    /// Its bytes.
    pub fn data(&self) -> &[u8] {
        self.av_packet.data().unwrap_or_default()
    }
}

impl Demuxer {
    /// Opens a source and finds out what is in it, which may take seconds. `stop` ends that and all reading.
    ///
    /// # Errors
    /// What the system or the libraries said. No address is in it.
    pub fn open(opening: &Opening, stop: CancellationToken) -> Result<Self, AvError> {
        let context = sys::open_url(&opening.url, &opening.options, stop)?;
        let streams = context.streams().map(|s| elementary(&s)).collect();
        Ok(Self { context, streams })
    }
    /// The streams, in the container's order. What Louver cannot name is [`Codec::Other`].
    pub fn streams(&self) -> &[Elementary] {
        &self.streams
    }
    /// The next unit of any stream; `None` at the end.
    ///
    /// # Errors
    /// When the source broke. Damaged units are skipped.
    pub fn read(&mut self) -> Result<Option<Coded>, AvError> {
        loop {
            let mut av_packet = Packet::empty();
            match av_packet.read(&mut self.context) {
                Ok(()) => {}
                Err(Error::Eof | Error::Exit) => return Ok(None),
                Err(Error::InvalidData) => continue,
                Err(e) if sys::is_again(e) => {
                    std::thread::sleep(std::time::Duration::from_millis(2));
                    continue;
                }
                Err(e) => return Err(AvError::from_av("reading the source", e)),
            }
            let stream = av_packet.stream();
            if let Some(base) = self.context.stream(stream).map(|s| s.time_base()) {
                let micros = |t: i64| t.rescale(base, (1, 1_000_000));
                return Ok(Some(Coded {
                    stream,
                    pts: av_packet.pts().map(micros),
                    dts: av_packet.dts().map(micros),
                    keyframe: av_packet.is_key(),
                    av_packet,
                }));
            }
        }
    }
}

fn elementary(stream: &ffmpeg_next::Stream<'_>) -> Elementary {
    let parameters = stream.parameters();
    let codec = match parameters.id() {
        Id::H264 => Codec::H264,
        Id::HEVC => Codec::H265,
        Id::AV1 => Codec::Av1,
        Id::MJPEG => Codec::Jpeg,
        Id::MPEG1VIDEO | Id::MPEG2VIDEO => Codec::Mpeg2Video,
        Id::MPEG4 => Codec::Mpeg4Visual,
        Id::VP8 => Codec::Vp8,
        Id::VP9 => Codec::Vp9,
        Id::AAC | Id::AAC_LATM => Codec::Aac,
        Id::AC3 => Codec::Ac3,
        Id::MP2 | Id::MP3 => Codec::MpegAudio,
        Id::OPUS => Codec::Opus,
        Id::VORBIS => Codec::Vorbis,
        Id::SMPTE_KLV => Codec::Klv,
        id if samples(id).is_some() => Codec::Lpcm,
        Id::ADPCM_G722 => Codec::G722,
        Id::PCM_ALAW => Codec::Pcma,
        Id::PCM_MULAW => Codec::Pcmu,
        _ => Codec::Other,
    };
    let form = match parameters.id() {
        Id::AAC_LATM => Form::Loas,
        id => samples(id).map_or(Form::Usual, |(bytes, little_endian)| Form::Samples {
            bytes,
            little_endian,
            channels: channels(&parameters),
        }),
    };
    let (sample_rate, extradata) = sys::coding_details(&parameters);
    Elementary {
        kind: match parameters.medium() {
            ffmpeg_next::media::Type::Video => MediaKind::Video,
            ffmpeg_next::media::Type::Audio => MediaKind::Audio,
            _ => MediaKind::Application,
        },
        codec,
        sample_rate,
        form,
        extradata,
    }
}

/// Samples that are not coded, where RTP has a form for them: their bytes, and whether the least comes first.
fn samples(id: Id) -> Option<(usize, bool)> {
    match id {
        Id::PCM_U8 => Some((1, false)),
        Id::PCM_S16LE => Some((2, true)),
        Id::PCM_S16BE => Some((2, false)),
        Id::PCM_S24LE => Some((3, true)),
        Id::PCM_S24BE => Some((3, false)),
        _ => None,
    }
}

/// Channels of sound; 0 if that is unknown. A decoder is asked, since versions of the libraries keep it in
/// different places.
fn channels(parameters: &Parameters) -> u8 {
    let decoder = Context::from_parameters(parameters.clone()).and_then(|c| c.decoder().audio());
    decoder
        .ok()
        .and_then(|d| u8::try_from(d.channels()).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_told_without_its_name() {
        let opening = Opening {
            url: "file:/no-such-directory/secret.mp4".into(),
            options: Vec::new(),
        };
        let Err(e) = Demuxer::open(&opening, CancellationToken::new()) else {
            panic!("opened");
        };
        let text = e.to_string();
        assert!(text.starts_with("opening the source: "), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}
