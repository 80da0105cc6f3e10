//! Chance that a seed decides: laws over the numbers of a seed, so that a scenario is the same on every machine.
//!
//! # Guarantees
//! - The same seed gives the same numbers.

use schemas::split_mix::SplitMix;

/// A seeded generator.
#[derive(Debug, Clone)]
pub(crate) struct Chance(SplitMix);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(SplitMix::new(seed))
    }

    /// Any number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0.draw()
    }

    /// A number in (0, 1).
    pub(crate) fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap_or(1);
        usize::try_from(self.next() % bound).unwrap_or(0)
    }

    /// A number of the normal law.
    pub(crate) fn normal(&mut self) -> f64 {
        let (a, b) = (self.uniform(), self.uniform());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }

    /// A number of Student's law with three degrees of freedom, scaled to a standard deviation of 1.
    pub(crate) fn heavy(&mut self) -> f64 {
        let square = |chance: &mut Chance| chance.normal().powi(2);
        let spread = (square(self) + square(self) + square(self)) / 3.0;
        self.normal() / spread.sqrt() / 3.0_f64.sqrt()
    }

    /// A number of Poisson's law.
    pub(crate) fn poisson(&mut self, mean: f64) -> f64 {
        if mean > 400.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0);
        }
        let (mut count, mut left) = (0.0, mean);
        loop {
            left += self.uniform().ln();
            if left < 0.0 {
                return count;
            }
            count += 1.0;
        }
    }
}
