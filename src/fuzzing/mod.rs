//! The bodies of fuzz targets: whatever bytes come, nothing panics, and a promise holds that input can break.
//!
//! They are compiled for fuzzers (`--cfg fuzzing`) and for tests. In `cargo test` each runs over its seeds
//! and some hundred mutations of each, the same every time. Input that once broke something becomes a seed.

use crate::base::clock::Clock;
use crate::base::clock::SystemClock;
use crate::base::time::MediaTime;
use crate::base::time::Rate;
use crate::config;
use crate::ingest::Source;
use crate::logs::redact;
use crate::media::AccessUnit;
use crate::media::Codec;
use crate::media::MediaKind;
use crate::media::Track;
use crate::media::TrackId;
use crate::proto::jpeg;
use crate::proto::mpegts;
use crate::proto::rtp;
use crate::proto::rtp::rtcp;
use crate::proto::rtsp::server::fuzz;
use crate::proto::rtsp::url::Url;
use crate::proto::sdp;

/// What a fuzzer calls with bytes of its own making.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Target); 9] = [
    ("rtsp_conn", rtsp_conn),
    ("rtsp_url", rtsp_url),
    ("sdp", sdp),
    ("rtcp", rtcp),
    ("media", media),
    ("jpeg", jpeg),
    ("config", config),
    ("source", source),
    ("log_line", log_line),
];

/// Events of a connection do not depend on where TCP cut the bytes; see [`fuzz::conn`].
pub fn rtsp_conn(data: &[u8]) {
    fuzz::conn(SystemClock.now(), data);
}

/// What is told to others of a URL holds no credentials.
pub fn rtsp_url(data: &[u8]) {
    let Some(url) = Url::parse(&String::from_utf8_lossy(data)) else {
        return;
    };
    for told in [url.without_credentials(), url.content_base()] {
        let again = Url::parse(&told);
        assert!(
            again.is_none_or(|u| u.credentials().is_none()),
            "credentials are left in {told}"
        );
    }
    assert!(
        url.covered_by(&url.without_credentials()),
        "a URL is about itself"
    );
}

/// What is read can be written, and reads the same from then on.
pub fn sdp(data: &[u8]) {
    let Ok((description, controls)) = sdp::parse(data) else {
        return;
    };
    assert_eq!(description.tracks.len(), controls.len());
    let text = sdp::write(&description, 1);
    let (again, _) = sdp::parse(text.as_bytes()).expect("what was written can be read");
    assert_eq!(again, description);
}

/// Reports that are read can be written, and read the same.
pub fn rtcp(data: &[u8]) {
    for report in rtcp::parse(data).unwrap_or_default() {
        let bytes = match &report {
            rtcp::Rtcp::SenderReport { ssrc, ntp, rtp_time } => {
                rtcp::sender_report(*ssrc, *ntp, *rtp_time, 0, 0, "token")
            }
            rtcp::Rtcp::ReceiverReport { ssrc, reports } => rtcp::receiver_report(*ssrc, reports, "token"),
            rtcp::Rtcp::Bye | rtcp::Rtcp::Other => continue,
        };
        let again = rtcp::parse(&bytes).expect("what was written can be read");
        assert_eq!(again.first(), Some(&report));
    }
}

/// Packets of a publisher into units, and those into packets and MPEG-TS again. The first byte chooses the
/// codec; then each packet has a byte of flags, a byte of length, and its payload.
pub fn media(data: &[u8]) {
    let Some((choice, mut rest)) = data.split_first() else {
        return;
    };
    let track = track_of(*choice);
    let Some(mut depacketizer) = rtp::Depacketizer::new(&track) else {
        return;
    };
    let mut packetizer =
        rtp::Packetizer::new(&track, 7, 65_530, 200).expect("there is one for each of these");
    let mut muxer = mpegts::Muxer::new(std::slice::from_ref(&track));
    let (mut sequence, mut timestamp) = (65_500u16, u32::MAX - 90_000);
    while let [flags, length, behind @ ..] = rest {
        let (payload, behind) = behind.split_at(behind.len().min((*length).into()));
        rest = behind;
        // Mostly the next packet; sometimes one is missing, repeated, or far off.
        sequence = sequence.wrapping_add([1, 1, 1, 1, 2, 0, 1, 0x8000][usize::from(flags & 7)]);
        timestamp = timestamp.wrapping_add(u32::from(flags >> 3 & 7) * 1500);
        let _ = rtp::starts_keyframe(track.codec, payload);
        let _ = rtp::carries_parameter_sets(track.codec, payload);
        // What is wrong with a packet is the publisher's affair.
        let _ = depacketizer.push(&packet(flags >> 7 == 1, sequence, timestamp, payload));
        while let Some(unit) = depacketizer.pull() {
            assert!(!unit.data.is_empty() && unit.data.len() <= rtp::MAX_UNIT && unit.track == track.id);
            // Opus cannot be cut.
            let most = if track.codec == Codec::Opus {
                rtp::MAX_UNIT
            } else {
                200
            };
            repacked(&mut packetizer, most, &unit);
            muxed(muxer.as_mut(), &unit);
        }
    }
}

