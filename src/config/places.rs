//! Where the configuration and the data of this user are, on each platform.
//!
//! The environment comes in as a function, so that each platform's logic is tested on every other.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use crate::base::why::Why;
use crate::config::Config;

/// Why there is no directory to keep data in.
#[derive(Debug, thiserror::Error)]
pub enum PlacesError {
    #[error("there is no home directory to keep data in; set HOME, or give --data-dir DIR")]
    NoHome,
    #[error("cannot make the data directory {0} ({why}); make it, or give another with --data-dir DIR", why = Why(*.1))]
    Create(PathBuf, io::ErrorKind),
    #[error("{0} is not a directory; give another with --data-dir DIR")]
    NotADirectory(PathBuf),
}

/// The systems whose conventions differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// XDG base directories: Linux and the BSDs.
    Xdg,
    MacOs,
    Windows,
}

impl Platform {
    /// The one this build is for.
    pub const THIS: Self = if cfg!(windows) {
        Self::Windows
    } else if cfg!(target_os = "macos") {
        Self::MacOs
    } else {
        Self::Xdg
    };

    /// The directory for this program's data.
    pub fn data_dir(self, env: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
        let dir = match self {
            Self::Xdg => absolute(&env, "XDG_DATA_HOME").or_else(|| home(&env, ".local/share"))?,
            Self::MacOs => home(&env, "Library/Application Support")?,
            Self::Windows => absolute(&env, "APPDATA")?,
        };
        Some(dir.join("louver"))
    }

    /// The file that is read when no other is named, if it exists.
    pub fn config_file(self, env: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
        let dir = match self {
            Self::Xdg => absolute(&env, "XDG_CONFIG_HOME").or_else(|| home(&env, ".config"))?,
            Self::MacOs => home(&env, "Library/Application Support")?,
            Self::Windows => absolute(&env, "APPDATA")?,
        };
        Some(dir.join("louver").join("louver.toml"))
    }
}

/// Relative values are to be ignored, says the XDG base directory specification; empty ones too.
fn absolute(env: &impl Fn(&str) -> Option<OsString>, name: &str) -> Option<PathBuf> {
    let dir = PathBuf::from(env(name)?);
    (dir.has_root() || dir.is_absolute() || looks_like_a_drive(&dir)).then_some(dir)
}

/// `C:\...`, so that Windows paths are understood by tests elsewhere.
fn looks_like_a_drive(dir: &Path) -> bool {
    dir.to_str().and_then(|d| d.get(1..3)) == Some(":\\")
}

fn home(env: &impl Fn(&str) -> Option<OsString>, below: &str) -> Option<PathBuf> {
    absolute(env, "HOME").map(|home| home.join(below))
}

/// Where the configuration file of this user is or would be, if there is a home for it.
pub fn usual_config_file() -> Option<PathBuf> {
    Platform::THIS.config_file(|name| env::var_os(name))
}

/// The configuration file of this user, if there is one.
pub fn config_file() -> Option<PathBuf> {
    usual_config_file().filter(|file| file.exists())
}

/// The data directory: the configured one, else the platform's. Does not make it.
///
/// # Errors
/// When none is configured and the platform's cannot be known.
pub fn data_dir(config: &Config) -> Result<PathBuf, PlacesError> {
    match &config.data_dir {
        Some(dir) => Ok(dir.clone()),
        None => Platform::THIS
            .data_dir(|name| env::var_os(name))
            .ok_or(PlacesError::NoHome),
    }
}

/// Makes the data directory, for its owner alone (0700); one that exists stays as it is.
///
/// # Errors
/// When it cannot be made, or something else has its name.
pub fn make_data_dir(dir: &Path) -> Result<(), PlacesError> {
    if dir.is_dir() {
        return Ok(());
    }
    if dir.exists() {
        return Err(PlacesError::NotADirectory(dir.to_owned()));
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(dir)
        .map_err(|e| PlacesError::Create(dir.to_owned(), e.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> impl Fn(&str) -> Option<OsString> {
        move |name| {
            pairs
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| OsString::from(v))
        }
    }

    #[test]
    fn each_platform_has_its_places() {
        let home = env(&[("HOME", "/h")]);
        assert_eq!(
            Platform::Xdg.data_dir(&home),
            Some("/h/.local/share/louver".into())
        );
        assert_eq!(
            Platform::Xdg.config_file(&home),
            Some("/h/.config/louver/louver.toml".into())
        );
        let mac = Platform::MacOs.data_dir(&home);
        assert_eq!(mac, Some("/h/Library/Application Support/louver".into()));
        let windows = Platform::Windows
            .data_dir(env(&[("APPDATA", "C:\\Users\\a\\AppData")]))
            .unwrap();
        assert!(windows.starts_with("C:\\Users\\a\\AppData") && windows.ends_with("louver"));
    }

    #[test]
    fn xdg_variables_win_unless_they_are_relative() {
        let set = env(&[
            ("HOME", "/h"),
            ("XDG_DATA_HOME", "/d"),
            ("XDG_CONFIG_HOME", "rel"),
        ]);
        assert_eq!(Platform::Xdg.data_dir(&set), Some("/d/louver".into()));
        assert_eq!(
            Platform::Xdg.config_file(&set),
            Some("/h/.config/louver/louver.toml".into())
        );
        assert_eq!(Platform::Xdg.data_dir(env(&[])), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_new_data_directory_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("a/b");
        make_data_dir(&dir).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        let file = tmp.path().join("file");
        fs::write(&file, "").unwrap();
        let error = make_data_dir(&file).unwrap_err().to_string();
        assert!(error.contains("is not a directory"), "{error}");
    }
}
