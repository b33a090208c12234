//! One connection, to whichever database: SQLite in the data directory, or PostgreSQL.
//!
//! Both get the same statements, with `$1`, `$2` ... for values. All whole numbers are 64 bits (flags too), bytes are
//! BLOB or BYTEA. What differs between the two is in this file, in the migrations and in `purge`. Not here: which
//! statements (everybody else), where the database is (`store`).

use std::io;
use std::time::Duration;

use futures::TryStreamExt;
use sqlx::Connection;
use sqlx::Postgres;
use sqlx::Row as _;
use sqlx::Sqlite;
use sqlx::postgres::PgConnection;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteConnection;
use sqlx::sqlite::SqliteRow;

/// How long a server may say nothing. One that works ends each statement within a minute (`statement_timeout`), so this
/// one is gone, or what is between us is. The connection is of no use afterwards.
const ANSWER: Duration = Duration::from_secs(75);

/// What a server answers, if it does.
pub(super) async fn answer<T>(asked: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    let answered = tokio::time::timeout(patience(), asked).await;
    answered.unwrap_or_else(|_| {
        let silent = io::Error::new(io::ErrorKind::TimedOut, "the server does not answer");
        Err(sqlx::Error::Io(silent))
    })
}

#[cfg(not(test))]
fn patience() -> Duration {
    ANSWER
}

#[cfg(test)]
fn patience() -> Duration {
    PATIENCE.get()
}

#[cfg(test)]
std::thread_local! {
    /// For a test that runs on one thread.
    pub(super) static PATIENCE: std::cell::Cell<Duration> = const { std::cell::Cell::new(ANSWER) };
}

/// A connection.
pub(super) enum Db {
    Sqlite(Box<SqliteConnection>),
    Postgres(Box<PgConnection>),
}

