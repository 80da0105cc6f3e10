//! What a KPI's file says of alerts: each setting makes the difference between an alert and none.

use schemas::{
    Against, Alert, CellValue, ChangeRule, Direction, Grain, Micros, Observer, Sensitivity,
    Severity, Watching,
};

use crate::world::{Change, DAY, HOUR, Rng, SECOND, World, change, flow, monday, money, roi};

fn at(hour: i64) -> Micros {
    monday().plus(hour * HOUR)
}

fn day(number: i64) -> Micros {
    monday().plus(number * DAY)
}

/// A hundred orders, a few more or less.
fn usual(hour: i64) -> f64 {
    let noise = Rng::new(u64::from_le_bytes(hour.to_le_bytes())).uniform() - 0.5;
    (1000.0 * (1.0 + 0.06 * noise)).round()
}

fn orders(hour: i64, value: f64) -> Change {
    change("orders", Grain::Hour, at(hour), flow(value))
}

/// Five weeks of orders, and three hours as they happened.
fn learned(watching: Watching) -> World {
    let mut world = World::watched("orders", watching);
    world.history("orders", Grain::Hour, at(-3), |hour| usual(hour - 3));
    for hour in -3..0 {
        assert_eq!(
            world.epoch(at(hour).plus(HOUR / 2), false, &[orders(hour, usual(hour))]),
            vec![]
        );
        assert_eq!(world.tick(at(hour + 1).plus(30 * SECOND)), vec![]);
    }
    world
}

/// What is said of an hour with this share of what is usual.
fn said(watching: Watching, share: f64) -> Vec<Alert> {
    let mut world = learned(watching);
    let of_hour = orders(0, (usual(0) * share).round());
    let mut alerts = world.epoch(at(0).plus(HOUR / 2), false, &[of_hour]);
    alerts.extend(world.tick(at(1).plus(30 * SECOND)));
    alerts
}

fn kinds(alerts: &[Alert]) -> Vec<(&str, &str)> {
    alerts.iter().map(|alert| (&*alert.rule, &*alert.anomaly_type)).collect()
}

#[test]
fn each_setting_makes_the_difference() {
    let usual = Watching::default;
    let (spike, drop) = (("seasonal", "spike"), ("seasonal", "drop"));
    for (name, watching, share, before, after) in [
        ("off", Watching { enabled: false, ..usual() }, 1.6, vec![spike], vec![]),
        ("up", Watching { direction: Direction::Up, ..usual() }, 0.5, vec![drop], vec![]),
        ("up", Watching { direction: Direction::Up, ..usual() }, 1.6, vec![spike], vec![spike]),
        ("down", Watching { direction: Direction::Down, ..usual() }, 1.6, vec![spike], vec![]),
        ("down", Watching { direction: Direction::Down, ..usual() }, 0.5, vec![drop], vec![drop]),
        ("change", Watching { least_change: Some(700_000), ..usual() }, 1.6, vec![spike], vec![]),
        (
            "change",
            Watching { least_change: Some(500_000), ..usual() },
            1.6,
            vec![spike],
            vec![spike],
        ),
        (
            "impact",
            Watching { least_impact: Some(money(700.0)), ..usual() },
            1.6,
            vec![spike],
            vec![],
        ),
        (
            "impact",
            Watching { least_impact: Some(money(500.0)), ..usual() },
            1.6,
            vec![spike],
            vec![spike],
        ),
        (
            "detectors",
            Watching { detectors: Some(vec!["change_week_before"]), ..usual() },
            1.6,
            vec![spike],
            vec![],
        ),
    ] {
        assert_eq!(kinds(&said(usual(), share)), before, "{name} {share}");
        assert_eq!(kinds(&said(watching, share)), after, "{name} {share}");
    }
}

