//! The structure bit by bit; [`with_ffmpeg`] tells what a player makes of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::base::time::MediaTime;
use crate::media::Codec;
use crate::proto::bits::nal_units;
use crate::proto::h264;
use crate::proto::rtp::h264_track;

mod with_ffmpeg;

/// From x264, 320x240 constrained baseline.
const SPS: [u8; 10] = [0x67, 0x42, 0xc0, 0x0d, 0xda, 0x05, 0x07, 0xec, 0x04, 0x40];
const PPS: [u8; 4] = [0x68, 0xce, 0x3c, 0x80];
/// AAC-LC, 44.1 kHz, mono.
const AAC: &str = "mode=AAC-hbr;config=1208";

fn track(id: u8, kind: MediaKind, codec: Codec, fmtp: Option<&str>) -> Track {
    let rate = Rate::new(if kind == MediaKind::Audio { 44_100 } else { 90_000 }).unwrap();
    let fmtp = fmtp.map(str::to_owned);
    Track {
        id: TrackId(id),
        kind,
        codec,
        payload_type: 96,
        rate,
        encoding: String::new(),
        channels: None,
        fmtp,
    }
}

fn video() -> Track {
    h264_track(TrackId(0), &SPS, &PPS)
}

fn audio() -> Track {
    track(1, MediaKind::Audio, Codec::Aac, Some(AAC))
}

/// A unit of H.264: one slice of `len` bytes.
fn picture(ticks: i64, keyframe: bool, len: usize) -> AccessUnit {
    let mut data = vec![0, 0, 0, 1, if keyframe { 0x65 } else { 0x41 }];
    data.resize(5 + len, 0xaa);
    AccessUnit {
        track: TrackId(0),
        pts: MediaTime::new(ticks, Rate::VIDEO),
        keyframe,
        data: data.into(),
    }
}

fn sound(ticks: i64) -> AccessUnit {
    let pts = MediaTime::new(ticks, Rate::new(44_100).unwrap());
    AccessUnit {
        track: TrackId(1),
        pts,
        keyframe: true,
        data: Bytes::from_static(&[0x21; 200]),
    }
}

/// What a demultiplexer sees.
#[derive(Default)]
struct Seen {
    /// PES packets of each PID: stream id, PTS, DTS, payload.
    pes: BTreeMap<u16, Vec<Pes>>,
    /// Every clock reference, with the PID.
    pcr: Vec<(u16, i64)>,
    /// PES packets and tables in order: `P` for PAT and PMT, `K` for a random access point, `.` for another.
    order: String,
    streams: Vec<(u8, u16)>,
}

struct Pes {
    stream_id: u8,
    times: Option<(i64, i64)>,
    length: usize,
    data: Vec<u8>,
}

/// Takes a stream apart, and panics where it breaks a rule.
fn demux(ts: &[u8]) -> Seen {
    assert_eq!(ts.len() % PACKET_LEN, 0);
    let mut seen = Seen::default();
    let mut counters = BTreeMap::new();
    for packet in ts.chunks(PACKET_LEN) {
        assert_eq!(packet[0], 0x47);
        let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        let (starts, counter) = (packet[1] & 0x40 != 0, packet[3] & 15);
        let mut payload = &packet[4..];
        let mut random_access = false;
        if packet[3] & 0x20 != 0 {
            let field = &packet[5..5 + usize::from(packet[4])];
            payload = &packet[5 + field.len()..];
            if let Some(flags) = field.first() {
                random_access = flags & 0x40 != 0;
                let said = if flags & 0x10 != 0 { 7 } else { 1 };
                if said == 7 {
                    let base = u64::from_be_bytes([
                        0, 0, field[1], field[2], field[3], field[4], field[5], field[6],
                    ]);
                    assert_eq!(base & 0x7fff, 0x7e00, "reserved bits and extension");
                    seen.pcr.push((pid, (base >> 15) as i64));
                }
                assert!(field[said..].iter().all(|b| *b == 0xff), "stuffing is all ones");
            }
        }
        let has_payload = packet[3] & 0x10 != 0;
        assert_eq!(has_payload, !payload.is_empty());
        if let Some(last) = counters.insert(pid, counter) {
            assert_eq!(
                counter,
                (last + u8::from(has_payload)) & 15,
                "continuity of PID {pid:#x}"
            );
        }
        match pid {
            0 | 0x1000 => seen.table(pid, payload),
            _ if !has_payload => {}
            _ if starts => seen.pes_start(pid, random_access, payload),
            _ => seen
                .pes
                .get_mut(&pid)
                .unwrap()
                .last_mut()
                .unwrap()
                .data
                .extend_from_slice(payload),
        }
    }
    for pes in seen.pes.values().flatten() {
        assert!(pes.length == 0 || pes.length == pes.data.len(), "PES length");
        assert!(
            pes.stream_id < 0xe0 || pes.length == 0,
            "video may be longer than 16 bits can say"
        );
    }
    seen
}

