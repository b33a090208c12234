//! Calendar days of a time zone and their hours, and which of them are added up when. Pure: moments are milliseconds since
//! 1970 that others read off a clock.

use std::ops::Range;

use jiff::Timestamp;
use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// An hour is added up this long after it is over: who vanished without a word is noticed within that time.
const GRACE_MS: i64 = 2 * 60_000;

/// Numbers of viewers are forgotten this long after their day closed.
const KNOWN_MS: i64 = 24 * HOUR_MS;

/// Milliseconds of an hour.
pub(super) const HOUR_MS: i64 = 3_600_000;

/// Day 0.
const EPOCH: Date = Date::constant(1970, 1, 1);

/// A calendar day of a time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Day {
    /// Days since 1970-01-01.
    pub(super) number: i64,
    /// From its first moment to that of the next day; 23 to 25 hours.
    pub(super) window: Range<i64>,
    date: Date,
}

impl Day {
    /// The day that a moment is in.
    pub(super) fn of(ms: i64, zone: &TimeZone) -> Self {
        let at = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
        Self::on(at.to_zoned(zone.clone()).date(), zone)
    }
    /// The day after.
    pub(super) fn next(&self, zone: &TimeZone) -> Self {
        Self::on(self.date.tomorrow().unwrap_or(Date::MAX), zone)
    }
    /// So many months before.
    pub(super) fn back_months(&self, months: i64, zone: &TimeZone) -> Self {
        Self::on(self.date.checked_sub(months.months()).unwrap_or(Date::MIN), zone)
    }
    /// So many days before.
    pub(super) fn back(&self, days: i64, zone: &TimeZone) -> Self {
        Self::on(self.date.checked_sub(days.days()).unwrap_or(Date::MIN), zone)
    }
    /// The day of a number.
    pub(super) fn numbered(number: i64, zone: &TimeZone) -> Self {
        let date = EPOCH.checked_add(number.days()).unwrap_or(Date::MAX);
        Self::on(date, zone)
    }
    /// Its date.
    pub(super) fn date(&self) -> Date {
        self.date
    }
    /// The day of a date.
    pub(super) fn on(date: Date, zone: &TimeZone) -> Self {
        let start = |date: Date| {
            date.to_zoned(zone.clone())
                .map(|z| z.timestamp().as_millisecond())
        };
        let first = start(date).unwrap_or(i64::MIN);
        let next = date.tomorrow().and_then(start).unwrap_or(i64::MAX);
        Self {
            number: date.duration_since(EPOCH).as_hours() / 24,
            window: first..next,
            date,
        }
    }
    /// Its hours, counted from its first moment; the last may be shorter.
    pub(super) fn hours(&self) -> impl Iterator<Item = Range<i64>> {
        let end = self.window.end;
        (self.window.start..end)
            .step_by(HOUR_MS as usize)
            .map(move |start| start..(start + HOUR_MS).min(end))
    }
    /// The hour that a moment of this day is in.
    pub(super) fn hour_of(&self, ms: i64) -> Range<i64> {
        let start = ms - (ms - self.window.start).rem_euclid(HOUR_MS);
        start..(start + HOUR_MS).min(self.window.end)
    }
}

/// The first moment that is not added up yet: the beginning of this hour or, shortly after it, of the last one.
pub(super) fn kept_from(now_ms: i64, zone: &TimeZone) -> i64 {
    let then = now_ms - GRACE_MS;
    Day::of(then, zone).hour_of(then).start
}

/// The first moment of the days whose viewers still have numbers: yesterday's and today's.
pub(super) fn known_from(now_ms: i64, zone: &TimeZone) -> i64 {
    Day::of(now_ms - KNOWN_MS, zone).window.start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_of_the_zone_and_have_23_to_25_hours() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        let spring = Day::of(at("2026-03-29T12:00:00Z"), &zone);
        assert_eq!(
            spring.window,
            at("2026-03-28T23:00:00Z")..at("2026-03-29T22:00:00Z")
        );
        assert_eq!(spring.hours().count(), 23);
        let autumn = Day::of(at("2026-10-25T12:00:00Z"), &zone);
        assert_eq!(autumn.hours().count(), 25);
        assert_eq!(autumn.next(&zone).number, autumn.number + 1);
        assert_eq!(autumn.back(7, &zone).number, autumn.number - 7);
        let india = TimeZone::get("Asia/Kolkata").unwrap();
        let day = Day::of(at("2026-11-21T12:00:00Z"), &india);
        let hour = at("2026-11-21T11:30:00Z")..at("2026-11-21T12:30:00Z");
        assert_eq!(day.hour_of(at("2026-11-21T12:00:00Z")), hour);
        assert!(day.hours().any(|h| h == hour));
    }

    #[test]
    fn an_hour_is_added_up_two_minutes_after_it_is_over() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        let from = |now| kept_from(at(now), &TimeZone::UTC);
        assert_eq!(from("2026-11-21T13:01:59Z"), at("2026-11-21T12:00:00Z"));
        assert_eq!(from("2026-11-21T13:02:00Z"), at("2026-11-21T13:00:00Z"));
        assert_eq!(from("2026-11-21T00:01:00Z"), at("2026-11-20T23:00:00Z"));
    }

    #[test]
    fn viewers_of_yesterday_and_today_have_numbers() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        let from = |now| known_from(at(now), &TimeZone::UTC);
        assert_eq!(from("2026-11-21T00:00:00Z"), at("2026-11-20T00:00:00Z"));
        assert_eq!(from("2026-11-21T23:59:59Z"), at("2026-11-20T00:00:00Z"));
    }
}
