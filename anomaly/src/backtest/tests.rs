//! Tests of the module above: against figures worked out by hand, and against the bands of charts.

use std::collections::BTreeSet;

use schemas::{Against, Bands, ChangeRule, Watching};

use super::*;
use crate::Expected;
use crate::number::mantissa;
use crate::samples::{at, cell, known, kpi};

const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;
const LIMITS: Limits = Limits { lines: 100, buckets: 1_000_000 };

/// About a hundred an hour at noon, less at night, and a little off each time.
fn usual(hour: i64) -> f64 {
    let wave = (hour % 24 - 12).abs();
    (100 - 3 * wave + (hour * 7_919) % 11) as f64
}

fn history(grain: Grain, values: impl IntoIterator<Item = Option<f64>>) -> History {
    let step = if grain == Grain::Hour { HOUR } else { DAY };
    let begin = at("2026-03-02");
    let point = |(place, value): (usize, Option<f64>)| {
        let start = begin.plus(i64::try_from(place).unwrap() * step);
        Some((start, cell(value?)))
    };
    let points = values.into_iter().enumerate().filter_map(point).collect();
    let (kpi, tenant) = ("total_cost".into(), "acme".into());
    History { kpi, tenant, dims: r#"{"currency":"USD"}"#.into(), grain, points }
}

fn hours(count: i64, odd: impl Fn(i64) -> Option<f64>) -> History {
    history(Grain::Hour, (0..count).map(|hour| Some(odd(hour).unwrap_or_else(|| usual(hour)))))
}

fn asked(watching: Watching, series: Vec<History>) -> Question {
    let last = series.iter().filter_map(|own| own.points.last()).map(|(at, _)| *at).max();
    let to = last.map_or(at("2026-03-02"), |last| last.plus(DAY));
    let (kpi, calendar) = (kpi(watching), Arc::default());
    Question { kpi, calendar, series, budgets: Vec::new(), from: None, to, limits: LIMITS }
}

fn to_hour(question: Question, hour: i64) -> Question {
    Question { to: at("2026-03-02").plus(hour * HOUR), ..question }
}

/// Bucket, rule and kind of each alert.
fn told(found: &Backtest) -> Vec<(String, String, String)> {
    let one = |own: &Fired| {
        let Alert { key, rule, anomaly_type, .. } = &own.alert;
        (key.period_start.to_string(), rule.to_string(), anomaly_type.to_string())
    };
    found.fired.iter().map(one).collect()
}

#[test]
fn an_hour_five_times_too_high_and_one_without_anything_would_have_been_said() {
    let odd = |hour| (hour == 700).then(|| 5.0 * usual(700));
    let mut series = hours(840, odd);
    series.points.remove(780);
    let found = backtest(&to_hour(asked(Watching::default(), vec![series]), 840));
    let start = |hour: i64| at("2026-03-02").plus(hour * HOUR).to_string();
    let text = |words: [&str; 2], hour| (start(hour), words[0].to_owned(), words[1].to_owned());
    assert_eq!(
        told(&found),
        [text(["seasonal", "spike"], 700), text(["seasonal", "missing"], 780)]
    );
    let [spike, missing] = &found.fired[..] else { panic!("{found:?}") };
    // What is too high is there when its bucket ends, what is missing 30 s after that.
    assert_eq!(spike.said_at, at("2026-03-02").plus(701 * HOUR - 10 * SECOND));
    assert_eq!(missing.said_at, at("2026-03-02").plus(781 * HOUR + 30 * SECOND));
    let (when, why) = spike.resolved.clone().unwrap();
    assert_eq!(when, at("2026-03-02").plus(702 * HOUR + 30 * SECOND));
    assert!(why.contains("closed within the expected range"), "{why}");
    assert_eq!(spike.alert.value, mantissa(5.0 * usual(700)));
    assert_eq!((found.buckets, found.series, found.left_out), (840, 1, 0));
    assert!((found.series_weeks - 5.0).abs() < 1e-9);
    assert_eq!(found.judged, 840 - 48, "two days only teach");
}

#[test]
fn bands_are_those_of_charts() {
    let series = hours(800, |hour| (hour == 500).then_some(0.5));
    let points = series.points.clone();
    let found = backtest(&to_hour(asked(Watching::default(), vec![series]), 800));
    let wanted: Vec<Micros> = points.iter().map(|(at, _)| *at).collect();
    let charts = Expected::new(vec![kpi(Watching::default())]);
    let bands = charts.bands(&known(Grain::Hour, &points), &wanted);
    let own = found.lines[0].buckets.iter();
    let own: Vec<Option<[i128; 3]>> =
        own.map(|own| own.band.map(|band| band.map(|own| mantissa(own).unwrap()))).collect();
    let bands: Vec<_> =
        bands.iter().map(|own| own.map(|own| [own.lower, own.expected, own.upper])).collect();
    assert_eq!(own, bands);
    assert!(bands.iter().flatten().count() > 700);
}

/// All that is said before an instant.
fn until(found: &Backtest, end: Micros) -> (Vec<Fired>, Vec<Played>) {
    let fired = found.fired.iter().filter(|own| own.said_at < end).cloned();
    let fired = fired.map(|own| Fired {
        resolved: own.resolved.filter(|(at, _)| *at < end),
        severity: own.alert.severity,
        last: own.alert.key.period_start,
        ..own
    });
    let buckets = found.lines[0].buckets.iter().copied();
    (fired.collect(), buckets.filter(|own| own.start.plus(HOUR) <= end).collect())
}

#[test]
fn nothing_is_known_of_what_comes_after() {
    let odd = |hour: i64| (hour % 97 == 5).then(|| 3.0 * usual(hour));
    let rule = ChangeRule {
        name: "over".into(),
        against: Against::Budget,
        up: Some(100_000),
        down: None,
        severity: Severity::Error,
        budget: Some("plan".into()),
    };
    let watching = Watching { rules: vec![rule], ..Watching::default() };
    let days = |factor: f64| {
        history(Grain::Day, (0..40).map(|day| Some(2_000.0 + if day < 30 { 0.0 } else { factor })))
    };
    let plan = |factor| vec![History { kpi: "plan".into(), ..days(factor) }];
    let one = asked(watching.clone(), vec![hours(960, odd), days(900.0)]);
    let one = backtest(&Question { budgets: plan(0.0), ..to_hour(one, 960) });
    let other = |hour: i64| if hour < 720 { odd(hour) } else { Some(9.0 * usual(959 - hour)) };
    let two = asked(watching, vec![hours(960, other), days(5.0)]);
    let two = backtest(&Question { budgets: plan(-1_900.0), ..to_hour(two, 960) });
    let cut = at("2026-03-02").plus(720 * HOUR);
    assert_eq!(until(&one, cut), until(&two, cut));
    assert_ne!(told(&one), told(&two));
    assert!(until(&one, cut).0.len() > 3, "{:?}", told(&one));
    let over: BTreeSet<&str> = one.fired.iter().map(|own| &*own.alert.rule).collect();
    assert!(over.contains("over"), "a budget is compared with: {over:?}");
}

#[test]
fn a_day_is_compared_with_the_week_before_and_settings_change_what_fires() {
    let rule = |up| ChangeRule {
        name: "jump".into(),
        against: Against::WeekBefore,
        up: Some(up),
        down: None,
        severity: Severity::Critical,
        budget: None,
    };
    let value = |day: i64| if day == 20 { 160.0 } else { 100.0 };
    let series = || vec![history(Grain::Day, (0..30).map(|day| Some(value(day))))];
    let with = |up| {
        let detectors = Some(vec!["change_week_before"]);
        let watching = Watching { detectors, rules: vec![rule(up)], ..Watching::default() };
        backtest(&asked(watching, series()))
    };
    // By brute force: days at least half as much again as the one a week before, not the first.
    let jumps = (8..30).filter(|day| value(*day) >= 1.5 * value(day - 7));
    let jumps: Vec<String> =
        jumps.map(|day| at("2026-03-02").plus(day * DAY).to_string()).collect();
    let found = with(500_000);
    let said: Vec<String> = told(&found).into_iter().map(|own| own.0).collect();
    assert_eq!(said, jumps);
    assert_eq!(found.fired[0].alert.expected, mantissa(100.0));
    assert_eq!(with(700_000).fired, []);
    let off = Watching { enabled: false, ..Watching::default() };
    let off = backtest(&asked(off, series()));
    assert_eq!((off.judged, off.fired.len()), (0, 0));
}

#[test]
fn what_is_before_the_start_teaches_only() {
    let odd = |hour: i64| [400, 401, 700].contains(&hour).then(|| 5.0 * usual(hour));
    let question = to_hour(asked(Watching::default(), vec![hours(840, odd)]), 840);
    // It begins while an alert is open.
    let from = Some(at("2026-03-02").plus(401 * HOUR));
    let found = backtest(&Question { from, ..question.clone() });
    let whole = backtest(&question);
    assert_eq!(whole.fired.len(), 2);
    assert_eq!(found.fired, whole.fired[1..]);
    assert_eq!((found.buckets, found.lines[0].buckets.len()), (439, 439));
    assert_eq!(found.lines[0].buckets[..], whole.lines[0].buckets[401..]);
}

#[test]
fn what_is_played_is_bounded_and_what_is_left_out_is_said() {
    let series = |tenant: &str| History { tenant: tenant.into(), ..hours(300, |_| None) };
    let all = ["a", "b", "c"].map(series);
    let question = to_hour(asked(Watching::default(), all.into()), 300);
    let limits = Limits { lines: 2, buckets: 100 };
    let found = backtest(&Question { limits, ..question.clone() });
    assert_eq!((found.left_out, found.lines.len(), found.series), (1, 2, 2));
    assert!(found.is_shortened && found.buckets == 100, "{}", found.buckets);
    assert_eq!(found.first, Some(at("2026-03-02").plus(250 * HOUR)));
    let limits = Limits { lines: 3, buckets: 900 };
    let found = backtest(&Question { limits, ..question });
    assert_eq!((found.left_out, found.buckets, found.is_shortened), (0, 900, false));
}

#[test]
fn nothing_is_nothing() {
    let found = backtest(&asked(Watching::default(), Vec::new()));
    assert_eq!((found.first, found.buckets, found.fired.len()), (None, 0, 0));
}
