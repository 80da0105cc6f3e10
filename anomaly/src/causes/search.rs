//! The search for elements.
//!
//! # Guarantees
//! - Leaves are sorted, and values numbered in their order, before anything is summed: sums are bit-equal for any order.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::{Cause, DEPTH, DIMS, Element, Found, LEAVES, Leaf, Measure, ROUNDS, TOGETHER};

/// What each dimension of an element costs, in units of the score.
const DIM_COST: f64 = 3.0;
/// The least part of the change that a cause explains.
const LEAST_SHARE: f64 = 0.2;
/// The part of the change that may stay unexplained.
const REST: f64 = 0.2;
/// By how much each further value must better the score.
const FURTHER: f64 = 1.2;
/// What a further value scores at least, of the best one's score.
const LEAST_OF_BEST: f64 = 0.3;
/// How far the rest of a wider element must go along, of the logarithm of the narrower one's factor.
const ALONG: f64 = 1.0 / 3.0;
/// The median of chi-squared with one degree of freedom.
const MEDIAN: f64 = 0.454_936;
/// Half a thing, below which no expectation is taken to be.
const HALF: f64 = 0.5;
/// The least noise of amounts: leaves of mean size are off by a hundredth.
const LEAST_NOISE: f64 = 1e-4;
/// What a value's number may have in the key of an element.
const BITS: u32 = 21;

/// Leaves with the same values.
#[derive(Debug)]
struct Merged<'a> {
    values: &'a [Arc<str>],
    sums: Sums,
}

/// A leaf with its values numbered and its sums in units of noise.
#[derive(Debug)]
struct Row {
    values: Vec<u32>,
    sums: Sums,
}

/// Sums of leaves.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    actual: f64,
    expected: f64,
}

impl Sums {
    fn add(&mut self, other: Sums) {
        self.actual += other.actual;
        self.expected += other.expected;
    }

    fn less(self, other: Sums) -> Sums {
        Sums { actual: self.actual - other.actual, expected: self.expected - other.expected }
    }

    fn change(self) -> f64 {
        self.actual - self.expected
    }

    /// The log-likelihood ratio of a Poisson count: as it is against as expected; 0 when it did not go as `up` says.
    fn likelihood(self, up: bool) -> f64 {
        let (actual, expected) = (self.actual.max(0.0), self.expected.max(HALF));
        let gap = actual - expected;
        if gap.abs() <= 0.0 || (gap > 0.0) != up {
            return 0.0;
        }
        let log = if actual > 0.0 { actual * (actual / expected).ln() } else { 0.0 };
        log - gap
    }

    /// The logarithm of its factor.
    fn factor(self) -> f64 {
        ((self.actual.max(0.0) + HALF) / (self.expected.max(0.0) + HALF)).ln()
    }
}

/// An element by numbers, with its score.
#[derive(Debug, Clone)]
struct Candidate {
    dims: Vec<usize>,
    key: u64,
    sums: Sums,
    score: f64,
}

/// The whole change, in units of noise.
#[derive(Debug, Clone, Copy)]
struct Whole {
    change: f64,
    up: bool,
}

pub(super) fn search(leaves: &[Leaf], measure: Measure) -> Found {
    let width = leaves.first().map_or(0, |leaf| leaf.values.len());
    let is_whole = |leaf: &&Leaf| {
        leaf.values.len() == width && leaf.actual.is_finite() && leaf.expected.is_finite()
    };
    let mut kept: Vec<&Leaf> = leaves.iter().filter(is_whole).collect();
    let left_out = leaves.len() - kept.len();
    kept.sort_by(|a, b| {
        let by_values = a.values.cmp(&b.values);
        let by_actual = a.actual.total_cmp(&b.actual);
        by_values.then(by_actual).then(a.expected.total_cmp(&b.expected))
    });
    let mut merged = merged(&kept);
    let change: f64 = merged.iter().map(|own| own.sums.change()).sum();
    let beyond = largest(&mut merged);
    let names = names(&merged, width);
    let mut rows = rows(&merged, &names);
    let mut found = Found { leaves_left_out: left_out + beyond, ..Found::default() };
    let unit = noise(&rows, measure);
    if change.abs() <= 0.0 || unit.is_nan() || unit <= 0.0 {
        return found;
    }
    for row in &mut rows {
        row.sums.actual /= unit;
        row.sums.expected /= unit;
    }
    let whole = Whole { change: change / unit, up: change > 0.0 };
    let dims = telling(&rows, width, whole);
    found.dims_left_out = (0..width).filter(|dim| !dims.contains(dim)).collect();
    let sets = sets_of(&dims);
    for _ in 0..ROUNDS {
        let picked = round(&rows, &sets, whole);
        if picked.is_empty() {
            break;
        }
        found.causes.extend(picked.iter().map(|own| told(own, &names, unit, whole)));
        rows.retain(|row| !picked.iter().any(|own| own.key == key(row, &own.dims)));
        let rest: f64 = rows.iter().map(|row| row.sums.change()).sum();
        if rest / whole.change < REST {
            break;
        }
    }
    found
}

