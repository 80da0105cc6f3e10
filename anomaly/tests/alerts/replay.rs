//! Equal epochs give equal alerts: again, with other ticks, and across restarts.

use proptest::prelude::*;
use schemas::{Alert, Grain, Micros, Observer, Saved};

use crate::world::{Change, DAY, HOUR, Rng, SECOND, World, change, flow, monday, roi, saved};

/// An epoch with records.
#[derive(Clone, Debug)]
struct Epoch {
    clock: Micros,
    /// The origins that are quiet in it.
    quiet: Vec<&'static str>,
    changes: Vec<Change>,
}

fn usual(kpi: &str, hour: i64, rng: &mut Rng) -> f64 {
    let of_day = hour.rem_euclid(24) as f64 / 24.0 * std::f64::consts::TAU;
    let level = if kpi == "orders" { 400.0 } else { 9_000.0 };
    level * (1.0 + 0.4 * of_day.sin()) * (1.0 + 0.05 * rng.normal())
}

fn history(rng: &mut Rng) -> Vec<Change> {
    let mut changes = Vec::new();
    for back in 1..=21 * 24 {
        for kpi in ["orders", "revenue_booked"] {
            let value = flow(usual(kpi, -back, rng).round());
            changes.push(change(kpi, Grain::Hour, monday().plus(-back * HOUR), value));
        }
    }
    for back in 1..=21 {
        let start = monday().plus(-back * DAY);
        let (revenue, cost) = (1500.0 + 20.0 * rng.normal(), 1000.0 + 20.0 * rng.normal());
        changes.push(change("total_cost", Grain::Day, start, flow(cost)));
        changes.push(change("roi", Grain::Day, start, roi(revenue, cost)));
    }
    changes
}

fn all(quiet: bool) -> Vec<&'static str> {
    if quiet { vec!["all"] } else { Vec::new() }
}

/// The origins of orders and of booked revenue are quiet by themselves, and the second for long.
fn apart(mut epochs: Vec<Epoch>, seed: u64) -> Vec<Epoch> {
    let mut rng = Rng::new(!seed);
    let mut is_read = false;
    for epoch in epochs.iter_mut().skip(1) {
        epoch.quiet.iter_mut().for_each(|origin| *origin = "orders");
        is_read = rng.below(8) > if is_read { 0 } else { 6 };
        epoch.quiet.extend(is_read.then_some("revenue_booked"));
    }
    epochs
}

/// The same epochs with an origin never quiet.
fn without(origin: &str, epochs: &[Epoch]) -> Vec<Epoch> {
    let mut epochs = epochs.to_vec();
    epochs.iter_mut().for_each(|epoch| epoch.quiet.retain(|own| *own != origin));
    epochs
}

fn of(kpi: &str, alerts: &[Alert]) -> Vec<Alert> {
    alerts.iter().filter(|own| &*own.key.kpi == kpi).cloned().collect()
}

/// Two days of epochs, with quiet bursts, corrections, removals and anomalies.
fn script(seed: u64) -> Vec<Epoch> {
    let mut rng = Rng::new(seed);
    let mut clock = monday().plus(40 * SECOND);
    let mut epochs = vec![Epoch { clock, quiet: all(true), changes: history(&mut rng) }];
    let mut quiet = false;
    while clock.0 < monday().0 + 2 * DAY {
        let step = if quiet { 20 * SECOND } else { HOUR };
        clock = clock.plus(SECOND + (rng.uniform() * step as f64) as i64);
        quiet = rng.below(10) == 0 || (quiet && rng.below(2) == 0);
        let mut changes = Vec::new();
        for kpi in ["orders", "revenue_booked"] {
            let back = rng.below(4) as i64 / 2;
            let start = Grain::Hour.start(clock).plus(-back * HOUR);
            let hour = (start.0 - monday().0) / HOUR;
            let factor = [1.0, 1.0, 1.0, 0.3, 2.5][rng.below(5) as usize];
            let value = flow((usual(kpi, hour, &mut rng) * factor).round());
            match rng.below(12) {
                0 => changes.push(change(kpi, Grain::Hour, start, None)),
                1..4 => {}
                _ => changes.push(change(kpi, Grain::Hour, start, value)),
            }
        }
        let cost = 600.0 + 800.0 * rng.uniform();
        let start = Grain::Day.start(clock);
        if rng.below(3) == 0 {
            changes.push(change("total_cost", Grain::Day, start, flow(cost)));
            changes.push(change("roi", Grain::Day, start, roi(1500.0 * rng.uniform(), cost)));
        }
        epochs.push(Epoch { clock, quiet: all(quiet), changes });
    }
    // All timers have fired at the end.
    epochs.push(Epoch { clock: clock.plus(2 * HOUR), quiet: all(false), changes: Vec::new() });
    epochs
}

