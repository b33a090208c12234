//! Bytes: PES headers, and PES packets cut into packets of 188 bytes (ISO/IEC 13818-1 sections 2.4.3.2 to
//! 2.4.3.7).

use super::PACKET_LEN;

/// Room in a packet after its four bytes of header.
const ROOM: usize = PACKET_LEN - 4;

/// What the first packet of a unit says besides.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Adaptation {
    /// In 90 kHz units, any number: the wire has the low 33 bits.
    pub(super) pcr: Option<i64>,
    /// The clock jumps here.
    pub(super) discontinuity: bool,
    /// Decoding can start here.
    pub(super) random_access: bool,
}

impl Adaptation {
    /// The field without its length byte; empty if there is nothing to say.
    fn bytes(&self) -> ([u8; 7], usize) {
        let mut bytes = [0; 7];
        bytes[0] = u8::from(self.discontinuity) << 7 | u8::from(self.random_access) << 6;
        let Some(pcr) = self.pcr else {
            return (bytes, usize::from(bytes[0] != 0));
        };
        bytes[0] |= 0x10;
        // 33 bits of the base, 6 reserved ones, 9 bits of the extension, which stays 0.
        let field = (pcr.cast_unsigned() & 0x1_ffff_ffff) << 15 | 0x7e00;
        bytes[1..].copy_from_slice(&field.to_be_bytes()[2..]);
        (bytes, 7)
    }
}

/// The head of a PES packet. `stamps`: presentation and decode time, if they can be told.
pub(super) fn push_pes_header(pes: &mut Vec<u8>, stream_id: u8, stamps: Option<(i64, i64)>) {
    // The length stays 0, which video may do. 0x84: the payload begins with the unit.
    pes.extend([0, 0, 1, stream_id, 0, 0, 0x84]);
    match stamps {
        None => pes.extend([0, 0]),
        Some((pts, dts)) if pts == dts => {
            pes.extend([0x80, 5]);
            push_stamp(pes, 2, pts);
        }
        Some((pts, dts)) => {
            pes.extend([0xc0, 10]);
            push_stamp(pes, 3, pts);
            push_stamp(pes, 1, dts);
        }
    }
}

/// Writes the length of a finished PES packet, if 16 bits can say it.
pub(super) fn set_pes_length(pes: &mut [u8]) {
    let length = u16::try_from(pes.len() - 6).unwrap_or(0);
    pes[4..6].copy_from_slice(&length.to_be_bytes());
}

/// 33 bits in five bytes, with marker bits between.
fn push_stamp(pes: &mut Vec<u8>, prefix: u8, time: i64) {
    let t = time.cast_unsigned();
    pes.extend([
        prefix << 4 | (t >> 29) as u8 & 0x0e | 1,
        (t >> 22) as u8,
        (t >> 14) as u8 | 1,
        (t >> 7) as u8,
        (t << 1) as u8 | 1,
    ]);
}

/// Cuts a PES packet into packets; the last is filled up.
pub(super) fn push_pes(out: &mut Vec<u8>, pid: u16, counter: &mut u8, first: &Adaptation, pes: &[u8]) {
    out.reserve((pes.len() / ROOM + 2) * PACKET_LEN);
    let mut rest = pes;
    let mut adaptation = *first;
    while !rest.is_empty() {
        let taken = push_packet(out, pid, rest.len() == pes.len(), *counter, &adaptation, rest);
        rest = &rest[taken..];
        adaptation = Adaptation::default();
        *counter = (*counter + 1) & 15;
    }
}

/// A packet with nothing but the clock. `counter` is that of the next packet with a payload.
pub(super) fn push_clock(out: &mut Vec<u8>, pid: u16, counter: u8, clock: &Adaptation) {
    // The counter does not move for packets without a payload.
    push_packet(out, pid, false, counter.wrapping_sub(1) & 15, clock, &[]);
}

/// One packet; returns how much of the payload it took.
fn push_packet(
    out: &mut Vec<u8>,
    pid: u16,
    starts: bool,
    counter: u8,
    adaptation: &Adaptation,
    payload: &[u8],
) -> usize {
    let (bytes, said) = adaptation.bytes();
    let room = ROOM - if said > 0 { said + 1 } else { 0 };
    let taken = room.min(payload.len());
    let field = ROOM - taken;
    let [hi, lo] = pid.to_be_bytes();
    let control = u8::from(field > 0) << 5 | u8::from(taken > 0) << 4;
    out.extend([0x47, u8::from(starts) << 6 | hi, lo, control | counter]);
    if field > 0 {
        let end = out.len() + field;
        out.push((field - 1) as u8); // at most 183
        // The flags byte is there even if it says nothing, except where there is room for the length alone.
        out.extend_from_slice(&bytes[..said.max(1).min(field - 1)]);
        out.resize(end, 0xff);
    }
    out.extend_from_slice(&payload[..taken]);
    taken
}
