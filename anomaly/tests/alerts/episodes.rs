//! When alerts open, change and are resolved.

use schemas::{Alert, Grain, Micros, Observer, Severity, alert_id};

use crate::world::{Change, HOUR, Rng, SECOND, USD, World, change, flow, monday, money};

/// A day and week of orders, with noise that depends on the hour only.
fn usual(hour: i64) -> f64 {
    let noise = Rng::new(u64::from_le_bytes(hour.to_le_bytes())).uniform() - 0.5;
    let of_day = hour.rem_euclid(24) as f64;
    let wave = (of_day / 24.0 * std::f64::consts::TAU).sin();
    (1000.0 * (1.0 + 0.4 * wave) * (1.0 + 0.06 * noise)).round()
}

fn at(hour: i64) -> Micros {
    monday().plus(hour * HOUR)
}

fn orders(hour: i64, value: f64) -> Change {
    change("orders", Grain::Hour, at(hour), flow(value))
}

/// Five weeks of orders up to Monday, 00:00: the last three hours as they happened, so that it is known that they
/// are not late.
fn caught_up() -> World {
    let mut world = World::new();
    world.history("orders", Grain::Hour, at(-3), |hour| usual(hour - 3));
    for hour in -3..0 {
        assert_eq!(usual_hour(&mut world, hour), vec![]);
    }
    world
}

/// An hour as usual, in one update at its half, and the timer of its end.
fn usual_hour(world: &mut World, hour: i64) -> Vec<Alert> {
    let mut changes = world.epoch(at(hour).plus(HOUR / 2), false, &[orders(hour, usual(hour))]);
    changes.extend(world.tick(at(hour + 1).plus(30 * SECOND)));
    changes
}

fn only(alerts: Vec<Alert>) -> Alert {
    assert_eq!(alerts.len(), 1, "{alerts:#?}");
    alerts.into_iter().next().unwrap()
}

#[test]
fn a_backlog_teaches_and_nothing_fires_for_it() {
    let mut world = World::new();
    // The last hours of the backlog are ten times what is usual.
    let strange = |hour: i64| if hour > -6 { usual(hour) * 10.0 } else { usual(hour) };
    world.history("orders", Grain::Hour, at(0), strange);
    // Nor does a second backlog, a quiet epoch with an anomalous running hour.
    assert_eq!(world.epoch(at(0).plus(60 * SECOND), true, &[orders(0, 9e6)]), vec![]);
    assert_eq!(world.tick(at(0).plus(62 * SECOND)), vec![]);
    assert!(world.scorer.alerts().is_empty());
    // But what is live from then on does.
    assert_eq!(world.epoch(at(0).plus(90 * SECOND), false, &[orders(0, 9.1e6)]).len(), 1);
}

#[test]
fn what_is_live_while_a_backlog_settles_is_judged_afterwards() {
    let mut world = World::new();
    world.history("orders", Grain::Hour, at(0), usual);
    assert_eq!(world.epoch(at(0).plus(60 * SECOND), true, &[orders(0, 2.0)]), vec![]);
    let in_between = at(0).plus(60 * SECOND + SECOND / 2);
    assert_eq!(world.epoch(in_between, false, &[orders(0, 9e6)]), vec![]);
    let opened = only(world.tick(at(0).plus(62 * SECOND)));
    assert_eq!((opened.opened_at, opened.key.period_start), (at(0).plus(61 * SECOND), at(0)));
}

#[test]
fn hours_that_ended_while_a_backlog_was_read_are_learned_silently() {
    let mut world = caught_up();
    assert_eq!(usual_hour(&mut world, 0), vec![]);
    // Quiet epochs from 01:00 to 04:01 bring nothing of 01:00 to 04:00: no hour is missing.
    for minute in 0..182 {
        let clock = at(1).plus(minute * 60 * SECOND);
        assert_eq!(world.epoch(clock, true, &[]), vec![]);
    }
    assert_eq!(world.epoch(at(4).plus(90 * SECOND), false, &[orders(4, 5.0)]), vec![]);
    assert!(world.scorer.alerts().is_empty());
}

