//! How each platform's capture is asked for: the libraries' input, its address, its options. Pure.
//!
//! Compiled everywhere, so that the logic of Windows and macOS is tested on Linux too.

use crate::av::device::Coding;
use crate::av::device::Mode;

/// Everything that opens a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opening {
    /// The libraries' input: `v4l2`, `dshow`, `avfoundation`, `lavfi`.
    pub input: &'static str,
    /// What the input takes as its address.
    pub address: String,
    pub options: Vec<(&'static str, String)>,
    /// DirectShow is told of a compressed format by a field, not by an option.
    pub coding: Option<Coding>,
}

/// The kind of capture that this platform has.
pub const fn native() -> fn(&str, Option<&Mode>) -> Opening {
    if cfg!(windows) {
        dshow
    } else if cfg!(target_os = "macos") {
        avfoundation
    } else {
        v4l2
    }
}

/// Linux. Without a mode the driver's present one is used.
pub fn v4l2(node: &str, mode: Option<&Mode>) -> Opening {
    let mut options = size_and_rate(mode);
    if let Some(mode) = mode {
        let format = match mode.coding {
            Coding::H264 => "h264",
            Coding::Jpeg => "mjpeg",
            Coding::Raw(name) => name,
            Coding::Other => "",
        };
        if !format.is_empty() {
            options.push(("input_format", format.to_owned()));
        }
    }
    Opening {
        input: "v4l2",
        address: node.to_owned(),
        options,
        coding: None,
    }
}

/// Windows. `device` is a friendly name or an `@device_pnp_...` path, with or without `video=` before it.
pub fn dshow(device: &str, mode: Option<&Mode>) -> Opening {
    let name = device.strip_prefix("video=").unwrap_or(device);
    // A colon separates a video from an audio device there; the libraries list paths with `_` in its place.
    let name = match name.starts_with("@device") {
        true => name.replace(':', "_"),
        false => name.to_owned(),
    };
    let mut options = size_and_rate(mode);
    options.push(("rtbufsize", queue_bytes(mode).to_string()));
    if let Some(Mode {
        coding: Coding::Raw(format),
        ..
    }) = mode
    {
        options.push(("pixel_format", (*format).to_owned()));
    }
    let coding = mode.map(|m| m.coding.clone());
    Opening {
        input: "dshow",
        address: format!("video={name}"),
        options,
        coding: coding.filter(|c| matches!(c, Coding::H264 | Coding::Jpeg)),
    }
}

/// macOS. `device` is a name or an index. It gives raw pictures only.
pub fn avfoundation(device: &str, mode: Option<&Mode>) -> Opening {
    let mut options = size_and_rate(mode);
    if let Some(Mode {
        coding: Coding::Raw(format),
        ..
    }) = mode
    {
        options.push(("pixel_format", (*format).to_owned()));
    }
    Opening {
        input: "avfoundation",
        address: format!("{device}:none"), // no sound
        options,
        coding: None,
    }
}

fn size_and_rate(mode: Option<&Mode>) -> Vec<(&'static str, String)> {
    let Some(mode) = mode else {
        return Vec::new();
    };
    let rate = match mode.rate.den {
        1 => mode.rate.num.to_string(),
        den => format!("{}/{den}", mode.rate.num),
    };
    vec![
        ("video_size", format!("{}x{}", mode.width, mode.height)),
        ("framerate", rate),
    ]
}

/// The queue between DirectShow and us: its 3 MB would overflow on a few raw 720p pictures.
fn queue_bytes(mode: Option<&Mode>) -> u64 {
    let (width, height) = mode.map_or((1280, 720), |m| (m.width, m.height));
    let eight_raw_pictures = 8 * 2 * u64::from(width) * u64::from(height);
    eight_raw_pictures.clamp(16_000_000, 64_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::av::device::FrameRate;

    fn mode(coding: Coding, width: u32, height: u32, rate: FrameRate) -> Mode {
        Mode {
            coding,
            fourcc: String::new(),
            width,
            height,
            rate,
        }
    }

    fn option<'a>(opening: &'a Opening, key: &str) -> Option<&'a str> {
        opening
            .options
            .iter()
            .find(|(k, _)| *k == key)
            .map(|(_, v)| v.as_str())
    }

    #[test]
    fn v4l2_is_told_format_size_and_rate() {
        let ntsc = FrameRate {
            num: 30_000,
            den: 1001,
        };
        let o = v4l2("/dev/video2", Some(&mode(Coding::Jpeg, 1280, 720, ntsc)));
        assert_eq!((o.input, o.address.as_str()), ("v4l2", "/dev/video2"));
        assert_eq!(option(&o, "input_format"), Some("mjpeg"));
        assert_eq!(option(&o, "video_size"), Some("1280x720"));
        assert_eq!(option(&o, "framerate"), Some("30000/1001"));
        let raw = v4l2(
            "/dev/video0",
            Some(&mode(Coding::Raw("yuyv422"), 320, 240, FrameRate::whole(30))),
        );
        assert_eq!(option(&raw, "input_format"), Some("yuyv422"));
        assert!(v4l2("/dev/video0", None).options.is_empty());
    }

    #[test]
    fn dshow_takes_friendly_names_and_device_paths() {
        let mjpeg = mode(Coding::Jpeg, 320, 240, FrameRate::whole(30));
        let o = dshow("HD Camera", Some(&mjpeg));
        assert_eq!(o.address, "video=HD Camera");
        assert_eq!(o.coding, Some(Coding::Jpeg));
        assert_eq!(option(&o, "video_size"), Some("320x240"));
        assert_eq!(option(&o, "framerate"), Some("30"));
        assert_eq!(option(&o, "pixel_format"), None);
        assert_eq!(option(&o, "rtbufsize"), Some("16000000"));
        assert_eq!(dshow("video=HD Camera", None).address, "video=HD Camera");
        let path = r"@device_pnp_\\?\usb#vid_05c8&pid_03ea&mi_00#7&1&0&0000#{65e8773d}\global";
        assert_eq!(dshow(path, None).address, format!("video={path}"));
    }

    #[test]
    fn dshow_raw_has_a_pixel_format_and_a_queue_for_its_size() {
        let o = dshow(
            "Cam",
            Some(&mode(Coding::Raw("yuyv422"), 1920, 1080, FrameRate::whole(5))),
        );
        assert_eq!(option(&o, "pixel_format"), Some("yuyv422"));
        assert_eq!(option(&o, "rtbufsize"), Some("33177600"));
        assert_eq!(o.coding, None);
    }

    #[test]
    fn avfoundation_asks_for_no_sound() {
        let o = avfoundation(
            "FaceTime HD Camera",
            Some(&mode(Coding::Raw("nv12"), 1280, 720, FrameRate::whole(30))),
        );
        assert_eq!(o.address, "FaceTime HD Camera:none");
        assert_eq!(option(&o, "pixel_format"), Some("nv12"));
        assert_eq!(option(&o, "framerate"), Some("30"));
    }
}
