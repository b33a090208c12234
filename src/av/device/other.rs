//! Cameras of macOS and Windows, as FFmpeg's libraries list them. They do not tell modes without capturing.

use super::Device;
use super::Holder;
use super::Identity;
use crate::av::sys;

#[cfg(windows)]
const KIND: &str = "dshow";
#[cfg(not(windows))]
const KIND: &str = "avfoundation";

pub(super) fn list() -> Vec<Device> {
    let sources = match sys::list_sources(KIND) {
        Ok(sources) => sources,
        Err(e) => {
            tracing::warn!("The cameras could not be listed: {e}.");
            return Vec::new();
        }
    };
    let cameras = sources.into_iter().filter(|s| s.video);
    cameras
        .map(|s| Device {
            identity: Identity {
                // DirectShow's path names vendor, product and plug; AVFoundation's is an index.
                bus: s.name.clone(),
                name: s.description.clone(),
                ..Identity::default()
            },
            node: s.name,
            name: s.description,
            driver: KIND.to_owned(),
            modes: Vec::new(),
            holders: Vec::new(),
            refused: None,
        })
        .collect()
}

pub(super) fn holders(_: &str) -> Vec<Holder> {
    Vec::new()
}

pub(super) fn group_of(_: &str) -> Option<String> {
    None
}
