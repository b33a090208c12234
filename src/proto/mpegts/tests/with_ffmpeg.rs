//! FFmpeg as the judge: it must find the same frames at the same times, and nothing to complain about.

use std::path::Path;
use std::process::Command;

use bytes::Bytes;

use super::*;

/// Runs a tool to its end; its errors must be empty, since `-v error` is what the caller asks for.
#[track_caller]
fn run(program: &str, args: &[&str]) -> Vec<u8> {
    let out = Command::new(program).args(args).output();
    let out = out.unwrap_or_else(|e| panic!("{program} is needed for the tests of the MPEG-TS muxer: {e}"));
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(
        out.status.success() && errors.is_empty(),
        "{program} {args:?}: {errors}"
    );
    out.stdout
}

/// The checksums of the decoded frames, in the order in which they are shown.
fn frames(file: &str, stream: &str) -> Vec<String> {
    let args = [
        "-v",
        "error",
        "-i",
        file,
        "-map",
        stream,
        "-fps_mode",
        "passthrough",
        "-f",
        "framemd5",
        "-",
    ];
    let args: Vec<&str> = args
        .into_iter()
        .filter(|a| stream != "0:a" || !["-fps_mode", "passthrough"].contains(a))
        .collect();
    let text = String::from_utf8(run("ffmpeg", &args)).unwrap();
    let lines = text.lines().filter(|l| !l.starts_with('#'));
    lines
        .map(|l| l.rsplit(',').next().unwrap().trim().to_owned())
        .collect()
}

/// Presentation and decode times of the packets of a file, in 90 kHz units, in file order.
fn times(file: &str, stream: &str) -> Vec<(i64, Option<i64>)> {
    let args = [
        "-v",
        "error",
        "-select_streams",
        stream,
        "-show_entries",
        "packet=pts_time,dts_time",
        "-of",
        "csv=p=0",
        file,
    ];
    let text = String::from_utf8(run("ffprobe", &args)).unwrap();
    let ticks = |s: &str| s.parse::<f64>().ok().map(|s| (s * 90_000.0).round() as i64);
    let line = |l: &str| {
        l.trim_end_matches(',')
            .split_once(',')
            .map(|(p, d)| (ticks(p).unwrap(), ticks(d)))
    };
    text.lines().filter_map(line).collect()
}

/// Splits a raw stream before every place where `begins` says so.
fn split(data: &[u8], begins: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
    let at: Vec<usize> = (0..data.len())
        .filter(|i| begins(&data[*i..]))
        .chain([data.len()])
        .collect();
    at.windows(2).map(|w| data[w[0]..w[1]].to_vec()).collect()
}

/// A clip made by FFmpeg, and its units.
struct Clip {
    dir: tempfile::TempDir,
    video: Vec<AccessUnit>,
    audio: Vec<AccessUnit>,
}

