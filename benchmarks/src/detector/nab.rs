//! The score of the Numenta Anomaly Benchmark, and what it hides: how many alerts are false.
//!
//! # Guarantees
//! - The scoring of its `sweeper.py`: the first 15 % (750 at most) are not scored, the best placed
//!   detection of a window counts, every detection outside of windows costs.

use super::data::Labelled;
use super::scores::{Detector, openings};
use super::{Table, float, percent};

/// What a false detection costs; a missed window costs 1.
const FALSE: [(&str, f64); 2] = [("standard", 0.11), ("low FP", 0.22)];
/// Thresholds that are tried for the one fitted to the labels.
const TRIED: usize = 200;

/// What a threshold gives on some series.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    /// Windows, and those with a detection.
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

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below the length")]
fn share_of(length: usize, share: f64) -> usize {
    (float(length) * share) as usize
}

fn row(name: &str, threshold: &str, tally: Tally) -> Vec<String> {
    let score = |price: f64| {
        if tally.windows == 0 { "-".to_owned() } else { format!("{:.1}", tally.score(price)) }
    };
    vec![
        name.to_owned(),
        threshold.to_owned(),
        score(FALSE[0].1),
        score(FALSE[1].1),
        format!("{}/{}", tally.hit, tally.windows),
        tally.alerts.to_string(),
        tally.outside.to_string(),
        percent(tally.outside, tally.alerts),
    ]
}

/// The tables.
pub fn report(all: &[Labelled]) -> Vec<Table> {
    let columns = |first: &'static str, second: &'static str| {
        let [a, b] = FALSE.map(|(name, _)| name);
        [first, second, a, b, "windows hit", "alerts", "false", "false/alerts"]
    };
    let title = format!("NAB layout, {} series", all.len());
    let mut table = Table::new(&title, &columns("detector", "threshold"));
    let scored = |detector: Detector| -> Vec<(&Labelled, Vec<f64>)> {
        all.iter().map(|own| (own, detector.scores(own, probation(own.values.len())))).collect()
    };
    for detector in Detector::ALL {
        let series = scored(detector);
        table.row(row(detector.name(), "its own", sum(&series, detector.threshold())));
        let best = fitted(&series, FALSE[0].1);
        let name = format!("{best:.3}, fitted to these labels");
        table.row(row(detector.name(), &name, sum(&series, best)));
    }
    let title = "NAB layout by category, Weir at its own threshold";
    let mut by_category = Table::new(title, &columns("category", "series"));
    let mut categories: Vec<&str> = all.iter().map(|own| own.category.as_str()).collect();
    categories.sort_unstable();
    categories.dedup();
    let series = scored(Detector::Weir);
    for category in categories {
        let own: Vec<(&Labelled, Vec<f64>)> =
            series.iter().filter(|(own, _)| own.category == category).cloned().collect();
        let count = own.len().to_string();
        by_category.row(row(category, &count, sum(&own, Detector::Weir.threshold())));
    }
    vec![table, by_category]
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
