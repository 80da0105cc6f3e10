//! Series whose truth is known, because it was put there.
//!
//! # Guarantees
//! - The same seed gives the same series on one machine.
//!
//! # Non-guarantees
//! - A generator is kinder than a shop: no holidays, no campaigns, no trend.

use anomaly::{Score, Series, walk};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Table, float, percent};

/// Hours of a series: four weeks to learn from, and two months that are judged.
const HOURS: usize = LEARNED + JUDGED;
const LEARNED: usize = 28 * 24;
const JUDGED: usize = 61 * 24;
/// Clean series of each kind.
const CLEAN: usize = 200;
/// Incidents of each kind and size.
const INCIDENTS: usize = 400;
/// Steps of an hour in which its events arrive.
const STEPS: u16 = 60;

/// A kind of series.
#[derive(Debug, Clone, Copy)]
struct Kind {
    name: &'static str,
    /// Events in a usual hour.
    events: f64,
    /// Whether each has an amount.
    money: bool,
}

const KINDS: [Kind; 8] = [
    Kind { name: "count, 3 an hour", events: 3.0, money: false },
    Kind { name: "count, 30 an hour", events: 30.0, money: false },
    Kind { name: "count, 100 an hour", events: 100.0, money: false },
    Kind { name: "count, 300 an hour", events: 300.0, money: false },
    Kind { name: "count, 3,000 an hour", events: 3000.0, money: false },
    Kind { name: "money of 30 events an hour", events: 30.0, money: true },
    Kind { name: "money of 300 events an hour", events: 300.0, money: true },
    Kind { name: "money of 3,000 events an hour", events: 3000.0, money: true },
];

/// What an incident multiplies an hour by.
const FACTORS: [f64; 7] = [0.0, 0.4, 0.6, 0.7, 1.3, 1.6, 2.0];

/// The level of an hour: a wave in the day, quieter weekends.
fn level(hour: usize) -> f64 {
    let of_day = float(hour % 24) / 24.0 * std::f64::consts::TAU;
    let weekend = if hour / 24 % 7 >= 5 { 0.6 } else { 1.0 };
    (1.0 + 0.5 * (of_day - 2.0).sin()) * weekend
}

fn normal(rng: &mut StdRng) -> f64 {
    let (a, b): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos()
}

fn poisson(rng: &mut StdRng, mean: f64) -> f64 {
    if mean > 400.0 {
        return (mean + mean.sqrt() * normal(rng)).round().max(0.0);
    }
    let (mut count, mut left) = (0.0, mean);
    loop {
        left += (1.0 - rng.random::<f64>()).ln();
        if left < 0.0 {
            return count;
        }
        count += 1.0;
    }
}

impl Kind {
    /// An hour with `factor` of its usual events: counted, or lognormal amounts of about 40 each. Each
    /// hour of money is also off by 5 % as a whole.
    fn hour(self, rng: &mut StdRng, hour: usize, factor: f64) -> f64 {
        let events = poisson(rng, self.events * level(hour) * factor);
        if !self.money {
            return events;
        }
        let sum = 40.0 * events + 30.0 * events.sqrt() * normal(rng);
        (sum.max(0.0) * (0.05 * normal(rng)).exp() * 100.0).round() / 100.0
    }

    fn clean(self, rng: &mut StdRng, hours: usize) -> Vec<f64> {
        (0..hours).map(|hour| self.hour(rng, hour, 1.0)).collect()
    }

    fn walk(self, values: &[f64]) -> Vec<Option<Score>> {
        walk(values, Series { day: 24, week: 168, phase: 0, count: !self.money, warm: 48 })
    }
}

/// Alerts that open among clean hours.
fn false_alerts(kind: Kind, rng: &mut StdRng) -> usize {
    let mut alerts = 0;
    for _ in 0..CLEAN {
        let scores = kind.walk(&kind.clean(rng, HOURS));
        let mut open = false;
        for score in scores.iter().skip(LEARNED) {
            let anomalous = score.is_some_and(|own| own.anomalous);
            alerts += usize::from(anomalous && !open);
            open = anomalous;
        }
    }
    alerts
}

/// Of incidents of one hour: how many are found, and the minutes into the hour at which they are.
fn found(kind: Kind, rng: &mut StdRng, factor: f64) -> (usize, Vec<f64>) {
    let (mut count, mut minutes) = (0, Vec::new());
    for _ in 0..INCIDENTS {
        let at = LEARNED + rng.random_range(0..7 * 24);
        let mut values = kind.clean(rng, at);
        let bad = kind.hour(rng, at, factor);
        values.push(bad);
        let scores = kind.walk(&values);
        let Some(score) = scores.last().copied().flatten() else { continue };
        if !score.anomalous {
            continue;
        }
        count += 1;
        // What arrives is spread evenly; too low is only said half a minute after the end.
        let early =
            (1..=STEPS).find(|step| bad * f64::from(*step) / f64::from(STEPS) > score.upper);
        minutes.push(early.map_or(60.5, f64::from));
    }
    (count, minutes)
}

/// The tables.
pub fn report(seed: u64) -> Vec<Table> {
    let mut rng = StdRng::seed_from_u64(seed);
    let names: Vec<String> = FACTORS.iter().map(|factor| format!("times {factor}")).collect();
    let with = |first: &[&'static str]| -> Vec<String> {
        first.iter().map(|own| (*own).to_owned()).chain(names.iter().cloned()).collect()
    };
    let table = |title: &str, columns: Vec<String>| {
        Table::new(title, &columns.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let title = format!(
        "Generated, seed {seed}: {CLEAN} clean series of two months, and the share found of \
         {INCIDENTS} hours each that were multiplied"
    );
    let mut shares = table(&title, with(&["series", "false alerts per series and month"]));
    let title = "Generated: minutes into the hour at which an incident is found, median";
    let mut times = table(title, with(&["series"]));
    for kind in KINDS {
        let wrong = float(false_alerts(kind, &mut rng)) / float(CLEAN) / 2.0;
        let mut row = vec![kind.name.to_owned(), format!("{wrong:.3}")];
        let mut late = vec![kind.name.to_owned()];
        for factor in FACTORS {
            let (count, mut minutes) = found(kind, &mut rng, factor);
            row.push(percent(count, INCIDENTS));
            minutes.sort_by(f64::total_cmp);
            let median = minutes.get(minutes.len() / 2).filter(|_| count * 20 >= INCIDENTS);
            late.push(median.map_or("-".into(), |median| format!("{median:.1}")));
        }
        shares.row(row);
        times.row(late);
    }
    vec![shares, times]
}
