//! Durations and sizes as people write them: `90s`, `1h`, `16MiB`. Pure.

use std::time::Duration;

/// What a duration looks like, for error texts.
pub const DURATION_FORM: &str = "a whole number and a unit, one of ms, s, m, h, d, w";
/// What a size looks like, for error texts.
pub const SIZE_FORM: &str = "a whole number and a unit, one of B, KiB, MiB, GiB";

/// Reads `500ms`, `60s`, `5m`, `24h`, `7d`, `2w`. `None` when it is something else or does not fit.
pub fn duration(text: &str) -> Option<Duration> {
    let (n, unit) = number_and_unit(text)?;
    let seconds = match unit {
        "ms" => return Some(Duration::from_millis(n)),
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    n.checked_mul(seconds).map(Duration::from_secs)
}

/// A duration in the largest unit that says it exactly.
pub fn show_duration(d: Duration) -> String {
    if d.subsec_millis() != 0 || d.is_zero() {
        return format!("{}ms", d.as_millis());
    }
    let s = d.as_secs();
    let (per, unit) = [(604_800, "w"), (86_400, "d"), (3_600, "h"), (60, "m")]
        .into_iter()
        .find(|(per, _)| s.is_multiple_of(*per))
        .unwrap_or((1, "s"));
    format!("{}{unit}", s / per)
}

/// Reads `512KiB`, `16MiB`, `1GiB`, `4096B`, in bytes. `None` when it is something else or does not fit.
pub fn size(text: &str) -> Option<u64> {
    let (n, unit) = number_and_unit(text)?;
    let shift = match unit {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    n.checked_mul(1 << shift)
}

/// A size in the largest unit that says it exactly.
pub fn show_size(bytes: u64) -> String {
    let (shift, unit) = [(30, "GiB"), (20, "MiB"), (10, "KiB")]
        .into_iter()
        .find(|(shift, _)| bytes != 0 && bytes.trailing_zeros() >= *shift)
        .unwrap_or((0, "B"));
    format!("{}{unit}", bytes >> shift)
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (n, unit) = text.split_at(digits);
    Some((n.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_read_what_they_show() {
        for text in ["250ms", "1s", "90s", "5m", "1h", "36h", "1d", "2w"] {
            assert_eq!(show_duration(duration(text).unwrap()), text);
        }
        for text in ["0B", "1023B", "1KiB", "16MiB", "3GiB"] {
            assert_eq!(show_size(size(text).unwrap()), text);
        }
        assert_eq!(duration(" 10 s "), Some(Duration::from_secs(10)));
    }

    #[test]
    fn what_is_not_a_number_and_a_known_unit_is_refused() {
        for text in [
            "",
            "10",
            "s",
            "-1s",
            "1.5h",
            "10 parsecs",
            "99999999999999999999s",
            "18446744073709551615w",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
        for text in ["16", "16M", "16mb", "-1B", "18446744073709551615GiB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }
}
