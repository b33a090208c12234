//! Cameras of Linux: V4L2 for modes, /sys for identity, /proc for who holds them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::path::Path;
use std::path::PathBuf;

use nix::unistd::Gid;
use nix::unistd::Group;
use v4l::Device as V4lDevice;
use v4l::capability::Flags;
use v4l::frameinterval::FrameIntervalEnum;
use v4l::frameinterval::Stepwise as SteppedInterval;
use v4l::framesize::FrameSizeEnum;
use v4l::framesize::Stepwise as SteppedSize;
use v4l::video::Capture;

use super::Coding;
use super::Device;
use super::FrameRate;
use super::Holder;
use super::Identity;
use super::Mode;

/// Sizes offered of a device that takes any size in a range.
const COMMON_SIZES: &[(u32, u32)] = &[
    (320, 240),
    (640, 360),
    (640, 480),
    (800, 600),
    (1280, 720),
    (1920, 1080),
];
/// Rates offered of a device that takes any rate in a range.
const COMMON_RATES: &[u32] = &[60, 30, 25, 15, 10, 5];
/// No device has more modes than this; a driver that tells more is broken.
const MAX_MODES: usize = 4096;

pub(super) fn list() -> Vec<Device> {
    let mut nodes: Vec<(u32, PathBuf)> = fs::read_dir("/dev")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let number = name.to_str()?.strip_prefix("video")?.parse().ok()?;
            Some((number, entry.path()))
        })
        .collect();
    nodes.sort();
    nodes.iter().filter_map(|(_, node)| device(node)).collect()
}

/// A node that captures video; `None` for any other kind of node.
fn device(node: &Path) -> Option<Device> {
    let mut device = Device {
        node: node.to_str()?.to_owned(),
        name: sysfs(node, "name").unwrap_or_default(),
        driver: String::new(),
        identity: identity(node),
        modes: Vec::new(),
        holders: Vec::new(),
        refused: None,
    };
    // The bindings take driver strings for UTF-8; a camera with a mangled name must not end the listing.
    let asked = catch_unwind(AssertUnwindSafe(|| ask(node, &mut device)));
    match asked {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => return None,
        Ok(Err(e)) => device.refused = Some(e.raw_os_error().unwrap_or(0)),
        Err(_) => device.refused = Some(0),
    }
    // Of a camera that may not be asked, the further nodes are metadata more often than pictures.
    if device.refused.is_some() && sysfs(node, "index").is_some_and(|index| index != "0") {
        return None;
    }
    device.identity.name.clone_from(&device.name);
    if device.identity.bus.is_empty() {
        device.identity.bus = device.driver.clone();
    }
    device.holders = holders(&device.node);
    Some(device)
}

/// Fills in what the driver tells; false when it gives no video.
fn ask(node: &Path, device: &mut Device) -> std::io::Result<bool> {
    let opened = V4lDevice::with_path(node)?;
    let caps = opened.query_caps()?;
    let captures = Flags::VIDEO_CAPTURE | Flags::VIDEO_CAPTURE_MPLANE;
    if !caps.capabilities.intersects(captures) || caps.capabilities.intersects(Flags::VIDEO_M2M) {
        return Ok(false);
    }
    device.driver = caps.driver;
    device.identity.bus = caps.bus;
    if device.name.is_empty() {
        device.name = caps.card;
    }
    for format in opened.enum_formats()? {
        let fourcc = String::from_utf8_lossy(&format.fourcc.repr).trim_end().to_owned();
        let coding = coding_of(&fourcc);
        for size in opened.enum_framesizes(format.fourcc).unwrap_or_default() {
            for (width, height) in sizes(size.size) {
                let intervals = opened.enum_frameintervals(format.fourcc, width, height);
                for rate in rates(intervals.unwrap_or_default().into_iter().map(|i| i.interval)) {
                    if device.modes.len() >= MAX_MODES {
                        return Ok(true);
                    }
                    device.modes.push(Mode {
                        coding: coding.clone(),
                        fourcc: fourcc.clone(),
                        width,
                        height,
                        rate,
                    });
                }
            }
        }
    }
    Ok(true)
}

fn sizes(size: FrameSizeEnum) -> Vec<(u32, u32)> {
    match size {
        FrameSizeEnum::Discrete(d) => vec![(d.width, d.height)],
        FrameSizeEnum::Stepwise(s) => stepped_sizes(&s),
    }
}

fn stepped_sizes(s: &SteppedSize) -> Vec<(u32, u32)> {
    let on_step = |n: u32, min: u32, max: u32, step: u32| {
        (min..=max).contains(&n) && (n - min).is_multiple_of(step.max(1))
    };
    let fits = |(w, h): &(u32, u32)| {
        on_step(*w, s.min_width, s.max_width, s.step_width)
            && on_step(*h, s.min_height, s.max_height, s.step_height)
    };
    let mut sizes: Vec<_> = COMMON_SIZES.iter().copied().filter(fits).collect();
    let largest = (s.max_width, s.max_height);
    if !sizes.contains(&largest) {
        sizes.push(largest);
    }
    sizes
}

/// Rates from intervals (a rate is one over an interval). A driver that tells none gets 30, as a guess.
fn rates(intervals: impl Iterator<Item = FrameIntervalEnum>) -> Vec<FrameRate> {
    let mut rates: Vec<FrameRate> = Vec::new();
    for interval in intervals {
        match interval {
            FrameIntervalEnum::Discrete(f) => rates.extend(FrameRate::new(f.denominator, f.numerator)),
            FrameIntervalEnum::Stepwise(s) => rates.extend(stepped_rates(&s)),
        }
    }
    if rates.is_empty() {
        rates.push(FrameRate::whole(30));
    }
    rates
}

