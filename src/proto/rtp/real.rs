//! Tests with streams that a real encoder wrote and, where bytes may differ, a real decoder reads.

use std::io::Write;
use std::process::Command;
use std::process::Stdio;

use crate::media::AccessUnit;
use crate::media::Codec;
use crate::media::Track;
use crate::proto::aac;
use crate::proto::ac3;
use crate::proto::bits::find_start_code;
use crate::proto::bits::nal_units;
use crate::proto::bits::push_nal;
use crate::proto::h264;
use crate::proto::h265;
use crate::proto::jpeg::Image;
use crate::proto::mpa;
use crate::proto::mpeg2;
use crate::proto::mpeg4;
use crate::proto::mpeg4::code;
use crate::proto::rtp::HEADER_LEN;
use crate::proto::rtp::h264_track;
use crate::proto::rtp::jpeg_track;
use crate::proto::rtp::starts_keyframe;
use crate::proto::rtp::testing::packets;
use crate::proto::rtp::testing::track;
use crate::proto::rtp::testing::unit;
use crate::proto::rtp::testing::units;

const PICTURES: usize = 12;

/// What ffmpeg writes to its standard output. It must have nothing to complain about.
fn ffmpeg(arguments: &str, input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("ffmpeg")
        .args("-v error -nostdin -threads 1".split(' '))
        .args(arguments.split(' '))
        .arg("pipe:1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ffmpeg is installed");
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        // It may close its input early.
        scope.spawn(move || stdin.write_all(input).ok());
        child.wait_with_output().unwrap()
    });
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "",
        "of ffmpeg {arguments}"
    );
    assert!(output.status.success());
    output.stdout
}

/// Moving pictures through an encoder.
fn video(encoder: &str) -> Vec<u8> {
    ffmpeg(
        &format!("-f lavfi -i testsrc2=s=320x240:r=10 -frames:v {PICTURES} {encoder}"),
        &[],
    )
}

/// One line for each decoded picture, with its checksum.
fn decoded(format: &str, stream: &[u8]) -> Vec<String> {
    let text = ffmpeg(&format!("-f {format} -i pipe:0 -f framemd5"), stream);
    let lines = String::from_utf8(text).unwrap();
    let sums: Vec<_> = lines
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit(',').next())
        .map(str::to_owned)
        .collect();
    assert_eq!(sums.len(), PICTURES);
    sums
}

/// Gathers parts into access units, ten in a second: a part for which `begins` holds is the first of a new one
/// if there is a picture in the one before.
fn gather<'a>(
    track: &Track,
    parts: impl Iterator<Item = &'a [u8]>,
    join: fn(&mut Vec<u8>, &[u8]),
    begins: fn(&[u8]) -> bool,
    is_picture: fn(&[u8]) -> bool,
    keyframe: fn(&[u8]) -> bool,
) -> Vec<AccessUnit> {
    let mut found: Vec<(Vec<u8>, bool, bool)> = Vec::new();
    for part in parts {
        match found.last_mut() {
            Some((data, has_picture, key)) if !(*has_picture && begins(part)) => {
                join(data, part);
                *has_picture |= is_picture(part);
                *key |= keyframe(part);
            }
            _ => {
                let mut data = Vec::new();
                join(&mut data, part);
                found.push((data, is_picture(part), keyframe(part)));
            }
        }
    }
    found
        .into_iter()
        .enumerate()
        .map(|(i, (data, _, key))| unit(track, i as i64 * 9000, key, data))
        .collect()
}

/// The parts of a stream that begin with start codes, which they keep.
fn with_start_codes(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = find_start_code(stream, 0);
    std::iter::from_fn(move || {
        let start = at?;
        at = find_start_code(stream, start + 3);
        Some(&stream[start..at.unwrap_or(stream.len())])
    })
}

/// Compares units without printing them, should they differ.
fn assert_same(got: &[AccessUnit], want: &[AccessUnit]) {
    let outline = |units: &[AccessUnit]| -> Vec<_> {
        units
            .iter()
            .map(|u| (u.pts.ticks, u.keyframe, u.data.len()))
            .collect()
    };
    assert_eq!(outline(got), outline(want));
    assert!(got == want, "the bytes differ");
}

