//! The targets over their corpora, `tests/fuzz/corpus/TARGET/*`, and over mutations of what is in there.
//!
//! Files named `seed-N` are made here (`UPDATE_GOLDEN=1 cargo test --lib fuzzing` writes them); others are what a
//! fuzzer found.

use std::path::Path;
use std::path::PathBuf;

use super::*;
use crate::base::time::MediaTime;
use crate::base::time::NtpTime;
use crate::media::AccessUnit;
use crate::proto::rtp;

/// Mutations of each file.
const MUTATIONS: u64 = 400;

#[test]
fn every_target_holds_over_its_corpus_and_mutations_of_it() {
    for (name, target) in TARGETS {
        let corpus = corpus(name);
        assert!(!corpus.is_empty(), "nothing for {name}");
        for seed in &corpus {
            target(seed);
            for n in 0..MUTATIONS {
                let input = mutated(seed, &corpus, n);
                let run = std::panic::catch_unwind(|| target(&input));
                assert!(
                    run.is_ok(),
                    "{name} failed; put this into its corpus: b\"{}\"",
                    input.escape_ascii()
                );
            }
        }
    }
}

#[test]
fn the_seeds_in_the_corpus_are_those_that_are_made_here() {
    for (name, _) in TARGETS {
        for (n, seed) in seeds(name).iter().enumerate() {
            let file = folder(name).join(format!("seed-{n}"));
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                std::fs::create_dir_all(folder(name)).unwrap();
                std::fs::write(&file, seed).unwrap();
            }
            let there = std::fs::read(&file).unwrap_or_default();
            assert!(
                there == *seed,
                "{name}: seed-{n} differs; UPDATE_GOLDEN=1 writes it"
            );
        }
    }
}

#[test]
fn no_corpus_is_without_a_target_and_none_is_large() {
    let folders = std::fs::read_dir(folder("")).unwrap().map(|f| f.unwrap());
    for folder in folders {
        let name = folder.file_name().into_string().unwrap();
        assert!(TARGETS.iter().any(|(t, _)| *t == name), "no target {name}");
        let bytes: usize = corpus(&name).iter().map(Vec::len).sum();
        assert!(bytes < 64 * 1024, "{name} has {bytes} bytes");
    }
}

/// A test of the test: a target that breaks at some byte is found to break.
#[test]
fn mutations_reach_what_the_seeds_do_not_have() {
    let seed = b"a=1;b=2".to_vec();
    let inputs: Vec<_> = (0..400)
        .map(|n| mutated(&seed, std::slice::from_ref(&seed), n))
        .collect();
    assert!(inputs.iter().any(|i| i.contains(&0xff)) && inputs.iter().any(|i| i.contains(&0)));
    assert!(inputs.iter().any(|i| i.len() < seed.len()) && inputs.iter().any(|i| i.len() > seed.len() + 1));
    assert!(
        inputs.iter().any(|i| i.windows(3).any(|w| w == b"1;1")),
        "parts are doubled"
    );
}

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(target)
}

