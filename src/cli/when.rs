//! Moments as people write them after `--since` and `--until`: RFC 3339, a date, or how long ago. Pure.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::cli::Failure;
use crate::config::units;

/// Which end of a range is meant; a date means its whole day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Since,
    Until,
}

/// Reads what stands behind an option that may be missing.
///
/// # Errors
/// What was expected, as bad usage.
pub(super) fn read(
    text: Option<&str>,
    end: End,
    zone: &TimeZone,
    now: Timestamp,
) -> Result<Option<Timestamp>, Failure> {
    text.map(|text| parse(text, end, zone, now))
        .transpose()
        .map_err(Failure::Usage)
}

/// Reads `2026-05-01T12:00:00Z`, `2026-05-01` (a day of `zone`), `24h` or `7d` (ago), `now`.
///
/// # Errors
/// What was expected.
fn parse(text: &str, end: End, zone: &TimeZone, now: Timestamp) -> Result<Timestamp, String> {
    let text = text.trim();
    let expected =
        || format!("`{text}` is no time, expected 2026-05-01T12:00:00Z, 2026-05-01, 24h or 7d (ago), or now");
    if text == "now" {
        return Ok(now);
    }
    if let Some(ago) = units::duration(text) {
        return now.checked_sub(ago).map_err(|_| expected());
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    let date: Date = text.parse().map_err(|_| expected())?;
    // The parser of dates takes "2026-05-01T12:00" and drops the time; without an offset it would be a guess.
    if text.contains(['T', 't', ' ']) {
        return Err(expected());
    }
    let day = match end {
        End::Since => date,
        End::Until => date.tomorrow().map_err(|_| expected())?,
    };
    let begin = day.to_zoned(zone.clone()).map_err(|_| expected())?;
    Ok(begin.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, end: End, zone: &TimeZone) -> Result<String, String> {
        let now = "2026-05-10T12:00:00Z".parse().unwrap();
        parse(text, end, zone, now).map(|t| t.to_string())
    }

    #[test]
    fn moments_days_and_times_ago_are_understood() {
        let utc = TimeZone::UTC;
        for (text, since, until) in [
            (
                "2026-05-01T10:00:00+02:00",
                "2026-05-01T08:00:00Z",
                "2026-05-01T08:00:00Z",
            ),
            ("2026-05-01", "2026-05-01T00:00:00Z", "2026-05-02T00:00:00Z"),
            ("24h", "2026-05-09T12:00:00Z", "2026-05-09T12:00:00Z"),
            ("7d", "2026-05-03T12:00:00Z", "2026-05-03T12:00:00Z"),
            ("now", "2026-05-10T12:00:00Z", "2026-05-10T12:00:00Z"),
        ] {
            assert_eq!(read(text, End::Since, &utc).as_deref(), Ok(since), "{text}");
            assert_eq!(read(text, End::Until, &utc).as_deref(), Ok(until), "{text}");
        }
    }

    #[test]
    fn a_day_begins_and_ends_at_midnight_of_its_zone() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(
            read("2026-05-01", End::Since, &zone).unwrap(),
            "2026-04-30T22:00:00Z"
        );
        assert_eq!(
            read("2026-05-01", End::Until, &zone).unwrap(),
            "2026-05-01T22:00:00Z"
        );
    }

    #[test]
    fn other_texts_are_refused_with_what_was_expected() {
        for text in [
            "",
            "yesterday",
            "2026-13-01",
            "2026-05-01T12:00",
            "-5h",
            "99999999999999w",
        ] {
            let error = read(text, End::Since, &TimeZone::UTC).unwrap_err();
            assert!(error.contains("expected"), "{error}");
        }
    }
}
