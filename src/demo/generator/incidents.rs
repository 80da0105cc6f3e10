//! What goes wrong in the live part, and when: a function of the seed.
//!
//! Guarantees: in the first twelve minutes of business time after `start` one incident begins every
//! three minutes, one of each kind and the first 15 to 30 seconds after `start`; later one every
//! quarter of an hour, so that the hours have a normal state to come back to. Kinds take turns,
//! cost spikes first. An incident leaves no mark in the events but its effect.
//!
//! A disturbance of two minutes cannot be seen in an hour bucket by its rate alone. So each kind
//! has an effect of the size of an hour: a cost spike bills hours of a service at once, and the
//! order incidents also reach back to the orders of the last two hours (cancelled or repriced),
//! and they befall tenants whose shops are busy at that hour.

use std::fmt;

use schemas::Micros;

use super::mix::{Dice, mix, tag};
use super::world::{CHANNELS, HOUR, MINUTE, SECOND, SERVICES, World};

/// One incident in each of the first windows, and then one in each of the later, longer ones.
const FIRST_WINDOW: i64 = 3 * MINUTE;
const FIRST_WINDOWS: i64 = 4;
const LATER_WINDOW: i64 = 15 * MINUTE;
/// How far back an incident reaches to open orders.
pub(crate) const REACH_BACK: i64 = 2 * HOUR;
/// Incidents befall the largest of the tenants.
const LARGEST: usize = 6;
/// More incidents than this are not listed (ten days of them).
const MAX_LISTED: i64 = 960;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IncidentKind {
    /// A service of a tenant bills `factor` times its hour: extra `Usage` charges worth
    /// `factor - 1` hours. Moves `total_cost` and `cost_by_service` of the hour.
    CostSpike,
    /// A channel of a tenant takes no orders, and its open ones of the last two hours are
    /// cancelled.
    OrderDrop,
    /// No order of a tenant reaches `paid`, and most open ones of the last two hours are cancelled.
    PaymentOutage,
    /// New orders and the open orders of the last two hours get a tenth of their amount.
    DiscountError,
}

impl fmt::Display for IncidentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IncidentKind::CostSpike => "cost_spike",
            IncidentKind::OrderDrop => "order_drop",
            IncidentKind::PaymentOutage => "payment_outage",
            IncidentKind::DiscountError => "discount_error",
        })
    }
}

/// One incident, in business time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Incident {
    pub(crate) kind: IncidentKind,
    pub(crate) tenant: String,
    /// The service of a cost spike.
    pub(crate) service: Option<&'static str>,
    /// The channel of an order drop.
    pub(crate) channel: Option<&'static str>,
    /// Cost spike: the multiple (3 to 6). Discount error: the divisor. Otherwise 1.
    pub(crate) factor: i64,
    pub(crate) start: Micros,
    pub(crate) end: Micros,
}

/// An incident in the generator's own terms.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trouble {
    pub(crate) number: u64,
    pub(crate) kind: IncidentKind,
    pub(crate) tenant: usize,
    pub(crate) service: usize,
    pub(crate) channel: usize,
    pub(crate) factor: i64,
    pub(crate) start: i64,
    pub(crate) end: i64,
}

/// Cost of one charge of a spike, and how many there are.
pub(crate) const SPIKE_CHARGES: i64 = 12;

/// The incident of window `number` after `start`.
pub(crate) fn trouble(world: &World, start: i64, number: u64) -> Trouble {
    let mut dice = Dice::of(mix(world.seed, tag::INCIDENT, 0), tag::INCIDENT, number);
    let kind = match number % 4 {
        0 => IncidentKind::CostSpike,
        1 => IncidentKind::DiscountError,
        2 => IncidentKind::OrderDrop,
        _ => IncidentKind::PaymentOutage,
    };
    let begin = start.saturating_add(window_start(number.cast_signed()));
    let tenant = busy_tenant(world, begin.div_euclid(HOUR), &mut dice);
    let begin = begin + dice.delay(15 * SECOND, 30 * SECOND);
    let end = begin + dice.delay(MINUTE, 2 * MINUTE);
    let factor = match kind {
        IncidentKind::CostSpike => dice.between(3, 6),
        IncidentKind::DiscountError => 10,
        IncidentKind::OrderDrop | IncidentKind::PaymentOutage => 1,
    };
    let service = dice.index(3);
    let channel = dice.index(2);
    Trouble { number, kind, tenant, service, channel, factor, start: begin, end }
}

/// One of the largest tenants, by the orders of the hour before: an incident in a shop that sleeps
/// would be noise.
fn busy_tenant(world: &World, hour: i64, dice: &mut Dice) -> usize {
    let weight = |tenant: usize| (world.arrivals(tenant, hour - 1) >> 25) + 1;
    let candidates = 0..world.tenants.len().min(LARGEST);
    let mut draw = dice.below(candidates.clone().map(weight).sum());
    for tenant in candidates {
        match draw.checked_sub(weight(tenant)) {
            Some(rest) => draw = rest,
            None => return tenant,
        }
    }
    0
}

/// When window `number` begins, after `start`.
fn window_start(number: i64) -> i64 {
    let later = (number - FIRST_WINDOWS).max(0).saturating_mul(LATER_WINDOW);
    later.saturating_add(number.min(FIRST_WINDOWS) * FIRST_WINDOW)
}

/// The window that an instant after `start` falls into; negative before `start`.
fn window(after: i64) -> i64 {
    let later = after - FIRST_WINDOWS * FIRST_WINDOW;
    if later < 0 { after.div_euclid(FIRST_WINDOW) } else { FIRST_WINDOWS + later / LATER_WINDOW }
}

/// The incidents whose window touches `[from, to)`, in order.
pub(crate) fn troubles(world: &World, start: i64, from: i64, to: i64) -> Vec<Trouble> {
    let first = window(from - start).max(0);
    let last = window(to - start).min(first.saturating_add(MAX_LISTED));
    (first..=last.max(first - 1))
        .map(|n| trouble(world, start, n.cast_unsigned()))
        .filter(|t| t.start < to && t.end > from)
        .collect()
}

impl Trouble {
    /// The incident as others may know it.
    pub(crate) fn publish(&self, world: &World) -> Incident {
        let spike = self.kind == IncidentKind::CostSpike;
        let drop = self.kind == IncidentKind::OrderDrop;
        Incident {
            kind: self.kind,
            tenant: world.tenants[self.tenant].name.clone(),
            service: spike.then(|| SERVICES[self.service].0),
            channel: drop.then(|| CHANNELS[self.channel].0),
            factor: self.factor,
            start: Micros(self.start),
            end: Micros(self.end),
        }
    }

    /// When the `n`th charge of a spike arrives: within the first minute.
    pub(crate) fn spike_at(&self, n: i64) -> i64 {
        self.start + n * (MINUTE / SPIKE_CHARGES)
    }
}
