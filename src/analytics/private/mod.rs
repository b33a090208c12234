//! Numbers with noise, to be given away: differentially private counts of days that are over.
//!
//! The unit is a viewer-day, since a viewer has no name on the next day. Each viewer-day can change a table by a known
//! amount at most, its **sensitivity**, because what one viewer adds is bounded when it is counted: three paths, ten
//! sessions ([`BOUNDED_PATHS`], [`BOUNDED_SESSIONS`]). To each number of a table noise is added of which one step is
//! exp(-epsilon / sensitivity) times as likely (`laplace`). Which rows a table has does not depend on who was there:
//! all players of our table, all pairs of letters, all configured paths.
//!
//! What is done after the noise tells nothing more: numbers below zero become zero, and rows of countries are left out
//! where the number may be noise alone. Watch time is not given out, since nothing bounds what one viewer adds to it
//! in a day. Each table of a day is drawn once and costs a part of the day's budget (`ledger`). Not here: who asks.

mod laplace;
mod ledger;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::analytics::Protocol;
use crate::analytics::Store;
use crate::analytics::StoreError;
use crate::analytics::calendar::Day;
use crate::analytics::db::Value;
use crate::analytics::leaves::Dimension;
use crate::analytics::query;
use crate::analytics::query::Question;
use crate::analytics::query::Tier;
use crate::privacy::ClientClass;
use crate::privacy::ClientFamily;

use ledger::Ledger;
use ledger::Release;

pub use laplace::NoRandomness;
pub use laplace::OfSystem;
pub use laplace::Randomness;
pub use ledger::BUDGET;
pub use ledger::LedgerError;

/// Paths that count of one viewer in a day: the first ones.
pub const BOUNDED_PATHS: u32 = 3;
/// Sessions that count of one viewer in a day: the first ones.
pub const BOUNDED_SESSIONS: u32 = 10;

/// Days of one export.
const MOST_DAYS: i64 = 92;

/// How often a country in which nobody was may show up, in a day.
const GHOSTS: f64 = 0.05;

/// How much a release may tell of a viewer-day, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epsilon(pub(super) u32);

impl Epsilon {
    /// Reads `1`, `0.5`, `0.025`: more than 0, at most the budget of a day, three decimals.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || whole.len() > 3 || part.len() > 3 || !digits(whole) || !digits(part) {
            return None;
        }
        let thousandths = whole.parse::<u32>().ok()? * 1000 + format!("{part:0<3}").parse::<u32>().ok()?;
        (thousandths > 0 && thousandths <= BUDGET.0).then_some(Self(thousandths))
    }
    /// As a number, to be shown.
    pub fn value(self) -> f64 {
        f64::from(self.0) / 1000.0
    }
}

impl fmt::Display for Epsilon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.value())
    }
}

/// What can be given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Viewers.
    Total,
    /// Viewers of each configured path, of the first three that they watched.
    Path,
    /// Viewers by player.
    Client,
    /// Viewers by country.
    Country,
    /// Viewers by protocol.
    Protocol,
    /// Sessions on each configured path, the first ten of each viewer.
    Sessions,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Total,
        Self::Path,
        Self::Client,
        Self::Country,
        Self::Protocol,
        Self::Sessions,
    ];
    /// The name in the ledger and for who asks.
    pub fn name(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Path => "path",
            Self::Client => "client",
            Self::Country => "country",
            Self::Protocol => "protocol",
            Self::Sessions => "sessions",
        }
    }
    /// The table of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }
    /// By how much one viewer-day can change its numbers, added up.
    pub fn sensitivity(self) -> u32 {
        match self {
            // A viewer has one player and one country.
            Self::Total | Self::Client | Self::Country => 1,
            Self::Path => BOUNDED_PATHS,
            Self::Protocol => Protocol::ALL.len() as u32,
            Self::Sessions => BOUNDED_SESSIONS,
        }
    }
    /// What its numbers count.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            _ => "viewer_days",
        }
    }
    fn is_by_path(self) -> bool {
        matches!(self, Self::Path | Self::Sessions)
    }
    fn dimension(self) -> Dimension {
        match self {
            Self::Total => Dimension::All,
            Self::Client => Dimension::Client,
            Self::Country => Dimension::Country,
            Self::Protocol => Dimension::Protocol,
            Self::Path | Self::Sessions => Dimension::Bounded,
        }
    }
    /// Its rows, whoever was there.
    fn rows(self, paths: &[String]) -> Vec<String> {
        match self {
            Self::Total => vec![String::new()],
            Self::Path | Self::Sessions => paths.to_vec(),
            Self::Client => {
                let persons = ClientFamily::ALL
                    .iter()
                    .filter(|f| f.class() == ClientClass::Person);
                persons.map(|family| family.name().to_owned()).collect()
            }
            Self::Protocol => Protocol::ALL.map(|protocol| protocol.name().to_owned()).to_vec(),
            Self::Country => {
                let letters = || (b'A'..=b'Z').map(char::from);
                let codes = letters().flat_map(|a| letters().map(move |b| format!("{a}{b}")));
                codes
                    .chain(["local", "cgnat", "unknown"].map(str::to_owned))
                    .collect()
            }
        }
    }
}

