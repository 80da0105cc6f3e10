//! How large a change must be to be found: single buckets, and two in a row, so many standard deviations off.
//!
//! # Guarantees
//! - A bucket is set to its mean and so many of the standard deviations that its law has; which way is chance,
//!   but never below nothing.

use schemas::Grain;

use super::plan::{CHARGE, LEARNED_DAYS, Plan, Shop, cents, wave};
use super::play::play;
use super::{Power, VOLUMES};
use crate::chance::Chance;

const SIGMAS: [f64; 6] = [3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
/// Days between two of them: what one teaches must not hide the next.
const APART: usize = 25;
/// What money is off by.
const NOISE: f64 = 0.05;

/// The curve, from so many shops of each volume for each point.
pub(super) fn curve(seed: u64, shops: usize) -> Vec<Power> {
    let mut curve = Vec::new();
    for grain in [Grain::Hour, Grain::Day] {
        for buckets in [1, 2] {
            for sigmas in SIGMAS {
                let mut power = Power { grain, buckets, sigmas, tried: 0, found: 0 };
                for (at, volume) in VOLUMES.iter().enumerate() {
                    for shop in 0..shops {
                        let salt = (at * shops + shop) as u64;
                        let mut chance = Chance::new(seed.wrapping_mul(1_000_003) ^ salt);
                        add(&mut power, &mut chance, *volume);
                    }
                }
                curve.push(power);
            }
        }
    }
    curve
}

/// One bucket that is off, or a few: its line, and the hours that it has.
struct Event {
    kpi: &'static str,
    hours: std::ops::Range<usize>,
}

fn add(power: &mut Power, chance: &mut Chance, volume: f64) {
    let shop = Shop { days: LEARNED_DAYS + 60, ..Shop::of(volume) };
    let (mut plan, events) = match power.grain {
        Grain::Hour => hours(shop, power, chance),
        _ => days(shop, power, chance),
    };
    plan.lines.retain(|line| line.kpi != "revenue_booked");
    let openings = play(&plan);
    for event in events {
        let is_found = openings.iter().any(|own| {
            let hour = plan.hour(own.bucket);
            *own.kpi == *event.kpi && own.grain == power.grain && event.hours.contains(&hour)
        });
        power.tried += 1;
        power.found += usize::from(is_found);
    }
}

/// Poisson's counts and money that is off by [`NOISE`], of which some hours are too far off.
fn hours(shop: Shop, power: &Power, chance: &mut Chance) -> (Plan, Vec<Event>) {
    let mut plan = Shop { restless: 0.0, moody: 0.0, ..shop }.plan(chance);
    let first = plan.periods().day(plan.start);
    let mean = |plan: &Plan, hour: usize| {
        let day = first + i64::try_from(hour / 24).unwrap_or(0);
        shop.volume * wave(day, plan.clock(hour))
    };
    for line in plan.places(&["total_cost"]) {
        for hour in 0..plan.hours {
            let value = cents(mean(&plan, hour) * CHARGE * (1.0 + NOISE * chance.normal()));
            set(&mut plan, line, hour, value);
        }
    }
    let mut events = Vec::new();
    for kpi in ["orders", "total_cost"] {
        for day in (LEARNED_DAYS + 5..LEARNED_DAYS + 55).step_by(APART) {
            let from = plan.day(day) + chance.below(20);
            let sign = if chance.below(2) == 0 { -1.0 } else { 1.0 };
            for hour in from..from + power.buckets {
                let (mean, sigma) = match kpi {
                    "orders" => (mean(&plan, hour), mean(&plan, hour).sqrt()),
                    _ => (mean(&plan, hour) * CHARGE, mean(&plan, hour) * CHARGE * NOISE),
                };
                let low = mean - power.sigmas * sigma;
                let high = mean + power.sigmas * sigma;
                let value = if sign < 0.0 && low > 0.0 { low } else { high };
                let value = if kpi == "orders" { value.round() } else { cents(value) };
                for line in plan.places(&[kpi]) {
                    set(&mut plan, line, hour, value);
                }
            }
            events.push(Event { kpi, hours: from..from + power.buckets });
        }
    }
    (plan, events)
}

/// Money whose days are off by [`NOISE`] as a whole.
fn days(shop: Shop, power: &Power, chance: &mut Chance) -> (Plan, Vec<Event>) {
    let mut plan = Shop { restless: 0.0, moody: NOISE, ..shop }.plan(chance);
    let mut events = Vec::new();
    for day in (LEARNED_DAYS + 5..LEARNED_DAYS + 55).step_by(APART) {
        let day = day + chance.below(4);
        let sign = if chance.below(2) == 0 { -1.0 } else { 1.0 };
        for day in day..day + power.buckets {
            for hour in plan.days(day..day + 1) {
                let number = plan.periods().day(plan.at(hour));
                let mean = shop.volume * CHARGE * wave(number, plan.clock(hour));
                for line in plan.places(&["total_cost"]) {
                    let value = cents(mean * (1.0 + sign * power.sigmas * NOISE));
                    set(&mut plan, line, hour, value);
                }
            }
        }
        events.push(Event { kpi: "total_cost", hours: plan.days(day..day + power.buckets) });
    }
    (plan, events)
}

fn set(plan: &mut Plan, line: usize, hour: usize, value: f64) {
    let held = plan.lines.get_mut(line).and_then(|line| line.hours.get_mut(hour));
    held.into_iter().for_each(|held| *held = value);
}
