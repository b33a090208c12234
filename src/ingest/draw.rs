//! Letters and numbers burned into pictures: a person reads the text, a test the blocks.
//!
//! Drawn by hand since libav's `drawtext` needs a font file, which a bare machine lacks. Luma only.

use crate::av::frame::Frame;

const WHITE: u8 = 235;
const BLACK: u8 = 16;
/// A glyph's columns and rows, and the free column after it.
const COLUMNS: u32 = 5;
const ROWS: u32 = 7;
const ADVANCE: u32 = 6;

/// Five bits a row, the leftmost highest.
const GLYPHS: &[(char, [u8; 7])] = &[
    ('0', [0x0e, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0e]),
    ('1', [0x04, 0x0c, 0x04, 0x04, 0x04, 0x04, 0x0e]),
    ('2', [0x0e, 0x11, 0x01, 0x06, 0x08, 0x10, 0x1f]),
    ('3', [0x1f, 0x02, 0x04, 0x02, 0x01, 0x11, 0x0e]),
    ('4', [0x02, 0x06, 0x0a, 0x12, 0x1f, 0x02, 0x02]),
    ('5', [0x1f, 0x10, 0x1e, 0x01, 0x01, 0x11, 0x0e]),
    ('6', [0x06, 0x08, 0x10, 0x1e, 0x11, 0x11, 0x0e]),
    ('7', [0x1f, 0x01, 0x02, 0x04, 0x08, 0x08, 0x08]),
    ('8', [0x0e, 0x11, 0x11, 0x0e, 0x11, 0x11, 0x0e]),
    ('9', [0x0e, 0x11, 0x11, 0x0f, 0x01, 0x02, 0x0c]),
    ('A', [0x0e, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11]),
    ('B', [0x1e, 0x11, 0x11, 0x1e, 0x11, 0x11, 0x1e]),
    ('C', [0x0e, 0x11, 0x10, 0x10, 0x10, 0x11, 0x0e]),
    ('D', [0x1c, 0x12, 0x11, 0x11, 0x11, 0x12, 0x1c]),
    ('E', [0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x1f]),
    ('F', [0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x10]),
    ('G', [0x0e, 0x11, 0x10, 0x17, 0x11, 0x11, 0x0f]),
    ('H', [0x11, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11]),
    ('I', [0x0e, 0x04, 0x04, 0x04, 0x04, 0x04, 0x0e]),
    ('J', [0x07, 0x02, 0x02, 0x02, 0x02, 0x12, 0x0c]),
    ('K', [0x11, 0x12, 0x14, 0x18, 0x14, 0x12, 0x11]),
    ('L', [0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x1f]),
    ('M', [0x11, 0x1b, 0x15, 0x15, 0x11, 0x11, 0x11]),
    ('N', [0x11, 0x19, 0x15, 0x13, 0x11, 0x11, 0x11]),
    ('O', [0x0e, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e]),
    ('P', [0x1e, 0x11, 0x11, 0x1e, 0x10, 0x10, 0x10]),
    ('Q', [0x0e, 0x11, 0x11, 0x11, 0x15, 0x12, 0x0d]),
    ('R', [0x1e, 0x11, 0x11, 0x1e, 0x14, 0x12, 0x11]),
    ('S', [0x0f, 0x10, 0x10, 0x0e, 0x01, 0x01, 0x1e]),
    ('T', [0x1f, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04]),
    ('U', [0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e]),
    ('V', [0x11, 0x11, 0x11, 0x11, 0x11, 0x0a, 0x04]),
    ('W', [0x11, 0x11, 0x11, 0x15, 0x15, 0x1b, 0x11]),
    ('X', [0x11, 0x0a, 0x04, 0x04, 0x04, 0x0a, 0x11]),
    ('Y', [0x11, 0x11, 0x0a, 0x04, 0x04, 0x04, 0x04]),
    ('Z', [0x1f, 0x01, 0x02, 0x04, 0x08, 0x10, 0x1f]),
    (':', [0x00, 0x04, 0x04, 0x00, 0x04, 0x04, 0x00]),
    ('-', [0x00, 0x00, 0x00, 0x0e, 0x00, 0x00, 0x00]),
    ('.', [0x00, 0x00, 0x00, 0x00, 0x00, 0x06, 0x06]),
];

/// Writes lines of text in a black box whose upper left corner is at `x`, `y`; each dot of a letter is
/// `scale` pixels wide. What does not fit is cut off. Letters are upper case; unknown ones stay empty.
pub(crate) fn text(frame: &mut Frame, x: u32, y: u32, scale: u32, lines: &[&str]) {
    let columns = lines.iter().map(|l| l.chars().count() as u32).max().unwrap_or(0);
    let line_height = (ROWS + 2) * scale;
    let (width, height) = (
        (columns * ADVANCE + 1) * scale,
        lines.len() as u32 * line_height + scale,
    );
    fill(frame, x, y, width, height, BLACK);
    for (row, line) in lines.iter().enumerate() {
        for (column, c) in line.chars().enumerate() {
            let left = x + (column as u32 * ADVANCE + 1) * scale;
            let top = y + row as u32 * line_height + scale + scale / 2;
            glyph(frame, left, top, scale, c.to_ascii_uppercase());
        }
    }
}

