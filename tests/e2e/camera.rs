//! Real V4L2 and UVC cameras, in a virtual machine: modes, pictures, unplugging, and what is said to a user whose
//! camera cannot be had.
//!
//! One boot does all (`camera/guest.sh`) and leaves files; each test here judges its part. The machine is 20 to 30 times
//! slower than this one, so no test asks for a rate.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::sync::LazyLock;

use serde_json::Value;

use crate::canary;
use crate::canary::Canary;
use crate::peers::ffmpeg;

/// Seconds that all of it may take, on a busy machine too.
const TIME_LIMIT: &str = "900";
/// Width and height of the thumbnails that the guest makes of decoded pictures.
const WIDTH: usize = 48;
const HEIGHT: usize = 36;

/// What the virtual machine left.
struct Outcome {
    out: PathBuf,
    /// What the guest said, and whether it came to its end.
    log: String,
    finished: bool,
}

static OUTCOME: LazyLock<Outcome> = LazyLock::new(run);

fn run() -> Outcome {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("camera-vm");
    if out.exists() {
        fs::remove_dir_all(&out).unwrap();
    }
    fs::create_dir_all(&out).unwrap();
    let ran = Command::new(root.join("scripts/camera-vm/camera-vm"))
        .args(["--camera", "uvc", "--camera", "vivid", "--timeout", TIME_LIMIT])
        .args(["--cpus", "2", "--out"])
        .arg(&out)
        .arg("--")
        .arg(root.join("tests/e2e/camera/guest.sh"))
        .arg(env!("CARGO_BIN_EXE_louver"))
        .arg(&out)
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .expect("scripts/camera-vm/camera-vm can be started");
    let said = [ran.stdout, ran.stderr].concat();
    let log = format!("camera-vm: {}\n{}", ran.status, String::from_utf8_lossy(&said));
    let finished = ran.status.success() && out.join("done").exists();
    Outcome { out, log, finished }
}

impl Outcome {
    /// A file that the guest left; without it the test fails and tells what the guest said.
    #[track_caller]
    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.out.join(name)).unwrap_or_else(|e| {
            panic!(
                "the camera VM left no {name} ({e}). Cameras cannot be tested without the VM: scripts/test \
                 installs what it needs, and LOUVER_TEST_WITHOUT=camera-vm does without it.\n{}",
                self.log
            )
        })
    }
    #[track_caller]
    fn text(&self, name: &str) -> String {
        String::from_utf8(self.bytes(name)).unwrap().trim().to_owned()
    }
    #[track_caller]
    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.bytes(name)).unwrap()
    }
    /// What the pictures that a reader saw are, one letter each.
    #[track_caller]
    fn seen(&self, name: &str) -> String {
        let pictures = self.bytes(&format!("{name}.rgb"));
        pictures.chunks_exact(WIDTH * HEIGHT * 3).map(kind).collect()
    }
    /// The relay ended well when told to, and the reader had nothing to complain of.
    #[track_caller]
    fn assert_clean(&self, name: &str) {
        let log = self.text(&format!("{name}.log"));
        assert_eq!(self.text(&format!("{name}.status")), "0", "{log}");
        assert!(!log.contains("panicked at"), "{log}");
        self.assert_no_trace(name);
    }
    /// Nor does it know who watched.
    #[track_caller]
    fn assert_no_trace(&self, name: &str) {
        let mut seen = canary::files(&self.out.join(format!("{name}.data")));
        assert!(!seen.is_empty(), "a relay keeps something: {}", self.log);
        seen.push(("the log".to_owned(), self.bytes(&format!("{name}.log"))));
        canary::assert_none(&Canary::always(), &seen);
    }
    #[track_caller]
    fn log_line(&self, name: &str, part: &str) -> String {
        let log = self.text(&format!("{name}.log"));
        let line = log.lines().find(|l| l.contains(part)).map(str::to_owned);
        line.unwrap_or_else(|| panic!("no {part:?} in the log of {name}:\n{log}"))
    }
}

