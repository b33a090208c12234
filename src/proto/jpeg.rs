//! Baseline JPEG (ITU-T T.81) in the form that RTP can carry (RFC 2435): headers read and written, standard tables.
//!
//! Webcams write JPEG with liberties: no Huffman tables, application segments whose length is wrong, garbage
//! behind the end. What can be understood is. Not here: pixels, which are FFmpeg's; packets, see
//! [`rtp`](super::rtp).

use std::borrow::Cow;

use crate::proto::jpeg_tables::CHROMA_QUANTIZERS;
use crate::proto::jpeg_tables::HUFFMAN_TABLES;
use crate::proto::jpeg_tables::LUMA_QUANTIZERS;

/// The second byte of a marker (T.81 table B.1).
mod marker {
    pub(super) const TEM: u8 = 0x01;
    pub(super) const SOF0: u8 = 0xc0;
    pub(super) const SOF1: u8 = 0xc1;
    pub(super) const SOF15: u8 = 0xcf;
    pub(super) const DHT: u8 = 0xc4;
    pub(super) const RST0: u8 = 0xd0;
    pub(super) const RST7: u8 = 0xd7;
    pub(super) const SOI: u8 = 0xd8;
    pub(super) const EOI: u8 = 0xd9;
    pub(super) const SOS: u8 = 0xda;
    pub(super) const DQT: u8 = 0xdb;
    pub(super) const DRI: u8 = 0xdd;
    pub(super) const APP0: u8 = 0xe0;
    pub(super) const APP15: u8 = 0xef;
    pub(super) const COM: u8 = 0xfe;
}

/// The widest and highest picture that RFC 2435 can tell: 255 units of 8 pixels.
pub const MAX_SIDE: u16 = 2040;

/// How much of the colour is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sampling {
    /// 4:2:2, half across. What most webcams give.
    Half,
    /// 4:2:0, half across and half down.
    Quarter,
}

/// Quantisers of brightness and of colour, each in zigzag order.
pub type Quantizers = [[u8; 64]; 2];

/// A picture in the form that RTP can carry: baseline, three components, standard Huffman tables.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image<'a> {
    /// Pixels, at most [`MAX_SIDE`].
    pub width: u16,
    pub height: u16,
    pub sampling: Sampling,
    pub quantizers: Quantizers,
    /// MCUs between restart markers; 0 if there are none.
    pub restart_interval: u16,
    /// The entropy-coded data, without the end marker.
    pub scan: &'a [u8],
}

/// Why a picture cannot go over RTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JpegError {
    #[error("jpeg: the data does not begin as a JPEG picture; the picture is left out")]
    NotJpeg,
    #[error("jpeg: the {0} is cut off or has a wrong length; the picture is left out")]
    Broken(&'static str),
    #[error("jpeg: the {0} is missing; the picture is left out")]
    Missing(&'static str),
    #[error("jpeg: the picture is not baseline but of type SOF{0}; set the source to baseline JPEG")]
    NotBaseline(u8),
    #[error("jpeg: {0}x{1} pixels are more than the 2040x2040 that RTP can tell; choose a smaller mode")]
    TooLarge(u16, u16),
    #[error("jpeg: the colours are sampled neither as 4:2:2 nor as 4:2:0; set the source to one of them")]
    Sampling,
    #[error("jpeg: the quantisers have 16 bits, or differ between both colours; RTP cannot tell that")]
    Quantizers,
    #[error(
        "jpeg: the Huffman tables are not the standard ones (ffmpeg: -huffman default); RTP cannot tell them"
    )]
    HuffmanTables,
    #[error("jpeg: the picture has several scans; RTP can carry one")]
    Scans,
}

impl<'a> Image<'a> {
    /// Reads a JPEG file. Missing Huffman tables count as the standard ones.
    ///
    /// # Errors
    /// If it is no JPEG, or none that RTP can carry; the error says why.
    pub fn parse(file: &'a [u8]) -> Result<Self, JpegError> {
        let mut reader = Reader::default();
        let mut segments = Segments::new(file)?;
        loop {
            let (marker, body) = segments.next()?;
            match marker {
                marker::DQT => reader.quantizers(body)?,
                marker::DRI => {
                    let interval = body.first_chunk().ok_or(JpegError::Broken("restart interval"))?;
                    reader.restart_interval = u16::from_be_bytes(*interval);
                }
                marker::SOF0 => reader.frame = Some(read_frame(body)?),
                marker::DHT => check_huffman(body)?,
                marker::SOF1..=marker::SOF15 => return Err(JpegError::NotBaseline(marker & 0x0f)),
                marker::SOS => return reader.scan(body, segments.rest()),
                _ => {}
            }
        }
    }

