//! Hourly series with expert labels: events found, and alerts that were none.
//!
//! # Guarantees
//! - An alert is true inside an event or up to three hours after it. After an alert, a day passes
//!   before the next one of the series. The first week is not judged.

use super::compared::{Detector, openings};
use super::{Labelled, categories};

const HOUR_US: i64 = 3_600_000_000;
const COOLDOWN_US: i64 = 24 * HOUR_US;
const AFTER_US: i64 = 3 * HOUR_US;
const WEEK_US: i64 = 168 * HOUR_US;

/// The largest score that is tried as a threshold, by rank.
const FIRST_RANK: usize = 4;

/// What a threshold gives on some series.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Found {
    /// What people call an event, after the first week.
    pub events: usize,
    /// Those of them with an alert.
    pub found: usize,
    /// Alerts.
    pub alerts: usize,
    /// Those of them without an event.
    pub wrong: usize,
    /// Weeks of all series.
    pub weeks: f64,
}

/// Values of the first week.
fn first_week(series: &Labelled) -> usize {
    let end = series.times.first().map_or(0, |at| at.0 + WEEK_US);
    series.times.partition_point(|at| at.0 < end)
}

fn judge(series: &Labelled, scores: &[f64], threshold: f64) -> Found {
    let first = first_week(series);
    let time = |at: usize| series.times.get(at).map_or(0, |at| at.0);
    let events: Vec<(usize, usize)> =
        series.windows.iter().copied().filter(|(start, _)| *start >= first).collect();
    let mut alerts: Vec<usize> = Vec::new();
    for at in openings(scores, threshold, first) {
        if alerts.last().is_none_or(|last| time(at) - time(*last) >= COOLDOWN_US) {
            alerts.push(at);
        }
    }
    let hits = |at: usize, (start, end): (usize, usize)| {
        at >= start && time(at) <= time(end).saturating_add(AFTER_US)
    };
    // An event that began in the first week is nobody's: an alert in it is not wrong.
    let is_true = |at: usize| series.windows.iter().any(|event| hits(at, *event));
    let last = series.times.last().map_or(0, |at| at.0);
    Found {
        events: events.len(),
        found: events.iter().filter(|own| alerts.iter().any(|at| hits(*at, **own))).count(),
        alerts: alerts.len(),
        wrong: alerts.iter().filter(|at| !is_true(**at)).count(),
        weeks: (last - series.times.get(first).map_or(last, |at| at.0)).max(0) as f64
            / WEEK_US as f64,
    }
}

fn sum<'a>(all: impl Iterator<Item = &'a (&'a Labelled, Vec<f64>)>, threshold: f64) -> Found {
    all.map(|(series, scores)| judge(series, scores, threshold)).fold(
        Found::default(),
        |sum, own| Found {
            events: sum.events + own.events,
            found: sum.found + own.found,
            alerts: sum.alerts + own.alerts,
            wrong: sum.wrong + own.wrong,
            weeks: sum.weeks + own.weeks,
        },
    )
}

/// What a detector comes to at one threshold.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its name, or the category that it is about.
    pub name: String,
    /// Its threshold in words.
    pub threshold: String,
    /// What it found.
    pub found: Found,
}

type Scored<'a> = Vec<(&'a Labelled, Vec<f64>)>;

const OWN: &str = "its own";

/// Scores the detectors on some series.
pub fn evaluate(all: &[Labelled]) -> Vec<Line> {
    let mut lines = Vec::new();
    for detector in Detector::ALL {
        let scored: Scored<'_> =
            all.iter().map(|own| (own, detector.scores(own, first_week(own)))).collect();
        let mut line = |name: &str, threshold: &str, found: Found| {
            lines.push(Line { name: name.to_owned(), threshold: threshold.to_owned(), found });
        };
        line(detector.name(), OWN, sum(scored.iter(), detector.threshold()));
        if let Some(fitted) = fitted(&scored) {
            let threshold =
                format!("{fitted:.3}, most found at a tenth false, fitted to these labels");
            line(detector.name(), &threshold, sum(scored.iter(), fitted));
        }
        if detector != Detector::Weir {
            continue;
        }
        line(detector.name(), "p < 1e-3, no least deviation", sum(scored.iter(), 3.0));
        for p in [5.0, 7.0] {
            line(detector.name(), &format!("p < 1e-{p:.0}"), sum(scored.iter(), p));
        }
        for category in categories(all) {
            let own = scored.iter().filter(|(own, _)| own.category == category);
            line(category, OWN, sum(own, detector.threshold()));
        }
    }
    lines
}

/// The threshold that finds most with at most a tenth of the alerts false.
fn fitted(scored: &Scored<'_>) -> Option<f64> {
    let mut all: Vec<f64> = scored.iter().flat_map(|(_, scores)| scores.iter().copied()).collect();
    all.retain(|score| *score > 0.0);
    all.sort_by(|a, b| b.total_cmp(a));
    let mut best = None;
    let mut rank = FIRST_RANK;
    while let Some(threshold) = all.get(rank) {
        let found = sum(scored.iter(), *threshold);
        let is_better = best.is_none_or(|(held, _)| found.found > held);
        if found.wrong * 10 <= found.alerts && is_better {
            best = Some((found.found, *threshold));
        }
        rank += 1 + rank / 8;
    }
    best.map(|(_, threshold)| threshold)
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::Micros;

    #[test]
    fn alerts_are_true_in_events_and_shortly_after() {
        let hours = 400;
        let series = Labelled {
            category: String::new(),
            name: String::new(),
            times: (0..hours).map(|hour| Micros(hour * HOUR_US)).collect(),
            values: Vec::new(),
            windows: vec![(180, 182), (250, 250), (300, 300)],
        };
        let mut scores = vec![0.0; 400];
        // In the first week; in an event; in its cooldown; three hours after; four hours after.
        for at in [100, 181, 190, 253, 304] {
            scores[at] = 9.0;
        }
        let found = judge(&series, &scores, 4.0);
        assert_eq!((found.events, found.found, found.alerts, found.wrong), (3, 2, 3, 1));
    }
}
