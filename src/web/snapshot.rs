//! `snapshot.jpg`: one picture, made when asked for, at the asked width.
//!
//! A snapshot is no session: nobody is counted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::Weak;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::sync::oneshot;

use crate::av::jpeg;
use crate::base::tasks::Tasks;
use crate::hub::Picture;
use crate::hub::PictureReader;
use crate::web::problem::Problem;
use crate::web::route;

/// Widths that can be asked for, pixels.
const WIDTHS: std::ops::RangeInclusive<u32> = 16..=3840;

/// Pictures that are made smaller at one time; the others wait for their turn.
const AT_ONCE: usize = 2;

/// Small pictures that are kept while the large ones they were made from are the newest.
const KEPT: usize = 16;

/// The asked width; `None` when none is asked for.
///
/// # Errors
/// When it is no number, or too small or too large to be meant.
pub(super) fn asked_width(query: Option<&str>) -> Result<Option<u32>, Problem> {
    let Some(text) = route::query_value(query, "width") else {
        return Ok(None);
    };
    let width = text.parse().ok().filter(|w| WIDTHS.contains(w));
    width.map(Some).ok_or_else(Problem::bad_width)
}

/// Makes snapshots, and remembers the last few that were made smaller.
pub(super) struct Snapshots {
    small: Mutex<VecDeque<Small>>,
    turns: Arc<Semaphore>,
    tasks: Tasks,
    patience: Duration,
}

struct Small {
    /// The picture it was made from, if that is still there; an allocation is not reused while this lives.
    from: Weak<Picture>,
    width: u32,
    jpeg: Bytes,
}

impl Snapshots {
    /// `patience` is how long a path may take for its first picture.
    pub(super) fn new(tasks: Tasks, patience: Duration) -> Self {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        Self {
            small: Mutex::default(),
            turns,
            tasks,
            patience,
        }
    }

    /// The newest picture, not wider than `width`; never scaled up.
    ///
    /// # Errors
    /// When none comes in time, or it cannot be made smaller.
    pub(super) async fn take(
        &self,
        mut pictures: PictureReader,
        width: Option<u32>,
    ) -> Result<Bytes, Problem> {
        let next = tokio::time::timeout(self.patience, pictures.next()).await;
        let picture = next.ok().flatten().ok_or_else(Problem::no_picture)?;
        match width {
            Some(width) if width < picture.width => self.resized(&picture, width).await,
            _ => Ok(picture.jpeg.clone()),
        }
    }

    async fn resized(&self, picture: &Arc<Picture>, width: u32) -> Result<Bytes, Problem> {
        if let Some(jpeg) = self.remembered(picture, width) {
            return Ok(jpeg);
        }
        let turns = Arc::clone(&self.turns);
        let turn = turns
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        if let Some(jpeg) = self.remembered(picture, width) {
            return Ok(jpeg); // somebody else asked for the same while we waited
        }
        let (done, made) = oneshot::channel();
        let large = picture.jpeg.clone();
        let spawned = self.tasks.spawn_thread("snapshot", move |_| {
            let _turn = turn;
            let _ = done.send(jpeg::resize(&large, width));
        });
        spawned.map_err(|_| Problem::not_resized())?;
        let small = made
            .await
            .ok()
            .and_then(Result::ok)
            .ok_or_else(Problem::not_resized)?
            .jpeg;
        self.remember(Small {
            from: Arc::downgrade(picture),
            width,
            jpeg: small.clone(),
        });
        Ok(small)
    }

    fn remembered(&self, picture: &Arc<Picture>, width: u32) -> Option<Bytes> {
        let small = self
            .small
            .lock()
            .expect("no panic happens while the lock is held");
        let same = |s: &&Small| s.width == width && std::ptr::eq(s.from.as_ptr(), Arc::as_ptr(picture));
        small.iter().find(same).map(|s| s.jpeg.clone())
    }

    fn remember(&self, new: Small) {
        let mut small = self
            .small
            .lock()
            .expect("no panic happens while the lock is held");
        small.retain(|s| s.from.strong_count() > 0);
        if small.len() >= KEPT {
            small.pop_front();
        }
        small.push_back(new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_width_is_a_number_in_range_or_a_problem() {
        assert_eq!(asked_width(None).unwrap(), None);
        assert_eq!(asked_width(Some("stats=off")).unwrap(), None);
        assert_eq!(asked_width(Some("width=16")).unwrap(), Some(16));
        assert_eq!(asked_width(Some("a&width=3840")).unwrap(), Some(3840));
        for bad in [
            "width=",
            "width=15",
            "width=3841",
            "width=-1",
            "width=1e3",
            "width=640px",
            "width=99999999999",
        ] {
            assert_eq!(
                asked_width(Some(bad)).unwrap_err().status,
                hyper::StatusCode::BAD_REQUEST,
                "{bad}"
            );
        }
    }
}
