//! Who may come in: Basic and Digest on the server's side (RFC 7617, RFC 2617, RFC 7616), with passwords
//! kept only as the hashes that Digest needs.
//!
//! Not here: where the users come from (`config`), what each may do, delays after a wrong password (the
//! server connection).

use std::fmt;
use std::sync::Arc;
use std::sync::RwLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use md5::Digest;
use md5::Md5;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::headers::split_outside_quotes;
use super::rules;
use super::url::Url;

pub use super::rules::Action;
pub use super::rules::Rule;

const NOT_POISONED: &str = "no panic happens while the lock is held";

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
#[derive(Debug)]
pub struct Users {
    realm: String,
    known: RwLock<Arc<Known>>,
}

/// Who there is, and who may do what. It may change while connections are there.
#[derive(Debug)]
struct Known {
    users: Vec<Arc<User>>,
    rules: Vec<Rule>,
}

impl Users {
    /// Users whose hashes were made with this very realm. Quotes and control characters may not be in it;
    /// they are taken out.
    pub fn new(realm: &str, users: Vec<User>) -> Self {
        let realm = realm
            .chars()
            .filter(|c| *c != '"' && *c != '\\' && !c.is_control())
            .collect();
        let known = RwLock::new(Arc::new(Known::new(users, Vec::new())));
        Self { realm, known }
    }
    /// The same users, who may not do everything everywhere.
    #[must_use]
    pub fn with_rules(self, rules: Vec<Rule>) -> Self {
        let users = self.known().users.clone();
        self.set(Known { users, rules });
        self
    }
    /// Other users, or other rules, for all requests from now on. Their hashes must be of the same realm.
    /// Who holds a [`Permit`] asks it again.
    pub fn replace(&self, users: Vec<User>, rules: Vec<Rule>) {
        self.set(Known::new(users, rules));
    }
    fn set(&self, known: Known) {
        *self.known.write().expect(NOT_POISONED) = Arc::new(known);
    }
    /// What the user of this name, whose credentials were good, is let in by.
    pub fn permit(self: &Arc<Self>, name: &str) -> Option<Permit> {
        let known = self.known();
        let user = known.users.iter().find(|user| user.name == name)?;
        Some(Permit {
            users: Arc::clone(self),
            user: Arc::clone(user),
        })
    }
    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().expect(NOT_POISONED))
    }
    /// Whether a user, whose credentials were good, may do this on this path.
    pub fn may(&self, user: &str, action: Action, path: &str) -> bool {
        rules::allow(&self.known().rules, user, action, path)
    }

    /// What the challenge names.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// Whether this is the password of this user. Takes as long for a wrong password as for a wrong name.
    pub fn check_basic(&self, name: &str, password: &str) -> bool {
        let given = hash::<Sha256>(&[name, &self.realm, password]);
        let mut good = false;
        for user in &self.known().users {
            good |= same(&user.name, name) & same(&user.ha1_sha256, &given);
        }
        good
    }
}

impl Known {
    fn new(users: Vec<User>, rules: Vec<Rule>) -> Self {
        let users = users.into_iter().map(Arc::new).collect();
        Self { users, rules }
    }
}

/// Who was let in, for as long as that lasts: users may go, get other passwords, and lose rights.
///
/// It says whether, and never who: there is no `Debug`.
#[derive(Clone)]
pub struct Permit {
    users: Arc<Users>,
    user: Arc<User>,
}

impl Permit {
    /// Whether the user is still there, with the same password, and may do this on this path.
    pub fn holds(&self, action: Action, path: &str) -> bool {
        let known = self.users.known();
        known.users.contains(&self.user) && rules::allow(&known.rules, &self.user.name, action, path)
    }
}

impl PartialEq for Permit {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.users, &other.users) && self.user == other.user
    }
}

impl Eq for Permit {}

/// What became of the credentials of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Good,
    /// There are none, or of a kind that we do not have: normal for a first request.
    Missing,
    /// Right, but for the nonce of another connection: the client needs only to be told ours.
    Stale,
    Wrong,
}

/// What a request says of who sends it.
pub struct Claim<'a> {
    /// The method's word.
    pub method: &'a str,
    pub url: &'a Url,
    /// The `Authorization` header.
    pub authorization: Option<&'a str>,
    /// Whether a Digest must be about this URL. Not for requests within a session: what clients hash
    /// there varies.
    pub check_uri: bool,
}

