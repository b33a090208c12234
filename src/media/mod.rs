//! The nouns that every room shares: track, codec, description, access unit. Pure values.
//!
//! No I/O, no serialization, no protocol: SDP is read in `proto::sdp`, JSON is made in `web::api`.

use std::fmt;

use bytes::Bytes;

use crate::base::time::MediaTime;
use crate::base::time::Rate;

/// Which track of a stream: its index in the [`Description`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TrackId(pub u8);

/// What a track carries, as SDP's `m=` line names it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MediaKind {
    Audio,
    Video,
    /// Metadata, KLV, MPEG-TS data: passed on untouched.
    Application,
}

impl MediaKind {
    /// The word on SDP's `m=` line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Application => "application",
        }
    }
}

/// A coding that some part of Louver looks into; all others pass as [`Codec::Other`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Codec {
    /// MPEG-4 audio, one AU per access unit (RFC 3640 on the wire).
    Aac,
    /// MPEG-4 audio in LATM (RFC 6416 section 6).
    AacLatm,
    Ac3,
    Av1,
    G722,
    H264,
    H265,
    /// Motion JPEG: an access unit is a whole JPEG file.
    Jpeg,
    /// Metadata in keys, lengths and values (SMPTE ST 336).
    Klv,
    /// Samples that are not coded, of 8, 16 or 24 bits.
    Lpcm,
    /// MPEG-1 and MPEG-2 video.
    Mpeg2Video,
    /// MPEG-4 part 2, what `ffmpeg -f rtsp` sends when no codec is named.
    Mpeg4Visual,
    /// Layers 1 to 3 of MPEG audio: MP1, MP2, MP3.
    MpegAudio,
    /// A whole MPEG transport stream in one track.
    MpegTs,
    Opus,
    Pcma,
    Pcmu,
    Vorbis,
    Vp8,
    Vp9,
    /// Relayed packet by packet; nothing looks inside.
    Other,
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aac => "AAC",
            Self::AacLatm => "AAC-LATM",
            Self::Ac3 => "AC-3",
            Self::Av1 => "AV1",
            Self::G722 => "G.722",
            Self::H264 => "H.264",
            Self::H265 => "H.265",
            Self::Jpeg => "MJPEG",
            Self::Klv => "KLV",
            Self::Lpcm => "LPCM",
            Self::Mpeg2Video => "MPEG-1/2 video",
            Self::Mpeg4Visual => "MPEG-4 part 2",
            Self::MpegAudio => "MPEG audio",
            Self::MpegTs => "MPEG-TS",
            Self::Opus => "Opus",
            Self::Pcma => "G.711 A-law",
            Self::Pcmu => "G.711 mu-law",
            Self::Vorbis => "Vorbis",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::Other => "other",
        })
    }
}

/// One audio, video or data track, with all that SDP says of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Track {
    pub id: TrackId,
    pub kind: MediaKind,
    pub codec: Codec,
    /// RTP payload type, 0 to 127.
    pub payload_type: u8,
    /// RTP clock, units per second.
    pub rate: Rate,
    /// The encoding name of `a=rtpmap` (`H264`, `MP4V-ES`, `mpeg4-generic`), for fixed payload types without
    /// one that of RFC 3551; empty if the sender named none.
    pub encoding: String,
    /// Audio channels, where `a=rtpmap` names them.
    pub channels: Option<u8>,
    /// The parameters of `a=fmtp`, without the payload type.
    pub fmtp: Option<String>,
}

impl Track {
    /// One parameter of `a=fmtp`; keys compare without case, values are trimmed.
    pub fn fmtp_param(&self, key: &str) -> Option<&str> {
        self.fmtp.as_deref()?.split(';').find_map(|p| {
            let (k, v) = p.split_once('=')?;
            k.trim().eq_ignore_ascii_case(key).then(|| v.trim())
        })
    }
}

/// The tracks of a stream, in the order of its SDP; `tracks[i].id == TrackId(i)`. What a reader is shown of it may be
/// fewer, with the ids that they have in the stream.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Description {
    pub tracks: Vec<Track>,
}

impl Description {
    /// The track of this number, if there is one.
    pub fn track(&self, id: TrackId) -> Option<&Track> {
        self.tracks.get(usize::from(id.0))
    }
    /// The first video track: the one that keyframes, pictures and joins go by.
    pub fn video(&self) -> Option<&Track> {
        self.tracks.iter().find(|t| t.kind == MediaKind::Video)
    }
    /// The first audio track.
    pub fn audio(&self) -> Option<&Track> {
        self.tracks.iter().find(|t| t.kind == MediaKind::Audio)
    }
}

/// One coded picture with all that belongs to it, or one coded audio frame.
///
/// `data` by codec:
/// - H.264 and H.265 in Annex B form; MPEG-1/2 video and MPEG-4 part 2 as their elementary streams.
/// - AV1: the OBUs of a temporal unit with their sizes ("low overhead"), without temporal delimiter.
/// - VP8 and VP9: a frame, for VP9 with several layers a superframe. JPEG: a whole file.
/// - AAC: one raw data block without ADTS. AAC-LATM: an AudioMuxElement, without LOAS.
/// - MPEG audio and AC-3: one frame with its header. Vorbis: one audio packet, without Ogg.
/// - LPCM: samples with the most significant byte first, channels interleaved. KLV: whole keys, lengths, values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccessUnit {
    pub track: TrackId,
    pub pts: MediaTime,
    /// Decoding can start here.
    pub keyframe: bool,
    pub data: Bytes,
}
