//! `louver devices`: cameras, what they can do, and who holds a busy one.

use std::fmt::Write;
use std::io;

use crate::av::device;
use crate::av::device::Device;
use crate::av::device::Mode;
use crate::base::why::Why;
use crate::cli::Failure;
use crate::cli::result;
use crate::cli::tell;
use crate::web::api;
use crate::web::api::DeviceJson;
use crate::web::api::ListJson;

/// Prints all cameras.
pub(super) fn devices(as_json: bool) -> Result<(), Failure> {
    let devices = device::list();
    if as_json {
        let items = devices.iter().map(DeviceJson::from).collect();
        return result(api::to_line(&ListJson::whole(items)).as_bytes());
    }
    if devices.is_empty() {
        tell(
            "No camera was found. Plug one in (in a virtual machine or container: pass it through), or try\n\
             the test picture: louver pattern:",
        );
    }
    let text: String = devices
        .iter()
        .map(|d| to_text(d, device::group_of(&d.node).as_deref()))
        .collect();
    result(text.as_bytes())
}

/// The system's reason without its number.
fn refusal(errno: i32) -> String {
    Why::from(&io::Error::from_raw_os_error(errno)).to_string()
}

fn to_text(d: &Device, group: Option<&str>) -> String {
    let mut out = format!("{}  {} ({})\n", d.node, d.name, d.driver);
    if !d.holders.is_empty() {
        let holders: Vec<String> = d.holders.iter().map(ToString::to_string).collect();
        let _ = writeln!(out, "  in use by {}", holders.join(", "));
    }
    if let Some(errno) = d.refused {
        let _ = writeln!(out, "  cannot be asked: {}", refusal(errno));
        if let (io::ErrorKind::PermissionDenied, Some(group)) =
            (io::Error::from_raw_os_error(errno).kind(), group)
        {
            let _ = writeln!(
                out,
                "  join its group and log in again: sudo usermod -aG {group} $USER"
            );
        }
    }
    let mut format = "";
    for (mode, rates) in sizes(&d.modes) {
        // A format is named at its first size only.
        let shown = if mode.fourcc == format { "" } else { &mode.fourcc };
        format = &mode.fourcc;
        let size = format!("{}x{}", mode.width, mode.height);
        let _ = writeln!(out, "  {shown:<5} {size:<10} {} fps", rates.join(", "));
    }
    out.push('\n');
    out
}

/// Each format and size once, with all its rates.
fn sizes(modes: &[Mode]) -> Vec<(&Mode, Vec<String>)> {
    let mut sizes: Vec<(&Mode, Vec<String>)> = Vec::new();
    for mode in modes {
        let same = |m: &Mode| (&m.fourcc, m.width, m.height) == (&mode.fourcc, mode.width, mode.height);
        let rate = mode.rate.to_string();
        match sizes.iter_mut().find(|(m, _)| same(m)) {
            Some((_, rates)) => rates.push(rate),
            None => sizes.push((mode, vec![rate])),
        }
    }
    // Formats stay in the driver's order, together.
    let order: Vec<&str> = modes.iter().map(|m| m.fourcc.as_str()).collect();
    sizes.sort_by_key(|(m, _)| order.iter().position(|f| *f == m.fourcc));
    sizes
}

#[cfg(test)]
mod tests {
    use crate::av::device::Coding;
    use crate::av::device::FrameRate;
    use crate::av::device::Holder;
    use crate::av::device::Identity;

    use super::*;

    fn mode(fourcc: &str, width: u32, height: u32, num: u32, den: u32) -> Mode {
        let rate = FrameRate::new(num, den).unwrap();
        Mode {
            coding: Coding::Other,
            fourcc: fourcc.into(),
            width,
            height,
            rate,
        }
    }

    fn camera() -> Device {
        Device {
            node: "/dev/video0".into(),
            name: "HD Camera".into(),
            driver: "uvcvideo".into(),
            identity: Identity {
                product: "05c8:03ea".into(),
                bus: "usb-1".into(),
                ..Identity::default()
            },
            modes: vec![
                mode("MJPG", 1280, 720, 30, 1),
                mode("YUYV", 640, 480, 30, 1),
                mode("MJPG", 1280, 720, 30_000, 1001),
                mode("MJPG", 640, 480, 30, 1),
            ],
            holders: vec![Holder {
                pid: 42,
                process: "vlc".into(),
            }],
            refused: None,
        }
    }

    #[test]
    fn a_camera_is_shown_with_each_size_once_and_who_holds_it() {
        assert_eq!(
            to_text(&camera(), None),
            "/dev/video0  HD Camera (uvcvideo)\n  in use by vlc (process 42)\n  \
             MJPG  1280x720   30, 29.97 fps\n        640x480    30 fps\n  YUYV  640x480    30 fps\n\n"
        );
    }

    #[test]
    fn no_permission_says_which_group_to_join() {
        let refused = Device {
            refused: Some(13),
            modes: vec![],
            holders: vec![],
            ..camera()
        };
        let text = to_text(&refused, Some("video"));
        assert!(
            text.contains("permission denied") && text.contains("usermod -aG video"),
            "{text}"
        );
    }

    #[test]
    fn json_has_what_a_script_needs_to_start_the_camera() {
        let value = serde_json::to_value(DeviceJson::from(&camera())).unwrap();
        assert_eq!(value["source"], "webcam:/dev/video0");
        assert_eq!(value["modes"][2]["fps"], 29.97);
        assert_eq!(value["held_by"][0]["pid"], 42);
        assert!(value["error"].is_null());
    }
}
