//! The one task that writes.
//!
//! It takes what the recorder queued, as much as there is, and stores it in one transaction. Every two
//! seconds while anybody watches it notes that it is alive, looks whether the wall clock stepped, whether a view
//! reached ten seconds, and whether an hour is to be added up. When the store fails (a full disk, a lock, a file or a
//! server that vanished), what is not stored stays in memory and is tried again; beyond a bound the queue is left to
//! fill, and the recorder counts what does not fit. Video never waits for any of it. Here is what becomes of events;
//! `hours` adds up, `erasing` is about single sessions that somebody names, `trouble` says what fails.

mod erasing;
mod hours;
mod trouble;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::analytics::Store;
use crate::analytics::StoreError;
use crate::analytics::batch::Batch;
use crate::analytics::batch::Known;
use crate::analytics::batch::ROWS_AT_ONCE;
use crate::analytics::batch::Stored;
use crate::analytics::calendar;
use crate::analytics::db::Db;
use crate::analytics::db::Value;
use crate::analytics::firsts::Firsts;
use crate::analytics::firsts::Views;
use crate::analytics::leaves;
use crate::analytics::purge;
use crate::analytics::purge::Gone;
use crate::analytics::purge::Went;
use crate::analytics::recorder::Event;
use crate::analytics::recorder::QUEUE;
use crate::analytics::recorder::Sources;
use crate::analytics::single::Chosen;
use crate::analytics::single::Record;
use crate::analytics::tallies::Tally;
use crate::analytics::visits::Pool;
use crate::analytics::writer::trouble::Failing;
use crate::analytics::writer::trouble::Work;
use crate::telemetry::Metrics;

/// How often the run says that it is alive: what a `kill -9` can lose of the watch time of a session.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(2);

/// Sessions that are kept in memory while the store fails, some 400 bytes each. As many again fit the queue.
const MOST_UNSTORED: usize = 131_072;

/// Sessions per transaction.
const MOST_AT_ONCE: usize = 8_192;

/// How long the end of the program waits for the last transaction.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// A database that says nothing for so long is left.
const STUCK: Duration = Duration::from_secs(60);

/// Runs until `stop`, then stores everything and closes the store.
pub(super) async fn run(
    store: Store,
    mut queue: mpsc::Receiver<Event>,
    sources: Sources,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let mut writer = Writer::new(store, sources, metrics);
    // Before anything is taken: what is over since the last run is added up as it lay there.
    writer.beat().await;
    let mut tick = tokio::time::interval(HEARTBEAT);
    tick.reset(); // it has just beaten
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = tick.tick() => writer.beat().await,
            n = queue.recv_many(&mut batch, QUEUE), if writer.has_room() => {
                if n == 0 {
                    break;
                }
                writer.take(&mut batch).await;
            }
        }
    }
    queue.close();
    while queue.recv_many(&mut batch, QUEUE).await > 0 {
        writer.note(&mut batch);
    }
    writer.end().await;
}

struct Writer {
    store: Store,
    sources: Sources,
    metrics: Arc<Metrics>,
    db: Option<Db>,
    run: Option<Run>,
    /// Sessions that are open, or whose end is not stored.
    /// In trees, since these have less room to spare than tables.
    known: BTreeMap<[u8; 16], Known>,
    /// Those of them that changed.
    changed: BTreeSet<[u8; 16]>,
    firsts: Firsts,
    views: Views,
    /// What was counted and is not stored, by the hour's first second.
    tallies: HashMap<(i64, Tally), u64>,
    /// Sessions that are over, stored and added up, and wait for others like them.
    pool: Pool,
    flushes: Vec<oneshot::Sender<()>>,
    erasures: Vec<(Chosen, oneshot::Sender<Vec<[u8; 16]>>)>,
    looks: Vec<([u8; 16], oneshot::Sender<Option<Record>>)>,
    /// Sessions that were erased before their hour was added up.
    erased: HashSet<[u8; 16]>,
    failing: Failing,
    /// The first moment of the hours that were kept when hours were last added up.
    kept_from: Option<i64>,
    /// What was deleted and may still lie in a file.
    gone: Option<Gone>,
    /// How much that was.
    went: Went,
}