/// How a run differs from another.
#[derive(Clone, Default)]
struct Manner {
    /// Ticks that nothing asks for, and ticks left out before epochs that are not quiet.
    odd_ticks: Option<u64>,
    /// Epochs before which it is restarted.
    restarts: Vec<usize>,
}

/// Runs the epochs as the binary does: with a tick whenever one is due.
fn run(epochs: &[Epoch], manner: &Manner) -> (Vec<Alert>, Saved) {
    let mut world = World::new();
    let mut rng = manner.odd_ticks.map(Rng::new);
    let mut before = Micros(0);
    for (number, epoch) in epochs.iter().enumerate() {
        if manner.restarts.contains(&number) {
            world.restart();
        }
        if let Some(rng) = &mut rng {
            let between = before.plus(((epoch.clock.0 - before.0) as f64 * rng.uniform()) as i64);
            if number > 0 && world.scorer.next_due().is_none_or(|due| between < due) {
                world.tick(between);
            }
        }
        let left_out = epoch.quiet.is_empty() && rng.as_mut().is_some_and(|rng| rng.below(2) == 0);
        while !left_out && let Some(due) = world.scorer.next_due().filter(|d| *d < epoch.clock) {
            world.tick(due);
        }
        world.epoch_of(epoch.clock, &epoch.quiet, &epoch.changes);
        before = epoch.clock;
    }
    (world.scorer.alerts(), saved(&mut world.scorer))
}

/// With the bits of its floats, which `==` would not tell apart.
fn bits(alerts: &[Alert]) -> Vec<(String, [u64; 4])> {
    let floats =
        |own: &Alert| [own.deviation, own.z_score, own.p_value, own.confidence].map(f64::to_bits);
    alerts.iter().map(|own| (format!("{own:?}"), floats(own))).collect()
}

#[test]
fn scripts_have_alerts_of_every_kind() {
    let alerts: Vec<Alert> =
        (0..20).flat_map(|seed| run(&script(seed), &Manner::default()).0).collect();
    for kind in ["spike", "drop", "missing"] {
        assert!(alerts.iter().any(|own| &*own.anomaly_type == kind), "{kind}");
    }
    for rule in ["seasonal", "roi_drop", "cost_spike"] {
        assert!(alerts.iter().any(|own| &*own.rule == rule), "{rule}");
    }
    for part in ["closed within", "a correction brought"] {
        let says = |own: &Alert| own.resolution.as_ref().is_some_and(|text| text.contains(part));
        assert!(alerts.iter().any(says), "{part}");
    }
    assert!(alerts.iter().any(Alert::is_open));
}

/// Whether an alert opened while an origin lagged: from a quiet epoch on for a second.
fn opened_while(origin: &str, epochs: &[Epoch], alert: &Alert) -> bool {
    let quiet = epochs.iter().filter(|epoch| epoch.quiet.contains(&origin));
    let since = |epoch: &Epoch| alert.opened_at.0 - epoch.clock.0;
    quiet.map(since).any(|since| (0..SECOND).contains(&since))
}