#[test]
fn a_running_hour_is_too_high_at_once_and_too_low_at_its_end() {
    let mut world = caught_up();
    assert_eq!(usual_hour(&mut world, 0), vec![]);
    let expected = usual(1);
    for share in [0.01, 0.2, 0.5] {
        let half = orders(1, (expected * share).round());
        assert_eq!(world.epoch(at(1).plus(half_hour(share)), false, &[half]), vec![]);
    }
    let low = only(world.tick(at(2).plus(30 * SECOND)));
    assert_eq!((&*low.anomaly_type, low.opened_at), ("drop", at(2).plus(30 * SECOND)));
    assert_eq!((&*low.rule, low.key.period_start), ("seasonal", at(1)));
    assert!((low.deviation + 0.5).abs() < 0.06, "{}", low.deviation);

    let mut world = caught_up();
    assert_eq!(usual_hour(&mut world, 0), vec![]);
    let clock = at(1).plus(600 * SECOND);
    let high = only(world.epoch(clock, false, &[orders(1, (expected * 1.6).round())]));
    assert_eq!((&*high.anomaly_type, high.opened_at, high.epoch), ("spike", clock, world.id));
    // More orders than expected are odd, and nobody's emergency.
    assert_eq!(high.severity, Severity::Warning);
    assert!(high.is_open() && high.p_value < 1e-7 && high.z_score > 5.0);
    assert_eq!(high.value, Some(money((expected * 1.6).round())));
    assert!(high.lower < high.expected && high.expected < high.upper && high.upper < high.value);
    assert_eq!(*high.id, *alert_id(&high.key, "seasonal"));
    assert!(
        high.reason.starts_with("Orders of t1 (USD) are ")
            && high.reason.contains(" % above expected for Monday 2026-09-07 01:00 UTC: "),
        "{}",
        high.reason
    );
    // Its figures follow, but not with every order.
    let more = |share: f64| orders(1, (expected * share).round());
    assert_eq!(world.epoch(at(1).plus(610 * SECOND), false, &[more(1.7)]), vec![]);
    assert_eq!(world.epoch(at(1).plus(629 * SECOND), false, &[more(1.8)]), vec![]);
    // The next epoch of anything, half a minute later, also after a restart.
    world.restart();
    let told = only(world.epoch(at(1).plus(630 * SECOND), false, &[]));
    assert_eq!((&told.id, told.value), (&high.id, Some(money((expected * 1.8).round()))));
    assert_eq!(world.epoch(at(1).plus(640 * SECOND), false, &[more(1.7)]), vec![]);
    let closed = only(world.tick(at(2).plus(30 * SECOND)));
    assert_eq!((closed.id, closed.value), (high.id, Some(money((expected * 1.7).round()))));
    assert!(closed.resolved_at.is_none());
}

fn half_hour(share: f64) -> i64 {
    (share * 3_500.0) as i64 * SECOND
}

#[test]
fn nothing_arrived_is_missing_by_a_timer() {
    let mut world = caught_up();
    assert_eq!(usual_hour(&mut world, 0), vec![]);
    assert_eq!(world.tick(at(2).plus(29 * SECOND)), vec![]);
    assert_eq!(world.scorer.next_due(), Some(at(2).plus(30 * SECOND)));
    let missing = only(world.tick(at(2).plus(30 * SECOND)));
    assert_eq!((&*missing.anomaly_type, missing.value), ("missing", None));
    assert!((missing.deviation + 1.0).abs() < 1e-9);
    let start = "Nothing arrived for Orders of t1 (USD) in the hour from Monday 2026-09-07 01:00 UTC: about ";
    assert!(missing.reason.starts_with(start), "{}", missing.reason);
    assert_eq!(missing.epoch, world.id, "the last epoch with records");
}