/// There and back in packets of several sizes.
fn assert_comes_back(track: &Track, sent: &[AccessUnit]) {
    for max_payload in [100, 1400, 60_000] {
        assert_eq!(
            units(track, &packets(track, max_payload, sent)),
            sent,
            "in packets of {max_payload}"
        );
    }
}

#[test]
fn h264_of_a_real_encoder_comes_back() {
    let encoder = "-c:v libx264 -preset ultrafast -bf 0 -g 6 -x264-params slices=3 -f h264";
    let stream = video(encoder);
    let sets: Vec<_> = nal_units(&stream)
        .filter(|n| h264::parameter_set_id(n).is_some())
        .collect();
    let track = h264_track(crate::media::TrackId(0), sets[0], sets[1]);
    let sent = gather(
        &track,
        nal_units(&stream),
        push_nal,
        |n| h264::begins_picture(n) || !h264::is_vcl(h264::nal_type(n)),
        |n| h264::is_vcl(h264::nal_type(n)),
        |n| h264::nal_type(n) == h264::nal::IDR,
    );
    assert_eq!(sent.iter().map(|u| u.keyframe).filter(|k| *k).count(), 2);
    assert_eq!(sent.len(), PICTURES);
    assert_comes_back(&track, &sent);

    // Without its parameter sets the stream gets those of SDP back, and is decoded as before.
    let bare: Vec<_> = sent
        .iter()
        .map(|u| {
            let mut data = Vec::new();
            for nal in nal_units(&u.data).filter(|n| h264::parameter_set_id(n).is_none()) {
                push_nal(&mut data, nal);
            }
            AccessUnit {
                data: data.into(),
                ..u.clone()
            }
        })
        .collect();
    let got: Vec<u8> = units(&track, &packets(&track, 1400, &bare))
        .iter()
        .flat_map(|u| u.data.to_vec())
        .collect();
    assert_eq!(decoded("h264", &got), decoded("h264", &stream));
}

#[test]
fn h265_of_a_real_encoder_comes_back() {
    let stream =
        video("-c:v libx265 -preset ultrafast -x265-params log-level=none:bframes=0:keyint=6 -f hevc");
    let track = track(Codec::H265, 90_000, None);
    let is_vcl = |n: &[u8]| h265::nal_type(n).is_some_and(h265::is_vcl);
    let sent = gather(
        &track,
        nal_units(&stream),
        push_nal,
        |n| h265::begins_picture(n) || !h265::nal_type(n).is_some_and(h265::is_vcl),
        is_vcl,
        |n| h265::nal_type(n).is_some_and(h265::is_irap),
    );
    assert_eq!(sent.len(), PICTURES);
    assert_comes_back(&track, &sent);
}

#[test]
fn mpeg4_of_a_real_encoder_comes_back() {
    let stream = video("-c:v mpeg4 -g 6 -f m4v");
    let is_vop = |part: &[u8]| part.get(3) == Some(&code::VOP);
    let plain = track(Codec::Mpeg4Visual, 90_000, None);
    let sent = gather(
        &plain,
        with_start_codes(&stream),
        |data, part| data.extend_from_slice(part),
        |_| true,
        is_vop,
        |part| mpeg4::outline(part).vop == Some(mpeg4::VopType::Intra),
    );
    assert_eq!(sent.len(), PICTURES);
    assert_comes_back(&plain, &sent);

    // Without its headers the stream gets those of SDP back, and is decoded as before.
    let headers = mpeg4::headers(&stream).unwrap();
    let told = track(Codec::Mpeg4Visual, 90_000, Some(&mpeg4::fmtp(headers)));
    let bare: Vec<_> = sent
        .iter()
        .map(|u| match mpeg4::headers(&u.data) {
            Some(headers) => AccessUnit {
                data: u.data.slice(headers.len()..),
                ..u.clone()
            },
            None => u.clone(),
        })
        .collect();
    let got: Vec<u8> = units(&told, &packets(&told, 1400, &bare))
        .iter()
        .flat_map(|u| u.data.to_vec())
        .collect();
    assert_eq!(decoded("m4v", &got), decoded("m4v", &stream));
}