#[test]
fn an_origin_that_lags_holds_back_its_series_and_no_other() {
    let mut meanwhile = 0;
    for seed in 0..40 {
        let epochs = apart(script(seed), seed);
        let alerts = run(&epochs, &Manner::default()).0;
        for (kpi, other) in [("orders", "revenue_booked"), ("revenue_booked", "orders")] {
            let alone = run(&without(other, &epochs), &Manner::default()).0;
            assert_eq!(bits(&of(kpi, &alerts)), bits(&of(kpi, &alone)), "{kpi}, seed {seed}");
            let own = of(kpi, &alerts);
            assert!(!own.iter().any(|alert| opened_while(kpi, &epochs, alert)), "{kpi}, {seed}");
            meanwhile += own.iter().filter(|alert| opened_while(other, &epochs, alert)).count();
        }
    }
    assert!(meanwhile > 20, "{meanwhile} alerts opened while another origin lagged");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn equal_epochs_give_equal_alerts(seed in any::<u64>(), ticks in any::<u64>(), at in any::<[usize; 3]>()) {
        let epochs = if seed % 2 == 0 { script(seed) } else { apart(script(seed), seed) };
        let (alerts, state) = run(&epochs, &Manner::default());
        let again = run(&epochs, &Manner::default());
        prop_assert_eq!(bits(&alerts), bits(&again.0));
        prop_assert_eq!(&state, &again.1);

        let ticked = run(&epochs, &Manner { odd_ticks: Some(ticks), ..Manner::default() });
        prop_assert_eq!(bits(&alerts), bits(&ticked.0));
        prop_assert_eq!(&state, &ticked.1);

        let restarts = at.map(|at| 1 + at % (epochs.len() - 1)).to_vec();
        let restarted = run(&epochs, &Manner { restarts, ..Manner::default() });
        prop_assert_eq!(bits(&alerts), bits(&restarted.0));
        prop_assert_eq!(&state, &restarted.1);
    }

    #[test]
    fn no_score_looks_ahead(
        values in prop::collection::vec(0.0..1e6_f64, 120..400),
        other in prop::collection::vec(-1e3..1e9_f64, 1..200),
        cut in 0.0..1.0_f64,
        count in any::<bool>(),
    ) {
        let cut = (values.len() as f64 * cut) as usize;
        let series = anomaly::Series { day: 24, week: 168, phase: 3, count, warm: 48 };
        let mut changed = values[..cut].to_vec();
        changed.extend(other);
        let text = |values: &[f64]| -> Vec<String> {
            let scores = anomaly::walk(values, series);
            scores.iter().take(cut).map(|score| format!("{score:?}")).collect()
        };
        prop_assert_eq!(text(&values), text(&changed));
    }
}

#[test]
fn damaged_state_is_refused() {
    let epochs = script(3);
    let (alerts, state) = run(&epochs, &Manner::default());
    let world = World::new();
    let mut scorer = anomaly::Scorer::new(crate::world::kpis());
    for (part, number) in [("detector", 0), ("detector/series", 0), ("detector/series", 3)] {
        let record = state.part(part).unwrap().get(number).unwrap();
        for cut in [0, 1, record.len() / 2, record.len() - 1] {
            let mut damaged = state.clone();
            damaged.part_mut(part).put(number, Some(&record[..cut]));
            let error = scorer.load(&damaged, alerts.clone(), &world.store, &|_| true).unwrap_err();
            assert!(error.contains("is not what this binary writes"), "{error}");
        }
    }
    let mut newer = state.clone();
    let mut head = state.part("detector").unwrap().get(0).unwrap().to_vec();
    head[0] += 1;
    newer.part_mut("detector").put(0, Some(&head));
    assert!(
        scorer
            .load(&newer, alerts.clone(), &world.store, &|_| true)
            .unwrap_err()
            .contains("version")
    );
    assert!(scorer.load(&state, alerts, &world.store, &|_| true).is_ok());
    assert_eq!(saved(&mut scorer), state);
}