#[test]
fn later_buckets_extend_an_episode_and_a_normal_one_ends_it() {
    let mut world = caught_up();
    assert_eq!(usual_hour(&mut world, 0), vec![]);
    let first = only(world.tick(at(2).plus(30 * SECOND)));
    let second = only(world.tick(at(3).plus(30 * SECOND)));
    assert_eq!(second.id, first.id);
    assert_eq!((first.key.period_start, second.key.period_start), (at(1), at(2)));
    assert_eq!(second.opened_at, first.opened_at);
    let over = only(usual_hour(&mut world, 3));
    assert_eq!((&over.id, over.resolved_at), (&first.id, Some(at(4).plus(30 * SECOND))));
    let resolution = over.resolution.unwrap();
    assert!(
        resolution.starts_with("Monday 2026-09-07 03:00 UTC closed within the expected range, at "),
        "{resolution}"
    );
    assert_eq!(usual_hour(&mut world, 4), vec![]);
    // The next one has an id of its own.
    let next = only(world.tick(at(6).plus(30 * SECOND)));
    assert_ne!(next.id, first.id);
    assert_eq!(world.scorer.alerts().len(), 2);
}

#[test]
fn a_correction_takes_the_cause_away_and_the_row_may_open_again() {
    for quiet in [false, true] {
        let mut world = caught_up();
        assert_eq!(usual_hour(&mut world, 0), vec![]);
        let missing = only(world.tick(at(2).plus(30 * SECOND)));
        let clock = at(2).plus(120 * SECOND);
        let fixed = only(world.epoch(clock, quiet, &[orders(1, usual(1))]));
        assert_eq!((&fixed.id, fixed.resolved_at), (&missing.id, Some(clock)));
        let text = fixed.resolution.unwrap();
        assert!(
            text.starts_with(
                "a correction brought the value of Monday 2026-09-07 01:00 UTC back to"
            )
        );
        // Anomalous again: in a quiet epoch nothing, in any other the same row.
        let clock = at(2).plus(180 * SECOND);
        assert_eq!(world.epoch(clock, true, &[orders(1, usual(1) * 4.0)]), vec![]);
        let clock = at(2).plus(240 * SECOND);
        let again = only(world.epoch(clock, false, &[orders(1, usual(1) * 3.0)]));
        assert_eq!((&again.id, again.resolved_at, again.resolution), (&missing.id, None, None));
        assert_eq!((again.opened_at, &*again.anomaly_type), (missing.opened_at, "spike"));
        assert_eq!(world.scorer.alerts().len(), 1);
    }
}

#[test]
fn a_running_spike_is_resolved_by_a_cancellation() {
    let mut world = caught_up();
    assert_eq!(usual_hour(&mut world, 0), vec![]);
    let high = orders(1, usual(1) * 3.0);
    let open = only(world.epoch(at(1).plus(60 * SECOND), false, &[high]));
    let back = orders(1, (usual(1) / 2.0).round());
    let fixed = only(world.epoch(at(1).plus(90 * SECOND), false, &[back]));
    assert_eq!((fixed.id, fixed.resolved_at), (open.id, Some(at(1).plus(90 * SECOND))));
}

#[test]
fn a_late_correction_is_judged_at_once_and_only_near_the_clock() {
    let mut world = caught_up();
    for hour in 0..5 {
        assert_eq!(usual_hour(&mut world, hour), vec![]);
    }
    let clock = at(5).plus(600 * SECOND);
    // 03:00 to 04:00 ended 70 minutes ago, 01:00 to 02:00 more than two hours ago.
    assert_eq!(world.epoch(clock, false, &[orders(1, usual(1) * 3.0)]), vec![]);
    let late = only(world.epoch(clock.plus(SECOND), false, &[orders(3, usual(3) / 4.0)]));
    assert_eq!((late.key.period_start, &*late.anomaly_type), (at(3), "drop"));
}

