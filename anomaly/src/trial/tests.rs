//! Tests of the module above: against replays in which a bucket has the value, and against rules worked out by hand.

use schemas::{Against, Bands, ChangeRule, Severity, Watching};

use super::*;
use crate::number::mantissa;
use crate::samples::{at, cell, known, kpi};
use crate::{Expected, History, Limits, Question, backtest};

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

/// So many buckets from 2026-03-02 on.
fn points(count: i64, step: i64, value: impl Fn(i64) -> f64) -> Vec<(Micros, CellValue)> {
    let begin = at("2026-03-02");
    (0..count).map(|place| (begin.plus(place * step), cell(value(place)))).collect()
}
fn usual(hour: i64) -> f64 {
    (100 - 3 * (hour % 24 - 12).abs() + (hour * 7_919) % 11) as f64
}

fn asked<'a>(grain: Grain, points: &'a [(Micros, CellValue)], place: i64, value: f64) -> Trial<'a> {
    let step = if grain == Grain::Hour { HOUR } else { DAY };
    let start = at("2026-03-02").plus(place * step);
    Trial {
        kpi: "total_cost",
        tenant: "acme",
        dims: "{}",
        grain,
        start,
        value: mantissa(value).unwrap(),
        as_of: start.plus(step + 60_000_000),
        points,
        model: None,
        budget: None,
    }
}

fn scored(watching: Watching, trial: &Trial<'_>) -> Scored {
    Expected::new(vec![kpi(watching)]).score(trial)
}

/// The alert that a replay opens for its last bucket, which has that value.
fn replayed(
    grain: Grain,
    points: &[(Micros, CellValue)],
    trial: &Trial<'_>,
) -> Option<(Arc<str>, Severity)> {
    let (kpi_key, tenant, dims) = (trial.kpi.into(), trial.tenant.into(), trial.dims.into());
    let mut points: Vec<_> = points.iter().filter(|(at, _)| *at < trial.start).copied().collect();
    points.push((trial.start, CellValue { value: Some(trial.value), ..cell(0.0) }));
    let series = vec![History { kpi: kpi_key, tenant, dims, grain, points }];
    let question = Question {
        kpi: kpi(Watching::default()),
        calendar: Arc::default(),
        series,
        budgets: Vec::new(),
        from: Some(trial.start),
        to: trial.start.plus(HOUR),
        limits: Limits { lines: 1, buckets: 10_000 },
    };
    let found = backtest(&question);
    found.fired.first().map(|own| (Arc::clone(&own.alert.rule), own.severity))
}

#[test]
fn a_value_is_judged_as_a_replay_judges_a_bucket_that_has_it() {
    let hours = points(760, HOUR, |hour| if hour == 500 { 900.0 } else { usual(hour) });
    let mut opened = 0;
    for factor in [0.0, 0.3, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0, 5.0] {
        let trial = asked(Grain::Hour, &hours, 730, factor * usual(730));
        let own = scored(Watching::default(), &trial);
        let one = own.found.first().map(|found| (Arc::clone(&found.rule), found.severity));
        assert_eq!(one, replayed(Grain::Hour, &hours, &trial), "{factor}: {own:?}");
        assert!(own.is_judged);
        opened += usize::from(one.is_some());
        let band = own.band.unwrap();
        assert_eq!(one.is_some(), trial.value < band.lower || trial.value > band.upper, "{factor}");
        let [far, z, p] = own.statistics.unwrap();
        assert!((far > 0.0) == (z > 0.0) && (0.0..=1.0).contains(&p), "{far} {z} {p}");
    }
    assert!((3..=7).contains(&opened), "{opened} of nine values are anomalous");
}

#[test]
fn the_band_is_that_of_charts_and_nothing_behind_the_bucket_counts() {
    let hours = points(760, HOUR, usual);
    let trial = asked(Grain::Hour, &hours, 700, 250.0);
    let own = scored(Watching::default(), &trial);
    let charts = Expected::new(vec![kpi(Watching::default())]);
    let band = charts.bands(&known(Grain::Hour, &hours), &[trial.start])[0];
    assert_eq!(own.band, band);
    let other = points(760, HOUR, |hour| if hour < 700 { usual(hour) } else { 7.0 });
    assert_eq!(scored(Watching::default(), &asked(Grain::Hour, &other, 700, 250.0)), own);
    assert!(own.found[0].reason.contains("above expected"), "{:?}", own.found);
}

