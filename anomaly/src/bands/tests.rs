//! Tests of the module above: against what a detector said that was driven over the same cells.

use schemas::{ModelOf, Models, Observer, Unit, Watching};

use super::*;
use crate::driver::Driver;
use crate::regression::fit::fit;
use crate::regression::tests::{chance, hours, noisy, shape};
use crate::samples::{at, cell, known, kpi};
use crate::{CALENDAR, History, Limits, Question, Scorer, backtest};

const HOUR: i64 = 3_600_000_000;
const BEGIN: &str = "2026-01-05";

fn start(hour: i64) -> Micros {
    at(BEGIN).plus(hour * HOUR)
}

fn points(count: i64, value: impl Fn(i64) -> f64) -> Vec<(Micros, CellValue)> {
    (0..count).map(|hour| (start(hour), cell(value(hour)))).collect()
}

/// A detector, the place of its series, and what it expected of each hour.
struct Detector {
    driver: Driver,
    place: usize,
    expected: Vec<Option<Outlook>>,
    alerts: Vec<schemas::Alert>,
}

impl Detector {
    fn new(kpi: KpiInfo) -> Detector {
        let mut driver = Driver::new(Scorer::new(vec![kpi]));
        let place = driver.add(&"total_cost".into(), &"acme".into(), &"{}".into());
        Detector { driver, place, expected: Vec::new(), alerts: Vec::new() }
    }

    /// Plays hours, each of which has come whole at its middle.
    fn play(&mut self, points: &[(Micros, CellValue)]) {
        let Detector { driver, place, expected, alerts } = self;
        for (start, cell) in points {
            driver.tick_to(*start, |_, own| alerts.extend(own));
            driver.begin(start.plus(HOUR / 2), false);
            driver.set(*place, Grain::Hour, *start, *cell);
            alerts.extend(driver.finish());
            let id = driver.series(*place).unwrap();
            let entry = driver.scorer().0.entry(id, Grain::Hour);
            expected.push(entry.and_then(|entry| entry.outlook(*start)));
        }
    }
}

#[test]
fn with_a_model_in_force_it_says_what_the_detector_said() {
    // Trained on 29 days, in force after thirty, played for three more.
    let (taught, count) = (24 * 29, 24 * 33);
    let history = hours(0, count, noisy);
    let all = points(count, |hour| history[usize::try_from(hour).unwrap()].1);
    let (before, after) = all.split_at(taught + 24);
    let mut detector = Detector::new(kpi(Watching::default()));
    detector.play(before);
    let first = history[taught].0.number;
    let trained = fit(shape(Grain::Hour), &history[..taught], first).unwrap();
    let of = ModelOf {
        tenant: "acme".into(),
        dims: "{}".into(),
        grain: Grain::Hour,
        model: Some(trained.to_text()),
    };
    let models = Models { detector: CALENDAR.into(), kpi: "total_cost".into(), series: vec![of] };
    assert_eq!(detector.driver.train(&models), 1);
    detector.play(after);

    let in_force = detector.driver.scorer().0.models();
    let series = crate::entry::Name {
        kpi: "total_cost".into(),
        tenant: "acme".into(),
        dims: "{}".into(),
        grain: Grain::Hour,
    };
    let model = in_force.of(series.cell(start(3)));
    assert!(model.is_some());
    let charts = Expected::new(vec![kpi(Watching::default())]);
    let wanted: Vec<Micros> = all.iter().skip(taught).map(|(at, _)| *at).collect();
    let with = KnownSeries { model, ..known(Grain::Hour, &all) };
    let bands = charts.bands(&with, &wanted);
    let seen = detector.expected.iter().skip(taught).zip(&wanted);
    for ((own, start), band) in seen.zip(&bands) {
        let own = own.as_ref().and_then(|own| shown(own, false));
        assert_eq!(own, *band, "{start}");
    }
    assert!(bands.iter().all(Option::is_some));
    let without = charts.bands(&known(Grain::Hour, &all), &wanted);
    assert_eq!(bands[..24], without[..24], "they were forecast before it was in force");
    assert!(bands.iter().zip(&without).filter(|(a, b)| a != b).count() > 48);

    // What is asked of the last hour, and what is to come, know of it, too.
    let (last, end) = (*wanted.last().unwrap(), start(count));
    let asked = |model| Trial {
        kpi: "total_cost",
        tenant: "acme",
        dims: "{}",
        grain: Grain::Hour,
        start: last,
        value: 1,
        as_of: end.plus(HOUR),
        points: &all,
        model,
        budget: None,
    };
    assert_eq!(charts.score(&asked(model)).band, bands.last().copied().flatten());
    assert_ne!(charts.score(&asked(None)).band, bands.last().copied().flatten());
    let ahead = |of| charts.forecast(&of, Grain::Hour, end).unwrap()[0].expected;
    assert_ne!(ahead(with), ahead(known(Grain::Hour, &all)));
    // That of another release is none.
    let other = KnownSeries { model: Some("00"), ..with };
    assert_eq!(charts.bands(&other, &wanted), without);
}

#[test]
fn no_bound_is_below_zero_of_a_series_that_never_was() {
    // None to three an hour: by chance alone an hour may be "below" none.
    let few = KpiInfo { unit: Unit::Count, ..kpi(Watching::default()) };
    let value = |hour: i64| (chance(hour) * 4.0).floor();
    let mut all = points(24 * 30, value);
    let charts = Expected::new(vec![few.clone()]);
    let wanted: Vec<Micros> = all.iter().skip(24 * 20).map(|(at, _)| *at).collect();
    let lowest = |points: &[(Micros, CellValue)]| {
        let bands = charts.bands(&known(Grain::Hour, points), &wanted);
        bands.into_iter().flatten().map(|own| own.lower.min(own.expected)).min().unwrap()
    };
    assert_eq!(lowest(&all), 0);
    let forecast = |points: &[(Micros, CellValue)]| {
        let own = charts.forecast(&known(Grain::Hour, points), Grain::Hour, start(24 * 30));
        own.unwrap().map(|own| own.between.unwrap().0)
    };
    assert!(forecast(&all).iter().all(|low| *low >= 0), "{:?}", forecast(&all));

    let series = vec![History {
        kpi: "total_cost".into(),
        tenant: "acme".into(),
        dims: "{}".into(),
        grain: Grain::Hour,
        points: all.clone(),
    }];
    let played = backtest(&Question {
        kpi: few.clone(),
        calendar: Arc::default(),
        series,
        budgets: Vec::new(),
        from: None,
        to: start(24 * 30),
        limits: Limits { lines: 1, buckets: 10_000 },
    });
    let bands: Vec<[f64; 3]> = played.lines[0].buckets.iter().filter_map(|own| own.band).collect();
    assert!(bands.len() > 24 * 20 && bands.iter().flatten().all(|own| *own >= 0.0));

    let mut detector = Detector::new(few);
    detector.play(&all);
    assert!(detector.expected.iter().flatten().any(|own| own.lower < 0.0), "it says nothing else");
    detector.play(&[(start(24 * 30), cell(90.0))]);
    let alert = detector.alerts.last().unwrap();
    assert_eq!((&*alert.anomaly_type, alert.lower), ("spike", Some(0)));

    // Once was enough, whenever that was.
    all[5].1 = cell(-1.0);
    assert!(lowest(&all) < 0);
}