    /// The picture as a JPEG file with all tables.
    pub fn to_file(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.scan.len() + 640);
        out.extend_from_slice(&[0xff, marker::SOI]);
        push(&mut out, marker::APP0, b"JFIF\0\x01\x02\0\0\x01\0\x01\0\0");
        for (i, table) in (0u8..).zip(&self.quantizers) {
            push(&mut out, marker::DQT, &[&[i][..], table].concat());
        }
        if self.restart_interval > 0 {
            push(&mut out, marker::DRI, &self.restart_interval.to_be_bytes());
        }
        let ([h0, h1], [w0, w1]) = (self.height.to_be_bytes(), self.width.to_be_bytes());
        let luma = match self.sampling {
            Sampling::Half => 0x21,
            Sampling::Quarter => 0x22,
        };
        push(
            &mut out,
            marker::SOF0,
            &[8, h0, h1, w0, w1, 3, 1, luma, 0, 2, 0x11, 1, 3, 0x11, 1],
        );
        push(&mut out, marker::DHT, &standard_huffman());
        push(&mut out, marker::SOS, &[3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0]);
        out.extend_from_slice(self.scan);
        if !self.scan.ends_with(&[0xff, marker::EOI]) {
            out.extend_from_slice(&[0xff, marker::EOI]);
        }
        out
    }
}

/// What the segments before the scan said.
#[derive(Default)]
struct Reader {
    tables: [Option<[u8; 64]>; 4],
    restart_interval: u16,
    frame: Option<Frame>,
}

/// What the frame header says.
struct Frame {
    width: u16,
    height: u16,
    sampling: Sampling,
    /// Number and table of each component.
    components: [(u8, u8); 3],
}

impl Reader {
    /// DQT: one or more tables (T.81 section B.2.4.1).
    fn quantizers(&mut self, mut body: &[u8]) -> Result<(), JpegError> {
        while let Some((&head, rest)) = body.split_first() {
            if head >> 4 != 0 {
                return Err(JpegError::Quantizers);
            }
            let (table, rest) = rest
                .split_first_chunk()
                .ok_or(JpegError::Broken("quantiser table"))?;
            let slot = self
                .tables
                .get_mut(usize::from(head))
                .ok_or(JpegError::Broken("quantiser table"))?;
            *slot = Some(*table);
            body = rest;
        }
        Ok(())
    }

    /// SOS and what follows: the end of the headers.
    fn scan<'a>(&self, body: &[u8], rest: &'a [u8]) -> Result<Image<'a>, JpegError> {
        let frame = self.frame.as_ref().ok_or(JpegError::Missing("frame header"))?;
        let [(y, yq), (u, uq), (v, vq)] = frame.components;
        let &[count, c0, t0, c1, t1, c2, t2, ..] = body else {
            return Err(if body.first().is_some_and(|n| *n < 3) {
                JpegError::Scans
            } else {
                JpegError::Broken("scan header")
            });
        };
        if count != 3 || [c0, c1, c2] != [y, u, v] {
            return Err(JpegError::Scans);
        }
        if [t0, t1, t2] != [0, 0x11, 0x11] {
            return Err(JpegError::HuffmanTables);
        }
        let table = |i: u8| self.tables.get(usize::from(i)).copied().flatten();
        let table = |i| table(i).ok_or(JpegError::Missing("quantiser table"));
        let quantizers = [table(yq)?, table(uq)?];
        if table(vq)? != quantizers[1] {
            return Err(JpegError::Quantizers);
        }
        Ok(Image {
            width: frame.width,
            height: frame.height,
            sampling: frame.sampling,
            quantizers,
            restart_interval: self.restart_interval,
            scan: entropy_coded(rest)?,
        })
    }
}

