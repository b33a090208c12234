//! How many go on watching for how long: the estimate of Kaplan and Meier, over classes of session lengths.
//!
//! Who left because the stream ended, or still watches, would have watched longer; so they count as watching up to
//! there and as nothing from there on. The plain share of sessions that were at least so long would be too low.

use crate::analytics::leaves::LENGTHS;

/// Sessions of one class of length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Length {
    /// Left by their viewers.
    pub(super) ended: u64,
    /// Ended otherwise, or not yet.
    pub(super) cut: u64,
    /// Distinct viewers of those that are over.
    pub(super) viewers: u64,
}

/// One point of the curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Staying {
    /// After so many seconds ...
    pub seconds: i64,
    /// ... so many of a thousand who began still watch.
    pub per_thousand: u64,
}

/// The curve at the ends of classes. Classes of fewer than `k` viewers have no point of their own: they are taken
/// together with the next, so that no step of the curve is one person.
pub(super) fn curve(lengths: &[Length], k: u64) -> Vec<Staying> {
    let mut watching: u64 = lengths.iter().map(|length| length.ended + length.cut).sum();
    let mut share = 1.0;
    let mut points = Vec::new();
    let mut together = Length::default();
    for (length, seconds) in lengths.iter().zip(LENGTHS) {
        together.ended += length.ended;
        together.cut += length.cut;
        together.viewers += length.viewers;
        let rest = watching.saturating_sub(together.ended + together.cut);
        if together.viewers < k || watching == 0 || (rest > 0 && rest < k) {
            continue;
        }
        share *= 1.0 - together.ended as f64 / watching as f64;
        watching = rest;
        together = Length::default();
        points.push(Staying {
            seconds,
            per_thousand: (share * 1000.0_f64).round() as u64,
        });
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(ended: u64, cut: u64) -> Length {
        Length {
            ended,
            cut,
            viewers: ended + cut,
        }
    }

    fn shares(lengths: &[Length], k: u64) -> Vec<(i64, u64)> {
        let points = curve(lengths, k);
        points.into_iter().map(|p| (p.seconds, p.per_thousand)).collect()
    }

    #[test]
    fn without_cuts_it_is_the_share_that_was_longer() {
        let lengths = [length(10, 0), length(30, 0), length(60, 0)];
        assert_eq!(shares(&lengths, 1), [(10, 900), (30, 600), (60, 0)]);
    }

    #[test]
    fn a_stream_that_ends_is_nobody_who_leaves() {
        // Half of all watch a stream of 20 seconds to its end; of the others, half leave before 60 s.
        let lengths = [length(0, 0), length(0, 50), length(25, 0), length(25, 0)];
        assert_eq!(shares(&lengths, 0).last(), Some(&(300, 0)));
        assert_eq!(shares(&lengths, 1)[..2], [(30, 1000), (60, 500)]);
    }

    #[test]
    fn a_step_is_never_one_person() {
        let lengths = [
            length(10, 0),
            length(1, 0),
            length(20, 0),
            length(2, 0),
            length(30, 0),
        ];
        assert_eq!(
            shares(&lengths, 5).iter().map(|p| p.0).collect::<Vec<_>>(),
            [10, 60, 900]
        );
    }
}
