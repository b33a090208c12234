//! The rules: shapes in, a checked [`Config`] or every broken rule out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;

use toml::Spanned;

use crate::analytics::Retention;
use crate::config::Auth;
use crate::config::Config;
use crate::config::DatabaseUrl;
use crate::config::Http;
use crate::config::Hub;
use crate::config::Multicast;
use crate::config::PathEntry;
use crate::config::Publish;
use crate::config::Required;
use crate::config::Rtsp;
use crate::config::Rtsps;
use crate::config::Rule;
use crate::config::Stats;
use crate::config::Tls;
use crate::config::TlsFiles;
use crate::config::credentials::User;
use crate::config::credentials::user;
use crate::config::error::ConfigErrors;
use crate::config::file::File;
use crate::config::file::HttpFile;
use crate::config::file::HubFile;
use crate::config::file::Names;
use crate::config::file::OneOrMore;
use crate::config::file::PathFile;
use crate::config::file::PrivacyFile;
use crate::config::file::PublishFile;
use crate::config::file::RetentionFile;
use crate::config::file::RtspFile;
use crate::config::file::StatsFile;
use crate::config::file::TlsFile;
use crate::config::file::UserFile;
use crate::config::user_name_error;
use crate::config::values;
use crate::config::values::Checker;
use crate::config::values::each;
use crate::ingest::Options;

/// Applies the rules; what the file leaves out stays at its default.
pub(super) fn check(file: &str, text: &str, shapes: &File) -> Result<Config, ConfigErrors> {
    let mut c = Checker {
        file,
        text,
        errors: Vec::new(),
    };
    let config = Config {
        rtsp: c.rtsp(&shapes.rtsp, &shapes.privacy),
        rtsps: Rtsps {
            listen: c.addresses(&shapes.rtsps.listen, 8322, Vec::new()),
            proxy_protocol: c.proxy_protocol(&shapes.rtsps.proxy_protocol, &shapes.privacy),
        },
        tls: c.tls(&shapes.tls),
        http: c.http(&shapes.http, &shapes.privacy),
        hub: c.hub(&shapes.hub),
        publish: c.publish(&shapes.publish),
        paths: c.paths(&shapes.paths),
        auth: c.auth(shapes),
        limits: c.limits(&shapes.limits),
        privacy: c.privacy(&shapes.privacy),
        notice: c.notice(&shapes.notice),
        audit: c.audit(&shapes.audit),
        alerts: c.alerts(&shapes.alerts),
        stats: c.stats(&shapes.stats),
        data_dir: c.directory(&shapes.data.dir),
        log: c.log_filter(&shapes.log.filter),
    };
    c.small_groups(shapes, &config);
    c.port_clashes(&[
        (&shapes.rtsp.listen, Rtsp::default().listen),
        (&shapes.rtsps.listen, Vec::new()),
        (&shapes.http.listen, Http::default().listen),
    ]);
    if c.errors.is_empty() {
        Ok(config)
    } else {
        Err(ConfigErrors::sorted(c.errors))
    }
}

