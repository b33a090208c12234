//! Where a pulled source is: a scheme, a URL without credentials, and what may be shown of it. Pure.

use percent_encoding::NON_ALPHANUMERIC;
use percent_encoding::percent_decode_str;
use percent_encoding::utf8_percent_encode;

use super::options::Credentials;
use super::options::OptionError;
use super::options::Options;
use super::options::Transport;

/// What cameras see of us.
const AGENT: &str = concat!("Louver/", env!("CARGO_PKG_VERSION"));

/// How a source is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scheme {
    Rtsp,
    Rtsps,
    Http,
    Https,
    Rtmp,
    Rtmps,
    Srt,
    Udp,
    File,
}

impl Scheme {
    const ALL: [(&'static str, Self); 9] = [
        ("rtsp", Self::Rtsp),
        ("rtsps", Self::Rtsps),
        ("http", Self::Http),
        ("https", Self::Https),
        ("rtmp", Self::Rtmp),
        ("rtmps", Self::Rtmps),
        ("srt", Self::Srt),
        ("udp", Self::Udp),
        ("file", Self::File),
    ];

    /// The scheme of this name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, scheme)| *scheme)
    }
    fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, scheme)| *scheme == self)
            .map_or("", |(name, _)| name)
    }
}

/// A source that is pulled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pull {
    pub(super) scheme: Scheme,
    /// The URL as it is asked for: without credentials and options. May hold tokens: not for logs.
    pub(super) url: String,
    pub(super) credentials: Option<Credentials>,
    pub(super) options: Options,
    /// A file that begins again when it has ended.
    pub(super) endless: bool,
    /// How we call ourselves.
    pub(super) agent: String,
}

/// Why a text is no address to pull from. Repeats none of it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AddressError {
    #[error("the address has no host; write it as in `rtsp://192.0.2.1:554/stream1`")]
    NoHost,
    #[error("the port is no number from 1 to 65535; write it as in `rtsp://192.0.2.1:554/stream1`")]
    Port,
    #[error("the address has no port; write it as in `udp://239.0.0.1:5000` or `srt://192.0.2.1:9000`")]
    NoPort,
    #[error("the address holds a space or a control character; write them as `%20`")]
    Character,
    #[error("the file has no name; write it as in `file:clip.mp4?loop=1`")]
    NoFile,
    #[error("a file may be followed by `?loop=1` and nothing else")]
    FileQuery,
    #[error(transparent)]
    Option(#[from] OptionError),
}

impl Pull {
    /// Reads what follows `scheme:`.
    pub(crate) fn parse(scheme: Scheme, rest: &str) -> Result<Self, AddressError> {
        if scheme == Scheme::File {
            return file(rest);
        }
        let rest = rest.strip_prefix("//").ok_or(AddressError::NoHost)?;
        let (user_info, rest) = part_user_info(rest);
        let (location, fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let options = Options::parse(fragment)?;
        check_location(scheme, location)?;
        fits_tls(scheme, &options)?;
        Ok(Self {
            scheme,
            url: format!("{}://{location}", scheme.as_str()),
            credentials: credentials(user_info, &options),
            options,
            endless: false,
            agent: AGENT.to_owned(),
        })
    }
    /// The address as the operator may see it: without user, password, and whatever of the query could be
    /// either.
    pub fn label(&self) -> String {
        let (path, query) = match self.url.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (self.url.as_str(), None),
        };
        let mut label: String = path.split('/').map(mask_segment).collect::<Vec<_>>().join("/");
        if let Some(query) = query {
            label.push('?');
            let pairs: Vec<String> = query.split('&').map(mask_pair).collect();
            label.push_str(&pairs.join("&"));
        } else if self.endless {
            label.push_str("?loop=1");
        }
        label
    }
    /// The URL with the credentials in it, as FFmpeg's libraries want it. Never for logs.
    pub(super) fn with_credentials(&self) -> String {
        let Some(Credentials { user, password }) = &self.credentials else {
            return self.url.clone();
        };
        let escape = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        match self.url.split_once("://") {
            Some((scheme, rest)) => format!("{scheme}://{}:{}@{rest}", escape(user), escape(password)),
            None => self.url.clone(),
        }
    }
    /// Whether it is RTSP, in TLS or not.
    pub(super) fn is_rtsp(&self) -> bool {
        matches!(self.scheme, Scheme::Rtsp | Scheme::Rtsps)
    }
    /// `host` or `host:port`.
    pub(super) fn authority(&self) -> &str {
        let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
        rest.split(['/', '?']).next().unwrap_or("")
    }
    fn host(&self) -> &str {
        let authority = self.authority();
        match authority.rfind([']', ':']) {
            Some(at) if authority[at..].starts_with(':') => &authority[..at],
            _ => authority,
        }
    }
    /// Host (an IPv6 address without brackets) and port.
    pub(super) fn host_and_port(&self, default: u16) -> Option<(&str, u16)> {
        let host = self.host();
        let port = port(self.authority()).filter(|p| *p > 0).unwrap_or(default);
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        (!host.is_empty()).then_some((host, port))
    }
    /// The same source without TLS at a port of this machine, asked for by somebody who says this word.
    pub(super) fn through(&self, port: u16, word: &str) -> Self {
        let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
        let behind = &rest[self.authority().len()..];
        let mut near = self.clone();
        near.scheme = Scheme::Rtsp;
        near.url = format!("rtsp://127.0.0.1:{port}{behind}");
        near.options.transport = Transport::Tcp;
        near.agent = format!("{AGENT} ({word})");
        near
    }
    /// The same source elsewhere, as a redirection says. Credentials follow to the same host only, or come
    /// with the new address.
    pub(super) fn moved_to(&self, location: &str) -> Option<Self> {
        let (scheme, rest) = location.trim().split_once(':')?;
        let scheme = Scheme::of(scheme).filter(|s| matches!(s, Scheme::Rtsp | Scheme::Rtsps))?;
        // An option of ours is not the far end's to say.
        let mut moved = Self::parse(scheme, rest.split('#').next()?).ok()?;
        moved.options = self.options.clone();
        if moved.credentials.is_none() && moved.host() == self.host() {
            moved.credentials.clone_from(&self.credentials);
        }
        Some(moved)
    }
}