/// Leaves with the same values as one; they are sorted.
fn merged<'a>(leaves: &[&'a Leaf]) -> Vec<Merged<'a>> {
    let mut merged: Vec<Merged<'a>> = Vec::with_capacity(leaves.len());
    for leaf in leaves {
        let own = Sums { actual: leaf.actual, expected: leaf.expected };
        match merged.last_mut().filter(|last| last.values == leaf.values) {
            Some(last) => last.sums.add(own),
            None => merged.push(Merged { values: &leaf.values, sums: own }),
        }
    }
    merged
}

/// Keeps the largest [`LEAVES`] in their order, and says how many went.
fn largest(leaves: &mut Vec<Merged<'_>>) -> usize {
    let beyond = leaves.len().saturating_sub(LEAVES);
    if beyond > 0 {
        let size = |own: &Merged<'_>| own.sums.actual.abs().max(own.sums.expected.abs());
        leaves.sort_by(|a, b| size(b).total_cmp(&size(a)).then_with(|| a.values.cmp(b.values)));
        leaves.truncate(LEAVES);
        leaves.sort_by(|a, b| a.values.cmp(b.values));
    }
    beyond
}

/// The values of each dimension in their order.
fn names(leaves: &[Merged<'_>], width: usize) -> Vec<Vec<Arc<str>>> {
    let of = |dim: usize| {
        let values = leaves.iter().filter_map(|leaf| leaf.values.get(dim)).map(Arc::clone);
        let mut names: Vec<Arc<str>> = values.collect();
        names.sort();
        names.dedup();
        names
    };
    (0..width).map(of).collect()
}

/// Leaves by the numbers of their values.
fn rows(leaves: &[Merged<'_>], names: &[Vec<Arc<str>>]) -> Vec<Row> {
    let number = |(dim, value): (&Vec<Arc<str>>, &Arc<str>)| {
        u32::try_from(dim.binary_search(value).unwrap_or(0)).unwrap_or(u32::MAX)
    };
    let row = |own: &Merged<'_>| Row {
        values: names.iter().zip(own.values).map(number).collect(),
        sums: own.sums,
    };
    leaves.iter().map(row).collect()
}

/// How far leaves are off by chance: the variance for each unit of what is expected, by the leaf in the middle, since what is
/// explained are few leaves.
fn noise(rows: &[Row], measure: Measure) -> f64 {
    let of = |own: Sums| own.change().powi(2) / own.expected;
    let known = rows.iter().map(|row| row.sums).filter(|own| own.expected > 0.0);
    let mut all: Vec<f64> = known.map(of).collect();
    all.sort_by(f64::total_cmp);
    let middle = all.get(all.len().saturating_sub(1) / 2).copied().unwrap_or(0.0) / MEDIAN;
    let least = match measure {
        Measure::Count => 1.0,
        Measure::Amount => {
            let size = |row: &Row| row.sums.actual.abs().max(row.sums.expected.abs());
            LEAST_NOISE * rows.iter().map(size).sum::<f64>() / rows.len().max(1) as f64
        }
    };
    middle.max(least)
}

/// The dimensions to look at, in their order: all, or the [`DIMS`] whose best value scores most.
fn telling(rows: &[Row], width: usize, whole: Whole) -> Vec<usize> {
    let mut dims: Vec<usize> = (0..width).collect();
    if width > DIMS {
        let best = |dim: usize| {
            let sums = sums(rows, &[dim]);
            sums.values().map(|own| own.likelihood(whole.up)).fold(0.0, f64::max)
        };
        let mut scored: Vec<(f64, usize)> = dims.iter().map(|dim| (best(*dim), *dim)).collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        dims = scored.into_iter().take(DIMS).map(|(_, dim)| dim).collect();
        dims.sort_unstable();
    }
    dims
}

/// Sets of up to [`DEPTH`] dimensions, small ones first.
fn sets_of(dims: &[usize]) -> Vec<Vec<usize>> {
    let mut all: Vec<Vec<usize>> = Vec::new();
    let mut last: Vec<Vec<usize>> = vec![Vec::new()];
    for _ in 0..DEPTH {
        let mut next = Vec::new();
        for set in &last {
            let after = dims.iter().filter(|dim| set.last().is_none_or(|last| *dim > last));
            next.extend(after.map(|dim| {
                let mut set = set.clone();
                set.push(*dim);
                set
            }));
        }
        all.extend(next.iter().cloned());
        last = next;
    }
    all
}

fn key(row: &Row, dims: &[usize]) -> u64 {
    let value = |dim: &usize| row.values.get(*dim).copied().map_or(0, u64::from);
    dims.iter().fold(0, |key, dim| (key << BITS) | value(dim))
}

/// The numbers of the values behind a key.
fn numbers(key: u64, count: usize) -> Vec<usize> {
    let one = |at: usize| (key >> (BITS as usize * (count - 1 - at))) & ((1 << BITS) - 1);
    (0..count).map(|at| usize::try_from(one(at)).unwrap_or(usize::MAX)).collect()
}

fn sums(rows: &[Row], dims: &[usize]) -> HashMap<u64, Sums, FixedState> {
    let mut sums: HashMap<u64, Sums, FixedState> = HashMap::default();
    for row in rows {
        sums.entry(key(row, dims)).or_default().add(row.sums);
    }
    sums
}

/// What an element among `among` of so many dimensions must pay.
fn cost(dims: usize, among: usize) -> f64 {
    DIM_COST * dims as f64 + (among.max(1) as f64).ln()
}

/// The best element of all, or the best few of one set of dimensions; none where none is beyond chance.
fn round(rows: &[Row], sets: &[Vec<usize>], whole: Whole) -> Vec<Candidate> {
    let mut best: Vec<Candidate> = Vec::new();
    let mut best_score = 0.0;
    for dims in sets {
        let ranked = ranked(rows, dims, whole);
        let Some(first) = ranked.first() else { continue };
        let (mut total, mut worth) = (0.0, 1.0);
        for (at, own) in ranked.iter().take(TOGETHER).enumerate() {
            if own.score < LEAST_OF_BEST * first.score {
                break;
            }
            total += own.score;
            let score = total / worth;
            worth *= FURTHER;
            if score > best_score + 1e-9 {
                best_score = score;
                best = ranked.iter().take(at + 1).cloned().collect();
            }
        }
    }
    match best.as_slice() {
        [single] => vec![widened(rows, single.clone(), whole)],
        _ => best,
    }
}

/// Elements of these dimensions that explain enough and are beyond chance, the best first.
fn ranked(rows: &[Row], dims: &[usize], whole: Whole) -> Vec<Candidate> {
    let sums = sums(rows, dims);
    let cost = cost(dims.len(), sums.len());
    let mut ranked: Vec<Candidate> = Vec::new();
    for (key, sums) in sums {
        let score = sums.likelihood(whole.up) - cost;
        if score > 0.0 && sums.change() / whole.change >= LEAST_SHARE {
            ranked.push(Candidate { dims: dims.to_vec(), key, sums, score });
        }
    }
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.key.cmp(&b.key)));
    ranked
}

