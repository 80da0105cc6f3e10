//! What happens beside orders and charges, hour by hour: the [`Fact`]s of all other tables.
//!
//! Guarantees: a function of the world and the hours since the first one, asked for in their order. What an hour
//! brings is at or after its begin, and may reach into later hours.

use super::facts::{Customer, Fact, Row};
use super::mix::{Dice, mix, tag};
use super::subscriptions;
use super::text::civil;
use super::world::{AMOUNT_ONE, CAMPAIGNS, DAY, HOUR, MINUTE, ONE, SECOND, SERVICES, World};

/// How many come in a day, of all tenants together.
const CUSTOMERS_A_DAY: u64 = 12;
const OPPORTUNITIES_A_DAY: u64 = 8;
const EVENTS_A_DAY: u64 = 336;
const RUNS_A_DAY: u64 = 216;
/// Customers of all tenants together who are there at the begin.
const FIRST_CUSTOMERS: u64 = 1200;
/// Chances of an hour that something comes.
const CHANCES: u64 = 32;
/// Runs that ended longer ago are told by their end only.
const RUNS_TOLD: i64 = 2 * DAY;
/// Checks of services become more frequent near the start: so far apart, from so long before it on.
const CHECKS: [(i64, i64); 3] = [(i64::MAX, 4 * HOUR), (7 * DAY, HOUR), (0, 5 * MINUTE)];
/// How many services are checked.
const CHECKED: usize = 3;

const COUNTRIES: [(&str, u64); 6] =
    [("US", 340), ("DE", 220), ("GB", 160), ("FR", 120), ("NL", 90), ("JP", 70)];
const SEGMENTS: [(&str, u64); 3] = [("consumer", 620), ("business", 290), ("enterprise", 90)];
const KINDS: [(&str, u64); 4] =
    [("impression", 600), ("click", 230), ("engagement", 110), ("conversion", 60)];
/// What one unit of a currency is worth in dollars, in millionths.
const WORTH: [(&str, i64); 3] = [("USD", 1_000_000), ("EUR", 1_082_000), ("GBP", 1_271_000)];

/// A fact and when it is written.
pub(crate) type Dated = (i64, Fact);

/// The facts of the hours from some first one on.
#[derive(Debug)]
pub(crate) struct Diary {
    first_hour: i64,
    /// From when on events, runs and checks are told: there are many of them.
    dense: i64,
    start: i64,
    /// How many customers each tenant has, and had when the hour that is made began.
    customers: Vec<u64>,
    known: Vec<u64>,
    subscriptions: u64,
    opportunities: u64,
    events: u64,
    runs: u64,
    checks: u64,
}

impl Diary {
    pub(crate) fn new(world: &World, first_hour: i64, dense: i64, start: i64) -> Diary {
        let customers = vec![0; world.tenants.len()];
        Diary {
            first_hour,
            dense,
            start,
            known: customers.clone(),
            customers,
            subscriptions: 0,
            opportunities: 0,
            events: 0,
            runs: 0,
            checks: 0,
        }
    }

    /// One of the tenant's customers at the begin of the hour that is made, mostly one of the older ones: one who is there.
    pub(crate) fn customer(&self, tenant: usize, dice: &mut Dice) -> Customer {
        let number = dice.below(self.known[tenant].max(1)) * dice.below(1000) / 1000;
        Customer { tenant, number }
    }

    /// What the next hour brings, in no order.
    pub(crate) fn hour(&mut self, world: &World, hour: i64) -> Vec<Dated> {
        let mut told = Vec::new();
        if hour == self.first_hour {
            self.open(world, &mut told);
        }
        self.known.clone_from(&self.customers);
        for tenant in 0..world.tenants.len() {
            self.opportunities(world, tenant, hour, &mut told);
            if (hour + 1) * HOUR > self.dense {
                self.activity(world, tenant, hour, &mut told);
                self.runs(world, tenant, hour, &mut told);
                self.checks(world, tenant, hour, &mut told);
            }
            let mut dice =
                Dice::of(mix(world.seed, tag::CUSTOMER, tenant as u64), 0, hour.cast_unsigned());
            for at in arrivals(world, tenant, hour, CUSTOMERS_A_DAY, 1000, &mut dice) {
                self.sign_up(world, tenant, at, at, &mut told);
            }
        }
        if hour.rem_euclid(24) == 0 || hour == self.first_hour {
            budgets(world, hour, hour == self.first_hour, &mut told);
            rates(world, hour, &mut told);
        }
        told
    }