impl Checker<'_> {
    fn rtsp(&mut self, f: &RtspFile, privacy: &PrivacyFile) -> Rtsp {
        let d = Rtsp::default();
        Rtsp {
            listen: self.addresses(&f.listen, 8554, d.listen),
            udp_ports: self.udp_ports(&f.udp_ports, d.udp_ports),
            session_timeout: self.duration(
                "session_timeout",
                &f.session_timeout,
                5..=3_600,
                d.session_timeout,
            ),
            write_timeout: self.duration("write_timeout", &f.write_timeout, 1..=300, d.write_timeout),
            multicast: self.multicast(f),
            proxy_protocol: self.proxy_protocol(&f.proxy_protocol, privacy),
        }
    }

    fn tls(&mut self, f: &TlsFile) -> Tls {
        let files = match (&f.certificate, &f.key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => {
                for (name, text) in [("certificate", certificate), ("key", key)] {
                    if text.get_ref().trim().is_empty() {
                        let message = format!("{name} is empty, expected a file in PEM");
                        self.wrong(&text.span(), &message);
                    }
                }
                Some(TlsFiles {
                    certificate: certificate.get_ref().into(),
                    key: key.get_ref().into(),
                })
            }
            (Some(one), None) | (None, Some(one)) => {
                self.wrong(
                    &one.span(),
                    "a certificate and its key belong together, expected both, certificate and key, or neither",
                );
                None
            }
        };
        Tls { files }
    }

    fn multicast(&mut self, f: &RtspFile) -> Option<Multicast> {
        let port: u16 = self.number("multicast_port", &f.multicast_port, 1_024..=65_000, 8_002);
        if let Some(raw) = f.multicast_port.as_ref().filter(|_| !port.is_multiple_of(2)) {
            self.wrong(
                &raw.span(),
                "multicast_port is odd, expected an even number as RTP wants it",
            );
        }
        let ttl = self.number("multicast_ttl", &f.multicast_ttl, 1..=255, 1);
        let raw = f.multicast.as_ref()?;
        if raw.get_ref().is_empty() {
            return None;
        }
        let Some((first, groups)) = values::groups(raw.get_ref()) else {
            self.wrong(
                &raw.span(),
                "multicast is no range of groups, expected as in \"239.255.42.0/24\" (224.0.1.0 to \
                 239.255.255.255), or \"\" (off)",
            );
            return None;
        };
        Some(Multicast {
            first,
            groups,
            port,
            ttl,
        })
    }

    fn http(&mut self, f: &HttpFile, privacy: &PrivacyFile) -> Http {
        let d = Http::default();
        Http {
            listen: self.addresses(&f.listen, 8080, d.listen),
            proxy_protocol: self.proxy_protocol(&f.proxy_protocol, privacy),
        }
    }

    fn hub(&mut self, f: &HubFile) -> Hub {
        let d = Hub::default();
        Hub {
            ring_bytes: self.size("ring_size", &f.ring_size, 1 << 20..=1 << 30, d.ring_bytes),
            ring_time: self.duration("ring_time", &f.ring_time, 1..=120, d.ring_time),
        }
    }

    fn publish(&mut self, f: &PublishFile) -> Publish {
        let d = Publish::default();
        Publish {
            allow: f.allow.unwrap_or(d.allow),
            takeover: f.takeover.unwrap_or(d.takeover),
            keep_readers: self.duration("keep_readers", &f.keep_readers, 0..=3_600, d.keep_readers),
        }
    }

    pub(super) fn retention(&mut self, f: &RetentionFile) -> Retention {
        let d = Retention::default();
        Retention {
            sessions_days: self.number("sessions_days", &f.sessions_days, 0..=31, d.sessions_days),
            hours_days: self.number("hours_days", &f.hours_days, 2..=761, d.hours_days),
            days_months: self.number("days_months", &f.days_months, 1..=25, d.days_months),
        }
    }

    fn stats(&mut self, f: &StatsFile) -> Stats {
        let Some(raw) = f.database.as_ref().filter(|raw| raw.get_ref() != "sqlite") else {
            return Stats::default();
        };
        if !crate::config::is_database(raw.get_ref()) {
            self.wrong(
                &raw.span(),
                "database is unknown, expected \"sqlite\" or \"postgres://HOST:5432/NAME\"",
            );
        }
        Stats {
            database: Some(DatabaseUrl(raw.get_ref().clone())),
        }
    }

    fn paths(&mut self, paths: &BTreeMap<Spanned<String>, PathFile>) -> Vec<PathEntry> {
        // In the order of the file, so that "again" is said at the later of two.
        let mut by_place: Vec<_> = paths.iter().collect();
        by_place.sort_by_key(|(name, _)| name.span().start);
        let mut entries: Vec<PathEntry> = Vec::new();
        for (name, path) in by_place {
            let span = name.span();
            let name = name.get_ref();
            if let Some(why) = crate::config::path_name_error(name) {
                self.wrong(&span, &why);
            }
            if name.to_ascii_lowercase().starts_with("nostats/") {
                self.wrong(
                    &span,
                    "nostats/ before a name is how viewers say not to be counted, expected another name",
                );
            }
            if entries.iter().any(|e| e.name.eq_ignore_ascii_case(name)) {
                self.wrong(&span, &same_path(name));
            }
            let source = self.source(&span, name, path);
            entries.push(PathEntry {
                name: name.clone(),
                source,
                sensitive: path.sensitive.unwrap_or_default(),
            });
            let Some(wish) = path.backchannel.as_ref().filter(|b| *b.get_ref()) else {
                continue;
            };
            let own = backchannel(name);
            if let Some(why) = crate::config::path_name_error(&own) {
                self.wrong(&wish.span(), &why);
            }
            if paths.keys().any(|p| p.get_ref().eq_ignore_ascii_case(&own)) {
                self.wrong(&wish.span(), &same_path(&own));
            }
            entries.push(PathEntry {
                name: own,
                source: "backchannel:".to_owned(),
                sensitive: path.sensitive.unwrap_or_default(),
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries
    }

    fn source(&mut self, table: &Range<usize>, name: &str, path: &PathFile) -> String {
        let Some(source) = &path.source else {
            self.wrong(
                table,
                &format!(
                    "path `{name}` has no source, expected source = \"webcam:\" or another (see the sample)"
                ),
            );
            return String::new();
        };
        if let Some(why) = crate::config::source_error(source.get_ref()) {
            self.wrong(&source.span(), &why);
            return source.get_ref().clone();
        }
        self.with_options(source, path)
    }

    /// The source with the keys beside it in the form that they have in an address: there is one form of a
    /// source behind the configuration.
    fn with_options(&mut self, source: &Spanned<String>, path: &PathFile) -> String {
        let on_demand = path.on_demand.as_ref();
        let on_demand = on_demand.map(|o| ("on_demand", o.get_ref().to_string(), o.span()));
        let insecure = path.insecure.as_ref();
        let insecure = insecure.map(|o| ("insecure", o.get_ref().to_string(), o.span()));
        let texts = [
            ("transport", &path.transport),
            ("user", &path.user),
            ("password", &path.password),
            ("silence", &path.silence),
            ("retry_first", &path.retry_first),
            ("retry_max", &path.retry_max),
            ("fingerprint", &path.fingerprint),
        ];
        let texts = texts.iter().filter_map(|(key, text)| {
            let text = text.as_ref()?;
            Some((*key, text.get_ref().clone(), text.span()))
        });
        let mut whole = source.get_ref().clone();
        for (key, value, span) in on_demand.into_iter().chain(insecure).chain(texts) {
            if !whole.contains("://") && !whole.starts_with("file:") {
                self.wrong(
                    &span,
                    &format!("`{key}` is for sources with an address, expected none here"),
                );
                continue;
            }
            match Options::pair(key, &value) {
                Ok(pair) => {
                    // A hash before the at sign is a password's.
                    let behind = whole.rsplit('@').next().unwrap_or("");
                    whole.push(if behind.contains('#') { '&' } else { '#' });
                    whole.push_str(&pair);
                }
                Err(why) => self.wrong(&span, &format!("{why}")),
            }
        }
        if let Some(why) = crate::config::source_error(&whole) {
            self.wrong(&source.span(), &why);
        }
        whole
    }

    fn auth(&mut self, shapes: &File) -> Auth {
        let f = &shapes.auth;
        let required = match f.required.as_ref().map(|r| (r.get_ref().as_str(), r.span())) {
            None | Some(("auto", _)) => Required::Auto,
            Some(("always", _)) => Required::Always,
            Some((_, span)) => {
                self.wrong(&span, "required is unknown, expected \"auto\" or \"always\"");
                Required::Auto
            }
        };
        let mut users: Vec<User> = Vec::new();
        for raw in &f.users {
            let Some(checked) = self.user(raw) else { continue };
            if users.iter().any(|u| u.name == checked.name) {
                self.wrong(
                    &raw.span(),
                    "this user name is there already, expected each name once",
                );
            }
            users.push(checked);
        }
        let rules = self.rules(shapes, &users);
        Auth {
            required,
            users,
            rules,
        }
    }

    fn rules(&mut self, shapes: &File, users: &[User]) -> Vec<Rule> {
        let of_all = Rule {
            publish: self.names(&shapes.publish.users, users),
            ..Rule::default()
        };
        let mut rules = vec![of_all];
        for (name, path) in &shapes.paths {
            rules.push(Rule {
                path: Some(name.get_ref().clone()),
                read: self.names(&path.read, users),
                publish: self.names(&path.publish, users),
            });
            // Who may hear what is shown may hear what is said.
            if path.backchannel.as_ref().is_some_and(|b| *b.get_ref()) {
                rules.push(Rule {
                    path: Some(backchannel(name.get_ref())),
                    read: self.names(&path.read, users),
                    publish: None,
                });
            }
        }
        rules.retain(|rule| rule.read.is_some() || rule.publish.is_some());
        rules
    }

    fn names(&mut self, names: &Names, users: &[User]) -> Option<Vec<String>> {
        let names = names.as_ref()?;
        for name in names {
            if !users.iter().any(|u| u.name == *name.get_ref()) {
                self.wrong(
                    &name.span(),
                    "there is no such user, expected a name of [[auth.users]]",
                );
            }
        }
        Some(names.iter().map(|n| n.get_ref().clone()).collect())
    }

    fn user(&mut self, raw: &Spanned<UserFile>) -> Option<User> {
        let UserFile {
            name,
            ha1_md5,
            ha1_sha256,
        } = raw.get_ref();
        let (Some(name), Some(md5), Some(sha256)) = (name, ha1_md5, ha1_sha256) else {
            self.wrong(
                &raw.span(),
                "a user is incomplete, expected name, ha1_md5 and ha1_sha256",
            );
            return None;
        };
        if let Some(why) = user_name_error(name.get_ref()) {
            self.wrong(&name.span(), why);
        }
        let checked = user(name.get_ref(), md5.get_ref(), sha256.get_ref());
        if checked.is_none() {
            let (short, span) = match md5.get_ref().len() {
                32 => (
                    "ha1_sha256 is no hash, expected 64 hexadecimal digits",
                    sha256.span(),
                ),
                _ => ("ha1_md5 is no hash, expected 32 hexadecimal digits", md5.span()),
            };
            self.wrong(&span, short);
        }
        checked
    }

    /// Two listeners at one port: the second would not start, and the system's message would not say why.
    fn port_clashes(&mut self, all: &[(&Option<Spanned<OneOrMore>>, Vec<SocketAddr>)]) {
        let mut taken: Vec<SocketAddr> = Vec::new();
        let mut listeners = Vec::new();
        for (raw, default) in all {
            match raw {
                None => listeners.extend(default.iter().map(|a| (*a, 0..0))),
                Some(raw) => {
                    listeners.extend(each(raw).filter_map(|(text, span)| Some((text.parse().ok()?, span))));
                }
            }
        }
        // What the file says comes last, so that a clash with a default has a line.
        listeners.sort_by_key(|(_, span)| span.start);
        for (addr, span) in listeners {
            if let Some(other) = taken.iter().find(|other| clash(other, &addr)) {
                let message = format!("{addr} is taken by {other} of this program, expected another port");
                self.wrong(&span, &message);
            }
            taken.push(addr);
        }
    }
}

/// The path that carries what readers of this one say.
fn backchannel(path: &str) -> String {
    format!("{path}/backchannel")
}

fn same_path(name: &str) -> String {
    format!(
        "path `{name}` is there already, expected each name once (upper and lower case are the same to VLC)"
    )
}

/// Whether the second of two listeners could not be bound beside the first.
fn clash(a: &SocketAddr, b: &SocketAddr) -> bool {
    let same_family = a.is_ipv4() == b.is_ipv4();
    let overlap = a.ip() == b.ip() || (same_family && (a.ip().is_unspecified() || b.ip().is_unspecified()));
    a.port() != 0 && a.port() == b.port() && overlap
}