const RED: [u8; 3] = [255, 0, 0];
const GREEN: [u8; 3] = [0, 255, 0];
const BLUE: [u8; 3] = [0, 0, 255];
const YELLOW: [u8; 3] = [255, 255, 0];
const MAGENTA: [u8; 3] = [255, 0, 255];
const CYAN: [u8; 3] = [0, 255, 255];
/// The columns of the clip.
const CLIP: [[u8; 3]; 6] = [RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN];
/// Of the notice's ground: luma 44 in limited range.
const DARK: [u8; 3] = [33, 33, 33];

/// `C`: a picture of the UVC camera's MJPEG clip; `B`: the colour bars of raw pictures; `n`: the notice; `?`.
fn kind(picture: &[u8]) -> char {
    let bars = [YELLOW, CYAN, GREEN, MAGENTA, RED, BLUE].map(|c| c.map(|v| if v == 255 { 190 } else { v }));
    let low: Vec<usize> = (HEIGHT - 5..HEIGHT - 1).collect();
    // Where the clip's small things rarely are.
    let spread: Vec<usize> = (12..21).chain(HEIGHT - 4..HEIGHT - 1).collect();
    if alike(&grounds(picture, 6, &spread), &CLIP) {
        'C'
    } else if alike(&grounds(picture, 8, &low)[1..7], &bars) {
        'B'
    } else if alike(&grounds(picture, 6, &low), &[DARK; 6]) {
        'n'
    } else {
        '?'
    }
}

/// The colour that most of these rows have, in each of so many columns. Left of the middle, where a grey bar of the
/// clip does not come; small things that move through do not change the middle value.
fn grounds(picture: &[u8], columns: usize, rows: &[usize]) -> Vec<[u8; 3]> {
    let value = |n: usize, channel: usize| {
        let x = n * WIDTH / columns + 1;
        let mut values: Vec<u8> = rows
            .iter()
            .map(|y| picture[(y * WIDTH + x) * 3 + channel])
            .collect();
        values.sort_unstable();
        values[values.len() / 2]
    };
    (0..columns).map(|n| [0, 1, 2].map(|c| value(n, c))).collect()
}

/// Colours that are the same but for what two encodings make of them. A wrong range or matrix is farther off.
fn alike(seen: &[[u8; 3]], meant: &[[u8; 3]]) -> bool {
    let near = |(a, b): (&u8, &u8)| a.abs_diff(*b) <= 24;
    seen.as_flattened().iter().zip(meant.as_flattened()).all(near)
}

#[test]
fn the_virtual_machine_comes_to_its_end() {
    assert!(OUTCOME.finished, "{}", OUTCOME.log);
}

#[test]
fn devices_are_listed_with_modes_and_holders_and_without_metadata_nodes() {
    let devices = OUTCOME.json("devices.json");
    let items = devices["items"].as_array().unwrap();
    assert_eq!(items.len(), 2, "{devices:#}");
    let named = |part: &str| {
        let found = items.iter().find(|d| d["name"].as_str().unwrap().contains(part));
        found.unwrap_or_else(|| panic!("no {part}: {devices:#}"))
    };
    let uvc = named("UVC Webcam");
    assert_eq!(uvc["driver"], "uvcvideo");
    let has = |format: &str, width: u32, height: u32, fps: f64| {
        let modes = uvc["modes"].as_array().unwrap();
        modes.iter().any(|m| {
            m["format"] == format
                && m["width"] == width
                && m["height"] == height
                && m["fps"].as_f64() == Some(fps)
        })
    };
    assert!(
        has("MJPG", 1280, 720, 30.0) && has("MJPG", 640, 480, 5.0),
        "{uvc:#}"
    );
    assert!(
        has("YUYV", 1280, 720, 10.0) && !has("YUYV", 1280, 720, 30.0),
        "{uvc:#}"
    );
    let holders = named("vivid")["held_by"].to_string();
    assert!(
        holders.contains("sleep") && holders.contains(&OUTCOME.text("sleeper")),
        "{holders}"
    );
}