/// This run's row, and the file that it is in.
#[derive(Clone, Copy)]
struct Run {
    id: i64,
    started_ms: i64,
    file: Option<u64>,
}

impl Writer {
    fn new(store: Store, sources: Sources, metrics: Arc<Metrics>) -> Self {
        Self {
            store,
            sources,
            metrics,
            db: None,
            run: None,
            known: BTreeMap::new(),
            changed: BTreeSet::new(),
            firsts: Firsts::new(),
            views: Views::default(),
            tallies: HashMap::new(),
            pool: Pool::default(),
            flushes: Vec::new(),
            erasures: Vec::new(),
            looks: Vec::new(),
            erased: HashSet::new(),
            failing: Failing::default(),
            kept_from: None,
            gone: None,
            went: Went::default(),
        }
    }

    fn has_room(&self) -> bool {
        self.changed.len() < MOST_UNSTORED
    }

    fn now_ms(&self) -> i64 {
        self.sources.timeline.now_ms()
    }

    /// Stores what came. While the store fails, the next beat tries.
    async fn take(&mut self, batch: &mut Vec<Event>) {
        self.note(batch);
        let asked = !self.flushes.is_empty() || !self.erasures.is_empty() || !self.looks.is_empty();
        if !self.failing.at(Work::Storing) || asked {
            self.store().await;
        }
        self.erase().await;
        self.look().await;
    }

    fn note(&mut self, batch: &mut Vec<Event>) {
        for event in batch.drain(..) {
            match event {
                Event::Session(session) if session.is_done() => {}
                Event::Session(session) => {
                    session.taken();
                    let id = session.id;
                    if !self.known.contains_key(&id) {
                        self.views.begin(&session);
                        let known = Known {
                            firsts: self.firsts.of_beginning(&session),
                            session,
                            spans_done: 0,
                            viewed_ms: None,
                            ended: false,
                        };
                        self.known.insert(id, known);
                    }
                    self.note_service(id);
                    self.note_end(id);
                    self.changed.insert(id);
                }
                Event::Flush(done) => self.flushes.push(done),
                Event::Erase(chosen, done) => self.erasures.push((chosen, done)),
                Event::Look(id, done) => self.looks.push((id, done)),
            }
        }
        if self.sources.missed.swap(false, Ordering::AcqRel) {
            self.all_changed();
        }
    }

    /// What the end of a session tells, once.
    fn note_end(&mut self, id: [u8; 16]) {
        let Some(known) = self.known.get_mut(&id) else {
            return;
        };
        let session = Arc::clone(&known.session);
        if known.ended || session.course().ended.is_none() {
            return;
        }
        known.ended = true;
        let watched_ms = session.course().watched_ms();
        known.firsts |= self.firsts.of_end(&session, leaves::length_class(watched_ms));
        if let Some(at) = self.views.end(&session) {
            known.viewed_ms = Some(at);
        }
    }

    fn all_changed(&mut self) {
        let ids: Vec<[u8; 16]> = self.known.keys().copied().collect();
        for id in ids {
            if let Some(known) = self.known.get(&id) {
                known.session.taken();
            }
            self.note_service(id);
            self.note_end(id);
            self.changed.insert(id);
        }
    }

    /// What is due every [`HEARTBEAT`].
    async fn beat(&mut self) {
        if let Some(step) = self.sources.timeline.follow() {
            tracing::info!("The wall clock stepped. Sessions go on at the new time.");
            for known in self.known.values() {
                known.session.course().step(step);
            }
            self.all_changed();
        }
        self.note(&mut Vec::new());
        for (id, at) in self.views.look(self.now_ms()) {
            if let Some(known) = self.known.get_mut(&id) {
                known.viewed_ms = Some(at);
                self.changed.insert(id);
            }
        }
        self.take_tallies();
        self.leave_file_that_vanished().await;
        if !self.known.is_empty() || !self.tallies.is_empty() || self.db.is_none() {
            self.store().await;
        }
        let kept_from = calendar::kept_from(self.now_ms(), &self.store.options().time_zone);
        if self.db.is_some() && (self.kept_from != Some(kept_from) || self.gone.is_some()) {
            let done = self.add_up(kept_from).await;
            self.report(Work::AddingUp, done);
        }
    }