    /// Who is there when the first hour begins.
    fn open(&mut self, world: &World, told: &mut Vec<Dated>) {
        let begin = self.first_hour * HOUR;
        for tenant in 0..world.tenants.len() {
            for number in 0..(FIRST_CUSTOMERS * world.weight(tenant) / ONE).max(3) {
                let mut dice = Dice::of(mix(world.seed, tag::CUSTOMER, tenant as u64), 1, number);
                let since = begin - dice.between(0, 400) * DAY - dice.delay(0, DAY);
                self.sign_up(world, tenant, begin + number.cast_signed() + 1, since, told);
            }
        }
    }

    /// A customer who signed up at `since`, which is told at `at`.
    fn sign_up(
        &mut self,
        world: &World,
        tenant: usize,
        at: i64,
        since: i64,
        told: &mut Vec<Dated>,
    ) {
        let number = self.customers[tenant];
        self.customers[tenant] += 1;
        let customer = Customer { tenant, number };
        let mut dice = Dice::of(mix(world.seed, tag::CUSTOMER, tenant as u64), 2, number);
        let country = one_of(&COUNTRIES, &mut dice);
        let segment = one_of(&SEGMENTS, &mut dice);
        let row = |segment| Row::Customer { customer, country, segment, signed_up_at: since };
        let id = (tenant as u64) << 32 | number;
        let fact = |is_new, segment| Fact { id, tenant: Some(tenant), is_new, row: row(segment) };
        told.push((at, fact(true, segment)));
        if segment == "business" && dice.chance(150) {
            told.push((at + dice.delay(DAY, 40 * DAY), fact(false, "enterprise")));
        }
        let until = self.start.saturating_add(30 * DAY);
        subscriptions::tell(world, customer, (at, since, until), &mut self.subscriptions, told);
    }

    fn opportunities(&mut self, world: &World, tenant: usize, hour: i64, told: &mut Vec<Dated>) {
        let seed = mix(world.seed, tag::OPPORTUNITY, tenant as u64);
        let mut dice = Dice::of(seed, tag::OPPORTUNITY, hour.cast_unsigned());
        for at in arrivals(world, tenant, hour, OPPORTUNITIES_A_DAY, 1000, &mut dice) {
            let customer = self.customer(tenant, &mut dice);
            let amount =
                world.tenants[tenant].price * dice.between(8, 160) / AMOUNT_ONE * AMOUNT_ONE;
            let id = self.opportunities;
            self.opportunities += 1;
            let mut tell = |is_new, changed, (stage, probability), closed_at| {
                let row = Row::Opportunity {
                    customer,
                    stage,
                    amount,
                    probability,
                    opened_at: at,
                    closed_at,
                };
                told.push((changed, Fact { id, tenant: Some(tenant), is_new, row }));
            };
            tell(true, at, ("lead", 100), None);
            let qualified = at + dice.delay(DAY, 9 * DAY);
            tell(false, qualified, ("qualified", 300), None);
            let proposed = qualified + dice.delay(3 * DAY, 16 * DAY);
            tell(false, proposed, ("proposal", 600), None);
            let closed = proposed + dice.delay(2 * DAY, 20 * DAY);
            let end = if dice.chance(380) { ("won", 1000) } else { ("lost", 0) };
            tell(false, closed, end, Some(closed));
        }
    }

