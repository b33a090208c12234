//! Why a camera does not give pictures, in words that say what to do next.

use crate::av::AvError;
use crate::av::device;
use crate::av::device::Device;
use crate::av::device::Holder;

/// System error numbers that have a meaning of their own here; the same on all Unix systems that have V4L2.
mod errno {
    pub(super) const EPERM: i32 = 1;
    pub(super) const ENOENT: i32 = 2;
    pub(super) const ENXIO: i32 = 6;
    pub(super) const EACCES: i32 = 13;
    pub(super) const EBUSY: i32 = 16;
    pub(super) const ENODEV: i32 = 19;
}

/// Why there are no pictures of a camera.
#[derive(Debug, thiserror::Error)]
pub enum CameraError {
    #[error("camera {node} is in use{by}; close that program, or choose another camera (`louver devices`)")]
    Busy { node: String, by: String },
    #[error(
        "no permission to open camera {node}{group_text}; run `sudo usermod -aG {group} $USER` and log in again"
    )]
    NoPermission {
        node: String,
        group: String,
        group_text: String,
    },
    #[error("there is no camera {wanted}; {existing}")]
    NoDevice { wanted: String, existing: String },
    #[error("no camera is connected; plug one in, or use `pattern:`")]
    NoneAtAll,
    #[error("several cameras are called {wanted}; name one of {nodes}")]
    Ambiguous { wanted: String, nodes: String },
    #[error("camera {node} {modes}")]
    NoSuchMode { node: String, modes: String },
    #[error("camera {name} is unplugged; plug it in again and the stream goes on")]
    Unplugged { name: String },
    #[error("camera {name} gives no pictures any more; it is started again")]
    Stalled { name: String },
    #[error("camera {node} does not work: {error}")]
    Failed { node: String, error: AvError },
}

impl CameraError {
    /// Sorts what the libraries said when a device was opened.
    pub(crate) fn opening(node: &str, error: AvError) -> Self {
        match error.errno() {
            Some(number) => Self::refused(node, number).unwrap_or_else(|| Self::failed(node, error)),
            None => Self::failed(node, error),
        }
    }
    /// Sorts the system's error number of a device that could not even be asked.
    pub(crate) fn refused(node: &str, number: i32) -> Option<Self> {
        Some(match number {
            errno::EBUSY => Self::Busy {
                node: node.to_owned(),
                by: by_whom(&device::holders(node)),
            },
            errno::EACCES | errno::EPERM => {
                let group = device::group_of(node);
                Self::NoPermission {
                    node: node.to_owned(),
                    group_text: group
                        .as_ref()
                        .map_or(String::new(), |g| format!(", which belongs to group {g}")),
                    group: group.unwrap_or_else(|| "video".to_owned()),
                }
            }
            errno::ENOENT | errno::ENODEV | errno::ENXIO => Self::Unplugged {
                name: node.to_owned(),
            },
            _ => return None,
        })
    }
    /// A device that is wanted and not there.
    pub(crate) fn missing(wanted: &str, devices: &[Device]) -> Self {
        if devices.is_empty() {
            return Self::NoDevice {
                wanted: wanted.to_owned(),
                existing: "no camera is connected".to_owned(),
            };
        }
        let names: Vec<_> = devices
            .iter()
            .map(|d| format!("{} ({})", d.node, d.name))
            .collect();
        Self::NoDevice {
            wanted: wanted.to_owned(),
            existing: format!("there is {}", names.join(", ")),
        }
    }
    fn failed(node: &str, error: AvError) -> Self {
        Self::Failed {
            node: node.to_owned(),
            error,
        }
    }
}

fn by_whom(holders: &[Holder]) -> String {
    match holders {
        [] => " by another program (or another path of this relay)".to_owned(),
        some => {
            let names: Vec<_> = some.iter().map(ToString::to_string).collect();
            format!(" by {}", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::av::device::Identity;

    fn os(number: i32) -> AvError {
        AvError::Os {
            doing: "opening the device",
            error: io::Error::from_raw_os_error(number),
        }
    }

    #[test]
    fn a_busy_camera_names_who_holds_it() {
        let holder = Holder {
            pid: 4711,
            process: "cheese".into(),
        };
        assert_eq!(by_whom(&[holder]), " by cheese (process 4711)");
        let text = CameraError::opening("/dev/no-such-node", os(errno::EBUSY)).to_string();
        assert_eq!(
            text,
            "camera /dev/no-such-node is in use by another program (or another path of this relay); close that \
             program, or choose another camera (`louver devices`)"
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_forbidden_camera_names_the_group_and_the_command() {
        // Any file has a group; /dev/null's is root.
        let text = CameraError::opening("/dev/null", os(errno::EACCES)).to_string();
        assert!(text.contains("which belongs to group root"), "{text}");
        assert!(text.contains("`sudo usermod -aG root $USER`"), "{text}");
    }

    #[test]
    fn a_missing_camera_tells_which_there_are() {
        let one = Device {
            node: "/dev/video2".into(),
            name: "HD Camera".into(),
            driver: "uvcvideo".into(),
            identity: Identity::default(),
            modes: Vec::new(),
            holders: Vec::new(),
            refused: None,
        };
        let text = CameraError::missing("/dev/video0", &[one]).to_string();
        assert_eq!(
            text,
            "there is no camera /dev/video0; there is /dev/video2 (HD Camera)"
        );
        let text = CameraError::missing("/dev/video0", &[]).to_string();
        assert_eq!(text, "there is no camera /dev/video0; no camera is connected");
    }

    #[test]
    fn other_refusals_keep_their_reason() {
        let text = CameraError::opening("/dev/video0", os(22)).to_string();
        assert!(
            text.starts_with("camera /dev/video0 does not work: opening the device: Invalid argument"),
            "{text}"
        );
        let gone = CameraError::opening("/dev/video0", os(errno::ENODEV)).to_string();
        assert!(gone.contains("unplugged"), "{gone}");
    }
}
