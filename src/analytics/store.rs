//! The file: `louver.db` in the data directory, an SQLite database in WAL mode.
//!
//! One process writes it (a lock file says so), any number read it. Every connection has `secure_delete` on
//! and keeps temporary tables in memory, so that what is deleted is gone and nothing lands in a temporary
//! file. Statements are constants, never logged. Not here: what is written when (`writer`), what is asked
//! (`query`).

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::sqlite::SqliteConnection;
use sqlx::sqlite::SqliteJournalMode;
use sqlx::sqlite::SqliteSynchronous;

use crate::analytics::Options;

/// The tables, in the order in which they came to be.
static MIGRATIONS: Migrator = sqlx::migrate!("src/analytics/migrations");

/// How long a statement waits for another process that holds the file.
const BUSY: Duration = Duration::from_secs(2);
/// Pages of the file in memory, as SQLite has it (negative: in KiB). A batch of sessions touches few.
const CACHE: &str = "-512";

/// Locked by the relay that writes.
const LOCK: &str = "louver.lock";

const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

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
    Tables {
        file: PathBuf,
        source: sqlx::migrate::MigrateError,
    },
    /// SQLite could not do what it was asked.
    #[error("the session store failed: {0}")]
    Database(#[from] sqlx::Error),
}

/// The statistics of one data directory. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    file: PathBuf,
    options: Options,
    /// The connection that `open` made, until the writer takes it.
    first: Mutex<Option<SqliteConnection>>,
    /// Held for as long as the store, by the one who writes.
    lock: Option<File>,
}

impl Store {
    /// Opens the store in `data_dir`. To write, the directory and the file are made (for the owner alone)
    /// and the tables brought up to date.
    ///
    /// # Errors
    /// When the directory cannot be used, another relay uses it, there is nothing to read yet, or the file is
    /// none of ours.
    pub async fn open(data_dir: &Path, mode: Mode, options: Options) -> Result<Self, StoreError> {
        let dir = data_dir.to_path_buf();
        let file = dir.join("louver.db");
        let mut lock = None;
        let mut first = None;
        match mode {
            Mode::ReadWrite => {
                let in_dir = |source| StoreError::Directory {
                    dir: dir.clone(),
                    source,
                };
                make_dir(&dir).map_err(in_dir)?;
                lock = Some(lock_dir(&dir).await?);
                first = Some(open_to_write(&file).await?);
            }
            Mode::ReadOnly if !file.exists() => return Err(StoreError::Missing { dir }),
            Mode::ReadOnly => {}
        }
        Ok(Self(Arc::new(Inner {
            dir,
            file,
            options,
            first: Mutex::new(first),
            lock,
        })))
    }

    /// The settings it was opened with.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// A connection that cannot write. Short-lived: an open read keeps the WAL from being emptied.
    pub(super) async fn reader(&self) -> Result<SqliteConnection, StoreError> {
        if !self.0.file.exists() {
            let dir = self.0.dir.clone();
            return Err(StoreError::Missing { dir });
        }
        Ok(connect_options(&self.0.file).read_only(true).connect().await?)
    }

    /// The connection to write with: the first one, or a new one after a failure. Makes the file again when
    /// it vanished.
    pub(super) async fn writer(&self) -> Result<SqliteConnection, StoreError> {
        let first = self
            .0
            .first
            .lock()
            .expect("no panic happens while the lock is held")
            .take();
        match first {
            Some(connection) => Ok(connection),
            None => open_to_write(&self.0.file).await,
        }
    }

    /// Whether a relay writes the store now, this process or another.
    pub(super) fn relay_runs(&self) -> bool {
        if self.0.lock.is_some() {
            return true;
        }
        match File::open(self.0.dir.join(LOCK)) {
            Ok(lock) => lock.try_lock_shared().is_err(), // let go at once
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// Which file lies at the store's path now; changes when it was moved away or replaced.
    pub(super) fn file_id(&self) -> Option<u64> {
        let data = fs::metadata(&self.0.file).ok()?;
        #[cfg(unix)]
        return Some(std::os::unix::fs::MetadataExt::ino(&data));
        #[cfg(not(unix))]
        return data.is_file().then_some(0);
    }
}

async fn open_to_write(file: &Path) -> Result<SqliteConnection, StoreError> {
    let dir = file.parent().unwrap_or(file);
    make_dir(dir)
        .and_then(|()| make_file(file))
        .map_err(|source| StoreError::Directory {
            dir: dir.to_path_buf(),
            source,
        })?;
    let mut connection = connect_options(file)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .connect()
        .await?;
    if let Err(source) = MIGRATIONS.run_direct(None, &mut connection, false).await {
        let file = file.to_path_buf();
        return Err(StoreError::Tables { file, source });
    }
    Ok(connection)
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
