//! Where viewers' wishes meet the store, in the relay: what web and commands ask for, limited and noted.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::civil::Date;
use zeroize::Zeroizing;

use crate::analytics::Record;
use crate::analytics::Recorder;
use crate::audit::Action;
use crate::audit::Actor;
use crate::audit::Audit;
use crate::audit::Event;
use crate::audit::Purpose;
use crate::base::clock::SharedClock;
use crate::base::tasks::Tasks;
use crate::rights::Options;
use crate::rights::RightsError;
use crate::rights::budget::Budget;
use crate::rights::registry::Registry;
use crate::rights::share::Share;
use crate::rights::share::Shares;

/// How often it is looked whether something is to be erased.
const LOOK: Duration = Duration::from_secs(5);

/// Consents: so many at once, and then one in so long. Each takes a line of a file for years.
const CONSENTS: (u32, Duration) = (200, Duration::from_millis(500));
/// Receipts, links and withdrawals that are none of ours.
const WRONG: (u32, Duration) = (100, Duration::from_millis(100));
/// Questions that cost a look into the store.
const RIGHT: (u32, Duration) = (200, Duration::from_millis(20));

/// What can be done with consents, receipts and share links. Cheap to clone.
#[derive(Clone)]
pub struct Rights(Arc<Desk>);

struct Desk {
    registry: Arc<Registry>,
    shares: Shares,
    recorder: Recorder,
    audit: Audit,
    clock: SharedClock,
    consents: Budget,
    wrong: Budget,
    right: Budget,
    /// Whether something that has a tombstone may still be in the store, which failed when it was to be erased.
    owed: AtomicBool,
}

/// A consent that was given. No `Debug`: the token is its holder's.
pub struct Given {
    pub token: Zeroizing<String>,
    /// The last day on which it counts.
    pub until: Date,
}

