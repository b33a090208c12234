//! The one task that writes.
//!
//! It takes what the recorder queued, as much as there is, and stores it in one transaction. Every two
//! seconds while anybody watches it notes that it is alive, looks whether the wall clock stepped, and
//! whether a day is to be added up. When the store fails (a full disk, a lock, a file that vanished), what
//! is not stored stays in memory and is tried again; beyond a bound the queue is left to fill, and the
//! recorder counts what does not fit. Video never waits for any of it.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::analytics::Store;
use crate::analytics::StoreError;
use crate::analytics::batch::Batch;
use crate::analytics::batch::Known;
use crate::analytics::batch::Stored;
use crate::analytics::days;
use crate::analytics::leaves;
use crate::analytics::recorder::Event;
use crate::analytics::recorder::QUEUE;
use crate::analytics::recorder::Timeline;
use crate::telemetry::Metrics;
use crate::telemetry::Reason;

/// How often the run says that it is alive: what a `kill -9` can lose of the watch time of a session.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(2);

/// Sessions that are kept in memory while the store fails.
const MOST_UNSTORED: usize = 16_384;

/// How long the end of the program waits for the last transaction.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// Runs until `stop`, then stores everything and closes the store.
pub(super) async fn run(
    store: Store,
    mut queue: mpsc::Receiver<Event>,
    timeline: Arc<Timeline>,
    missed: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let mut writer = Writer::new(store, timeline, missed, metrics);
    let mut tick = tokio::time::interval(HEARTBEAT);
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
    timeline: Arc<Timeline>,
    missed: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
    connection: Option<SqliteConnection>,
    /// This run's row in the file of that identity.
    run: Option<(i64, Option<u64>)>,
    /// Sessions that are open, or whose end is not stored.
    known: HashMap<[u8; 16], Known>,
    /// Those of them that changed.
    changed: HashSet<[u8; 16]>,
    flushes: Vec<oneshot::Sender<()>>,
    failing: bool,
    /// The first moment of the days that were kept when days were last added up.
    kept_from: Option<i64>,
    wal_is_due: bool,
}

impl Writer {
    fn new(store: Store, timeline: Arc<Timeline>, missed: Arc<AtomicBool>, metrics: Arc<Metrics>) -> Self {
        Self {
            store,
            timeline,
            missed,
            metrics,
            connection: None,
            run: None,
            known: HashMap::new(),
            changed: HashSet::new(),
            flushes: Vec::new(),
            failing: false,
            kept_from: None,
            wal_is_due: false,
        }
    }

    fn has_room(&self) -> bool {
        self.changed.len() < MOST_UNSTORED
    }

    /// Stores what came. While the store fails, the next beat tries.
    async fn take(&mut self, batch: &mut Vec<Event>) {
        self.note(batch);
        if !self.failing || !self.flushes.is_empty() {
            self.store().await;
        }
    }

    fn note(&mut self, batch: &mut Vec<Event>) {
        for event in batch.drain(..) {
            match event {
                Event::Session(session) => {
                    session.taken();
                    let id = session.id;
                    self.known.entry(id).or_insert(Known {
                        session,
                        stored: false,
                        spans_done: 0,
                    });
                    self.changed.insert(id);
                }
                Event::Flush(done) => self.flushes.push(done),
            }
        }
        if self.missed.swap(false, Ordering::AcqRel) {
            self.all_changed();
        }
    }

    fn all_changed(&mut self) {
        for known in self.known.values() {
            known.session.taken();
        }
        self.changed.extend(self.known.keys());
    }

    /// What is due every [`HEARTBEAT`].
    async fn beat(&mut self) {
        if let Some(step) = self.timeline.follow() {
            tracing::info!("The wall clock stepped. Sessions go on at the new time.");
            for known in self.known.values() {
                known.session.course().step(step);
            }
            self.all_changed();
        }
        self.note(&mut Vec::new());
        self.leave_file_that_vanished().await;
        if !self.known.is_empty() || self.connection.is_none() {
            self.store().await;
        }
        let kept_from = leaves::kept_from(self.timeline.now_ms(), &self.store.options().time_zone);
        if self.connection.is_some() && (self.kept_from != Some(kept_from) || self.wal_is_due) {
            let done = self.add_up(kept_from).await;
            self.report(done);
        }
    }

    /// Days to leaves, and what was deleted out of the files.
    async fn add_up(&mut self, kept_from: i64) -> Result<(), StoreError> {
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        if self.kept_from != Some(kept_from) {
            let zone = &self.store.options().time_zone;
            self.wal_is_due |= days::add_up(connection, zone, self.timeline.now_ms()).await?;
            self.kept_from = Some(kept_from);
        }
        if self.wal_is_due {
            self.wal_is_due = !days::empty_wal(connection).await?;
        }
        Ok(())
    }

