//! Reading. The text is cleaned first, line by line, down to what the parser understands and we need; then
//! the media are taken out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::base::time::Rate;
use crate::media::Codec;
use crate::media::Description;
use crate::media::MediaKind;
use crate::media::Track;
use crate::media::TrackId;
use crate::proto::aac::AudioSpecificConfig;
use crate::proto::mikey::Message;
use crate::proto::rtp::srtp::MasterKey;
use crate::proto::rtp::srtp::Suite;

use super::SdpError;
use super::codec;

/// Longest text that is read, in bytes. Real ones have one or two thousand.
pub const MAX_BYTES: usize = 65_536;
/// Most `m=` lines that are read.
pub const MAX_TRACKS: usize = 16;
/// Most characters of an encoding name that are kept; it gets into logs and answers of the API.
const MAX_ENCODING: usize = 32;

/// The tracks of a description, and what `a=control` says of each: absolute, relative, or empty if there is
/// none or `*`, which both mean the URL of the whole.
///
/// Only the first payload type of an `m=` line counts. Media that are not audio, video or application over
/// RTP are left out; ids count what remains. Fixed payload types without `a=rtpmap` get RFC 3551's.
pub fn parse(data: &[u8]) -> Result<(Description, Vec<String>), SdpError> {
    if data.len() > MAX_BYTES {
        return Err(SdpError::TooLong { bytes: data.len() });
    }
    let text = Cleaned::new(&String::from_utf8_lossy(data))?;
    let session = sdp_types::Session::parse(text.text.as_bytes()).map_err(|_| SdpError::NoTracks)?;
    let mut description = Description::default();
    let mut controls = Vec::new();
    for (media, line) in session.medias.iter().zip(&text.media_lines) {
        if let Some(track) = track(media, *line, description.tracks.len())? {
            description.tracks.push(track);
            controls.push(control(media));
        }
    }
    if description.tracks.is_empty() {
        Err(SdpError::NoTracks)
    } else {
        Ok((description, controls))
    }
}

/// What a description says of a track's encryption.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Keying {
    Clear,
    /// SRTP with this key: `a=key-mgmt` (RFC 4567) or `a=crypto` (RFC 4568).
    Key(Message),
    /// SRTP, and no line has a key: it may come with SETUP.
    Missing,
    /// SRTP, and there is a key that cannot be read, or of a kind that is not known.
    Unreadable,
}

/// The keys of the tracks that [`parse`] gives, in the same order. None if it gives none.
pub fn keys(data: &[u8]) -> Vec<Keying> {
    let text = Cleaned::new(&String::from_utf8_lossy(data)).ok();
    let session = text
        .as_ref()
        .map(|t| sdp_types::Session::parse(t.text.as_bytes()));
    let (Some(text), Some(Ok(session))) = (text, session) else {
        return Vec::new();
    };
    let common = session.attributes.iter().find(|a| a.attribute == "key-mgmt");
    let for_all = common.and_then(|a| of_key_mgmt(a.value.as_deref()?));
    let medias = session.medias.iter().zip(&text.media_lines);
    let tracks = medias.filter(|(media, line)| matches!(track(media, **line, 0), Ok(Some(_))));
    let keying = |(media, _): (&sdp_types::Media, _)| {
        if !media.proto.to_ascii_uppercase().contains("/SAVP") {
            return Keying::Clear;
        }
        let own = values(media, "key-mgmt").find_map(of_key_mgmt);
        let key = own.or_else(|| values(media, "crypto").find_map(of_crypto));
        let told = ["key-mgmt", "crypto"].map(|name| values(media, name).next());
        match key.or_else(|| for_all.clone()) {
            Some(key) => Keying::Key(key),
            None if told.iter().any(Option::is_some) || common.is_some() => Keying::Unreadable,
            None => Keying::Missing,
        }
    };
    tracks.map(keying).collect()
}

/// `mikey BASE64`.
fn of_key_mgmt(value: &str) -> Option<Message> {
    let (protocol, data) = value.split_once(' ')?;
    let mikey = protocol.eq_ignore_ascii_case("mikey");
    mikey.then(|| Message::from_base64(data).ok()).flatten()
}

