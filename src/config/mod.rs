//! The configuration: shapes first (`file.rs`), rules second (`check.rs`), errors with line numbers.
//!
//! A [`Config`] has been checked: nothing behind it looks again. Not here: what was given on the command
//! line (`cli`), and what the values do (each room has its own `Options`; `app` fills them).

mod alerts;
mod check;
pub mod credentials;
mod error;
mod file;
mod limits;
mod load;
mod papers;
pub mod places;
mod privacy;
mod settings;
pub mod units;
mod values;

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::analytics::Options;
use crate::analytics::Retention;
use crate::base::proxies::Cidr;
use crate::config::credentials::User;
pub use crate::egress::rtsp::multicast::Options as Multicast;
use crate::hub::PathName;
use crate::ingest::Source;
use crate::privacy::Consent;
use crate::privacy::Level;
use crate::privacy::Policy;
use crate::privacy::address::Mask;

pub use crate::config::privacy::LEAST_K;

pub use error::ConfigError;
pub use error::ConfigErrors;
pub use error::mask;
pub use limits::Limits;
pub use load::load;
pub use load::parse;
pub use papers::streams_at;
pub use settings::is_followed;

/// What the program runs on. A value of this type has been checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    pub rtsp: Rtsp,
    pub rtsps: Rtsps,
    pub tls: Tls,
    pub http: Http,
    pub hub: Hub,
    pub publish: Publish,
    /// Configured paths in the order of their names; no two names are alike, not even by case.
    pub paths: Vec<PathEntry>,
    pub auth: Auth,
    pub limits: Limits,
    pub privacy: Privacy,
    pub notice: Notice,
    pub audit: Audit,
    /// Where alerts go, beside the log.
    pub alerts: crate::alerts::Options,
    pub stats: Stats,
    /// Where data is kept; `None` means the platform's place (see [`places::data_dir`]).
    pub data_dir: Option<PathBuf>,
    /// What is logged, where neither the command line nor `RUST_LOG` says it; `None` means `info`.
    pub log: Option<String>,
}

/// The RTSP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rtsp {
    /// Where it listens; port 0 means that the system chooses. Empty means off.
    pub listen: Vec<SocketAddr>,
    /// UDP ports of RTP (even) and RTCP (the next); `(0, 0)` means that the system chooses such a pair,
    /// `None` that media goes over TCP only.
    pub udp_ports: Option<(u16, u16)>,
    /// A session without a sign of life for so long is closed.
    pub session_timeout: Duration,
    /// A reader that takes nothing for so long is closed.
    pub write_timeout: Duration,
    /// Groups that streams are sent to when readers ask for it; `None` is off.
    pub multicast: Option<Multicast>,
    /// Whether trusted proxies begin with a PROXY header.
    pub proxy_protocol: bool,
}

impl Default for Rtsp {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 8554))],
            udp_ports: Some((8000, 8001)),
            session_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(10),
            multicast: None,
            proxy_protocol: false,
        }
    }
}

/// RTSP in TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rtsps {
    /// Where it listens; port 0 means that the system chooses. Empty means off.
    pub listen: Vec<SocketAddr>,
    /// Whether trusted proxies begin with a PROXY header.
    pub proxy_protocol: bool,
}

/// What TLS listeners show of themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The certificate with its chain, and its key. `None`: one is made and kept in the data directory.
    pub files: Option<TlsFiles>,
}

/// Two files in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// The HTTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Where it listens; port 0 means that the system chooses. Empty means off.
    pub listen: Vec<SocketAddr>,
    /// Whether trusted proxies begin with a PROXY header.
    pub proxy_protocol: bool,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))],
            proxy_protocol: false,
        }
    }
}

/// The middle: what each stream keeps for its readers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hub {
    /// Bytes of a stream that are kept for readers that lag.
    pub ring_bytes: usize,
    /// Age of what is kept for readers that lag.
    pub ring_time: Duration,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            ring_bytes: 16 << 20,
            ring_time: Duration::from_secs(10),
        }
    }
}

/// Who may publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Whether publishers may open paths that are not configured.
    pub allow: bool,
    /// Whether a second publisher takes a path over; else it is refused.
    pub takeover: bool,
    /// How long readers wait for the next publisher when theirs has left; zero: not at all.
    pub keep_readers: Duration,
}

impl Default for Publish {
    fn default() -> Self {
        Self {
            allow: true,
            takeover: false,
            keep_readers: Duration::ZERO,
        }
    }
}

