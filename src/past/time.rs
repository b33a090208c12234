//! Times as logs write them, to seconds since 1970. Pure, and lenient about nothing.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::tz::TimeZone;

/// `10/Oct/2026:13:55:36 +0200`, as nginx, Apache and Icecast write it.
pub(super) fn common(text: &str) -> Option<i64> {
    let (time, offset) = text.split_once(' ')?;
    let mut parts = time.split(['/', ':']);
    let day = number(parts.next()?, 2)?;
    let month = month(parts.next()?)?;
    let year = number(parts.next()?, 4)?;
    let [hour, minute, second] = [parts.next()?, parts.next()?, parts.next()?].map(|t| number(t, 2));
    if parts.next().is_some() {
        return None;
    }
    let second = leapless(second?)?;
    let at = civil(year, month, day, hour?, minute?, second)?;
    let sign = match offset.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = (number(offset.get(1..3)?, 2)?, number(offset.get(3..)?, 2)?);
    let minutes = Some(minutes).filter(|minutes| *minutes < 60)?;
    let offset = Offset::from_seconds(sign * i32::try_from(hours * 3_600 + minutes * 60).ok()?).ok()?;
    offset.to_timestamp(at).ok().map(Timestamp::as_second)
}

/// `2026/10/10 13:55:36`, as MediaMTX writes it, in the zone of its machine. Of an hour that came twice it is the first.
pub(super) fn slashes(text: &str, zone: &TimeZone) -> Option<i64> {
    let text = text.get(..19)?;
    let (date, time) = text.split_once(' ')?;
    let mut date = date.split('/');
    let mut time = time.split(':');
    let year = number(date.next()?, 4)?;
    let mut two = || -> Option<i64> { number(date.next()?, 2) };
    let (month, day) = (two()?, two()?);
    let mut two = || -> Option<i64> { number(time.next()?, 2) };
    let (hour, minute, second) = (two()?, two()?, two()?);
    let at = civil(year, month, day, hour, minute, leapless(second)?)?;
    Some(at.to_zoned(zone.clone()).ok()?.timestamp().as_second())
}

/// A leap second is the second before.
fn leapless(second: i64) -> Option<i64> {
    (second <= 60).then(|| second.min(59))
}

fn civil(year: i64, month: i64, day: i64, hour: i64, minute: i64, second: i64) -> Option<DateTime> {
    let small = |n: i64| i8::try_from(n).ok();
    DateTime::new(
        i16::try_from(year).ok()?,
        small(month)?,
        small(day)?,
        small(hour)?,
        small(minute)?,
        small(second)?,
        0,
    )
    .ok()
}

/// A number of exactly so many digits.
fn number(text: &str, digits: usize) -> Option<i64> {
    let good = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
    good.then(|| text.parse().ok()).flatten()
}

fn month(text: &str) -> Option<i64> {
    const NAMES: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    (1..).zip(NAMES).find(|(_, name)| *name == text).map(|(n, _)| n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_offset_and_nonsense_is_none() {
        let noon: Timestamp = "2026-10-10T11:55:36Z".parse().unwrap();
        assert_eq!(common("10/Oct/2026:13:55:36 +0200"), Some(noon.as_second()));
        assert_eq!(common("10/Oct/2026:05:25:36 -0630"), Some(noon.as_second()));
        let paris = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        assert_eq!(
            slashes("2026/10/10 11:55:36 INF", &TimeZone::UTC),
            Some(noon.as_second())
        );
        assert_eq!(slashes("2026/10/10 13:55:36 INF", &paris), Some(noon.as_second()));
        for wrong in [
            "",
            "10/Oct/2026:13:55:36",
            "10/Okt/2026:13:55:36 +0000",
            "31/Feb/2026:13:55:36 +0000",
            "10/Oct/2026:25:55:36 +0000",
            "10/Oct/2026:13:55:36:1 +0000",
            "10/Oct/2026:13:55:36 0000",
            "1/Oct/2026:13:55:36 +0000",
            "10/Oct/2026:13:55:61 +0000",
            "10/Oct/2026:13:55:36 +0160",
        ] {
            assert_eq!(common(wrong), None, "{wrong}");
        }
        assert_eq!(slashes("2026/10/10", &TimeZone::UTC), None);
        assert_eq!(common("10/Oct/2026:11:55:60 +0000"), Some(noon.as_second() + 23));
        assert_eq!(slashes("2026-10-10 11:55:36", &TimeZone::UTC), None);
    }
}