impl Seen {
    fn table(&mut self, pid: u16, payload: &[u8]) {
        assert_eq!(payload[0], 0, "pointer field");
        let section = &payload[1..4 + usize::from(payload[3])];
        assert_eq!(
            tables::crc32(section),
            0,
            "the checksum of a section with its checksum"
        );
        if pid == 0 {
            assert_eq!(&section[8..12], [0, 1, 0xf0, 0], "program 1 at PID 0x1000");
            self.order.push('P');
            return;
        }
        assert!(self.order.ends_with('P'));
        assert_eq!(section[8..10], [0xe1, 0], "the clock is on the first PID");
        let streams = section[12..section.len() - 4].chunks(5);
        self.streams = streams
            .map(|s| (s[0], u16::from_be_bytes([s[1] & 0x1f, s[2]])))
            .collect();
    }

    fn pes_start(&mut self, pid: u16, random_access: bool, payload: &[u8]) {
        assert_eq!(payload[..3], [0, 0, 1]);
        let stamp = |b: &[u8]| {
            assert!(b[0] & 1 == 1 && b[2] & 1 == 1 && b[4] & 1 == 1, "marker bits");
            let (hi, mid, lo) = (
                i64::from(b[0] >> 1 & 7),
                u16::from_be_bytes([b[1], b[2]]),
                u16::from_be_bytes([b[3], b[4]]),
            );
            hi << 30 | i64::from(mid >> 1) << 15 | i64::from(lo >> 1)
        };
        let header = &payload[9..9 + usize::from(payload[8])];
        let times = match (payload[7] >> 6, header.len()) {
            (0, 0) => None,
            (2, 5) => Some((stamp(header), stamp(header))),
            (3, 10) => Some((stamp(header), stamp(&header[5..]))),
            other => panic!("flags and length of the header: {other:?}"),
        };
        let length =
            usize::from(u16::from_be_bytes([payload[4], payload[5]])).saturating_sub(3 + header.len());
        let data = payload[9 + header.len()..].to_vec();
        self.pes.entry(pid).or_default().push(Pes {
            stream_id: payload[3],
            times,
            length,
            data,
        });
        self.order.push(if random_access { 'K' } else { '.' });
    }
}

fn muxed(muxer: &mut Muxer, units: impl IntoIterator<Item = AccessUnit>) -> Vec<u8> {
    let mut out = Vec::new();
    units.into_iter().for_each(|unit| muxer.mux(&unit, &mut out));
    out
}

#[test]
fn the_tables_name_each_stream_and_what_cannot_be_carried_is_left_out() {
    let jpeg = track(2, MediaKind::Video, Codec::Jpeg, None);
    let unnamed = track(3, MediaKind::Audio, Codec::Aac, None);
    let mpeg4 = track(4, MediaKind::Video, Codec::Mpeg4Visual, None);
    let h265 = track(5, MediaKind::Video, Codec::H265, None);
    let mut muxer = Muxer::new(&[video(), audio(), jpeg.clone(), unnamed.clone(), mpeg4, h265]).unwrap();
    assert_eq!(muxer.left_out(), [TrackId(2), TrackId(3)]);
    let seen = demux(&muxed(&mut muxer, [picture(0, true, 10)]));
    assert_eq!(
        seen.streams,
        [(0x1b, 0x100), (0x0f, 0x101), (0x10, 0x102), (0x24, 0x103)]
    );
    assert!(Muxer::new(&[jpeg.clone(), unnamed]).is_none() && Muxer::new(&[]).is_none());
    let mut unit = picture(0, true, 10);
    unit.track = TrackId(2);
    assert!(muxed(&mut muxer, [unit]).is_empty());
}