#[test]
fn sensitivity_moves_the_limits() {
    let watched =
        |sensitivity| Watching { sensitivity, least_change: Some(10_000), ..Watching::default() };
    // As a share of what is usual at that hour.
    let limit = |watching: Watching| {
        let upper = said(watching, 3.0).first().and_then(|alert| alert.upper).unwrap();
        upper as f64 / money(usual(0)) as f64
    };
    let [low, normal, high] = Sensitivity::ALL.map(|own| limit(watched(own)));
    assert!(1.01 < high && high < normal && normal < low, "{high} {normal} {low}");
    let between = [f64::midpoint(high, normal), f64::midpoint(normal, low)];
    let found = |own: Sensitivity| between.map(|share| said(watched(own), share).len());
    assert_eq!(Sensitivity::ALL.map(found), [[0, 0], [0, 1], [1, 1]]);
    // Less than a twentieth is an alert only where that is said.
    let usual = limit(Watching::default());
    assert!(normal < 1.04 && usual > 1.045, "{normal} {usual}");
}

#[test]
fn set_lateness_is_waited_for_instead_of_what_was_learned() {
    let low = |watching: Watching| {
        let mut world = learned(watching);
        let of_hour = orders(0, (usual(0) * 0.5).round());
        let mut opened = Vec::new();
        opened.extend(world.epoch(at(0).plus(HOUR / 2), false, &[of_hour]));
        for hour in 1..5 {
            opened.extend(world.tick(at(hour).plus(30 * SECOND)));
            let next = orders(hour, usual(hour));
            opened.extend(world.epoch(at(hour).plus(HOUR / 2), false, &[next]));
        }
        opened.into_iter().filter(|own| own.key.period_start == at(0)).collect::<Vec<_>>()
    };
    let opened = |hours: Option<i64>| {
        let alerts = low(Watching { lateness: hours, ..Watching::default() });
        alerts.first().map(|alert| alert.opened_at)
    };
    assert_eq!(opened(None), Some(at(1).plus(30 * SECOND)));
    assert_eq!(opened(Some(0)), Some(at(1).plus(30 * SECOND)));
    assert_eq!(opened(Some(2)), Some(at(3).plus(30 * SECOND)));
    // Too high is said at once all the same.
    let mut world = learned(Watching { lateness: Some(2), ..Watching::default() });
    let high = orders(0, (usual(0) * 1.6).round());
    assert_eq!(world.epoch(at(0).plus(HOUR / 2), false, &[high]).len(), 1);
}

#[test]
fn set_lateness_is_known_from_the_first_hour_on() {
    let first_low = |hours: Option<i64>| {
        let mut world =
            World::watched("orders", Watching { lateness: hours, ..Watching::default() });
        // A snapshot alone does not say how late the series is.
        world.history("orders", Grain::Hour, at(0), usual);
        world.epoch(at(0).plus(HOUR / 2), false, &[orders(0, (usual(0) * 0.3).round())]);
        world.tick(at(1).plus(30 * SECOND)).len()
    };
    assert_eq!((first_low(None), first_low(Some(0))), (0, 1));
}

fn step(against: Against, up: Option<u32>, down: Option<u32>, severity: Severity) -> ChangeRule {
    let budget = (against == Against::Budget).then(|| "revenue_booked".into());
    ChangeRule { name: "mine".into(), against, up, down, severity, budget }
}

fn ruled(rules: Vec<ChangeRule>) -> Watching {
    Watching { rules, ..Watching::default() }
}

/// A world with these days of a KPI, and what is said of the last of them once it is over.
fn after(key: &'static str, watching: Watching, days: &[(i64, Option<CellValue>)]) -> Vec<Alert> {
    let mut world = World::watched(key, watching);
    let (last, before) = days.split_last().unwrap();
    let cell =
        |(number, value): &(i64, Option<CellValue>)| change(key, Grain::Day, day(*number), *value);
    let before: Vec<Change> = before.iter().map(cell).collect();
    world.epoch(day(last.0).plus(-12 * HOUR), true, &before);
    world.tick(day(last.0).plus(11 * HOUR));
    let mut alerts = world.epoch(day(last.0).plus(12 * HOUR), false, &[cell(last)]);
    alerts.extend(world.tick(day(last.0 + 1).plus(30 * SECOND)));
    alerts
}

