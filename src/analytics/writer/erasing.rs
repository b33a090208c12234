//! What somebody wants of single sessions that they can name: to see one, to have some erased.

use crate::analytics::StoreError;
use crate::analytics::single;
use crate::analytics::single::Chosen;
use crate::analytics::single::Record;
use crate::analytics::writer::Writer;
use crate::analytics::writer::trouble::Work;

impl Writer {
    /// Deletes rows that somebody may have deleted. Nobody is told that it is done while something of it is left.
    pub(super) async fn erase(&mut self) {
        for (chosen, done) in std::mem::take(&mut self.erasures) {
            let mut ended = self.end_those_of(&chosen);
            if !ended.is_empty() {
                self.store().await;
            }
            let erased = self.erase_stored(&chosen).await;
            let (result, gone) = match erased {
                Ok(gone) => (Ok(()), Some(gone)),
                Err(error) => (Err(error), None),
            };
            self.report(Work::Single, result);
            let Some(mut gone) = gone.filter(|_| !self.waits(&chosen)) else {
                continue;
            };
            ended.retain(|id| self.erased.insert(*id));
            gone.extend(ended);
            gone.extend(self.pool.forget_all(&chosen));
            done.send(gone).ok();
        }
    }

    /// Whether a session that is chosen is not stored yet: its row will come.
    fn waits(&self, chosen: &Chosen) -> bool {
        let known = self.changed.iter().filter_map(|id| self.known.get(id));
        let mut sessions = known.map(|known| &known.session);
        sessions.any(|session| chosen(&session.id) || chosen(&session.viewer.day_id()))
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
    async fn erase_stored(&mut self, chosen: &Chosen) -> Result<Vec<[u8; 16]>, StoreError> {
        self.connect().await?;
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

    /// Tells of single sessions, to who can name them; nothing while that cannot be known.
    pub(super) async fn look(&mut self) {
        for (id, done) in std::mem::take(&mut self.looks) {
            let found = self.find(id).await;
            let (result, found) = match found {
                Ok(found) => (Ok(()), Some(found)),
                Err(error) => (Err(error), None),
            };
            self.report(Work::Single, result);
            let found = found.map(|found| found.or_else(|| self.pool.record(id)));
            // Of one that is not stored yet it is only known that it will be.
            let waits = self.changed.contains(&id) && !self.erased.contains(&id);
            if let Some(found) = found.filter(|found| found.is_some() || !waits) {
                done.send(found).ok();
            }
        }
    }

    async fn find(&mut self, id: [u8; 16]) -> Result<Option<Record>, StoreError> {
        self.connect().await?;
        match &mut self.db {
            Some(db) if !self.erased.contains(&id) => Ok(single::record(db, id).await?),
            _ => Ok(None),
        }
    }
}
