//! What goes wrong, or changes for good: each is worth one alert, and the week after it none.

use std::sync::Arc;

use super::plan::{CHARGE, Change, LEARNED_DAYS, Plan, SECOND, Shop};
use crate::chance::Chance;

const SALES: [&str; 2] = ["orders", "revenue_booked"];
const REVENUE: [&str; 1] = ["revenue_booked"];
const ALL: [&str; 3] = ["orders", "revenue_booked", "total_cost"];
const SERVICES: usize = 40;

/// A credit of six tenths of a day's cost, booked in one hour.
pub(super) fn credit(chance: &mut Chance, volume: f64) -> Plan {
    one_booking(chance, volume, "total_cost", -0.6 * 24.0 * CHARGE)
}

/// A refund of half a day's revenue, booked in one hour.
pub(super) fn refund(chance: &mut Chance, volume: f64) -> Plan {
    one_booking(chance, volume, "revenue_booked", -0.5 * 24.0 * 40.0)
}

fn one_booking(chance: &mut Chance, volume: f64, kpi: &'static str, each: f64) -> Plan {
    let mut plan = Shop::of(volume).plan(chance);
    let day = LEARNED_DAYS + 22 + chance.below(7);
    let hour = plan.day(day) + 10;
    plan.change(&[kpi], hour..hour + 1, |value| value + each * volume);
    let hours = plan.days(day..day + 1);
    plan.must(&[kpi], hours);
    plan
}

/// Everything is half as much again from a day on; a week later that is usual.
pub(super) fn level_shift(chance: &mut Chance, volume: f64) -> Plan {
    let mut plan = Shop::of(volume).plan(chance);
    let day = LEARNED_DAYS + 24;
    let (from, end) = (plan.day(day), plan.hours);
    plan.scale(&SALES, from..end, 1.5);
    let hours = plan.days(day..day + 7);
    plan.must(&SALES, hours);
    plan
}

/// One and a half per cent less each day, for forty days.
pub(super) fn slow_drift(chance: &mut Chance, volume: f64) -> Plan {
    let from = LEARNED_DAYS + 14;
    let level = |day: usize, _| 0.985_f64.powf(day.saturating_sub(from).min(40) as f64);
    let mut plan = Shop::of(volume).plan_with(chance, level);
    let hours = plan.days(from..from + 49);
    plan.must(&ALL, hours);
    plan
}

/// Five hours in which nobody could order.
pub(super) fn outage_of_the_business(chance: &mut Chance, volume: f64) -> Plan {
    let mut plan = Shop::of(volume).plan(chance);
    let from = plan.day(LEARNED_DAYS + 26) + 10;
    plan.scale(&SALES, from..from + 5, 0.0);
    plan.must(&SALES, from..from + 5);
    plan
}

/// A day's revenue is converted by a rate that is a third too high.
pub(super) fn wrong_rate(chance: &mut Chance, volume: f64) -> Plan {
    let mut plan = Shop::of(volume).plan(chance);
    let day = LEARNED_DAYS + 22 + chance.below(7);
    let hours = plan.days(day..day + 1);
    plan.scale(&REVENUE, hours.clone(), 1.35);
    plan.must(&REVENUE, hours);
    plan
}

/// An hour is five times too high by mistake, and right again two hours later.
pub(super) fn corrected(chance: &mut Chance, volume: f64) -> Plan {
    let mut plan = Shop::of(volume).plan(chance);
    let hour = plan.day(LEARNED_DAYS + 27) + 11;
    let at = plan.at(hour + 3).plus(40 * SECOND);
    for line in plan.places(&REVENUE) {
        let value = plan.lines.get(line).and_then(|own| own.hours.get(hour)).copied();
        let value = value.unwrap_or(0.0);
        plan.changes.push(Change { at, line, hour, value, quiet: false });
    }
    plan.scale(&REVENUE, hour..hour + 1, 5.0);
    plan.must(&REVENUE, hour..hour + 1);
    plan
}