impl Users {
    /// The `WWW-Authenticate` headers, in this order: live555 and FFmpeg keep the last Digest, and FFmpeg
    /// gives up when that is not MD5. live555 reads `realm`, `nonce`, `stale` in this order only. No
    /// `qop`: old clients do not know it.
    pub fn challenges(&self, nonce: &str, stale: bool) -> [String; 3] {
        let realm = &self.realm;
        let stale = if stale { ", stale=TRUE" } else { "" };
        let digest = format!("Digest realm=\"{realm}\", nonce=\"{nonce}\"{stale}");
        let sha256 = format!("{digest}, algorithm=SHA-256");
        [format!("Basic realm=\"{realm}\""), sha256, digest]
    }

    /// Judges a request by its header or, without one, by the credentials in its URL.
    pub fn check(&self, claim: &Claim<'_>, nonce: &str) -> Verdict {
        let Some(authorization) = claim.authorization else {
            return match claim.url.credentials() {
                Some((user, password)) => good_or_wrong(self.check_basic(user, password)),
                None => Verdict::Missing,
            };
        };
        let (scheme, rest) = authorization.split_once(' ').unwrap_or((authorization, ""));
        match scheme.to_ascii_lowercase().as_str() {
            "basic" => {
                let pair = basic_pair(rest);
                good_or_wrong(pair.is_some_and(|(user, password)| self.check_basic(&user, &password)))
            }
            "digest" => self.check_digest(&DigestParams::parse(rest), claim, nonce),
            _ => Verdict::Missing,
        }
    }

    /// What who sent this claim, which [`Users::check`] found good, is let in by.
    pub fn admit(self: &Arc<Self>, claim: &Claim<'_>) -> Option<Permit> {
        let Some(authorization) = claim.authorization else {
            return self.permit(claim.url.credentials()?.0);
        };
        let (scheme, rest) = authorization.split_once(' ').unwrap_or((authorization, ""));
        match scheme.to_ascii_lowercase().as_str() {
            "basic" => self.permit(&basic_pair(rest)?.0),
            _ => self.permit(&DigestParams::parse(rest).username),
        }
    }

    /// RFC 2617 section 3.2.2 and RFC 7616 section 3.4.
    fn check_digest(&self, given: &DigestParams<'_>, claim: &Claim<'_>, nonce: &str) -> Verdict {
        // Without `qop` in the challenge, retina answers to its SHA-256 and does not say so: the length does.
        let algorithm = match given.algorithm {
            "" if given.response.len() == 64 => "SHA-256",
            named => named,
        };
        let expected = match algorithm.to_ascii_uppercase().as_str() {
            "" | "MD5" => self.digest_matches::<Md5>(|user| &user.ha1_md5, given, claim.method),
            "SHA-256" => self.digest_matches::<Sha256>(|user| &user.ha1_sha256, given, claim.method),
            _ => return Verdict::Missing,
        };
        if !expected || (claim.check_uri && !claim.url.covered_by(&given.uri)) {
            return Verdict::Wrong;
        }
        if same(&given.nonce, nonce) {
            Verdict::Good
        } else {
            Verdict::Stale
        }
    }

    fn digest_matches<D: Digest>(
        &self,
        ha1: impl Fn(&User) -> &str,
        given: &DigestParams<'_>,
        method: &str,
    ) -> bool {
        let ha2 = hash::<D>(&[method, &given.uri]);
        let response = given.response.to_ascii_lowercase();
        let mut good = false;
        for user in &self.known().users {
            let expected = match given.qop.as_str() {
                "" => hash::<D>(&[ha1(user), &given.nonce, &ha2]),
                qop => hash::<D>(&[ha1(user), &given.nonce, given.nc, &given.cnonce, qop, &ha2]),
            };
            good |= same(&user.name, &given.username) & same(&expected, &response);
        }
        good
    }
}

fn good_or_wrong(good: bool) -> Verdict {
    if good { Verdict::Good } else { Verdict::Wrong }
}

/// User and password of `Basic`; the password may have colons in it (RFC 7617 section 2).
fn basic_pair(encoded: &str) -> Option<(String, String)> {
    let encoded = encoded.trim();
    let bytes = STANDARD
        .decode(encoded)
        .or_else(|_| STANDARD_NO_PAD.decode(encoded))
        .ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// The parameters of a Digest; absent ones are empty, unknown ones are passed over.
#[derive(Default)]
struct DigestParams<'a> {
    username: String,
    nonce: String,
    uri: String,
    cnonce: String,
    qop: String,
    response: &'a str,
    algorithm: &'a str,
    nc: &'a str,
}