/// What is wished.
#[derive(Clone, Debug)]
pub struct Wish {
    pub table: Table,
    /// What each day may cost.
    pub epsilon: Epsilon,
    /// As for [`Question::since`]; days that are over alone.
    pub since: Option<Timestamp>,
    /// As for [`Question::until`].
    pub until: Option<Timestamp>,
    /// Names of the configured paths. Others were chosen by publishers, and telling them would be telling of data.
    pub paths: Vec<String>,
    /// What time it is.
    pub now: SystemTime,
}

/// What may be given away.
#[derive(Clone, Debug, PartialEq)]
pub struct Export {
    pub table: Table,
    pub days: Vec<ExportedDay>,
}

/// A table of one day.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportedDay {
    pub date: Date,
    /// What it cost.
    pub epsilon: Epsilon,
    /// Whether it was given out before: the same numbers, at no further cost.
    pub again: bool,
    /// Nineteen of twenty numbers are at most so far from the truth.
    pub plus_minus: u32,
    /// Smaller numbers were left out; 0: none were.
    pub least: u32,
    /// Value and number; what was below zero is zero.
    pub rows: Vec<(String, u64)>,
}

/// Why nothing is given out.
#[derive(Debug, thiserror::Error)]
pub enum PrivateError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error("no day of this range is over; ask for yesterday or before")]
    NoDay,
    #[error("this range has more than {MOST_DAYS} days; ask for fewer at a time")]
    TooManyDays,
    #[error(
        "no paths are configured, and names that publishers chose are not given out; give them in [paths], or take \
         another table"
    )]
    NoPaths,
}

/// Draws what was not given out yet, and notes it.
///
/// # Errors
/// When a day's budget does not suffice: then nothing is given out of any day. When store, ledger or randomness fail.
pub async fn export(
    store: &Store,
    data_dir: &Path,
    wish: &Wish,
    from: &mut impl Randomness,
) -> Result<Export, PrivateError> {
    let zone = &store.options().time_zone;
    let days = days(store, wish)?;
    if wish.table.is_by_path() && wish.paths.is_empty() {
        return Err(PrivateError::NoPaths);
    }
    let (first, last) = (days[0], days[days.len() - 1]);
    let truth = truth(store, wish.table, first, last).await?;
    let mut ledger = Ledger::lock(data_dir)?;
    let mut fresh = Vec::new();
    for day in days
        .iter()
        .filter(|day| ledger.released(**day, wish.table).is_none())
    {
        let left = ledger.left(*day);
        if left < wish.epsilon {
            return Err(PrivateError::Ledger(LedgerError::Spent {
                date: Day::numbered(*day, zone).date().to_string(),
                budget: BUDGET,
                left,
                epsilon: wish.epsilon,
            }));
        }
        fresh.push(draw(*day, wish, &truth, from)?);
    }
    let drawn: Vec<i64> = fresh.iter().map(|release| release.day).collect();
    if !fresh.is_empty() {
        ledger.note(fresh)?;
    }
    let exported = days.iter().filter_map(|day| {
        let release = ledger.released(*day, wish.table)?;
        Some(exported(
            release,
            Day::numbered(*day, zone).date(),
            !drawn.contains(day),
        ))
    });
    Ok(Export {
        table: wish.table,
        days: exported.collect(),
    })
}

/// The days of a wish: those of the published tier.
fn days(store: &Store, wish: &Wish) -> Result<Vec<i64>, PrivateError> {
    let question = Question {
        since: wish.since,
        until: wish.until,
        path: None,
        tier: Tier::Published,
        now: wish.now,
    };
    let zone = &store.options().time_zone;
    let range = query::asked_range(&question, zone);
    if range.is_empty() {
        return Err(PrivateError::NoDay);
    }
    let (first, last) = (
        Day::of(range.start, zone).number,
        Day::of(range.end - 1, zone).number,
    );
    if last - first >= MOST_DAYS {
        return Err(PrivateError::TooManyDays);
    }
    Ok((first..=last).collect())
}

