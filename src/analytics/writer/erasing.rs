//! What somebody wants of single sessions that they can name: to see one, to have some erased.

use crate::analytics::single;
use crate::analytics::single::Chosen;
use crate::analytics::writer::Writer;

impl Writer {
    /// Deletes rows that somebody may have deleted.
    pub(super) async fn erase(&mut self) {
        for (chosen, done) in std::mem::take(&mut self.erasures) {
            let mut ended = self.end_those_of(&chosen);
            if !ended.is_empty() {
                self.store().await;
            }
            let mut gone = match self.erase_stored(&chosen).await {
                Ok(gone) => gone,
                Err(error) => {
                    // Nobody is told that it is done; who waits asks again.
                    self.report(Err(error.into()));
                    continue;
                }
            };
            ended.retain(|id| self.erased.insert(*id));
            gone.extend(ended);
            gone.extend(self.pool.forget_all(&chosen));
            done.send(gone).ok();
        }
    }

    /// Ends the sessions of viewers that are chosen: who took a consent back is not counted from then on.
    fn end_those_of(&mut self, chosen: &Chosen) -> Vec<[u8; 16]> {
        let now = self.now_ms();
        let theirs = self.known.iter();
        let theirs = theirs.filter(|(_, known)| chosen(&known.session.viewer.day_id()));
        let theirs: Vec<[u8; 16]> = theirs.map(|(id, _)| *id).collect();
        for id in &theirs {
            if let Some(known) = self.known.get(id) {
                known.session.course().end(now, true);
            }
            self.note_end(*id);
            self.changed.insert(*id);
        }
        theirs
    }

    /// What of them is in the store, or on its way there.
    async fn erase_stored(&mut self, chosen: &Chosen) -> Result<Vec<[u8; 16]>, sqlx::Error> {
        let Some(db) = &mut self.db else {
            return Ok(Vec::new());
        };
        let fresh = single::fresh(db, chosen).await?;
        let deleted = single::delete(db, chosen).await?;
        let mut gone: Vec<[u8; 16]> = fresh.difference(&self.erased).copied().collect();
        self.erased.extend(fresh);
        for id in deleted {
            self.gone = Some(self.gone.take().unwrap_or_default().and(id));
            gone.push(id);
        }
        Ok(gone)
    }

    /// Tells of single sessions, to who can name them.
    pub(super) async fn look(&mut self) {
        for (id, done) in std::mem::take(&mut self.looks) {
            let found = match &mut self.db {
                Some(_) if self.erased.contains(&id) => Ok(None),
                Some(db) => single::record(db, id).await,
                None => Ok(None),
            };
            let found = found.unwrap_or_else(|error| {
                self.report(Err(error.into()));
                None
            });
            done.send(found.or_else(|| self.pool.record(id))).ok();
        }
    }
}
