//! Which tracks of a stream a description shows: recorders and players take one video and one audio track that they
//! know, so that is what they are told of; who wants others says so in the query.
//!
//! `video=`, `audio=` and `data=` have `all`, `none`, the number of a track among its kind (from 1), or the name of a
//! coding; `tracks=all` means all of all kinds.

use crate::media::Codec;
use crate::media::Description;
use crate::media::MediaKind;
use crate::media::Track;

/// The tracks that this query asks for, with the ids that they have in the stream; none if it asks for what is not
/// there. A stream of data alone is shown with its data.
pub fn choose(description: &Description, query: Option<&str>) -> Description {
    let tracks = &description.tracks;
    let has_media = tracks.iter().any(|t| t.kind != MediaKind::Application);
    let mut chosen = Vec::new();
    for (kind, key) in [
        (MediaKind::Video, "video"),
        (MediaKind::Audio, "audio"),
        (MediaKind::Application, "data"),
    ] {
        let own = || tracks.iter().filter(move |t| t.kind == kind);
        match wish(query.unwrap_or_default(), key) {
            Wish::All => chosen.extend(own()),
            Wish::None => {}
            Wish::Number(n) => chosen.extend(own().nth(n)),
            Wish::Coding(name) => chosen.extend(own().find(|t| is(t, name))),
            Wish::Unsaid if kind == MediaKind::Application && has_media => {}
            Wish::Unsaid if kind == MediaKind::Application => chosen.extend(own()),
            Wish::Unsaid => chosen.extend(own().find(|t| recorders_know(t.codec)).or(own().next())),
        }
    }
    chosen.sort_by_key(|t| t.id);
    Description {
        tracks: chosen.into_iter().cloned().collect(),
    }
}

/// What is asked for of one kind.
enum Wish<'a> {
    Unsaid,
    All,
    None,
    /// How many of the kind come before it.
    Number(usize),
    Coding(&'a str),
}

fn wish<'a>(query: &'a str, key: &str) -> Wish<'a> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let value = |wanted: &str| {
        let mut found = pairs.clone().filter(|(k, _)| k.eq_ignore_ascii_case(wanted));
        found.next().map(|(_, value)| value)
    };
    let is_one_of = |value: &str, words: &[&str]| words.iter().any(|w| value.eq_ignore_ascii_case(w));
    match (value(key), value("tracks")) {
        (Some(v), _) if is_one_of(v, &["all"]) => Wish::All,
        (Some(v), _) if is_one_of(v, &["none", "no", "off", "0"]) => Wish::None,
        (Some(v), _) if !v.is_empty() => match v.parse::<usize>() {
            Ok(n) => n.checked_sub(1).map_or(Wish::None, Wish::Number),
            Err(_) => Wish::Coding(v),
        },
        (_, Some(v)) if is_one_of(v, &["all"]) => Wish::All,
        _ => Wish::Unsaid,
    }
}

/// Whether a track is coded so: by the name in its description, or by ours (`mpeg4-generic` is `aac`).
fn is(track: &Track, name: &str) -> bool {
    let plain = |text: &str| {
        let letters = text.chars().filter(char::is_ascii_alphanumeric);
        letters.map(|c| c.to_ascii_lowercase()).collect::<String>()
    };
    let name = match plain(name).as_str() {
        "hevc" => "h265".to_owned(),
        "avc" => "h264".to_owned(),
        other => other.to_owned(),
    };
    [plain(&track.encoding), plain(&track.codec.to_string())].contains(&name)
}

/// What most recorders can keep.
fn recorders_know(codec: Codec) -> bool {
    matches!(
        codec,
        Codec::H264
            | Codec::H265
            | Codec::Mpeg4Visual
            | Codec::Jpeg
            | Codec::MpegTs
            | Codec::Aac
            | Codec::Pcmu
            | Codec::Pcma
    )
}
