//! What a receiver without tricks makes of packets of H.264 that a bad link let through: it takes each group
//! of pictures from a whole keyframe to the first gap, and conceals nothing. So it shows what was sent, where
//! players show what they guess.

use crate::link::Sent;
use crate::peers::ffmpeg;

/// A picture of which every packet came.
struct Picture {
    /// In 1/90000 s since the first packet, whole or not.
    time: u32,
    keyframe: bool,
    /// In Annex B.
    bytes: Vec<u8>,
}

/// Pictures that must be right, and what a decoder made of them.
pub struct Taken {
    /// Places of the pictures in time, from the first packet on, counted in pictures.
    pub due: Vec<usize>,
    /// Checksums, one for each.
    pub decoded: Vec<String>,
    /// How often it began again at a keyframe after a gap.
    pub resynchronised: usize,
}

/// Takes what passed, by nothing but its sequence numbers, time stamps and markers; `rate` pictures a second.
#[track_caller]
pub fn take(sent: &[Sent], rate: u32) -> Taken {
    let mut passed: Vec<_> = in_order(sent).into_iter().filter(|(_, s)| !s.lost).collect();
    passed.sort_by_key(|(number, _)| *number);
    passed.dedup_by_key(|(number, _)| *number);
    let (mut due, mut film) = (vec![], vec![]);
    let (mut resynchronised, mut follows) = (0, false);
    for picture in pictures(&passed) {
        match picture {
            Some(picture) if follows || picture.keyframe => {
                resynchronised += usize::from(!follows && !due.is_empty());
                follows = true;
                // Some publishers round to their own clock.
                due.push((f64::from(picture.time) / 90_000.0 * f64::from(rate)).round() as usize);
                film.extend(picture.bytes);
            }
            _ => follows = false,
        }
    }
    let decoded = ffmpeg::decode_bytes("h264", &film);
    Taken {
        due,
        decoded,
        resynchronised,
    }
}

impl Taken {
    /// Every picture that came whole is right, and is the one of its place in time: there is no chance in it.
    #[track_caller]
    pub fn assert_right(&self, source: &[String], at_least: usize, who: &str) {
        assert!(
            self.due.len() >= at_least,
            "{who}: {} whole pictures",
            self.due.len()
        );
        assert_eq!(
            self.decoded.len(),
            self.due.len(),
            "{who}: as many pictures as came whole"
        );
        let first = source.iter().position(|s| *s == self.decoded[0]);
        let first = first.unwrap_or_else(|| panic!("{who}: the first picture is not in the source"));
        let start = first.checked_sub(self.due[0]);
        for (n, (due, md5)) in self.due.iter().zip(&self.decoded).enumerate() {
            let at = first + due - self.due[0];
            assert_eq!(
                Some(md5),
                source.get(at),
                "{who}: whole picture {n} of {}, the source's {at} (its stream began at {start:?})",
                self.due.len()
            );
        }
    }
}

/// Packets with numbers that do not wrap. The order is that in which they were sent, or nearly so.
fn in_order(sent: &[Sent]) -> Vec<(i64, &Sent)> {
    let mut last = None;
    let number = |s: &Sent| {
        let number = match last {
            None => i64::from(s.sequence),
            Some(last) => last + i64::from(s.sequence.wrapping_sub(last as u16).cast_signed()),
        };
        last = Some(number);
        number
    };
    sent.iter()
        .map(number)
        .collect::<Vec<_>>()
        .into_iter()
        .zip(sent)
        .collect()
}

/// Each picture in turn: `None` for one that may lack something, at its beginning, within, or at its end.
fn pictures(passed: &[(i64, &Sent)]) -> Vec<Option<Picture>> {
    let Some((first, earliest)) = passed.first() else {
        return vec![];
    };
    let (mut all, mut before, mut ended) = (vec![], *first - 1, true);
    for packets in passed.chunk_by(|a, b| a.1.timestamp == b.1.timestamp) {
        let begins = ended && packets[0].0 == before + 1;
        let dense = packets.windows(2).all(|p| p[1].0 == p[0].0 + 1);
        let (number, last) = packets[packets.len() - 1];
        (before, ended) = (number, last.packet[1] & 0x80 != 0);
        let time = last.timestamp.wrapping_sub(earliest.timestamp);
        let bytes = (begins && dense && ended).then(|| annex_b(packets));
        all.push(bytes.map(|(keyframe, bytes)| Picture {
            time,
            keyframe,
            bytes,
        }));
    }
    all
}

/// The NAL units of one picture (RFC 6184 sections 5.6 to 5.8), and whether one of them is an IDR slice.
fn annex_b(packets: &[(i64, &Sent)]) -> (bool, Vec<u8>) {
    const START: [u8; 4] = [0, 0, 0, 1];
    let (mut keyframe, mut out) = (false, vec![]);
    let mut put = |nal: &[&[u8]]| {
        keyframe |= nal[0][0] & 0x1f == 5;
        out.extend(START);
        nal.iter().for_each(|part| out.extend_from_slice(part));
    };
    let mut fragments: Vec<u8> = vec![];
    for (_, sent) in packets {
        assert_eq!(sent.packet[0], 0x80, "a plain header");
        let payload = &sent.packet[12..];
        match payload[0] & 0x1f {
            24 => {
                let mut rest = &payload[1..];
                while let Some((length, more)) = rest.split_first_chunk() {
                    let (nal, more) = more.split_at(u16::from_be_bytes(*length).into());
                    put(&[nal]);
                    rest = more;
                }
            }
            28 => {
                let (indicator, header) = (payload[0], payload[1]);
                if header & 0x80 != 0 {
                    fragments = vec![indicator & 0xe0 | header & 0x1f];
                }
                fragments.extend(&payload[2..]);
                if header & 0x40 != 0 {
                    put(&[&fragments]);
                }
            }
            1..=23 => put(&[payload]),
            other => panic!("NAL units of type {other} in RTP"),
        }
    }
    (keyframe, out)
}