#[test]
fn a_running_bucket_teaches_nothing_of_the_one_behind_it() {
    // It is ten past: the hour has a tenth of what it will have.
    let hours =
        |now: f64| points(720, HOUR, move |hour| if hour == 719 { now } else { usual(hour) });
    let ask = |now: f64, place: i64| {
        let hours = hours(now);
        let trial = asked(Grain::Hour, &hours, place, 400.0);
        let as_of = at("2026-03-02").plus(719 * HOUR + HOUR / 6);
        scored(Watching::default(), &Trial { as_of, ..trial })
    };
    assert_eq!(ask(3.0, 720), ask(usual(719), 720));
    assert!(ask(3.0, 720).band.is_some() && ask(3.0, 719).band.is_some());
    let far = ask(3.0, 719 + 200);
    assert!(!far.is_judged && far.band.is_none() && far.why.contains("too far ahead"), "{far:?}");
}

#[test]
fn rules_of_the_file_are_asked_too_and_the_worst_comes_first() {
    let rule = |up, severity| ChangeRule {
        name: "jump".into(),
        against: Against::WeekBefore,
        up: Some(up),
        down: None,
        severity,
        budget: None,
    };
    let budget = ChangeRule {
        name: "over".into(),
        against: Against::Budget,
        budget: Some("plan".into()),
        ..rule(100_000, Severity::Warning)
    };
    let rules = vec![rule(200_000, Severity::Error), rule(500_000, Severity::Critical), budget];
    let watching = Watching { rules, ..Watching::default() };
    let days = points(10, DAY, |_| 100.0);
    let ask = |value: f64, budget: Option<f64>| {
        let trial = asked(Grain::Day, &days, 9, value);
        let own = scored(watching.clone(), &Trial { budget: budget.map(cell), ..trial });
        assert!(
            own.band.is_none() && own.statistics.is_none(),
            "ten days are not enough to forecast"
        );
        let told = own.found.iter().map(|own| (own.rule.to_string(), own.severity));
        (told.collect::<Vec<_>>(), own.is_judged)
    };
    let jump = |severity| ("jump".to_owned(), severity);
    let over = ("over".to_owned(), Severity::Warning);
    // A hundred was usual: a fifth more is an error, half as much again critical; a tenth above the plan is too much.
    assert_eq!(ask(119.0, None), (vec![], true));
    assert_eq!(ask(121.0, None), (vec![jump(Severity::Error)], true));
    assert_eq!(ask(151.0, Some(140.0)), (vec![jump(Severity::Critical)], true));
    assert_eq!(ask(121.0, Some(100.0)), (vec![jump(Severity::Error), over.clone()], true));
    assert_eq!(ask(115.0, Some(100.0)), (vec![over], true));
}

#[test]
fn what_is_not_known_is_said() {
    let hours = points(30, HOUR, usual);
    let ask = |watching, place| scored(watching, &asked(Grain::Hour, &hours, place, 400.0));
    let says = |own: Scored, text: &str| {
        assert!(!own.is_judged && own.found.is_empty() && own.band.is_none(), "{own:?}");
        assert!(own.why.contains(text), "{}", own.why);
    };
    says(ask(Watching::default(), 30), "not learned yet: 30 of the 48 hours");
    says(ask(Watching::default(), 0), "before this period");
    says(ask(Watching { enabled: false, ..Watching::default() }, 30), "not watched");
    let sparse = points(400, HOUR, |hour| if hour % 40 == 0 { 5.0 } else { 0.0 });
    says(scored(Watching::default(), &asked(Grain::Hour, &sparse, 399, 400.0)), "too sparse");
    says(scored(Watching::default(), &asked(Grain::Hour, &[], 3, 400.0)), "no cells");
}
