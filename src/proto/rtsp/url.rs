//! What a request URL says: path, query, track, credentials; in each of the ways in which clients join a
//! base URL, a query and a control (`rtsp://h/p?q/trackID=0` and `rtsp://h/p/trackID=0?q`).
//!
//! Not here: names that a path may have (`hub`), how an SDP names its tracks (`sdp`).

use std::fmt;

use percent_encoding::percent_decode_str;

use crate::media::TrackId;

/// A request URL, taken apart. `Debug` shows the path alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// `scheme://host:port`, without credentials; empty for a relative URL.
    origin: String,
    /// The path as sent, without a control at its end.
    raw_path: String,
    query: Option<String>,
    /// All behind the authority, as sent.
    tail: String,
    path: String,
    stats_off: bool,
    track: Option<TrackId>,
    credentials: Option<(String, String)>,
}

impl Url {
    /// Takes a URL apart: absolute, or beginning with a slash, or `*` or nothing for the server itself.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (origin, userinfo, tail) = match text.split_once("://") {
            _ if text == "*" || text.is_empty() => (String::new(), None, ""),
            _ if text.starts_with('/') => (String::new(), None, text),
            Some((scheme, rest)) if is_scheme(scheme) => {
                let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
                let (userinfo, host) = match authority.rsplit_once('@') {
                    Some((userinfo, host)) => (Some(userinfo), host),
                    None => (None, authority),
                };
                (format!("{scheme}://{host}"), userinfo, tail)
            }
            _ => return None,
        };
        let (mut raw_path, query) = match tail.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (tail, None),
        };
        let mut track = None;
        let mut query = query.map(|q| strip_track(q, &mut track));
        raw_path = strip_track(raw_path, &mut track);
        // The slash that Content-Base ends with, here and between query and control, is not the query's.
        query = query
            .map(|q| q.strip_suffix('/').unwrap_or(q))
            .filter(|q| !q.is_empty());
        let (path, stats_off) = without_alias(raw_path.trim_matches('/'));
        Some(Self {
            origin,
            raw_path: raw_path.to_owned(),
            query: query.map(str::to_owned),
            tail: tail.to_owned(),
            path: decode(path),
            stats_off,
            track,
            credentials: userinfo.map(credentials),
        })
    }

    /// Percent-decoded, without slashes at either end, without `trackID=N` and without `nostats/`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether the path began with `nostats/`, by which viewers say that they do not want to be counted: many players let
    /// one set nothing but the URL, and some lose its query.
    pub fn stats_off(&self) -> bool {
        self.stats_off
    }

    /// As sent, without the question mark and without the slash or control that came behind it. Tokens
    /// are in queries: not for logs.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The N of `trackID=N` at the end of path or query.
    pub fn track(&self) -> Option<TrackId> {
        self.track
    }

    /// User and password, percent-decoded: VLC's `satip` module has no other way to say them.
    pub fn credentials(&self) -> Option<(&str, &str)> {
        self.credentials
            .as_ref()
            .map(|(user, password)| (user.as_str(), password.as_str()))
    }

    /// The URL that controls are joined to: no credentials, the query kept, one slash at the end.
    pub fn content_base(&self) -> String {
        let path = &self.raw_path;
        let mut base = match &self.query {
            Some(query) => format!("{}{path}?{query}", self.origin),
            None => format!("{}{path}", self.origin),
        };
        if !base.ends_with('/') {
            base.push('/');
        }
        base
    }

    /// As sent, without credentials: how `RTP-Info` names a track.
    pub fn without_credentials(&self) -> String {
        [&*self.origin, &*self.tail].concat() // just as long: kept per track of thousands of sessions
    }

    /// Whether this is the URL of the track that an SDP, which was announced for `base`, calls `control`.
    /// Controls are absolute, or joined in either dialect; none, or `*`, is the base itself.
    pub fn names(&self, base: &Self, control: &str) -> bool {
        // `rtsp://h/` and a control are joined with two slashes by some.
        let here = decode(self.tail.trim_matches('/'));
        let same = |tail: &str| decode(tail.trim_matches('/')) == here;
        if control.contains("://") {
            return Self::parse(control).is_some_and(|c| same(&c.tail));
        }
        if control.is_empty() || control == "*" {
            return self.path == base.path;
        }
        let behind = format!("{}/{control}", base.tail.trim_end_matches('/'));
        let between = base.tail.split_once('?').map(|(path, query)| {
            let path = path.trim_end_matches('/');
            format!("{path}/{control}?{}", query.trim_end_matches('/'))
        });
        same(&behind) || between.is_some_and(|b| same(&b))
    }

    /// Whether a Digest's `uri` (often the path alone, or the base URL of a track) is about this URL.
    pub fn covered_by(&self, uri: &str) -> bool {
        let parent = self.path.rsplit_once('/').map_or("", |(parent, _)| parent);
        Self::parse(uri).is_some_and(|u| u.path == self.path || (!u.path.is_empty() && u.path == parent))
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Url")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// The path behind the alias `nostats/`, and whether there was one. VLC changes the case of letters.
fn without_alias(path: &str) -> (&str, bool) {
    match path.split_once('/') {
        Some((alias, rest)) if alias.eq_ignore_ascii_case("nostats") => (rest, true),
        _ => (path, false),
    }
}

fn is_scheme(scheme: &str) -> bool {
    ["rtsp", "rtsps", "rtspu"]
        .iter()
        .any(|s| s.eq_ignore_ascii_case(scheme))
}

/// Takes `trackID=N`, in any case, and the slash before it from the end.
fn strip_track<'a>(text: &'a str, track: &mut Option<TrackId>) -> &'a str {
    let trimmed = text.strip_suffix('/').unwrap_or(text);
    let Some((before, last)) = trimmed.rsplit_once('/') else {
        return text;
    };
    let Some((key, number)) = last.split_once('=') else {
        return text;
    };
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    match number.parse() {
        Ok(n) if digits && key.eq_ignore_ascii_case("trackid") => {
            *track = Some(TrackId(n));
            before
        }
        _ => text,
    }
}

