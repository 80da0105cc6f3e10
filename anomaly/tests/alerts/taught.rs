//! What people say of alerts bears on what is said of their series, and on nothing else.

use schemas::answer::Verdict;
use schemas::{Grain, Observer};

use crate::world::{HOUR, Rng, SECOND, World, change, flow, monday, saved};

fn usual(hour: i64) -> f64 {
    let noise = Rng::new(u64::from_le_bytes(hour.to_le_bytes())).uniform() - 0.5;
    (1000.0 * (1.0 + 0.06 * noise)).round()
}

/// Five weeks of hours, then one that is half as much again; its alert.
fn alarmed() -> (World, String) {
    let mut world = World::new();
    world.history("orders", Grain::Hour, monday(), usual);
    let high = change("orders", Grain::Hour, monday(), flow((1.5 * usual(0)).round()));
    let alerts = world.epoch(monday().plus(HOUR / 2), false, &[high]);
    assert_eq!(alerts.len(), 1);
    assert_eq!(world.tick(monday().plus(HOUR + 30 * SECOND)), vec![]);
    let id = alerts[0].id.to_string();
    (world, id)
}

/// The least that two hours later is too much, in hundredths of what is usual, after people have said this.
fn threshold(said: &[(Option<Verdict>, Verdict)]) -> i64 {
    let least = |hundredths: &i64| {
        let (mut world, id) = alarmed();
        for (before, verdict) in said {
            assert!(world.scorer.heed(&id, *before, *verdict));
        }
        let at = monday().plus(HOUR);
        let calm = change("orders", Grain::Hour, at, flow(usual(1)));
        world.epoch(at.plus(HOUR / 2), false, &[calm]);
        world.tick(at.plus(HOUR + 30 * SECOND));
        let at = monday().plus(2 * HOUR);
        let share = *hundredths as f64 / 100.0;
        let asked = change("orders", Grain::Hour, at, flow((share * usual(2)).round()));
        !world.epoch(at.plus(HOUR / 2), false, &[asked]).is_empty()
    };
    (101..400).find(least).unwrap()
}

#[test]
fn after_no_it_takes_more_and_yes_takes_that_back() {
    let no = (None, Verdict::No);
    let base = threshold(&[]);
    let after = |count: usize| threshold(&vec![no; count]);
    assert!(base < after(1) && after(1) < after(3) && after(3) < after(4), "{base}");
    assert_eq!(after(4), after(9), "no more than four of them count");
    assert_eq!(threshold(&[no, (None, Verdict::Yes)]), base);
    assert_eq!(threshold(&[(None, Verdict::Yes), (None, Verdict::Yes)]), base);
    // Another verdict on the same alert.
    assert_eq!(threshold(&[no, (Some(Verdict::No), Verdict::Planned)]), base);
    assert_eq!(threshold(&[no, (Some(Verdict::No), Verdict::No)]), after(1));
}

#[test]
fn what_people_said_outlives_restarts_and_no_other_series_hears_it() {
    let (mut world, id) = alarmed();
    world.history("revenue_booked", Grain::Hour, monday().plus(2 * HOUR), |hour| 9.0 * usual(hour));
    let before = saved(&mut world.scorer);
    assert!(!world.scorer.heed("0123", None, Verdict::No), "there is no such alert");
    assert_eq!(saved(&mut world.scorer), before);
    assert!(world.scorer.heed(&id, None, Verdict::No));
    let after = saved(&mut world.scorer);
    assert_ne!(after, before);
    world.restart();
    assert_eq!(saved(&mut world.scorer), after);
    assert!(world.scorer.heed(&id, None, Verdict::Yes));
    assert_eq!(saved(&mut world.scorer), before, "it changed nothing else");
}