#[test]
fn the_checksum_is_that_of_the_standard() {
    assert_eq!(tables::crc32(b"123456789"), 0x0376_e6e7);
}

#[test]
fn tables_come_before_keyframes_and_ten_times_a_second() {
    let mut muxer = Muxer::new(&[video()]).unwrap();
    let seen = demux(&muxed(
        &mut muxer,
        (0..10).map(|n| picture(n * 3000, n % 5 == 0, 10)),
    ));
    assert_eq!(seen.order, "PK.P..P.PK.P..P.");
    let mut muxer = Muxer::new(&[video()]).unwrap();
    let seen = demux(&muxed(&mut muxer, (0..4).map(|n| picture(n * 9000, n == 0, 10))));
    assert_eq!(seen.order, "PKP.P.P.");
}

#[test]
fn the_clock_comes_every_40_ms_only_grows_and_leads_every_unit_by_some_100_ms() {
    let mut muxer = Muxer::new(&[video(), audio()]).unwrap();
    let mut units: Vec<_> = (0..100).map(|n| picture(n * 3600, n == 0, 3000)).collect();
    units.extend((0..170).map(|n| sound(n * 1024)));
    units.sort_by_key(|u| u.pts.rescale(Rate::VIDEO).ticks);
    let seen = demux(&muxed(&mut muxer, units));
    assert!(seen.pcr.iter().all(|(pid, _)| *pid == 0x100));
    let steps: Vec<_> = seen.pcr.windows(2).map(|w| w[1].1 - w[0].1).collect();
    assert!(steps.iter().all(|s| (1..=3600).contains(s)), "{steps:?}");
    let first = seen.pes[&0x100][0].times.unwrap().1 - seen.pcr[0].1;
    assert!((4_500..=18_000).contains(&first), "{first}");
}

#[test]
fn a_track_that_lags_makes_the_clock_wait_for_it() {
    let mut muxer = Muxer::new(&[video(), audio()]).unwrap();
    let mut out = Vec::new();
    for n in 0..100 {
        muxer.mux(&picture(n * 3600, n == 0, 100), &mut out);
        muxer.mux(&sound(n * 1764 - 22_050), &mut out); // half a second behind
        let seen = demux(&out);
        let sound = seen.pes[&0x101].last().unwrap().times.unwrap().0;
        assert!(n < 12 || seen.pcr.last().unwrap().1 < sound, "unit {n}");
    }
    let steps = demux(&out)
        .pcr
        .windows(2)
        .map(|w| w[1].1 - w[0].1)
        .collect::<Vec<_>>();
    assert!(steps.iter().all(|s| *s > 0) && steps.len() > 80, "{steps:?}");
}

#[test]
fn audio_alone_carries_the_clock_itself() {
    let mut muxer = Muxer::new(&[track(1, MediaKind::Audio, Codec::Aac, Some(AAC))]).unwrap();
    let seen = demux(&muxed(&mut muxer, (0..50).map(|n| sound(n * 1024))));
    assert_eq!(seen.pcr.len(), 50);
    assert!(
        seen.pes[&0x100]
            .iter()
            .all(|p| p.stream_id == 0xc0 && p.data[..2] == [0xff, 0xf1] && p.length == 207)
    );
}

#[test]
fn a_time_that_jumps_restarts_the_clock_and_says_so() {
    let mut muxer = Muxer::new(&[video()]).unwrap();
    let before = muxed(&mut muxer, [picture(0, true, 10), picture(3000, false, 10)]);
    let after = muxed(&mut muxer, [picture(-90_000 * 3600, false, 10)]);
    assert_eq!(before[2 * PACKET_LEN + 5] & 0x80, 0);
    assert_eq!(
        after[2 * PACKET_LEN + 5] & 0x90,
        0x90,
        "discontinuity indicator and clock behind the tables"
    );
    demux(&[before, after].concat());
}