fn stepped_rates(s: &SteppedInterval) -> Vec<FrameRate> {
    let fastest = FrameRate::new(s.min.denominator, s.min.numerator);
    let slowest = FrameRate::new(s.max.denominator, s.max.numerator).map_or(0.0, FrameRate::fps);
    let Some(fastest) = fastest else {
        return Vec::new();
    };
    let between = |n: &&u32| f64::from(**n) <= fastest.fps() && f64::from(**n) >= slowest;
    let mut rates: Vec<_> = COMMON_RATES
        .iter()
        .filter(between)
        .map(|n| FrameRate::whole(*n))
        .collect();
    if rates.iter().all(|r| r.fps() < fastest.fps()) {
        rates.insert(0, fastest);
    }
    rates
}

/// The libraries' view of V4L2's four letters.
fn coding_of(fourcc: &str) -> Coding {
    match fourcc {
        "H264" | "AVC1" => Coding::H264,
        "MJPG" | "JPEG" => Coding::Jpeg,
        "YUYV" => Coding::Raw("yuyv422"),
        "UYVY" => Coding::Raw("uyvy422"),
        "NV12" => Coding::Raw("nv12"),
        "YU12" => Coding::Raw("yuv420p"),
        "422P" => Coding::Raw("yuv422p"),
        "RGB3" => Coding::Raw("rgb24"),
        "BGR3" => Coding::Raw("bgr24"),
        "GREY" => Coding::Raw("gray"),
        _ => Coding::Other,
    }
}

/// One attribute of the node in /sys.
fn sysfs(node: &Path, attribute: &str) -> Option<String> {
    let class = Path::new("/sys/class/video4linux").join(node.file_name()?);
    read(&class.join(attribute))
}

fn read(path: &Path) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    Some(
        text.trim_matches(|c: char| c.is_whitespace() || c == '\0')
            .to_owned(),
    )
}

/// What /sys knows of the camera's plug and make.
fn identity(node: &Path) -> Identity {
    let Some(file) = node.file_name() else {
        return Identity::default();
    };
    let class = Path::new("/sys/class/video4linux").join(file);
    // The node's device is a USB interface; the directory above it is the USB device.
    let Ok(interface) = fs::canonicalize(class.join("device")) else {
        return Identity::default();
    };
    let usb = interface.parent().unwrap_or(&interface);
    let product = match (read(&usb.join("idVendor")), read(&usb.join("idProduct"))) {
        (Some(vendor), Some(product)) => format!("{vendor}:{product}"),
        _ => return Identity::default(),
    };
    Identity {
        product,
        serial: read(&usb.join("serial")).unwrap_or_default(),
        interface: read(&interface.join("bInterfaceNumber")).unwrap_or_default(),
        ..Identity::default()
    }
}

pub(super) fn holders(node: &str) -> Vec<Holder> {
    let own = std::process::id();
    let mut holders = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok());
        let Some(pid) = pid.filter(|pid| *pid != own) else {
            continue;
        };
        let descriptors = fs::read_dir(entry.path().join("fd"))
            .into_iter()
            .flatten()
            .flatten();
        let mut targets = descriptors.filter_map(|d| fs::read_link(d.path()).ok());
        if targets.any(|target| target == Path::new(node)) {
            let process = read(&entry.path().join("comm")).unwrap_or_default();
            holders.push(Holder { pid, process });
        }
    }
    holders.sort_by_key(|h| h.pid);
    holders
}

pub(super) fn group_of(node: &str) -> Option<String> {
    let gid = fs::metadata(node).ok()?.gid();
    let name = Group::from_gid(Gid::from_raw(gid)).ok().flatten().map(|g| g.name);
    Some(name.unwrap_or_else(|| gid.to_string()))
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::process::Stdio;

    use v4l::fraction::Fraction;

    use super::*;

    fn every(num: u32, den: u32) -> Fraction {
        Fraction {
            numerator: num,
            denominator: den,
        }
    }

    #[test]
    fn intervals_become_rates() {
        let got = rates([FrameIntervalEnum::Discrete(every(1001, 30_000))].into_iter());
        assert_eq!(
            got,
            [FrameRate {
                num: 30_000,
                den: 1001
            }]
        );
        let broken = rates([FrameIntervalEnum::Discrete(every(0, 30))].into_iter());
        assert_eq!(broken, [FrameRate::whole(30)]);
    }

    #[test]
    fn ranges_become_common_values_and_the_best() {
        let range = SteppedInterval {
            min: every(1, 50),
            max: every(1, 8),
            step: every(1, 1),
        };
        let got: Vec<_> = stepped_rates(&range).into_iter().map(FrameRate::fps).collect();
        assert_eq!(got, [50.0, 30.0, 25.0, 15.0, 10.0]);
        let sizes = stepped_sizes(&SteppedSize {
            min_width: 32,
            max_width: 1024,
            step_width: 8,
            min_height: 32,
            max_height: 768,
            step_height: 8,
        });
        assert_eq!(
            sizes,
            [(320, 240), (640, 360), (640, 480), (800, 600), (1024, 768)]
        );
    }

    #[test]
    fn whoever_has_a_file_open_is_found_by_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut sleeper = Command::new("sleep")
            .arg("60")
            .stdin(Stdio::from(fs::File::open(file.path()).unwrap()))
            .spawn()
            .unwrap();
        let found = holders(file.path().to_str().unwrap());
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        let expected = Holder {
            pid: sleeper.id(),
            process: "sleep".into(),
        };
        assert_eq!(found, [expected]);
        assert_eq!(found[0].to_string(), format!("sleep (process {})", sleeper.id()));
    }
}
