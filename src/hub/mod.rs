//! The middle: names and paths, the ring of bursts, readers as cursors.
//!
//! Knows neither side: sources and publishers write through [`Publisher`], outputs read [`Stream`]s. It never
//! waits for a reader.

pub mod burst;
mod name;
mod oversize;
mod path;
mod picture;
mod publisher;
mod quality;
mod reader;
pub mod ring;
pub mod splice;
mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::RwLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::base::clock::SharedClock;
use crate::media::Description;
use crate::proto::rtp::srtp::MasterKey;
use crate::telemetry::Metrics;

pub use name::PathName;
pub use name::PathNameError;
pub use path::Attached;
pub use path::Demand;
pub use path::Path;
pub use path::PathSnapshot;
pub use path::PathState;
pub use picture::Picture;
pub use picture::PictureReader;
pub use picture::Pictures;
pub use publisher::Publisher;
pub use publisher::WriteError;
pub use quality::Figures;
pub use quality::Quality;
pub use quality::Reporter;
pub use reader::Next;
pub use reader::Reader;
pub use stream::Head;
pub use stream::Position;
pub use stream::Stream;

use path::Origin;
use quality::Reports;
use ring::Limits;
use stream::TrackClock;

const NOT_POISONED: &str = "no panic happens while the lock is held";
/// What feeds a path that is not configured.
const PUBLISHER: &str = "publisher";

/// Settings of the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What each stream's ring keeps.
    pub ring: Limits,
    /// Paths that publishers may open beside the configured ones.
    pub max_paths: usize,
    /// Largest RTP packet that our own packetizers make, bytes (1500 less IPv6 and UDP headers).
    pub max_payload: usize,
    /// What fewer readers than this report is shown to nobody.
    pub k: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ring: Limits::default(),
            max_paths: 1000,
            max_payload: 1452,
            k: 5,
        }
    }
}

/// Why a publisher was turned away.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PublishError {
    #[error("the path has a publisher already; end it first, or publish to another path")]
    AlreadyPublished,
    #[error("there are as many published paths as allowed; raise [limits] published_paths")]
    TooManyPaths,
    #[error("the stream has no track; announce at least one")]
    NoTracks,
    #[error("the system has no randomness to number the stream with")]
    NoRandomness,
}

/// All paths by name.
pub struct Hub {
    options: RwLock<Options>,
    clock: SharedClock,
    metrics: Arc<Metrics>,
    paths: RwLock<BTreeMap<PathName, Arc<Path>>>,
    streams: AtomicU64,
}

