//! Finding the camera that is meant, and opening it, again and again until it works.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::av::AvError;
use crate::av::device;
use crate::av::device::Coding;
use crate::av::device::Device;
use crate::av::device::Identity;
use crate::av::input::Input;
use crate::ingest::error::CameraError;
use crate::ingest::modes;
use crate::ingest::modes::Plan;
use crate::ingest::source::Ask;
use crate::ingest::source::Size;

/// Which camera is meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    /// The first that there is.
    First,
    /// A device node, a name, or the part of a name that only one camera has.
    Named(String),
    /// The one that was used before, wherever it is plugged in now.
    Same(Identity, String),
}

/// An open camera.
pub(crate) struct Opened {
    pub(crate) input: Input,
    pub(crate) identity: Identity,
    pub(crate) name: String,
    pub(crate) plan: Plan,
}

/// One try to find and open the camera.
pub(crate) fn open(wanted: &Wanted, ask: &Ask, stop: &CancellationToken) -> Result<Opened, CameraError> {
    let devices = device::list();
    let device = find(&devices, wanted)?;
    if let Some(number) = device.refused
        && let Some(error) = CameraError::refused(&device.node, number)
    {
        return Err(error);
    }
    if device.modes.is_empty() {
        return guess(device, ask, stop);
    }
    let plan = modes::choose(&device.modes, ask).map_err(|modes| CameraError::NoSuchMode {
        node: device.node.clone(),
        modes,
    })?;
    let input = Input::camera(&device.node, Some(&plan.mode), stop.clone())
        .map_err(|e| CameraError::opening(&device.node, e))?;
    Ok(opened(device, input, plan))
}

/// Opens a camera that does not tell its modes, by trying.
fn guess(device: &Device, ask: &Ask, stop: &CancellationToken) -> Result<Opened, CameraError> {
    let mut first_error: Option<AvError> = None;
    for plan in modes::guesses(ask) {
        match Input::camera(&device.node, plan.as_ref().map(|p| &p.mode), stop.clone()) {
            Ok(input) => {
                let plan = plan.unwrap_or_else(|| as_it_is(&input, ask));
                return Ok(opened(device, input, plan));
            }
            Err(e) => drop(first_error.get_or_insert(e)),
        }
    }
    let error = first_error.unwrap_or(AvError::NoInput("camera"));
    Err(CameraError::opening(&device.node, error))
}

/// The plan for a camera that runs in whatever mode it likes.
fn as_it_is(input: &Input, ask: &Ask) -> Plan {
    let (width, height) = input.size();
    let rate = device::FrameRate::whole(modes::DEFAULT_FPS);
    Plan {
        mode: device::Mode {
            coding: input.coding(),
            fourcc: String::new(),
            width,
            height,
            rate,
        },
        size: ask.size.unwrap_or(Size { width, height }),
        fps: ask.fps.map_or(rate.fps(), f64::from),
    }
}

fn opened(device: &Device, input: Input, mut plan: Plan) -> Opened {
    // A driver may settle on something near to what was asked.
    let (width, height) = input.size();
    if (plan.size.width, plan.size.height) == (plan.mode.width, plan.mode.height) && width > 0 && height > 0 {
        plan.size = Size { width, height };
    }
    plan.mode.coding = match (input.coding(), plan.mode.coding) {
        (Coding::Raw(_), Coding::Raw(format)) => Coding::Raw(format),
        (real, _) => real,
    };
    Opened {
        input,
        identity: device.identity.clone(),
        name: device.name.clone(),
        plan,
    }
}

/// The camera that is meant among those there are.
fn find<'a>(devices: &'a [Device], wanted: &Wanted) -> Result<&'a Device, CameraError> {
    match wanted {
        Wanted::First => first(devices).ok_or(CameraError::NoneAtAll),
        Wanted::Named(name) => by_name(devices, name),
        Wanted::Same(identity, name) => {
            again(devices, identity).ok_or_else(|| CameraError::Unplugged { name: name.clone() })
        }
    }
}

/// The first camera with pictures; else the first that we may not open, whose error tells what to do.
pub(crate) fn first(devices: &[Device]) -> Option<&Device> {
    let usable = |d: &&Device| d.modes.iter().any(|m| m.coding != Coding::Other);
    let untold = |d: &&Device| d.modes.is_empty();
    devices
        .iter()
        .find(usable)
        .or_else(|| devices.iter().find(untold))
}

