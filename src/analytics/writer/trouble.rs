//! What fails is said once, and once that it is over.
//!
//! For each kind of work by itself: where a right is missing, or the last room of a disk, one may fail for days while the
//! others go on, and the log is not to say in turns that the store fails and works.

use crate::analytics::StoreError;
use crate::analytics::writer::Writer;
use crate::telemetry::Reason;

/// What the writer does.
#[derive(Clone, Copy)]
pub(super) enum Work {
    /// Storing sessions: all that viewers and reports depend on.
    Storing,
    /// Adding up hours that are over, and making gone what is deleted then.
    AddingUp,
    /// Showing and erasing single sessions to who can name them.
    Single,
}

/// Which of it failed when it was last tried.
#[derive(Default)]
pub(super) struct Failing {
    storing: bool,
    adding_up: bool,
    single: bool,
}

impl Failing {
    /// Whether this work failed.
    pub(super) fn at(&self, work: Work) -> bool {
        match work {
            Work::Storing => self.storing,
            Work::AddingUp => self.adding_up,
            Work::Single => self.single,
        }
    }

    /// How it went now; whether that is news.
    fn note(&mut self, work: Work, fails: bool) -> bool {
        let last = match work {
            Work::Storing => &mut self.storing,
            Work::AddingUp => &mut self.adding_up,
            Work::Single => &mut self.single,
        };
        std::mem::replace(last, fails) != fails
    }
}

impl Writer {
    /// Says how work went, if that is news. After an error the connection is let go, and with it what was begun.
    pub(super) fn report(&mut self, work: Work, done: Result<(), StoreError>) {
        let news = self.failing.note(work, done.is_err());
        self.store.fails(self.failing.at(Work::Storing));
        match (done, work) {
            (Err(error), _) => {
                self.db = None;
                self.metrics.lose(Reason::StoreFailed, 1);
                if news {
                    say(work, &error);
                    if matches!(work, Work::AddingUp) {
                        self.metrics.lose(Reason::PurgeFailed, 1);
                    }
                }
            }
            (Ok(()), _) if !news => {}
            (Ok(()), Work::Storing) => tracing::info!("The session store works again."),
            (Ok(()), Work::AddingUp) => tracing::info!("Hours of sessions are added up again."),
            (Ok(()), Work::Single) => tracing::info!("Single sessions can be shown and erased again."),
        }
    }
}

fn say(work: Work, error: &StoreError) {
    match work {
        Work::Storing => {
            tracing::warn!(%error, "Sessions cannot be stored now. They are kept and tried again.");
        }
        Work::AddingUp => tracing::warn!(
            %error,
            "Hours that are over cannot be added up and deleted now. They stay and are tried again."
        ),
        Work::Single => {
            tracing::warn!(%error, "Single sessions cannot be shown or erased now. Erasing is tried again.");
        }
    }
}
