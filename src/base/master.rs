//! The long-lived secret of an installation, from which keys for papers are made: one per purpose, none of them the
//! input of anything about a viewer.
//!
//! It comes from systemd (`LoadCredential=louver-master:FILE`) where that is configured, else from `master.key` in the
//! data directory, made at the first start for its owner alone. Keys are derived by HKDF-SHA-256 (RFC 5869). Not here:
//! the keys of the day, which are derived from nothing (`privacy`).

use std::ffi::OsString;
use std::fs;
use std::io;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

use ring::hkdf;
use zeroize::Zeroizing;

use crate::base::whole;
use crate::base::why::Why;

/// The file in the data directory.
pub const FILE: &str = "master.key";
/// The name of the credential that systemd may bring.
const CREDENTIAL: &str = "louver-master";

/// Bytes of the secret and of each key.
const LEN: usize = 32;
/// The longest credential that is read.
const MAX_CREDENTIAL: u64 = 4096;

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum MasterError {
    #[error("cannot read {0} ({1}); let this user read it")]
    Read(PathBuf, io::ErrorKind),
    #[error(
        "{0} is damaged, expected at least 32 bytes; put it back from a backup, or delete it to begin anew"
    )]
    Damaged(PathBuf),
    #[error(
        "cannot write {0} ({why}); make room there and let this user write, or give another directory with --data-dir DIR",
        why = Why(*.1)
    )]
    Write(PathBuf, io::ErrorKind),
    #[error("the system has no randomness to make a key of")]
    NoRandomness,
    #[error("there is no {0} yet; the relay makes it at its first start, with the same --data-dir")]
    Missing(PathBuf),
}

/// The secret. Nothing prints, copies or compares it.
pub struct Master(Zeroizing<Vec<u8>>);

impl Master {
    /// The secret of this installation; a new one where there is none.
    ///
    /// # Errors
    /// When a file cannot be read or written, or is too short.
    pub fn load_or_make(data_dir: &Path) -> Result<Self, MasterError> {
        match Self::load(data_dir) {
            Err(MasterError::Missing(file)) => make(&file),
            other => other,
        }
    }

    /// The secret of this installation.
    ///
    /// # Errors
    /// When there is none, or it cannot be read or is too short.
    pub fn load(data_dir: &Path) -> Result<Self, MasterError> {
        Self::load_with(data_dir, std::env::var_os("CREDENTIALS_DIRECTORY"))
    }

    fn load_with(data_dir: &Path, credentials: Option<OsString>) -> Result<Self, MasterError> {
        if let Some(dir) = credentials {
            match read(&Path::new(&dir).join(CREDENTIAL)) {
                Err(MasterError::Missing(_)) => {} // systemd brings others
                other => return other,
            }
        }
        read(&data_dir.join(FILE))
    }

    /// The key for one purpose. The same secret and label give the same key.
    pub fn key(&self, label: &'static str) -> Zeroizing<[u8; LEN]> {
        let mut key = Zeroizing::new([0; LEN]);
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, b"louver").extract(&self.0);
        secret
            .expand(&[label.as_bytes()], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(key.as_mut_slice()))
            .expect("one block is never too long for HKDF");
        key
    }

    /// A secret for tests.
    #[cfg(test)]
    pub fn of(byte: u8) -> Self {
        Self(Zeroizing::new(vec![byte; LEN]))
    }
}

fn read(file: &Path) -> Result<Master, MasterError> {
    let failed = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => MasterError::Missing(file.to_path_buf()),
        kind => MasterError::Read(file.to_path_buf(), kind),
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_CREDENTIAL as usize));
    let file_there = fs::File::open(file).map_err(failed)?;
    file_there
        .take(MAX_CREDENTIAL)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    // A power cut may leave a file with its length and nothing in it.
    if bytes.len() < LEN || bytes.iter().all(|byte| *byte == 0) {
        return Err(MasterError::Damaged(file.to_path_buf()));
    }
    Ok(Master(bytes))
}

fn make(file: &Path) -> Result<Master, MasterError> {
    let mut secret = Zeroizing::new(vec![0; LEN]);
    getrandom::fill(&mut secret).map_err(|_| MasterError::NoRandomness)?;
    // There is a whole one or none: half a secret would be refused at each start from then on.
    match whole::write_new(file, &secret) {
        Ok(()) => Ok(Master(secret)),
        // Another process was faster.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => read(file),
        Err(e) => Err(MasterError::Write(file.to_path_buf(), e.kind())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_made_once_for_its_owner_alone_and_keys_differ_by_purpose() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Master::load(dir.path()), Err(MasterError::Missing(_))));
        let first = Master::load_or_make(dir.path()).unwrap();
        let again = Master::load(dir.path()).unwrap();
        assert_eq!(*first.key("a"), *again.key("a"));
        assert_ne!(*first.key("a"), *first.key("b"));
        assert_ne!(&first.key("a")[..], &first.0[..]);
        #[cfg(unix)]
        {
            let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions();
            assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
        }
    }

    #[test]
    fn what_systemd_brings_comes_first_and_a_short_secret_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let credentials = tempfile::tempdir().unwrap();
        let own = Master::load_or_make(dir.path()).unwrap();
        let load = || Master::load_with(dir.path(), Some(credentials.path().into()));
        assert_eq!(*load().unwrap().key("a"), *own.key("a"));
        fs::write(credentials.path().join(CREDENTIAL), [7; 40]).unwrap();
        assert_ne!(*load().unwrap().key("a"), *own.key("a"));
        fs::write(credentials.path().join(CREDENTIAL), [7; 31]).unwrap();
        assert!(matches!(load(), Err(MasterError::Damaged(_))));
        fs::write(credentials.path().join(CREDENTIAL), [0; 32]).unwrap();
        assert!(
            matches!(load(), Err(MasterError::Damaged(_))),
            "zeros are no secret"
        );
    }
}