/// SOF0 (T.81 section B.2.2).
fn read_frame(body: &[u8]) -> Result<Frame, JpegError> {
    let &[bits, h0, h1, w0, w1, count, ref rest @ ..] = body else {
        return Err(JpegError::Broken("frame header"));
    };
    let (width, height) = (u16::from_be_bytes([w0, w1]), u16::from_be_bytes([h0, h1]));
    if bits != 8 || width == 0 || height == 0 {
        return Err(JpegError::Broken("frame header"));
    }
    if width > MAX_SIDE || height > MAX_SIDE {
        return Err(JpegError::TooLarge(width, height));
    }
    let (3, &[y, ys, yq, u, us, uq, v, vs, vq, ..]) = (count, rest) else {
        return Err(JpegError::Sampling);
    };
    let sampling = match [ys, us, vs] {
        [0x21, 0x11, 0x11] => Sampling::Half,
        [0x22, 0x11, 0x11] => Sampling::Quarter,
        _ => return Err(JpegError::Sampling),
    };
    Ok(Frame {
        width,
        height,
        sampling,
        components: [(y, yq), (u, uq), (v, vq)],
    })
}

/// DHT: every table in it must be the standard one of its place, since RFC 2435 cannot send others.
fn check_huffman(mut body: &[u8]) -> Result<(), JpegError> {
    const BROKEN: JpegError = JpegError::Broken("Huffman table");
    while let Some((&place, rest)) = body.split_first() {
        let (counts, rest) = rest.split_first_chunk::<16>().ok_or(BROKEN)?;
        let length = counts.iter().map(|n| usize::from(*n)).sum();
        let (values, rest) = rest.split_at_checked(length).ok_or(BROKEN)?;
        if !HUFFMAN_TABLES
            .iter()
            .any(|t| t.place == place && t.counts == counts && t.values == values)
        {
            return Err(JpegError::HuffmanTables);
        }
        body = rest;
    }
    Ok(())
}

/// The entropy-coded data up to the end marker, or all of `data` if the end is missing.
fn entropy_coded(data: &[u8]) -> Result<&[u8], JpegError> {
    let mut from = 0;
    while let Some(at) = data
        .get(from..)
        .and_then(|rest| rest.iter().position(|b| *b == 0xff))
    {
        let at = from + at;
        match data.get(at + 1) {
            Some(0 | marker::RST0..=marker::RST7) => from = at + 2,
            Some(0xff) => from = at + 1,
            Some(&marker::EOI) => return Ok(&data[..at]),
            Some(_) => return Err(JpegError::Scans),
            None => return Ok(&data[..at]),
        }
    }
    Ok(data)
}

/// The quantisers that RFC 2435 section 4.2 means by `q` from 1 to 99. `None` for others.
pub fn quantizers(q: u8) -> Option<Quantizers> {
    let scale = match q {
        1..=49 => 5000 / u32::from(q),
        50..=99 => 200 - 2 * u32::from(q),
        _ => return None,
    };
    let scaled = |base: &[u8; 64]| base.map(|b| ((u32::from(b) * scale + 50) / 100).clamp(1, 255) as u8);
    Some([scaled(&LUMA_QUANTIZERS), scaled(&CHROMA_QUANTIZERS)])
}

/// Puts the standard Huffman tables into a file that has none, as many webcams leave them out. All other data,
/// JPEG or not, stays as it is.
pub fn insert_huffman_tables(file: &[u8]) -> Cow<'_, [u8]> {
    let Ok(mut segments) = Segments::new(file) else {
        return Cow::Borrowed(file);
    };
    loop {
        let at = segments.at;
        match segments.next() {
            Ok((marker::SOS, _)) => {
                let tables = standard_huffman();
                let mut out = Vec::with_capacity(file.len() + tables.len() + 4);
                out.extend_from_slice(&file[..at]);
                push(&mut out, marker::DHT, &tables);
                out.extend_from_slice(&file[at..]);
                return Cow::Owned(out);
            }
            Ok((marker::DHT, _)) | Err(_) => return Cow::Borrowed(file),
            Ok(_) => {}
        }
    }
}

/// The body of a DHT segment with all standard tables.
fn standard_huffman() -> Vec<u8> {
    let mut body = Vec::with_capacity(420);
    for table in &HUFFMAN_TABLES {
        body.push(table.place);
        body.extend_from_slice(table.counts);
        body.extend_from_slice(table.values);
    }
    body
}

/// Appends a segment; all of ours are short.
fn push(out: &mut Vec<u8>, marker: u8, body: &[u8]) {
    out.extend_from_slice(&[0xff, marker]);
    out.extend_from_slice(&(body.len() as u16 + 2).to_be_bytes());
    out.extend_from_slice(body);
}

/// Walks over the segments before the scan.
struct Segments<'a> {
    file: &'a [u8],
    /// Where the next marker is looked for.
    at: usize,
}