/// Parts `user:password@` from the rest. Passwords hold anything, also what should have been escaped: where
/// the first part is no host with a port, the user information goes on to the last `@`.
fn part_user_info(rest: &str) -> (Option<&str>, &str) {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    let split_at_last = |text: &str| text.rfind('@').map(|at| (Some(&rest[..at]), &rest[at + 1..]));
    if authority.contains('@') && port(authority.rsplit('@').next().unwrap_or("")).is_some() {
        return split_at_last(authority).unwrap_or((None, rest));
    }
    if port(authority).is_none() {
        return split_at_last(rest).unwrap_or((None, rest));
    }
    (None, rest)
}

/// The port of `host[:port]`; `None` if there is something else behind the colon.
fn port(authority: &str) -> Option<u16> {
    let behind = match authority.rsplit_once(']') {
        Some((_, behind)) => behind, // an IPv6 address
        None => authority.find(':').map_or("", |at| &authority[at..]),
    };
    match behind.strip_prefix(':') {
        None if behind.is_empty() => Some(0),
        Some(number) => number.parse().ok().filter(|p| *p > 0),
        None => None,
    }
}

fn check_location(scheme: Scheme, location: &str) -> Result<(), AddressError> {
    if location.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(AddressError::Character);
    }
    let authority = location.split(['/', '?']).next().unwrap_or("");
    let host = authority.trim_start_matches('@');
    let named = !host.is_empty() && !host.starts_with(':');
    // `udp://:5000` and `srt://:9000?mode=listener` wait at a port of this machine.
    if !named && !matches!(scheme, Scheme::Udp | Scheme::Srt) {
        return Err(AddressError::NoHost);
    }
    match port(host) {
        None => Err(AddressError::Port),
        // These two have no usual port.
        Some(0) if matches!(scheme, Scheme::Udp | Scheme::Srt) => Err(AddressError::NoPort),
        Some(_) => Ok(()),
    }
}

/// What is said about certificates must have one to be about.
fn fits_tls(scheme: Scheme, options: &Options) -> Result<(), OptionError> {
    if options.fingerprint.is_some() && scheme != Scheme::Rtsps {
        return Err(OptionError::NoTls("fingerprint", "rtsps://"));
    }
    if options.insecure && !matches!(scheme, Scheme::Rtsps | Scheme::Https | Scheme::Rtmps) {
        return Err(OptionError::NoTls("insecure", "rtsps://, https://, rtmps://"));
    }
    Ok(())
}

