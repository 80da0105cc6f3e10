//! The score of the Numenta Anomaly Benchmark, and what it hides: how many alerts are false.
//!
//! # Guarantees
//! - The scoring of its `sweeper.py`: the first 15 % (750 at most) are not scored, the best placed
//!   detection of a window counts, every detection outside of windows costs.

use super::compared::{Detector, openings};
use super::{Labelled, categories};
use crate::chance::Chance;

/// The scores, and what a false detection costs in each; a missed window costs 1.
pub const FALSE: [(&str, f64); 2] = [("standard", 0.11), ("low FP", 0.22)];
/// Parts of the series of which each is scored with a threshold from the others.
const FOLDS: usize = 5;
/// Draws of the series.
const DRAWS: usize = 1000;
/// Thresholds that are tried for the one fitted to the labels.
const TRIED: usize = 200;

/// What a threshold gives on some series.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    /// Windows.
    pub windows: usize,
    /// Those with a detection.
    pub hit: usize,
    /// Alerts.
    pub alerts: usize,
    /// Alerts outside of windows.
    pub outside: usize,
    /// The reward of detections within windows.
    reward: f64,
    /// The weight of detections outside of them, before its factor.
    blame: f64,
}

impl Tally {
    /// The normalised score when a false detection costs `price`: 100 is perfect, 0 finds nothing.
    pub fn score(&self, price: f64) -> f64 {
        if self.windows == 0 {
            return f64::NAN;
        }
        let missed = float(self.windows - self.hit);
        let raw = self.reward - missed - price * self.blame;
        let (null, perfect) = (-float(self.windows), float(self.windows));
        100.0 * (raw - null) / (perfect - null)
    }

    fn add(&mut self, other: Tally) {
        self.windows += other.windows;
        self.hit += other.hit;
        self.alerts += other.alerts;
        self.outside += other.outside;
        self.reward += other.reward;
        self.blame += other.blame;
    }
}

/// Values at the start that are not scored.
pub fn probation(length: usize) -> usize {
    length.min(5000) * 15 / 100
}

/// 1 far before 0, 0 at 0, -1 far behind it.
fn sigmoid(position: f64) -> f64 {
    if position > 3.0 { -1.0 } else { 2.0 / (1.0 + (5.0 * position).exp()) - 1.0 }
}

/// Scores the detections at `places`.
pub fn tally(windows: &[(usize, usize)], places: &[usize]) -> Tally {
    let mut tally = Tally { windows: windows.len(), alerts: places.len(), ..Tally::default() };
    for (start, end) in windows {
        let best = places.iter().find(|at| (start..=end).contains(at));
        if let Some(at) = best {
            let position = -float(end - at + 1) / float(end - start + 1);
            tally.hit += 1;
            tally.reward += sigmoid(position) / sigmoid(-1.0);
        }
    }
    for at in places {
        if windows.iter().any(|(start, end)| (start..=end).contains(&at)) {
            continue;
        }
        tally.outside += 1;
        let before = windows.iter().rev().find(|(_, end)| end < at);
        tally.blame += before
            .map_or(1.0, |(start, end)| -sigmoid(float(at - end) / float(end - start).max(1.0)));
    }
    tally
}

fn sum(series: &[(&Labelled, Vec<f64>)], threshold: f64) -> Tally {
    let mut total = Tally::default();
    for (labelled, scores) in series {
        let places = openings(scores, threshold, probation(scores.len()));
        total.add(tally(&labelled.windows, &places));
    }
    total
}

/// The threshold with the best score for these very labels.
fn fitted(series: &[(&Labelled, Vec<f64>)], price: f64) -> f64 {
    let mut all: Vec<f64> = series.iter().flat_map(|(_, scores)| scores.iter().copied()).collect();
    all.retain(|score| *score > 0.0);
    all.sort_by(f64::total_cmp);
    // Ever closer towards the largest: few scores are of interest, and those are far out.
    let place = |step: usize| {
        let share = 0.93_f64.powi(i32::try_from(step).unwrap_or(i32::MAX));
        all.iter().rev().nth(share_of(all.len(), share)).or(all.first()).copied()
    };
    let tried = (0..TRIED).filter_map(place);
    let score = |threshold: &f64| sum(series, *threshold).score(price);
    tried.max_by(|a, b| score(a).total_cmp(&score(b))).unwrap_or(f64::INFINITY)
}

fn float(count: usize) -> f64 {
    count as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below the length")]
fn share_of(length: usize, share: f64) -> usize {
    (float(length) * share) as usize
}

/// Where a detector's threshold is from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Threshold {
    /// It is the detector's own: no label was looked at.
    Own,
    /// It is the best for these labels.
    Fitted(f64),
    /// For each fifth of the series, the best for the labels of the others.
    Crossed,
}

/// What a detector comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its name.
    pub detector: &'static str,
    /// Its threshold.
    pub threshold: Threshold,
    /// What it found.
    pub tally: Tally,
}

/// The score of the product's detector when some series are drawn for others, each with its own threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Resampled {
    /// The name of the score.
    pub profile: &'static str,
    /// Below it are 5 % of the draws, above the other 5 %.
    pub low: f64,
    /// See there.
    pub high: f64,
    /// The share of the draws in which it is above range novelty.
    pub above: f64,
}

