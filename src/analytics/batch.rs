//! What changed of some sessions, gathered first and then stored in few statements.
//!
//! A statement costs a trip to SQLite's thread and back, much more than a row; so rows go many at a time. All
//! statements can be repeated: what is stored already stays as it is. Not here: transactions, retries
//! (`writer`).

use std::sync::Arc;

use sqlx::QueryBuilder;
use sqlx::Sqlite;
use sqlx::sqlite::SqliteConnection;

use crate::analytics::recorder::Session;
use crate::analytics::recorder::Span;
use crate::privacy::ClientClass;

/// Rows per statement. SQLite takes 32,766 values in one.
const ROWS: usize = 500;

/// A session as the writer knows it.
pub(super) struct Known {
    pub(super) session: Arc<Session>,
    /// Whether it has a row.
    pub(super) stored: bool,
    /// How many of its spans are stored with their end.
    pub(super) spans_done: usize,
}

/// What holds of a session once the batch is stored.
pub(super) struct Stored {
    pub(super) id: [u8; 16],
    pub(super) spans_done: usize,
    pub(super) ended: bool,
}

/// Rows to store.
#[derive(Default)]
pub(super) struct Batch {
    begun: Vec<Arc<Session>>,
    spans: Vec<([u8; 16], i64, Span)>,
    ended: Vec<[u8; 16]>,
    /// In the order in which they were added.
    pub(super) stored: Vec<Stored>,
}

impl Batch {
    /// Adds what is not stored of a session.
    pub(super) fn add(&mut self, known: &Known) {
        let session = &known.session;
        if !known.stored {
            self.begun.push(Arc::clone(session));
        }
        let course = session.course();
        let mut spans_done = known.spans_done;
        for (number, span) in (0_i64..).zip(&course.spans).skip(known.spans_done) {
            self.spans.push((session.id, number, *span));
            spans_done += usize::from(span.to_ms.is_some());
        }
        if course.ended {
            self.ended.push(session.id);
        }
        self.stored.push(Stored {
            id: session.id,
            spans_done,
            ended: course.ended,
        });
    }

    /// Stores all rows. The caller has begun a transaction.
    pub(super) async fn store(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        for sessions in self.begun.chunks(ROWS) {
            let statement = insert_sessions(sessions);
            run(statement, connection).await?;
        }
        for spans in self.spans.chunks(ROWS) {
            let statement = insert_spans(spans);
            run(statement, connection).await?;
        }
        for ids in self.ended.chunks(ROWS) {
            let statement = close_sessions(ids);
            run(statement, connection).await?;
        }
        Ok(())
    }
}

async fn run(
    mut statement: QueryBuilder<Sqlite>,
    connection: &mut SqliteConnection,
) -> Result<(), sqlx::Error> {
    // Not kept prepared: the next one has another number of rows.
    statement.build().persistent(false).execute(connection).await?;
    Ok(())
}

fn insert_sessions(sessions: &[Arc<Session>]) -> QueryBuilder<Sqlite> {
    let mut insert = QueryBuilder::new(
        "INSERT INTO sessions (id, viewer, path, protocol, transport, client, machine, started_ms, open) ",
    );
    insert.push_values(sessions, |mut row, session| {
        let client = session.viewer.client();
        row.push_bind(&session.id[..])
            .push_bind(session.viewer.stored_id().map(Vec::from))
            .push_bind(&*session.path)
            .push_bind(session.protocol.name())
            .push_bind(session.transport.name())
            .push_bind(client.name())
            .push_bind(client.class() == ClientClass::Machine)
            .push_bind(session.started_ms)
            .push("1");
    });
    insert.push(" ON CONFLICT (id) DO NOTHING");
    insert
}

fn insert_spans(spans: &[([u8; 16], i64, Span)]) -> QueryBuilder<Sqlite> {
    let mut insert = QueryBuilder::new("INSERT INTO spans (session, number, started_ms, ended_ms) ");
    insert.push_values(spans, |mut row, (session, number, span)| {
        row.push_bind(&session[..])
            .push_bind(*number)
            .push_bind(span.from_ms)
            .push_bind(span.to_ms);
    });
    // A beginning is never changed: the part before it may have been added up.
    insert.push(" ON CONFLICT (session, number) DO UPDATE SET ended_ms = max(excluded.ended_ms, started_ms)");
    insert
}

fn close_sessions(ids: &[[u8; 16]]) -> QueryBuilder<Sqlite> {
    let mut update = QueryBuilder::new("UPDATE sessions SET open = 0 WHERE id IN (");
    let mut list = update.separated(", ");
    for id in ids {
        list.push_bind(&id[..]);
    }
    update.push(")");
    update
}
