//! Still pictures of a path, newest only: what MJPEG streams and snapshots are made of.
//!
//! They are made while somebody asks and not otherwise: by capture from its decoded frames, else by
//! `egress::pictures` from the stream.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
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
    newest: watch::Sender<Option<Arc<Picture>>>,
    by_source: AtomicBool,
}

impl Pictures {
    pub(super) fn new() -> Self {
        Self {
            newest: watch::Sender::new(None),
            by_source: AtomicBool::new(false),
        }
    }
    /// Shows a new picture to all who wait.
    pub fn publish(&self, picture: Picture) {
        self.newest.send_replace(Some(Arc::new(picture)));
    }
    /// Forgets the newest picture: the next subscriber waits for a fresh one.
    pub fn clear(&self) {
        self.newest.send_replace(None);
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
    newest: watch::Receiver<Option<Arc<Picture>>>,
}

impl PictureReader {
    pub(super) fn new(path: Arc<Path>) -> Self {
        path.change_demand(|d| d.pictures += 1);
        let mut newest = path.pictures().newest.subscribe();
        newest.mark_changed();
        Self { path, newest }
    }
    /// The next picture that this reader has not had; pictures in between are skipped. `None`: no more
    /// will come.
    pub async fn next(&mut self) -> Option<Arc<Picture>> {
        loop {
            self.newest.changed().await.ok()?;
            if let Some(picture) = self.newest.borrow_and_update().clone() {
                return Some(picture);
            }
        }
    }
    /// The path whose pictures these are.
    pub fn path(&self) -> &Arc<Path> {
        &self.path
    }
}

impl Drop for PictureReader {
    fn drop(&mut self) {
        self.path.change_demand(|d| d.pictures -= 1);
        if self.path.demand().borrow().pictures == 0 {
            self.path.pictures().clear(); // an old picture must not greet the next one who asks
        }
    }
}
