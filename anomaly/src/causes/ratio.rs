//! Causes of a ratio: of a rate that went up where the sums below it did not.
//!
//! # Guarantees
//! - What rates and mix did adds up to the change of the ratio, but for rounding ([`effects`]).

use std::sync::Arc;

use super::Leaf;

/// How much of the whole's rate a leaf is taken to have had before its own is known: as if it had been seen on half a mean
/// leaf's denominator.
const BORROWED: f64 = 0.5;

/// A leaf of a ratio: both of its sums, as they are and as they were expected.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts {
    /// Its value of each dimension, in their order.
    pub values: Vec<Arc<str>>,
    /// Above the line.
    pub numerator: f64,
    /// Below the line.
    pub denominator: f64,
    /// What was expected above the line.
    pub expected_numerator: f64,
    /// What was expected below the line.
    pub expected_denominator: f64,
}

/// What one leaf did to a ratio: the two add up to its part of the change.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Effect {
    /// By its own rate, at the mix between expected and actual.
    pub rate: f64,
    /// By its part of the denominator, at its rate between both, against the whole's.
    pub mix: f64,
}

/// Leaves for [`causes`](super::causes()) that tell of rates alone: numerators, against what the expected rate would have
/// given of the denominator that is there. A leaf of which little was expected borrows from the rate of the whole.
#[must_use]
pub fn at_expected_rates(parts: &[Parts]) -> Vec<Leaf> {
    let above: f64 = parts.iter().map(|own| own.expected_numerator).sum();
    let below: f64 = parts.iter().map(|own| own.expected_denominator).sum();
    let rate = if below > 0.0 { above / below } else { 0.0 };
    let borrowed = BORROWED * below / parts.len().max(1) as f64;
    let leaf = |own: &Parts| {
        let seen = own.expected_denominator + borrowed;
        let rate = match seen > 0.0 {
            true => borrowed.mul_add(rate, own.expected_numerator) / seen,
            false => rate,
        };
        Leaf { values: own.values.clone(), actual: own.numerator, expected: own.denominator * rate }
    };
    parts.iter().map(leaf).collect()
}

/// What each leaf did to the ratio of the whole, in the order of `parts`, by Shapley's values of rate and mix. `None` where a
/// whole has no denominator: there is no ratio then.
#[must_use]
pub fn effects(parts: &[Parts]) -> Option<Vec<Effect>> {
    let sum = |of: fn(&Parts) -> f64| parts.iter().map(of).sum::<f64>();
    let (below, expected_below) = (sum(|own| own.denominator), sum(|own| own.expected_denominator));
    if !(below > 0.0 && expected_below > 0.0) {
        return None;
    }
    let actual = sum(|own| own.numerator) / below;
    let expected = sum(|own| own.expected_numerator) / expected_below;
    let whole = f64::midpoint(actual, expected);
    let effect = |own: &Parts| {
        let (weight, expected_weight) =
            (own.denominator / below, own.expected_denominator / expected_below);
        // Above a line with nothing below it, all is said by the part that it has of the numerator.
        let rate = rate_of(own.numerator, own.denominator);
        let expected_rate = rate_of(own.expected_numerator, own.expected_denominator);
        match (rate, expected_rate) {
            (Some(rate), Some(expected_rate)) => Effect {
                rate: f64::midpoint(weight, expected_weight) * (rate - expected_rate),
                mix: (f64::midpoint(rate, expected_rate) - whole) * (weight - expected_weight),
            },
            // New or gone: it has one rate only, and what it did is mix.
            _ => {
                let gap = own.numerator / below - own.expected_numerator / expected_below;
                let mix = whole.mul_add(expected_weight - weight, gap);
                Effect { rate: 0.0, mix }
            }
        }
    };
    Some(parts.iter().map(effect).collect())
}

fn rate_of(above: f64, below: f64) -> Option<f64> {
    (below > 0.0).then(|| above / below)
}
