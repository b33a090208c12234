//! The targets over their seeds, and over mutations of them.

use super::*;
use crate::base::time::NtpTime;

/// Mutations of each seed.
const MUTATIONS: u64 = 400;

#[test]
fn every_target_holds_over_its_seeds_and_their_mutations() {
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "no seed for {name}");
        for seed in &seeds {
            target(seed);
            for n in 0..MUTATIONS {
                let input = mutated(seed, &seeds, n);
                let run = std::panic::catch_unwind(|| target(&input));
                assert!(
                    run.is_ok(),
                    "{name} failed; make this a seed: b\"{}\"",
                    input.escape_ascii()
                );
            }
        }
    }
}

/// A test of the test: a target that breaks at some byte is found to break.
#[test]
fn mutations_reach_what_the_seeds_do_not_have() {
    let seed = b"a=1;b=2".to_vec();
    let inputs: Vec<_> = (0..MUTATIONS)
        .map(|n| mutated(&seed, std::slice::from_ref(&seed), n))
        .collect();
    assert!(inputs.iter().any(|i| i.contains(&0xff)) && inputs.iter().any(|i| i.contains(&0)));
    assert!(inputs.iter().any(|i| i.len() < seed.len()) && inputs.iter().any(|i| i.len() > seed.len() + 1));
    assert!(
        inputs.iter().any(|i| i.windows(3).any(|w| w == b"1;1")),
        "parts are doubled"
    );
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let texts: &[&str] = match target {
        "rtsp_conn" => &[
            "\0\0\0OPTIONS rtsp://h/p RTSP/1.0\r\nCSeq: 1\r\n\r\n$\0\0\x04abcd\
             DESCRIBE rtsp://h/p RTSP/1.0\r\n\
             CSeq: 2\r\nAccept: application/sdp\r\n\r\n",
            "\x01\0\x40SETUP rtsp://h/p/trackID=0?q RTSP/1.0\r\nCSeq: 3\r\nTransport: RTP/AVP/TCP;unicast;\
             interleaved=0-1,RTP/AVP;client_port=5000-5001;mode=record\r\n\r\nPLAY rtsp://h/p/ RTSP/1.0\r\n\
             CSeq: 4\r\nSession: 1;timeout=60\r\nRange: npt=0.000-\r\n\r\n",
        ],
        "rtsp_url" => &[
            "rtsp://user:pa%40ss@h:8554/a/b/trackID=1?token=x/",
            "/p?q/trackID=0",
            "*",
            "rtsp://@@/",
        ],
        "sdp" => &[
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n\
             a=rtpmap:96 H264/90000\r\n\
             a=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z0I=,aM4=\r\na=control:streamid=0\r\n\
             m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/44100/1\r\n\
             a=fmtp:97 mode=AAC-hbr; config=1208\r\n",
            "m=audio 0 RTP/AVP 0\nm=video 0 RTP/AVP 26\na=control:*\nm=application 0 RTP/AVP 107\n",
        ],
        "config" => &[
            include_str!("../../config/louver.toml"),
            "[rtsp]\nlisten = [\"127.0.0.1:0\"]\n",
        ],
        "source" => &[
            "webcam:/dev/video0?size=1280x720&fps=30",
            "pattern:?size=640x360&bitrate=800k",
            "publish:",
        ],
        "log_line" => &[
            "peer 192.0.2.77:5000 and [2001:db8::1] at rtsp://me:secret@h/p?token=abc took 3 ms",
            "authorization: Basic dTpw user_agent=x \x1b[2mAuthorization: Bearer abc.def\x1b[0m",
        ],
        _ => &[],
    };
    let mut seeds: Vec<Vec<u8>> = texts.iter().map(|t| t.as_bytes().to_vec()).collect();
    match target {
        "rtcp" => {
            let lost = rtcp::ReportBlock {
                ssrc: 3,
                cumulative_lost: 5,
                ..rtcp::ReportBlock::default()
            };
            seeds.push(rtcp::sender_report(1, NtpTime(1 << 40), 2, 3, 4, "token"));
            seeds.push([rtcp::receiver_report(1, &[lost], "token"), rtcp::bye(1)].concat());
        }
        "media" => seeds.extend(media_seeds()),
        "jpeg" => seeds.push(small_jpeg()),
        _ => {}
    }
    seeds
}

