//! Reading a configuration: a file or a text becomes a checked [`Config`], or every mistake with its line.

use std::fs;
use std::io;
use std::path::Path;

use crate::config::Config;
use crate::config::check;
use crate::config::error::ConfigError;
use crate::config::error::ConfigErrors;

/// Largest file that is read as configuration, bytes.
const MAX_FILE: u64 = 1 << 20;

/// Reads and checks a file.
///
/// # Errors
/// Every mistake that was found, each with its line.
pub fn load(file: &Path) -> Result<Config, ConfigErrors> {
    let name = file.display().to_string();
    let whole = |message: String| ConfigErrors::from(ConfigError::whole(&name, message));
    let too_large = || whole("the file is larger than 1 MiB, expected a TOML configuration".to_owned());
    if fs::metadata(file).is_ok_and(|m| m.len() > MAX_FILE) {
        return Err(too_large());
    }
    let text = fs::read_to_string(file).map_err(|e| whole(unreadable(&e)))?;
    let mut config = parse(&name, &text)?;
    // A relative directory in a file means: beside the file, wherever the program was started.
    if let (Some(dir), Some(base)) = (&config.data_dir, file.parent()) {
        config.data_dir = Some(base.join(dir));
    }
    if let (Some(files), Some(base)) = (&mut config.tls.files, file.parent()) {
        files.certificate = base.join(&files.certificate);
        files.key = base.join(&files.key);
    }
    if let (Some(countries), Some(base)) = (&config.privacy.countries, file.parent()) {
        config.privacy.countries = Some(base.join(countries));
    }
    Ok(config)
}

/// Checks the text of a file called `file`.
///
/// # Errors
/// Every mistake that was found, each with its line. A mistake of shape (not TOML, unknown key) hides others.
pub fn parse(file: &str, text: &str) -> Result<Config, ConfigErrors> {
    let shapes = toml::from_str(text)
        .map_err(|e| ConfigError::at(file, text, &e.span().unwrap_or(0..0), e.message()))?;
    check::check(file, text, &shapes)
}

fn unreadable(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::NotFound => "no such file, expected a TOML configuration".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "may not be read, expected a file that this user can read".to_owned()
        }
        io::ErrorKind::InvalidData => "is not UTF-8 text, expected a TOML configuration".to_owned(),
        kind => format!("cannot be read ({kind}), expected a TOML configuration"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn relative_files_and_directories_are_beside_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("louver.toml");
        let text = "[data]\ndir = \"kept\"\n[tls]\ncertificate = \"c.pem\"\nkey = \"/k.pem\"";
        fs::write(&file, text).unwrap();
        let config = load(&file).unwrap();
        assert_eq!(config.data_dir, Some(dir.path().join("kept")));
        let files = config.tls.files.unwrap();
        assert_eq!(files.certificate, dir.path().join("c.pem"));
        assert_eq!(files.key, PathBuf::from("/k.pem"));
    }
}