#[test]
fn parts_of_a_deviation_are_named() {
    const PARTS: [(&str, f64); 4] = [
        (r#"{"currency":"USD","service_name":"compute"}"#, 500.0),
        (r#"{"currency":"USD","service_name":"storage"}"#, 300.0),
        (r#"{"currency":"USD","service_name":"queue"}"#, 200.0),
        (r#"{"currency":"EUR","service_name":"compute"}"#, 900.0),
    ];
    let mut world = World::new();
    let mut changes = Vec::new();
    for back in 1..=35 * 24 {
        changes.push(change("total_cost", Grain::Hour, at(-back), flow(1000.0)));
        for (dims, value) in PARTS {
            let kpi = "cost_by_service";
            let value = flow(value + (back % 3) as f64);
            changes.push(Change { kpi, dims, grain: Grain::Hour, start: at(-back), value });
        }
    }
    assert_eq!(world.epoch(at(0).plus(31 * SECOND), true, &changes), vec![]);
    // Storage doubles, compute hardly moves, the queue is not there yet; euros are another story.
    let mut live = vec![change("total_cost", Grain::Hour, at(0), flow(1400.0))];
    for ((dims, _), value) in PARTS.into_iter().zip([520.0, 700.0, 180.0, 4000.0]) {
        let value = flow(value);
        live.push(Change { kpi: "cost_by_service", dims, grain: Grain::Hour, start: at(0), value });
    }
    world.epoch(at(0).plus(40 * SECOND), false, &[]);
    let alerts = world.epoch(at(0).plus(60 * SECOND), false, &live);
    let total = alerts.iter().find(|alert| &*alert.key.kpi == "total_cost").unwrap();
    let names: Vec<&str> = total.contributions.iter().map(|part| &*part.dims).collect();
    assert_eq!(names, [PARTS[1].0, PARTS[0].0]);
    assert_eq!(total.contributions[0].value, money(700.0));
    assert!((total.contributions[0].expected - money(300.0)).abs() < money(5.0));
    assert_eq!(&*total.key.dims, USD);
}

#[test]
fn elements_of_several_dimensions_are_named() {
    const PLACES: [(&str, f64); 9] = [
        (r#"{"currency":"USD","region":"ap","service":"compute"}"#, 150.0),
        (r#"{"currency":"USD","region":"ap","service":"queue"}"#, 90.0),
        (r#"{"currency":"USD","region":"ap","service":"storage"}"#, 120.0),
        (r#"{"currency":"USD","region":"eu","service":"compute"}"#, 130.0),
        (r#"{"currency":"USD","region":"eu","service":"queue"}"#, 70.0),
        (r#"{"currency":"USD","region":"eu","service":"storage"}"#, 100.0),
        (r#"{"currency":"USD","region":"us","service":"compute"}"#, 140.0),
        (r#"{"currency":"USD","region":"us","service":"queue"}"#, 80.0),
        (r#"{"currency":"USD","region":"us","service":"storage"}"#, 120.0),
    ];
    let mut world = World::with_places();
    let place = |dims, hour: i64, value: f64| {
        let value = flow(value);
        Change { kpi: "cost_by_place", dims, grain: Grain::Hour, start: at(hour), value }
    };
    let mut changes = Vec::new();
    for hour in -35 * 24..0 {
        changes.push(change("total_cost", Grain::Hour, at(hour), flow(1000.0)));
        let off = hour.rem_euclid(3) as f64;
        changes.extend(PLACES.map(|(dims, value)| place(dims, hour, value + off)));
    }
    assert_eq!(world.epoch(at(0).plus(31 * SECOND), true, &changes), vec![]);
    // Europe doubles, whatever the service.
    let mut live = vec![change("total_cost", Grain::Hour, at(0), flow(1300.0))];
    live.extend(PLACES.map(|(dims, value)| {
        let factor = if dims.contains(r#""eu""#) { 2.0 } else { 1.01 };
        place(dims, 0, value * factor)
    }));
    world.epoch(at(0).plus(40 * SECOND), false, &[]);
    let alerts = world.epoch(at(0).plus(60 * SECOND), false, &live);
    let total = alerts.iter().find(|alert| &*alert.key.kpi == "total_cost").unwrap();
    let names: Vec<&str> = total.contributions.iter().map(|part| &*part.dims).collect();
    assert_eq!(names, [r#"{"currency":"USD","region":"eu"}"#]);
    assert_eq!(total.contributions[0].value, money(600.0));
    assert!((total.contributions[0].expected - money(303.0)).abs() < money(5.0));
}