/// One unit of each codec as its packetizer cuts it, in the form that [`media`] reads.
fn media_seeds() -> Vec<Vec<u8>> {
    let h264 = [
        &[
            0, 0, 0, 1, 0x67, 66, 0, 13, 0, 0, 0, 1, 0x68, 0xce, 0, 0, 1, 0x65, 0x88,
        ][..],
        &[9; 400],
    ]
    .concat();
    let h265 = [&[0, 0, 0, 1, 0x42, 1, 1, 0, 0, 1, 0x26, 1, 0x80][..], &[9; 400]].concat();
    let mpeg4 = [
        &[0, 0, 1, 0xb0, 1, 0, 0, 1, 0x20, 5, 0, 0, 1, 0xb6, 0x10][..],
        &[9; 400],
    ]
    .concat();
    let units = [
        h264,
        h265,
        mpeg4,
        small_jpeg(),
        vec![0x21; 300],
        vec![5; 90],
        vec![7; 160],
        vec![0x47; 376],
    ];
    let seed = |(choice, data): (u8, Vec<u8>)| {
        let track = track_of(choice);
        let mut packetizer = rtp::Packetizer::new(&track, 7, 0, 200).unwrap();
        let mut seed = vec![choice];
        for n in 0..2 {
            let pts = MediaTime::new(n * 3000, track.rate);
            let unit = AccessUnit {
                track: track.id,
                pts,
                keyframe: true,
                data: data.clone().into(),
            };
            let mut packets = Vec::new();
            packetizer.packetize(&unit, &mut packets);
            assert!(!packets.is_empty(), "{}: {:?}", track.codec, packetizer.refused());
            for packet in packets {
                let header = rtp::Header::parse(&packet).unwrap();
                let payload = &packet[header.payload];
                seed.extend([
                    u8::from(header.marker) << 7 | 8,
                    u8::try_from(payload.len()).unwrap(),
                ]);
                seed.extend_from_slice(payload);
            }
        }
        seed
    };
    (0..).zip(units).map(seed).collect()
}

/// 16x16 pixels, as a webcam sends them: no Huffman tables.
fn small_jpeg() -> Vec<u8> {
    let table = |id: u8| [&[0xff, 0xdb, 0, 67, id][..], &[16; 64]].concat();
    let frame = [
        0xff, 0xc0, 0, 17, 8, 0, 16, 0, 16, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1,
    ];
    let scan = [
        0xff, 0xda, 0, 12, 3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0, 0x92, 0x34, 0x56, 0xff, 0xd9,
    ];
    [&[0xff, 0xd8][..], &table(0), &table(1), &frame, &scan].concat()
}

/// The `n`th mutation of a seed: some bytes changed, taken out, doubled, or taken from another seed.
fn mutated(seed: &[u8], others: &[Vec<u8>], n: u64) -> Vec<u8> {
    // xorshift64*: the same in every run, and different in each mutation.
    let mut state = 0x9e37_79b9_7f4a_7c15u64.wrapping_mul(n + 1);
    let mut random = move |below: usize| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let high = (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize;
        high % below.max(1)
    };
    let mut out = seed.to_vec();
    for _ in 0..=random(4) {
        let at = random(out.len());
        let end = (at + 1 + random(16)).min(out.len());
        match random(7) {
            0 if at < out.len() => out[at] ^= 1 << random(8),
            1 if at < out.len() => out[at] = [0, 1, 0x7f, 0x80, 0xff, b'\n', b';', b'/'][random(8)],
            2 => out.truncate(at),
            3 if at < end => drop(out.drain(at..end)),
            4 if at < end => out.extend_from_within(at..end),
            5 if at < end => {
                let part = out[at..end].to_vec();
                out.splice(at..at, part);
            }
            _ => {
                let other = &others[random(others.len())];
                let from = random(other.len());
                out.truncate(at);
                out.extend_from_slice(&other[from..]);
            }
        }
    }
    out
}