    /// Stores what changed, and answers who waits for that.
    async fn store(&mut self) {
        loop {
            self.leave_file_that_vanished().await;
            let done = tokio::time::timeout(STUCK, self.try_store()).await;
            let done = done.unwrap_or(Err(StoreError::Stuck));
            let failed = done.is_err();
            self.report(Work::Storing, done);
            if failed || self.changed.is_empty() {
                break;
            }
        }
        let unstored = self.changed.len();
        self.metrics
            .sessions_unstored
            .set(i64::try_from(unstored).unwrap_or(i64::MAX));
        for flush in self.flushes.drain(..) {
            flush.send(()).ok();
        }
    }

    /// One transaction of it.
    async fn try_store(&mut self) -> Result<(), StoreError> {
        self.connect().await?;
        let now_ms = self.now_ms();
        let (Some(db), Some(run)) = (&mut self.db, self.run) else {
            return Ok(());
        };
        // In the order of their random ids: rows do not lie as viewers came.
        let ids: Vec<[u8; 16]> = self.changed.iter().copied().take(MOST_AT_ONCE).collect();
        let mut stored = Vec::with_capacity(ids.len());
        db.begin_writing().await?;
        for ids in ids.chunks(ROWS_AT_ONCE) {
            let mut batch = Batch::default();
            for known in ids.iter().filter_map(|id| self.known.get(id)) {
                batch.add(known);
            }
            batch.store(db).await?;
            stored.append(&mut batch.stored);
        }
        for ((hour, (scope, kind, bucket)), n) in &self.tallies {
            let values = [
                Value::Int(*hour),
                Value::Text(scope),
                Value::Text(kind.name()),
                Value::Int(i64::try_from(*bucket).unwrap_or(i64::MAX)),
                Value::Int(i64::try_from(*n).unwrap_or(i64::MAX)),
            ];
            db.execute(ADD_TALLY, &values).await?;
        }
        let seen = [Value::Int(run.id), Value::Int(now_ms), Value::Int(run.started_ms)];
        let ours = db
            .execute(
                "UPDATE runs SET seen_ms = $2 WHERE id = $1 AND started_ms = $3",
                &seen,
            )
            .await?;
        if ours == 0 {
            // Tables that were emptied, or made anew, behind our back.
            self.run = None;
            return Err(StoreError::Replaced);
        }
        db.commit().await?;
        if self.file_vanished() {
            // What was just stored is in a file that nobody finds. The next try leaves it.
            return Ok(());
        }
        for Stored {
            id,
            spans_done,
            ended,
        } in stored
        {
            if ended {
                self.known.remove(&id).inspect(|known| known.session.set_done());
            } else if let Some(known) = self.known.get_mut(&id) {
                known.spans_done = spans_done;
            }
        }
        ids.iter().for_each(|id| {
            self.changed.remove(id);
        });
        self.tallies.clear();
        Ok(())
    }

    /// A connection, and a row of this run in the database that it leads to. Sessions that a former run left
    /// open are closed at the time it was last alive.
    async fn connect(&mut self) -> Result<(), StoreError> {
        if self.db.is_some() {
            return Ok(());
        }
        let mut db = self.store.writer().await?;
        let file = self.store.file_id();
        if self.run.is_some_and(|run| run.file != file) {
            self.run = None;
        }
        let known_there = match self.run {
            None => 0,
            Some(run) => {
                let values = [Value::Int(run.id), Value::Int(run.started_ms)];
                db.number(
                    "SELECT count(*) FROM runs WHERE id = $1 AND started_ms = $2",
                    &values,
                )
                .await?
            }
        };
        if known_there == 0 {
            let started_ms = self.now_ms();
            let id = begin_run(&mut db, started_ms).await?;
            self.run = Some(Run { id, started_ms, file });
            self.begin_anew();
        }
        self.db = Some(db);
        Ok(())
    }

