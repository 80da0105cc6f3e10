//! The two rules that compare a day with the same day one week before, by hand-made examples.

use schemas::{Alert, Grain, Micros, Observer, Severity};

use crate::world::{Change, DAY, HOUR, SECOND, World, change, flow, monday, roi};

fn day(number: i64) -> Micros {
    monday().plus(number * DAY)
}

fn cost(number: i64, value: f64) -> Change {
    change("total_cost", Grain::Day, day(number), flow(value))
}

fn return_of(number: i64, revenue: f64, spent: f64) -> Change {
    change("roi", Grain::Day, day(number), roi(revenue, spent))
}

fn by_rule(alerts: Vec<Alert>, rule: &str) -> Vec<Alert> {
    alerts.into_iter().filter(|alert| &*alert.rule == rule).collect()
}

/// A world in which last Monday had this cost or return, not as the first day of all, and it is Monday noon.
fn with(baseline: Change) -> World {
    let mut world = World::new();
    let first = Change { start: day(-1), ..baseline.clone() };
    world.epoch(day(0).plus(HOUR), true, &[first, baseline]);
    world.tick(day(7).plus(11 * HOUR));
    world
}

#[test]
fn cost_is_a_spike_as_soon_as_it_is_a_fifth_above() {
    let mut world = with(cost(0, 1000.0));
    let noon = day(7).plus(12 * HOUR);
    assert_eq!(world.epoch(noon, false, &[cost(7, 1199.99)]), vec![]);
    let alert = world.epoch(noon.plus(SECOND), false, &[cost(7, 1200.0)]).pop().unwrap();
    assert_eq!((&*alert.rule, &*alert.anomaly_type), ("cost_spike", "spike"));
    assert_eq!(alert.severity, Severity::Warning);
    assert_eq!(
        &*alert.reason,
        "Total cost of t1 (USD) is 20 % above the week before for Monday 2026-09-14: \
         1,200.00 instead of 1,000.00"
    );
    let one = 10_000_000_000_i128;
    assert_eq!(
        (alert.expected, alert.upper, alert.lower),
        (Some(1000 * one), Some(1200 * one), None)
    );
    // Without a forecast nothing is known of chance.
    assert!((alert.p_value - 1.0).abs() < 1e-12 && alert.z_score.abs() < 1e-12);
    // It gets worse: the same alert, more severe.
    let worse = world.epoch(noon.plus(2 * SECOND), false, &[cost(7, 2000.0)]).pop().unwrap();
    assert_eq!((worse.id, worse.severity), (alert.id, Severity::Critical));
}

#[test]
fn without_a_baseline_nothing_is_a_spike() {
    let mut world = with(cost(1, 10.0));
    assert_eq!(world.epoch(day(7).plus(12 * HOUR), false, &[cost(7, 1e6)]), vec![]);
    let mut world = with(cost(0, 0.0));
    assert_eq!(world.epoch(day(7).plus(12 * HOUR), false, &[cost(7, 1e6)]), vec![]);
    // Tuesday is compared with last Tuesday.
    let at = day(8).plus(12 * HOUR);
    let mut world = with(cost(1, 10.0));
    assert_eq!(by_rule(world.epoch(at, false, &[cost(8, 13.0)]), "cost_spike").len(), 1);
}

#[test]
fn days_of_the_past_do_not_page() {
    let mut world = with(cost(0, 1000.0));
    // It is four days later, so the bucket ended more than two days ago.
    let later = day(11).plus(12 * HOUR);
    assert_eq!(world.epoch(later, false, &[cost(7, 5000.0)]), vec![]);
    // One day after its end it is still news.
    let mut world = with(cost(0, 1000.0));
    assert_eq!(world.epoch(day(9), false, &[cost(7, 5000.0)]).len(), 1);
}

