//! How what happened arrives: late, not at all, twice, again.

use schemas::Micros;

use super::plan::{Change, HOUR, LEARNED_DAYS, Plan, SECOND, Shop};
use crate::chance::Chance;

const COST: [&str; 1] = ["total_cost"];
const ALL: [&str; 3] = ["orders", "revenue_booked", "total_cost"];

fn late(chance: &mut Chance, volume: f64, at: fn(&Plan, usize) -> Micros) -> Plan {
    let mut plan = Shop::of(volume).plan(chance);
    let bills = plan.lines.iter_mut().filter(|line| line.kpi == "total_cost");
    bills.for_each(|line| line.late = Some(at));
    plan
}

/// Each hour's bill comes four to six hours after the hour.
pub(super) fn late_hours(chance: &mut Chance, volume: f64) -> Plan {
    late(chance, volume, |plan, hour| {
        let minutes = i64::try_from(hour * 37 % 120).unwrap_or(0);
        plan.at(hour + 5).plus(minutes * 60 * SECOND)
    })
}

/// Every morning at eight the bills of the day before come.
pub(super) fn late_mornings(chance: &mut Chance, volume: f64) -> Plan {
    late(chance, volume, |plan, hour| {
        let periods = plan.periods();
        periods.midnight(periods.day(plan.at(hour)) + 1).plus(8 * HOUR)
    })
}

/// Each hour's bill comes thirty hours after it.
pub(super) fn late_days(chance: &mut Chance, volume: f64) -> Plan {
    late(chance, volume, |plan, hour| plan.at(hour + 31).plus(-600 * SECOND))
}

/// Bills of the mornings, and one day costs half as much again.
pub(super) fn late_and_dear(chance: &mut Chance, volume: f64) -> Plan {
    let mut plan = late_mornings(chance, volume);
    let day = LEARNED_DAYS + 30;
    let hours = plan.days(day..day + 1);
    plan.scale(&COST, hours.clone(), 1.6);
    plan.must(&COST, hours);
    plan
}

/// Nothing arrives for six hours; then all of it does, and is old.
pub(super) fn outage_of_the_source(chance: &mut Chance, volume: f64) -> Plan {
    let mut plan = Shop::of(volume).plan(chance);
    let from = plan.day(LEARNED_DAYS + 25) + 11;
    let hours = from..from + 6;
    let at = plan.at(hours.end).plus(600 * SECOND);
    for line in plan.places(&ALL) {
        plan.withheld.push((line, hours.clone()));
        again(&mut plan, line, hours.clone(), at, 1.0);
    }
    plan.must(&ALL, hours);
    plan
}

/// Brings hours of a line again at `at`, quietly.
fn again(plan: &mut Plan, line: usize, hours: std::ops::Range<usize>, at: Micros, factor: f64) {
    let values = plan.lines.get(line).map(|own| own.hours.clone()).unwrap_or_default();
    for hour in hours {
        let value = values.get(hour).copied().unwrap_or(0.0) * factor;
        plan.changes.push(Change { at, line, hour, value, quiet: true });
    }
}

/// A month of history is loaded again with other values.
pub(super) fn backfill(chance: &mut Chance, volume: f64) -> Plan {
    let mut plan = Shop::of(volume).plan(chance);
    let day = LEARNED_DAYS + 30;
    let at = plan.at(plan.day(day) + 10).plus(90 * SECOND);
    for line in plan.places(&COST) {
        let hours = plan.days(day - 37..day - 7);
        again(&mut plan, line, hours, at, 1.07);
    }
    plan
}

/// A snapshot brings everything again, an hour long.
pub(super) fn snapshot_again(chance: &mut Chance, volume: f64) -> Plan {
    let mut plan = Shop::of(volume).plan(chance);
    let from = plan.day(LEARNED_DAYS + 26) + 9;
    for minute in 0..60 {
        let at = plan.at(from).plus(minute * 60 * SECOND + SECOND);
        let hours = from - 24..from - 23;
        plan.places(&ALL)
            .into_iter()
            .for_each(|line| again(&mut plan, line, hours.clone(), at, 1.0));
    }
    plan
}

/// The last three days are taken back and read again within the hour.
pub(super) fn replay(chance: &mut Chance, volume: f64) -> Plan {
    let mut plan = Shop::of(volume).plan(chance);
    let from = plan.day(LEARNED_DAYS + 28) + 13;
    let at = plan.at(from).plus(60 * SECOND);
    for line in plan.places(&ALL) {
        for (minutes, factor) in [(0, 0.0), (10, 0.5), (20, 1.0)] {
            let at = at.plus(minutes * 60 * SECOND);
            again(&mut plan, line, from - 72..from, at, factor);
        }
    }
    plan
}

/// A day's bills are loaded twice, and put right two days later.
pub(super) fn loaded_twice(chance: &mut Chance, volume: f64) -> Plan {
    let mut plan = Shop::of(volume).plan(chance);
    let day = LEARNED_DAYS + 27;
    let hours = plan.days(day..day + 1);
    let at = plan.at(hours.end + 34).plus(300 * SECOND);
    for line in plan.places(&COST) {
        let values = plan.lines.get(line).map(|own| own.hours.clone()).unwrap_or_default();
        for hour in hours.clone() {
            let value = values.get(hour).copied().unwrap_or(0.0);
            plan.changes.push(Change { at, line, hour, value, quiet: false });
        }
    }
    plan.scale(&COST, hours.clone(), 2.0);
    plan.must(&COST, hours);
    plan
}
