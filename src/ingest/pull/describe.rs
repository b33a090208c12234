//! Which tracks of a camera's description are relayed, and which of retina's streams each of them is.

use retina::client::Stream;

use super::error::PullError;
use crate::base::time::Rate;
use crate::media::Codec;
use crate::media::Description;
use crate::media::MediaKind;
use crate::media::Track;
use crate::media::TrackId;
use crate::proto::sdp;

/// What identifies a stream of retina's.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Known {
    kind: MediaKind,
    payload_type: u8,
    /// In lower case.
    encoding: String,
    clock: u32,
    channels: Option<u8>,
}

/// The tracks, each with the number of its stream.
pub(super) fn tracks(text: &[u8], streams: &[Stream]) -> Result<(Description, Vec<usize>), PullError> {
    let known: Vec<_> = streams.iter().map(known).collect();
    let (description, numbers) = matched(text, &known);
    match description.tracks.is_empty() {
        true => Err(PullError::NoTracks),
        false => Ok((description, numbers)),
    }
}

fn known(stream: &Stream) -> Option<Known> {
    let kind = match stream.media() {
        "audio" => MediaKind::Audio,
        "video" => MediaKind::Video,
        "application" => MediaKind::Application,
        _ => return None,
    };
    Some(Known {
        kind,
        payload_type: stream.rtp_payload_type(),
        encoding: stream.encoding_name().to_ascii_lowercase(),
        clock: stream.clock_rate_hz(),
        channels: stream.channels().and_then(|c| u8::try_from(c.get()).ok()),
    })
}

/// Our own reading of each stream where there is one, since it knows the parameters; else what retina knows.
fn matched(text: &[u8], known: &[Option<Known>]) -> (Description, Vec<usize>) {
    let text_lossy = String::from_utf8_lossy(text);
    let media = media(&text_lossy);
    let mut media = media.iter();
    // A text that our parser refuses as a whole is one of the many that retina has read.
    let mut ours = sdp::parse(text).map_or_else(|_| Vec::new(), |(d, _)| d.tracks);
    let mut description = Description::default();
    let mut numbers = Vec::new();
    for (number, known) in known.iter().enumerate() {
        let Some(known) = known else { continue };
        let same = |t: &Track| (t.kind, t.payload_type) == (known.kind, known.payload_type);
        let track = match ours.iter().position(same) {
            Some(at) => ours.remove(at),
            None => match plain(known) {
                Some(track) => track,
                None => continue,
            },
        };
        // retina leaves media out that it cannot read, and keeps the order.
        if media.find(|m| m.is(known)).is_some_and(|m| m.back_channel) {
            continue;
        }
        let Ok(id) = u8::try_from(description.tracks.len()) else {
            break;
        };
        description.tracks.push(Track {
            id: TrackId(id),
            ..track
        });
        numbers.push(number);
    }
    (description, numbers)
}

/// A track of which no more is known than its coding.
fn plain(known: &Known) -> Option<Track> {
    let encoding = known.encoding.to_ascii_uppercase();
    let text = format!(
        "m={} 0 RTP/AVP {pt}\na=rtpmap:{pt} {encoding}/{}\n",
        known.kind.as_str(),
        known.clock,
        pt = known.payload_type
    );
    let read = sdp::parse(text.as_bytes()).ok();
    let track = read.and_then(|(d, _)| d.tracks.into_iter().next());
    let track = track.or_else(|| {
        Some(Track {
            id: TrackId(0),
            kind: known.kind,
            codec: Codec::Other,
            payload_type: known.payload_type,
            rate: Rate::new(known.clock)?,
            encoding,
            channels: None,
            fmtp: None,
        })
    })?;
    Some(Track {
        channels: known.channels.or(track.channels),
        ..track
    })
}

/// A medium of the description as far as it tells where it leads.
struct Medium<'a> {
    kind: &'a str,
    format: &'a str,
    sendonly: bool,
    back_channel: bool,
}

impl Medium<'_> {
    fn is(&self, known: &Known) -> bool {
        self.kind == known.kind.as_str() && self.format.parse() == Ok(known.payload_type)
    }
}

/// The media, and which of them is the way back to the camera's loudspeaker (ONVIF streaming specification
/// 5.3), which some cameras list without being asked: sound marked `sendonly` beside media that are not.
fn media(text: &str) -> Vec<Medium<'_>> {
    let mut media: Vec<Medium<'_>> = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(said) = line.strip_prefix("m=") {
            let mut words = said.split_whitespace();
            media.push(Medium {
                kind: words.next().unwrap_or(""),
                format: words.nth(2).unwrap_or(""),
                sendonly: false,
                back_channel: false,
            });
        } else if line == "a=sendonly"
            && let Some(last) = media.last_mut()
        {
            last.sendonly = true;
        }
    }
    if !media.iter().all(|m| m.sendonly) {
        for medium in &mut media {
            medium.back_channel = medium.sendonly && medium.kind == "audio";
        }
    }
    media
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(kind: MediaKind, payload_type: u8, encoding: &str, clock: u32) -> Option<Known> {
        Some(Known {
            kind,
            payload_type,
            encoding: encoding.into(),
            clock,
            channels: None,
        })
    }

    const TWO: &str = "m=audio 0 RTP/AVP 0\na=control:track2\n\
                       m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=1\n";

    #[test]
    fn streams_get_the_parameters_that_our_parser_read() {
        let streams = [
            known(MediaKind::Audio, 0, "pcmu", 8_000),
            known(MediaKind::Video, 96, "h264", 90_000),
        ];
        let (description, numbers) = matched(TWO.as_bytes(), &streams);
        assert_eq!(numbers, [0, 1]);
        assert_eq!(description.tracks[1].codec, Codec::H264);
        assert_eq!(
            description.tracks[1].fmtp.as_deref(),
            Some("packetization-mode=1")
        );
        // A stream that retina left out keeps the others apart.
        let (description, numbers) = matched(TWO.as_bytes(), &streams[1..]);
        assert_eq!((description.tracks.len(), numbers), (1, vec![0]));
        assert_eq!(description.tracks[0].id, TrackId(0));
    }

    #[test]
    fn what_our_parser_refuses_is_taken_from_retina() {
        let streams = [known(MediaKind::Video, 96, "h265", 90_000)];
        let (description, _) = matched(b"m=video 0\n", &streams);
        assert_eq!(description.tracks[0].codec, Codec::H265);
        assert_eq!(description.tracks[0].encoding, "H265");
    }

    #[test]
    fn the_way_back_to_the_loudspeaker_is_left_alone() {
        let text = "m=video 0 RTP/AVP 96\na=recvonly\nm=audio 0 RTP/AVP 0\na=recvonly\n\
                    m=audio 0 RTP/AVP 0\na=sendonly\n";
        let streams = [
            known(MediaKind::Video, 96, "h264", 90_000),
            known(MediaKind::Audio, 0, "pcmu", 8_000),
            known(MediaKind::Audio, 0, "pcmu", 8_000),
        ];
        assert_eq!(matched(text.as_bytes(), &streams).1, [0, 1]);
        // One that retina left out does not shift the others.
        let odd = text.replace("m=video", "m=application 0 RTP/AVP smart/1\na=x:1\nm=video");
        assert_eq!(matched(odd.as_bytes(), &streams).1, [0, 1]);
        // A camera that marks everything so means its own view.
        let all = "m=video 0 RTP/AVP 96\na=sendonly\nm=audio 0 RTP/AVP 0\na=sendonly\n";
        assert_eq!(matched(all.as_bytes(), &streams[..2]).1, [0, 1]);
    }
}