/// Numbers without noise, by day and row.
async fn truth(
    store: &Store,
    table: Table,
    first: i64,
    last: i64,
) -> Result<HashMap<(i64, String), u64>, StoreError> {
    let mut db = store.reader().await?;
    let mut truth = HashMap::new();
    let values = [
        Value::Text(table.dimension().name()),
        Value::Int(first),
        Value::Int(last),
    ];
    db.each(
        "SELECT day, scope, value, sessions, viewers FROM leaves WHERE dimension = $1 AND day BETWEEN $2 AND $3
            AND scope <> '*'",
        &values,
        |row| {
            let (scope, value) = (row.text(1)?, row.text(2)?);
            let count = match table {
                Table::Sessions => row.count(3)?,
                _ => row.count(4)?,
            };
            let name = if table.is_by_path() { scope } else { value };
            if table.is_by_path() != scope.is_empty() {
                truth.insert((row.int(0)?, name.to_owned()), count);
            }
            Ok(())
        },
    )
    .await?;
    db.close().await?;
    Ok(truth)
}

/// One table of one day, with noise in each of its rows.
fn draw(
    day: i64,
    wish: &Wish,
    truth: &HashMap<(i64, String), u64>,
    from: &mut impl Randomness,
) -> Result<Release, NoRandomness> {
    let (table, epsilon) = (wish.table, wish.epsilon);
    let width = u64::from(table.sensitivity()) * 1000;
    let least = least(table, epsilon);
    let mut rows = Vec::new();
    for name in table.rows(&wish.paths) {
        let noise = laplace::discrete_laplace(width, u64::from(epsilon.0), from)?;
        let key = (day, name);
        let count = truth.get(&key).copied().unwrap_or(0);
        let noisy = i64::try_from(count).unwrap_or(i64::MAX).saturating_add(noise);
        let noisy = u64::try_from(noisy).unwrap_or(0);
        if noisy >= u64::from(least) {
            rows.push((key.1, noisy));
        }
    }
    Ok(Release {
        day,
        table,
        epsilon,
        rows,
    })
}

fn exported(release: &Release, date: Date, again: bool) -> ExportedDay {
    ExportedDay {
        date,
        epsilon: release.epsilon,
        again,
        plus_minus: beyond(release.table, release.epsilon, 0.05),
        least: least(release.table, release.epsilon),
        rows: release.rows.clone(),
    }
}

/// Of countries there are hundreds, most of them with nobody: numbers that so many draws of noise make are left out.
fn least(table: Table, epsilon: Epsilon) -> u32 {
    match table {
        Table::Country => beyond(table, epsilon, 2.0 * GHOSTS / table.rows(&[]).len() as f64),
        _ => 0,
    }
}

/// The least distance from zero that noise reaches with no more than this probability.
fn beyond(table: Table, epsilon: Epsilon, probability: f64) -> u32 {
    let scale = f64::from(table.sensitivity()) / epsilon.value();
    (scale * (1.0 / probability).ln()).ceil().min(f64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epsilon_is_a_small_decimal_number() {
        for (text, thousandths) in [
            ("1", Some(1000)),
            ("0.5", Some(500)),
            ("0.025", Some(25)),
            ("1.000", Some(1000)),
            ("0.", None),
            ("0", None),
            ("1.001", None),
            ("-1", None),
            ("1e-3", None),
            (".5", None),
            ("0.0001", None),
            ("inf", None),
            ("", None),
            ("99999999999", None),
        ] {
            assert_eq!(Epsilon::parse(text), thousandths.map(Epsilon), "{text}");
        }
        assert_eq!(Epsilon(25).to_string(), "0.025");
    }

    #[test]
    fn rows_do_not_depend_on_who_was_there() {
        let paths = ["door".to_owned(), "yard".to_owned()];
        assert_eq!(Table::Total.rows(&paths), [""]);
        assert_eq!(Table::Path.rows(&paths), paths);
        assert_eq!(Table::Protocol.rows(&paths), ["rtsp", "mjpeg"]);
        assert_eq!(Table::Country.rows(&paths).len(), 26 * 26 + 3);
        assert!(Table::Client.rows(&paths).contains(&"VLC".to_owned()));
        for table in Table::ALL {
            assert_eq!(Table::named(table.name()), Some(table));
            assert!(table.sensitivity() > 0);
        }
    }

    #[test]
    fn more_noise_is_told_for_less_epsilon_and_more_sensitivity() {
        assert_eq!(beyond(Table::Total, BUDGET, 0.05), 3);
        assert_eq!(beyond(Table::Path, BUDGET, 0.05), 9, "three standard cases of it");
        assert_eq!(beyond(Table::Total, Epsilon(100), 0.05), 30);
        assert_eq!(least(Table::Total, BUDGET), 0);
        assert!(least(Table::Country, BUDGET) > 8);
    }
}
