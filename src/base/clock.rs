//! The only place that asks the system what time it is.
#![allow(
    clippy::disallowed_methods,
    reason = "this is the place the others are sent to"
)]

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use crate::base::time::NtpTime;

/// The system's two clocks: one that only goes forward, and the wall's.
pub trait Clock: Send + Sync + 'static {
    /// Monotonic time, for intervals and deadlines.
    fn now(&self) -> Instant;
    /// Wall time, for calendar days and sender reports.
    fn wall(&self) -> SystemTime;
    /// Wall time in the form that RTCP sender reports carry.
    fn ntp(&self) -> NtpTime {
        NtpTime::from_system_time(self.wall())
    }
}

/// A clock that everything shares.
pub type SharedClock = Arc<dyn Clock>;

/// The real clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl SystemClock {
    /// The real clock, as the shared value the rest of the program takes.
    pub fn shared() -> SharedClock {
        Arc::new(Self)
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub struct ManualClock(Mutex<(Instant, SystemTime)>);

impl ManualClock {
    /// A clock that stands at `wall`.
    pub fn new(wall: SystemTime) -> Arc<Self> {
        Arc::new(Self(Mutex::new((Instant::now(), wall))))
    }
    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        let mut t = self.0.lock().expect("no panic happens while the lock is held");
        t.0 += by;
        t.1 += by;
    }
    /// Moves the wall clock alone, as an administrator or NTP would.
    pub fn set_wall(&self, wall: SystemTime) {
        self.0.lock().expect("no panic happens while the lock is held").1 = wall;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        self.0.lock().expect("no panic happens while the lock is held").0
    }
    fn wall(&self) -> SystemTime {
        self.0.lock().expect("no panic happens while the lock is held").1
    }
}

/// Waits until this instant; for ever, if there is none.
pub async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