/// A configured path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathEntry {
    /// A checked path name.
    pub name: String,
    /// A checked source.
    pub source: String,
    /// Watching it says something of the viewer that is nobody's business: no session of it is recorded.
    pub sensitive: bool,
}

/// Who may read and publish.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Auth {
    pub required: Required,
    /// Users of the file. Empty means the generated ones (see [`credentials`]).
    pub users: Vec<User>,
    /// What they may do where; everything everywhere without any.
    pub rules: Vec<Rule>,
}

/// Who may do what on a path, or on all that have no rule of their own. They count where credentials are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// A configured path; `None` for all.
    pub path: Option<String>,
    /// Names of users; `None`: no rule.
    pub read: Option<Vec<String>>,
    pub publish: Option<Vec<String>>,
}

/// Where credentials are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Required {
    /// On listeners that other machines can reach.
    #[default]
    Auto,
    /// On loopback too.
    Always,
}

impl Required {
    /// Whether a listener bound to this address asks for credentials. Trust follows the listener alone.
    pub fn at(self, listener: &SocketAddr) -> bool {
        match self {
            Self::Always => true,
            Self::Auto => !listener.ip().is_loopback(),
        }
    }
}

/// How the audience is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Privacy {
    /// IANA name of the time zone whose calendar days are counted by.
    pub time_zone: String,
    /// Groups smaller than this are not shown.
    pub k: u32,
    /// How much the statistics know of a viewer.
    pub level: Level,
    /// Who is counted at all.
    pub consent: Consent,
    /// How much of an address the look-up of its country gets to see.
    pub mask: Mask,
    /// A database of countries.
    pub countries: Option<PathBuf>,
    /// Whose word counts for the address behind a connection.
    pub trusted_proxies: Vec<Cidr>,
    /// Whether the program may leave core files, in which keys and addresses are.
    pub core_dumps: bool,
    /// Whether sessions get receipts, by which their viewers can see and erase them.
    pub receipts: bool,
    /// Days that a viewer's consent lasts.
    pub consent_days: u16,
    pub retention: Retention,
}

impl Privacy {
    /// What the field register and everything made of it goes by.
    pub fn policy(&self) -> Policy {
        Policy {
            level: self.level,
            consent: self.consent,
            mask: self.mask,
            country: self.countries.is_some(),
            proxies: !self.trusted_proxies.is_empty(),
        }
    }
}

impl Default for Privacy {
    fn default() -> Self {
        Self {
            time_zone: "UTC".to_owned(),
            k: 5,
            level: Level::default(),
            consent: Consent::default(),
            mask: Mask::default(),
            countries: None,
            trusted_proxies: Vec::new(),
            core_dumps: false,
            receipts: false,
            consent_days: 180,
            retention: Retention::default(),
        }
    }
}

/// Who answers for the relay, for the privacy notice. Empty: nobody is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    pub controller: String,
    pub contact: String,
    pub dpo: String,
    pub authority: String,
    /// A URI of RFC 9116.
    pub security_contact: String,
}

/// How much of the audit trail is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    pub keep: Duration,
    pub max_bytes: u64,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            keep: Duration::from_secs(365 * 86_400),
            max_bytes: 64 << 20,
        }
    }
}

/// Whether a text is the address of a database server.
fn is_database(text: &str) -> bool {
    Options::default().in_database(text).is_some()
}

/// The zone of a name (`Europe/Paris`) or, where no such names are installed, of a rule as POSIX has them
/// (`CET-1CEST,M3.5.0,M10.5.0/3`). `None` for what is neither.
pub fn time_zone(text: &str) -> Option<TimeZone> {
    TimeZone::get(text).or_else(|_| TimeZone::posix(text)).ok()
}

/// Where statistics are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// A PostgreSQL server; `None` is SQLite in the data directory.
    pub database: Option<DatabaseUrl>,
}

/// An address that may hold a password, and so cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(pub String);

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DatabaseUrl(..)")
    }
}