/// A value of a statement.
#[derive(Clone, Copy)]
pub(super) enum Value<'v> {
    Int(i64),
    MaybeInt(Option<i64>),
    Text(&'v str),
    MaybeText(Option<&'v str>),
    Bytes(&'v [u8]),
    MaybeBytes(Option<&'v [u8]>),
}

/// One row of an answer; columns count from 0.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// A statement with its values.
macro_rules! bound {
    ($database:ty, $sql:expr, $values:expr) => {{
        let mut query = sqlx::query::<$database>($sql);
        for value in $values {
            query = match *value {
                Value::Int(n) => query.bind(n),
                Value::MaybeInt(n) => query.bind(n),
                Value::Text(text) => query.bind(text),
                Value::MaybeText(text) => query.bind(text),
                Value::Bytes(bytes) => query.bind(bytes),
                Value::MaybeBytes(bytes) => query.bind(bytes),
            };
        }
        query
    }};
}

impl Db {
    /// Runs a statement; the number of rows that it changed.
    pub(super) async fn execute(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<u64, sqlx::Error> {
        Ok(match self {
            Self::Sqlite(c) => bound!(Sqlite, sql, values)
                .execute(&mut **c)
                .await?
                .rows_affected(),
            Self::Postgres(c) => answer(bound!(Postgres, sql, values).execute(&mut **c))
                .await?
                .rows_affected(),
        })
    }

    /// Gives the rows of an answer one by one: what the database makes of a row is ten times what we keep of it.
    pub(super) async fn each(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
        mut take: impl FnMut(&Row) -> Result<(), sqlx::Error> + Send,
    ) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(c) => {
                let mut rows = bound!(Sqlite, sql, values).fetch(&mut **c);
                while let Some(row) = rows.try_next().await? {
                    take(&Row::Sqlite(row))?;
                }
            }
            Self::Postgres(c) => {
                let mut rows = bound!(Postgres, sql, values).fetch(&mut **c);
                while let Some(row) = answer(rows.try_next()).await? {
                    take(&Row::Postgres(row))?;
                }
            }
        }
        Ok(())
    }

    /// The first row of an answer.
    pub(super) async fn first(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Option<Row>, sqlx::Error> {
        Ok(match self {
            Self::Sqlite(c) => bound!(Sqlite, sql, values)
                .fetch_optional(&mut **c)
                .await?
                .map(Row::Sqlite),
            Self::Postgres(c) => answer(bound!(Postgres, sql, values).fetch_optional(&mut **c))
                .await?
                .map(Row::Postgres),
        })
    }

    /// The number that an answer is; 0 when it has no row.
    pub(super) async fn number(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<i64, sqlx::Error> {
        let row = self.first(sql, values).await?;
        row.map_or(Ok(0), |row| row.int(0))
    }

    /// Begins a transaction that writes. It ends with [`Self::commit`], or with the connection: after an error, let
    /// the connection go.
    pub(super) async fn begin_writing(&mut self) -> Result<(), sqlx::Error> {
        let sql = match self {
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
            Self::Postgres(_) => "BEGIN",
        };
        self.execute(sql, &[]).await.map(drop)
    }

    /// Begins a transaction that sees one moment of the database, and writes nothing.
    pub(super) async fn begin_reading(&mut self) -> Result<(), sqlx::Error> {
        let sql = match self {
            Self::Sqlite(_) => "BEGIN",
            Self::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        self.execute(sql, &[]).await.map(drop)
    }

    /// Makes a transaction true.
    pub(super) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        self.execute("COMMIT", &[]).await.map(drop)
    }

    /// Ends the connection.
    pub(super) async fn close(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(c) => c.close().await,
            Self::Postgres(c) => answer(c.close()).await,
        }
    }

    /// Whether it is SQLite.
    pub(super) fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }
}

/// Reads one column, of either database.
macro_rules! column {
    ($row:expr, $n:expr) => {
        match $row {
            Row::Sqlite(row) => row.try_get($n),
            Row::Postgres(row) => row.try_get($n),
        }
    };
}

impl Row {
    pub(super) fn int(&self, n: usize) -> Result<i64, sqlx::Error> {
        column!(self, n)
    }
    pub(super) fn maybe_int(&self, n: usize) -> Result<Option<i64>, sqlx::Error> {
        column!(self, n)
    }
    /// A count, which is never negative.
    pub(super) fn count(&self, n: usize) -> Result<u64, sqlx::Error> {
        self.int(n).map(i64::unsigned_abs)
    }
    pub(super) fn flag(&self, n: usize) -> Result<bool, sqlx::Error> {
        self.int(n).map(|n| n != 0)
    }
    pub(super) fn text(&self, n: usize) -> Result<&str, sqlx::Error> {
        column!(self, n)
    }
    /// Sixteen bytes, where there are that many.
    pub(super) fn id(&self, n: usize) -> Result<Option<[u8; 16]>, sqlx::Error> {
        let bytes: Option<&[u8]> = column!(self, n)?;
        Ok(bytes.and_then(|bytes| bytes.try_into().ok()))
    }
}

/// Statements that insert many rows, in the sizes in which they are used: one that is used again and again stays
/// prepared.
pub(super) struct Insert {
    columns: usize,
    statements: Vec<(usize, String)>,
}

impl Insert {
    /// Rows per statement. Few: SQLite keeps some hundred bytes per value for as long as a statement stays prepared, and
    /// the largest is used when many readers come at once, whose memory it would be.
    pub(super) const SIZES: [usize; 2] = [8, 1];

    /// `INSERT INTO table (columns) VALUES (...), (...) tail`.
    pub(super) fn new(table: &str, columns: &[&str], tail: &str) -> Self {
        let statement = |rows: usize| {
            let mut sql = format!("INSERT INTO {table} ({}) VALUES ", columns.join(", "));
            for row in 0..rows {
                let first = row * columns.len() + 1;
                let values: Vec<String> = (first..first + columns.len()).map(|n| format!("${n}")).collect();
                let comma = if row == 0 { "" } else { ", " };
                sql.push_str(&format!("{comma}({})", values.join(", ")));
            }
            sql.push(' ');
            sql.push_str(tail);
            (rows, sql)
        };
        Self {
            columns: columns.len(),
            statements: Self::SIZES.into_iter().map(statement).collect(),
        }
    }

    /// Inserts rows, whose values come one after the other.
    pub(super) async fn run(&'static self, db: &mut Db, values: &[Value<'_>]) -> Result<(), sqlx::Error> {
        let mut rest = values;
        for (rows, sql) in &self.statements {
            while rest.len() >= rows * self.columns {
                let (now, later) = rest.split_at(rows * self.columns);
                db.execute(sql, now).await?;
                rest = later;
            }
        }
        Ok(())
    }
}