#[test]
fn jpeg_of_a_real_encoder_comes_back_as_the_same_pictures() {
    jpeg_comes_back(
        &video("-c:v mjpeg -huffman default -pix_fmt yuvj420p -q:v 3 -f mjpeg"),
        0,
    );
    // Slices are parted by restart markers: one slice for each of the 15 rows of MCUs.
    let slices =
        "-c:v mjpeg -huffman default -pix_fmt yuvj420p -threads 4 -thread_type slice -slices 4 -f mjpeg";
    jpeg_comes_back(&video(slices), 20);
}

fn jpeg_comes_back(stream: &[u8], restart_interval: u16) {
    assert_eq!(Image::parse(stream).unwrap().restart_interval, restart_interval);
    let jpeg = jpeg_track(crate::media::TrackId(0));
    let starts: Vec<usize> = (0..stream.len() - 2)
        .filter(|&i| stream[i..].starts_with(&[0xff, 0xd8, 0xff]))
        .collect();
    let ends = starts.iter().skip(1).copied().chain([stream.len()]);
    let files: Vec<&[u8]> = starts
        .iter()
        .zip(ends)
        .map(|(&start, end)| &stream[start..end])
        .collect();
    assert_eq!(files.len(), PICTURES);
    let sent: Vec<_> = files
        .iter()
        .enumerate()
        .map(|(i, f)| unit(&jpeg, i as i64 * 9000, true, *f))
        .collect();
    for max_payload in [200, 1400, 60_000] {
        let got = units(&jpeg, &packets(&jpeg, max_payload, &sent));
        assert_eq!(got.len(), PICTURES);
        for (got, file) in got.iter().zip(&files) {
            assert!(Image::parse(&got.data).unwrap() == Image::parse(file).unwrap());
        }
        if max_payload == 1400 {
            let joined: Vec<u8> = got.iter().flat_map(|u| u.data.to_vec()).collect();
            assert_eq!(decoded("mjpeg", &joined), decoded("mjpeg", stream));
        }
    }
}

/// The frames of an IVF file, which VP8, VP9 and AV1 come in: each behind 12 bytes of length and time.
fn ivf(stream: &[u8]) -> Vec<&[u8]> {
    let mut rest = &stream[32..];
    let mut frames = Vec::new();
    while let Some((head, after)) = rest.split_first_chunk::<12>() {
        let (frame, after) =
            after.split_at(u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize);
        frames.push(frame);
        rest = after;
    }
    assert_eq!(frames.len(), PICTURES);
    frames
}

/// Frames, of which the first and the seventh are keyframes, there and back; and a reader may begin at those only.
fn frames_come_back(codec: Codec, frames: &[Vec<u8>]) {
    let track = track(codec, 90_000, None);
    let sent: Vec<_> = (0..)
        .zip(frames)
        .map(|(i, f)| unit(&track, i * 9000, i % 6 == 0, f.clone()))
        .collect();
    assert_comes_back(&track, &sent);
    for unit in &sent {
        let payloads = packets(&track, 1400, std::slice::from_ref(unit));
        let starts = |p: &Vec<u8>| starts_keyframe(codec, &p[HEADER_LEN..]);
        let begins: Vec<_> = payloads.iter().map(starts).collect();
        assert_eq!(begins[0], unit.keyframe, "{codec}");
        assert!(
            !begins[1..].contains(&true),
            "{codec}: in the middle of a picture"
        );
    }
}