/// What comes of some series.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Each detector with each threshold.
    pub lines: Vec<Line>,
    /// The product's by category, at its own threshold: name, series, what it found.
    pub categories: Vec<(String, usize, Tally)>,
    /// What would come of other series like these.
    pub resampled: Vec<Resampled>,
}

type Scored<'a> = Vec<(&'a Labelled, Vec<f64>)>;

/// Scores the detectors on some series.
pub fn evaluate(all: &[Labelled]) -> Report {
    let scored = |detector: Detector| -> Scored<'_> {
        all.iter().map(|own| (own, detector.scores(own, probation(own.values.len())))).collect()
    };
    let mut lines = Vec::new();
    let mut own = Vec::new();
    for detector in Detector::ALL {
        let series = scored(detector);
        let best = fitted(&series, FALSE[0].1);
        let line = |threshold, tally| Line { detector: detector.name(), threshold, tally };
        lines.push(line(Threshold::Own, sum(&series, detector.threshold())));
        lines.push(line(Threshold::Crossed, crossed(&series)));
        lines.push(line(Threshold::Fitted(best), sum(&series, best)));
        let each = series.iter().map(|own| sum(std::slice::from_ref(own), detector.threshold()));
        own.push(each.collect::<Vec<Tally>>());
    }
    let (weir, novelty) = match &own[..] {
        [weir, novelty, ..] => (&weir[..], &novelty[..]),
        _ => (&[][..], &[][..]),
    };
    let of = |category: &str| {
        let own = all.iter().zip(weir).filter(|(own, _)| own.category == category);
        let tallies: Vec<Tally> = own.map(|(_, tally)| *tally).collect();
        (category.to_owned(), tallies.len(), total(tallies.iter()))
    };
    Report {
        lines,
        categories: categories(all).into_iter().map(of).collect(),
        resampled: resampled(weir, novelty),
    }
}

fn total<'a>(all: impl Iterator<Item = &'a Tally>) -> Tally {
    let mut total = Tally::default();
    all.for_each(|own| total.add(*own));
    total
}

/// Each fifth of the series with the threshold that is best for the others.
fn crossed(series: &Scored<'_>) -> Tally {
    let mut out = Tally::default();
    for fold in 0..FOLDS {
        let part = |is_own: bool| -> Scored<'_> {
            let all = series.iter().enumerate();
            let own = all.filter(|(at, _)| (at % FOLDS == fold) == is_own);
            own.map(|(_, own)| own.clone()).collect()
        };
        out.add(sum(&part(true), fitted(&part(false), FALSE[0].1)));
    }
    out
}

fn resampled(weir: &[Tally], novelty: &[Tally]) -> Vec<Resampled> {
    let mut chance = Chance::new(1);
    let mut draws: Vec<[Tally; 2]> = Vec::new();
    for _ in 0..DRAWS {
        let places: Vec<usize> = weir.iter().map(|_| chance.below(weir.len())).collect();
        let of = |all: &[Tally]| total(places.iter().filter_map(|at| all.get(*at)));
        draws.push([of(weir), of(novelty)]);
    }
    draws.retain(|[own, _]| own.windows > 0);
    let of = |(profile, price): (&'static str, f64)| {
        let mut scores: Vec<f64> = draws.iter().map(|[own, _]| own.score(price)).collect();
        scores.sort_by(f64::total_cmp);
        let at = |part: f64| scores.get(share_of(scores.len(), part)).copied();
        let is_above = |[own, other]: &&[Tally; 2]| own.score(price) > other.score(price);
        Some(Resampled {
            profile,
            low: at(0.05)?,
            high: at(0.95)?,
            above: float(draws.iter().filter(is_above).count()) / float(draws.len()),
        })
    };
    FALSE.into_iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perfect_nothing_and_noise() {
        let windows = [(100, 109), (200, 219)];
        let perfect = tally(&windows, &[100, 200]);
        assert!((perfect.score(0.11) - 100.0).abs() < 1e-9);
        assert!(tally(&windows, &[]).score(0.11).abs() < 1e-9);
        // One false alert before any window costs 0.11 of two windows, on a scale of 4 halves.
        let one = tally(&windows, &[5]);
        assert!((one.score(0.11) + 100.0 * 0.11 / 4.0).abs() < 1e-9);
        // At the right edge of a window of 10: position -0.1.
        let late = tally(&windows, &[109]);
        let edge = (2.0 / (1.0 + (-0.5_f64).exp()) - 1.0) / (2.0 / (1.0 + (-5.0_f64).exp()) - 1.0);
        assert!((late.score(0.11) - 100.0 * (edge - 1.0 + 2.0) / 4.0).abs() < 1e-9);
        // Right behind a window costs little, far behind all of it.
        assert!(tally(&windows, &[110]).blame < 0.3);
        assert!((tally(&windows, &[199]).blame - 1.0).abs() < 1e-9);
        assert_eq!((probation(1000), probation(100_000)), (150, 750));
    }
}
