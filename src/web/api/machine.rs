//! `louver devices --json` and `louver formats --json`: what this machine and this build have.

use std::io;

use serde::Serialize;

use crate::av::device::Device;
use crate::av::device::Holder;
use crate::av::device::Mode;
use crate::av::formats;
use crate::av::formats::Formats;
use crate::base::why::Why;

/// One camera.
#[derive(Serialize)]
pub struct DeviceJson {
    device: String,
    name: String,
    driver: String,
    /// What the camera is known by when it is plugged in elsewhere.
    id: String,
    /// What to write on the command line for it.
    source: String,
    modes: Vec<ModeJson>,
    held_by: Vec<HolderJson>,
    /// Why its modes could not be asked.
    error: Option<String>,
}

#[derive(Serialize)]
struct ModeJson {
    format: String,
    width: u32,
    height: u32,
    fps: f64,
}

#[derive(Serialize)]
struct HolderJson {
    pid: u32,
    process: String,
}

impl From<&Device> for DeviceJson {
    fn from(d: &Device) -> Self {
        Self {
            device: d.node.clone(),
            name: d.name.clone(),
            driver: d.driver.clone(),
            id: d.identity.to_string(),
            source: format!("webcam:{}", d.node),
            modes: d.modes.iter().map(ModeJson::from).collect(),
            held_by: d.holders.iter().map(HolderJson::from).collect(),
            // The system's reason without its number.
            error: (d.refused).map(|errno| Why::from(&io::Error::from_raw_os_error(errno)).to_string()),
        }
    }
}

impl From<&Mode> for ModeJson {
    fn from(mode: &Mode) -> Self {
        Self {
            format: mode.fourcc.clone(),
            width: mode.width,
            height: mode.height,
            // Two decimals are what people ask for with fps=29.97.
            fps: (mode.rate.fps() * 100.0).round() / 100.0,
        }
    }
}

impl From<&Holder> for HolderJson {
    fn from(holder: &Holder) -> Self {
        Self {
            pid: holder.pid,
            process: holder.process.clone(),
        }
    }
}

/// What this build takes in and gives out.
#[derive(Serialize)]
pub struct FormatsJson {
    version: &'static str,
    ffmpeg: String,
    licence: String,
    h264_encoder: Option<String>,
    relayed: Vec<RelayedJson>,
    codecs: Vec<CodecJson>,
    containers: Vec<ContainerJson>,
    protocols: Vec<ProtocolJson>,
    devices: Vec<DescribedJson>,
}

#[derive(Serialize)]
struct RelayedJson {
    codec: String,
    rtsp: bool,
    mpegts: bool,
    pictures: bool,
}

#[derive(Serialize)]
struct CodecJson {
    name: String,
    description: String,
    kind: &'static str,
    decodes: bool,
    encodes: bool,
}

#[derive(Serialize)]
struct ContainerJson {
    name: String,
    description: String,
    reads: bool,
    writes: bool,
}

#[derive(Serialize)]
struct ProtocolJson {
    name: String,
    reads: bool,
    writes: bool,
}

#[derive(Serialize)]
struct DescribedJson {
    name: String,
    description: String,
}

impl From<&Formats> for FormatsJson {
    fn from(f: &Formats) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            ffmpeg: f.ffmpeg.clone(),
            licence: f.licence.clone(),
            h264_encoder: f.h264_encoder.clone().ok(),
            relayed: f.relayed.iter().map(RelayedJson::from).collect(),
            codecs: f.codecs.iter().map(CodecJson::from).collect(),
            containers: f.containers.iter().map(ContainerJson::from).collect(),
            protocols: f.protocols.iter().map(ProtocolJson::from).collect(),
            devices: f.devices.iter().map(DescribedJson::from).collect(),
        }
    }
}

impl From<&formats::Relayed> for RelayedJson {
    fn from(r: &formats::Relayed) -> Self {
        Self {
            codec: r.codec.clone(),
            rtsp: r.rtsp,
            mpegts: r.mpegts,
            pictures: r.pictures,
        }
    }
}

impl From<&formats::NamedCodec> for CodecJson {
    fn from(c: &formats::NamedCodec) -> Self {
        Self {
            name: c.name.clone(),
            description: c.description.clone(),
            kind: c.kind,
            decodes: c.decodes,
            encodes: c.encodes,
        }
    }
}

impl From<&formats::Container> for ContainerJson {
    fn from(c: &formats::Container) -> Self {
        Self {
            name: c.name.clone(),
            description: c.description.clone(),
            reads: c.reads,
            writes: c.writes,
        }
    }
}

impl From<&formats::Protocol> for ProtocolJson {
    fn from(p: &formats::Protocol) -> Self {
        Self {
            name: p.name.clone(),
            reads: p.reads,
            writes: p.writes,
        }
    }
}

impl From<&formats::Described> for DescribedJson {
    fn from(d: &formats::Described) -> Self {
        Self {
            name: d.name.clone(),
            description: d.description.clone(),
        }
    }
}