fn file(rest: &str) -> Result<Pull, AddressError> {
    let (path, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let endless = match query {
        "" | "loop=0" => false,
        "loop=1" | "loop" => true,
        _ => return Err(AddressError::FileQuery),
    };
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() {
        return Err(AddressError::NoFile);
    }
    if path.chars().any(char::is_control) {
        return Err(AddressError::Character);
    }
    Ok(Pull {
        scheme: Scheme::File,
        url: format!("file:{path}"),
        credentials: None,
        options: Options::parse(fragment)?,
        endless,
        agent: AGENT.to_owned(),
    })
}

fn credentials(user_info: Option<&str>, options: &Options) -> Option<Credentials> {
    if let Some(user) = &options.user {
        return Some(Credentials {
            user: user.clone(),
            password: options.password.as_ref().map_or("", |p| &p.0).to_owned(),
        });
    }
    let user_info = user_info.filter(|u| !u.is_empty())?;
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let decode = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    Some(Credentials {
        user: decode(user),
        password: decode(password),
    })
}

/// What queries of cameras say that is no secret.
const HARMLESS: &[&str] = &[
    "channel",
    "subtype",
    "stream",
    "profile",
    "res",
    "resolution",
    "codec",
    "videocodec",
    "audio",
    "fps",
    "transport",
    "unicast",
    "mode",
    "camera",
    "inst",
    "line",
    "latency",
    "pkt_size",
    "loop",
];

fn mask_pair(pair: &str) -> String {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    if value.is_empty() && key.len() < 20 || HARMLESS.iter().any(|h| h.eq_ignore_ascii_case(key)) {
        return pair.to_owned();
    }
    format!("{}=***", if key.len() < 20 { key } else { "" })
}

/// Some cameras want the password in the path: `/user=admin_password=x_channel=1_stream=0.sdp`.
fn mask_segment(segment: &str) -> String {
    let lower = segment.to_ascii_lowercase();
    let secret = ["pass", "pwd", "user=", "token", "auth"]
        .iter()
        .any(|s| lower.contains(s));
    match secret && segment.contains('=') {
        true => "***".to_owned(),
        false => segment.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pull(text: &str) -> Result<Pull, AddressError> {
        let (scheme, rest) = text.split_once(':').unwrap();
        Pull::parse(Scheme::of(scheme).unwrap(), rest)
    }

    fn credentials_of(text: &str) -> (String, String) {
        let found = pull(text).unwrap().credentials.unwrap();
        (found.user, found.password)
    }

    #[test]
    fn credentials_are_taken_out_of_the_address() {
        let cam = pull("rtsp://anna:p%40ss@cam:554/Streaming/Channels/101?transportmode=unicast").unwrap();
        assert_eq!(
            cam.url,
            "rtsp://cam:554/Streaming/Channels/101?transportmode=unicast"
        );
        assert_eq!(
            credentials_of("rtsp://anna:p%40ss@cam/1"),
            ("anna".into(), "p@ss".into())
        );
        assert_eq!(
            credentials_of("rtsp://anna@cam/1"),
            ("anna".into(), String::new())
        );
        assert_eq!(
            cam.with_credentials(),
            "rtsp://anna:p%40ss@cam:554/Streaming/Channels/101?transportmode=unicast"
        );
        assert_eq!(pull("rtsp://cam/1").unwrap().credentials, None);
    }

    #[test]
    fn passwords_that_should_have_been_escaped_are_understood() {
        for password in ["p@ss", "pa/ss", "pa#ss", "pa?ss", "a:b"] {
            let text = format!("rtsp://anna:{password}@cam:554/live");
            assert_eq!(credentials_of(&text), ("anna".into(), password.into()), "{text}");
            assert_eq!(pull(&text).unwrap().url, "rtsp://cam:554/live");
        }
        // A path with an at sign has no user.
        assert_eq!(pull("rtsp://cam/live@main").unwrap().credentials, None);
        assert_eq!(pull("rtsp://[::1]:554/live@main").unwrap().credentials, None);
    }

    #[test]
    fn options_stand_behind_the_hash_and_may_hold_the_credentials() {
        let cam = pull("rtsp://cam/1?a=b#transport=udp&user=anna&password=hunter2").unwrap();
        assert_eq!(cam.url, "rtsp://cam/1?a=b");
        assert_eq!(cam.credentials.unwrap().password, "hunter2");
        assert_eq!(cam.options.transport, Transport::Udp);
    }

    #[test]
    fn labels_show_no_secrets() {
        let label = |text| pull(text).unwrap().label();
        assert_eq!(
            label("rtsp://anna:hunter2@cam:554/1#user=a&password=b"),
            "rtsp://cam:554/1"
        );
        assert_eq!(
            label("rtsp://cam/cam/realmonitor?channel=1&subtype=0&key=hunter2"),
            "rtsp://cam/cam/realmonitor?channel=1&subtype=0&key=***"
        );
        assert_eq!(
            label("rtsp://cam/user=admin_password=hunter2_channel=1_stream=0.sdp?real_stream"),
            "rtsp://cam/***?real_stream"
        );
        assert_eq!(label("file:clip.mp4?loop=1"), "file:clip.mp4?loop=1");
        let debug = format!("{:?}", pull("rtsp://anna:hunter2@cam/1").unwrap());
        assert!(!debug.contains("hunter2") && !debug.contains("anna"), "{debug}");
    }

    #[test]
    fn what_is_said_of_certificates_is_for_sources_in_tls() {
        let print = "ab".repeat(32);
        assert!(pull(&format!("rtsps://cam/1#fingerprint={print}")).is_ok());
        assert!(pull("https://cam/1.ts#insecure").is_ok());
        for text in [
            "rtsp://cam/1#insecure".to_owned(),
            format!("https://cam/1.ts#fingerprint={print}"),
        ] {
            let error = pull(&text).unwrap_err().to_string();
            assert!(error.contains("is for sources in TLS"), "{error}");
        }
    }

    #[test]
    fn a_source_in_tls_is_reached_through_a_port_of_this_machine() {
        let cam = pull("rtsps://anna:hunter2@cam:8322/a/b?channel=1#transport=udp").unwrap();
        assert_eq!(cam.host_and_port(322), Some(("cam", 8322)));
        let near = cam.through(5000, "word");
        assert_eq!(near.url, "rtsp://127.0.0.1:5000/a/b?channel=1");
        assert_eq!(near.options.transport, Transport::Tcp, "not in the clear");
        assert!(near.credentials.is_some() && near.agent.ends_with("(word)"));
        let bare = pull("rtsps://[2001:db8::1]").unwrap();
        assert_eq!(bare.host_and_port(322), Some(("2001:db8::1", 322)));
        assert_eq!(bare.through(5000, "word").url, "rtsp://127.0.0.1:5000");
    }

    #[test]
    fn files_and_ports_of_this_machine_are_sources_too() {
        let clip = pull("file:clip.mp4?loop=1").unwrap();
        assert_eq!((clip.url.as_str(), clip.endless), ("file:clip.mp4", true));
        assert_eq!(pull("file:///tmp/a.ts").unwrap().url, "file:/tmp/a.ts");
        assert_eq!(pull("udp://@239.0.0.1:5000").unwrap().url, "udp://239.0.0.1:5000");
        assert!(pull("udp://:5000").is_ok());
        for portless in [
            "udp://",
            "udp://239.0.0.1",
            "srt://192.0.2.7",
            "srt://?mode=listener",
        ] {
            assert_eq!(pull(portless), Err(AddressError::NoPort), "{portless}");
        }
        assert!(pull("srt://:9000?mode=listener").is_ok());
    }

    #[test]
    fn addresses_that_cannot_be_are_refused_without_repeating_them() {
        for (text, error) in [
            ("rtsp:cam", AddressError::NoHost),
            ("rtsp:///1", AddressError::NoHost),
            ("rtsp://cam:0/1", AddressError::Port),
            ("rtsp://cam:x/1", AddressError::Port),
            ("rtsp://anna:hunter2@cam:70000/1", AddressError::Port),
            ("rtsp://cam/a b", AddressError::Character),
            ("file:", AddressError::NoFile),
            ("file:x?lop=1", AddressError::FileQuery),
        ] {
            assert_eq!(pull(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_redirection_takes_the_credentials_along_to_the_same_host_only() {
        let cam = pull("rtsp://anna:hunter2@cam:554/1#transport=udp").unwrap();
        let same = cam.moved_to("rtsp://cam:8554/2").unwrap();
        assert!(same.credentials.is_some());
        assert_eq!(same.options.transport, Transport::Udp);
        assert!(cam.moved_to("rtsp://evil:554/2").unwrap().credentials.is_none());
        let own = cam.moved_to("rtsp://bert:x@other/2#on_demand=1").unwrap();
        assert_eq!(own.credentials.unwrap().user, "bert");
        assert!(!own.options.on_demand);
        assert!(cam.moved_to("file:/etc/passwd").is_none());
        assert!(cam.moved_to("http://cam/").is_none());
    }

    proptest! {
        #[test]
        fn any_text_is_an_address_or_refused(text in "[ -~é]{0,60}") {
            for scheme in [Scheme::Rtsp, Scheme::Udp, Scheme::File] {
                if let Ok(found) = Pull::parse(scheme, &text) {
                    found.label();
                    found.with_credentials();
                }
            }
        }

        #[test]
        fn a_password_of_any_characters_is_found_escaped_and_never_shown(password in "[!-~é ]{6,20}") {
            let escaped = utf8_percent_encode(&password, NON_ALPHANUMERIC);
            let cam = pull(&format!("rtsp://Q:{escaped}@h:554/1?channel=1")).unwrap();
            prop_assert_eq!(&cam.credentials.as_ref().unwrap().password, &password);
            let shown = format!("{} {:?} {cam:?}", cam.label(), cam.options);
            prop_assert!(!shown.contains(&password) && !shown.contains(&escaped.to_string()));
            let again = cam.with_credentials();
            let back = pull(&again).unwrap();
            prop_assert_eq!(back, cam);
        }
    }
}