/// Within one hour the value goes up and down around everything that may be a threshold.
pub(super) fn flapping(chance: &mut Chance, volume: f64) -> Plan {
    let mut plan = Shop::of(volume).plan(chance);
    let hour = plan.day(LEARNED_DAYS + 25) + 12;
    for line in plan.places(&SALES) {
        plan.withheld.push((line, hour..hour + 1));
        let usual = plan.lines.get(line).and_then(|own| own.hours.get(hour)).copied();
        let usual = usual.unwrap_or(0.0);
        for step in 0..160_u32 {
            let side = if step % 2 == 0 { 1.06 } else { 0.94 };
            let value = (usual * (1.0 + 0.01 * f64::from(step)) * side).round();
            let at = plan.at(hour).plus(i64::from(step) * 20 * SECOND + SECOND);
            plan.changes.push(Change { at, line, hour, value, quiet: false });
        }
    }
    plan.scale(&SALES, hour..hour + 1, 2.5);
    plan.must(&SALES, hour..hour + 1);
    plan
}

/// For a day and a half every other hour has 60 % more.
pub(super) fn flapping_hours(chance: &mut Chance, volume: f64) -> Plan {
    let mut plan = Shop::of(volume).plan(chance);
    let from = plan.day(LEARNED_DAYS + 25) + 8;
    for hour in (from..from + 36).step_by(2) {
        plan.scale(&SALES, hour..hour + 1, 1.6);
    }
    plan.must(&SALES, from..from + 36);
    plan
}

/// The cost of forty services, and their sum.
fn services(chance: &mut Chance, volume: f64) -> Plan {
    let shop = Shop { days: LEARNED_DAYS + 28, ..Shop::of(volume) };
    let mut plan = shop.plan(chance);
    plan.lines.retain(|line| line.kpi == "total_cost");
    let sum: Vec<f64> = plan.lines.first().map(|own| own.hours.clone()).unwrap_or_default();
    for service in 0..SERVICES {
        let part = |value: &f64| {
            let noise = (0.04 * chance.normal()).exp();
            (value / SERVICES as f64 * noise * 100.0).round() / 100.0
        };
        let hours = sum.iter().map(part).collect();
        plan.line("cost_by_service", hours);
        if let Some(line) = plan.lines.last_mut() {
            let dims = format!(r#"{{"currency":"USD","service_name":"s{service:02}"}}"#);
            line.dims = Arc::from(dims.as_str());
        }
    }
    add_up(&mut plan);
    plan
}

/// The total is the sum of the services.
fn add_up(plan: &mut Plan) {
    let mut sum = vec![0.0; plan.hours];
    for line in plan.lines.iter().filter(|line| line.kpi == "cost_by_service") {
        sum.iter_mut().zip(&line.hours).for_each(|(sum, value)| *sum += value);
    }
    if let Some(total) = plan.lines.first_mut() {
        total.hours = sum.into_iter().map(|value| (value * 100.0).round() / 100.0).collect();
    }
}

const PARTS: [&str; 2] = ["cost_by_service", "total_cost"];

/// A rise of 60 % in all forty services for half a day.
pub(super) fn one_cause(chance: &mut Chance, volume: f64) -> Plan {
    let mut plan = services(chance, volume);
    let from = plan.day(LEARNED_DAYS + 22) + 8;
    plan.scale(&PARTS, from..from + 12, 1.6);
    add_up(&mut plan);
    plan.must(&PARTS, from..from + 12);
    plan
}

/// One of forty services costs four times as much for half a day.
pub(super) fn one_service(chance: &mut Chance, volume: f64) -> Plan {
    let mut plan = services(chance, volume);
    let from = plan.day(LEARNED_DAYS + 22) + 8;
    let at = 1 + chance.below(SERVICES);
    if let Some(line) = plan.lines.get_mut(at) {
        line.hours.iter_mut().skip(from).take(12).for_each(|value| *value *= 4.0);
    }
    add_up(&mut plan);
    plan.must(&PARTS, from..from + 12);
    plan
}

/// A tenant whose first day begins at three in the afternoon.
pub(super) fn launch(chance: &mut Chance, volume: f64) -> Plan {
    let level = |day: usize, clock: usize| f64::from(u8::from(day > 0 || clock >= 15));
    Shop { learned: 0, days: 42, ..Shop::of(volume) }.plan_with(chance, level)
}

/// A new tenant who grows by a twelfth each day for a month.
pub(super) fn ramp_up(chance: &mut Chance, volume: f64) -> Plan {
    let level = |day: usize, clock: usize| {
        let begun = f64::from(u8::from(day > 0 || clock >= 15));
        begun * 1.08_f64.powf(day.min(30) as f64 - 30.0)
    };
    Shop { learned: 0, days: 49, ..Shop::of(volume) }.plan_with(chance, level)
}
