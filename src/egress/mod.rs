//! Where readers attach and bytes leave. RTSP publishers arrive here too: an RTSP connection tells only in
//! its course which of the two it is.

pub mod pictures;
pub mod rtsp;
mod sealed;
pub mod ts;