/// All files of a target, in the order of their names.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let Ok(files) = std::fs::read_dir(folder(target)) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = files.map(|f| f.unwrap().path()).collect();
    paths.sort();
    if target == "config" {
        paths.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/louver.toml"));
    }
    paths.iter().map(|p| std::fs::read(p).unwrap()).collect()
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let texts: &[&str] = match target {
        "rtsp_conn" | "rtsp_interleaved" => &[
            "\0\0\0OPTIONS rtsp://h/p RTSP/1.0\r\nCSeq: 1\r\n\r\n$\0\0\x04abcd\
             DESCRIBE rtsp://h/p RTSP/1.0\r\n\
             CSeq: 2\r\nAccept: application/sdp\r\n\r\n",
            "\x01\0\x40SETUP rtsp://h/p/trackID=0?q RTSP/1.0\r\nCSeq: 3\r\nTransport: RTP/AVP/TCP;unicast;\
             interleaved=0-1,RTP/AVP;client_port=5000-5001;mode=record\r\n\r\nPLAY rtsp://h/p/ RTSP/1.0\r\n\
             CSeq: 4\r\nSession: 1;timeout=60\r\nRange: npt=0.000-\r\n\r\n",
            "\0\0\x10ANNOUNCE rtsp://h/p RTSP/1.0\r\nCSeq: 1\r\nContent-Type: application/sdp\r\nContent-Length: 36\
             \r\n\r\nv=0\r\nm=video 0 RTP/AVP 26\r\na=control\nSETUP rtsp://h/p/0 RTSP/1.0\r\nCSeq: 2\r\n\
             Transport: RTP/AVP/TCP;mode=record\r\n\r\nRECORD rtsp://h/p RTSP/1.0\r\nCSeq: 3\r\nSession: 1\r\n\r\n\
             $\0\0\x02ab$\x01\0\0RTSP/1.0 200 OK\r\nCSeq: 9\r\n\r\ngarbage",
        ],
        "scan" => &[
            "\x07192.0.2.1 - anna [10/Oct/2026:13:55:36 +0200] \"GET /live/a.ts?token=abcd1234 HTTP/1.1\" 200 99 \
             \"-\" \"VLC/3.0\"\n2a00:1450:4001::8a ::ffff:8.8.4.4 a.b+c@mail.example.de",
            "\x10rtsp://anna:p@w@cam/1 Authorization: Bearer abc.def-12 basic YW5uYTpwdw== \
             eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
            "\x038\x00.\x008\x00.\x004\x00.\x004\x00 ZnJvbSA4LjguNC40IA== \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00x",
        ],
        "rtsp_url" => &[
            "rtsp://user:pa%40ss@h:8554/a/b/trackID=1?token=x/",
            "/p?q/trackID=0",
            "*",
            "rtsp://@@/",
        ],
        "rtsp_headers" => &[
            "RTP/AVP;unicast;client_port=5000-5001;mode=\"PLAY\",RTP/AVP/TCP;unicast;interleaved=0-1;ssrc=DEADBEEF",
            "Digest username=\"user\", realm=\"Louver\", nonce=\"0123456789abcdef\", uri=\"rtsp://host/path\", \
             response=\"00000000000000000000000000000000\", algorithm=MD5",
            "Basic dXNlcjpwYXNz",
            "12345678;timeout=60",
            "npt=0.000-",
            "www.onvif.org/ver20/backchannel, implicit-play",
        ],
        "sdp" => &[
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n\
             a=rtpmap:96 H264/90000\r\n\
             a=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z0I=,aM4=\r\na=control:streamid=0\r\n\
             m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/44100/1\r\n\
             a=fmtp:97 mode=AAC-hbr; config=1208\r\n",
            "m=audio 0 RTP/AVP 0\nm=video 0 RTP/AVP 26\na=control:*\nm=application 0 RTP/AVP 107\n",
            "m=audio 0 RTP/AVP 97\na=rtpmap:97 L16/48000/2\nm=video 0 TCP/RTP/AVP 98\na=fmtp:98 sprop-vps=QAE=\n\
             m=audio 0 RTP/AVP 99\na=fmtp:99 mode=AAC-hbr;config=1210\n",
        ],
        "config" => &["[rtsp]\nlisten = [\"127.0.0.1:0\"]\n"],
        "source" => &[
            "webcam:/dev/video0?size=1280x720&fps=30",
            "pattern:?size=640x360&bitrate=800k",
            "publish:",
        ],
        "log_line" => &[
            "peer 192.0.2.77:5000 and [2001:db8::1] at rtsp://me:secret@h/p?token=abc took 3 ms",
            "authorization: Basic dTpw user_agent=x \x1b[2mAuthorization: Bearer abc.def\x1b[0m",
        ],
        "tunnel" => &[
            "\x09T1BUSU9OUyAqIFJUU1AvMS4wDQoNCg==\r\nQUI= QQ==QUJD",
            "\x20GET /cam HTTP/1.0\r\nx-sessioncookie: 4db3f6e1\r\nAccept: application/x-rtsp-tunnelled\r\n\r\n",
        ],
        "srtp" => &[
            "\u{1}`\0\x01\0\0\0\x09\x01\x02\x03\x04payload",
            "\u{1}\x51\0\x01\0\0\0\x09report",
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
        "rtp_header" => seeds.push(vec![
            0xb1, 0x60, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 9, 9, 9, 9, 0xbe, 0xde, 0, 1, 7, 7, 7, 7, 5, 6, 0, 2,
        ]),
        "bitstreams" => seeds.extend(UNITS.iter().map(|(_, _, unit)| unit.to_vec())),
        "jpeg" => seeds.push(small_jpeg()),
        "mikey" => seeds.push(mikey_seed()),
        "srtp" => {
            let header = [0x91, 96, 0, 1, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8];
            seeds.push([&header[..], &[0xbe, 0xde, 0, 1, 9, 9, 9, 9], &[7; 40]].concat());
        }
        _ if target.starts_with("rtp_") => seeds.extend(media_seeds(target)),
        _ => {}
    }
    seeds
}

