//! Where the database is: `louver.db` in the data directory (SQLite in WAL mode), or a PostgreSQL server.
//!
//! One process writes (a lock file or an advisory lock says so), any number read. Every connection to SQLite has
//! `secure_delete` on and keeps temporary tables in memory, so that what is deleted is gone and nothing lands in a
//! temporary file. In PostgreSQL the tables are in a schema of their own, `louver`. Statements are constants, never
//! logged; the password of the server is in no log and no error. Not here: what is written when (`writer`), what is
//! asked (`query`).

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::migrate::MigrateError;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::sqlite::SqliteError;
use sqlx::sqlite::SqliteJournalMode;
use sqlx::sqlite::SqliteSynchronous;

use crate::analytics::Options;
use crate::analytics::db::Db;
use crate::analytics::db::Value;
use crate::base::why::Why;

/// The tables, in the order in which they came to be.
static SQLITE: Migrator = sqlx::migrate!("src/analytics/migrations/sqlite");
/// The same for PostgreSQL.
static POSTGRES: Migrator = sqlx::migrate!("src/analytics/migrations/postgres");

/// How long a statement waits for another process that holds the file.
const BUSY: Duration = Duration::from_secs(2);
/// Pages of the file in memory, as SQLite has it (negative: in KiB). A batch of sessions touches few.
const CACHE: &str = "-512";

/// Locked by the relay that writes.
const LOCK: &str = "louver.lock";

/// The same in PostgreSQL: the number of the advisory lock, which is known to nobody else ("louver").
const LOCK_NUMBER: i64 = 0x6c6f_7576_6572;

/// How long a server may take to be there.
const CONNECT: Duration = Duration::from_secs(3);

/// How long its tables may take to be made or changed.
const TABLES: Duration = Duration::from_secs(300);

/// What every connection to PostgreSQL is told: where the tables are, that neither a lock nor a statement may hold us
/// up for ever, and that a relay whose machine went without a word holds the lock for half a minute and not for hours.
const SERVER_OPTIONS: [(&str, &str); 7] = [
    ("search_path", "louver"),
    ("lock_timeout", "2s"),
    ("statement_timeout", "60s"),
    ("idle_in_transaction_session_timeout", "60s"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "4"),
];

const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// As often, the lock of a server is asked for: it may have to notice that a relay which was killed is gone.
const SERVER_LOCK_TRIES: u32 = 50;

/// What a store is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The relay: makes the directory and the file, and is the only one.
    ReadWrite,
    /// Whoever asks, also while the relay runs.
    ReadOnly,
}

/// Why there are no statistics, or no more of them.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory cannot be made or written.
    #[error("the data directory {dir} cannot be used: {source}; choose another with --data-dir")]
    Directory { dir: PathBuf, source: io::Error },
    /// The file of the database cannot be made or opened, in a directory that can.
    #[error("{file} cannot be used ({why}); let this user read and write it", why = Why::from(.source))]
    File { file: PathBuf, source: io::Error },
    /// Another relay writes there.
    #[error(
        "the data directory {dir} is in use by another louver; stop it or choose another with --data-dir"
    )]
    InUse { dir: PathBuf },
    /// Nothing was ever recorded there.
    #[error("there are no statistics in {dir} yet; the relay makes them, with the same --data-dir")]
    Missing { dir: PathBuf },
    /// The tables are of another version, or not ours.
    #[error("the tables of {file} cannot be brought up to date: {source}; move the file away to start anew")]
    Tables { file: PathBuf, source: MigrateError },
    /// A file that was made by another program.
    #[error("{file} is not there, or is no database of Louver's; give a louver.db")]
    NotOurs { file: PathBuf },
    /// A file that no database can be made of.
    #[error(
        "{file} is no database, or a damaged one; put it back from a backup, or move it away to start anew"
    )]
    Damaged { file: PathBuf },
    /// Another relay writes to that server's database.
    #[error(
        "the statistics' database is in use by another louver; stop it, or give each its own database in [stats]"
    )]
    InUseThere,
    /// The tables on the server are of another version, or may not be made.
    #[error(
        "the tables in PostgreSQL cannot be brought up to date: {0}; look at the schema louver and its rights"
    )]
    TablesThere(MigrateError),
    /// What was written is no longer there.
    #[error("the tables of the session store were emptied or replaced; they are filled anew")]
    Replaced,
    /// No answer at all.
    #[error("the session store does not answer; look at its disk, or at the server")]
    Stuck,
    /// The database could not do what it was asked.
    #[error("the session store failed: {0}")]
    Database(#[from] sqlx::Error),
}