impl Clip {
    fn make(video: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clip = dir.path().join("clip.nut");
        let mut args = vec!["-v", "error", "-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=3"];
        args.extend([
            "-f",
            "lavfi",
            "-i",
            "sine=r=44100:d=3",
            "-c:a",
            "aac",
            "-shortest",
        ]);
        args.extend(video);
        args.push(clip.to_str().unwrap());
        run("ffmpeg", &args);
        Self {
            dir,
            video: vec![],
            audio: vec![],
        }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// The raw stream of the video.
    fn raw(&self, format: &str, filter: &str) -> Vec<u8> {
        let args = [
            "-v",
            "error",
            "-i",
            &self.path("clip.nut"),
            "-map",
            "0:v",
            "-c",
            "copy",
            "-bsf:v",
            filter,
            "-f",
            format,
            "-",
        ];
        run("ffmpeg", &args)
    }

    /// Takes the units of the video, and reads those of the audio.
    fn units(mut self, units: Vec<Vec<u8>>, keyframe: impl Fn(&[u8]) -> bool) -> Self {
        let stamps = times(&self.path("clip.nut"), "v");
        assert_eq!(stamps.len(), units.len(), "one unit of each packet");
        let unit = |((pts, _), data): (&(i64, Option<i64>), Vec<u8>)| AccessUnit {
            track: TrackId(0),
            pts: MediaTime::new(*pts, Rate::VIDEO),
            keyframe: keyframe(&data),
            data: data.into(),
        };
        self.video = stamps.iter().zip(units).map(unit).collect();
        let adts = run(
            "ffmpeg",
            &[
                "-v",
                "error",
                "-i",
                &self.path("clip.nut"),
                "-map",
                "0:a",
                "-c",
                "copy",
                "-f",
                "adts",
                "-",
            ],
        );
        let mut rest = &adts[..];
        while let [_, _, _, a, b, c, _, ..] = *rest {
            let length = usize::from(a & 3) << 11 | usize::from(b) << 3 | usize::from(c >> 5);
            let mut unit = sound(self.audio.len() as i64 * 1024);
            unit.data = Bytes::copy_from_slice(&rest[7..length]);
            self.audio.push(unit);
            rest = &rest[length..];
        }
        assert!(self.audio.len() > 100);
        self
    }

    /// Both tracks as a publisher sends them, audio a little behind.
    fn mux(&self, muxer: &mut Muxer) -> String {
        let mut out = Vec::new();
        let mut audio = self.audio.iter().peekable();
        for (n, picture) in self.video.iter().enumerate() {
            while let Some(sound) = audio.next_if(|u| u.pts.rescale(Rate::VIDEO).ticks < n as i64 * 3600) {
                muxer.mux(sound, &mut out);
            }
            muxer.mux(picture, &mut out);
        }
        audio.for_each(|sound| muxer.mux(sound, &mut out));
        demux(&out);
        let path = self.path("muxed.ts");
        std::fs::write(Path::new(&path), out).unwrap();
        path
    }

    /// Frames, times and FFmpeg's silence.
    fn check(&self, ts: &str) {
        let clip = self.path("clip.nut");
        for stream in ["0:v", "0:a"] {
            let (got, want) = (frames(ts, stream), frames(&clip, stream));
            assert!(
                want.len() > 70 && got == want,
                "{stream}: {} frames of {}",
                got.len(),
                want.len()
            );
        }
        let (got, want) = (times(ts, "v"), times(&clip, "v"));
        assert_eq!(got.len(), want.len());
        for ((pts, dts), (source, _)) in got.iter().zip(&want) {
            assert_eq!(pts - got[0].0, source - want[0].0);
            assert!(dts.unwrap() <= *pts);
        }
        assert!(got.is_sorted_by(|a, b| a.1 < b.1), "decode times grow");
    }
}

fn x264_clip(options: &[&str]) -> (Clip, Vec<Vec<u8>>) {
    let clip = Clip::make(&[&["-c:v", "libx264", "-g", "25", "-pix_fmt", "yuv420p"], options].concat());
    let raw = clip.raw("h264", "dump_extra,h264_metadata=aud=insert");
    (clip, split(&raw, |d| d.starts_with(&[0, 0, 0, 1, 9])))
}

fn is_idr(unit: &[u8]) -> bool {
    nal_units(unit).any(|n| h264::nal_type(n) == h264::nal::IDR)
}

#[test]
fn ffmpeg_reads_h264_and_aac_as_they_were() {
    let (clip, units) = x264_clip(&["-profile:v", "baseline"]);
    let clip = clip.units(units, is_idr);
    let mut muxer = Muxer::new(&[track(0, MediaKind::Video, Codec::H264, None), audio()]).unwrap();
    clip.check(&clip.mux(&mut muxer));
}

#[test]
fn ffmpeg_reads_h264_with_b_pictures_as_it_was() {
    let (clip, units) = x264_clip(&["-bf", "3", "-b_strategy", "0"]);
    let clip = clip.units(units, is_idr);
    assert!(
        !clip.video.is_sorted_by_key(|u| u.pts.ticks),
        "there are B pictures"
    );
    let mut muxer = Muxer::new(&[track(0, MediaKind::Video, Codec::H264, None), audio()]).unwrap();
    clip.check(&clip.mux(&mut muxer));
}

#[test]
fn ffmpeg_reads_pictures_that_are_reordered_deeper_than_was_guessed() {
    let (clip, units) = x264_clip(&["-bf", "3", "-b_strategy", "0"]);
    let clip = clip.units(units, is_idr);
    let mut muxer = Muxer::new(&[video(), audio()]).unwrap(); // this SPS says baseline
    let ts = clip.mux(&mut muxer);
    assert_eq!(frames(&ts, "0:v"), frames(&clip.path("clip.nut"), "0:v"));
}

#[test]
fn ffmpeg_reads_h264_whose_parameter_sets_are_in_the_sdp_only() {
    let (clip, units) = x264_clip(&[]);
    let find = |t| {
        nal_units(&units[0])
            .find(|n| h264::nal_type(n) == t)
            .unwrap()
            .to_vec()
    };
    let (sps, pps) = (find(h264::nal::SPS), find(h264::nal::PPS));
    let slices = |unit: &Vec<u8>| {
        let mut out = Vec::new();
        let nals = nal_units(unit).filter(|n| h264::is_vcl(h264::nal_type(n)));
        nals.for_each(|n| crate::proto::bits::push_nal(&mut out, n));
        out
    };
    let stripped = units.iter().map(slices).collect();
    let clip = clip.units(stripped, is_idr);
    let mut muxer = Muxer::new(&[h264_track(TrackId(0), &sps, &pps), audio()]).unwrap();
    clip.check(&clip.mux(&mut muxer));
}

#[test]
fn ffmpeg_reads_h265_as_it_was() {
    let clip = Clip::make(&[
        "-c:v",
        "libx265",
        "-x265-params",
        "log-level=none:keyint=25",
        "-pix_fmt",
        "yuv420p",
    ]);
    let raw = clip.raw("hevc", "dump_extra,hevc_metadata=aud=insert");
    let units = split(&raw, |d| d.starts_with(&[0, 0, 0, 1, 0x46, 1]));
    let clip = clip.units(units, |u| nal_units(u).any(|n| (16..24).contains(&(n[0] >> 1))));
    let mut muxer = Muxer::new(&[track(0, MediaKind::Video, Codec::H265, None), audio()]).unwrap();
    clip.check(&clip.mux(&mut muxer));
}

/// Pictures of MPEG-4 part 2, each with the headers before it.
fn mpeg4_units(raw: &[u8]) -> Vec<Vec<u8>> {
    let mut units: Vec<Vec<u8>> = vec![vec![]];
    for part in split(raw, |d| d.starts_with(&[0, 0, 1])) {
        let is_picture = part[3] == 0xb6;
        units.last_mut().unwrap().extend(part);
        if is_picture {
            units.push(vec![]);
        }
    }
    units.pop();
    units
}

#[test]
fn ffmpeg_reads_mpeg4_part_2_as_it_was_with_and_without_headers_in_the_stream() {
    for options in [&["-g", "12"][..], &["-g", "12", "-bf", "2"]] {
        let clip = Clip::make(&[&["-c:v", "mpeg4"], options].concat());
        let units = mpeg4_units(&clip.raw("m4v", "dump_extra"));
        let key = |u: &[u8]| {
            split(u, |d| d.starts_with(&[0, 0, 1, 0xb6]))
                .iter()
                .any(|p| p[4] >> 6 == 0)
        };
        let headers = crate::proto::mpeg4::headers(&units[0]).unwrap().to_vec();
        let bare = units
            .iter()
            .map(|u| split(u, |d| d.starts_with(&[0, 0, 1, 0xb6])).concat())
            .collect();
        let clip = clip.units(bare, key);
        let fmtp = crate::proto::mpeg4::fmtp(&headers);
        let mut muxer = Muxer::new(&[
            track(0, MediaKind::Video, Codec::Mpeg4Visual, Some(&fmtp)),
            audio(),
        ])
        .unwrap();
        clip.check(&clip.mux(&mut muxer));
    }
}

#[test]
fn ffmpeg_reads_over_the_wrap_of_33_bits() {
    let (clip, units) = x264_clip(&[]);
    let clip = clip.units(units, is_idr);
    let tracks = [track(0, MediaKind::Video, Codec::H264, None), audio()];
    let mut muxer = Muxer::starting_at(&tracks, (1 << 33) - 90_000).unwrap();
    clip.check(&clip.mux(&mut muxer));
}