/// The element without those dimensions along which everything went the same way.
fn widened(rows: &[Row], mut own: Candidate, whole: Whole) -> Candidate {
    while own.dims.len() > 1 {
        let mut wider: Option<(f64, Candidate)> = None;
        for at in 0..own.dims.len() {
            let Some((along, candidate)) = without(rows, &own, at, whole) else { continue };
            if wider.as_ref().is_none_or(|(most, _)| along > *most) {
                wider = Some((along, candidate));
            }
        }
        let Some((_, candidate)) = wider else { break };
        own = candidate;
    }
    own
}

/// The element without its dimension `at`, and how far the rest of that goes along; `None` where it does not.
fn without(rows: &[Row], own: &Candidate, at: usize, whole: Whole) -> Option<(f64, Candidate)> {
    let mut dims = own.dims.clone();
    dims.remove(at);
    let row = rows.iter().find(|row| key(row, &own.dims) == own.key)?;
    let key = key(row, &dims);
    let all = sums(rows, &dims);
    let sums = *all.get(&key)?;
    let rest = sums.less(own.sums);
    let along = rest.factor() / own.sums.factor();
    let score = rest.likelihood(whole.up) - cost(dims.len(), all.len());
    let score_of_all = sums.likelihood(whole.up) - cost(dims.len(), all.len());
    let goes = along >= ALONG && score > 0.0;
    goes.then_some((along, Candidate { dims, key, sums, score: score_of_all }))
}

fn told(own: &Candidate, names: &[Vec<Arc<str>>], unit: f64, whole: Whole) -> Cause {
    let name = |(dim, number): (&usize, usize)| {
        let value = names.get(*dim).and_then(|names| names.get(number))?;
        Some((*dim, Arc::clone(value)))
    };
    let numbers = numbers(own.key, own.dims.len());
    let element: Element = own.dims.iter().zip(numbers).filter_map(name).collect();
    Cause {
        element,
        actual: own.sums.actual * unit,
        expected: own.sums.expected * unit,
        share: own.sums.change() / whole.change,
        score: own.score,
    }
}
