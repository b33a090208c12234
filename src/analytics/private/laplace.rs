//! Noise: the discrete Laplace distribution, drawn exactly.
//!
//! Whole numbers and comparisons alone, after Canonne, Kamath and Steinke, "The Discrete Gaussian for Differential
//! Privacy" (2020), algorithms 1 and 2. Floating-point samplers round, and what they round to tells of the number below the
//! noise. Pure: randomness comes in. Not here: what is added to what (`private`).

/// Where random bits come from.
pub trait Randomness {
    /// Sixty-four random bits.
    ///
    /// # Errors
    /// When there are none.
    fn bits(&mut self) -> Result<u64, NoRandomness>;
}

/// The system has no random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system has no randomness for noise; nothing was given out")]
pub struct NoRandomness;

/// The operating system's generator.
pub struct OfSystem;

impl Randomness for OfSystem {
    fn bits(&mut self) -> Result<u64, NoRandomness> {
        getrandom::u64().map_err(|_| NoRandomness)
    }
}

/// A number of the distribution in which each step away from zero is exp(-`steepness` / `width`) times as likely. Both
/// are at least 1.
pub(super) fn discrete_laplace(
    width: u64,
    steepness: u64,
    from: &mut impl Randomness,
) -> Result<i64, NoRandomness> {
    loop {
        let within = below(width, from)?;
        if !happens_exp(within, width, from)? {
            continue;
        }
        let mut turns = 0_u64;
        while happens_exp(1, 1, from)? {
            turns += 1;
        }
        let size = (u128::from(within) + u128::from(width) * u128::from(turns)) / u128::from(steepness);
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        let negative = below(2, from)? == 1;
        if !(negative && size == 0) {
            return Ok(if negative { -size } else { size });
        }
    }
}

/// True with the probability exp(-`part` / `whole`), where `part` is at most `whole`.
fn happens_exp(part: u64, whole: u64, from: &mut impl Randomness) -> Result<bool, NoRandomness> {
    let mut n = 1_u64;
    // The probability of each next turn is part / (whole * n).
    while below(whole.saturating_mul(n), from)? < part {
        n += 1;
    }
    Ok(n % 2 == 1)
}

/// A number from 0 to `end` - 1, all of them alike.
fn below(end: u64, from: &mut impl Randomness) -> Result<u64, NoRandomness> {
    // The last numbers would make some results likelier than others.
    let fair = u64::MAX - u64::MAX % end;
    loop {
        let bits = from.bits()?;
        if bits < fair {
            return Ok(bits % end);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The same numbers in each run (SplitMix64): so a test of a distribution fails always or never.
    pub(in crate::analytics) struct Seeded(pub(in crate::analytics) u64);

    impl Randomness for Seeded {
        fn bits(&mut self) -> Result<u64, NoRandomness> {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            Ok(z ^ (z >> 31))
        }
    }

    /// Pearson's statistic of what was drawn against what was to be expected.
    fn chi_square(drawn: &[u64], expected: &[f64]) -> f64 {
        let terms = drawn.iter().zip(expected);
        terms.map(|(n, e)| (*n as f64 - e).powi(2) / e).sum()
    }

    #[test]
    fn numbers_come_as_often_as_the_distribution_has_them() {
        const DRAWN: u32 = 200_000;
        const MOST: i64 = 8;
        // Widths and steepnesses, also those that do not divide each other.
        for (seed, (width, steepness)) in (1..).zip([(1000, 1000), (3000, 1000), (1000, 300), (7, 5), (1, 2)])
        {
            let mut from = Seeded(seed);
            // One class per number from -8 to 8, and one for what is beyond.
            let mut drawn = vec![0_u64; 2 * MOST as usize + 2];
            for _ in 0..DRAWN {
                let n = discrete_laplace(width, steepness, &mut from).unwrap();
                let class = if n.abs() > MOST { 2 * MOST + 1 } else { n + MOST };
                drawn[class as usize] += 1;
            }
            let q = (-(steepness as f64) / width as f64).exp();
            let share = |n: i64| (1.0 - q) / (1.0 + q) * q.powi(n.unsigned_abs() as i32);
            let mut expected: Vec<f64> = (-MOST..=MOST).map(|n| share(n) * f64::from(DRAWN)).collect();
            expected.push(f64::from(DRAWN) - expected.iter().sum::<f64>());
            // Classes of which few are expected are taken together, as the test wants it.
            let few = |n: &usize| expected[*n] < 10.0;
            let (rare, usual): (Vec<usize>, Vec<usize>) = (0..expected.len()).partition(few);
            let mut d: Vec<u64> = usual.iter().map(|n| drawn[*n]).collect();
            let mut e: Vec<f64> = usual.iter().map(|n| expected[*n]).collect();
            let sum: f64 = rare.iter().map(|n| expected[*n]).sum();
            if sum >= 10.0 {
                d.push(rare.iter().map(|n| drawn[*n]).sum());
                e.push(sum);
            }
            // One in a thousand samples of a right sampler is beyond this, with up to 17 degrees of freedom.
            let statistic = chi_square(&d, &e);
            assert!(
                statistic < 40.8,
                "{width}/{steepness}: {statistic} over {} classes",
                d.len()
            );
        }
    }

    #[test]
    fn its_variance_is_that_of_the_theory() {
        let mut from = Seeded(7);
        let (width, steepness, drawn) = (3000, 1000, 100_000);
        let all: Vec<i64> = (0..drawn)
            .map(|_| discrete_laplace(width, steepness, &mut from).unwrap())
            .collect();
        let mean = all.iter().sum::<i64>() as f64 / f64::from(drawn);
        let variance = all.iter().map(|n| (n * n) as f64).sum::<f64>() / f64::from(drawn);
        let q = (-1.0_f64 / 3.0).exp();
        let theory = 2.0 * q / (1.0 - q).powi(2);
        assert!(mean.abs() < 0.05, "{mean}");
        assert!((variance / theory - 1.0).abs() < 0.03, "{variance}, not {theory}");
    }

    #[test]
    fn without_randomness_there_is_no_noise_and_no_number() {
        struct Dry(u32);
        impl Randomness for Dry {
            fn bits(&mut self) -> Result<u64, NoRandomness> {
                self.0 = self.0.checked_sub(1).ok_or(NoRandomness)?;
                Ok(0)
            }
        }
        assert_eq!(discrete_laplace(3, 1, &mut Dry(2)), Err(NoRandomness));
        assert!(OfSystem.bits().is_ok());
    }

    #[test]
    fn numbers_below_an_end_are_all_alike() {
        let mut from = Seeded(3);
        let mut drawn = [0_u64; 7];
        for _ in 0..70_000 {
            drawn[below(7, &mut from).unwrap() as usize] += 1;
        }
        assert!(chi_square(&drawn, &[10_000.0; 7]) < 22.5, "{drawn:?}");
        // Bits that would prefer the first results are thrown away.
        struct Two(bool);
        impl Randomness for Two {
            fn bits(&mut self) -> Result<u64, NoRandomness> {
                Ok(if std::mem::replace(&mut self.0, false) {
                    u64::MAX
                } else {
                    5
                })
            }
        }
        assert_eq!(below(7, &mut Two(true)), Ok(5));
    }
}
