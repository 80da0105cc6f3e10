//! What is planned opens nothing and teaches nothing.

use schemas::planned::Mark;
use schemas::{Alert, Event, Grain, Micros, Observer};

use crate::world::{Change, DAY, HOUR, Rng, SECOND, World, change, flow, monday};

fn at(hour: i64) -> Micros {
    monday().plus(hour * HOUR)
}

fn usual(hour: i64) -> f64 {
    let noise = Rng::new(u64::from_le_bytes(hour.to_le_bytes())).uniform() - 0.5;
    (1000.0 * (1.0 + 0.06 * noise)).round()
}

fn orders(hour: i64, value: f64) -> Change {
    change("orders", Grain::Hour, at(hour), flow(value))
}

fn planned(from: Mark, to: Mark) -> Event {
    Event { title: "Sale".into(), from, to, again: None, except: Default::default() }
}

/// Something is planned for these hours of these tenants.
fn hours(tenants: &[&str], from: i64, to: i64) -> Vec<(Vec<String>, Vec<Event>)> {
    let tenants = tenants.iter().map(|own| (*own).to_owned()).collect();
    vec![(tenants, vec![planned(Mark::Utc(at(from).0), Mark::Utc(at(to).0))])]
}

/// Five weeks of orders, three hours as they happened, and then hours with these shares of what is usual.
fn after(plan: &[(Vec<String>, Vec<Event>)], shares: &[f64]) -> Vec<Alert> {
    let mut world = World::planned("UTC", plan);
    world.history("orders", Grain::Hour, at(-3), |hour| usual(hour - 3));
    let shares = [1.0; 3].iter().chain(shares);
    let mut alerts = Vec::new();
    for (hour, share) in (-3..).zip(shares) {
        let of_hour = orders(hour, (usual(hour) * share).round());
        alerts.extend(world.epoch(at(hour).plus(HOUR / 2), false, &[of_hour]));
        alerts.extend(world.tick(at(hour + 1).plus(30 * SECOND)));
    }
    alerts
}

#[test]
fn what_is_planned_opens_no_alert() {
    for share in [0.0, 0.5, 1.6] {
        assert_eq!(after(&[], &[share]).len(), 1, "{share}");
        assert_eq!(after(&hours(&["*"], 0, 1), &[share]), vec![], "{share}");
        assert_eq!(after(&hours(&["t1"], 0, 1), &[share]), vec![], "{share}");
        // A part of the hour is enough, and what is beside it is not.
        let minute = planned(Mark::Utc(at(0).0 + 60 * SECOND), Mark::Utc(at(0).0 + 120 * SECOND));
        assert_eq!(after(&[(vec!["*".into()], vec![minute])], &[share]), vec![], "{share}");
        assert_eq!(after(&hours(&["*"], 1, 2), &[share]).len(), 1, "{share}");
        // Nor is what others have planned.
        assert_eq!(after(&hours(&["t2"], 0, 1), &[share]).len(), 1, "{share}");
    }
}

#[test]
fn what_is_planned_teaches_nothing() {
    let plan = hours(&["*"], 0, 6);
    let then = |share: f64| {
        let alerts = after(&plan, &[&[share; 6][..], &[1.0; 20], &[2.0]].concat());
        assert_eq!(alerts.len(), 1, "{alerts:#?}");
        let alert = &alerts[0];
        assert_eq!(alert.key.period_start, at(26));
        (alert.expected, alert.lower, alert.upper)
    };
    let told = then(1.0);
    assert_eq!([then(0.0), then(0.3), then(9.0)], [told; 3]);
}

#[test]
fn a_planned_day_is_one_of_the_zone() {
    let value = |day: i64| 1000.0 + (day % 5) as f64;
    let opened = |day: &str| {
        let day = Micros::parse(day).unwrap().day();
        let plan = [(vec!["*".into()], vec![planned(Mark::Day(day), Mark::Day(day + 1))])];
        let mut world = World::planned("Europe/Berlin", &plan);
        // Monday in Berlin.
        let start = Micros::parse("2026-09-06T22:00:00Z").unwrap();
        world.history("orders", Grain::Day, start.plus(-3 * DAY), value);
        for back in [3, 2, 1] {
            let day = start.plus(-back * DAY);
            let whole = change("orders", Grain::Day, day, flow(value(-back)));
            assert_eq!(world.epoch(day.plus(20 * HOUR), false, &[whole]), vec![]);
        }
        world.tick(start.plus(30 * SECOND));
        let high = change("orders", Grain::Day, start, flow(2000.0));
        world.epoch(start.plus(20 * HOUR), false, &[high]).len()
    };
    assert_eq!(["2026-09-06", "2026-09-07", "2026-09-08"].map(opened), [1, 0, 1]);
}

#[test]
fn a_planned_day_is_no_baseline() {
    let cost = |day: i64, value: f64| change("total_cost", Grain::Day, at(24 * day), flow(value));
    let opened = |plan: &[(Vec<String>, Vec<Event>)]| {
        let mut world = World::planned("UTC", plan);
        world.epoch(at(1), true, &[cost(-1, 100.0), cost(0, 100.0)]);
        world.tick(at(24 * 7 + 11));
        world.epoch(at(24 * 7 + 12), false, &[cost(7, 120.0)]).len()
    };
    assert_eq!((opened(&[]), opened(&hours(&["*"], 0, 24))), (1, 0));
}

#[test]
fn another_plan_is_another_detector() {
    let of = |plan: &[_]| World::planned("UTC", plan).scorer.fingerprint();
    let plain = World::new().scorer.fingerprint();
    assert_eq!(of(&[]), plain);
    let plans = [of(&hours(&["*"], 0, 1)), of(&hours(&["*"], 0, 2)), of(&hours(&["t1"], 0, 1))];
    assert!(plans.iter().all(|own| *own != plain));
    assert!(plans[0] != plans[1] && plans[0] != plans[2]);
}
