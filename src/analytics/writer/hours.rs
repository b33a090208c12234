//! Hours that are over become leaves, and what is deleted then is proven to be gone.

use crate::analytics::StoreError;
use crate::analytics::calendar::Day;
use crate::analytics::closed;
use crate::analytics::days;
use crate::analytics::purge;
use crate::analytics::purge::Gone;
use crate::analytics::purge::Swept;
use crate::analytics::tallies::Kind;
use crate::analytics::visits;
use crate::analytics::visits::Visit;
use crate::analytics::writer::Writer;
use crate::telemetry::Reason;

impl Writer {
    /// What was counted since, to the hour that it is now.
    pub(super) fn take_tallies(&mut self) {
        let (now, zone) = (self.now_ms(), &self.store.options().time_zone);
        let hour = Day::of(now, zone).hour_of(now).start / 1000;
        for (tally, n) in self.sources.tallies.take() {
            *self.tallies.entry((hour, tally)).or_default() += n;
        }
    }

    /// Hours to leaves, and what was deleted out of the files.
    pub(super) async fn add_up(&mut self, kept_from: i64) -> Result<(), StoreError> {
        let now_ms = self.now_ms();
        let Some(db) = &mut self.db else {
            return Ok(());
        };
        if self.kept_from != Some(kept_from) {
            let options = self.store.options();
            let zone = &options.time_zone;
            let canary = purge::plant(db).await?;
            db.begin_writing().await?;
            let over = days::add_up(db, zone, now_ms).await?;
            let mut pool = self.pool.clone();
            let kept = over.iter().filter(|row| !self.erased.contains(&row.id));
            let mut told = pool.add(kept.filter_map(|row| Visit::of(row, zone)));
            let today = Day::of(now_ms, zone).number;
            let k = usize::try_from(options.k).unwrap_or(usize::MAX);
            let shared = pool.tell(k, today);
            told.residual.extend(shared.residual);
            if options.keep.sessions_days > 0 {
                visits::store(db, &shared.rows).await?;
            }
            closed::close(db, Day::of(kept_from, zone).number, options.k).await?;
            let gone = purge::expire(db, &options.keep, zone, now_ms, canary).await?;
            db.commit().await?;
            for path in told.residual {
                self.sources.tallies.add(&path, Kind::Residual, 0, 1);
            }
            self.pool = pool;
            for row in over.iter().filter(|row| row.ended.is_some()) {
                self.erased.remove(&row.id);
            }
            self.gone = Some(gone);
            self.kept_from = Some(kept_from);
        }
        if self.gone.is_none() {
            return Ok(());
        }
        match purge::sweep(db).await? {
            Swept::Busy => {}
            Swept::Gone => {
                if let Some(gone) = self.gone.take() {
                    self.prove(gone).await;
                }
            }
            // The next hour tries again.
            Swept::NotOurs => {
                self.gone = None;
                self.metrics.lose(Reason::NotGone, 1);
                tracing::error!(
                    "Rows that were deleted still lie in PostgreSQL: tables of the schema louver belong to another \
                     role. Make the relay's role their owner."
                );
            }
        }
        Ok(())
    }

    /// Looks whether what was deleted is gone.
    async fn prove(&self, gone: Gone) {
        let Some(file) = self.store.file() else {
            return;
        };
        let searched = tokio::task::spawn_blocking(move || {
            let wal = file.with_extension("db-wal");
            purge::scan(&[&file, &wal], &gone)
        });
        match searched.await {
            Ok(Ok(0)) => {}
            Ok(Ok(found)) => {
                self.metrics.lose(Reason::NotGone, found as u64);
                tracing::error!(found, "Rows that were deleted still lie in the session store.");
            }
            Ok(Err(error)) => tracing::warn!(%error, "The session store could not be searched."),
            Err(_) => {}
        }
    }
}