    fn activity(&mut self, world: &World, tenant: usize, hour: i64, told: &mut Vec<Dated>) {
        let seed = mix(world.seed, tag::ACTIVITY, tenant as u64);
        let mut dice = Dice::of(seed, tag::ACTIVITY, hour.cast_unsigned());
        let level = world.rhythm(tenant, hour);
        for at in arrivals(world, tenant, hour, EVENTS_A_DAY, level, &mut dice) {
            let user = self.customer(tenant, &mut dice).number;
            let kind = one_of(&KINDS, &mut dice);
            let campaign = (!dice.chance(150)).then(|| CAMPAIGNS[dice.index(CAMPAIGNS.len())]);
            let row = Row::Activity { user, kind, campaign, occurred_at: at };
            told.push((at, Fact { id: self.events, tenant: Some(tenant), is_new: true, row }));
            self.events += 1;
        }
    }

    fn runs(&mut self, world: &World, tenant: usize, hour: i64, told: &mut Vec<Dated>) {
        let seed = mix(world.seed, tag::RUN, tenant as u64);
        let mut dice = Dice::of(seed, tag::RUN, hour.cast_unsigned());
        let level = world.rhythm(tenant, hour);
        for at in arrivals(world, tenant, hour, RUNS_A_DAY, level, &mut dice) {
            let agent = dice.below(4) * dice.below(1000) / 700;
            let user = self.customer(tenant, &mut dice).number;
            let mut took = 9_000 + 4_000 * agent.cast_signed();
            for _ in 0..3 {
                took = took * dice.between(400, 1900) / 1000;
            }
            // Whole seconds, as a scheduler says it.
            let took = (took / 1000).max(1) * 1000;
            let ended = if dice.chance(40 + 12 * agent) { "failed" } else { "succeeded" };
            let id = self.runs;
            self.runs += 1;
            let mut tell = |is_new, at_change, status, took| {
                let row = Row::Run { agent, user, status, took, started_at: at };
                told.push((at_change, Fact { id, tenant: Some(tenant), is_new, row }));
            };
            let is_told = at >= self.start - RUNS_TOLD;
            if is_told {
                tell(true, at, "running", None);
            }
            tell(!is_told, at + took * 1000, ended, Some(took));
        }
    }

    fn checks(&mut self, world: &World, tenant: usize, hour: i64, told: &mut Vec<Dated>) {
        let before = self.start - hour * HOUR;
        let apart =
            CHECKS.iter().rev().find(|(since, _)| before <= *since).map_or(HOUR, |own| own.1);
        let begin = hour * HOUR;
        let checked = CHECKED.min(world.tenants[tenant].services);
        for (service, (name, ..)) in SERVICES.iter().enumerate().take(checked) {
            let key = (tenant * SERVICES.len() + service) as u64;
            let day = hour.div_euclid(24).cast_unsigned();
            // On some days a service is down for an hour or so.
            let mut dice = Dice::of(mix(world.seed, tag::CHECK, key), tag::CHECK, day);
            let down = dice.chance(60).then(|| dice.between(0, 23));
            let first = begin + (key.cast_signed() * 7 + 1) * SECOND;
            let at_times = (0..HOUR / apart.min(HOUR)).map(|n| first + n * apart);
            for at in at_times.filter(|at| (at / HOUR * HOUR).rem_euclid(apart.max(HOUR)) == 0) {
                let mut dice = Dice::of(mix(world.seed, tag::CHECK, key), 1, at.cast_unsigned());
                let is_down = down == Some(hour.rem_euclid(24)) || dice.chance(4);
                let row = Row::Check { service: name, up: !is_down, checked_at: at };
                told.push((at, Fact { id: self.checks, tenant: Some(tenant), is_new: true, row }));
                self.checks += 1;
            }
        }
    }
}

