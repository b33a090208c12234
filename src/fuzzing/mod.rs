//! The bodies of fuzz targets: whatever bytes come, nothing panics, and a promise holds that input can break.
//!
//! They are compiled for fuzzers (`scripts/fuzz`, `--cfg fuzzing`) and for tests. In `cargo test` each runs over its
//! corpus (`tests/fuzz/corpus`) and some hundred mutations of each file, the same every time. Input that once broke
//! something is put there.

mod media;
mod rtsp;

use jiff::tz::TimeZone;

use crate::config;
use crate::ingest::Source;
use crate::logs::redact;
use crate::media::Codec;
use crate::media::Track;
use crate::past;
use crate::past::Format;
use crate::past::Line;
use crate::proto::mikey;
use crate::proto::rtp::fuzz;
use crate::proto::rtp::rtcp;
use crate::proto::rtp::srtp;
use crate::proto::rtsp::Limits;
use crate::proto::rtsp::http;
use crate::proto::sdp;
use crate::scan::Stream;

/// What a fuzzer calls with bytes of its own making.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Target); 35] = [
    ("rtsp_conn", rtsp::conn),
    ("rtsp_interleaved", rtsp::interleaved),
    ("rtsp_url", rtsp::url),
    ("rtsp_headers", rtsp::headers),
    ("sdp", sdp),
    ("rtcp", rtcp),
    ("rtp_header", fuzz::header),
    ("bitstreams", fuzz::bitstreams),
    ("rtp_aac", |data| media::codec(Codec::Aac, data)),
    ("rtp_latm", |data| media::codec(Codec::AacLatm, data)),
    ("rtp_ac3", |data| media::codec(Codec::Ac3, data)),
    ("rtp_av1", |data| media::codec(Codec::Av1, data)),
    ("rtp_g722", |data| media::codec(Codec::G722, data)),
    ("rtp_h264", |data| media::codec(Codec::H264, data)),
    ("rtp_h265", |data| media::codec(Codec::H265, data)),
    ("rtp_jpeg", |data| media::codec(Codec::Jpeg, data)),
    ("rtp_klv", |data| media::codec(Codec::Klv, data)),
    ("rtp_lpcm", |data| media::codec(Codec::Lpcm, data)),
    ("rtp_mpeg2", |data| media::codec(Codec::Mpeg2Video, data)),
    ("rtp_mpeg4", |data| media::codec(Codec::Mpeg4Visual, data)),
    ("rtp_mpa", |data| media::codec(Codec::MpegAudio, data)),
    ("rtp_ts", |data| media::codec(Codec::MpegTs, data)),
    ("rtp_opus", |data| media::codec(Codec::Opus, data)),
    ("rtp_vorbis", |data| media::codec(Codec::Vorbis, data)),
    ("rtp_vp8", |data| media::codec(Codec::Vp8, data)),
    ("rtp_vp9", |data| media::codec(Codec::Vp9, data)),
    ("jpeg", media::jpeg),
    ("config", config),
    ("source", source),
    ("log_line", log_line),
    ("tunnel", tunnel),
    ("mikey", mikey::fuzz),
    ("srtp", srtp),
    ("scan", scan),
    ("past", past),
];

/// Lines of logs: pieces do not depend on how many bytes were read at a time, and records begin before they end. The first
/// byte says whose log it is, the second how many bytes.
pub fn past(data: &[u8]) {
    let [whose, at_a_time, data @ ..] = data else {
        return;
    };
    let formats = [
        Format::Requests,
        Format::Icecast,
        Format::MediaMtx,
        Format::Owncast,
    ];
    let format = formats[usize::from(*whose) % formats.len()];
    let pieces = past::pieces(data, format, usize::from(*at_a_time));
    assert_eq!(pieces, past::pieces(data, format, data.len()));
    let mut reader = past::Reader::new(format, TimeZone::UTC);
    for piece in pieces.iter().flatten() {
        if let Line::Watched(record) = reader.line(piece) {
            let (from, to) = record.span();
            assert!(from <= to && to - from <= 7 * 86_400, "{from} to {to}");
        }
    }
    assert!(reader.unfinished() <= pieces.len());
}

/// What a scan finds lies within the file, and does not depend on the pieces in which it was read.
pub fn scan(data: &[u8]) {
    let (size, data) = data.split_first().unwrap_or((&1, data));
    let search = |size: usize| {
        let mut found = Vec::new();
        let mut stream = Stream::default();
        for piece in data.chunks(size.max(1)) {
            stream.feed(piece, &mut |f| found.push(f));
        }
        stream.finish(&mut |f| found.push(f));
        found
    };
    let found = search((*size).into());
    assert!(
        found.iter().all(|f| f.offset < data.len() as u64),
        "found behind the end"
    );
    assert_eq!(found, search(data.len()));
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
    // What a query shows is some of it, in its order; the text stands in for the query.
    let query = String::from_utf8_lossy(data);
    for query in query.lines().map(Some).chain([None, Some("tracks=all")]) {
        let shown = sdp::choose(&description, query);
        let known = |t: &Track| description.track(t.id) == Some(t);
        assert!(shown.tracks.iter().all(known) && shown.tracks.is_sorted_by_key(|t| t.id));
    }
    assert!(!sdp::choose(&description, None).tracks.is_empty());
    let speaks = sdp::with_backchannel(&text, &description.tracks);
    let media = |text: &str| text.matches("\nm=").count();
    assert_eq!(media(&speaks), 2 * media(&text));
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

/// What a tunnel's bytes mean does not depend on where TCP cut them. The first byte says where we cut.
pub fn tunnel(data: &[u8]) {
    let Some((cut, data)) = data.split_first() else {
        return;
    };
    let (first, second) = data.split_at(data.len().min((*cut).into()));
    let (mut whole, mut parts) = (Vec::new(), Vec::new());
    let one = http::Base64Stream::default().decode(data, &mut whole);
    let mut stream = http::Base64Stream::default();
    let two = stream
        .decode(first, &mut parts)
        .and_then(|()| stream.decode(second, &mut parts));
    assert_eq!((one, whole), (two, parts));
    assert!(
        !matches!(http::head(first, &Limits::DEFAULT), Ok(Some(_)))
            || matches!(http::head(data, &Limits::DEFAULT), Ok(Some(_))),
        "a head that is there stays there"
    );
}

/// What was not sealed with the key is not opened, and what was is the same again.
pub fn srtp(data: &[u8]) {
    let key = srtp::MasterKey::new(srtp::Suite::Tag80, &[7; srtp::KEY_LEN]).expect("the right length");
    let (mut sender, mut receiver) = (srtp::Sender::new(&key), srtp::Receiver::new(&key, 0));
    assert!(receiver.rtp(&mut data.to_vec()).is_err() && receiver.rtcp(&mut data.to_vec()).is_err());
    let mut sealed = Vec::new();
    if sender.rtp(data, &mut sealed).is_ok() {
        receiver.rtp(&mut sealed).expect("it was just sealed");
        assert_eq!(sealed, data);
    }
    sealed.clear();
    if sender.rtcp(data, &mut sealed).is_ok() {
        receiver.rtcp(&mut sealed).expect("it was just sealed");
        assert_eq!(sealed, data);
    }
}

#[cfg(test)]
mod tests;