#[test]
fn a_reader_stays_while_the_camera_is_unplugged_and_comes_back_under_another_number() {
    let seen = OUTCOME.seen("replug");
    let runs: Vec<_> = seen.chars().fold(Vec::new(), |mut runs: Vec<(char, usize)>, c| {
        match runs.last_mut() {
            Some((last, count)) if *last == c => *count += 1,
            _ => runs.push((c, 1)),
        }
        runs
    });
    // A camera that is slow to start again is covered by the notice; in the end it is the camera, for good.
    let order: String = runs.iter().map(|(c, _)| *c).collect();
    assert!(order.starts_with("CnC") && order.ends_with('C'), "{seen}");
    assert!(!seen.contains('?'), "{seen}");
    assert!(runs[0].1 >= 5 && runs[1].1 >= 4, "{seen}");
    assert!(runs.last().unwrap().1 >= 2, "{seen}");
    assert_ne!(OUTCOME.text("node-before"), OUTCOME.text("node-after"));
    assert_eq!(OUTCOME.text("replug-reader.log"), "", "the reader complained");
    OUTCOME.assert_clean("replug");
}

#[test]
fn what_is_told_of_cameras_names_nobody_who_watches() {
    let told = ["unplugged.json", "plugged.json"].map(|name| (name.to_owned(), OUTCOME.bytes(name)));
    canary::assert_none(&Canary::always(), &told);
}

#[test]
fn an_unplugged_camera_is_told_to_the_operator_until_it_is_back() {
    let path = |file| OUTCOME.json(file)["items"][0].clone();
    let gone = path("unplugged.json");
    assert_eq!(gone["state"], "waiting", "{gone}");
    let error = gone["last_error"].as_str().unwrap();
    assert!(
        error.contains("UVC Webcam is unplugged; plug it in again"),
        "{error}"
    );
    let back = path("plugged.json");
    assert_eq!(
        (&back["state"], &back["last_error"]),
        (&Value::from("ready"), &Value::Null),
        "{back}"
    );
}

#[test]
fn a_still_is_made_of_the_cameras_picture() {
    let sizes = ffmpeg::probe(&OUTCOME.bytes("snapshot.jpg"), "width,height");
    assert_eq!(sizes, "640,480");
    let pixels = ffmpeg::pixels(&OUTCOME.bytes("snapshot.jpg"));
    let middle = |n: usize, count: usize, all: usize| (2 * n + 1) * all / (2 * count);
    let places = (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| (x, y)));
    let thumbnail: Vec<u8> = places
        .map(|(x, y)| (middle(y, HEIGHT, 480) * 640 + middle(x, WIDTH, 640)) * 3)
        .flat_map(|at| pixels[at..at + 3].to_vec())
        .collect();
    assert_eq!(kind(&thumbnail), 'C');
}

#[test]
fn raw_pictures_have_their_colours() {
    OUTCOME.log_line("raw", "Capturing UVC Webcam: YUYV 320x240 at 5");
    assert_eq!(OUTCOME.seen("raw"), "BBBB");
    OUTCOME.assert_clean("raw");
}

#[test]
fn a_busy_camera_names_its_holder_and_is_taken_when_it_is_free() {
    let line = OUTCOME.log_line("busy", "is in use");
    let holder = format!("in use by ffmpeg (process {})", OUTCOME.text("holder"));
    assert!(line.contains(&holder), "{line}");
    assert_eq!(OUTCOME.seen("busy"), "BBBB");
    OUTCOME.assert_clean("busy");
}

#[test]
fn a_forbidden_camera_names_the_group_and_the_command() {
    let line = OUTCOME.log_line("forbidden", "no permission");
    assert!(line.contains("which belongs to group video"), "{line}");
    assert!(line.contains("`sudo usermod -aG video $USER`"), "{line}");
    OUTCOME.assert_clean("forbidden");
}

#[test]
fn without_arguments_the_first_webcam_is_shown_in_its_best_mode() {
    OUTCOME.log_line("alone", "Capturing UVC Webcam: MJPG 1280x720 at 30");
    assert_eq!(OUTCOME.seen("alone"), "CCC");
    OUTCOME.assert_clean("alone");
    // Resident, in kB, while 720p is captured and one reader watches.
    let resident: u64 = OUTCOME.text("alone.rss").trim_end_matches(" kB").parse().unwrap();
    assert!(resident < 128 << 10, "{resident} kB");
}
