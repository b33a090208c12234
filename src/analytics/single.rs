//! One session, for whoever can name it: what is kept of it, and that it goes.
//!
//! Of a session whose hour is not added up yet, the row stays until it is: its counts belong to the hour, and a report
//! that changed when somebody had a session erased would tell about that session. But it gets no row among
//! the `visits`, nobody is shown it any more, and with its hour it goes. Not here: who may ask (`rights`).

use std::collections::HashSet;

use crate::analytics::db::Db;
use crate::analytics::db::Row;
use crate::analytics::db::Value;
use crate::analytics::purge;

/// What is kept of one session. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub path: String,
    /// When it began; only the hour, once that was added up, and `None` where it is shared with the whole day.
    pub began: Option<i64>,
    /// Calendar day in days since 1970; `None` while its hour is not added up.
    pub day: Option<i64>,
    /// `rtsp` and so on, while its hour is not added up; as all below that is `None`, it is not kept any more.
    pub protocol: Option<String>,
    pub transport: Option<String>,
    /// The family of the player.
    pub client: Option<String>,
    pub country: Option<String>,
    /// Class of its length: see [`crate::analytics::query::length_limits`].
    pub length: Option<usize>,
    /// Whether a random number of its viewer is in the row.
    pub numbered: bool,
    /// Whether it lasts.
    pub open: bool,
}

/// The store fails: what is kept of a session cannot be told or erased now.
#[derive(Debug, thiserror::Error)]
#[error("what is kept of sessions cannot be told or erased now; try again later")]
pub struct NotNow;

/// Tells which numbers (of sessions, or of viewers) are to go.
pub type Chosen = Box<dyn Fn(&[u8; 16]) -> bool + Send + Sync>;

/// The row of a session, wherever it is.
pub(super) async fn record(db: &mut Db, id: [u8; 16]) -> Result<Option<Record>, sqlx::Error> {
    let id = [Value::Bytes(&id)];
    let fresh = db
        .first(
            "SELECT path, started_ms, protocol, transport, client, country, open,
                CAST(CASE WHEN viewer IS NULL THEN 0 ELSE 1 END AS BIGINT)
            FROM sessions WHERE id = $1",
            &id,
        )
        .await?;
    if let Some(row) = fresh {
        let text =
            |column| Ok::<_, sqlx::Error>(Some(row.text(column)?.to_owned()).filter(|t| !t.is_empty()));
        return Ok(Some(Record {
            path: row.text(0)?.to_owned(),
            began: Some(row.int(1)?.div_euclid(1000)),
            day: None,
            protocol: text(2)?,
            transport: text(3)?,
            client: text(4)?,
            country: text(5)?,
            length: None,
            numbered: row.flag(7)?,
            open: row.flag(6)?,
        }));
    }
    let visit = db
        .first(
            "SELECT path, hour, day, coalesce(client, ''), coalesce(country, ''), length,
                CAST(CASE WHEN viewer IS NULL THEN 0 ELSE 1 END AS BIGINT)
            FROM visits WHERE id = $1",
            &id,
        )
        .await?;
    visit.map(|row| of_visit(&row)).transpose()
}

fn of_visit(row: &Row) -> Result<Record, sqlx::Error> {
    let text = |column| Ok::<_, sqlx::Error>(Some(row.text(column)?.to_owned()).filter(|t| !t.is_empty()));
    Ok(Record {
        path: row.text(0)?.to_owned(),
        began: row.maybe_int(1)?,
        day: Some(row.int(2)?),
        protocol: None,
        transport: None,
        client: text(3)?,
        country: text(4)?,
        length: usize::try_from(row.int(5)?).ok(),
        numbered: row.flag(6)?,
        open: false,
    })
}

/// Sessions whose hour is not added up, and that are chosen by their own number or by their viewer's.
pub(super) async fn fresh(db: &mut Db, chosen: &Chosen) -> Result<HashSet<[u8; 16]>, sqlx::Error> {
    chosen_of(db, "SELECT id, viewer FROM sessions", chosen).await
}

/// Deletes rows that are chosen by their own number or by their viewer's; the numbers of those that went.
pub(super) async fn delete(db: &mut Db, chosen: &Chosen) -> Result<HashSet<[u8; 16]>, sqlx::Error> {
    let ids = chosen_of(db, "SELECT id, viewer FROM visits", chosen).await?;
    if ids.is_empty() {
        return Ok(ids);
    }
    db.begin_writing().await?;
    for id in &ids {
        db.execute("DELETE FROM visits WHERE id = $1", &[Value::Bytes(id)])
            .await?;
    }
    purge::visits_anew(db).await?;
    db.commit().await?;
    Ok(ids)
}

async fn chosen_of(
    db: &mut Db,
    rows: &'static str,
    chosen: &Chosen,
) -> Result<HashSet<[u8; 16]>, sqlx::Error> {
    let mut ids = HashSet::new();
    db.each(rows, &[], |row| {
        if let Some(id) = row.id(0)?
            && (chosen(&id) || row.id(1)?.is_some_and(|viewer| chosen(&viewer)))
        {
            ids.insert(id);
        }
        Ok(())
    })
    .await?;
    Ok(ids)
}