#[test]
fn a_running_day_has_a_return_once_both_sides_have_reached_the_week_before() {
    // Last Monday: 1,500 from 1,000 is 50 %.
    let noon = day(7).plus(12 * HOUR);
    let mut world = with(return_of(0, 1500.0, 1000.0));
    // Cost is ahead of revenue: 10 % now, which proves nothing.
    assert_eq!(world.epoch(noon, false, &[return_of(7, 1100.0, 1000.0)]), vec![]);
    // Both have arrived: 1,500 from 1,035 is 44.9 %, which is 5.07 points less.
    let alerts = world.epoch(noon.plus(SECOND), false, &[return_of(7, 1500.0, 1035.0)]);
    let alert = by_rule(alerts, "roi_drop").pop().unwrap();
    assert_eq!((alert.severity, &*alert.anomaly_type), (Severity::Warning, "drop"));
    assert_eq!(
        &*alert.reason,
        "Return on investment of t1 (USD) is 5.1 percentage points below the week before for \
         Monday 2026-09-14: 44.9 % instead of 50.0 %"
    );
    assert_eq!(alert.lower, Some(4_500_000_000));
    // 1,500 from 1,034 is 45.07 %: 4.93 points less.
    let back = world.epoch(noon.plus(2 * SECOND), false, &[return_of(7, 1500.0, 1034.0)]);
    assert!(back[0].resolution.as_ref().unwrap().starts_with("a correction brought"));
}

#[test]
fn a_day_that_is_over_is_compared_as_it_is() {
    let mut world = with(return_of(0, 1500.0, 1000.0));
    let noon = day(7).plus(12 * HOUR);
    assert_eq!(world.epoch(noon, false, &[return_of(7, 500.0, 400.0)]), vec![]);
    assert_eq!(world.tick(day(8).plus(29 * SECOND)), vec![]);
    // 25 % instead of 50 %.
    let alert = world.tick(day(8).plus(30 * SECOND)).pop().unwrap();
    assert_eq!((&*alert.rule, alert.severity), ("roi_drop", Severity::Critical));
    assert!((alert.deviation + 0.25).abs() < 1e-9);
    // The next day is as last Tuesday was.
    world.epoch(
        day(8).plus(HOUR),
        false,
        &[return_of(1, 300.0, 200.0), return_of(8, 300.0, 200.0)],
    );
    let over = world.tick(day(9).plus(30 * SECOND)).pop().unwrap();
    assert_eq!((over.id, over.resolved_at), (alert.id, Some(day(9).plus(30 * SECOND))));
    assert_eq!(world.scorer.alerts().len(), 1);
}

#[test]
fn a_day_of_a_zone_is_compared_with_the_one_a_week_before_where_clocks_change() {
    let at = |text: &str| Micros::parse(text).unwrap();
    let mut world = World::in_zone("Europe/Berlin");
    // Two Tuesdays, in summer and in winter.
    let (before, now) = (at("2026-10-19T22:00:00Z"), at("2026-10-26T23:00:00Z"));
    let cost = |start, value| change("total_cost", Grain::Day, start, flow(value));
    let first = before.plus(-DAY);
    world.epoch(before.plus(HOUR), true, &[cost(first, 1000.0), cost(before, 1000.0)]);
    world.tick(now.plus(11 * HOUR));
    let alert = world.epoch(now.plus(12 * HOUR), false, &[cost(now, 1200.0)]).pop().unwrap();
    assert!(alert.reason.contains("for Tuesday 2026-10-27"), "{}", alert.reason);
}

#[test]
fn a_day_that_ends_within_an_hour_is_over_at_the_end_of_it() {
    let mut world = World::in_zone("Asia/Kolkata");
    let start = Micros::parse("2026-09-06T18:30:00Z").unwrap();
    let value = |day: i64| 1000.0 + (day % 5) as f64;
    world.history("orders", Grain::Day, start.plus(-3 * DAY), value);
    for back in [3, 2, 1] {
        let day = start.plus(-back * DAY);
        let whole = change("orders", Grain::Day, day, flow(value(-back)));
        assert_eq!(world.epoch(day.plus(20 * HOUR), false, &[whole]), vec![]);
    }
    let end = start.plus(DAY);
    assert_eq!(world.tick(end.plus(HOUR / 2 + 29 * SECOND)), vec![]);
    let alert = world.tick(end.plus(HOUR / 2 + 30 * SECOND)).pop().unwrap();
    assert_eq!((&*alert.anomaly_type, alert.key.period_start), ("missing", start));
    assert!(alert.reason.contains("on Monday 2026-09-07"), "{}", alert.reason);
}
