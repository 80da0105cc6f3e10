//! Hourly series with expert labels: events found, and alerts that were none.
//!
//! # Guarantees
//! - An alert is true inside an event or up to three hours after it. After an alert, a day passes
//!   before the next one of the series. The first week is not judged.

use super::data::Labelled;
use super::scores::{Detector, openings};
use super::{Table, float, percent};

const HOUR_US: i64 = 3_600_000_000;
const COOLDOWN_US: i64 = 24 * HOUR_US;
const AFTER_US: i64 = 3 * HOUR_US;
const WEEK_US: i64 = 168 * HOUR_US;

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Found {
    events: usize,
    found: usize,
    alerts: usize,
    wrong: usize,
    weeks: f64,
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

fn row(name: &str, threshold: &str, found: Found) -> Vec<String> {
    vec![
        name.to_owned(),
        threshold.to_owned(),
        format!("{} ({}/{})", percent(found.found, found.events), found.found, found.events),
        found.alerts.to_string(),
        found.wrong.to_string(),
        percent(found.wrong, found.alerts),
        format!("{:.3}", float(found.wrong) / found.weeks.max(1e-9)),
    ]
}

/// The table.
pub fn report(all: &[Labelled]) -> Vec<Table> {
    let columns = [
        "detector",
        "threshold",
        "events found",
        "alerts",
        "false",
        "false/alerts",
        "false per series-week",
    ];
    let title = format!("Microsoft layout, {} series", all.len());
    let mut table = Table::new(&title, &columns);
    for detector in Detector::ALL {
        let scored: Vec<(&Labelled, Vec<f64>)> =
            all.iter().map(|own| (own, detector.scores(own, first_week(own)))).collect();
        let found = sum(scored.iter(), detector.threshold());
        table.row(row(detector.name(), "its own", found));
        if detector != Detector::Weir {
            continue;
        }
        for p in [3.0, 5.0, 7.0] {
            let name = if p < 4.0 {
                "p < 1e-3, no least deviation".into()
            } else {
                format!("p < 1e-{p:.0}")
            };
            table.row(row(detector.name(), &name, sum(scored.iter(), p)));
        }
        let mut categories: Vec<&str> = all.iter().map(|own| own.category.as_str()).collect();
        categories.sort_unstable();
        categories.dedup();
        for category in categories {
            let own = scored.iter().filter(|(own, _)| own.category == category);
            table.row(row(category, "its own", sum(own, detector.threshold())));
        }
    }
    vec![table]
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