/// `1 AES_CM_128_HMAC_SHA1_80 inline:BASE64|lifetime|MKI:length`; with an MKI packets have another form.
fn of_crypto(value: &str) -> Option<Message> {
    let mut words = value.split_whitespace().skip(1);
    let suite = match words.next()? {
        "AES_CM_128_HMAC_SHA1_80" => Suite::Tag80,
        "AES_CM_128_HMAC_SHA1_32" => Suite::Tag32,
        _ => return None,
    };
    let mut parts = words.next()?.strip_prefix("inline:")?.split('|');
    let key = STANDARD.decode(parts.next()?).ok()?;
    let key = MasterKey::new(suite, &key)?;
    let plain = !parts.any(|p| p.contains(':'));
    plain.then_some(Message { key, roll_over: 0 })
}

/// A text of nothing but `v=0`, `m=` and `a=` lines in the grammar's form; the others are of no use here, and
/// left out lest one of them is broken.
struct Cleaned {
    text: String,
    /// Where each `m=` was, counted from 1.
    media_lines: Vec<usize>,
}

impl Cleaned {
    fn new(text: &str) -> Result<Self, SdpError> {
        let mut cleaned = Self {
            text: "v=0\n".into(),
            media_lines: Vec::new(),
        };
        // Bare LF, CR LF, and the CR CR LF of some cameras: CR is cut off as white space.
        for (line, number) in text.split('\n').zip(1..) {
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            match key.trim() {
                "m" => cleaned.media(value, number)?,
                "a" => cleaned.attribute(value),
                _ => {}
            }
        }
        Ok(cleaned)
    }

    fn media(&mut self, value: &str, line: usize) -> Result<(), SdpError> {
        if self.media_lines.len() == MAX_TRACKS {
            return Err(SdpError::TooManyTracks { line });
        }
        let wrong = SdpError::Line {
            line,
            what: "an m= line of fewer than four words",
            expected: "m=KIND PORT RTP/AVP PAYLOAD-TYPE",
        };
        let mut words = value.split_whitespace();
        let (Some(kind), Some(_port), Some(protocol), Some(format)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(wrong);
        };
        // The port is another's business: SETUP tells where packets go. Only the first format counts.
        self.push(&["m=", kind, " 0 ", protocol, " ", format]);
        self.media_lines.push(line);
        Ok(())
    }

    fn attribute(&mut self, value: &str) {
        let (name, value) = value.split_once(':').unwrap_or((value, ""));
        self.push(&["a=", name.trim(), ":", value.trim()]);
    }

    fn push(&mut self, parts: &[&str]) {
        self.text
            .extend(parts.iter().flat_map(|p| p.chars()).filter(|c| !c.is_control()));
        self.text.push('\n');
    }
}

/// `None` for what we do not relay.
fn track(media: &sdp_types::Media, line: usize, index: usize) -> Result<Option<Track>, SdpError> {
    let kind = match media.media.to_ascii_lowercase().as_str() {
        "audio" => MediaKind::Audio,
        "video" => MediaKind::Video,
        "application" => MediaKind::Application,
        _ => return Ok(None),
    };
    let wrong = |what, expected| SdpError::Line { line, what, expected };
    let protocol = media.proto.to_ascii_uppercase();
    let payload_type = media.fmt.parse::<u8>().ok().filter(|pt| *pt < 128);
    let payload_type = match (protocol.as_str(), payload_type) {
        ("UDP/TLS/RTP/SAVP" | "UDP/TLS/RTP/SAVPF", _) => {
            return Err(wrong(
                "media encrypted with DTLS",
                "RTP/AVP or RTP/SAVP; send it so, over RTSPS if need be",
            ));
        }
        (p, Some(pt)) if p.starts_with("RTP/") || p == "TCP/RTP/AVP" => pt,
        // Cameras' own data channels: TP-Link writes `smart/1/90000` for the payload type.
        _ if kind == MediaKind::Application => return Ok(None),
        (p, _) if p.starts_with("RTP/") => return Err(wrong("no payload type", "a number from 0 to 127")),
        _ => return Err(wrong("media that are not RTP", "RTP/AVP")),
    };
    let (encoding, rate, channels) = format(media, payload_type, kind);
    let mut track = Track {
        id: TrackId(u8::try_from(index).expect("there are at most 16 tracks")),
        kind,
        codec: Codec::Other,
        payload_type,
        rate,
        encoding,
        channels,
        fmtp: fmtp(media, payload_type),
    };
    if track.encoding.is_empty() {
        guess(&mut track);
    }
    track.codec = codec::of(kind, &track.encoding, track.fmtp_param("mode"));
    if track.codec == Codec::Opus {
        // Whatever is coded, the line must say so (RFC 7587 section 7); players refuse others.
        (track.rate, track.channels) = (Rate::new(48_000).expect("not zero"), Some(2));
    }
    Ok(Some(track))
}