#[test]
fn vp8_vp9_and_av1_of_real_encoders_come_back() {
    let vpx = "-deadline realtime -cpu-used 8 -auto-alt-ref 0 -g 6 -f ivf";
    for (codec, encoder) in [
        (Codec::Vp8, format!("-c:v libvpx {vpx}")),
        (Codec::Vp9, format!("-c:v libvpx-vp9 {vpx}")),
        (
            Codec::Av1,
            "-c:v libaom-av1 -usage realtime -cpu-used 8 -lag-in-frames 0 -g 6 -f ivf".into(),
        ),
    ] {
        let stream = video(&encoder);
        let frames: Vec<Vec<u8>> = ivf(&stream)
            .into_iter()
            // A temporal delimiter, which RTP does without, is two bytes.
            .map(|f| f.strip_prefix(&[0x12, 0]).unwrap_or(f).to_vec())
            .collect();
        frames_come_back(codec, &frames);
    }
}

#[test]
fn mpeg1_and_mpeg2_of_real_encoders_come_back() {
    for encoder in [
        "-c:v mpeg2video -g 6 -bf 0 -f mpeg2video",
        "-c:v mpeg1video -g 6 -bf 0 -r 25 -f mpeg1video",
    ] {
        let stream = video(encoder);
        let plain = track(Codec::Mpeg2Video, 90_000, None);
        let gathered = gather(
            &plain,
            with_start_codes(&stream),
            |data, part| data.extend_from_slice(part),
            |part| matches!(part[3], 0x00 | 0xb3 | 0xb8),
            |part| matches!(part[3], 0x01..=0xaf),
            mpeg2::is_keyframe,
        );
        let frames: Vec<_> = gathered.iter().map(|u| u.data.to_vec()).collect();
        assert!(frames.len() >= PICTURES);
        frames_come_back(Codec::Mpeg2Video, &frames);
    }
}

#[test]
fn sound_of_real_encoders_comes_back() {
    for (codec, hz, arguments) in [
        (
            Codec::MpegAudio,
            90_000,
            "-c:a libmp3lame -b:a 96k -write_xing 0 -id3v2_version 0 -f mp3",
        ),
        (Codec::MpegAudio, 90_000, "-c:a mp2 -f mp2"),
        (Codec::Ac3, 48_000, "-c:a ac3 -f ac3"),
    ] {
        let stream = ffmpeg(&format!("-f lavfi -i sine=r=48000:d=1 -ac 2 {arguments}"), &[]);
        let track = track(codec, hz, None);
        let length = |data: &[u8]| match codec {
            Codec::Ac3 => ac3::frame_length(data).unwrap(),
            _ => mpa::FrameHeader::parse(data).unwrap().length,
        };
        let mut rest = &stream[..];
        let mut sent = Vec::new();
        while !rest.is_empty() {
            let (frame, after) = rest.split_at(length(rest).min(rest.len()));
            sent.push(unit(&track, sent.len() as i64 * 1000, true, frame));
            rest = after;
        }
        assert!(sent.len() > 20, "{codec}: {} frames", sent.len());
        assert_comes_back(&track, &sent);
    }
}

#[test]
fn aac_of_a_real_encoder_comes_back_and_its_adts_headers_are_ours() {
    let stream = ffmpeg("-f lavfi -i sine=r=44100:d=1 -ac 2 -c:a aac -f adts", &[]);
    let config = aac::AudioSpecificConfig::parse(&[0x12, 0x10]).unwrap();
    let track = track(Codec::Aac, 44_100, Some(&aac::fmtp(&[0x12, 0x10])));
    let mut rest = &stream[..];
    let mut sent = Vec::new();
    while let [_, _, _, high, middle, low, _, ..] = *rest {
        let size = usize::from(high & 3) << 11 | usize::from(middle) << 3 | usize::from(low >> 5);
        let (frame, after) = rest.split_at(size);
        assert_eq!(frame[..7], config.adts_header(size - 7).unwrap());
        sent.push(unit(&track, sent.len() as i64 * 1024, true, &frame[7..]));
        rest = after;
    }
    assert!(sent.len() > 40);
    for max_payload in [1400, 60_000] {
        assert_same(&units(&track, &packets(&track, max_payload, &sent)), &sent);
    }
}
