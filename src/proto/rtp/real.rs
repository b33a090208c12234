//! Tests with streams that a real encoder wrote and, where bytes may differ, a real decoder reads.

use std::io::Write;
use std::process::Command;
use std::process::Stdio;

use crate::media::AccessUnit;
use crate::media::Codec;
use crate::media::Track;
use crate::proto::aac;
use crate::proto::bits::find_start_code;
use crate::proto::bits::nal_units;
use crate::proto::bits::push_nal;
use crate::proto::h264;
use crate::proto::h265;
use crate::proto::jpeg::Image;
use crate::proto::mpeg4;
use crate::proto::mpeg4::code;
use crate::proto::rtp::h264_track;
use crate::proto::rtp::jpeg_track;
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
