//! The composition root: bind all, build, spawn, drain. (Being built: this is its face.)

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::Config;
use crate::config::credentials::Credentials;
use crate::telemetry::Metrics;

/// Everything that a start needs, checked.
pub struct Start {
    /// As the file and the command line say; `--lan` is already in the addresses. Without paths, the first
    /// webcam or else the test picture is to be shown on path `webcam`.
    pub config: Config,
    /// Exists.
    pub data_dir: PathBuf,
    /// `None`: no listener asks for credentials.
    pub credentials: Option<Credentials>,
    pub metrics: Arc<Metrics>,
    /// Reads the configuration again (SIGHUP); the error is for the log.
    pub reload: Box<dyn Fn() -> Result<Config, String> + Send + Sync>,
}

/// Why the program cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("the relay itself is not built yet")]
    NotYet,
}

/// Runs until a signal ends it.
///
/// # Errors
/// When something it cannot do without is missing.
pub async fn run(start: Start) -> Result<(), AppError> {
    drop(start);
    Err(AppError::NotYet)
}
