//! Credentials for listeners that other machines can reach: made at the first start, shown once, kept hashed.
//!
//! Hashes are HA1 of HTTP Digest (RFC 7616 section 3.4.2), which Basic can be checked against as well. They
//! are as good as the password to whoever reads them, hence the file's mode; the password itself has enough
//! entropy that nobody guesses it from them. Checking a request is `proto::rtsp`'s and `web`'s.

use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::base::whole;
use crate::config::Config;

pub use crate::proto::rtsp::auth::User;

/// The realm of every challenge; HA1 depends on it.
pub const REALM: &str = "Louver";
/// The user that is made at the first start.
pub const GENERATED_USER: &str = "louver";
/// The file in the data directory.
pub const FILE: &str = "credentials.toml";

/// Letters and digits that are not mistaken for one another. Lower case, because stock VLC lowercases URLs.
const ALPHABET: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";
/// 16 of 31 characters: 79 bits.
const PASSWORD_LENGTH: usize = 16;

/// A user of a file, whose hashes were made under [`REALM`]; `None` when one is no such hash.
pub fn user(name: &str, ha1_md5: &str, ha1_sha256: &str) -> Option<User> {
    let is_hash = |text: &str, digits| text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
    (is_hash(ha1_md5, 32) && is_hash(ha1_sha256, 64)).then(|| User {
        name: name.to_owned(),
        ha1_md5: ha1_md5.to_ascii_lowercase(),
        ha1_sha256: ha1_sha256.to_ascii_lowercase(),
    })
}

/// A password that was just made. Printed once, then gone.
pub struct NewPassword {
    pub user: &'static str,
    pub password: Zeroizing<String>,
}

/// Users, and the password when it was made right now.
pub struct Credentials {
    pub users: Vec<User>,
    /// To be shown, once; see [`Credentials::keep`].
    pub new: Option<NewPassword>,
}

impl Credentials {
    /// Writes new credentials to the data directory, hashed. To be called when they are about to be shown and
    /// not before: a start that fails on the way would leave a password that nobody has seen.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep(&self, data_dir: &Path) -> Result<(), CredentialsError> {
        if self.new.is_none() {
            return Ok(());
        }
        whole::write(&data_dir.join(FILE), &write(&self.users)).map_err(|e| CredentialsError::Write(e.kind()))
    }
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    #[error(
        "cannot read {FILE} in the data directory ({0}); let this user read it, or delete it for new ones"
    )]
    Read(io::ErrorKind),
    #[error("{FILE} in the data directory is damaged; delete it and start again for new credentials")]
    Damaged,
    #[error("cannot write {FILE} to the data directory ({0}); give another with --data-dir DIR")]
    Write(io::ErrorKind),
    #[error("the system has no randomness to make a password of")]
    NoRandomness,
}

/// Who may come in: the configuration's users, else the data directory's. `None` when no listener asks.
///
/// # Errors
/// As [`load_or_make`].
pub fn of(config: &Config, data_dir: &Path) -> Result<Option<Credentials>, CredentialsError> {
    if !config.needs_credentials() {
        return Ok(None);
    }
    if config.auth.users.is_empty() {
        return load_or_make(data_dir).map(Some);
    }
    Ok(Some(Credentials {
        users: config.auth.users.clone(),
        new: None,
    }))
}

/// The users that a data directory has; none are made.
///
/// # Errors
/// When the file is unreadable or damaged.
pub fn kept(data_dir: &Path) -> Result<Vec<User>, CredentialsError> {
    match fs::read_to_string(data_dir.join(FILE)) {
        Ok(text) => read(&text),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(CredentialsError::Read(e.kind())),
    }
}

