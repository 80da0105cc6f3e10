//! What happens by the calendar: orders and their steps, hourly bills, daily taxes and credits,
//! late charges, corrections and the charges of cost spikes.
//!
//! Guarantees: hour by hour from the first one, every hour's changes in order of their time; the
//! same hours whoever asks and in whatever order. Cost: about
//! 120 changes per hour for six tenants, kept in memory; an hour that is made is not made again.

use super::incidents::{self, IncidentKind, REACH_BACK, SPIKE_CHARGES};
use super::mix::{Dice, mix, tag};
use super::orders::Order;
use super::world::{ARRIVAL_SLOTS, HOUR, MINUTE, World};

/// A charge that the calendar brings (as opposed to the metering of the live part).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChargeKind {
    /// One service, one hour.
    Hourly { service: usize },
    /// The hour that `start` falls into, up to `start`; metering goes on from there.
    Partial { service: usize },
    /// Tax on the day that ended.
    Tax,
    /// A credit, every third day.
    Credit,
    /// A commitment bought, once a week.
    Purchase,
    /// The `n`th extra charge of an incident.
    Spike { incident: u64, n: i64, service: usize, factor: i64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) tenant: usize,
    pub(crate) hour: i64,
    pub(crate) kind: ChargeKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// The order's `step`th state; 0 inserts it.
    OrderStep {
        order: usize,
        step: usize,
    },
    OrderGone {
        order: usize,
    },
    OrderTombstone {
        order: usize,
    },
    /// Version 0 inserts the charge, later ones correct it.
    Charge {
        charge: Charge,
        version: u64,
    },
    ChargeGone {
        charge: Charge,
    },
    ChargeTombstone {
        charge: Charge,
    },
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Scheduled {
    pub(crate) at: i64,
    pub(crate) change: Change,
}

#[derive(Debug)]
pub(crate) struct Schedule {
    pub(crate) world: World,
    pub(crate) orders: Vec<Order>,
    start: i64,
    first: i64,
    first_hour: i64,
    hours: Vec<Vec<Scheduled>>,
    made: usize,
}

impl Schedule {
    /// The calendar from `first` on; incidents happen after `start`.
    pub(crate) fn new(world: World, first: i64, start: i64) -> Schedule {
        let first_hour = first.div_euclid(HOUR);
        Schedule { world, orders: vec![], start, first, first_hour, hours: vec![], made: 0 }
    }

    /// The changes of the `index`th hour since the first.
    pub(crate) fn hour(&mut self, index: usize) -> &[Scheduled] {
        while self.made <= index {
            self.make();
        }
        &self.hours[index]
    }

    /// When the `index`th hour ends.
    pub(crate) fn hour_end(&self, index: usize) -> i64 {
        (self.first_hour + 1 + i64::try_from(index).unwrap_or(i64::MAX / HOUR / 2)) * HOUR
    }

    fn make(&mut self) {
        let hour = self.hour_end(self.made) / HOUR - 1;
        self.place_orders(hour);
        for tenant in 0..self.world.tenants.len() {
            for service in 0..self.world.tenants[tenant].services {
                self.bill_hour(tenant, service, hour);
            }
            self.bill_day(tenant, hour);
        }
        let (from, to) = (hour * HOUR, hour * HOUR + HOUR);
        for t in incidents::troubles(&self.world, self.start, from, to) {
            if t.kind == IncidentKind::CostSpike && t.start >= from {
                for n in 0..SPIKE_CHARGES {
                    let kind = ChargeKind::Spike {
                        incident: t.number,
                        n,
                        service: t.service,
                        factor: t.factor,
                    };
                    self.charge(t.spike_at(n), Charge { tenant: t.tenant, hour, kind });
                }
            }
        }
        // Stable, so changes of the same microsecond keep the order in which they were made.
        self.hour_mut(self.made).sort_by_key(|scheduled| scheduled.at);
        self.made += 1;
    }