impl<'a> Segments<'a> {
    fn new(file: &'a [u8]) -> Result<Self, JpegError> {
        if !file.starts_with(&[0xff, marker::SOI]) {
            return Err(JpegError::NotJpeg);
        }
        Ok(Self { file, at: 2 })
    }

    /// The next marker and its segment.
    fn next(&mut self) -> Result<(u8, &'a [u8]), JpegError> {
        loop {
            let marker = match self.file.get(self.at..self.at + 2) {
                Some(&[0xff, 0xff]) => {
                    self.at += 1; // fill byte
                    continue;
                }
                Some(&[0xff, marker]) => marker,
                _ => return Err(JpegError::Missing("scan")),
            };
            match marker {
                marker::TEM | marker::RST0..=marker::SOI => self.at += 2,
                marker::EOI => return Err(JpegError::Missing("scan")),
                _ => return self.segment(marker),
            }
        }
    }

    fn segment(&mut self, marker: u8) -> Result<(u8, &'a [u8]), JpegError> {
        let body = self.at + 4;
        let length = self
            .file
            .get(self.at + 2..body)
            .map_or(0, |l| usize::from(l[0]) << 8 | usize::from(l[1]));
        let end = self.at + 2 + length;
        let sound = length >= 2 && (marker == marker::SOS || self.file.get(end) == Some(&0xff));
        if let (true, Some(segment)) = (sound, self.file.get(body..end)) {
            self.at = end;
            return Ok((marker, segment));
        }
        // Webcams write application segments with wrong lengths; the next marker that matters is looked for.
        if !matches!(marker, marker::APP0..=marker::APP15 | marker::COM) {
            return Err(JpegError::Broken("segment before the scan"));
        }
        let rest = self.file.get(body..).unwrap_or_default();
        let matters = |two: &[u8]| {
            two[0] == 0xff
                && matches!(
                    two[1],
                    marker::DQT | marker::DHT | marker::DRI | marker::SOS | marker::SOF0
                )
        };
        let next = rest
            .windows(2)
            .position(matters)
            .ok_or(JpegError::Missing("scan"))?;
        self.at = body + next;
        Ok((marker, &[]))
    }

    /// What follows the segment that came last.
    fn rest(&self) -> &'a [u8] {
        self.file.get(self.at..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SCAN: [u8; 12] = [
        0x12, 0xff, 0x00, 0x34, 0xff, 0xd0, 0x56, 0xff, 0xff, 0x00, 0x78, 0x9a,
    ];

    fn image() -> Image<'static> {
        Image {
            width: 1280,
            height: 720,
            sampling: Sampling::Half,
            quantizers: quantizers(80).unwrap(),
            restart_interval: 7,
            scan: &SCAN,
        }
    }

    /// The file of [`image`] with one segment replaced or left out.
    fn with(marker: u8, replacement: &[u8]) -> Vec<u8> {
        let file = image().to_file();
        let mut segments = Segments::new(&file).unwrap();
        loop {
            let at = segments.at;
            if segments.next().unwrap().0 == marker {
                return [&file[..at], replacement, segments.rest()].concat();
            }
        }
    }

    #[test]
    fn a_file_comes_back_as_the_picture_it_was_made_of() {
        assert_eq!(Image::parse(&image().to_file()), Ok(image()));
        let other = Image {
            sampling: Sampling::Quarter,
            restart_interval: 0,
            width: 8,
            ..image()
        };
        assert_eq!(Image::parse(&other.to_file()), Ok(other));
    }

    #[test]
    fn quantisers_are_scaled_as_rfc_2435_shows() {
        assert_eq!(quantizers(50).unwrap(), [LUMA_QUANTIZERS, CHROMA_QUANTIZERS]);
        assert_eq!(quantizers(99).unwrap()[0][..4], [0, 0, 0, 0].map(|_: u8| 1));
        assert_eq!(quantizers(75).unwrap()[0][..8], [8, 6, 6, 7, 6, 5, 8, 7]);
        assert_eq!(quantizers(1).unwrap()[1], [255; 64]);
        assert_eq!([quantizers(0), quantizers(100), quantizers(255)], [None; 3]);
    }

    #[test]
    fn missing_huffman_tables_are_presumed_and_can_be_put_in() {
        let bare = with(marker::DHT, &[]);
        assert_eq!(Image::parse(&bare), Ok(image()));
        let full = insert_huffman_tables(&bare);
        assert_eq!(full, image().to_file());
        assert!(matches!(insert_huffman_tables(&full), Cow::Borrowed(_)));
        for other in [&b"GIF89a"[..], &[], &[0xff, 0xd8], &bare[..40]] {
            assert!(matches!(insert_huffman_tables(other), Cow::Borrowed(same) if same == other));
        }
    }