    /// The database is another: nothing of what is known is in it.
    fn begin_anew(&mut self) {
        self.kept_from = None;
        self.firsts.forget();
        for known in self.known.values_mut() {
            known.spans_done = 0;
            known.firsts = self.firsts.of_beginning(&known.session);
            if known.ended {
                let watched_ms = known.session.course().watched_ms();
                known.firsts |= self
                    .firsts
                    .of_end(&known.session, leaves::length_class(watched_ms));
            }
        }
        self.changed.extend(self.known.keys());
    }

    /// Whether the file that this run writes to is no longer where it was.
    fn file_vanished(&self) -> bool {
        self.run.is_some_and(|run| self.store.file_id() != run.file)
    }

    /// The old connection is closed before a new one is opened: while closing, SQLite removes the WAL at
    /// the path, whosever it is.
    async fn leave_file_that_vanished(&mut self) {
        if self.db.is_none() || !self.file_vanished() {
            return;
        }
        tracing::warn!("The file of the session store is gone. A new one is begun.");
        if let Some(old) = self.db.take() {
            old.close().await.ok();
        }
        self.run = None; // the new file may get the old one's identity
    }

    /// Ends what is open, stores it and leaves the database tidy.
    async fn end(mut self) {
        let now = self.now_ms();
        for known in self.known.values() {
            known.session.course().end(now, true);
        }
        self.all_changed();
        self.take_tallies();
        let last = async {
            self.store().await;
            self.erase().await;
            if let (Some(mut db), Some(run)) = (self.db.take(), self.run) {
                db.execute("UPDATE runs SET ended = 1 WHERE id = $1", &[Value::Int(run.id)])
                    .await?;
                if db.is_sqlite() {
                    purge::sweep(&mut db).await?;
                }
                db.close().await?;
            }
            Ok::<(), sqlx::Error>(())
        };
        match tokio::time::timeout(LAST_WRITE, last).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "The session store was not closed well."),
            Err(_) => tracing::warn!("The session store did not close in time."),
        }
        if self.failing.at(Work::Storing) {
            let lost = self.known.len();
            tracing::error!(lost, "The session store failed to the end. Sessions are lost.");
        }
    }
}

const ADD_TALLY: &str = "
    INSERT INTO tallies (hour, scope, kind, bucket, n) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (kind, scope, hour, bucket) DO UPDATE SET n = tallies.n + excluded.n";

/// Closes what a former run left open and notes a new one.
async fn begin_run(db: &mut Db, now_ms: i64) -> Result<i64, sqlx::Error> {
    db.begin_writing().await?;
    let before = db.number("SELECT coalesce(max(id), 0) FROM runs", &[]).await?;
    let seen = db
        .number("SELECT seen_ms FROM runs WHERE id = $1", &[Value::Int(before)])
        .await?;
    for statement in [
        "UPDATE spans SET ended_ms = CASE WHEN started_ms > $1 THEN started_ms ELSE $1 END WHERE ended_ms IS NULL",
        "UPDATE sessions SET open = 0, cut = 1,
            ended_ms = coalesce((SELECT max(ended_ms) FROM spans WHERE session = sessions.id), $1),
            watched_ms = watched_ms + coalesce((
                SELECT CAST(sum(ended_ms - started_ms) AS BIGINT) FROM spans WHERE session = sessions.id), 0)
            WHERE open = 1",
    ] {
        db.execute(statement, &[Value::Int(seen)]).await?;
    }
    let again = Value::Int(i64::from(before > 0));
    let id = db
        .number(
            "INSERT INTO runs (started_ms, seen_ms, again) VALUES ($1, $1, $2) RETURNING id",
            &[Value::Int(now_ms), again],
        )
        .await?;
    db.commit().await?;
    Ok(id)
}
