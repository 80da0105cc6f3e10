//! Plain ways to name causes, for comparison.
//!
//! # Guarantees
//! - They take what the search takes, and see no more.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Element, Leaf};

/// What a value explains at least, for [`adtributor`].
const LEAST_SHARE: f64 = 0.1;
/// What a dimension's values explain together, for [`adtributor`].
const ENOUGH: f64 = 0.67;

/// Sums of a value: actual, expected.
type Values = BTreeMap<Arc<str>, (f64, f64)>;

/// The value of one dimension with the largest change in the direction of the whole's.
#[must_use]
pub fn largest(leaves: &[Leaf]) -> Vec<Element> {
    let (actual, expected) = whole(leaves);
    let change = actual - expected;
    let mut best: Option<(f64, Element)> = None;
    for dim in 0..width(leaves) {
        for (value, (actual, expected)) in values(leaves, dim) {
            let share = (actual - expected) / change;
            if share > best.as_ref().map_or(0.0, |(most, _)| *most) {
                best = Some((share, vec![(dim, value)]));
            }
        }
    }
    best.into_iter().map(|(_, element)| element).collect()
}

/// Adtributor (Bhagwan and others, 2014) with one dimension: that whose values surprise most, of which as few are named as explain
/// two thirds of the change, each a tenth or more.
#[must_use]
pub fn adtributor(leaves: &[Leaf]) -> Vec<Element> {
    let (all, all_expected) = whole(leaves);
    let change = all - all_expected;
    let mut best: Option<(f64, Vec<Element>)> = None;
    for dim in 0..width(leaves) {
        let surprise = |(actual, expected): (f64, f64)| {
            let (p, q) = (expected / all_expected, actual / all);
            let term = |own: f64| if own > 0.0 { own * (2.0 * own / (p + q)).ln() } else { 0.0 };
            f64::midpoint(term(p), term(q))
        };
        let mut ranked: Vec<(f64, f64, Arc<str>)> = values(leaves, dim)
            .into_iter()
            .map(|(value, own)| (surprise(own), (own.0 - own.1) / change, value))
            .filter(|(surprise, share, _)| surprise.is_finite() && *share > LEAST_SHARE)
            .collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.2.cmp(&b.2)));
        let (mut explained, mut surprised, mut named) = (0.0, 0.0, Vec::new());
        for (surprise, share, value) in ranked {
            (explained, surprised) = (explained + share, surprised + surprise);
            named.push(vec![(dim, value)]);
            if explained > ENOUGH {
                break;
            }
        }
        let is_better = best.as_ref().is_none_or(|(most, _)| surprised > *most);
        if explained > ENOUGH && is_better {
            best = Some((surprised, named));
        }
    }
    best.map(|(_, named)| named).unwrap_or_default()
}

fn width(leaves: &[Leaf]) -> usize {
    leaves.first().map_or(0, |leaf| leaf.values.len())
}

fn whole(leaves: &[Leaf]) -> (f64, f64) {
    leaves.iter().fold((0.0, 0.0), |(actual, expected), leaf| {
        (actual + leaf.actual, expected + leaf.expected)
    })
}

fn values(leaves: &[Leaf], dim: usize) -> Values {
    let mut values = Values::new();
    for leaf in leaves {
        let Some(value) = leaf.values.get(dim) else { continue };
        let (actual, expected) = values.entry(Arc::clone(value)).or_default();
        (*actual, *expected) = (*actual + leaf.actual, *expected + leaf.expected);
    }
    values
}
