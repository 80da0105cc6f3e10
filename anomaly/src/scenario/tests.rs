//! Tests of the module above.

use std::collections::BTreeSet;

use super::*;

#[test]
fn every_scenario_has_a_name_and_is_made_by_its_seed_alone() {
    assert!(names().collect::<BTreeSet<_>>().len() == REGISTRY.len() && REGISTRY.len() >= 30);
    for own in &REGISTRY {
        let plan = |seed| (own.make)(&mut Chance::new(seed), 300.0);
        let hours = |plan: &Plan| -> Vec<Vec<f64>> {
            plan.lines.iter().map(|line| line.hours.clone()).collect()
        };
        let (one, again, other) = (plan(7), plan(7), plan(8));
        assert_eq!(hours(&one), hours(&again), "{}", own.name);
        assert_ne!(hours(&one), hours(&other), "{}", own.name);
        assert!(one.live < one.hours, "{}", own.name);
        for line in &one.lines {
            assert_eq!(line.hours.len(), one.hours, "{}", own.name);
        }
        for cause in &one.causes {
            let hours = &cause.hours;
            let is_within = hours.start < hours.end && hours.end <= one.hours;
            assert!(is_within && hours.start >= one.live || !cause.must, "{}: {cause:?}", own.name);
        }
    }
}

#[test]
fn a_scenario_is_played_by_its_seed_alone() {
    let play = |seed| scenario("credit", seed, 1).unwrap();
    assert_eq!(play(5), play(5));
    assert!(scenario("nothing of the kind", 1, 1).is_none());
}

/// What each of these scenarios gives with one shop of each volume.
fn outcomes(names: &[&str]) -> Vec<Outcome> {
    names.iter().map(|name| scenario(name, 3, 1).unwrap()).collect()
}

#[test]
fn what_is_usual_is_left_alone() {
    let quiet = outcomes(&["shop", "night_zeros", "late_mornings", "launch", "snapshot_again"]);
    let wrong: Vec<&String> = quiet.iter().flat_map(|own| &own.wrong).collect();
    println!("{wrong:#?}");
    assert!(wrong.len() <= 8, "{} false alerts of 60 series", wrong.len());
}

#[test]
fn what_goes_wrong_is_found_and_does_not_come_again_a_week_later() {
    let names = ["credit", "outage_of_the_source", "outage_of_the_business", "corrected"];
    for own in outcomes(&names) {
        assert_eq!(own.missed, 0, "{}", own.name);
        assert!(own.wrong.len() <= 6, "{}: {:#?}", own.name, own.wrong);
    }
}

#[test]
fn what_flaps_within_an_hour_is_not_told_each_time() {
    for own in outcomes(&["flapping"]) {
        assert!(own.missed == 0 && own.per_cause.is_some_and(|each| each <= 6.0), "{own:?}");
    }
}

#[test]
fn six_standard_deviations_are_found_and_two_in_a_row_of_five() {
    let curve = power(3, 3);
    let share = |grain: Grain, buckets: usize, sigmas: f64| {
        let own = curve.iter().find(|own| {
            own.grain == grain && own.buckets == buckets && (own.sigmas - sigmas).abs() < 0.5
        });
        own.map_or(0.0, |own| own.found as f64 / own.tried as f64)
    };
    for grain in [Grain::Hour, Grain::Day] {
        assert!(share(grain, 1, 6.0) >= 0.92, "{grain:?}: {curve:?}");
        assert!(share(grain, 2, 5.0) >= 0.92, "{grain:?}: {curve:?}");
        assert!(share(grain, 1, 3.0) <= 0.1, "{grain:?}: {curve:?}");
    }
}