impl<'a> DigestParams<'a> {
    fn parse(text: &'a str) -> Self {
        let mut params = Self::default();
        for part in split_outside_quotes(text, ',') {
            let Some((key, value)) = part.split_once('=') else {
                continue;
            };
            let value = value.trim();
            let bare = value.trim_matches('"');
            match key.trim().to_ascii_lowercase().as_str() {
                "username" => params.username = unquote(value),
                "nonce" => params.nonce = unquote(value),
                "uri" => params.uri = unquote(value),
                "cnonce" => params.cnonce = unquote(value),
                "qop" => params.qop = unquote(value),
                "response" => params.response = bare,
                "algorithm" => params.algorithm = bare,
                "nc" => params.nc = bare,
                _ => {}
            }
        }
        params
    }
}

/// The text of a quoted string (RFC 2616 section 2.2), or of a bare word.
fn unquote(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) else {
        return value.to_owned();
    };
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        text.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    text
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

#[cfg(test)]
mod tests {
    use super::*;

    const REALM: &str = "Louver";
    const NONCE: &str = "00112233445566778899aabbccddeeff";

    fn users() -> Users {
        let other = User::new("bob", REALM, "x");
        Users::new(REALM, vec![other, User::new("alice", REALM, "won:der")])
    }

    fn check(url: &str, method: &str, authorization: Option<&str>) -> Verdict {
        let url = Url::parse(url).unwrap();
        let claim = Claim {
            method,
            url: &url,
            authorization,
            check_uri: true,
        };
        users().check(&claim, NONCE)
    }

    /// A client's Digest, computed by hand.
    fn digest<D: Digest>(password: &str, nonce: &str, method: &str, uri: &str, more: &str) -> String {
        let ha1 = hash::<D>(&["alice", REALM, password]);
        let ha2 = hash::<D>(&[method, uri]);
        let response = hash::<D>(&[&ha1, nonce, &ha2]);
        format!(
            "Digest username=\"alice\", realm=\"{REALM}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\"{more}"
        )
    }

    #[test]
    fn hashes_are_those_of_the_standards() {
        // RFC 2617 section 3.5 and RFC 7616 section 3.9.1.
        let user = User::new("Mufasa", "testrealm@host.com", "Circle Of Life");
        assert_eq!(user.ha1_md5, "939e7578ed9e3c518a452acee763bce9");
        let mufasa = User::new("Mufasa", "http-auth@example.org", "Circle of Life");
        let users = Users::new("http-auth@example.org", vec![mufasa]);
        let nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
        let rest = |algorithm: &str, response: &str| {
            format!(
                "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", \
                 algorithm={algorithm}, nonce=\"{nonce}\", nc=00000001, \
                 cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, response=\"{response}\""
            )
        };
        let url = Url::parse("/dir/index.html").unwrap();
        let sha256 = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1";
        for (algorithm, response) in [("MD5", "8ca523f5e9506fed4657c9700eebdbec"), ("SHA-256", sha256)] {
            let claim = Claim {
                method: "GET",
                url: &url,
                authorization: Some(&rest(algorithm, response)),
                check_uri: true,
            };
            assert_eq!(users.check(&claim, nonce), Verdict::Good, "{algorithm}");
        }
    }

    #[test]
    fn basic_lets_in_whom_it_should() {
        let with = |pair: &str| {
            check(
                "rtsp://h/cam",
                "DESCRIBE",
                Some(&format!("Basic {}", STANDARD.encode(pair))),
            )
        };
        assert_eq!(with("alice:won:der"), Verdict::Good);
        assert_eq!(with("bob:x"), Verdict::Good);
        for wrong in [
            "alice:won:de",
            "alice:x",
            "Alice:won:der",
            "bob",
            "",
            ":",
            "alice:",
        ] {
            assert_eq!(with(wrong), Verdict::Wrong, "{wrong}");
        }
        let url = "rtsp://h/cam";
        assert_eq!(
            check(url, "SETUP", Some("basic YWxpY2U6d29uOmRlcg")),
            Verdict::Good
        );
        assert_eq!(check(url, "SETUP", Some("Basic !")), Verdict::Wrong);
        assert_eq!(check(url, "SETUP", Some("Bearer x")), Verdict::Missing);
        assert_eq!(check(url, "SETUP", None), Verdict::Missing);
    }

