//! Still pictures of a path, newest only: what MJPEG streams and snapshots are made of.
//!
//! They are made while somebody asks and not otherwise: by capture from its decoded frames, else by
//! `egress::pictures` from the stream.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::watch;

use crate::hub::path::Path;

/// One JPEG file.
#[derive(Clone, Debug)]
pub struct Picture {
    pub jpeg: Bytes,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// The newest picture of a path.
pub struct Pictures {
    newest: watch::Sender<Newest>,
    by_source: AtomicBool,
    made: AtomicBool,
    viewers: AtomicU32,
}

#[derive(Clone, Default)]
struct Newest {
    /// Counts pictures, so that a reader knows how many it skipped.
    number: u64,
    picture: Option<Arc<Picture>>,
}

impl Pictures {
    pub(super) fn new() -> Self {
        Self {
            newest: watch::Sender::default(),
            by_source: AtomicBool::new(false),
            made: AtomicBool::new(false),
            viewers: AtomicU32::new(0),
        }
    }
    /// Shows a new picture to all who wait.
    pub fn publish(&self, picture: Picture) {
        self.newest.send_modify(|newest| {
            newest.number += 1;
            newest.picture = Some(Arc::new(picture));
        });
    }
    /// Forgets the newest picture: the next reader of pictures waits for a fresh one.
    pub fn clear(&self) {
        self.newest.send_modify(|newest| newest.picture = None);
    }
    /// Readers that called [`PictureReader::count_as_viewer`].
    pub(super) fn viewers(&self) -> u32 {
        self.viewers.load(Ordering::Relaxed)
    }
    /// Makes the caller the one who makes pictures from the stream. False if somebody does already.
    pub fn take_making(&self) -> bool {
        !self.made.swap(true, Ordering::AcqRel)
    }
    /// Leaves the making to others.
    pub fn leave_making(&self) {
        self.made.store(false, Ordering::Release);
    }
    /// Whether the source makes pictures itself, as capture does.
    pub fn made_by_source(&self) -> bool {
        self.by_source.load(Ordering::Relaxed)
    }
    /// Says who makes the pictures.
    pub fn set_made_by_source(&self, yes: bool) {
        self.by_source.store(yes, Ordering::Relaxed);
    }
}

/// Somebody who wants pictures. While it lives, the path's demand counts it.
pub struct PictureReader {
    path: Arc<Path>,
    newest: watch::Receiver<Newest>,
    /// Number of the last picture that this reader had.
    had: Option<u64>,
    skipped: u64,
    viewer: bool,
}

impl PictureReader {
    pub(super) fn new(path: Arc<Path>) -> Self {
        path.change_demand(|d| d.pictures += 1);
        let mut newest = path.pictures().newest.subscribe();
        newest.mark_changed();
        Self {
            path,
            newest,
            had: None,
            skipped: 0,
            viewer: false,
        }
    }
    /// The next picture that this reader has not had; pictures in between are skipped. `None`: no more
    /// will come.
    pub async fn next(&mut self) -> Option<Arc<Picture>> {
        loop {
            self.newest.changed().await.ok()?;
            let newest = self.newest.borrow_and_update().clone();
            if let Some(picture) = newest.picture {
                let had = self.had.replace(newest.number);
                self.skipped += had.map_or(0, |had| newest.number.saturating_sub(had + 1));
                return Some(picture);
            }
        }
    }
    /// How many pictures this reader was too slow for since the last call.
    pub fn take_skipped(&mut self) -> u64 {
        std::mem::take(&mut self.skipped)
    }
    /// Somebody watches by this reader: [`crate::hub::PathSnapshot`] counts it. Snapshots and the operator's own
    /// previews are not watching.
    pub fn count_as_viewer(&mut self) {
        if !std::mem::replace(&mut self.viewer, true) {
            self.path.pictures().viewers.fetch_add(1, Ordering::Relaxed);
        }
    }
    /// The path whose pictures these are.
    pub fn path(&self) -> &Arc<Path> {
        &self.path
    }
}

impl Drop for PictureReader {
    fn drop(&mut self) {
        if self.viewer {
            self.path.pictures().viewers.fetch_sub(1, Ordering::Relaxed);
        }
        self.path.change_demand(|d| d.pictures -= 1);
        if self.path.demand().borrow().pictures == 0 {
            self.path.pictures().clear(); // an old picture must not greet the next one who asks
        }
    }
}