    /// Stores what changed, and answers who waits for that.
    async fn store(&mut self) {
        let done = self.try_store().await;
        self.report(done);
        for flush in self.flushes.drain(..) {
            flush.send(()).ok();
        }
    }

    async fn try_store(&mut self) -> Result<(), StoreError> {
        self.connect().await?;
        let (Some(connection), Some((run, _))) = (&mut self.connection, self.run) else {
            return Ok(());
        };
        let mut batch = Batch::default();
        for known in self.changed.iter().filter_map(|id| self.known.get(id)) {
            batch.add(known);
        }
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        batch.store(&mut tx).await?;
        sqlx::query("UPDATE runs SET seen_ms = $2 WHERE id = $1")
            .bind(run)
            .bind(self.timeline.now_ms())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        for Stored {
            id,
            spans_done,
            ended,
        } in batch.stored
        {
            if ended {
                self.known.remove(&id);
            } else if let Some(known) = self.known.get_mut(&id) {
                known.stored = true;
                known.spans_done = spans_done;
            }
        }
        self.changed.clear();
        Ok(())
    }

    /// A connection, and a row of this run in the file that it leads to. Sessions that a former run left
    /// open are closed at the time it was last alive.
    async fn connect(&mut self) -> Result<(), StoreError> {
        if self.connection.is_some() {
            return Ok(());
        }
        let mut connection = self.store.writer().await?;
        let file = self.store.file_id();
        if self.run.is_none_or(|(_, known_file)| known_file != file) {
            let run = begin_run(&mut connection, self.timeline.now_ms()).await?;
            self.run = Some((run, file));
            self.kept_from = None;
            for known in self.known.values_mut() {
                (known.stored, known.spans_done) = (false, 0);
            }
            self.changed.extend(self.known.keys());
        }
        self.connection = Some(connection);
        Ok(())
    }

    /// The old connection is closed before a new one is opened: while closing, SQLite removes the WAL at
    /// the path, whosever it is.
    async fn leave_file_that_vanished(&mut self) {
        let known_file = self.run.and_then(|(_, file)| file);
        if self.connection.is_none() || self.store.file_id() == known_file {
            return;
        }
        tracing::warn!("The file of the session store is gone. A new one is begun.");
        if let Some(old) = self.connection.take() {
            old.close().await.ok();
        }
        self.run = None; // the new file may get the old one's identity
    }

    /// Says once that the store fails, and once that it works again.
    fn report(&mut self, done: Result<(), StoreError>) {
        match done {
            Ok(()) if self.failing => {
                self.failing = false;
                tracing::info!("The session store works again.");
            }
            Ok(()) => {}
            Err(error) => {
                self.connection = None;
                self.metrics.lose(Reason::StoreFailed, 1);
                if !self.failing {
                    self.failing = true;
                    tracing::warn!(%error, "Sessions cannot be stored now. They are kept and tried again.");
                }
            }
        }
    }

    /// Ends what is open, stores it and leaves the file tidy.
    async fn end(mut self) {
        let now = self.timeline.now_ms();
        for known in self.known.values() {
            known.session.course().end(now);
        }
        self.all_changed();
        let last = async {
            self.store().await;
            if let (Some(mut connection), Some((run, _))) = (self.connection.take(), self.run) {
                sqlx::query("UPDATE runs SET ended = 1 WHERE id = $1")
                    .bind(run)
                    .execute(&mut connection)
                    .await?;
                days::empty_wal(&mut connection).await?;
                connection.close().await?;
            }
            Ok::<(), sqlx::Error>(())
        };
        match tokio::time::timeout(LAST_WRITE, last).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "The session store was not closed well."),
            Err(_) => tracing::warn!("The session store did not close in time."),
        }
    }
}

/// Closes what a former run left open and notes a new one.
async fn begin_run(connection: &mut SqliteConnection, now_ms: i64) -> Result<i64, sqlx::Error> {
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    for statement in [
        "UPDATE spans
            SET ended_ms = max(started_ms,
                coalesce((SELECT seen_ms FROM runs ORDER BY id DESC LIMIT 1), started_ms))
            WHERE ended_ms IS NULL",
        "UPDATE sessions SET open = 0 WHERE open = 1",
    ] {
        sqlx::query(statement).execute(&mut *tx).await?;
    }
    let run = sqlx::query_scalar(
        "INSERT INTO runs (started_ms, seen_ms, again)
        VALUES ($1, $1, EXISTS (SELECT 1 FROM runs)) RETURNING id",
    )
    .bind(now_ms)
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(run)
}
