//! How a source is pulled: what may follow the `#` of its address, and what a path's table may say. Pure.

use std::fmt;
use std::time::Duration;

use percent_encoding::NON_ALPHANUMERIC;
use percent_encoding::percent_decode_str;
use percent_encoding::utf8_percent_encode;

use super::tls::Fingerprint;
use super::tls::Trust;

/// How RTP is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Transport {
    /// TCP, and UDP from a camera that refuses TCP.
    #[default]
    Auto,
    Tcp,
    Udp,
    /// RTSP inside of HTTP, through FFmpeg's libraries.
    Http,
}

impl Transport {
    const ALL: [(&'static str, Self); 4] = [
        ("auto", Self::Auto),
        ("tcp", Self::Tcp),
        ("udp", Self::Udp),
        ("http", Self::Http),
    ];
}

/// A user's name and password. Shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// How a source is pulled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    pub transport: Transport,
    /// Only while somebody watches.
    pub on_demand: bool,
    /// Without a frame for so long, the source is opened again, however well its connection is.
    pub silence: Duration,
    /// The wait before the first new attempt; it doubles with each one that fails.
    pub retry_first: Duration,
    /// The longest wait between two attempts.
    pub retry_max: Duration,
    /// The only certificate that is taken.
    pub(super) fingerprint: Option<Fingerprint>,
    /// Any certificate is taken.
    pub(super) insecure: bool,
    /// Beside the address, for those who do not like them in it.
    pub(super) user: Option<String>,
    pub(super) password: Option<Password>,
}

/// Shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Password(pub(super) String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            transport: Transport::Auto,
            on_demand: false,
            silence: Duration::from_secs(10),
            retry_first: Duration::from_millis(500),
            retry_max: Duration::from_secs(10),
            fingerprint: None,
            insecure: false,
            user: None,
            password: None,
        }
    }
}

/// Why an option cannot be. Never repeats a value: it may be a password.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OptionError {
    #[error(
        "`{0}` is no option of an address; behind `#` there may be `transport`, `on_demand`, `silence`, \
         `retry_first`, `retry_max`, `fingerprint`, `insecure`, `user` and `password`, as in `#transport=udp&on_demand=1`"
    )]
    Unknown(String),
    #[error("`{0}` is not understood, expected {1}")]
    Value(&'static str, &'static str),
    #[error("`retry_first` is longer than `retry_max`; give both, the longer one as `retry_max`")]
    Order,
    #[error("`{0}` is for sources in TLS ({1}), expected none here")]
    NoTls(&'static str, &'static str),
    #[error(
        "there are `fingerprint` and `insecure`; one takes a single certificate, the other any: leave one out"
    )]
    Both,
    #[error("there is a `password` without a `user`; name both, or neither")]
    NoUser,
}

