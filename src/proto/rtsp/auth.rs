//! Who may come in: Basic and Digest on the server's side (RFC 7617, RFC 2617, RFC 7616), with passwords
//! kept only as the hashes that Digest needs.
//!
//! Not here: where the users come from (`config`), what each may do, delays after a wrong password (the
//! server connection).

use std::fmt;

use md5::Digest;
use md5::Md5;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// One user: a name and two hashes, either of which is as good as the password within its realm.
///
/// `Debug` shows nothing of them.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Compared exactly.
    pub name: String,
    /// MD5 of `name:realm:password`, lower-case hex (RFC 2617 section 3.2.2.2).
    pub ha1_md5: String,
    /// The same with SHA-256 (RFC 7616).
    pub ha1_sha256: String,
}

impl User {
    /// Hashes a password; it is not kept.
    pub fn new(name: &str, realm: &str, password: &str) -> Self {
        Self {
            name: name.into(),
            ha1_md5: hash::<Md5>(&[name, realm, password]),
            ha1_sha256: hash::<Sha256>(&[name, realm, password]),
        }
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("User")
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.ha1_md5.zeroize();
        self.ha1_sha256.zeroize();
    }
}

/// All users of a listener, and their realm.
#[derive(Clone, Debug)]
pub struct Users {
    realm: String,
    users: Vec<User>,
}

impl Users {
    /// Users whose hashes were made with this very realm. Quotes and control characters may not be in it;
    /// they are taken out.
    pub fn new(realm: &str, users: Vec<User>) -> Self {
        let realm = realm
            .chars()
            .filter(|c| *c != '"' && *c != '\\' && !c.is_control())
            .collect();
        Self { realm, users }
    }

    /// What the challenge names.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// Whether this is the password of this user. Takes as long for a wrong password as for a wrong name.
    pub fn check_basic(&self, name: &str, password: &str) -> bool {
        let given = hash::<Sha256>(&[name, &self.realm, password]);
        let mut good = false;
        for user in &self.users {
            good |= same(&user.name, name) & same(&user.ha1_sha256, &given);
        }
        good
    }
}

/// The hash of the parts joined by colons, in lower-case hex.
fn hash<D: Digest>(parts: &[&str]) -> String {
    let mut digest = D::new();
    for (n, part) in parts.iter().enumerate() {
        if n > 0 {
            digest.update(b":");
        }
        digest.update(part.as_bytes());
    }
    hex(&digest.finalize())
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
            write!(out, "{b:02x}").expect("a String takes all");
            out
        })
}

/// Equality in a time that depends on the lengths alone.
fn same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}