fn credentials(userinfo: &str) -> (String, String) {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    (decode(user), decode(password))
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn path_query_and_track_are_found_in_every_dialect() {
        let cam = ("cam", None);
        let query = ("cam", Some("k=v"));
        let deep = ("a/b", None);
        for (text, (path, query), track) in [
            ("rtsp://h:8554/cam", cam, None),
            ("rtsp://h:8554/cam/", cam, None),
            ("rtsp://h/cam/trackID=0", cam, Some(0)),
            ("rtsp://h/cam/trackid=12/", cam, Some(12)),
            ("RTSP://h/cam//trackID=0", cam, Some(0)),
            ("rtsp://h/cam?k=v", query, None),
            ("rtsp://h/cam?k=v/", query, None),
            ("rtsp://h/cam/?k=v", query, None),
            ("rtsp://h/cam?k=v/trackID=1", query, Some(1)),
            ("rtsp://h/cam?k=v//trackID=1", query, Some(1)),
            ("rtsp://h/cam/trackID=1?k=v", query, Some(1)),
            ("rtsp://h/cam/trackID=1?k=v/", query, Some(1)),
            ("rtsp://h/a/b", deep, None),
            ("rtsp://h/a/b/trackID=3", deep, Some(3)),
            ("rtsp://h/a/b/?x", ("a/b", Some("x")), None),
            ("/cam/trackID=0", cam, Some(0)),
            ("rtsp://h", ("", None), None),
            ("rtsp://h/trackID=0", ("", None), Some(0)),
            ("rtsp://h//trackID=0", ("", None), Some(0)),
            ("rtsp://h?k=v", ("", Some("k=v")), None),
            ("*", ("", None), None),
            ("", ("", None), None),
            ("rtsp://[::1]:8554/cam", cam, None),
            ("rtsp://h/my cam/x", ("my cam/x", None), None),
            ("rtsp://h/my%20cam%2fx%zz", ("my cam/x%zz", None), None),
            ("rtsp://h/cam/trackID=256", ("cam/trackID=256", None), None),
            ("rtsp://h/cam/trackID=+1", ("cam/trackID=+1", None), None),
            ("rtsp://h/cam/trackID=", ("cam/trackID=", None), None),
            ("rtsp://h/cam?trackID=5", ("cam", Some("trackID=5")), None),
        ] {
            let found = url(text);
            assert_eq!(found.path(), path, "{text}");
            assert_eq!(found.query(), query, "{text}");
            assert_eq!(found.track().map(|t| t.0), track, "{text}");
        }
        for bad in ["http://h/cam", "cam", "rtsp:/h/cam", "://h", "rtsp h"] {
            assert_eq!(Url::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_alias_is_no_part_of_the_path_and_stays_in_what_is_told() {
        for (text, path, stats_off) in [
            ("rtsp://h/nostats/cam", "cam", true),
            ("rtsp://h/nostats/cam/trackID=1?k=v", "cam", true),
            ("rtsp://h/NoStats/a/b/", "a/b", true),
            ("rtsp://h/nostats/nostats/cam", "nostats/cam", true),
            ("rtsp://h/nostats", "nostats", false),
            ("rtsp://h/nostatsx/cam", "nostatsx/cam", false),
            ("rtsp://h/cam/nostats/x", "cam/nostats/x", false),
        ] {
            assert_eq!(
                (url(text).path(), url(text).stats_off()),
                (path, stats_off),
                "{text}"
            );
        }
        assert_eq!(
            url("rtsp://h/nostats/cam").content_base(),
            "rtsp://h/nostats/cam/"
        );
    }

    #[test]
    fn a_base_ends_with_one_slash_keeps_the_query_and_drops_the_credentials() {
        for (text, base) in [
            ("rtsp://h:8554/cam", "rtsp://h:8554/cam/"),
            ("rtsp://h/cam/", "rtsp://h/cam/"),
            ("rtsp://h/cam?k=v", "rtsp://h/cam?k=v/"),
            ("rtsp://h/cam?k=v/", "rtsp://h/cam?k=v/"),
            ("rtsp://h/cam/?k=v", "rtsp://h/cam/?k=v/"),
            ("rtsp://u:p@h/cam", "rtsp://h/cam/"),
            ("rtsp://h/cam/trackID=1", "rtsp://h/cam/"),
            ("rtsp://h", "rtsp://h/"),
            ("rtsp://[::1]:8554/a%20b", "rtsp://[::1]:8554/a%20b/"),
            ("/cam", "/cam/"),
        ] {
            assert_eq!(url(text).content_base(), base);
        }
        assert_eq!(
            url("rtsp://u:p@h/cam?k=v/trackID=0").without_credentials(),
            "rtsp://h/cam?k=v/trackID=0"
        );
    }

    #[test]
    fn credentials_are_decoded_and_not_shown() {
        let u = url("rtsp://a%40b:p%3Aw:x@h:8554/cam?token=t");
        assert_eq!(u.credentials(), Some(("a@b", "p:w:x")));
        assert_eq!(format!("{u:?}"), "Url { path: \"cam\", .. }");
        assert_eq!(url("rtsp://me@h/cam").credentials(), Some(("me", "")));
        assert_eq!(url("rtsp://a@b:c@h/cam").credentials(), Some(("a@b", "c")));
        assert_eq!(url("rtsp://h/cam@home").credentials(), None);
    }

    #[test]
    fn announced_controls_are_known_again_in_the_urls_of_setup() {
        for (announced, control, setup, same) in [
            ("rtsp://h/cam", "streamid=0", "rtsp://h/cam/streamid=0", true),
            ("rtsp://h/cam/", "streamid=0", "rtsp://h/cam/streamid=0/", true),
            (
                "rtsp://u:p@h/cam",
                "streamid=0",
                "rtsp://h:8554/cam/streamid=0",
                true,
            ),
            (
                "rtsp://h/cam?k=v",
                "streamid=1",
                "rtsp://h/cam?k=v/streamid=1",
                true,
            ),
            (
                "rtsp://h/cam?k=v",
                "streamid=1",
                "rtsp://h/cam/streamid=1?k=v",
                true,
            ),
            ("rtsp://h/cam/?k=v", "stream=1", "rtsp://h/cam/stream=1?k=v", true),
            (
                "rtsp://h/cam",
                "rtsp://other/cam/track1",
                "rtsp://h/cam/track1",
                true,
            ),
            ("rtsp://h/cam", "trackID=0", "rtsp://h/cam/trackID=0", true),
            ("rtsp://h/my cam", "track%201", "rtsp://h/my%20cam/track 1", true),
            ("rtsp://h/cam", "", "rtsp://h/cam/", true),
            ("rtsp://h/cam", "*", "rtsp://h/cam", true),
            ("rtsp://h/cam", "streamid=1", "rtsp://h/cam/streamid=10", false),
            ("rtsp://h/cam", "streamid=0", "rtsp://h/other/streamid=0", false),
            ("rtsp://h/cam", "streamid=0", "rtsp://h/cam", false),
            ("rtsp://h/cam", "", "rtsp://h/other", false),
        ] {
            assert_eq!(
                url(setup).names(&url(announced), control),
                same,
                "{setup} {control}"
            );
        }
    }

    #[test]
    fn a_digest_may_be_about_the_path_or_its_parent() {
        let track = url("rtsp://h/cam/trackID=0");
        for good in [
            "rtsp://h/cam/trackID=0",
            "rtsp://h/cam",
            "rtsp://h/cam/",
            "/cam",
            "rtsp://other:1/cam",
        ] {
            assert!(track.covered_by(good), "{good}");
        }
        let announced = url("rtsp://h/a/b/streamid=0");
        assert!(announced.covered_by("rtsp://h/a/b"));
        for bad in ["rtsp://h/a", "rtsp://h/other/", "*", "", "x"] {
            assert!(!announced.covered_by(bad), "{bad}");
        }
        assert!(!url("rtsp://h/cam").covered_by("rtsp://h/"));
    }
}
