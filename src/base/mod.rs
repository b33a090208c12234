//! What every room needs and no room owns: time, tasks, a viewer's address that cannot be printed.
//!
//! Nothing here knows of video.

pub mod clock;
pub mod live;
pub mod locked;
pub mod master;
pub mod peer;
pub mod proxies;
pub mod raw;
pub mod seats;
pub mod tasks;
pub mod time;
pub mod tls;
pub mod whole;
pub mod why;
