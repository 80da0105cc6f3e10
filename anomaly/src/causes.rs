//! What is behind a deviation: the values of up to three dimensions, as `cdn=3, device=iOS`, that explain it.
//!
//! [`causes`] takes leaves, which are sums at the finest split, with what was expected of each. An *element* fixes the values of one to
//! three dimensions, and stands for all leaves that have them. The search is for few elements, of few dimensions, that
//! carry most of the change:
//!
//! 1. Sums are divided by how far leaves are off by chance, so that they are like counts of Poisson's law. How likely an
//!    element's sum is by that law if it were as expected, against as it is (its log-likelihood ratio), is its score. What a
//!    search among so many elements must cost is taken off, so that noise has none above zero.
//! 2. The best element of all wins, or the best few values of one set of dimensions where these are better by a fifth.
//! 3. What befalls an element befalls all of its leaves alike. So a dimension is dropped from the winner when the rest of the
//!    wider element went the same way, by a third of the logarithm of its factor and by more than chance.
//! 4. Its leaves are taken out, and the search goes on with what is left.
//!
//! # Guarantees
//! - Equal leaves give equal causes, whatever their order; names of dimensions and values are only compared.
//! - Parts are of disjoint leaves: what they have of the change adds up.
//! - Work is bounded by [`LEAVES`], [`DIMS`] and [`ROUNDS`], and what was passed over is said.
//! - It sees nothing but the leaves: no label, nothing later.

pub mod layout;
pub mod plain;
pub mod ratio;
mod search;
#[cfg(test)]
mod tests;
pub mod trial;

use std::sync::Arc;

/// Leaves that are looked at: those that are largest, expected or actual.
pub const LEAVES: usize = 20_000;
/// Dimensions that are looked at: those in which a single value says most.
pub const DIMS: usize = 10;
/// Dimensions of an element at most.
pub const DEPTH: usize = 3;
/// Searches, each in what the ones before left unexplained.
pub const ROUNDS: usize = 3;
/// Values of one set of dimensions that one search may name.
pub const TOGETHER: usize = 3;

/// What the numbers of leaves are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Numbers of things: they are off by chance at least as Poisson's law has it.
    Count,
    /// Money, volume and whatever else has a unit: only the leaves tell how far they are off by chance.
    Amount,
}

/// A sum at the finest split.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    /// Its value of each dimension, in their order.
    pub values: Vec<Arc<str>>,
    /// What it is.
    pub actual: f64,
    /// What it was expected to be.
    pub expected: f64,
}

/// One or more dimensions and the value of each: a number of the dimension, and the value, by number.
pub type Element = Vec<(usize, Arc<str>)>;

/// An element that explains a part of the change.
#[derive(Debug, Clone, PartialEq)]
pub struct Cause {
    /// The dimensions it fixes, by their number, and the value of each.
    pub element: Element,
    /// The sum of its leaves, without those of the causes before it.
    pub actual: f64,
    /// What was expected of these.
    pub expected: f64,
    /// Its part of the change of the whole; more than 1 where others went the other way.
    pub share: f64,
    /// How much more likely it is as it is than as expected: a logarithm, less what the search costs.
    pub score: f64,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Found {
    /// The causes, that which says most first; none where nothing is beyond chance, or the whole is as expected.
    pub causes: Vec<Cause>,
    /// Leaves beyond [`LEAVES`], which are part of the change but of no cause.
    pub leaves_left_out: usize,
    /// Dimensions beyond [`DIMS`], by their number.
    pub dims_left_out: Vec<usize>,
}

/// The few elements that explain how the sum of `leaves` differs from what was expected. Leaves without a finite number or
/// with more or fewer values than the first are left out. Sums below zero count as zero where likelihood is asked for.
#[must_use]
pub fn causes(leaves: &[Leaf], measure: Measure) -> Found {
    search::search(leaves, measure)
}
