//! What happens by the calendar: orders and their steps, hourly bills, daily taxes and credits,
//! late charges, corrections and the charges of cost spikes, and the facts of all other tables.
//!
//! Guarantees: hour by hour from the first one, every hour's changes in order of their time; the
//! same hours whoever asks and in whatever order. Cost: about
//! 500 changes per hour for six tenants, kept in memory; an hour that is made is not made again.

use super::diary::Diary;
use super::facts::Fact;
use super::incidents::{self, IncidentKind, REACH_BACK, SPIKE_CHARGES};
use super::mix::{Dice, mix, tag};
use super::orders::Order;
use super::world::{DAY, HOUR, MINUTE, World};

/// Orders that were placed longer before `start` are told from where they were settled: a database's snapshot has no
/// history either, and a start must not take long.
const TOLD_WHOLE: i64 = 10 * DAY;
/// Charges of days longer ago are told as one a day.
const BILLED_BY_HOUR: i64 = 35 * DAY;

/// A charge that the calendar brings (as opposed to the metering of the live part).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChargeKind {
    /// One service, one hour; further back one service, one day.
    Hourly {
        service: usize,
    },
    Daily {
        service: usize,
    },
    /// The hour that `start` falls into, up to `start`; metering goes on from there.
    Partial {
        service: usize,
    },
    /// Tax on the day that ended.
    Tax,
    /// A credit, every third day.
    Credit,
    /// A commitment bought, once a week.
    Purchase,
    /// The `n`th extra charge of an incident.
    Spike {
        incident: u64,
        n: i64,
        service: usize,
        factor: i64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) tenant: usize,
    pub(crate) hour: i64,
    pub(crate) kind: ChargeKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// The order's `step`th state; the first that is told inserts it.
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
    /// A state of a row of the other tables, by its number among all of them.
    Fact(usize),
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
    pub(crate) facts: Vec<Fact>,
    diary: Diary,
    start: i64,
    /// Where orders and charges begin; the rest begins with the first hour.
    first: i64,
    first_hour: i64,
    hours: Vec<Vec<Scheduled>>,
    made: usize,
}

impl Schedule {
    /// The calendar: orders, charges and use from `first` on, customers and what they agree to from `sparse` on;
    /// incidents happen after `start`.
    pub(crate) fn new(world: World, (sparse, first): (i64, i64), start: i64) -> Schedule {
        let first_hour = sparse.min(first).div_euclid(HOUR);
        let diary = Diary::new(&world, first_hour, first, start);
        let (orders, facts, hours) = (vec![], vec![], vec![]);
        Schedule { world, orders, facts, diary, start, first, first_hour, hours, made: 0 }
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
        for (at, fact) in self.diary.hour(&self.world, hour) {
            let number = self.facts.len();
            self.facts.push(fact);
            self.push_any(at, Change::Fact(number));
        }
        if (hour + 1) * HOUR > self.first {
            self.place_orders(hour);
            self.bill(hour);
        }
        // Stable, so changes of the same microsecond keep the order in which they were made.
        self.hour_mut(self.made).sort_by_key(|scheduled| scheduled.at);
        self.made += 1;
    }

    fn bill(&mut self, hour: i64) {
        for tenant in 0..self.world.tenants.len() {
            for service in 0..self.world.tenants[tenant].services {
                self.bill_service(tenant, service, hour);
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
    }

    fn place_orders(&mut self, hour: i64) {
        let mut arrivals = vec![];
        for tenant in 0..self.world.tenants.len() {
            let seed = mix(self.world.seed, tag::ARRIVALS, tenant as u64);
            let draw = mix(seed, hour.cast_unsigned(), 0) >> 32;
            // As many as the level says, give or take one: few orders must not make noisy hours.
            let count = (self.world.arrivals(tenant, hour) + draw) >> 32;
            let apart = HOUR / count.max(1).cast_signed();
            for number in 0..count {
                let within = mix(seed, hour.cast_unsigned(), number + 1) >> 32;
                let within = within.cast_signed() % apart;
                arrivals.push((hour * HOUR + number.cast_signed() * apart + within, tenant));
            }
        }
        arrivals.retain(|(at, _)| *at >= self.first);
        arrivals.sort_unstable();
        let begin = hour * HOUR;
        let reached = begin + HOUR + REACH_BACK;
        let troubles = incidents::troubles(&self.world, self.start, begin, reached);
        for (at, tenant) in arrivals {
            let mut order = Order::place(&self.world, &self.diary, tenant, at);
            if troubles.iter().all(|trouble| order.suffer(self.world.seed, trouble)) {
                self.enter(order);
            }
        }
    }

    fn enter(&mut self, mut order: Order) {
        let number = self.orders.len();
        if order.placed_at() < self.start - TOLD_WHOLE {
            if order.gone_at.is_some() {
                return;
            }
            order.told_from = order.settled();
        }
        for (step, at) in order.steps.iter().map(|step| step.at).enumerate().skip(order.told_from) {
            self.push(at, Change::OrderStep { order: number, step });
        }
        if let Some(at) = order.gone_at {
            self.push(at, Change::OrderGone { order: number });
            self.push(at, Change::OrderTombstone { order: number });
        }
        self.orders.push(order);
    }

    fn bill_service(&mut self, tenant: usize, service: usize, hour: i64) {
        let end = hour * HOUR + HOUR;
        if end > self.start {
            if hour * HOUR < self.start {
                let kind = ChargeKind::Partial { service };
                self.charge(self.start - 1, Charge { tenant, hour, kind });
            }
            return;
        }
        let is_hourly = hour.div_euclid(24) >= (self.start - BILLED_BY_HOUR).div_euclid(DAY);
        if !is_hourly {
            if hour.rem_euclid(24) == 23 {
                let charge = Charge { tenant, hour, kind: ChargeKind::Daily { service } };
                self.charge(end + MINUTE, charge);
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
        if at >= self.first {
            self.push_any(at, change);
        }
    }

    fn push_any(&mut self, at: i64, change: Change) {
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
