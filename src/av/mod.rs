//! FFmpeg's libraries behind a small safe face: devices, decoding, encoding, JPEG, scaling.
//!
//! Everything here blocks: call it from a thread of `base::tasks` or from a blocking task, never from an
//! async one. Not here: what to capture and when (`ingest`), who watches (`hub`). The only unsafe code of
//! the program is in `av::sys`.

pub(crate) mod annexb;
pub mod decode;
pub mod demux;
pub mod device;
pub mod encode;
pub mod formats;
pub mod frame;
pub mod input;
pub mod jpeg;
mod log;
pub mod memory;
pub mod options;
pub mod scale;
mod sys;

use std::io;

use crate::media::Codec;

pub use sys::init;

/// What FFmpeg's libraries refused, in words that say what to do next. Never holds media bytes or addresses.
#[derive(Debug, thiserror::Error)]
pub enum AvError {
    /// The libraries were built without it.
    #[error("this build of FFmpeg cannot decode {0}; install a complete FFmpeg")]
    NoDecoder(Codec),
    /// None of the known H.264 encoders opened and gave a picture.
    #[error("no H.264 encoder works here ({tried}); install FFmpeg with libx264 or libopenh264")]
    NoEncoder { tried: String },
    /// The libraries lack a whole kind of input.
    #[error("this build of FFmpeg has no {0} input; install a complete FFmpeg with its devices")]
    NoInput(&'static str),
    /// Bytes that do not decode. The next access unit may.
    #[error("damaged {0} data")]
    Damaged(&'static str),
    /// The picture sizes are zero or beyond what the libraries take.
    #[error("a picture of {width}x{height} cannot be handled")]
    Size { width: u32, height: u32 },
    /// The operating system's own error, from opening or reading a device.
    #[error("{doing}: {error}")]
    Os { doing: &'static str, error: io::Error },
    /// Any other refusal of the libraries.
    #[error("{doing}: {reason}")]
    Refused { doing: &'static str, reason: String },
}

impl AvError {
    /// Sorts an error of the libraries; `doing` is what was tried, in a few words.
    pub(crate) fn from_av(doing: &'static str, error: ffmpeg_next::Error) -> Self {
        match error {
            ffmpeg_next::Error::InvalidData => Self::Damaged(doing),
            ffmpeg_next::Error::Other { errno } => Self::Os {
                doing,
                error: io::Error::from_raw_os_error(errno),
            },
            other => Self::Refused {
                doing,
                reason: other.to_string().to_lowercase(),
            },
        }
    }
    /// The system's error number, where there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Os { error, .. } => error.raw_os_error(),
            _ => None,
        }
    }
}