impl Rights {
    /// Erases again what was erased before and is there again, and goes on to look for what commands erase.
    pub fn start(
        tasks: &Tasks,
        registry: Arc<Registry>,
        shares: Shares,
        recorder: Recorder,
        audit: Audit,
        clock: SharedClock,
    ) -> Self {
        let (consents, wrong, right) = (CONSENTS, WRONG, RIGHT);
        let rights = Self(Arc::new(Desk {
            registry,
            shares,
            recorder,
            audit,
            clock,
            consents: Budget::new(consents.0, consents.1),
            wrong: Budget::new(wrong.0, wrong.1),
            right: Budget::new(right.0, right.1),
            owed: AtomicBool::new(false),
        }));
        let desk = rights.clone();
        tasks.spawn("erasures", |stop| async move {
            desk.erase_again().await;
            loop {
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => desk.erase_news().await,
                    () = stop.cancelled() => return,
                }
            }
        });
        rights
    }

    /// What is in force.
    pub fn options(&self) -> &Options {
        self.0.registry.options()
    }

    /// The version of the notice that is in force, in hex.
    pub fn notice(&self) -> Arc<String> {
        self.0.registry.notice()
    }

    /// Does something with the operator's share links.
    ///
    /// # Errors
    /// Those of the work.
    pub async fn shares<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shares) -> Result<T, RightsError> + Send + 'static,
    ) -> Result<T, RightsError> {
        let shares = self.0.shares.clone();
        beside(move || work(&shares)).await
    }

    /// Gives a consent, for one path or for all.
    ///
    /// # Errors
    /// When consent is not asked for, too often, or it cannot be kept.
    pub async fn give(&self, path: Option<String>) -> Result<Given, RightsError> {
        let desk = &self.0;
        if !desk.consents.take(desk.clock.now()) {
            return Err(RightsError::TooMany);
        }
        let (token, until) = self
            .blocking(move |registry| registry.give(path.as_deref()))
            .await?;
        self.note(Action::ConsentGiven, 0);
        Ok(Given { token, until })
    }

    /// Takes a consent back, and erases what hangs on it: sessions of the days that are still kept, as far as their rows
    /// have a number. How many sessions that were; while the store fails, none yet: they go as soon as they can.
    ///
    /// # Errors
    /// When it is none of ours, or cannot be noted.
    pub async fn withdraw(&self, token: Zeroizing<String>) -> Result<usize, RightsError> {
        let done = self.blocking(move |registry| registry.withdraw(&token)).await;
        // Again and again: what the store could not erase the last time is tried again, and that is a look into it.
        if !self.limited(done)? && !self.0.right.take(self.0.clock.now()) {
            return Err(RightsError::TooMany);
        }
        let erased = self.erase_chosen().await;
        self.note(Action::ConsentWithdrawn, erased as u64);
        Ok(erased)
    }

    /// What is kept of the session that this is the receipt of.
    ///
    /// # Errors
    /// When it is none of ours, or nothing of that session is kept any more: nobody is told which. And while the store
    /// fails.
    pub async fn read(&self, receipt: &str) -> Result<Record, RightsError> {
        let session = self.0.registry.session(receipt).ok_or(RightsError::Unknown);
        let session = self.limited(session)?;
        if !self.0.right.take(self.0.clock.now()) {
            return Err(RightsError::TooMany);
        }
        let record = self.recorded(session).await?;
        let record = self.limited(record.ok_or(RightsError::Unknown))?;
        self.note(Action::ReceiptRead, 0);
        Ok(record)
    }

    /// Erases the session that this is the receipt of. Reports stay as they are.
    ///
    /// # Errors
    /// As [`Self::read`], and when it cannot be noted.
    pub async fn erase(&self, receipt: Zeroizing<String>) -> Result<(), RightsError> {
        let session = self.0.registry.session(&receipt).ok_or(RightsError::Unknown);
        let session = self.limited(session)?;
        if !self.0.right.take(self.0.clock.now()) {
            return Err(RightsError::TooMany);
        }
        let there = self.recorded(session).await?;
        self.limited(there.ok_or(RightsError::Unknown))?;
        self.blocking(move |registry| registry.erase(&receipt)).await?;
        if self.0.recorder.erase(session).await.is_err() {
            self.0.owed.store(true, Ordering::Release);
        }
        self.note(Action::ReceiptErased, 1);
        Ok(())
    }

    /// The report that this is a link to; that it was looked at is counted.
    ///
    /// # Errors
    /// When it is none of ours, over or revoked: nobody is told which. And when it cannot be read.
    pub async fn share(&self, token: Zeroizing<String>) -> Result<Share, RightsError> {
        let now = self.0.clock.wall();
        let share = self.shares(move |shares| shares.open(&token, now)).await;
        let share = self.limited(share.and_then(|share| share.ok_or(RightsError::Unknown)))?;
        if !self.0.right.take(self.0.clock.now()) {
            return Err(RightsError::TooMany);
        }
        self.shares(move |shares| {
            shares.count_view(&share);
            Ok(share)
        })
        .await
    }

    async fn recorded(&self, session: [u8; 16]) -> Result<Option<Record>, RightsError> {
        let record = self.0.recorder.record(session).await;
        record.map_err(|_| RightsError::NotNow)
    }

    /// What is none of ours costs a try. Who has a right one is let through whatever others try.
    fn limited<T>(&self, done: Result<T, RightsError>) -> Result<T, RightsError> {
        match done {
            Err(RightsError::Unknown) if !self.0.wrong.take(self.0.clock.now()) => Err(RightsError::TooMany),
            done => done,
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Registry) -> Result<T, RightsError> + Send + 'static,
    ) -> Result<T, RightsError> {
        let registry = Arc::clone(&self.0.registry);
        beside(move || work(&registry)).await
    }

    /// At the start: a backup may have been put back.
    async fn erase_again(&self) {
        let tidied = self
            .blocking(|registry| {
                let today = registry.today_number();
                Ok(registry.tombstones().tidy(today)?)
            })
            .await;
        if let Err(error) = tidied {
            tracing::warn!(%error, "What was erased before cannot be erased again.");
        }
        if !self.0.registry.tombstones().is_empty() {
            self.erase_chosen().await;
        }
    }

    /// While it runs: a command may have erased something, or the store could not when it should.
    async fn erase_news(&self) {
        let news = self
            .blocking(|registry| Ok(registry.tombstones().take_news()?))
            .await;
        let owed = self.0.owed.swap(false, Ordering::AcqRel);
        if owed || matches!(news, Ok(true)) {
            self.erase_chosen().await;
        }
        if let Err(error) = news {
            tracing::warn!(%error, "What commands erased cannot be read.");
        }
    }

    /// Those that were found by their viewer's number get tombstones of their own: rows lose that number after a day, and
    /// a backup may have them longer.
    async fn erase_chosen(&self) -> usize {
        let chosen = self.0.registry.tombstones().chosen();
        let Ok(gone) = self.0.recorder.erase_all(Box::new(chosen)).await else {
            self.0.owed.store(true, Ordering::Release);
            return 0;
        };
        let count = gone.len();
        let noted = self.blocking(move |registry| registry.bury(&gone)).await;
        if let Err(error) = noted {
            tracing::warn!(%error, "Sessions were erased, but a backup could bring them back.");
        }
        count
    }

    fn note(&self, action: Action, amount: u64) {
        let event = Event::new(Actor::Viewer, action, Purpose::Rights);
        self.0.audit.note(event.amount(amount));
    }
}

/// Files are read, written and synced beside the tasks that serve.
async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RightsError> + Send + 'static,
) -> Result<T, RightsError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or(Err(RightsError::File(io::ErrorKind::Interrupted)))
}
