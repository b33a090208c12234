//! Logs of requests: nginx's and Apache's common and combined formats, and Icecast's, which is the same with a number more.
//!
//! `ADDRESS IDENT USER [TIME] "METHOD PATH PROTOCOL" STATUS BYTES "REFERRER" "AGENT" ...`; Apache may write the name of the
//! virtual host before it. The user and the referrer are stepped over, and of what is behind a `?` all but `stats=off`, by
//! which viewers say that they do not want to be counted.

use percent_encoding::percent_decode_str;

use crate::base::peer::PeerAddr;
use crate::past::lines::Carrier;
use crate::past::lines::LONGEST;
use crate::past::lines::Line;
use crate::past::lines::Record;
use crate::past::lines::peer;
use crate::past::time;

/// One request, taken apart.
struct Request<'l> {
    peer: PeerAddr,
    /// Seconds since 1970, when it was done.
    at: i64,
    method: &'l str,
    /// Without its query.
    path: &'l str,
    /// Whether its query said not to be counted.
    objects: bool,
    /// Whether it was answered with something.
    served: bool,
    agent: &'l str,
    /// What stands behind the agent.
    rest: &'l str,
}

/// A line of nginx or Apache. `None`: it is none.
pub(super) fn request(line: &str) -> Option<Line> {
    let request = parse(line)?;
    let carrier = carrier(request.path).filter(|_| request.method == "GET" && request.served);
    Some(Line::of(carrier.map(|carrier| Record {
        peer: request.peer,
        agent: request.agent.to_owned(),
        objects: request.objects,
        path: request.path.to_owned(),
        carrier,
        from: request.at,
        to: request.at,
    })))
}

/// A line of Icecast. It is written when the listener leaves; its last number is how many seconds they stayed.
pub(super) fn icecast(line: &str) -> Option<Line> {
    let request = parse(line)?;
    let seconds: i64 = request.rest.trim().parse().ok()?;
    let pages = ["/admin/", "/web/", "/status-json", "/server_version"];
    let is_page = pages.iter().any(|page| request.path.starts_with(page)) || request.path.ends_with(".xsl");
    let listened = (1..=LONGEST).contains(&seconds) && request.method == "GET" && request.served;
    Some(Line::of((listened && !is_page).then(|| Record {
        peer: request.peer,
        agent: request.agent.to_owned(),
        objects: request.objects,
        path: request.path.to_owned(),
        carrier: Carrier::Http,
        from: request.at.saturating_sub(seconds),
        to: request.at,
    })))
}

fn parse(line: &str) -> Option<Request<'_>> {
    let (at, head, rest) = timed(line)?;
    let (request, rest) = quoted(rest.trim_start())?;
    let mut words = rest.split_ascii_whitespace();
    let (status, bytes) = (words.next()?, words.next()?);
    status.parse::<u16>().ok()?;
    let served = matches!(status, "200" | "206") && bytes.parse::<u64>().is_ok_and(|n| n > 0);
    let (_, rest) = quoted(rest.get(rest.find('"').unwrap_or(rest.len())..)?).unwrap_or(("", rest));
    let (agent, rest) = quoted(rest.trim_start()).unwrap_or(("", rest));
    // Bytes of another protocol make lines too: they asked for nothing.
    let mut words = request.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    Some(Request {
        // Where hosts are looked up, names stand there, and the line is of no use.
        peer: client(head)?,
        at,
        method,
        path: target.split(['?', '#', ';']).next().unwrap_or_default(),
        objects: target.split_once('?').is_some_and(|(_, query)| objects(query)),
        served,
        agent,
        rest,
    })
}

/// Whose request it is. An address may stand behind the virtual host, which can be one itself; where proxies are told, it is
/// the first of a list.
fn client(head: &str) -> Option<PeerAddr> {
    let mut words = head.split(' ');
    let first = words.next()?;
    match first.strip_suffix(',') {
        Some(first) => peer(first),
        None => words.next().and_then(peer).or_else(|| peer(first)),
    }
}

/// `?stats=off`, as the relay itself reads it.
fn objects(query: &str) -> bool {
    query.split('&').any(|pair| {
        pair.strip_prefix("stats=").is_some_and(|value| {
            let value = percent_decode_str(value).decode_utf8_lossy();
            value.eq_ignore_ascii_case("off")
        })
    })
}

/// When a line was written.
pub(super) fn written(line: &str) -> Option<i64> {
    timed(line).map(|(at, ..)| at)
}

/// The time, what stands before it and what behind it. A user's name may have brackets and blanks in it.
fn timed(line: &str) -> Option<(i64, &str, &str)> {
    line.match_indices(" [").find_map(|(at, _)| {
        let (time, rest) = line.get(at + 2..)?.split_once(']')?;
        Some((time::common(time)?, line.get(..at)?, rest))
    })
}

/// What stands in the quotes with which the text begins, and what behind them. A backslash takes the meaning from the next
/// character.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('"')?;
    let mut escaped = false;
    let len = text.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    Some((&text[..len], &text[len + 1..]))
}

/// What carries media of this name. Playlists, pages and pictures of pages are nobody's watching.
fn carrier(path: &str) -> Option<Carrier> {
    const ENDS: [(&str, Carrier); 14] = [
        (".ts", Carrier::Hls),
        (".m4s", Carrier::Hls),
        (".aac", Carrier::Hls),
        (".mp4", Carrier::Mp4),
        (".m4v", Carrier::Mp4),
        (".m4a", Carrier::Mp4),
        (".mjpeg", Carrier::Mjpeg),
        (".mjpg", Carrier::Mjpeg),
        (".webm", Carrier::Http),
        (".flv", Carrier::Http),
        (".mp3", Carrier::Http),
        (".ogg", Carrier::Http),
        (".opus", Carrier::Http),
        (".mkv", Carrier::Http),
    ];
    let name = path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let known = ENDS.iter().find(|(end, _)| name.ends_with(end));
    known
        .map(|(_, carrier)| *carrier)
        .filter(|_| !name.ends_with("init.mp4"))
}