/// The beginning of a unit of each codec that has some form; the rest may be anything.
const UNITS: [(&str, Codec, &[u8]); 17] = [
    ("rtp_aac", Codec::Aac, &[0x21]),
    ("rtp_latm", Codec::AacLatm, &[255, 200]),
    ("rtp_ac3", Codec::Ac3, &[0x0b, 0x77, 0, 0, 0x08, 0x40]),
    (
        "rtp_av1",
        Codec::Av1,
        &[0x0a, 3, 0, 0, 0, 0x2a, 2, 1, 2, 0x32, 0x98, 0x03, 0x10],
    ),
    ("rtp_g722", Codec::G722, &[1, 2, 3, 4]),
    (
        "rtp_h264",
        Codec::H264,
        &[
            0, 0, 0, 1, 0x67, 66, 0, 13, 0, 0, 0, 1, 0x68, 0xce, 0, 0, 1, 0x65, 0x88,
        ],
    ),
    (
        "rtp_h265",
        Codec::H265,
        &[0, 0, 0, 1, 0x42, 1, 1, 0, 0, 1, 0x26, 1, 0x80],
    ),
    ("rtp_klv", Codec::Klv, &[0x06, 0x0e, 0x2b, 0x34, 2, 11, 1, 1]),
    ("rtp_lpcm", Codec::Lpcm, &[1, 2, 3, 4]),
    (
        "rtp_mpeg2",
        Codec::Mpeg2Video,
        &[
            0, 0, 1, 0xb3, 0x14, 0, 0, 1, 0xb8, 8, 0, 0, 1, 0, 1, 0x4f, 0xff, 0xf9, 0, 0, 1, 1, 7, 0, 0, 1, 2,
        ],
    ),
    (
        "rtp_mpeg4",
        Codec::Mpeg4Visual,
        &[0, 0, 1, 0xb0, 1, 0, 0, 1, 0x20, 5, 0, 0, 1, 0xb6, 0x10],
    ),
    ("rtp_mpa", Codec::MpegAudio, &[0xff, 0xfb, 0x90, 0]),
    ("rtp_opus", Codec::Opus, &[0xfc]),
    ("rtp_ts", Codec::MpegTs, &[0x47]),
    ("rtp_vorbis", Codec::Vorbis, &[0x04]),
    ("rtp_vp8", Codec::Vp8, &[0x10, 2, 0, 0x9d, 1, 0x2a]),
    ("rtp_vp9", Codec::Vp9, &[0x82, 0x49, 0x83, 0x42]),
];

/// A unit as it is, and two as their packetizer cuts them, in the form that the targets read.
fn media_seeds(target: &str) -> [Vec<u8>; 2] {
    let (codec, mut unit) = match UNITS.iter().find(|u| u.0 == target) {
        Some((_, codec, head)) => (*codec, head.to_vec()),
        None => (Codec::Jpeg, small_jpeg()),
    };
    let length = match codec {
        Codec::Jpeg => unit.len(),
        Codec::Opus => 90,
        Codec::Ac3 => 192,
        Codec::MpegTs => 376,
        Codec::AacLatm => 457,
        _ => 420,
    };
    unit.resize(length, 0x47);
    let track = fuzz::track_of(codec);
    let mut packetizer = rtp::Packetizer::new(&track, 7, 0, 200).unwrap();
    let mut cut = vec![0];
    for n in 0..2 {
        let unit = AccessUnit {
            track: track.id,
            pts: MediaTime::new(n * 3000, track.rate),
            keyframe: true,
            data: unit.clone().into(),
        };
        let mut packets = Vec::new();
        packetizer.packetize(&unit, &mut packets);
        assert!(!packets.is_empty(), "{codec}: {:?}", packetizer.refused());
        for packet in packets {
            let header = rtp::Header::parse(&packet).unwrap();
            let payload = &packet[header.payload];
            cut.extend([
                u8::from(header.marker) << 7 | 8,
                u8::try_from(payload.len()).unwrap(),
            ]);
            cut.extend_from_slice(payload);
        }
    }
    [[&[1, 0, 200][..], &unit].concat(), cut]
}

fn mikey_seed() -> Vec<u8> {
    let key = srtp::MasterKey::new(srtp::Suite::Tag80, &[7; srtp::KEY_LEN]).unwrap();
    let message = mikey::Message { key, roll_over: 1 };
    let text = message.to_base64(&[1, 2], &[3; 20], 1 << 40);
    base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).unwrap()
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
