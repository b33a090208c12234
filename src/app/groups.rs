//! Groups of tasks, which end one after the other.

use std::time::Duration;

use crate::app::AppError;
use crate::app::signals::Signals;
use crate::base::clock::SharedClock;
use crate::base::tasks::Tasks;

/// How long all groups together may take to end, under the promised 5 s. None has a share of its own: the last writes of
/// the statistics may need most of it, when the others needed nothing.
const GRACE: Duration = Duration::from_millis(4_800);

/// What is stopped in turn.
#[derive(Default)]
pub(super) struct Groups {
    /// Accept loops, connections, renditions, pictures.
    pub(super) serving: Tasks,
    /// Cameras and test pictures.
    pub(super) sources: Tasks,
    /// The session store, last: it takes the final events.
    pub(super) analytics: Tasks,
    /// The audit trail, after it: it takes what all others did.
    pub(super) audit: Tasks,
}

impl Groups {
    /// Ends all in order. A second signal ends the waiting.
    pub(super) async fn drain(self, mut signals: Signals, clock: &SharedClock) -> Result<(), AppError> {
        tracing::info!("Ending. Another signal ends at once.");
        tokio::select! {
            all = self.in_order(clock) => if all { Ok(()) } else { Err(AppError::LeftBehind) },
            () = signals.ended() => {
                tracing::warn!("Ended at once. Sessions that are not stored are closed at the next start.");
                Err(AppError::LeftBehind)
            }
        }
    }

    /// True when all ended in time; the log names those that did not.
    async fn in_order(self, clock: &SharedClock) -> bool {
        let until = clock.now() + GRACE;
        let mut all = true;
        for (group, tasks) in [
            ("serving", self.serving),
            ("sources", self.sources),
            ("statistics", self.analytics),
            ("audit trail", self.audit),
        ] {
            let ended = tasks.shutdown(until.saturating_duration_since(clock.now())).await;
            if !ended {
                tracing::error!(group, "Did not end in time.");
            }
            all &= ended;
        }
        all
    }
}
