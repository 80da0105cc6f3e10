//! How often nothing is called something, and how much of something is found.

use anomaly::{Series, walk};

use crate::world::Rng;

const HOURS: usize = 13 * 168;
/// What is judged: the last two months.
const FROM: usize = HOURS - 61 * 24;

/// The level of an hour: a day and a week.
fn level(hour: usize) -> f64 {
    let of_day = (hour % 24) as f64 / 24.0 * std::f64::consts::TAU;
    let weekend = if hour / 24 % 7 >= 5 { 0.6 } else { 1.0 };
    (1.0 + 0.5 * (of_day - 2.0).sin()) * weekend
}

fn counts(rng: &mut Rng, mean: f64) -> Vec<f64> {
    (0..HOURS).map(|hour| rng.poisson(mean * level(hour))).collect()
}

/// Money: each of Poisson many orders has a lognormal amount; and all hours have noise of their own.
fn money(rng: &mut Rng, mean: f64) -> Vec<f64> {
    (0..HOURS)
        .map(|hour| {
            let orders = rng.poisson(mean * level(hour));
            let amounts = 40.0 * orders + 30.0 * orders.sqrt() * rng.normal();
            (amounts.max(0.0) * (0.05 * rng.normal()).exp() * 100.0).round() / 100.0
        })
        .collect()
}

fn scores(values: &[f64], count: bool) -> Vec<bool> {
    let series = Series { day: 24, week: 168, phase: 0, count, warm: 48 };
    let anomalous = |score: &Option<anomaly::Score>| score.is_some_and(|own| own.anomalous);
    walk(values, series).iter().map(anomalous).collect()
}

/// A name, whether its values are counts, and how a series of it is made.
type Kind = (&'static str, bool, Box<dyn Fn(&mut Rng) -> Vec<f64>>);

fn kinds() -> Vec<Kind> {
    vec![
        ("counts, 3 an hour", true, Box::new(|rng| counts(rng, 3.0))),
        ("counts, 30 an hour", true, Box::new(|rng| counts(rng, 30.0))),
        ("counts, 300 an hour", true, Box::new(|rng| counts(rng, 300.0))),
        ("counts, 3000 an hour", true, Box::new(|rng| counts(rng, 3000.0))),
        ("money of 30 orders", false, Box::new(|rng| money(rng, 30.0))),
        ("money of 300 orders", false, Box::new(|rng| money(rng, 300.0))),
        ("money of 3000 orders", false, Box::new(|rng| money(rng, 3000.0))),
    ]
}

#[test]
fn clean_series_are_left_alone() {
    for (name, count, make) in kinds() {
        let mut rng = Rng::new(7);
        let series = 40;
        let (mut late, mut early) = (0, 0);
        for _ in 0..series {
            let alerts = scores(&make(&mut rng), count);
            late += alerts[FROM..].iter().filter(|own| **own).count();
            early += alerts[..FROM].iter().filter(|own| **own).count();
        }
        let each = late as f64 / f64::from(series);
        let first = early as f64 / f64::from(series);
        println!(
            "{name}: {each:.2} false buckets per series and two months, {first:.2} in the first month"
        );
        assert!(each <= 1.0, "{name}: {each}");
        assert!(first <= 1.5, "{name}: {first} while learning");
    }
}

#[test]
fn one_in_a_thousand_or_two_is_called_so() {
    let (mut rare, mut all) = (0, 0);
    for (name, count, make) in kinds() {
        let mut rng = Rng::new(13);
        let series = Series { day: 24, week: 168, phase: 0, count, warm: 48 };
        let (mut own, mut judged) = (0, 0);
        for _ in 0..40 {
            let scores = walk(&make(&mut rng), series);
            let late = scores[FROM..].iter().flatten();
            judged += late.clone().count();
            own += late.filter(|score| score.p < 1e-3).count();
        }
        let share = own as f64 / judged as f64;
        println!("{name}: {:.2} in a thousand", 1e3 * share);
        // Poisson's law has the last word where counts are small, and is discrete.
        assert!(share < 1.5e-3, "{name}: {share}");
        if !name.contains(" 3 an hour") {
            (rare, all) = (rare + own, all + judged);
        }
    }
    let share = rare as f64 / all as f64;
    assert!((0.4e-3..1.5e-3).contains(&share), "{share}");
}

#[test]
fn large_changes_of_one_hour_are_found() {
    for (name, count, make) in kinds() {
        for factor in [0.6, 0.7, 1.3, 1.6] {
            let mut rng = Rng::new(11);
            let (mut found, mut injected) = (0, 0);
            for _ in 0..20 {
                let clean = make(&mut rng);
                for _ in 0..10 {
                    let at = FROM + usize::try_from(rng.below(60 * 24)).unwrap();
                    let mut values = clean[..=at].to_vec();
                    values[at] = (values[at] * factor).round();
                    injected += 1;
                    found += usize::from(scores(&values, count)[at]);
                }
            }
            let share = f64::from(u32::try_from(found).unwrap()) / f64::from(injected);
            println!("{name}, times {factor}: {:.0} % found", share * 100.0);
            let large = !(0.65..=1.5).contains(&factor);
            if large && name.contains("3000") {
                assert!(share >= 0.9, "{name} times {factor}: {share}");
            }
        }
    }
}
