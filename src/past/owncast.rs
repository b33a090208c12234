//! Owncast's list of viewers (`/api/admin/viewers/active`), an object for each.
//!
//! `{"ipAddress": ..., "userAgent": ..., "firstSeen" or "connectedAt": ..., "lastSeen": ...}`, whose last part is missing in
//! most versions; who watched for how long is not known then, and not made up.

use jiff::Timestamp;
use serde_json::Value;

use crate::past::lines::Carrier;
use crate::past::lines::LONGEST;
use crate::past::lines::Line;
use crate::past::lines::Record;
use crate::past::lines::peer;

/// Owncast has one stream.
const PATH: &str = "live";

/// One object. `None`: it is no viewer.
pub(super) fn viewer(text: &str) -> Option<Line> {
    let value: Value = serde_json::from_str(text).ok()?;
    let word = |names: &[&str]| {
        let known = names.iter().find_map(|name| value.get(name)?.as_str());
        known.map(str::to_owned)
    };
    let at = |names: &[&str]| -> Option<i64> {
        let text = word(names)?;
        Some(text.parse::<Timestamp>().ok()?.as_second())
    };
    let from = at(&["firstSeen", "connectedAt"])?;
    let to = at(&["lastSeen"]).unwrap_or(from);
    Some(Line::Watched(Record {
        peer: peer(&word(&["ipAddress", "ip"])?)?,
        agent: word(&["userAgent", "user_agent"]).unwrap_or_default(),
        objects: false,
        path: PATH.to_owned(),
        carrier: Carrier::Hls,
        from,
        to: to.clamp(from, from.saturating_add(LONGEST)),
    }))
}
