//! What the calendar does to a business: fees, ends of months and quarters, holidays, clocks that change.

use std::ops::Range;

use super::plan::{CHARGE, LEARNED_DAYS, Plan, Shop};
use crate::chance::Chance;

const SALES: [&str; 2] = ["orders", "revenue_booked"];
const COST: [&str; 1] = ["total_cost"];
const ALL: [&str; 3] = ["orders", "revenue_booked", "total_cost"];

/// Nine months, the first without its first day.
fn months(volume: f64) -> Shop {
    Shop { from: (2025, 12, 2), days: 273, ..Shop::of(volume) }
}

/// A fee of two days' cost in the first hour of every month; from the third on it is known.
pub(super) fn fee_on_the_first(chance: &mut Chance, volume: f64) -> Plan {
    let mut plan = months(volume).plan(chance);
    for month in 1..=8 {
        let (hour, day) = plan.date(2026, month, 1);
        plan.change(&COST, hour..hour + 1, |value| value + 48.0 * volume * CHARGE);
        if month <= 2 {
            let hours = plan.days(day..day + 1);
            plan.may(&COST, hours);
        }
    }
    plan
}

/// The last two days of every month have 60 % more; from the third month on that is known.
pub(super) fn month_end(chance: &mut Chance, volume: f64) -> Plan {
    let mut plan = months(volume).plan(chance);
    for month in 2..=8 {
        let (_, day) = plan.date(2026, month, 1);
        let hours = plan.days(day - 2..day);
        plan.scale(&SALES, hours.clone(), 1.6);
        if month <= 3 {
            plan.may(&SALES, hours);
        }
    }
    plan
}

/// The last three days of every quarter have 80 % more; from the third quarter on that is known.
pub(super) fn quarter_end(chance: &mut Chance, volume: f64) -> Plan {
    let mut plan = Shop { from: (2026, 1, 1), days: 460, ..Shop::of(volume) }.plan(chance);
    for (at, date) in [(2026, 4), (2026, 7), (2026, 10), (2027, 1), (2027, 4)].iter().enumerate() {
        let (_, day) = plan.date(date.0, date.1, 1);
        let hours = plan.days(day - 3..day);
        plan.scale(&SALES, hours.clone(), 1.8);
        if at < 2 {
            plan.may(&SALES, hours);
        }
    }
    plan
}

const HOLIDAYS: [usize; 2] = [LEARNED_DAYS + 20, LEARNED_DAYS + 41];

/// Two days of a third of the business, which nothing announces. The days themselves may be said.
pub(super) fn holiday_unknown(chance: &mut Chance, volume: f64) -> Plan {
    let mut plan = Shop::of(volume).plan(chance);
    for day in HOLIDAYS {
        let hours = plan.days(day..day + 1);
        plan.scale(&SALES, hours.clone(), 0.3);
        plan.may(&SALES, hours);
    }
    plan
}

/// The same two days, which are in a calendar that people have given.
pub(super) fn holiday_known(chance: &mut Chance, volume: f64) -> Plan {
    let mut plan = holiday_unknown(chance, volume);
    plan.causes.clear();
    plan.announce(&HOLIDAYS.map(|day| day..day + 1));
    plan
}

fn clocks(chance: &mut Chance, volume: f64, zone: &'static str, from: (i64, i64, i64)) -> Plan {
    let shop = Shop { zone, from, days: LEARNED_DAYS + 35, ..Shop::of(volume) };
    // Steep mornings and evenings, as those have that are asleep at night.
    let level = |_, clock: usize| match clock {
        0..6 => 0.15,
        6..9 => 0.8,
        9..21 => 1.2,
        _ => 0.4,
    };
    shop.plan_with(chance, level)
}

/// Clocks are put forward, or back, in Berlin; the business keeps to them.
pub(super) fn clocks_in_berlin(chance: &mut Chance, volume: f64) -> Plan {
    // Changes are on 2026-03-29 and 2026-10-25.
    let from = if chance.below(2) == 0 { (2026, 2, 9) } else { (2026, 9, 7) };
    clocks(chance, volume, "Europe/Berlin", from)
}

/// The same in New York.
pub(super) fn clocks_in_new_york(chance: &mut Chance, volume: f64) -> Plan {
    // Changes are on 2026-03-08 and 2026-11-01.
    let from = if chance.below(2) == 0 { (2026, 1, 19) } else { (2026, 9, 14) };
    clocks(chance, volume, "America/New_York", from)
}

const CAMPAIGN: Range<usize> = LEARNED_DAYS + 23..LEARNED_DAYS + 26;

/// A campaign of three days with 80 % more, which nothing announces.
pub(super) fn campaign_unplanned(chance: &mut Chance, volume: f64) -> Plan {
    let mut plan = Shop::of(volume).plan(chance);
    let hours = plan.days(CAMPAIGN);
    plan.scale(&SALES, hours.clone(), 1.8);
    plan.must(&SALES, hours);
    plan
}

/// The same, which people have said.
pub(super) fn campaign_planned(chance: &mut Chance, volume: f64) -> Plan {
    let mut plan = campaign_unplanned(chance, volume);
    plan.causes.clear();
    plan.announce(&[CAMPAIGN]);
    plan
}

/// Prices of what is bought rise by a quarter on the first of a month.
pub(super) fn price_list(chance: &mut Chance, volume: f64) -> Plan {
    let mut plan = Shop::of(volume).plan(chance);
    let (hour, day) = plan.date(2026, 3, 1);
    let end = plan.hours;
    plan.scale(&COST, hour..end, 1.25);
    let hours = plan.days(day..day + 7);
    plan.must(&COST, hours);
    plan
}

/// A tenant who leaves: from a day on there is nothing.
pub(super) fn leaves(chance: &mut Chance, volume: f64) -> Plan {
    let mut plan = Shop::of(volume).plan(chance);
    let day = LEARNED_DAYS + 24;
    let (from, end) = (plan.day(day) + 9, plan.hours);
    plan.scale(&ALL, from..end, 0.0);
    let hours = plan.days(day..day + 7);
    plan.must(&ALL, from..hours.end);
    plan
}
