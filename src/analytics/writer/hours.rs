//! Hours that are over become leaves, and what is deleted then is proven to be gone.

use std::collections::HashSet;
use std::sync::Arc;

use crate::analytics::StoreError;
use crate::analytics::calendar::Day;
use crate::analytics::closed;
use crate::analytics::days;
use crate::analytics::purge;
use crate::analytics::purge::Bytes;
use crate::analytics::purge::Gone;
use crate::analytics::purge::Purged;
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
            let (gone, mut went) = purge::expire(db, &options.keep, zone, now_ms, canary).await?;
            db.commit().await?;
            for path in told.residual {
                self.sources.tallies.add(&path, Kind::Residual, 0, 1);
            }
            self.pool = pool;
            for row in over.iter().filter(|row| row.ended.is_some()) {
                self.erased.remove(&row.id);
            }
            went.sessions = over.len() as u64;
            let viewers: HashSet<[u8; 16]> = over
                .iter()
                .filter(|row| !row.machine)
                .map(|row| row.viewer)
                .collect();
            went.viewers = viewers.len() as u64;
            self.went = self.went.and(went);
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
                    let bytes = self.prove(gone).await;
                    self.tell_purge(bytes);
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
                self.tell_purge(Bytes::NotWrittenAnew);
            }
        }
        Ok(())
    }

    /// Of how many viewers it is known how they are served: each counts once a day, for all paths and for each.
    pub(super) fn note_service(&mut self, id: [u8; 16]) {
        let Some(known) = self.known.get(&id) else {
            return;
        };
        let session = Arc::clone(&known.session);
        let served = session.take_served();
        for (kind, viewers) in Kind::OF_VIEWERS
            .into_iter()
            .filter(|(kind, _)| served & kind.mark() != 0)
        {
            let [everywhere, here] = self.firsts.of_service(&session, kind.mark());
            for (scope, _) in [("", everywhere), (&*session.path, here)]
                .into_iter()
                .filter(|(_, is)| *is)
            {
                self.sources.tallies.add(scope, viewers, 0, 1);
            }
        }
    }

    /// Account is kept of what went, and of what should have and did not.
    fn tell_purge(&mut self, bytes: Bytes) {
        let rows = std::mem::take(&mut self.went).told(u64::from(self.store.options().k));
        if !rows.is_empty() || !bytes.are_gone() {
            (self.sources.purged)(Purged { rows, bytes });
        }
    }

    /// Looks whether what was deleted is gone.
    async fn prove(&self, gone: Gone) -> Bytes {
        let Some(file) = self.store.file() else {
            return Bytes::WrittenAnew;
        };
        let searched = tokio::task::spawn_blocking(move || {
            let wal = file.with_extension("db-wal");
            purge::scan(&[&file, &wal], &gone)
        });
        match searched.await {
            Ok(Ok(0)) => Bytes::Gone,
            Ok(Ok(found)) => {
                self.metrics.lose(Reason::NotGone, found as u64);
                tracing::error!(found, "Rows that were deleted still lie in the session store.");
                Bytes::Left(found as u64)
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "The session store could not be searched.");
                Bytes::NotSearched
            }
            Err(_) => Bytes::NotSearched,
        }
    }
}