impl StoreError {
    /// Whether the same may work a moment later: the server is not there, or starts, or there is no room, or a right is
    /// missing that somebody will give. That another relay writes there is a mistake of whoever starts the second one.
    fn is_of_the_moment(&self) -> bool {
        match self {
            Self::Stuck | Self::File { .. } => true,
            Self::Database(error) => passes(error),
            Self::Tables { source, .. } | Self::TablesThere(source) => match source {
                MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => passes(error),
                _ => false,
            },
            _ => false,
        }
    }
}

fn passes(error: &sqlx::Error) -> bool {
    let error = match error {
        // A certificate that is none of the server's comes as data that are not valid.
        sqlx::Error::Io(error) => return error.kind() != io::ErrorKind::InvalidData,
        sqlx::Error::Database(error) => error,
        _ => return false,
    };
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<SqliteError>().is_some() {
        // The lowest byte is the kind: SQLITE_PERM, SQLITE_BUSY, SQLITE_READONLY, SQLITE_IOERR (also a disk without room for
        // the index of the WAL), SQLITE_FULL, SQLITE_CANTOPEN, SQLITE_AUTH.
        return code
            .parse::<u32>()
            .is_ok_and(|code| matches!(code & 0xff, 3 | 5 | 8 | 10 | 13 | 14 | 23));
    }
    // Classes of SQLSTATE: connections, who may connect, a database that is not there, resources, operators' intervention;
    // and a lock that somebody else holds, and a right that is missing.
    let classes = ["08", "28", "3D", "53", "57"];
    let class = classes.iter().any(|class| code.starts_with(class));
    class || code == LOCK_NOT_AVAILABLE || code == NO_RIGHT
}

/// What PostgreSQL says when a right is missing.
const NO_RIGHT: &str = "42501";

/// What PostgreSQL says when somebody else holds a table for longer than `lock_timeout`.
pub(super) const LOCK_NOT_AVAILABLE: &str = "55P03";

/// A PostgreSQL server and a database on it. Cheap to clone; its text and its password are shown nowhere.
#[derive(Clone)]
pub struct Server(Arc<PgConnectOptions>);

impl Server {
    /// Reads `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, with what libpq understands behind a `?`. What is missing
    /// comes from the environment, as for every program of PostgreSQL: `PGHOST`, `PGPASSWORD`, `PGPASSFILE` and so on.
    /// `sslmode=verify-full` demands TLS and a certificate of that host, by the system's authorities or `sslrootcert`.
    /// `None` when it is something else.
    pub fn parse(url: &str) -> Option<Self> {
        if !["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
        {
            return None;
        }
        Some(Self(Arc::new(url.parse().ok()?)))
    }

    fn connect_options(&self) -> PgConnectOptions {
        let options = PgConnectOptions::clone(&self.0).application_name("louver");
        options.options(SERVER_OPTIONS).disable_statement_logging()
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Server(..)")
    }
}

/// The statistics of one data directory, or of one server. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    place: Place,
    options: Options,
    /// The connection that `open` made, until the writer takes it.
    first: Mutex<Option<Db>>,
    /// Held for as long as the store, by the one who writes to SQLite.
    _lock: Option<File>,
    mode: Mode,
    /// Whether what was written last could not be stored.
    failing: AtomicBool,
}

/// Where it is.
enum Place {
    File { dir: PathBuf, file: PathBuf },
    Server(Box<PgConnectOptions>),
}