    #[test]
    fn digest_lets_in_whom_it_should() {
        let url = "rtsp://h/cam/trackID=0";
        let md5 = digest::<Md5>("won:der", NONCE, "SETUP", url, "");
        assert_eq!(check(url, "SETUP", Some(&md5)), Verdict::Good);
        assert_eq!(check(url, "PLAY", Some(&md5)), Verdict::Wrong);
        assert_eq!(check("rtsp://h/other", "SETUP", Some(&md5)), Verdict::Wrong);
        let sha256 = digest::<Sha256>("won:der", NONCE, "SETUP", url, ", algorithm=\"sha-256\"");
        assert_eq!(check(url, "SETUP", Some(&sha256)), Verdict::Good);
        let unnamed = digest::<Sha256>("won:der", NONCE, "SETUP", url, "");
        assert_eq!(
            check(url, "SETUP", Some(&unnamed)),
            Verdict::Good,
            "as retina answers"
        );
        let wrong = digest::<Md5>("wonder", NONCE, "SETUP", url, ", algorithm=MD5");
        assert_eq!(check(url, "SETUP", Some(&wrong)), Verdict::Wrong);
        let unknown = digest::<Md5>("won:der", NONCE, "SETUP", url, ", algorithm=MD5-sess");
        assert_eq!(check(url, "SETUP", Some(&unknown)), Verdict::Missing);
        assert_eq!(check(url, "SETUP", Some("Digest")), Verdict::Wrong);
        let anothers = md5.replace("alice", "bob");
        assert_eq!(check(url, "SETUP", Some(&anothers)), Verdict::Wrong);
    }

    #[test]
    fn a_digest_may_name_the_base_url_or_the_path_alone() {
        for uri in ["rtsp://h/cam/", "rtsp://h/cam", "/cam", "/cam/trackID=0"] {
            let header = digest::<Md5>("won:der", NONCE, "SETUP", uri, "");
            assert_eq!(
                check("rtsp://h/cam/trackID=0", "SETUP", Some(&header)),
                Verdict::Good,
                "{uri}"
            );
        }
    }

    #[test]
    fn a_right_digest_for_another_nonce_is_stale_and_a_wrong_one_is_wrong() {
        let url = "rtsp://h/cam";
        let old = digest::<Md5>("won:der", "elsewhere", "DESCRIBE", url, "");
        assert_eq!(check(url, "DESCRIBE", Some(&old)), Verdict::Stale);
        let wrong = digest::<Md5>("x", "elsewhere", "DESCRIBE", url, "");
        assert_eq!(check(url, "DESCRIBE", Some(&wrong)), Verdict::Wrong);
    }

    #[test]
    fn credentials_in_the_url_count_unless_there_is_a_header() {
        assert_eq!(
            check("rtsp://alice:won%3Ader@h/cam", "SETUP", None),
            Verdict::Good
        );
        assert_eq!(check("rtsp://alice:x@h/cam", "SETUP", None), Verdict::Wrong);
        let wrong = format!("Basic {}", STANDARD.encode("alice:x"));
        assert_eq!(
            check("rtsp://alice:won%3Ader@h/cam", "SETUP", Some(&wrong)),
            Verdict::Wrong
        );
    }

    #[test]
    fn challenges_come_in_the_order_that_old_clients_need() {
        let [basic, sha256, md5] = users().challenges(NONCE, false);
        assert_eq!(basic, "Basic realm=\"Louver\"");
        assert_eq!(
            sha256,
            format!("Digest realm=\"Louver\", nonce=\"{NONCE}\", algorithm=SHA-256")
        );
        assert_eq!(md5, format!("Digest realm=\"Louver\", nonce=\"{NONCE}\""));
        let [_, _, stale] = users().challenges(NONCE, true);
        assert_eq!(
            stale,
            format!("Digest realm=\"Louver\", nonce=\"{NONCE}\", stale=TRUE")
        );
    }

    #[test]
    fn no_password_is_kept_and_nothing_is_shown() {
        let users = users();
        let known = users.known();
        let alice = &known.users[1];
        assert!(!alice.ha1_md5.contains("won") && !alice.ha1_sha256.contains("won"));
        let shown = format!("{users:?}");
        assert!(
            !shown.contains("alice") && !shown.contains(&alice.ha1_md5),
            "{shown}"
        );
        assert_eq!(Users::new("a\"b\r\n", Vec::new()).realm(), "ab");
    }

    #[test]
    fn quoted_strings_are_read_with_their_escapes_and_commas() {
        let params = DigestParams::parse("username=\"a\\\"b,c\", uri = \"/x=y\" ,nc=1,junk");
        assert_eq!(params.uri, "/x=y");
        assert_eq!(params.nc, "1");
        assert_eq!(unquote("\"a\\\"b\""), "a\"b");
    }
}