impl Hub {
    /// A hub without paths.
    pub fn new(options: Options, clock: SharedClock, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            options: RwLock::new(options),
            clock,
            metrics,
            paths: RwLock::default(),
            streams: AtomicU64::new(1),
        })
    }
    /// Makes a path that stays, with or without publisher. `source` is its label, without credentials.
    pub fn configure(self: &Arc<Self>, name: &PathName, source: &str) -> Arc<Path> {
        let mut paths = self.paths.write().expect(NOT_POISONED);
        if let Some(path) = paths.get(name) {
            if path.change_role(Origin::Configured, source) {
                return Arc::clone(path); // somebody publishes to it already
            }
            path.set_removed();
        }
        let path = Path::new(self, name.clone(), source.to_owned(), Origin::Configured);
        paths.insert(name.clone(), Arc::clone(&path));
        path
    }
    /// Takes a configured path away: its name is free again, its readers end with its source. Where somebody
    /// publishes it stays for as long as that goes on, as if it had not been configured.
    pub fn remove(&self, name: &str) {
        let Ok(name) = PathName::parse(name) else { return };
        let mut paths = self.paths.write().expect(NOT_POISONED);
        let Some(path) = paths.get(&name) else { return };
        if path.change_role(Origin::Published, PUBLISHER) && !path.is_idle() {
            return;
        }
        path.set_removed();
        paths.remove(&name);
    }
    /// The path of this name. Where that has no stream, the only one with a stream whose name differs in case
    /// alone: stock VLC lowercases its URLs.
    pub fn find(&self, name: &str) -> Option<Arc<Path>> {
        let paths = self.paths.read().expect(NOT_POISONED);
        let exact = PathName::parse(name).ok().and_then(|name| paths.get(&name));
        if let Some(path) = exact.filter(|path| path.stream().is_some()) {
            return Some(Arc::clone(path));
        }
        let alike: Vec<_> = paths
            .values()
            .filter(|p| p.name().as_str().eq_ignore_ascii_case(name))
            .collect();
        let mut flowing = alike.iter().filter(|path| path.stream().is_some());
        let found = match (flowing.next(), flowing.next(), exact) {
            (Some(only), None, _) => only,
            (_, _, Some(exact)) => exact,
            _ if alike.len() == 1 => alike[0],
            _ => return None,
        };
        Some(Arc::clone(found))
    }
    /// Begins a stream on a path; opens the path if it does not exist.
    ///
    /// # Errors
    /// When the path has a publisher, or there are too many paths or no tracks.
    pub fn publish(
        self: &Arc<Self>,
        name: &PathName,
        description: Description,
    ) -> Result<Publisher, PublishError> {
        if description.tracks.is_empty() {
            return Err(PublishError::NoTracks);
        }
        let stream = Arc::new(self.new_stream(description, None)?);
        let path = {
            let mut paths = self.paths.write().expect(NOT_POISONED);
            let path = self.path_to_publish(&mut paths, name)?;
            if !path.publisher_came(&stream) {
                return Err(PublishError::AlreadyPublished);
            }
            path
        };
        self.metrics.paths_ready.inc();
        Ok(Publisher::new(
            path,
            stream,
            Arc::clone(&self.clock),
            Arc::clone(&self.metrics),
        ))
    }
    /// Begins a stream that is made from a path's stream (a rendition). No list shows it.
    ///
    /// # Errors
    /// When there are no tracks, or no randomness.
    pub fn derive(
        self: &Arc<Self>,
        name: &PathName,
        description: Description,
    ) -> Result<Publisher, PublishError> {
        self.derive_with(name, description, None)
    }
    /// The same with packets that leave as SRTP and SRTCP, made once for all readers.
    ///
    /// # Errors
    /// When the system has no random numbers, or there are no tracks.
    pub fn derive_sealed(
        self: &Arc<Self>,
        name: &PathName,
        description: Description,
        key: &MasterKey,
    ) -> Result<Publisher, PublishError> {
        self.derive_with(name, description, Some(key))
    }
    fn derive_with(
        self: &Arc<Self>,
        name: &PathName,
        description: Description,
        seal: Option<&MasterKey>,
    ) -> Result<Publisher, PublishError> {
        let stream = Arc::new(self.new_stream(description, seal)?);
        let path = Path::new(self, name.clone(), "rendition".to_owned(), Origin::Derived);
        path.publisher_came(&stream);
        Ok(Publisher::new(
            path,
            stream,
            Arc::clone(&self.clock),
            Arc::clone(&self.metrics),
        ))
    }
    /// All paths as plain values, by name.
    pub fn snapshot(&self) -> Vec<PathSnapshot> {
        self.paths
            .read()
            .expect(NOT_POISONED)
            .values()
            .map(|p| p.snapshot())
            .collect()
    }
    /// Settings in force.
    pub fn options(&self) -> Options {
        self.options.read().expect(NOT_POISONED).clone()
    }
    /// Changes the settings. What streams keep stays as it was for those that flow.
    pub fn set_options(&self, options: Options) {
        *self.options.write().expect(NOT_POISONED) = options;
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        &self.clock
    }
    fn new_stream(&self, description: Description, seal: Option<&MasterKey>) -> Result<Stream, PublishError> {
        let mut random = vec![0; 16 + 6 * description.tracks.len()];
        getrandom::fill(&mut random).map_err(|_| PublishError::NoRandomness)?;
        let (cname, numbers) = random.split_at(16);
        let cname = cname.iter().map(|b| format!("{b:02x}")).collect();
        let clocks = (description.tracks.iter().zip(numbers.chunks_exact(6)))
            .map(|(track, n)| {
                let ssrc = u32::from_be_bytes([n[0], n[1], n[2], n[3]]);
                // Low, because stock VLC's satip access stalls when a packet is lost at the 16-bit wrap.
                let first_sequence = u16::from(n[4]) + 1;
                TrackClock::new(ssrc, track.rate, first_sequence)
            })
            .collect();
        let options = self.options();
        let id = self.streams.fetch_add(1, Ordering::Relaxed);
        Ok(Stream::new(
            id,
            description,
            options.ring,
            clocks,
            cname,
            Reports::new(options.k, self.clock.now()),
            seal,
        ))
    }
    fn path_to_publish(
        self: &Arc<Self>,
        paths: &mut BTreeMap<PathName, Arc<Path>>,
        name: &PathName,
    ) -> Result<Arc<Path>, PublishError> {
        if let Some(path) = paths.get(name) {
            return Ok(Arc::clone(path));
        }
        let published = paths.values().filter(|path| path.is_published()).count();
        if published >= self.options().max_paths {
            return Err(PublishError::TooManyPaths);
        }
        let path = Path::new(self, name.clone(), PUBLISHER.to_owned(), Origin::Published);
        paths.insert(name.clone(), Arc::clone(&path));
        Ok(path)
    }
    fn forget_idle(&self, name: &PathName) {
        let mut paths = self.paths.write().expect(NOT_POISONED);
        if paths.get(name).is_some_and(|p| p.is_idle()) {
            paths.remove(name);
        }
    }
}

#[cfg(test)]
mod tests;