#[test]
fn a_rule_of_a_file_compares_with_the_day_before() {
    let days = |last: f64| [(0, flow(100.0)), (1, flow(100.0)), (2, flow(100.0)), (3, flow(last))];
    let up = || ruled(vec![step(Against::DayBefore, Some(300_000), None, Severity::Error)]);
    let alerts = after("orders", up(), &days(130.0));
    assert_eq!(kinds(&alerts), [("mine", "spike")]);
    assert_eq!(alerts[0].severity, Severity::Error);
    assert!(alerts[0].reason.contains("30 % above the day before"), "{}", alerts[0].reason);
    assert_eq!(after("orders", up(), &days(129.0)), vec![]);
    assert_eq!(after("orders", Watching::default(), &days(130.0)), vec![]);
    // The setting of detectors, the least impact and the direction hold for rules, too.
    let none = Watching { detectors: Some(vec!["seasonal"]), ..up() };
    assert_eq!(after("orders", none, &days(130.0)), vec![]);
    let impact = |least: f64| Watching { least_impact: Some(money(least)), ..up() };
    assert_eq!(after("orders", impact(31.0), &days(130.0)), vec![]);
    assert_eq!(after("orders", impact(30.0), &days(130.0)).len(), 1);
    let down = Watching { direction: Direction::Down, ..up() };
    assert_eq!(after("orders", down, &days(130.0)), vec![]);
}

#[test]
fn the_worst_step_that_holds_is_the_severity() {
    let days = |last: f64| [(-1, flow(100.0)), (0, flow(100.0)), (7, flow(last))];
    let rules = || {
        let up = |far, severity| step(Against::WeekBefore, Some(far), Some(far), severity);
        ruled(vec![up(500_000, Severity::Critical), up(200_000, Severity::Warning)])
    };
    let severity =
        |last: f64| after("orders", rules(), &days(last)).first().map(|own| own.severity);
    assert_eq!(severity(119.0), None);
    assert_eq!(severity(120.0), Some(Severity::Warning));
    assert_eq!(severity(150.0), Some(Severity::Critical));
}

#[test]
fn too_low_waits_until_the_day_is_known_to_be_whole() {
    let days = |last: f64| [(-1, flow(100.0)), (0, flow(100.0)), (7, flow(last))];
    let rules = |lateness| {
        let down = step(Against::WeekBefore, None, Some(200_000), Severity::Warning);
        Watching { lateness, ..ruled(vec![down]) }
    };
    // Nobody knows yet how late it is.
    assert_eq!(after("orders", rules(None), &days(80.0)), vec![]);
    let alerts = after("orders", rules(Some(0)), &days(80.0));
    assert_eq!(kinds(&alerts), [("mine", "drop")]);
    assert_eq!(alerts[0].opened_at, day(8).plus(30 * SECOND));
    assert_eq!(after("orders", rules(Some(0)), &days(81.0)), vec![]);
}

#[test]
fn a_ratio_is_compared_in_points() {
    let days =
        |spent: f64| [(-1, roi(150.0, 100.0)), (0, roi(150.0, 100.0)), (7, roi(150.0, spent))];
    let rules = || ruled(vec![step(Against::WeekBefore, Some(50_000), None, Severity::Warning)]);
    // 55 % instead of 50 %.
    assert_eq!(kinds(&after("roi", rules(), &days(96.7))), [("mine", "spike")]);
    assert_eq!(after("roi", rules(), &days(96.9)), vec![]);
}

#[test]
fn a_budget_is_another_kpi_of_the_same_day() {
    let mut world = World::watched(
        "total_cost",
        ruled(vec![step(Against::Budget, Some(100_000), None, Severity::Critical)]),
    );
    let cost = |value: f64| change("total_cost", Grain::Day, day(0), flow(value));
    let noon = day(0).plus(12 * HOUR);
    // Without a budget nothing is over it.
    assert_eq!(world.epoch(noon, false, &[cost(500.0)]), vec![]);
    let budget = change("revenue_booked", Grain::Day, day(0), flow(1000.0));
    assert_eq!(world.epoch(noon.plus(SECOND), false, &[budget, cost(1099.0)]), vec![]);
    let alerts = world.epoch(noon.plus(2 * SECOND), false, &[cost(1100.0)]);
    assert_eq!(kinds(&alerts), [("mine", "spike")]);
    assert!(alerts[0].reason.contains("10 % above the budget"), "{}", alerts[0].reason);
    world.restart();
    assert_eq!(world.scorer.alerts(), alerts);
    let back = world.epoch(noon.plus(3 * SECOND), false, &[cost(1050.0)]);
    assert!(!back[0].is_open());
}
