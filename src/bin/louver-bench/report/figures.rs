//! Named numbers of one run, and their middle and spread over several runs.

use serde::Serialize;
use serde::Serializer;

/// Numbers by name, in the order in which they were set.
#[derive(Clone, Default)]
pub(crate) struct Figures(Vec<(&'static str, f64)>);

impl Figures {
    /// Sets one more.
    pub(crate) fn with(mut self, name: &'static str, value: f64) -> Self {
        self.0.push((name, value));
        self
    }
    pub(crate) fn and(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
    }
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, f64)> {
        self.0.iter().copied()
    }
    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(n, _)| *n == name).map(|(_, value)| *value)
    }
}

impl Serialize for Figures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The digits beyond are noise of binary fractions.
        let round = |value: f64| (value * 1e6).round() / 1e6;
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, round(*value))))
    }
}

/// Several runs of the same.
#[derive(Default, Serialize)]
pub(crate) struct Runs {
    /// Why runs failed, if some did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) failed: Vec<String>,
    pub(crate) median: Figures,
    pub(crate) min: Figures,
    pub(crate) max: Figures,
    pub(crate) runs: Vec<Figures>,
}

impl Runs {
    /// Sums up, when all runs are there.
    pub(crate) fn finish(&mut self) {
        for (name, _) in self.runs.first().map_or(&[][..], |first| &first.0) {
            let mut values: Vec<_> = self.runs.iter().filter_map(|run| run.get(name)).collect();
            values.sort_by(f64::total_cmp);
            self.median.0.push((name, median(&values)));
            self.min.0.push((name, values[0]));
            self.max.0.push((name, values[values.len() - 1]));
        }
    }
    /// Adds `name_x_floor`: this median over the floor's, with the spread over pairs of runs.
    pub(crate) fn compare(&mut self, floor: &[Figures], names: &[(&'static str, &'static str)]) {
        for (name, ratio) in names {
            let of = |run: &Figures| run.get(name);
            let pairs = self.runs.iter().zip(floor);
            let ratios: Vec<_> = pairs.filter_map(|(a, b)| Some(of(a)? / of(b)?)).collect();
            let mut of_floor: Vec<_> = floor.iter().filter_map(of).collect();
            of_floor.sort_by(f64::total_cmp);
            let (Some(own), false) = (of(&self.median), of_floor.is_empty()) else {
                continue;
            };
            for (run, value) in self.runs.iter_mut().zip(&ratios) {
                run.0.push((ratio, *value));
            }
            let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
            let most = ratios.iter().copied().fold(0.0, f64::max);
            self.median.0.push((ratio, own / median(&of_floor)));
            self.min.0.push((ratio, least));
            self.max.0.push((ratio, most));
        }
    }
    /// `median (least to most)`, as a cell of a table.
    pub(crate) fn cell(&self, name: &str) -> String {
        let Some(middle) = self.median.get(name) else {
            return String::new();
        };
        let ends = self.min.get(name).zip(self.max.get(name));
        match ends.map(|(least, most)| (show(least), show(most))) {
            Some((least, most)) if least != most => format!("{} ({least}–{most})", show(middle)),
            _ => show(middle),
        }
    }
}

/// Of sorted values, at least one.
fn median(sorted: &[f64]) -> f64 {
    let n = sorted.len();
    f64::midpoint(sorted[(n - 1) / 2], sorted[n / 2])
}

/// Three digits are as many as such figures are good for.
pub(crate) fn show(value: f64) -> String {
    match value.abs() {
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(values: &[f64]) -> Runs {
        let runs = values
            .iter()
            .map(|v| Figures::default().with("cpu", *v))
            .collect();
        let mut runs = Runs {
            runs,
            ..Runs::default()
        };
        runs.finish();
        runs
    }

    #[test]
    fn an_outlier_moves_the_spread_and_not_the_median() {
        assert_eq!(runs(&[1.5, 90.25, 1.25]).cell("cpu"), "1.50 (1.25–90.2)");
        assert_eq!(runs(&[2.0, 2.0]).cell("cpu"), "2");
        assert_eq!(runs(&[1.0, 2.0]).median.get("cpu"), Some(1.5));
    }

    #[test]
    fn the_ratio_is_of_medians_and_its_spread_of_neighbouring_runs() {
        let mut louver = runs(&[2.0, 3.0, 4.0]);
        louver.compare(&runs(&[1.0, 1.0, 4.0]).runs, &[("cpu", "x")]);
        assert_eq!(louver.cell("x"), "3 (1–3)");
    }
}
