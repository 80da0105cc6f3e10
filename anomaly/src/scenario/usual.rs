//! What is usual for one business and not for another: nothing here is worth an alert.

use super::plan::{Plan, Shop, cents};
use crate::chance::Chance;

/// A shop and nothing else.
pub(super) fn shop(chance: &mut Chance, volume: f64) -> Plan {
    Shop::of(volume).plan(chance)
}

/// Two per cent more each week.
pub(super) fn growth(chance: &mut Chance, volume: f64) -> Plan {
    let level = |day: usize, _| (day as f64 / 7.0 * 0.02).exp();
    Shop::of(volume).plan_with(chance, level)
}

/// A hundredth of the orders: most hours of a small one have none.
pub(super) fn sparse(chance: &mut Chance, volume: f64) -> Plan {
    Shop::of(volume / 100.0).plan(chance)
}

/// Few orders, of which one in forty is a hundred times as large.
pub(super) fn bursty(chance: &mut Chance, volume: f64) -> Plan {
    let mut plan = Shop::of(volume / 10.0).plan(chance);
    for line in plan.lines.iter_mut().filter(|line| line.kpi == "revenue_booked") {
        for value in &mut line.hours {
            let orders = *value / 40.0;
            let large = chance.poisson(orders / 40.0);
            *value = cents(*value + large * 4_000.0 * (0.5 * chance.normal()).exp());
        }
    }
    plan
}

/// Hours are off by Student's law with three degrees of freedom.
pub(super) fn heavy_tails(chance: &mut Chance, volume: f64) -> Plan {
    let mut plan = Shop { restless: 0.0, ..Shop::of(volume) }.plan(chance);
    for line in &mut plan.lines {
        let whole = line.kpi == "orders";
        for value in &mut line.hours {
            let factor = (0.06 * chance.heavy()).exp();
            *value = if whole { (*value * factor).round() } else { cents(*value * factor) };
        }
    }
    plan
}

/// Nothing from Monday to Friday.
pub(super) fn weekend_only(chance: &mut Chance, volume: f64) -> Plan {
    // The first day is a Monday.
    let level = |day: usize, _| if day % 7 >= 5 { 1.6 } else { 0.0 };
    Shop::of(volume).plan_with(chance, level)
}

/// Nothing at night.
pub(super) fn night_zeros(chance: &mut Chance, volume: f64) -> Plan {
    let level = |_, clock: usize| if (6..22).contains(&clock) { 1.3 } else { 0.0 };
    Shop::of(volume).plan_with(chance, level)
}
