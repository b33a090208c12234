//! Cameras and test pictures: everything that ends in a `hub::Publisher` of our own making.
//!
//! Not here: publishers that come over the network (`egress::rtsp`), who watches, what a device is
//! (`av::device`).

mod error;
mod modes;
mod quirks;
mod source;
mod timeline;

pub use error::CameraError;
pub use source::Ask;
pub use source::Size;
pub use source::Source;
pub use source::SourceError;
