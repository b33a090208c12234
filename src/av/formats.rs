//! What this build takes in and gives out: the answer to `louver formats`.
//!
//! The lists come from FFmpeg's libraries as they are installed; what Louver itself does with each coding
//! is a table here.

use std::collections::BTreeMap;

use ffmpeg_next::media::Type;

use crate::av::sys;
use crate::media::Codec;

/// All lists, each sorted by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Formats {
    /// Version of the libraries, and the licence they were built under.
    pub ffmpeg: String,
    pub licence: String,
    /// What Louver itself does with the codings it knows.
    pub relayed: Vec<Relayed>,
    pub codecs: Vec<NamedCodec>,
    pub containers: Vec<Container>,
    pub protocols: Vec<Protocol>,
    /// Kinds of capture devices.
    pub devices: Vec<Described>,
    /// The H.264 encoder that capture would use here, or why there is none.
    pub h264_encoder: Result<String, String>,
}

/// How Louver treats one coding of a publisher or camera.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relayed {
    pub codec: String,
    /// Passed on over RTSP as it came. True for every coding, known or not.
    pub rtsp: bool,
    /// Put into MPEG-TS for players that ask for it.
    pub mpegts: bool,
    /// Made into JPEG pictures for the page.
    pub pictures: bool,
}

/// A coding of the libraries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedCodec {
    pub name: String,
    pub description: String,
    /// `video`, `audio`, `subtitle` or `data`.
    pub kind: &'static str,
    pub decodes: bool,
    pub encodes: bool,
}

/// A container of the libraries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Container {
    pub name: String,
    pub description: String,
    pub reads: bool,
    pub writes: bool,
}

/// A protocol of the libraries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Protocol {
    pub name: String,
    pub reads: bool,
    pub writes: bool,
}

/// A name with a description.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Described {
    pub name: String,
    pub description: String,
}

/// Everything this build takes and gives.
pub fn list() -> Formats {
    sys::init();
    let devices = sys::video_devices();
    Formats {
        ffmpeg: version(),
        licence: ffmpeg_next::codec::license().to_owned(),
        relayed: relayed(),
        codecs: codecs(),
        containers: containers(),
        protocols: protocols(),
        devices: sorted(
            devices
                .into_iter()
                .map(|(name, description)| Described { name, description }),
        ),
        h264_encoder: h264_encoder(),
    }
}

fn sorted(items: impl Iterator<Item = Described>) -> Vec<Described> {
    let mut items: Vec<_> = items.collect();
    items.sort_by(|a, b| a.name.cmp(&b.name));
    items
}

/// libavcodec's version, as its own programs print it.
fn version() -> String {
    let v = ffmpeg_next::codec::version();
    format!("libavcodec {}.{}.{}", v >> 16, (v >> 8) & 0xff, v & 0xff)
}

fn h264_encoder() -> Result<String, String> {
    let options = crate::av::encode::Options {
        width: 320,
        height: 240,
        fps: 30.0,
        bitrate: None,
        full_range: false,
        encoder: None,
    };
    crate::av::encode::Encoder::open(&options)
        .map(|e| e.name().to_owned())
        .map_err(|e| e.to_string())
}

fn relayed() -> Vec<Relayed> {
    let known = [
        Codec::H264,
        Codec::H265,
        Codec::Mpeg4Visual,
        Codec::Jpeg,
        Codec::Av1,
        Codec::Vp8,
        Codec::Vp9,
        Codec::Mpeg2Video,
        Codec::MpegTs,
        Codec::Aac,
        Codec::AacLatm,
        Codec::Opus,
        Codec::Pcma,
        Codec::Pcmu,
        Codec::G722,
        Codec::Lpcm,
        Codec::MpegAudio,
        Codec::Ac3,
        Codec::Vorbis,
        Codec::Klv,
        Codec::Other,
    ];
    let row = |codec| Relayed {
        codec: Codec::to_string(&codec),
        rtsp: true,
        mpegts: matches!(codec, Codec::H264 | Codec::H265 | Codec::Mpeg4Visual | Codec::Aac),
        pictures: codec == Codec::Jpeg || super::decode::has_decoder(codec),
    };
    known.into_iter().map(row).collect()
}

fn codecs() -> Vec<NamedCodec> {
    let mut by_name: BTreeMap<String, NamedCodec> = BTreeMap::new();
    for codec in sys::codecs() {
        let name = codec.name().to_owned();
        let entry = by_name.entry(name.clone()).or_insert_with(|| NamedCodec {
            name,
            description: codec.description().to_owned(),
            kind: kind(codec.medium()),
            decodes: false,
            encodes: false,
        });
        entry.decodes |= codec.is_decoder();
        entry.encodes |= codec.is_encoder();
    }
    by_name.into_values().collect()
}

fn kind(medium: Type) -> &'static str {
    match medium {
        Type::Video => "video",
        Type::Audio => "audio",
        Type::Subtitle => "subtitle",
        _ => "data",
    }
}

fn containers() -> Vec<Container> {
    let mut by_name: BTreeMap<String, Container> = BTreeMap::new();
    let sides = [(sys::demuxers(), true), (sys::muxers(), false)];
    for (formats, reads) in sides {
        for (name, description) in formats {
            let entry = by_name.entry(name.clone()).or_insert(Container {
                name,
                description,
                reads: false,
                writes: false,
            });
            match reads {
                true => entry.reads = true,
                false => entry.writes = true,
            }
        }
    }
    by_name.into_values().collect()
}

fn protocols() -> Vec<Protocol> {
    let (reads, writes) = (sys::protocols(false), sys::protocols(true));
    let mut names: Vec<&String> = reads.iter().chain(&writes).collect();
    names.sort();
    names.dedup();
    let row = |name: &String| Protocol {
        name: name.clone(),
        reads: reads.contains(name),
        writes: writes.contains(name),
    };
    names.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_hold_what_every_build_has() {
        let formats = list();
        let codec = |name| formats.codecs.iter().find(|c| c.name == name).unwrap();
        assert!(codec("mjpeg").decodes && codec("mjpeg").encodes);
        assert_eq!(codec("mjpeg").kind, "video");
        assert!(codec("aac").decodes);
        assert!(
            formats
                .containers
                .iter()
                .any(|c| c.name == "mpegts" && c.reads && c.writes)
        );
        assert!(
            formats
                .protocols
                .iter()
                .any(|p| p.name == "tcp" && p.reads && p.writes)
        );
        #[cfg(target_os = "linux")]
        assert!(
            formats.devices.iter().any(|d| d.name.contains("v4l2")),
            "{:?}",
            formats.devices
        );
        assert!(formats.ffmpeg.starts_with("libavcodec "));
        assert_eq!(formats.h264_encoder.as_deref(), Ok("libx264"));
    }

    #[test]
    fn every_coding_passes_over_rtsp() {
        assert!(relayed().iter().all(|r| r.rtsp));
        let h264 = relayed().into_iter().find(|r| r.codec == "H.264").unwrap();
        assert!(h264.mpegts && h264.pictures);
    }
}