impl Config {
    /// Moves the loopback listeners to every IPv4 interface, on which credentials are then required.
    ///
    /// IPv6 is left to the configuration: there is no NAT in front of it, so "every interface" would often
    /// mean the whole internet.
    pub fn open_to_lan(&mut self) {
        let listeners = [
            &mut self.rtsp.listen,
            &mut self.rtsps.listen,
            &mut self.http.listen,
        ];
        for addr in listeners.into_iter().flatten() {
            if addr.ip().is_loopback() {
                addr.set_ip(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            }
        }
        // 127.0.0.1 and [::1] at one port became the same listener.
        dedup(&mut self.rtsp.listen);
        dedup(&mut self.rtsps.listen);
        dedup(&mut self.http.listen);
    }

    /// Whether some listener asks for credentials.
    pub fn needs_credentials(&self) -> bool {
        let listeners = [&self.rtsp.listen, &self.rtsps.listen, &self.http.listen];
        listeners
            .into_iter()
            .flatten()
            .any(|addr| self.auth.required.at(addr))
    }
}

fn dedup(addrs: &mut Vec<SocketAddr>) {
    let mut seen = Vec::new();
    addrs.retain(|a| {
        let new = a.port() == 0 || !seen.contains(a);
        seen.push(*a);
        new
    });
}

/// Why a text is no path name, if it is none.
pub fn path_name_error(name: &str) -> Option<String> {
    PathName::parse(name).is_err().then(|| {
        format!("`{name}` is no path name, expected letters, digits and . _ ~ - , with / between parts")
    })
}

/// Why a text is no user's name, if it is none.
pub fn user_name_error(name: &str) -> Option<&'static str> {
    let good = |c: char| c.is_ascii_graphic() && !matches!(c, ':' | '"' | '\\' | '/' | '@');
    let fits = (1..=64).contains(&name.len()) && name.chars().all(good);
    (!fits).then_some("a user name is 1 to 64 visible ASCII characters without : \" \\ / @")
}

/// Why a text is no source, if it is none.
pub fn source_error(source: &str) -> Option<String> {
    Source::parse(source).err().map(|why| why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opening_to_the_lan_moves_loopback_listeners_only_and_requires_credentials() {
        let text = "[rtsp]\nlisten = [\"127.0.0.1:8554\", \"[::1]:8554\"]\n[http]\nlisten = \"192.0.2.1:80\"";
        let mut config = parse("f", text).unwrap();
        config.open_to_lan();
        assert_eq!(config.rtsp.listen, ["0.0.0.0:8554".parse().unwrap()]);
        assert_eq!(config.http.listen, ["192.0.2.1:80".parse().unwrap()]);
        assert!(config.needs_credentials());
        assert!(!Config::default().needs_credentials());
    }

    #[test]
    fn loopback_is_open_unless_credentials_are_always_required() {
        let loopback = "127.0.0.1:1".parse().unwrap();
        assert!(!Required::Auto.at(&loopback));
        assert!(Required::Always.at(&loopback));
        for other in ["0.0.0.0:1", "[::]:1", "192.168.0.2:1"] {
            assert!(Required::Auto.at(&other.parse().unwrap()), "{other}");
        }
    }

    #[test]
    fn keys_of_a_pulled_path_become_options_of_its_source() {
        let text = "[paths.a]\nsource = \"rtsp://cam/1?x=y\"\non_demand = true\nuser = \"anna\"\n\
                    password = \"p&#s\"\n[paths.b]\nsource = \"rtsp://a:p#s@cam/1#on_demand\"\nsilence = \"3s\"";
        let config = parse("f", text).unwrap();
        assert_eq!(
            config.paths[0].source,
            "rtsp://cam/1?x=y#on_demand=true&user=anna&password=p%26%23s"
        );
        assert_eq!(config.paths[1].source, "rtsp://a:p#s@cam/1#on_demand&silence=3s");
    }

    #[test]
    fn a_back_channel_is_a_path_whose_listeners_are_the_readers_of_the_other() {
        let text = "[paths.door]\nsource = \"publish:\"\nbackchannel = true\nread = [\"anna\"]\npublish = []\n\
            [paths.yard]\nsource = \"publish:\"\nbackchannel = false\n[[auth.users]]\nname = \"anna\"\n\
            ha1_md5 = \"ce3f452e65e24c137bd0167a86ad4f0a\"\n\
            ha1_sha256 = \"02fb644b3609611d64f5ad472b67339ad827b740d4e09e8e48594b0119ec8452\"\n";
        let config = parse("louver.toml", text).unwrap();
        let paths: Vec<_> = config
            .paths
            .iter()
            .map(|p| (p.name.as_str(), p.source.as_str()))
            .collect();
        let own = ("door/backchannel", "backchannel:");
        assert_eq!(paths, [("door", "publish:"), own, ("yard", "publish:")]);
        let rule = config
            .auth
            .rules
            .iter()
            .find(|r| r.path.as_deref() == Some(own.0));
        assert_eq!(rule.and_then(|r| r.read.clone()), Some(vec!["anna".to_owned()]));
    }
}
