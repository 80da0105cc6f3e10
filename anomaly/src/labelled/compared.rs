//! A score for every number: the product's detector, and two simple ones to compare it with.
//!
//! # Guarantees
//! - A score depends on numbers before it and on its own, nothing else. The scale of a series is taken
//!   from its first numbers, which no protocol judges.

use super::Labelled;
use crate::walk::{Score, Series, walk};

const DAY_US: i64 = 86_400_000_000;

/// A detector of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detector {
    /// What the product runs.
    Weir,
    /// Outside of everything seen so far.
    Novelty,
    /// Standard deviations from the mean of the same time of day.
    SeasonalZ,
}

impl Detector {
    /// All of them.
    pub const ALL: [Detector; 3] = [Detector::Weir, Detector::Novelty, Detector::SeasonalZ];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Detector::Weir => "Weir, `seasonal`",
            Detector::Novelty => "range novelty",
            Detector::SeasonalZ => "seasonal z-score",
        }
    }

    /// The score at which it raises an alert, chosen without labels of any benchmark.
    pub fn threshold(self) -> f64 {
        match self {
            Detector::Weir => ALERT,
            Detector::Novelty => f64::MIN_POSITIVE,
            Detector::SeasonalZ => 4.0,
        }
    }

    /// A score for each value; 0 where none can be given. `first` values are never judged.
    pub fn scores(self, series: &Labelled, first: usize) -> Vec<f64> {
        let day = usize::try_from(DAY_US / series.step()).unwrap_or(1).max(1);
        match self {
            Detector::Weir => weir(series, day, first),
            Detector::Novelty => novelty(&series.values),
            Detector::SeasonalZ => seasonal_z(&series.values, day),
        }
    }
}

/// -log10 of the p-value at which an alert opens, 5e-4.
const ALERT: f64 = 3.301_029_995_663_981;
/// The usual value of a series after scaling: like an amount of money, so that what is absolute in the
/// model (1 unit of currency) means the same in every series.
const USUAL: f64 = 1000.0;

fn weir(labelled: &Labelled, day: usize, first: usize) -> Vec<f64> {
    let seasons = if day > 1 { (day, day * 7) } else { (0, 7) };
    let start = labelled.times.first().map_or(0, |at| at.0.rem_euclid(DAY_US));
    let phase = usize::try_from(start / labelled.step()).unwrap_or(0);
    let warm = u32::try_from(day * 2).unwrap_or(u32::MAX).clamp(30, 750);
    let series = Series { day: seasons.0, week: seasons.1, phase, count: false, warm };
    let unit = unit(&labelled.values, first);
    let values: Vec<f64> = labelled.values.iter().map(|value| value / unit).collect();
    let score = |score: &Option<Score>| {
        let Some(score) = score else { return 0.0 };
        let surprise = -score.p.max(1e-300).log10();
        if score.anomalous { surprise.max(ALERT) } else { surprise.min(ALERT - 1e-6) }
    };
    walk(&values, series).iter().map(score).collect()
}

/// What the first values are divided by to be about [`USUAL`].
fn unit(values: &[f64], first: usize) -> f64 {
    let mut sizes: Vec<f64> =
        values.iter().take(first).map(|value| value.abs()).filter(|size| *size > 0.0).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.get(sizes.len() / 2).map_or(1.0, |median| median / USUAL)
}

fn novelty(values: &[f64]) -> Vec<f64> {
    let (mut low, mut high): (f64, f64) = (f64::INFINITY, f64::NEG_INFINITY);
    let score = |value: &f64| {
        let range = (high - low).max(1e-9);
        let beyond = ((value - high).max(low - value) / range).max(0.0);
        (low, high) = (low.min(*value), high.max(*value));
        if beyond.is_finite() { beyond } else { 0.0 }
    };
    values.iter().map(score).collect()
}

fn seasonal_z(values: &[f64], day: usize) -> Vec<f64> {
    // Per time of day: how many, their sum and the sum of their squares.
    let mut seen = vec![(0.0_f64, 0.0_f64, 0.0_f64); day.min(24)];
    let bins = seen.len();
    let mut scores = Vec::with_capacity(values.len());
    for (at, value) in values.iter().enumerate() {
        let Some(own) = seen.get_mut(at % day * bins / day) else { continue };
        let mean = own.1 / own.0;
        let deviation = (own.2 / own.0 - mean * mean).max(0.0).sqrt();
        let score = (value - mean).abs() / deviation.max(1e-9);
        scores.push(if own.0 >= 7.0 && score.is_finite() { score } else { 0.0 });
        *own = (own.0 + 1.0, own.1 + value, own.2 + value * value);
    }
    scores
}

/// Where alerts open: the first of each run of scores at or above `threshold`, from `first` on.
pub fn openings(scores: &[f64], threshold: f64, first: usize) -> Vec<usize> {
    let mut open = false;
    let mut places = Vec::new();
    for (at, score) in scores.iter().enumerate().skip(first) {
        let over = *score >= threshold;
        if over && !open {
            places.push(at);
        }
        open = over;
    }
    places
}
