//! The tables that tell a player what is in the stream: PAT and PMT (ISO/IEC 13818-1 section 2.4.4).

use super::PACKET_LEN;

const PAT_PID: u16 = 0;
const PMT_PID: u16 = 0x1000;
/// The number of our only program, and of the stream itself.
const PROGRAM: u8 = 1;

/// Both tables as packets, which differ from one time to the next in the continuity counter alone.
#[derive(Debug)]
pub(super) struct Tables {
    packets: Vec<u8>,
    counter: u8,
}

impl Tables {
    /// `streams`: stream type and PID of each, at most 32.
    pub(super) fn new(pcr_pid: u16, streams: &[(u8, u16)]) -> Self {
        let mut packets = Vec::with_capacity(2 * PACKET_LEN);
        let [hi, lo] = PMT_PID.to_be_bytes();
        push_packet(&mut packets, PAT_PID, &section(0, &[0, PROGRAM, 0xe0 | hi, lo]));
        let [hi, lo] = pcr_pid.to_be_bytes();
        let mut map = vec![0xe0 | hi, lo, 0xf0, 0];
        for (stream_type, pid) in streams.iter().take(32) {
            let [hi, lo] = pid.to_be_bytes();
            map.extend([*stream_type, 0xe0 | hi, lo, 0xf0, 0]);
        }
        push_packet(&mut packets, PMT_PID, &section(2, &map));
        Self { packets, counter: 0 }
    }

    /// Appends both.
    pub(super) fn push(&mut self, out: &mut Vec<u8>) {
        for packet in self.packets.chunks_exact_mut(PACKET_LEN) {
            packet[3] = 0x10 | self.counter;
            out.extend_from_slice(packet);
        }
        self.counter = (self.counter + 1) & 15;
    }
}

/// A section with its head and checksum. Version 0, the only one.
fn section(table_id: u8, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(body.len() + 9).expect("32 streams make 173 bytes");
    let mut section = vec![table_id, 0xb0, length, 0, PROGRAM, 0xc1, 0, 0];
    section.extend_from_slice(body);
    let crc = crc32(&section);
    section.extend(crc.to_be_bytes());
    section
}

fn push_packet(out: &mut Vec<u8>, pid: u16, section: &[u8]) {
    let end = out.len() + PACKET_LEN;
    let [hi, lo] = pid.to_be_bytes();
    out.extend([0x47, 0x40 | hi, lo, 0x10, 0]); // the last one points to the section: at once
    out.extend_from_slice(section);
    out.resize(end, 0xff);
}

/// CRC-32/MPEG-2 (annex A): not reflected, as it was before Ethernet's became the usual one.
pub(super) fn crc32(data: &[u8]) -> u32 {
    data.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            if crc >> 31 == 1 {
                crc << 1 ^ 0x04c1_1db7
            } else {
                crc << 1
            }
        })
    })
}