/// Some cameras forget the rtpmap, but have parameters that nothing else has.
fn guess(track: &mut Track) {
    let has = |key: &str| track.fmtp_param(key).is_some();
    if has("sprop-parameter-sets") {
        track.encoding = "H264".into();
    } else if has("sprop-vps") || has("sprop-sps") {
        track.encoding = "H265".into();
    } else if has("mode")
        && let Some(rate) = AudioSpecificConfig::of_track(track).and_then(|c| Rate::new(c.rate))
    {
        (track.encoding, track.rate) = ("mpeg4-generic".into(), rate);
    }
}

/// Encoding name, clock rate and channels, by `a=rtpmap`, else by the payload type.
fn format(media: &sdp_types::Media, payload_type: u8, kind: MediaKind) -> (String, Rate, Option<u8>) {
    let known = codec::fixed(payload_type);
    let map = values(media, "rtpmap").find_map(|v| of_payload_type(v, payload_type));
    let mut words = map.unwrap_or_default().split('/').map(str::trim);
    let encoding: String = words
        .next()
        .unwrap_or_default()
        .chars()
        .filter(is_token)
        .take(MAX_ENCODING)
        .collect();
    let rate = words.next().and_then(|r| r.parse().ok()).and_then(Rate::new);
    let channels = words.next().and_then(|c| c.parse().ok()).filter(|c| *c > 0);
    if encoding.is_empty() {
        let (name, hz, channels) = known.unwrap_or(("", default_hz(kind), None));
        return (
            name.into(),
            Rate::new(hz).expect("the tables have no zero"),
            channels,
        );
    }
    let default = known.map_or(default_hz(kind), |(_, hz, _)| hz);
    (
        encoding,
        rate.unwrap_or(Rate::new(default).expect("the tables have no zero")),
        channels,
    )
}

/// The clock of nearly everything whose line does not say (RFC 3551 section 4.1).
fn default_hz(kind: MediaKind) -> u32 {
    if kind == MediaKind::Audio {
        8_000
    } else {
        Rate::VIDEO.hz()
    }
}

/// The parameters, with one `;` between two of them and none at the end.
fn fmtp(media: &sdp_types::Media, payload_type: u8) -> Option<String> {
    let all = values(media, "fmtp").filter_map(|v| of_payload_type(v, payload_type));
    let params: Vec<&str> = all
        .flat_map(|v| v.split(';'))
        .map(str::trim)
        .filter(|p| !p.is_empty())
        .collect();
    (!params.is_empty()).then(|| params.join(";"))
}

fn control(media: &sdp_types::Media) -> String {
    values(media, "control")
        .next()
        .filter(|c| *c != "*")
        .unwrap_or_default()
        .to_owned()
}

/// The values of all attributes of this name.
fn values<'a>(media: &'a sdp_types::Media, name: &'a str) -> impl Iterator<Item = &'a str> {
    let named = media
        .attributes
        .iter()
        .filter(move |a| a.attribute.eq_ignore_ascii_case(name));
    named.filter_map(|a| a.value.as_deref())
}

/// What follows the payload type in the value of `a=rtpmap` or `a=fmtp`, if it is the one asked for.
fn of_payload_type(value: &str, payload_type: u8) -> Option<&str> {
    let (number, rest) = value.split_once(char::is_whitespace)?;
    (number.parse() == Ok(payload_type)).then(|| rest.trim())
}

/// The characters of RFC 8866's `token`, of which encoding names are made.
fn is_token(c: &char) -> bool {
    c.is_ascii_graphic() && !"\"(),/:;<=>?@[\\]".contains(*c)
}