/// By node (a link to it counts), then by whole name, then by part of a name.
fn by_name<'a>(devices: &'a [Device], wanted: &str) -> Result<&'a Device, CameraError> {
    let bare = wanted.strip_prefix("video=").unwrap_or(wanted);
    let node = std::fs::canonicalize(bare).ok();
    let node = node.as_deref().and_then(|n| n.to_str()).unwrap_or(bare);
    if let Some(device) = devices.iter().find(|d| d.node == node) {
        return Ok(device);
    }
    let same = |d: &&Device| d.name.eq_ignore_ascii_case(bare);
    let part = |d: &&Device| d.name.to_lowercase().contains(&bare.to_lowercase());
    let whole: Vec<&Device> = devices.iter().filter(same).collect();
    let parts: Vec<&Device> = devices.iter().filter(part).collect();
    let found = if whole.is_empty() { parts } else { whole };
    match found[..] {
        [one] => Ok(one),
        [] => Err(CameraError::missing(wanted, devices)),
        ref many => Err(CameraError::Ambiguous {
            wanted: wanted.to_owned(),
            nodes: many
                .iter()
                .map(|d| d.node.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}

/// The camera that was used before. Another of the same kind is taken for it only if it is the only one.
fn again<'a>(devices: &'a [Device], identity: &Identity) -> Option<&'a Device> {
    let best = devices.iter().map(|d| identity.likeness(&d.identity)).max()?;
    let mut alike = devices.iter().filter(|d| identity.likeness(&d.identity) == best);
    let found = alike.next()?;
    let sure = best >= 2 || (best == 1 && alike.next().is_none());
    sure.then_some(found)
}

/// How long to wait before the next try: doubles from a quarter of a second to two, and jitters so that
/// several cameras on one bus do not try in step.
#[derive(Default)]
pub(crate) struct BackOff {
    tries: u32,
}

impl BackOff {
    const FIRST: Duration = Duration::from_millis(250);
    const LAST: Duration = Duration::from_secs(2);

    /// The next wait; `random` is any number.
    pub(crate) fn next(&mut self, random: u8) -> Duration {
        let wait = Self::FIRST * 2_u32.pow(self.tries.min(3));
        self.tries += 1;
        let jitter = 0.75 + f64::from(random) / 1024.0; // three quarters to the whole
        wait.min(Self::LAST).mul_f64(jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(node: &str, name: &str, serial: &str, bus: &str) -> Device {
        Device {
            node: node.into(),
            name: name.into(),
            driver: "uvcvideo".into(),
            identity: Identity {
                product: "05c8:03ea".into(),
                serial: serial.into(),
                interface: "00".into(),
                bus: bus.into(),
                name: name.into(),
            },
            modes: Vec::new(),
            holders: Vec::new(),
            refused: None,
        }
    }

    fn node_of(devices: &[Device], wanted: &str) -> Result<String, String> {
        find(devices, &Wanted::Named(wanted.into()))
            .map(|d| d.node.clone())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn cameras_are_found_by_node_name_and_part_of_a_name() {
        let devices = [
            camera("/dev/video0", "HD Camera", "1", "a"),
            camera("/dev/video2", "HD Camera Pro", "2", "b"),
            camera("/dev/video4", "Microscope", "3", "c"),
        ];
        assert_eq!(node_of(&devices, "/dev/video2").unwrap(), "/dev/video2");
        assert_eq!(node_of(&devices, "hd camera").unwrap(), "/dev/video0");
        assert_eq!(node_of(&devices, "video=HD Camera").unwrap(), "/dev/video0");
        assert_eq!(node_of(&devices, "scope").unwrap(), "/dev/video4");
        let many = node_of(&devices, "camera").unwrap_err();
        assert_eq!(
            many,
            "several cameras are called camera; name one of /dev/video0, /dev/video2"
        );
        let none = node_of(&devices, "/dev/video9").unwrap_err();
        assert!(
            none.starts_with("there is no camera /dev/video9; there is /dev/video0 (HD Camera)"),
            "{none}"
        );
        assert_eq!(find(&devices, &Wanted::First).unwrap().node, "/dev/video0");
        let mut sensor = camera("/dev/video0", "ISP", "", "d");
        sensor.modes.push(device::Mode {
            coding: Coding::Other,
            fourcc: "pBAA".into(),
            width: 3280,
            height: 2464,
            rate: device::FrameRate::whole(15),
        });
        let [_, second, _] = devices;
        assert_eq!(first(&[sensor.clone(), second]).unwrap().node, "/dev/video2");
        assert!(first(&[sensor]).is_none());
        assert!(matches!(find(&[], &Wanted::First), Err(CameraError::NoneAtAll)));
    }

    #[test]
    fn a_camera_that_came_back_with_another_number_is_the_same() {
        let was = camera("/dev/video0", "HD Camera", "", "usb-1").identity;
        let other_plug = camera("/dev/video0", "HD Camera", "", "usb-2");
        let same_plug = camera("/dev/video3", "HD Camera", "", "usb-1");
        let devices = [other_plug.clone(), same_plug];
        assert_eq!(again(&devices, &was).unwrap().node, "/dev/video3");
        assert_eq!(
            again(std::slice::from_ref(&other_plug), &was).unwrap().node,
            "/dev/video0"
        );
        let third = camera("/dev/video5", "HD Camera", "", "usb-3");
        assert!(
            again(&[other_plug, third], &was).is_none(),
            "one of two strangers"
        );
        let another = camera("/dev/video0", "Microscope", "", "usb-1");
        assert!(again(&[another], &was).is_none());
        assert!(again(&[], &was).is_none());
    }

    #[test]
    fn waits_grow_to_two_seconds_and_jitter() {
        let mut back_off = BackOff::default();
        let waits: Vec<_> = (0..6).map(|_| back_off.next(255).as_millis()).collect();
        assert_eq!(waits, [249, 499, 999, 1998, 1998, 1998]);
        assert_eq!(BackOff::default().next(0).as_micros(), 187_500);
    }
}
