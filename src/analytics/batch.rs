//! What changed of some sessions, gathered first and then stored in few statements.
//!
//! A statement costs a trip to the database and back, much more than a row; so rows go many at a time, in the order
//! of their random numbers: that tells nothing of the order in which they came, and is quick to insert. All
//! statements can be repeated: what is stored already stays as it is. Not here: transactions, retries (`writer`).

use std::sync::Arc;
use std::sync::LazyLock;

use crate::analytics::db::Db;
use crate::analytics::db::Insert;
use crate::analytics::db::Value;
use crate::analytics::recorder::Session;
use crate::analytics::recorder::Span;
use crate::privacy::ClientClass;
use crate::privacy::Country;

/// A beginning is never changed: it may have been added up. Nor is a view that was.
static SESSIONS: LazyLock<Insert> = LazyLock::new(|| {
    Insert::new(
        "sessions",
        &[
            "id",
            "viewer",
            "path",
            "protocol",
            "transport",
            "client",
            "country",
            "machine",
            "started_ms",
            "firsts",
            "viewed_ms",
            "open",
            "ended_ms",
            "watched_ms",
            "cut",
        ],
        "ON CONFLICT (id) DO UPDATE SET firsts = excluded.firsts, open = excluded.open,
            viewed_ms = CASE WHEN sessions.viewed_ms < 0 THEN sessions.viewed_ms ELSE excluded.viewed_ms END,
            ended_ms = excluded.ended_ms, cut = excluded.cut, watched_ms = CASE WHEN excluded.open = 1
                THEN sessions.watched_ms ELSE excluded.watched_ms END",
    )
});

/// Here too: the part before a beginning may have been added up.
static SPANS: LazyLock<Insert> = LazyLock::new(|| {
    Insert::new(
        "spans",
        &["session", "number", "started_ms", "ended_ms"],
        "ON CONFLICT (session, number) DO UPDATE SET ended_ms = CASE
            WHEN excluded.ended_ms < spans.started_ms THEN spans.started_ms ELSE excluded.ended_ms END",
    )
});

/// Sessions of a batch: rows and their values are many times as large as what is known of a session, and more than one
/// statement takes at once is of no use.
pub(super) const ROWS_AT_ONCE: usize = Insert::SIZES[0];

/// A session as the writer knows it.
pub(super) struct Known {
    pub(super) session: Arc<Session>,
    /// How many of its spans are stored with their end.
    pub(super) spans_done: u16,
    /// For what its viewer came for the first time today.
    pub(super) firsts: i64,
    /// When it began a view, if it did.
    pub(super) viewed_ms: Option<i64>,
    /// Whether its end was noted.
    pub(super) ended: bool,
}

/// What holds of a session once the batch is stored.
pub(super) struct Stored {
    pub(super) id: [u8; 16],
    pub(super) spans_done: u16,
    pub(super) ended: bool,
}

/// Rows to store.
#[derive(Default)]
pub(super) struct Batch {
    sessions: Vec<Line>,
    spans: Vec<([u8; 16], i64, Span)>,
    /// In the order in which they were added.
    pub(super) stored: Vec<Stored>,
}

/// A row of `sessions`.
struct Line {
    session: Arc<Session>,
    /// `None` where the level keeps none.
    viewer: Option<[u8; 16]>,
    country: Option<Country>,
    firsts: i64,
    viewed_ms: Option<i64>,
    ended_ms: Option<i64>,
    watched_ms: i64,
    cut: bool,
}

impl Batch {
    /// Adds what is not stored of a session.
    pub(super) fn add(&mut self, known: &Known) {
        let session = &known.session;
        let course = session.course();
        let mut spans_done = known.spans_done;
        for (number, span) in (0_i64..).zip(&course.spans).skip(usize::from(known.spans_done)) {
            self.spans.push((session.id, number, *span));
            spans_done += u16::from(span.to_ms.is_some());
        }
        self.sessions.push(Line {
            session: Arc::clone(session),
            viewer: session.viewer.stored_id(),
            country: session.viewer.country(),
            firsts: known.firsts,
            viewed_ms: known.viewed_ms,
            ended_ms: course.ended.map(|end| end.at_ms),
            // Of open ones, the store itself adds up what it no longer has the spans of.
            watched_ms: if course.ended.is_some() {
                course.watched_ms()
            } else {
                0
            },
            cut: course.ended.is_some_and(|end| end.cut),
        });
        self.stored.push(Stored {
            id: session.id,
            spans_done,
            ended: course.ended.is_some(),
        });
    }

    /// Stores all rows. The caller has begun a transaction.
    pub(super) async fn store(&self, db: &mut Db) -> Result<(), sqlx::Error> {
        let values: Vec<Value<'_>> = self.sessions.iter().flat_map(Line::values).collect();
        SESSIONS.run(db, &values).await?;
        let values: Vec<Value<'_>> = self.spans.iter().flat_map(span_values).collect();
        SPANS.run(db, &values).await
    }
}

impl Line {
    fn values(&self) -> [Value<'_>; 15] {
        let session = &self.session;
        let client = session.viewer.client();
        [
            Value::Bytes(&session.id),
            Value::MaybeBytes(self.viewer.as_ref().map(|id| &id[..])),
            Value::Text(&session.path),
            Value::Text(session.protocol.name()),
            Value::Text(session.transport.name()),
            Value::Text(client.name()),
            Value::Text(self.country.as_ref().map_or("", Country::name)),
            Value::Int(i64::from(client.class() == ClientClass::Machine)),
            Value::Int(session.started_ms),
            Value::Int(self.firsts),
            Value::MaybeInt(self.viewed_ms),
            Value::Int(i64::from(self.ended_ms.is_none())),
            Value::MaybeInt(self.ended_ms),
            Value::Int(self.watched_ms),
            Value::Int(i64::from(self.cut)),
        ]
    }
}

fn span_values((session, number, span): &([u8; 16], i64, Span)) -> [Value<'_>; 4] {
    [
        Value::Bytes(session),
        Value::Int(*number),
        Value::Int(span.from_ms),
        Value::MaybeInt(span.to_ms),
    ]
}
