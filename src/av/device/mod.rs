//! Which cameras there are, what they can do, and who holds them.
//!
//! Linux asks V4L2 itself, elsewhere the libraries list the devices without their modes. Nothing is opened
//! for capturing here; choosing a mode is `ingest::modes`.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;

use std::fmt;

#[cfg(target_os = "linux")]
use linux as platform;
#[cfg(not(target_os = "linux"))]
use other as platform;

/// Frames per second as a fraction, as drivers tell it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FrameRate {
    pub num: u32,
    /// Never zero.
    pub den: u32,
}

impl FrameRate {
    /// A whole number of frames per second.
    pub const fn whole(fps: u32) -> Self {
        Self { num: fps, den: 1 }
    }
    /// `None` for a zero denominator or no frames at all.
    pub fn new(num: u32, den: u32) -> Option<Self> {
        (num > 0 && den > 0).then_some(Self { num, den })
    }
    /// Frames per second.
    pub fn fps(self) -> f64 {
        f64::from(self.num) / f64::from(self.den)
    }
}

impl fmt::Display for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.num % self.den {
            0 => write!(f, "{}", self.num / self.den),
            _ => write!(f, "{:.2}", self.fps()),
        }
    }
}

/// How a camera codes its pictures.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Coding {
    H264,
    Jpeg,
    /// Uncompressed, by the libraries' name of the pixel format (`yuyv422`).
    Raw(&'static str),
    /// Something that is not captured (HEVC, depth maps, private formats).
    Other,
}

/// One way a camera can run.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Mode {
    pub coding: Coding,
    /// The driver's four letters (`MJPG`), or the libraries' name where there are none.
    pub fourcc: String,
    pub width: u32,
    pub height: u32,
    pub rate: FrameRate,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}x{} at {}",
            self.fourcc, self.width, self.height, self.rate
        )
    }
}

/// A process that has a device open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    pub pid: u32,
    /// Its short name, as `ps` shows it.
    pub process: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.process, self.pid)
    }
}

/// What stays the same when a camera is unplugged and plugged in again.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Identity {
    /// USB vendor and product, `05c8:03ea`; empty for what is not on USB.
    pub product: String,
    /// USB serial number; many cameras have none, or all the same.
    pub serial: String,
    /// Which of a camera's several functions (colour, infrared); empty off USB.
    pub interface: String,
    /// The plug it is in.
    pub bus: String,
    /// What the camera calls itself.
    pub name: String,
}

impl Identity {
    /// How surely the other is the same camera: 0 not at all, 3 most.
    ///
    /// The same product in the same plug is sure; the same product with the same serial in another plug is
    /// nearly (some makers give all cameras one serial); the same product alone is a guess, good enough when
    /// there is no other candidate.
    pub fn likeness(&self, other: &Self) -> u8 {
        let kind = |i: &Self| (i.product.clone(), i.interface.clone(), i.name.clone());
        if kind(self) != kind(other) {
            return 0;
        }
        let serial = self.serial == other.serial;
        match (serial, self.bus == other.bus) {
            (true, true) => 3,
            (true, false) if !self.serial.is_empty() => 2,
            (true, false) => 1,
            (false, _) => 0,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [&self.product, &self.serial, &self.interface, &self.bus];
        let parts: Vec<&str> = parts
            .into_iter()
            .map(String::as_str)
            .filter(|p| !p.is_empty())
            .collect();
        f.write_str(&parts.join("/"))
    }
}

/// A camera.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// What to open: `/dev/video0`, a DirectShow or AVFoundation name.
    pub node: String,
    /// What a person calls it.
    pub name: String,
    /// The kernel driver, or the libraries' kind of device.
    pub driver: String,
    pub identity: Identity,
    /// All it can do; empty where the system does not tell without capturing, and when `refused`.
    pub modes: Vec<Mode>,
    /// Processes that have it open now, as far as we may see.
    pub holders: Vec<Holder>,
    /// Why its modes could not be asked: the system's error number.
    pub refused: Option<i32>,
}

/// All cameras, in the order of their numbers. Devices that give no pictures (UVC's metadata nodes, codecs,
/// radios) are left out.
pub fn list() -> Vec<Device> {
    platform::list()
}

/// Who has this device open, other than this very process; empty where the system does not tell.
pub fn holders(node: &str) -> Vec<Holder> {
    platform::holders(node)
}

/// The group that may open the device, by name or number; `None` where there is no such thing.
pub fn group_of(node: &str) -> Option<String> {
    platform::group_of(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(serial: &str, bus: &str) -> Identity {
        Identity {
            product: "05c8:03ea".into(),
            serial: serial.into(),
            interface: "00".into(),
            bus: bus.into(),
            name: "HD Camera".into(),
        }
    }

    #[test]
    fn a_camera_is_known_again_by_serial_then_plug_then_kind() {
        let was = camera("A1", "usb-1");
        assert_eq!(was.likeness(&camera("A1", "usb-1")), 3);
        assert_eq!(was.likeness(&camera("A1", "usb-2")), 2);
        assert_eq!(was.likeness(&camera("B7", "usb-1")), 0);
        let nameless = camera("", "usb-1");
        assert_eq!(nameless.likeness(&camera("", "usb-1")), 3);
        assert_eq!(nameless.likeness(&camera("", "usb-2")), 1);
        let infrared = Identity {
            interface: "02".into(),
            ..camera("A1", "usb-1")
        };
        assert_eq!(was.likeness(&infrared), 0);
    }

    #[test]
    fn rates_print_as_people_write_them() {
        assert_eq!(FrameRate::whole(30).to_string(), "30");
        assert_eq!(
            FrameRate {
                num: 30_000,
                den: 1001
            }
            .to_string(),
            "29.97"
        );
        assert_eq!(FrameRate { num: 60, den: 2 }.to_string(), "30");
        assert_eq!(FrameRate::new(30, 0), None);
    }

    #[test]
    fn listing_works_on_a_machine_without_cameras() {
        for device in list() {
            assert!(!device.node.is_empty());
        }
        assert!(holders("/dev/no-such-node").is_empty());
        assert_eq!(group_of("/dev/no-such-node"), None);
    }
}