/// The credentials of a data directory; new ones, not yet kept, when it has none.
///
/// # Errors
/// When the file is unreadable or damaged.
pub fn load_or_make(data_dir: &Path) -> Result<Credentials, CredentialsError> {
    let file = data_dir.join(FILE);
    match fs::read_to_string(&file) {
        Ok(text) => {
            keep_private(&file).map_err(|e| CredentialsError::Read(e.kind()))?;
            Ok(Credentials {
                users: read(&text)?,
                new: None,
            })
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => make(),
        Err(e) => Err(CredentialsError::Read(e.kind())),
    }
}

fn make() -> Result<Credentials, CredentialsError> {
    let password = generate()?;
    let users = vec![User::new(GENERATED_USER, REALM, &password)];
    let new = NewPassword {
        user: GENERATED_USER,
        password,
    };
    Ok(Credentials {
        users,
        new: Some(new),
    })
}

fn generate() -> Result<Zeroizing<String>, CredentialsError> {
    let mut password = Zeroizing::new(String::with_capacity(PASSWORD_LENGTH));
    let mut random = Zeroizing::new([0_u8; 64]);
    while password.len() < PASSWORD_LENGTH {
        getrandom::fill(random.as_mut()).map_err(|_| CredentialsError::NoRandomness)?;
        for byte in random.iter().map(|b| usize::from(*b)) {
            // The last 8 of 256 values would make the first 8 characters more likely.
            if byte < 8 * ALPHABET.len() && password.len() < PASSWORD_LENGTH {
                password.push(char::from(ALPHABET[byte % ALPHABET.len()]));
            }
        }
    }
    Ok(password)
}

/// The file's shape.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    realm: String,
    users: Vec<StoredUser>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredUser {
    name: String,
    ha1_md5: String,
    ha1_sha256: String,
}

fn read(text: &str) -> Result<Vec<User>, CredentialsError> {
    // Nothing of the parser's message is passed on: it may quote the file.
    let stored: Stored = toml::from_str(text).map_err(|_| CredentialsError::Damaged)?;
    let users = stored
        .users
        .iter()
        .map(|u| user(&u.name, &u.ha1_md5, &u.ha1_sha256));
    let users: Option<Vec<User>> = users.collect();
    match users {
        Some(users) if stored.realm == REALM && !users.is_empty() => Ok(users),
        _ => Err(CredentialsError::Damaged),
    }
}

fn write(users: &[User]) -> String {
    let mut text = format!(
        "# Who may reach Louver from other machines. The password was shown once and is not in here;\n\
         # delete this file and start again with --lan to get a new one.\n\
         realm = \"{REALM}\"\n"
    );
    for user in users {
        let User {
            name,
            ha1_md5,
            ha1_sha256,
        } = user;
        text += &format!(
            "\n[[users]]\nname = \"{name}\"\nha1_md5 = \"{ha1_md5}\"\nha1_sha256 = \"{ha1_sha256}\"\n"
        );
    }
    text
}

/// Takes back what a copy or an archive may have opened to others.
#[cfg(unix)]
fn keep_private(file: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(file)?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(file, fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn keep_private(_file: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ha1_is_what_other_programs_compute() {
        // printf anna:Louver:secret | md5sum; ... | sha256sum
        let anna = User::new("anna", REALM, "secret");
        assert_eq!(anna.ha1_md5, MD5);
        assert_eq!(anna.ha1_sha256, SHA256);
        assert!(user("anna", &MD5.to_uppercase(), SHA256).is_some_and(|u| u == anna));
        assert!(user("anna", &MD5[1..], SHA256).is_none());
        assert!(user("anna", MD5, &SHA256.replace('b', "g")).is_none());
    }

    #[test]
    fn the_password_is_shown_at_the_first_start_only_and_never_stored() {
        let dir = tempfile::tempdir().unwrap();
        let first = load_or_make(dir.path()).unwrap();
        first.keep(dir.path()).unwrap();
        let again = load_or_make(dir.path()).unwrap();
        again.keep(dir.path()).unwrap();
        assert!(again.new.is_none());
        let new = first.new.unwrap();
        assert!(again.users == first.users && first.users == [User::new(new.user, REALM, &new.password)]);
        let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert!(!text.contains(new.password.as_str()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_password_that_was_never_shown_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let failed = load_or_make(dir.path()).unwrap().new.unwrap();
        let next = load_or_make(dir.path()).unwrap().new.unwrap();
        assert!(failed.password != next.password);
    }

    #[test]
    fn a_password_survives_being_lowercased_and_put_into_a_url() {
        let passwords: Vec<_> = (0..100).map(|_| generate().unwrap()).collect();
        for p in &passwords {
            assert_eq!(p.len(), PASSWORD_LENGTH);
            assert!(
                p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()),
                "not typeable"
            );
            assert!(!p.contains(['l', 'o', 'i', '0', '1']));
        }
        assert!(
            passwords
                .iter()
                .map(|p| p.as_str())
                .collect::<std::collections::HashSet<_>>()
                .len()
                == 100
        );
        assert!((ALPHABET.len() as f64).log2() * PASSWORD_LENGTH as f64 >= 75.0);
    }

    #[test]
    fn a_damaged_file_is_told_without_being_quoted() {
        let dir = tempfile::tempdir().unwrap();
        for damage in [
            "",
            "realm = \"hunter2\"",
            "realm = \"Louver\"\nusers = []",
            "hunter2 = [",
        ] {
            fs::write(dir.path().join(FILE), damage).unwrap();
            let Err(e) = load_or_make(dir.path()) else {
                panic!("accepted: {damage}")
            };
            assert!(
                e.to_string().contains("delete it") && !e.to_string().contains("hunter2"),
                "{e}"
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_may_read_the_file() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let mode = || fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode() & 0o777;
        load_or_make(dir.path()).unwrap().keep(dir.path()).unwrap();
        assert_eq!(mode(), 0o600);
        fs::set_permissions(dir.path().join(FILE), fs::Permissions::from_mode(0o644)).unwrap();
        load_or_make(dir.path()).unwrap();
        assert_eq!(mode(), 0o600);
    }

    const MD5: &str = "ce3f452e65e24c137bd0167a86ad4f0a";
    const SHA256: &str = "02fb644b3609611d64f5ad472b67339ad827b740d4e09e8e48594b0119ec8452";
}
