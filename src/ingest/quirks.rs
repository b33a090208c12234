//! What is odd about a camera's JPEGs: harmless, but worth one line in the log. Pure.
//!
//! The decoder copes with all of it (RFC 2435 and ITU-T T.81 name the markers); nothing is repaired here.

/// What was found in one JPEG.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Quirks {
    /// No Huffman tables: the standard ones are meant (as in AVI's MJPEG).
    pub(crate) no_huffman: bool,
    /// An APP segment whose length or content does not fit what it says it is.
    pub(crate) broken_app: bool,
    /// Not a complete JPEG: no start, or no picture in it.
    pub(crate) incomplete: bool,
}

impl Quirks {
    /// Reads the markers up to the picture data.
    pub(crate) fn of(jpeg: &[u8]) -> Self {
        let mut quirks = Self::default();
        let mut huffman = false;
        let Some(mut rest) = jpeg.strip_prefix(&[0xff, 0xd8]) else {
            return Self {
                incomplete: true,
                ..quirks
            };
        };
        loop {
            let Some((marker, after)) = next_marker(rest) else {
                quirks.incomplete = true;
                break;
            };
            let Some((segment, following)) = segment(after) else {
                quirks.broken_app |= is_app(marker);
                quirks.incomplete = true;
                break;
            };
            match marker {
                0xc4 => huffman = true,
                0xda => break,
                _ if is_app(marker) => {
                    quirks.broken_app |= app_is_broken(marker, segment) || !at_marker(following);
                }
                _ => {}
            }
            rest = following;
        }
        quirks.no_huffman = !huffman && !quirks.incomplete;
        quirks
    }
    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            no_huffman: self.no_huffman | other.no_huffman,
            broken_app: self.broken_app | other.broken_app,
            incomplete: self.incomplete | other.incomplete,
        }
    }
    /// Sentences for the log.
    pub(crate) fn sentences(self) -> Vec<&'static str> {
        let mut sentences = Vec::new();
        if self.broken_app {
            sentences.push("The camera's pictures carry broken APP fields; they are decoded all the same.");
        }
        if self.no_huffman {
            sentences.push("The camera's pictures lack Huffman tables; the standard ones are used.");
        }
        if self.incomplete {
            sentences.push("Some of the camera's pictures are incomplete; they are skipped.");
        }
        sentences
    }
}

fn is_app(marker: u8) -> bool {
    (0xe0..=0xef).contains(&marker)
}

/// The next marker, past fill bytes and stray bytes between segments.
fn next_marker(data: &[u8]) -> Option<(u8, &[u8])> {
    let at = data
        .windows(2)
        .position(|w| w[0] == 0xff && !matches!(w[1], 0x00 | 0xff))?;
    Some((data[at + 1], &data[at + 2..]))
}

fn at_marker(data: &[u8]) -> bool {
    data.first() == Some(&0xff)
}

/// A segment's content by its length field, and what follows.
fn segment(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length)).checked_sub(2)?;
    rest.split_at_checked(length)
}

/// Whether an APP segment is too short for what it says it is.
fn app_is_broken(marker: u8, segment: &[u8]) -> bool {
    match marker {
        0xe0 if segment.starts_with(b"JFIF\0") => segment.len() < 14,
        0xe0 if segment.starts_with(b"AVI1") => segment.len() < 6,
        0xe1 if segment.starts_with(b"Exif") => segment.len() < 14,
        0xee if segment.starts_with(b"Adobe") => segment.len() < 12,
        _ => segment.len() < 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::av::frame::Frame;
    use crate::av::jpeg::JpegEncoder;

    fn jpeg() -> Vec<u8> {
        let frame = Frame::black(64, 48).unwrap();
        JpegEncoder::new(80).encode(&frame, None).unwrap().jpeg.to_vec()
    }

    /// The same JPEG with a segment put after the start.
    fn with(segment: &[u8]) -> Vec<u8> {
        let whole = jpeg();
        [&whole[..2], segment, &whole[2..]].concat()
    }

    #[test]
    fn an_ordinary_jpeg_has_no_quirks() {
        assert_eq!(Quirks::of(&jpeg()), Quirks::default());
        assert!(Quirks::of(&jpeg()).sentences().is_empty());
    }

    #[test]
    fn broken_app_fields_are_seen() {
        // Says "Exif" and ends; a length that runs into the next segment's bytes; a length of 0.
        for bad in [
            &[0xff, 0xe1, 0, 6, b'E', b'x', b'i', b'f'][..],
            &[0xff, 0xe3, 0, 9, 1, 2, 3, 4],
            &[0xff, 0xe4, 0, 0],
        ] {
            let quirks = Quirks::of(&with(bad));
            assert!(quirks.broken_app, "{bad:02x?}");
        }
        assert_eq!(
            Quirks::of(&with(&[0xff, 0xe2, 0, 6, 1, 2, 3, 4])),
            Quirks::default()
        );
    }

    #[test]
    fn missing_huffman_tables_are_seen() {
        let mut whole = jpeg();
        while let Some(at) = whole.windows(2).position(|w| w == [0xff, 0xc4]) {
            let length = usize::from(u16::from_be_bytes([whole[at + 2], whole[at + 3]]));
            whole.drain(at..at + 2 + length);
        }
        let quirks = Quirks::of(&whole);
        assert!(quirks.no_huffman && !quirks.incomplete);
        assert_eq!(quirks.sentences().len(), 1);
    }

    #[test]
    fn pieces_of_jpegs_are_incomplete_and_never_a_panic() {
        let whole = jpeg();
        for end in 0..whole.len() {
            let _ = Quirks::of(&whole[..end]);
        }
        assert!(Quirks::of(&whole[..20]).incomplete);
        assert!(Quirks::of(b"").incomplete);
        assert!(Quirks::of(b"GIF89a").incomplete);
    }
}
