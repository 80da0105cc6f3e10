//! Tests of the module above.

use schemas::Watching;

use super::*;
use crate::regression::tests::chance;
use crate::samples::{at, cell, kpi};

const DAY: i64 = 86_400_000_000;

fn training(days: i64, value: impl Fn(i64) -> f64) -> Training {
    let begin = at("2025-09-01");
    let points = (0..days).map(|day| (begin.plus(day * DAY), cell(value(day)))).collect();
    let history = History {
        kpi: "total_cost".into(),
        tenant: "acme".into(),
        dims: "{}".into(),
        grain: Grain::Day,
        points,
    };
    Training {
        kpi: kpi(Watching::default()),
        calendar: Arc::default(),
        series: vec![(history, None)],
        to: begin.plus(days * DAY),
    }
}

/// Days that are five times as large on the first, second and third of each month.
fn fees(day: i64) -> f64 {
    let of = schemas::civil::date(day + at("2025-09-01").0 / DAY).2;
    let usual = 1_000.0 * (0.95 + 0.1 * chance(day));
    if of <= 3 { 5.0 * usual } else { usual }
}

#[test]
fn dates_that_come_again_are_foreseen_and_so_it_wins() {
    let training = training(400, fees);
    let came = &retrain(&training)[0];
    let (champion, challenger) = came.contest.unwrap();
    assert!(challenger.error < 0.8 * champion.error, "{champion:?} {challenger:?}");
    let Challenge::Won(trained) = &came.challenge else { panic!("{came:?}") };
    assert_eq!(retrain(&training)[0], *came, "the same again");
    // It has seen all: of what comes next it says what the dates say.
    let shape = Shape::of(&training.kpi, Grain::Day).unwrap();
    let periods = training.calendar.of("acme");
    for day in 400..460 {
        let start = at("2025-09-01").plus(day * DAY);
        let (said, _) = trained.guess(shape, Place::of(periods, Grain::Day, start)).unwrap();
        let usual = fees(day);
        assert!((said / usual - 1.0).abs() < 0.35, "{day}: {said} and not {usual}");
    }
}

#[test]
fn what_no_calendar_knows_is_left_as_it_is() {
    let walk: Vec<f64> = (0..400)
        .scan(1_000.0, |level, day| {
            *level *= 1.0 + 0.1 * (chance(day) - 0.5);
            Some(*level)
        })
        .collect();
    let came = &retrain(&training(400, |day| walk[usize::try_from(day).unwrap()]))[0];
    assert_eq!(came.challenge, Challenge::Lost, "{came:?}");
    assert!(came.contest.is_some() && came.buckets == 28);
}

#[test]
fn what_is_in_force_is_the_champion() {
    let mut again = training(400, fees);
    let Challenge::Won(trained) = retrain(&training(360, fees))[0].challenge.clone() else {
        panic!("it did not win")
    };
    again.series[0].1 = Some(trained);
    let came = &retrain(&again)[0];
    let (champion, challenger) = came.contest.unwrap();
    assert!(challenger.error > 0.9 * champion.error, "{came:?}");
}

#[test]
fn short_histories_and_flat_ones_have_no_challenger() {
    let why = |training: Training| match retrain(&training)[0].challenge {
        Challenge::None(why) => why,
        ref other => panic!("{other:?}"),
    };
    assert!(why(training(80, fees)).contains("too little history"));
    assert!(why(training(200, |_| 5.0)).contains("all alike"));
}
