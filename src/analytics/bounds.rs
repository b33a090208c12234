//! What follows from published numbers: the least and the most that each can be.
//!
//! Who knows that some numbers are the parts of another narrows each by all the others, again and again (interval
//! propagation), and cannot do better without guessing. Pure; whose numbers they are is for `verify`.

/// Rounds of narrowing; what is published settles in three or four.
const ROUNDS: usize = 16;

/// Least and most that a number can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) least: u64,
    pub(super) most: u64,
}

impl Bounds {
    /// Of what was published as so much, rounded down to a multiple of k.
    pub(super) fn of(published: u64, k: u64) -> Self {
        Self {
            least: published,
            most: published.saturating_add(k.max(1) - 1),
        }
    }
    pub(super) fn hold(self, number: u64) -> bool {
        (self.least..=self.most).contains(&number)
    }
    /// Whether only one number is left.
    pub(super) fn is_exact(self) -> bool {
        self.least == self.most
    }
    fn and(self, least: u64, most: u64) -> Self {
        Self {
            least: self.least.max(least),
            most: self.most.min(most),
        }
    }
}

/// One of the numbers of a [`System`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number(usize);

/// Numbers, and which of them are the parts of which.
#[derive(Debug, Default)]
pub(super) struct System {
    numbers: Vec<Bounds>,
    sums: Vec<(Number, Vec<Number>)>,
}

impl System {
    /// One more number.
    pub(super) fn number(&mut self, bounds: Bounds) -> Number {
        self.numbers.push(bounds);
        Number(self.numbers.len() - 1)
    }
    /// These are all the parts of that.
    pub(super) fn sum(&mut self, total: Number, parts: Vec<Number>) {
        self.sums.push((total, parts));
    }
    pub(super) fn bounds(&self, number: Number) -> Bounds {
        self.numbers[number.0]
    }
    /// Narrows all, until nothing more follows.
    pub(super) fn narrow(&mut self) {
        for _ in 0..ROUNDS {
            let before = self.numbers.clone();
            for (total, parts) in &self.sums {
                narrow_sum(&mut self.numbers, *total, parts);
            }
            if self.numbers == before {
                return;
            }
        }
    }
}

fn narrow_sum(numbers: &mut [Bounds], total: Number, parts: &[Number]) {
    let all = parts.iter().map(|part| numbers[part.0]);
    let (least, most) = all.fold((0_u64, 0_u64), |(least, most), part| {
        (least.saturating_add(part.least), most.saturating_add(part.most))
    });
    let sum = numbers[total.0].and(least, most);
    numbers[total.0] = sum;
    for part in parts {
        let own = numbers[part.0];
        // By the sums from before: a part that was narrowed meanwhile narrows its siblings in the next round.
        let (others_least, others_most) = (least.saturating_sub(own.least), most.saturating_sub(own.most));
        numbers[part.0] = own.and(
            sum.least.saturating_sub(others_most),
            sum.most.saturating_sub(others_least),
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(total: Bounds, parts: &[Bounds]) -> (Bounds, Vec<Bounds>) {
        let mut system = System::default();
        let whole = system.number(total);
        let parts: Vec<_> = parts.iter().map(|part| system.number(*part)).collect();
        system.sum(whole, parts.clone());
        system.narrow();
        let narrowed = parts.into_iter().map(|part| system.bounds(part)).collect();
        (system.bounds(whole), narrowed)
    }

    #[test]
    fn what_is_missing_of_an_exact_total_is_computed() {
        let exact = |n| Bounds { least: n, most: n };
        let (_, narrowed) = parts(exact(8), &[exact(7), Bounds::of(0, 5)]);
        assert_eq!(narrowed, [exact(7), exact(1)]);
    }

    #[test]
    fn of_rounded_numbers_little_follows() {
        let (total, narrowed) = parts(Bounds::of(10, 5), &[Bounds::of(5, 5), Bounds::of(0, 5)]);
        assert_eq!(total, Bounds { least: 10, most: 13 });
        let [big, small] = narrowed[..] else { panic!() };
        assert_eq!(big, Bounds { least: 6, most: 9 });
        assert_eq!(small, Bounds { least: 1, most: 4 });
    }

    proptest! {
        #[test]
        fn no_number_that_can_be_is_ruled_out(
            viewers in prop::collection::vec(0_u64..20, 1..8),
            k in 1_u64..7,
        ) {
            let floor = |n: u64| Bounds::of(n / k * k, k);
            let (total, narrowed) = parts(
                floor(viewers.iter().sum()),
                &viewers.iter().map(|n| floor(*n)).collect::<Vec<_>>(),
            );
            prop_assert!(total.hold(viewers.iter().sum()));
            for (bounds, viewers) in narrowed.iter().zip(&viewers) {
                prop_assert!(bounds.hold(*viewers));
            }
        }
    }
}
