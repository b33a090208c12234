//! MediaMTX's log: a session is told of in three lines.
//!
//! `2026/10/10 13:55:36 INF [RTSP] [session 1a2b3c4d] created by 192.0.2.7:51234`, then
//! `... is reading from path 'cam', with TCP, 1 track (H264)`, then `... destroyed: torn down by ...`. RTMP and SRT have
//! `[conn ADDRESS]` and `opened`, HLS reads from a muxer; with `logStructured`, the same text is in a JSON object. The log
//! knows no agents.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::base::peer::PeerAddr;
use crate::past::lines::Carrier;
use crate::past::lines::LONGEST;
use crate::past::lines::Line;
use crate::past::lines::Record;
use crate::past::lines::peer;
use crate::past::time;

/// Sessions that may be open at a time; more are not counted.
const MOST: usize = 100_000;
/// Longest name of a session and longest path that are kept meanwhile.
const MAX_NAME: usize = 96;
const MAX_PATH: usize = 512;

/// Sessions whose end has not come, by what names them.
pub(super) struct MediaMtx {
    open: HashMap<String, Open>,
    zone: TimeZone,
}

struct Open {
    peer: PeerAddr,
    reads: Option<(String, Carrier, i64)>,
}

impl MediaMtx {
    /// `zone`: of the machine; only JSON says it.
    pub(super) fn new(zone: TimeZone) -> Self {
        Self {
            open: HashMap::new(),
            zone,
        }
    }

    /// `None`: it is no line of MediaMTX.
    pub(super) fn line(&mut self, line: &str) -> Option<Line> {
        if line.starts_with('{') {
            let (at, value) = json(line)?;
            let message = value.get("message")?.as_str()?;
            return Some(Line::of(self.message(at, message)));
        }
        let (at, text) = self.text(line)?;
        let (_, message) = text.get(19..)?.trim_start().split_once(' ')?;
        Some(Line::of(self.message(at, message.trim_start())))
    }

    pub(super) fn written(&self, line: &str) -> Option<i64> {
        match line.starts_with('{') {
            true => json(line).map(|(at, _)| at),
            false => self.text(line).map(|(at, _)| at),
        }
    }

    /// The time and, from it on, the text behind what journals write before it.
    fn text<'l>(&self, line: &'l str) -> Option<(i64, &'l str)> {
        if let Some(at) = time::slashes(line, &self.zone) {
            return Some((at, line));
        }
        let text = line.split_once("]: ")?.1;
        Some((time::slashes(text, &self.zone)?, text))
    }

    pub(super) fn unfinished(&self) -> usize {
        self.open.values().filter(|open| open.reads.is_some()).count()
    }

    /// `[RTSP] [session 1a2b3c4d] created by ...`
    fn message(&mut self, at: i64, message: &str) -> Option<Record> {
        let (server, rest) = message.strip_prefix('[')?.split_once("] [")?;
        // An address of IPv6 has a bracket itself.
        let (name, told) = rest.split_once("] ")?;
        let (kind, id) = name.split_once(' ')?;
        let key = format!("{server} {name}");
        if key.len() > MAX_NAME || !matches!(kind, "session" | "conn") {
            return None;
        }
        if let Some(by) = told.strip_prefix("created by ") {
            self.begin(key, peer(by)?); // from a content network: "ADDRESS (CDN)" is no address
        } else if told == "opened" {
            self.begin(key, peer(id)?);
        } else if let Some(reads) = told.strip_prefix("is reading from ") {
            let (path, with) = read(server, reads)?;
            let open = self.open.get_mut(&key).filter(|_| path.len() <= MAX_PATH)?;
            open.reads = Some((path.to_owned(), carrier(server, with)?, at));
        } else if told.starts_with("destroyed: ") || told.starts_with("closed: ") {
            return self.end(&key, at);
        }
        None
    }

    fn begin(&mut self, key: String, peer: PeerAddr) {
        if self.open.len() < MOST {
            self.open.insert(key, Open { peer, reads: None });
        }
    }

    fn end(&mut self, key: &str, at: i64) -> Option<Record> {
        let open = self.open.remove(key)?;
        let (path, carrier, from) = open.reads?;
        Some(Record {
            peer: open.peer,
            agent: String::new(),
            objects: false,
            path,
            carrier,
            from,
            to: at.clamp(from, from.saturating_add(LONGEST)),
        })
    }
}

fn json(line: &str) -> Option<(i64, Value)> {
    let value: Value = serde_json::from_str(line).ok()?;
    let at: Timestamp = value.get("timestamp")?.as_str()?.parse().ok()?;
    Some((at.as_second(), value))
}

/// `path 'cam', with TCP, 1 track (H264)`, `muxer 'cam'` or `path cam`: the path, and what follows.
fn read<'t>(server: &str, text: &'t str) -> Option<(&'t str, &'t str)> {
    let text = text
        .strip_prefix("path ")
        .or_else(|| text.strip_prefix("muxer "))?;
    match text.strip_prefix('\'') {
        Some(quoted) => quoted.split_once('\''),
        None => (server == "MoQ" && !text.is_empty()).then_some((text, "")),
    }
}

fn carrier(server: &str, with: &str) -> Option<Carrier> {
    Some(match server {
        "RTSP" | "RTSPS" if with.starts_with(", with UDP") => Carrier::RtspUdp,
        "RTSP" | "RTSPS" => Carrier::RtspTcp,
        "HLS" => Carrier::Hls,
        "WebRTC" => Carrier::WebRtc,
        "RTMP" | "RTMPS" => Carrier::Rtmp,
        "SRT" => Carrier::Srt,
        "MoQ" => Carrier::Moq,
        _ => return None,
    })
}
