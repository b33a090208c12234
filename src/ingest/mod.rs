//! Cameras, test pictures and sources that are pulled: everything that ends in a `hub::Publisher` of our own
//! making.
//!
//! What needs FFmpeg's libraries has a thread of its own, since they block. Not here:
//! publishers that come over the network (`egress::rtsp`), who watches, what a device is (`av::device`).

mod capture;
mod draw;
mod error;
mod feed;
mod finder;
mod modes;
mod pace;
mod passthrough;
pub mod pattern;
mod placeholder;
mod pull;
mod quirks;
mod source;
mod timeline;

use std::io;
use std::sync::Arc;

use crate::av::device;
use crate::av::device::Device;
use crate::base::clock::SharedClock;
use crate::base::tasks::Tasks;
use crate::hub::Hub;
use crate::hub::Path;
use crate::hub::PathName;
use crate::telemetry::Metrics;

pub use error::CameraError;
pub use pull::AddressError;
pub use pull::OptionError;
pub use pull::Options;
pub use pull::Pull;
pub use pull::PullError;
pub use pull::Transport;
pub use source::Ask;
pub use source::Format;
pub use source::Size;
pub use source::Source;
pub use source::SourceError;

/// What a source's threads share.
#[derive(Clone)]
pub(crate) struct Context {
    tasks: Tasks,
    hub: Arc<Hub>,
    clock: SharedClock,
    metrics: Arc<Metrics>,
    name: PathName,
    path: Arc<Path>,
}

/// Configures the path and starts its source, which goes on until `tasks` are stopped.
///
/// # Errors
/// When the system has no thread for it.
pub fn start(
    tasks: &Tasks,
    hub: &Arc<Hub>,
    clock: SharedClock,
    metrics: Arc<Metrics>,
    name: PathName,
    source: Source,
) -> io::Result<()> {
    let path = hub.configure(&name, &source.label());
    let context = Context {
        tasks: tasks.clone(),
        hub: Arc::clone(hub),
        clock,
        metrics,
        name,
        path,
    };
    match source {
        Source::Redirect(_) => Ok(()), // the RTSP server sends its readers away
        Source::Backchannel => Ok(()), // readers speak to the RTSP server
        Source::Publish => Ok(()),     // a publisher comes through the RTSP server
        Source::Pattern { ask } => tasks.spawn_thread("pattern", move |stop| {
            pattern::run(&context, &ask, &stop);
        }),
        Source::Webcam { device, ask } => tasks.spawn_thread("camera", move |stop| {
            capture::run(&context, device, &ask, &stop);
        }),
        Source::Pull(pulled) => {
            tasks.spawn("pull", move |stop| pull::run(context, *pulled, stop));
            Ok(())
        }
    }
}

/// The camera that `webcam:` means now; `None` without any. One that we may not open counts: its owner
/// should hear of that instead of seeing a test picture.
pub fn first_webcam() -> Option<Device> {
    finder::first(&device::list()).cloned()
}

#[cfg(test)]
mod tests;
