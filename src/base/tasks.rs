//! Every task and thread has an owner and is waited for at exit.
#![allow(
    clippy::disallowed_methods,
    reason = "this is the place the others are sent to"
)]

use std::io;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// A group of tasks that stop together.
#[derive(Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// A group with a tracker of its own, for a subsystem that is stopped and awaited in its turn.
    pub fn new() -> Self {
        Self::default()
    }
    /// A group that stops with its parent and can be stopped alone.
    pub fn child(&self) -> Self {
        Self {
            tracker: self.tracker.clone(),
            stop: self.stop.child_token(),
        }
    }
    /// Runs a task. It gets the group's token and must end soon after it is cancelled.
    pub fn spawn<F>(&self, name: &'static str, f: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = f(self.stop.clone()).instrument(tracing::debug_span!("task", name));
        self.tracker.spawn(task);
    }
    /// Runs one of thousands of tasks of a kind: without a name in the log, which each would have to keep.
    pub fn spawn_unnamed<F>(&self, f: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tracker.spawn(f(self.stop.clone()));
    }
    /// Runs a thread for work that blocks (libav). It must look at the token often enough to end soon.
    pub fn spawn_thread<F>(&self, name: &'static str, f: F) -> io::Result<()>
    where
        F: FnOnce(CancellationToken) + Send + 'static,
    {
        let stop = self.stop.clone();
        let token = self.tracker.token();
        std::thread::Builder::new().name(name.into()).spawn(move || {
            let _alive = token;
            f(stop);
        })?;
        Ok(())
    }
    /// The token that tells this group to stop.
    pub fn stopped(&self) -> CancellationToken {
        self.stop.clone()
    }
    /// Tells the group to stop; does not wait.
    pub fn stop(&self) {
        self.stop.cancel();
    }
    /// Stops the group. True when all ended in time; false tells the caller to go on anyway and say so.
    pub async fn shutdown(self, grace: Duration) -> bool {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(grace, self.tracker.wait()).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn shutdown_waits_for_tasks_and_threads() {
        let tasks = Tasks::new();
        tasks
            .child()
            .spawn("waits", |stop| async move { stop.cancelled().await });
        tasks
            .spawn_thread("waits", |stop| {
                while !stop.is_cancelled() {
                    std::thread::yield_now();
                }
            })
            .unwrap();
        assert!(tasks.shutdown(Duration::from_secs(10)).await);
    }

    #[tokio::test]
    async fn shutdown_says_so_when_a_task_does_not_end() {
        let tasks = Tasks::new();
        tasks.spawn("deaf", |_| std::future::pending());
        assert!(!tasks.shutdown(Duration::from_millis(10)).await);
    }
}