    fn place_orders(&mut self, hour: i64) {
        let slot_us = HOUR / ARRIVAL_SLOTS.cast_signed();
        let mut arrivals = vec![];
        for tenant in 0..self.world.tenants.len() {
            let chance = self.world.arrival_chance(tenant, hour);
            let seed = mix(self.world.seed, tag::ARRIVALS, tenant as u64);
            for slot in 0..ARRIVAL_SLOTS {
                let draw = mix(seed, hour.cast_unsigned(), slot);
                if draw >> 32 < chance {
                    let within = (draw & 0xffff_ffff).cast_signed() % slot_us;
                    arrivals.push((hour * HOUR + slot.cast_signed() * slot_us + within, tenant));
                }
            }
        }
        arrivals.retain(|(at, _)| *at >= self.first);
        arrivals.sort_unstable();
        let begin = hour * HOUR;
        let reached = begin + HOUR + REACH_BACK;
        let troubles = incidents::troubles(&self.world, self.start, begin, reached);
        for (at, tenant) in arrivals {
            let mut order = Order::place(&self.world, tenant, at, at.cast_unsigned());
            if troubles.iter().all(|trouble| order.suffer(self.world.seed, trouble)) {
                self.enter(order);
            }
        }
    }

    fn enter(&mut self, order: Order) {
        let number = self.orders.len();
        for (step, at) in order.steps.iter().map(|step| step.at).enumerate() {
            self.push(at, Change::OrderStep { order: number, step });
        }
        if let Some(at) = order.gone_at {
            self.push(at, Change::OrderGone { order: number });
            self.push(at, Change::OrderTombstone { order: number });
        }
        self.orders.push(order);
    }

    fn bill_hour(&mut self, tenant: usize, service: usize, hour: i64) {
        let end = hour * HOUR + HOUR;
        if end > self.start {
            if hour * HOUR < self.start {
                let kind = ChargeKind::Partial { service };
                self.charge(self.start - 1, Charge { tenant, hour, kind });
            }
            return;
        }
        let key = hour.cast_unsigned() * 8 + service as u64;
        let mut dice = Dice::of(mix(self.world.seed, tag::CHARGE, tenant as u64), tag::CHARGE, key);
        let late = dice.chance(25);
        let delay =
            if late { dice.delay(HOUR, 24 * HOUR) } else { dice.delay(MINUTE / 2, 4 * MINUTE) };
        let charge = Charge { tenant, hour, kind: ChargeKind::Hourly { service } };
        self.charge(end + delay, charge);
        if dice.chance(60) {
            let at = end + delay + dice.delay(HOUR, 30 * HOUR);
            self.push(at, Change::Charge { charge, version: 1 });
        } else if dice.chance(4) {
            let at = end + delay + dice.delay(HOUR, 6 * HOUR);
            self.push(at, Change::ChargeGone { charge });
            self.push(at, Change::ChargeTombstone { charge });
        }
    }

    fn bill_day(&mut self, tenant: usize, hour: i64) {
        if !self.world.starts_local_day(tenant, hour) {
            return;
        }
        let day = hour.div_euclid(24);
        let mut dice = Dice::of(
            mix(self.world.seed, tag::DAILY, tenant as u64),
            tag::DAILY,
            day.cast_unsigned(),
        );
        let mut add = |schedule: &mut Schedule, kind| {
            let at = hour * HOUR + dice.delay(5 * MINUTE, 50 * MINUTE);
            schedule.charge(at, Charge { tenant, hour, kind });
        };
        add(self, ChargeKind::Tax);
        if (day + tenant as i64) % 3 == 0 {
            add(self, ChargeKind::Credit);
        }
        if (day + tenant as i64) % 7 == 0 {
            add(self, ChargeKind::Purchase);
        }
    }

    fn charge(&mut self, at: i64, charge: Charge) {
        self.push(at, Change::Charge { charge, version: 0 });
    }

    fn push(&mut self, at: i64, change: Change) {
        if at < self.first {
            return;
        }
        let hour = usize::try_from(at.div_euclid(HOUR) - self.first_hour).unwrap_or(0);
        // Nothing is scheduled into an hour that was handed out.
        self.hour_mut(hour.max(self.made)).push(Scheduled { at, change });
    }

    fn hour_mut(&mut self, index: usize) -> &mut Vec<Scheduled> {
        if self.hours.len() <= index {
            self.hours.resize_with(index + 1, Vec::new);
        }
        &mut self.hours[index]
    }
}