#[test]
fn keyframes_get_a_delimiter_and_the_parameter_sets_they_lack() {
    let types = |data: &[u8]| nal_units(data).map(h264::nal_type).collect::<Vec<_>>();
    let mut muxer = Muxer::new(&[video()]).unwrap();
    let mut whole = vec![0, 0, 0, 1, 9, 0x10, 0, 0, 0, 1];
    whole.extend(SPS);
    whole.extend([0, 0, 1, 0x65, 1]);
    let mut unit = picture(3000, true, 10);
    unit.data = whole.into();
    let seen = demux(&muxed(
        &mut muxer,
        [picture(0, true, 10), picture(1500, false, 10), unit],
    ));
    let got: Vec<_> = seen.pes[&0x100].iter().map(|p| types(&p.data)).collect();
    assert_eq!(got, [vec![9, 7, 8, 5], vec![9, 1], vec![9, 7, 5]]);
    assert!(
        seen.pes[&0x100]
            .iter()
            .all(|p| p.data.starts_with(&[0, 0, 0, 1, 9, 0xf0]))
    );
}

#[test]
fn units_of_any_size_come_out_whole() {
    let mut muxer = Muxer::new(&[video()]).unwrap();
    let seen = demux(&muxed(
        &mut muxer,
        (0..600).map(|n| picture(n * 3000, false, n as usize)),
    ));
    for (n, pes) in seen.pes[&0x100].iter().enumerate() {
        assert_eq!(pes.data.len(), 6 + 5 + n);
    }
}

/// Presentation times in decode order, in frames, and how many may go without times.
#[test]
fn decode_times_of_reordered_pictures_grow_and_are_never_late() {
    let cases: &[(usize, &[i64], usize)] = &[
        (0, &[0, 1, 2, 3, 4, 5], 0),
        (2, &[0, 1, 2, 3, 4, 5], 0),
        (1, &[0, 3, 1, 2, 6, 4, 5, 9, 7, 8], 0),
        (2, &[0, 4, 2, 1, 3, 8, 6, 5, 7], 0),
        (0, &[0, 3, 1, 2, 6, 4, 5, 9, 7, 8], 2),
        (0, &[0, 4, 2, 1, 3, 8, 6, 5, 7, 12, 10, 9, 11], 3),
        (2, &[0, -2, -1, 3, 1, 2], 0),
        (1, &[0, 1, 1, 2, 3], 0),
    ];
    for (depth, frames, without) in cases {
        let mut clock = DecodeClock::new(*depth);
        let stamps: Vec<_> = frames.iter().map(|n| (n * 3000, clock.stamp(n * 3000))).collect();
        assert_eq!(
            stamps.iter().filter(|s| s.1.is_none()).count(),
            *without,
            "{frames:?}: {stamps:?}"
        );
        assert!(
            stamps.iter().all(|(pts, dts)| dts.is_none_or(|d| d <= *pts)),
            "{stamps:?}"
        );
        assert!(
            stamps.iter().filter_map(|s| s.1).is_sorted_by(|a, b| a < b),
            "{stamps:?}"
        );
    }
}

/// Bytes of which start codes are likely.
fn code_or_noise() -> impl Strategy<Value = u8> {
    prop_oneof![Just(0), Just(1), any::<u8>()]
}

proptest! {
    /// Whatever the times: no panic, and decode times keep the rules between two jumps.
    #[test]
    fn no_times_break_the_rules(times: [(i64, u8); 32]) {
        let times = times.map(|(t, shift)| t >> (shift & 63));
        let mut clock = DecodeClock::new(2);
        for pts in &times {
            prop_assert!(clock.stamp(*pts).is_none_or(|dts| dts <= *pts));
        }
        let mut muxer = Muxer::new(&[video(), audio()]).unwrap();
        let unit = |t| if t % 3 == 0 { sound(t) } else { picture(t, t % 5 == 0, 300) };
        demux(&muxed(&mut muxer, times.map(unit)));
    }

    #[test]
    fn no_data_breaks_the_structure(data in prop::collection::vec(code_or_noise(), 0..600), keyframe: bool) {
        for codec in [Codec::H264, Codec::H265, Codec::Mpeg4Visual] {
            let mut muxer = Muxer::new(&[track(0, MediaKind::Video, codec, None)]).unwrap();
            let mut unit = picture(0, keyframe, 0);
            unit.data = data.clone().into();
            demux(&muxed(&mut muxer, [unit]));
        }
    }
}