impl Options {
    /// Reads `key=value&key=value`.
    pub(super) fn parse(text: &str) -> Result<Self, OptionError> {
        let mut options = Self::default();
        for pair in text.split('&').filter(|p| !p.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, "1"));
            let value = percent_decode_str(value).decode_utf8_lossy();
            options.set(key, &value)?;
        }
        if options.retry_first > options.retry_max {
            return Err(OptionError::Order);
        }
        if options.fingerprint.is_some() && options.insecure {
            return Err(OptionError::Both);
        }
        if options.password.is_some() && options.user.is_none() {
            return Err(OptionError::NoUser);
        }
        Ok(options)
    }
    /// The option as it stands behind the `#` of an address, if its value can be.
    pub fn pair(key: &str, value: &str) -> Result<String, OptionError> {
        Self::default().set(key, value)?;
        Ok(format!("{key}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
    }
    /// Whose certificate is taken.
    pub(super) fn trust(&self) -> Trust {
        match (self.fingerprint, self.insecure) {
            (Some(pinned), _) => Trust::Only(pinned),
            (None, true) => Trust::Anybody,
            (None, false) => Trust::System,
        }
    }
    fn set(&mut self, key: &str, value: &str) -> Result<(), OptionError> {
        match key {
            "transport" => {
                let known = Transport::ALL.iter().find(|(name, _)| *name == value);
                self.transport = known
                    .ok_or(OptionError::Value("transport", "`auto`, `tcp`, `udp` or `http`"))?
                    .1;
            }
            "on_demand" => {
                self.on_demand = truth(value).ok_or(OptionError::Value("on_demand", "`true` or `false`"))?;
            }
            "insecure" => {
                self.insecure = truth(value).ok_or(OptionError::Value("insecure", "`true` or `false`"))?;
            }
            "fingerprint" => {
                let expected = "64 hexadecimal digits, with or without colons";
                let read = Fingerprint::parse(value);
                self.fingerprint = Some(read.ok_or(OptionError::Value("fingerprint", expected))?);
            }
            "silence" => self.silence = time("silence", value, "1s to 1h, as in `10s`", 1_000)?,
            "retry_first" => {
                self.retry_first = time("retry_first", value, "10ms to 1h, as in `500ms`", 10)?;
            }
            "retry_max" => self.retry_max = time("retry_max", value, "10ms to 1h, as in `10s`", 10)?,
            "user" => self.user = Some(value.to_owned()),
            "password" => self.password = Some(Password(value.to_owned())),
            other => {
                let shown = other.chars().filter(|c| !c.is_control()).take(20).collect();
                return Err(OptionError::Unknown(shown));
            }
        }
        Ok(())
    }
}

fn truth(value: &str) -> Option<bool> {
    match value {
        "1" | "true" | "yes" => Some(true),
        "0" | "false" | "no" => Some(false),
        _ => None,
    }
}

/// A duration in `ms`, `s` or `m`, from `least` milliseconds to an hour.
fn time(key: &'static str, value: &str, expected: &'static str, least: u64) -> Result<Duration, OptionError> {
    let digits = value.len() - value.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = value.split_at(digits);
    let factor = match unit.trim() {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        _ => None,
    };
    let millis = (number.parse::<u64>().ok()).and_then(|n| n.checked_mul(factor?));
    match millis {
        Some(ms) if (least..=3_600_000).contains(&ms) => Ok(Duration::from_millis(ms)),
        _ => Err(OptionError::Value(key, expected)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_what_is_left_out_has_its_default() {
        let options = Options::parse("transport=udp&on_demand&silence=3s&retry_first=50ms").unwrap();
        assert_eq!(options.transport, Transport::Udp);
        assert!(options.on_demand);
        assert_eq!(options.silence, Duration::from_secs(3));
        assert_eq!(options.retry_first, Duration::from_millis(50));
        assert_eq!(options.retry_max, Duration::from_secs(10));
        assert_eq!(Options::parse("").unwrap(), Options::default());
    }

    #[test]
    fn what_config_writes_is_read_back() {
        let pair = Options::pair("password", "p&a=s#s %ä").unwrap();
        let options = Options::parse(&format!("user=anna&{pair}")).unwrap();
        assert_eq!(options.password, Some(Password("p&a=s#s %ä".into())));
    }

    #[test]
    fn errors_name_the_key_and_never_the_value() {
        let error = |text: &str| Options::parse(text).unwrap_err().to_string();
        assert!(error("silence=hunter2").starts_with("`silence` is not understood, expected 1s to 1h"));
        assert!(!error("silence=hunter2").contains("hunter2"));
        assert!(error("silence=0s").contains("silence"));
        assert!(error("silence=99h").contains("silence"));
        assert!(error("transport=carrier").contains("`udp`"));
        assert!(error("pasword=x").contains("`pasword`"));
        assert!(error("retry_first=20s").contains("retry_max"));
        assert!(error("password=x").contains("user"));
        assert!(error("fingerprint=hunter2").contains("64 hexadecimal"));
        let both = format!("fingerprint={}&insecure", "ab".repeat(32));
        assert!(error(&both).contains("leave one out"));
    }

    #[test]
    fn a_password_is_not_shown_by_debug() {
        let options = Options::parse("user=anna&password=hunter2").unwrap();
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