/// Width in pixels of the box that [`text`] would draw.
pub(crate) fn text_width(scale: u32, lines: &[&str]) -> u32 {
    let columns = lines.iter().map(|l| l.chars().count() as u32).max().unwrap_or(0);
    (columns * ADVANCE + 1) * scale
}

fn glyph(frame: &mut Frame, x: u32, y: u32, scale: u32, c: char) {
    let Some((_, rows)) = GLYPHS.iter().find(|(g, _)| *g == c) else {
        return;
    };
    for (row, bits) in rows.iter().enumerate() {
        for column in 0..COLUMNS {
            if bits >> (COLUMNS - 1 - column) & 1 == 1 {
                fill(
                    frame,
                    x + column * scale,
                    y + row as u32 * scale,
                    scale,
                    scale,
                    WHITE,
                );
            }
        }
    }
}

/// Fills a rectangle, cut to the picture.
pub(crate) fn fill(frame: &mut Frame, x: u32, y: u32, width: u32, height: u32, luma: u8) {
    let (right, bottom) = ((x + width).min(frame.width()), (y + height).min(frame.height()));
    let (samples, stride) = frame.luma_mut();
    for row in y..bottom.max(y) {
        let start = row as usize * stride;
        if let Some(line) = samples.get_mut(start + x as usize..start + right.max(x) as usize) {
            line.fill(luma);
        }
    }
}

// ---- the number that a test reads ----

/// Blocks in a row: white, black, 32 bits of the number with the highest first, four bits of check.
const BLOCKS: u32 = 38;
/// Height of the row in pixels: a macroblock, so that coding does not blur it into its neighbours.
pub(crate) const NUMBER_HEIGHT: u32 = 16;

/// Draws a number as a row of black and white blocks along the upper edge.
pub(crate) fn number(frame: &mut Frame, number: u32) {
    let side = frame.width() / BLOCKS;
    for (n, bit) in bits(number).into_iter().enumerate() {
        let luma = if bit { WHITE } else { BLACK };
        fill(frame, n as u32 * side, 0, side, NUMBER_HEIGHT, luma);
    }
}

/// Reads the number that `number` drew, from luma samples `stride` apart by rows, of a picture `width`
/// wide. `None` when there is none, or it is damaged.
pub fn read_number(luma: &[u8], stride: usize, width: u32) -> Option<u32> {
    let side = width / BLOCKS;
    if side < 2 {
        return None;
    }
    let row = luma.get(stride * (NUMBER_HEIGHT as usize / 2)..)?;
    let bit = |n: u32| row.get((n * side + side / 2) as usize).map(|s| *s >= 128);
    let seen: Vec<bool> = (0..BLOCKS).map(bit).collect::<Option<_>>()?;
    let number = seen[2..34]
        .iter()
        .fold(0, |value, bit| value << 1 | u32::from(*bit));
    (seen == bits(number)).then_some(number)
}

fn bits(number: u32) -> Vec<bool> {
    let check = (0..8).fold(0xa, |check, nibble| check ^ (number >> (4 * nibble) & 0xf));
    let mut bits = vec![true, false];
    bits.extend((0..32).rev().map(|n| number >> n & 1 == 1));
    bits.extend((0..4).rev().map(|n| check >> n & 1 == 1));
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(frame: &Frame) -> Option<u32> {
        let (luma, stride) = frame.luma();
        read_number(luma, stride, frame.width())
    }

    #[test]
    fn a_number_reads_back_at_every_size() {
        for (width, height) in [(96, 64), (320, 240), (640, 360), (1280, 720)] {
            let mut frame = Frame::black(width, height).unwrap();
            assert_eq!(read(&frame), None);
            for n in [0, 1, 4711, 0x8000_0001, u32::MAX] {
                number(&mut frame, n);
                assert_eq!(read(&frame), Some(n), "{width}x{height}");
            }
        }
    }

    #[test]
    fn a_damaged_number_is_none() {
        let mut frame = Frame::black(320, 240).unwrap();
        number(&mut frame, 1234);
        fill(&mut frame, 160, 0, 8, NUMBER_HEIGHT, WHITE);
        assert_eq!(read(&frame), None);
        assert_eq!(read_number(&[], 320, 320), None);
        assert_eq!(read_number(&[255; 64], 8, 8), None);
    }

    #[test]
    fn text_is_white_on_black_and_cut_at_the_edges() {
        let mut frame = Frame::black(64, 48).unwrap();
        fill(&mut frame, 0, 0, 64, 48, 128);
        text(&mut frame, 4, 4, 2, &["I"]);
        // The upper bar of an I: three dots in the middle of five.
        let at = |x, y| frame.luma_at(x, y).unwrap();
        assert_eq!(
            (at(6, 7), at(8, 7), at(10, 7), at(12, 7)),
            (BLACK, WHITE, WHITE, WHITE)
        );
        assert_eq!(at(3, 3), 128);
        let mut tiny = Frame::black(32, 32).unwrap();
        text(&mut tiny, 20, 28, 4, &["LONGER THAN THE PICTURE", "?"]);
    }

    #[test]
    fn every_letter_of_our_own_words_has_a_glyph() {
        let words = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-.";
        assert!(words.chars().all(|c| GLYPHS.iter().any(|(g, _)| *g == c)));
    }
}