impl Store {
    /// Opens the store in `data_dir`, or on the server that the options name. To write, the directory and the file
    /// are made (for the owner alone) and the tables brought up to date. A server that cannot be reached now, a disk
    /// without room and a right that is missing are tried again later.
    ///
    /// # Errors
    /// When the directory cannot be used, another relay uses it or the server's database, there is nothing to read yet,
    /// or the tables are none of ours.
    pub async fn open(data_dir: &Path, mode: Mode, options: Options) -> Result<Self, StoreError> {
        let (place, lock) = match &options.database {
            Some(server) => (Place::Server(Box::new(server.connect_options())), None),
            None => Self::open_dir(data_dir, mode).await?,
        };
        let store = Self(Arc::new(Inner {
            place,
            options,
            first: Mutex::new(None),
            _lock: lock,
            mode,
            failing: AtomicBool::new(false),
        }));
        if mode == Mode::ReadWrite {
            match store.writer().await {
                Ok(first) => *store.first() = Some(first),
                Err(error) if error.is_of_the_moment() => {
                    tracing::warn!(%error, "The session store cannot be opened now. It is tried again.");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(store)
    }

    async fn open_dir(data_dir: &Path, mode: Mode) -> Result<(Place, Option<File>), StoreError> {
        let dir = data_dir.to_path_buf();
        let file = dir.join("louver.db");
        let lock = match mode {
            Mode::ReadWrite => {
                let in_dir = |source| StoreError::Directory {
                    dir: dir.clone(),
                    source,
                };
                make_dir(&dir).map_err(in_dir)?;
                Some(lock_dir(&dir).await?)
            }
            Mode::ReadOnly if !file.exists() => return Err(StoreError::Missing { dir }),
            Mode::ReadOnly => None,
        };
        Ok((Place::File { dir, file }, lock))
    }

    /// The settings it was opened with.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// Whether sessions cannot be stored now. They are kept in memory and tried again.
    pub fn is_failing(&self) -> bool {
        self.0.failing.load(Ordering::Acquire)
    }

    pub(super) fn fails(&self, failing: bool) {
        self.0.failing.store(failing, Ordering::Release);
    }

    /// The file, where it is one.
    pub(super) fn file(&self) -> Option<PathBuf> {
        match &self.0.place {
            Place::File { file, .. } => Some(file.clone()),
            Place::Server(_) => None,
        }
    }

    fn first(&self) -> std::sync::MutexGuard<'_, Option<Db>> {
        self.0
            .first
            .lock()
            .expect("no panic happens while the lock is held")
    }

    /// A connection that cannot write. Short-lived: an open read keeps the WAL from being emptied.
    pub(super) async fn reader(&self) -> Result<Db, StoreError> {
        match &self.0.place {
            Place::File { dir, file } => {
                if !file.exists() {
                    return Err(StoreError::Missing { dir: dir.clone() });
                }
                let opened = connect_options(file).read_only(true).connect().await;
                let connection = opened.map_err(|error| of_file(error, file))?;
                Ok(Db::Sqlite(Box::new(connection)))
            }
            Place::Server(options) => {
                let options = options.as_ref().clone();
                let options = options.options([("default_transaction_read_only", "on")]);
                connect_to(&options).await
            }
        }
    }

    /// The connection to write with: the first one, or a new one after a failure. Makes the file again when
    /// it vanished.
    pub(super) async fn writer(&self) -> Result<Db, StoreError> {
        let first = self.first().take();
        match (first, &self.0.place) {
            (Some(connection), _) => Ok(connection),
            (None, Place::File { file, .. }) => open_to_write(file).await,
            (None, Place::Server(options)) => open_server_to_write(options).await,
        }
    }

    /// Whether a relay writes the store now, this process or another.
    pub(super) async fn relay_runs(&self, db: &mut Db) -> Result<bool, sqlx::Error> {
        if self.0.mode == Mode::ReadWrite {
            return Ok(true);
        }
        let Place::File { dir, .. } = &self.0.place else {
            let held = db.number(LOCK_IS_HELD, &[Value::Int(LOCK_NUMBER)]).await?;
            return Ok(held > 0);
        };
        Ok(match File::open(dir.join(LOCK)) {
            Ok(lock) => lock.try_lock_shared().is_err(), // let go at once
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        })
    }

    /// Which file lies at the store's path now; changes when it was moved away or replaced.
    pub(super) fn file_id(&self) -> Option<u64> {
        let data = fs::metadata(self.file()?).ok()?;
        #[cfg(unix)]
        return Some(std::os::unix::fs::MetadataExt::ino(&data));
        #[cfg(not(unix))]
        return data.is_file().then_some(0);
    }
}

/// Who holds the advisory lock of this database: its number is split in two there.
const LOCK_IS_HELD: &str = "
    SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND CAST(classid AS BIGINT) * 4294967296 + CAST(objid AS BIGINT) = $1";

async fn connect_to(options: &PgConnectOptions) -> Result<Db, StoreError> {
    let connection = tokio::time::timeout(CONNECT, options.connect()).await;
    Ok(Db::Postgres(Box::new(
        connection.map_err(|_| StoreError::Stuck)??,
    )))
}

/// Connects, takes the lock and brings the tables up to date. The lock goes with the connection; after a broken one,
/// the server may need a moment to notice.
async fn open_server_to_write(options: &PgConnectOptions) -> Result<Db, StoreError> {
    let mut db = connect_to(options).await?;
    let take = "SELECT CASE WHEN pg_try_advisory_lock($1) THEN CAST(1 AS BIGINT) ELSE CAST(0 AS BIGINT) END";
    let mut tries = 0;
    while db.number(take, &[Value::Int(LOCK_NUMBER)]).await? == 0 {
        tries += 1;
        if tries == SERVER_LOCK_TRIES {
            return Err(StoreError::InUseThere);
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
    let schema = "SELECT count(*) FROM pg_namespace WHERE nspname = 'louver'";
    if db.number(schema, &[]).await? == 0 {
        db.execute("CREATE SCHEMA louver", &[]).await?;
    }
    if let Db::Postgres(connection) = &mut db {
        let made = POSTGRES.run_direct(None, &mut **connection, false);
        let made = tokio::time::timeout(TABLES, made).await;
        made.map_err(|_| StoreError::Stuck)?
            .map_err(StoreError::TablesThere)?;
    }
    Ok(db)
}

/// Says of which file it is said that it is no database (`SQLITE_CORRUPT`, `SQLITE_NOTADB`).
fn of_file(error: sqlx::Error, file: &Path) -> StoreError {
    let code = error.as_database_error().and_then(|e| e.code());
    match code.as_deref() {
        Some("11" | "26") => StoreError::Damaged {
            file: file.to_path_buf(),
        },
        _ => StoreError::Database(error),
    }
}

pub(super) async fn open_to_write(file: &Path) -> Result<Db, StoreError> {
    let dir = file.parent().unwrap_or(file);
    make_dir(dir).map_err(|source| StoreError::Directory {
        dir: dir.to_path_buf(),
        source,
    })?;
    make_file(file).map_err(|source| StoreError::File {
        file: file.to_path_buf(),
        source,
    })?;
    let mut connection = connect_options(file)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .connect()
        .await
        .map_err(|error| of_file(error, file))?;
    if let Err(source) = SQLITE.run_direct(None, &mut connection, false).await {
        let file = file.to_path_buf();
        return Err(StoreError::Tables { file, source });
    }
    Ok(Db::Sqlite(Box::new(connection)))
}

/// A connection to a file that lies anywhere, which writes nothing.
pub(super) async fn open_to_read(file: &Path) -> Result<Db, StoreError> {
    let connection = connect_options(file).read_only(true).connect().await?;
    Ok(Db::Sqlite(Box::new(connection)))
}

/// Takes the lock of a file that lies anywhere, so that no relay uses it meanwhile.
pub(super) async fn lock_beside(file: &Path) -> Result<File, StoreError> {
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty());
    lock_dir(dir.unwrap_or(Path::new("."))).await
}

/// What every connection has, whoever makes it.
fn connect_options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .busy_timeout(BUSY)
        .pragma("secure_delete", "ON")
        .pragma("temp_store", "MEMORY")
        .pragma("cache_size", CACHE)
        .disable_statement_logging()
}

/// Makes the directory for the owner alone. One that is there already stays as its owner wants it.
fn make_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// Makes the file, or makes it the owner's alone. SQLite gives the WAL and its index the same permissions.
fn make_file(file: &Path) -> io::Result<()> {
    let made = owners_file(file)?;
    #[cfg(unix)]
    made.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    drop(made);
    Ok(())
}

fn owners_file(file: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)
}

/// The lock goes with the process, however it ends. Whoever asks for statistics may hold it for an instant (see
/// [`Store::relay_runs`]), so a refusal is asked about again.
async fn lock_dir(dir: &Path) -> Result<File, StoreError> {
    let dir = dir.to_path_buf();
    let lock = match owners_file(&dir.join(LOCK)) {
        Ok(lock) => lock,
        Err(source) => return Err(StoreError::Directory { dir, source }),
    };
    for _ in 0..LOCK_TRIES {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(fs::TryLockError::WouldBlock) => tokio::time::sleep(LOCK_PAUSE).await,
            Err(fs::TryLockError::Error(source)) => return Err(StoreError::Directory { dir, source }),
        }
    }
    Err(StoreError::InUse { dir })
}