    #[test]
    fn quirk_webcam_application_segment_with_a_wrong_length() {
        for length in [0u16, 1, 6, 60_000] {
            let mut broken = vec![0xff, 0xe0];
            broken.extend_from_slice(&length.to_be_bytes());
            broken.extend_from_slice(b"AVI1\0\0\0\0\0\0");
            let file = with(marker::APP0, &broken);
            assert_eq!(Image::parse(&file), Ok(image()), "length {length}");
            assert!(matches!(insert_huffman_tables(&file), Cow::Borrowed(_)));
        }
    }

    #[test]
    fn the_scan_ends_at_its_end_marker_whatever_follows() {
        let mut file = image().to_file();
        file.extend_from_slice(&[0, 0, 0, 0]);
        assert_eq!(Image::parse(&file), Ok(image()));
        file.truncate(file.len() - 6);
        assert_eq!(Image::parse(&file), Ok(image()), "the end marker is missing");
        file.push(0xff);
        assert_eq!(
            Image::parse(&file),
            Ok(image()),
            "half of the end marker is missing"
        );
        file.extend_from_slice(&[marker::SOS, 0, 8]);
        assert_eq!(Image::parse(&file), Err(JpegError::Scans));
    }

    #[test]
    fn what_rtp_cannot_carry_is_refused_with_the_reason() {
        let sof = |code: u8, body: &[u8]| {
            let mut segment = Vec::new();
            push(&mut segment, code, body);
            Image::parse(&with(marker::SOF0, &segment)).map(|_| ())
        };
        assert_eq!(sof(0xc2, &[8]), Err(JpegError::NotBaseline(2)));
        let frame = [8, 0, 8, 0, 8, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1];
        assert_eq!(sof(0xc0, &frame), Ok(()));
        assert_eq!(sof(0xc0, &[8, 8, 0, 0, 8, 3]), Err(JpegError::TooLarge(8, 2048)));
        assert_eq!(
            sof(0xc0, &[8, 0, 8, 0, 8, 1, 1, 0x11, 0]),
            Err(JpegError::Sampling)
        );
        // What ffmpeg calls 4:2:2: two by two blocks of brightness, one by two of colour.
        assert_eq!(
            sof(0xc0, &[8, 0, 8, 0, 8, 3, 1, 0x22, 0, 2, 0x12, 1, 3, 0x12, 1]),
            Err(JpegError::Sampling)
        );
        assert_eq!(
            sof(0xc0, &[8, 0, 0, 0, 8, 3]),
            Err(JpegError::Broken("frame header"))
        );
        assert_eq!(
            sof(0xc0, &[8, 0, 8, 0, 8, 3, 1, 0x22, 3, 2, 0x11, 1, 3, 0x11, 1]),
            Err(JpegError::Missing("quantiser table"))
        );
        assert_eq!(
            Image::parse(&with(marker::SOF0, &[])),
            Err(JpegError::Missing("frame header"))
        );
        let mut huffman = Vec::new();
        push(&mut huffman, marker::DHT, &[&[0, 1][..], &[0; 15], &[5]].concat());
        assert_eq!(
            Image::parse(&with(marker::DHT, &huffman)),
            Err(JpegError::HuffmanTables)
        );
        let mut grey = Vec::new();
        push(&mut grey, marker::SOS, &[1, 1, 0, 0, 63, 0]);
        assert_eq!(Image::parse(&with(marker::SOS, &grey)), Err(JpegError::Scans));
        assert_eq!(Image::parse(b"RIFF"), Err(JpegError::NotJpeg));
    }

    proptest! {
        #[test]
        fn a_cut_or_changed_file_never_panics(
            cut in 0usize..700,
            change in proptest::collection::vec((0usize..700, any::<u8>()), 0..4),
        ) {
            let mut file = image().to_file();
            for (at, byte) in change {
                if let Some(b) = file.get_mut(at) {
                    *b = byte;
                }
            }
            file.truncate(cut);
            let _ = insert_huffman_tables(&file);
            if let Ok(image) = Image::parse(&file) {
                let again = image.to_file();
                prop_assert_eq!(Image::parse(&again), Ok(image));
            }
        }
    }
}