/// When something comes to a tenant within an hour that comes so many times a day to all, at this level (permille).
fn arrivals(
    world: &World,
    tenant: usize,
    hour: i64,
    a_day: u64,
    level: i64,
    dice: &mut Dice,
) -> Vec<i64> {
    let level = u64::try_from(level).unwrap_or(0);
    let chance = a_day * world.weight(tenant) * level / 1000 / 24 / CHANCES;
    let part = HOUR / CHANCES.cast_signed();
    let mut times = Vec::new();
    for n in 0..CHANCES.cast_signed() {
        if dice.below(ONE) < chance {
            times.push(hour * HOUR + n * part + dice.delay(0, part - SECOND));
        }
    }
    times
}

fn one_of(words: &[(&'static str, u64)], dice: &mut Dice) -> &'static str {
    let roll = dice.below(1000);
    let mut below = 0;
    let found = words.iter().find(|(_, permille)| {
        below += permille;
        roll < below
    });
    found.or(words.first()).map_or("", |(word, _)| word)
}

/// The first day of a day's month, and of the next one.
fn month(day: i64) -> (i64, i64) {
    let first = day + 1 - civil(day).2;
    // Every month is over within 31 days and has 28.
    let next = (28..=31).map(|days| first + days).find(|day| civil(*day).2 == 1);
    (first, next.unwrap_or(first + 31))
}

/// Budgets of the services: for the month that begins, and now and then a better one in its middle.
fn budgets(world: &World, hour: i64, is_first: bool, told: &mut Vec<Dated>) {
    let day = hour.div_euclid(24);
    let (first, next) = month(day);
    let is_middle = day == first + 9;
    if !(is_first || day == first || is_middle) {
        return;
    }
    for (tenant, who) in world.tenants.iter().enumerate() {
        for (service, (name, ..)) in SERVICES.iter().enumerate().take(who.services) {
            let key = (tenant * SERVICES.len() + service) as u64;
            let mut dice =
                Dice::of(mix(world.seed, tag::BUDGET, key), tag::BUDGET, first.cast_unsigned());
            let (planned, is_revised) = (dice.between(940, 1090), dice.chance(200));
            let noon = (first * 24 + 14 * 24 + 12) * HOUR;
            // Costs have ten decimals, amounts four.
            let cost = world.cost(tenant, service, noon / HOUR) / 1_000_000 * 24 * (next - first);
            let (is_new, factor) = match is_middle && !is_first {
                true if is_revised => (false, planned * 105 / 100),
                true => continue,
                false => (true, planned),
            };
            let amount = (cost / 1000 * factor / AMOUNT_ONE).max(1) * AMOUNT_ONE;
            let row = Row::Budget { service: name, amount, from: first * DAY, to: next * DAY };
            let id = first.cast_unsigned() << 16 | key;
            let at = hour * HOUR + key.cast_signed() + 1;
            told.push((at, Fact { id, tenant: Some(tenant), is_new, row }));
        }
    }
}

/// The rates of a day, of each currency into each other one.
fn rates(world: &World, hour: i64, told: &mut Vec<Dated>) {
    let day = hour.div_euclid(24);
    let worth = |currency: usize| {
        // Between the first days of two weeks it goes straight.
        let of_week = |week: i64| {
            let mut dice = Dice::of(
                mix(world.seed, tag::RATE, currency as u64),
                tag::RATE,
                week.cast_unsigned(),
            );
            WORTH[currency].1 / 1000 * if currency == 0 { 1000 } else { dice.between(975, 1025) }
        };
        let (week, within) = (day.div_euclid(7), day.rem_euclid(7));
        (of_week(week) * (7 - within) + of_week(week + 1) * within) / 7
    };
    let pairs = (0..WORTH.len() * WORTH.len()).map(|n| (n / WORTH.len(), n % WORTH.len()));
    for (n, (from, to)) in pairs.filter(|(from, to)| from != to).enumerate() {
        let rate = worth(from) * 10_000_000_000 / worth(to);
        let row = Row::Rate { from: WORTH[from].0, to: WORTH[to].0, day, rate };
        let at = hour * HOUR + n as i64 + 1;
        let id = day.cast_unsigned() << 8 | n as u64;
        told.push((at, Fact { id, tenant: None, is_new: true, row }));
    }
}
