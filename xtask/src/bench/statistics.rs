//! Few samples of a noisy machine, summed up without hiding the noise.

use serde::Serialize;

/// The middle and the ends of some samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// The middle one; of an even number the mean of the middle two.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Summary {
    /// Sums samples up; none when there are none.
    pub fn of(samples: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = samples.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let (lower, upper) = ((sorted.len() - 1) / 2, sorted.len() / 2);
        Some(Self {
            median: f64::midpoint(sorted[lower], sorted[upper]),
            min,
            max,
        })
    }
}

/// The baseline and the other of each pair, and the ratio within each pair: what the machine did
/// to both of a pair cancels out there, which the ratio of two medians does not.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Comparison {
    /// The baseline's samples.
    pub baseline: Summary,
    /// The samples of what is compared with it.
    pub measured: Summary,
    /// Measured by baseline.
    pub ratio: Summary,
}

impl Comparison {
    /// Sums pairs of (baseline, measured) up; none when there are none.
    pub fn of(pairs: &[(f64, f64)]) -> Option<Self> {
        let ratio = |&(baseline, measured): &(f64, f64)| measured / baseline;
        Some(Self {
            baseline: Summary::of(pairs.iter().map(|pair| pair.0))?,
            measured: Summary::of(pairs.iter().map(|pair| pair.1))?,
            ratio: Summary::of(pairs.iter().map(ratio))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order() {
        let odd = Summary::of([9.0, 1.0, 4.0]).unwrap();
        assert_eq!((odd.min, odd.median, odd.max), (1.0, 4.0, 9.0));
        let even = Summary::of([4.0, 1.0, 9.0, 2.0]).unwrap();
        assert_eq!((even.min, even.median, even.max), (1.0, 3.0, 9.0));
        assert_eq!(Summary::of([7.0]).unwrap().median, 7.0);
        assert_eq!(Summary::of([]), None);
    }

    #[test]
    fn a_slow_minute_that_hits_both_of_a_pair_does_not_move_the_ratio() {
        let pairs = [(10.0, 11.0), (100.0, 110.0), (10.0, 11.0)];
        let compared = Comparison::of(&pairs).unwrap();
        assert!((compared.ratio.max - 1.1).abs() < 1e-9);
        assert!((compared.ratio.min - 1.1).abs() < 1e-9);
        assert_eq!(compared.baseline.max, 100.0);
        assert_eq!(compared.measured.median, 11.0);
    }
}
