//! Files with identifiable pictures, and the assertion that what came out is what went in.
//!
//! A relay does not re-encode, so the checksums of decoded pictures through every output must be an unbroken run of
//! the file's: one assertion that catches lost, doubled, reordered and damaged units.

use std::collections::HashSet;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::peers::ffmpeg;

/// A file that peers publish without re-encoding.
pub struct Clip {
    pub path: PathBuf,
    pub width: usize,
    pub height: usize,
    /// MD5 of each decoded picture, in order.
    pub pictures: Vec<String>,
    /// MD5 of each coded audio unit, in order; empty without audio.
    pub audio: Vec<String>,
}

/// One minute of H.264, 320x240 at 25 frames/s, a keyframe every second, several slices per picture.
pub fn h264() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| make("h264.mp4", H264, &[]))
}

/// The same with AAC.
pub fn h264_aac() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    let aac = [
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=440:beep_factor=4:sample_rate=48000",
    ];
    CLIP.get_or_init(|| {
        make(
            "h264-aac.mp4",
            &[H264, &["-c:a", "aac", "-b:a", "64k"]].concat(),
            &aac,
        )
    })
}

/// H.265, for readers that can.
pub fn h265() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    let x265 = [
        "-c:v",
        "libx265",
        "-preset",
        "ultrafast",
        "-g",
        "25",
        "-x265-params",
        "log-level=0:bframes=0",
    ];
    CLIP.get_or_init(|| make("h265.mp4", &x265, &[]))
}

const H264: &[&str] = &[
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
    "-tune",
    "zerolatency",
    "-threads",
    "2",
    "-g",
    "25",
];

fn make(name: &str, codec: &[&str], more_inputs: &[&str]) -> Clip {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let half = path.with_extension(format!("{}.tmp", std::process::id()));
    let out = Command::new("ffmpeg")
        .args([
            "-nostdin",
            "-v",
            "error",
            "-y",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=s=320x240:r=25",
        ])
        .args(more_inputs)
        .args(codec)
        .args(["-pix_fmt", "yuv420p", "-t", "60", "-f", "mp4"])
        .arg(&half)
        .output()
        .expect("ffmpeg is installed");
    assert!(
        out.status.success(),
        "ffmpeg: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    std::fs::rename(&half, &path).unwrap();
    let input = ["-i", path.to_str().unwrap()];
    let pictures = ffmpeg::checksums(&input, &["-map", "0:v:0"]);
    let audio = match more_inputs {
        [] => vec![],
        _ => ffmpeg::checksums(&input, &["-map", "0:a:0", "-c:a", "copy"]),
    };
    let distinct: HashSet<_> = pictures.iter().collect();
    assert_eq!(
        (pictures.len(), distinct.len()),
        (1500, 1500),
        "every picture of {name} can be told from all others"
    );
    Clip {
        path,
        width: 320,
        height: 240,
        pictures,
        audio,
    }
}

/// What came out is an unbroken run of what went in, of at least so many units.
#[track_caller]
pub fn assert_contiguous(source: &[String], got: &[String], at_least: usize, what: &str) {
    assert!(
        got.len() >= at_least,
        "{what}: {} units of at least {at_least}",
        got.len()
    );
    let at = |md5: &String| source.iter().position(|s| s == md5);
    let Some(start) = at(&got[0]) else {
        panic!("{what}: the first unit is not in the source")
    };
    for (n, md5) in got.iter().enumerate() {
        let want = source.get(start + n);
        assert!(
            want == Some(md5),
            "{what}: unit {n} of {} should be the source's {}, but is {:?}",
            got.len(),
            start + n,
            at(md5)
        );
    }
}

/// What came out is of the source, in its order; some may be missing.
#[track_caller]
pub fn assert_rising(source: &[String], got: &[String], at_least: usize, what: &str) {
    assert!(
        got.len() >= at_least,
        "{what}: {} units of at least {at_least}",
        got.len()
    );
    let mut last = None;
    for (n, md5) in got.iter().enumerate() {
        let at = source.iter().position(|s| s == md5);
        assert!(
            at.is_some(),
            "{what}: unit {n} of {} is not in the source",
            got.len()
        );
        assert!(at > last, "{what}: unit {n} is {at:?} after {last:?}");
        last = at;
    }
}

/// The length of the longest unbroken run of the source in what came out.
pub fn longest_run(source: &[String], got: &[String]) -> usize {
    let (mut longest, mut run, mut next) = (0, 0, None);
    for md5 in got {
        let at = source.iter().position(|s| s == md5);
        run = match at {
            None => 0,
            Some(_) if at == next => run + 1,
            Some(_) => 1,
        };
        next = at.map(|n| n + 1);
        longest = longest.max(run);
    }
    longest
}

#[test]
fn a_lost_doubled_or_foreign_unit_is_noticed() {
    let all = |units: &[&str]| units.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let source = all(&["a", "b", "c", "d"]);
    let refused = |got: &[&str], n: usize| {
        let (source, got) = (source.clone(), all(got));
        std::panic::catch_unwind(move || assert_contiguous(&source, &got, n, "test")).is_err()
    };
    assert!(!refused(&["b", "c", "d"], 3));
    for wrong in [
        &["a", "c"][..],
        &["a", "a"],
        &["b", "a"],
        &["x", "a"],
        &["a", "x"],
        &["d", "e"],
    ] {
        assert!(refused(wrong, 2), "{wrong:?}");
    }
    assert!(refused(&["a", "b"], 3));
    assert_eq!(
        longest_run(&source, &all(&["b", "c", "x", "a", "b", "c", "a"])),
        3
    );
    assert_eq!(longest_run(&source, &all(&["a", "a", "c", "b"])), 1);
}