/// Whatever a packetizer sends is RTP, numbered without gaps, and not larger than it was told.
fn repacked(packetizer: &mut rtp::Packetizer, max_payload: usize, unit: &AccessUnit) {
    let mut next = packetizer.next_sequence();
    let mut packets = Vec::new();
    packetizer.packetize(unit, &mut packets);
    for packet in &packets {
        let header = rtp::Header::parse(packet).expect("what was written can be read");
        assert_eq!(header.sequence, next);
        assert!(
            packet.len() <= rtp::HEADER_LEN + max_payload,
            "{} bytes",
            packet.len()
        );
        next = next.wrapping_add(1);
    }
    assert_eq!(packetizer.next_sequence(), next);
}

/// A transport stream is whole packets, whatever is in them.
fn muxed(muxer: Option<&mut mpegts::Muxer>, unit: &AccessUnit) {
    let Some(muxer) = muxer else { return };
    let mut out = Vec::new();
    muxer.mux(unit, &mut out);
    let mut packets = out.chunks(mpegts::PACKET_LEN);
    assert!(packets.all(|p| p.len() == mpegts::PACKET_LEN && p[0] == 0x47));
}

fn packet(marker: bool, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, u8::from(marker) << 7 | 96];
    packet.extend(sequence.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend([0, 0, 0, 7]);
    packet.extend_from_slice(payload);
    packet
}

fn track_of(choice: u8) -> Track {
    let (kind, codec, hz, fmtp) = match choice % 8 {
        0 => (MediaKind::Video, Codec::H264, 90_000, None),
        1 => (MediaKind::Video, Codec::H265, 90_000, None),
        2 => (MediaKind::Video, Codec::Mpeg4Visual, 90_000, None),
        3 => (MediaKind::Video, Codec::Jpeg, 90_000, None),
        4 => {
            let fmtp = "mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1208";
            (MediaKind::Audio, Codec::Aac, 44_100, Some(fmtp))
        }
        5 => (MediaKind::Audio, Codec::Opus, 48_000, None),
        6 => (MediaKind::Audio, Codec::Pcmu, 8_000, None),
        _ => (MediaKind::Video, Codec::MpegTs, 90_000, None),
    };
    Track {
        id: TrackId(0),
        kind,
        codec,
        payload_type: 96,
        rate: Rate::new(hz).expect("not zero"),
        encoding: String::new(),
        channels: None,
        fmtp: fmtp.map(str::to_owned),
    }
}

/// A JPEG that RTP can carry is the same picture when it is written anew, and comes through RTP.
pub fn jpeg(data: &[u8]) {
    let whole = jpeg::insert_huffman_tables(data);
    assert_eq!(
        jpeg::insert_huffman_tables(&whole),
        whole,
        "tables are put in once"
    );
    let Ok(image) = jpeg::Image::parse(data) else {
        return;
    };
    let file = image.to_file();
    assert_eq!(jpeg::Image::parse(&file), Ok(image));
    let track = track_of(3);
    let pts = MediaTime::new(0, track.rate);
    let unit = AccessUnit {
        track: track.id,
        pts,
        keyframe: true,
        data: file.into(),
    };
    let mut packetizer = rtp::Packetizer::new(&track, 7, 0, 200).expect("there is one for JPEG");
    repacked(&mut packetizer, 200, &unit);
}

/// Errors of a configuration are sentences with the line, for any text.
pub fn config(data: &[u8]) {
    if let Err(errors) = config::parse("louver.toml", &String::from_utf8_lossy(data)) {
        assert!(errors.to_string().contains("louver.toml"));
    }
}

/// A source is what its label says, but for devices with a question mark in their names.
pub fn source(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(source) = Source::parse(&text) else { return };
    let label = source.label();
    if text.matches('?').count() <= 1 {
        assert_eq!(Source::parse(&label), Ok(source));
    }
}

/// A log line stays as it is, but for what is taken out.
pub fn log_line(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (line, hits) = redact::line(&text);
    assert_eq!(hits == 0, line == text, "{hits} hits");
}

#[cfg(test)]
mod tests;
