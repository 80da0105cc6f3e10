//! The life of an order: all its changes are known when it is placed.
//!
//! Guarantees: statuses follow placed -> paid -> shipped -> recognized -> refunded (shipped may be
//! skipped), with cancellation before recognition; times strictly increase; a deleted order has no
//! change after its deletion. What an order is at an instant is a pure function of it.

use super::diary::Diary;
use super::facts::Customer;
use super::incidents::{IncidentKind, REACH_BACK, Trouble};
use super::mix::{Dice, mix, tag};
use super::world::{AMOUNT_ONE, CAMPAIGNS, CHANNELS, DAY, HOUR, MINUTE, SECOND, World};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OrderStatus {
    Placed,
    Paid,
    Shipped,
    Recognized,
    Cancelled,
    Refunded,
}

/// One change of an order: from `at` on it has this status and amount.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) at: i64,
    pub(crate) status: OrderStatus,
    pub(crate) amount: i64,
}

#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) tenant: usize,
    pub(crate) channel: usize,
    pub(crate) campaign: Option<&'static str>,
    pub(crate) currency: &'static str,
    pub(crate) customer: Option<Customer>,
    pub(crate) kind: &'static str,
    /// What it costs the shop, permille of the amount; None where nobody knows.
    pub(crate) cost: Option<i64>,
    /// The first one is the placement.
    pub(crate) steps: Vec<Step>,
    /// The first step that is told.
    pub(crate) told_from: usize,
    pub(crate) gone_at: Option<i64>,
    /// A discount error hits an order once.
    discounted: bool,
}

impl OrderStatus {
    pub(crate) fn text(self) -> &'static str {
        match self {
            OrderStatus::Placed => "placed",
            OrderStatus::Paid => "paid",
            OrderStatus::Shipped => "shipped",
            OrderStatus::Recognized => "recognized",
            OrderStatus::Cancelled => "cancelled",
            OrderStatus::Refunded => "refunded",
        }
    }

    /// Open orders still change by themselves.
    pub(crate) fn open(self) -> bool {
        matches!(self, OrderStatus::Placed | OrderStatus::Paid | OrderStatus::Shipped)
    }
}

impl Order {
    /// The order that `tenant` takes at `at`, which makes its fate.
    pub(crate) fn place(world: &World, diary: &Diary, tenant: usize, at: i64) -> Order {
        let id = at.cast_unsigned();
        let mut dice = Dice::of(mix(world.seed, tag::ORDER, tenant as u64), tag::ORDER, id);
        let who = &world.tenants[tenant];
        let roll = dice.below(1000);
        let mut below = 0;
        let channel = CHANNELS.iter().position(|(_, permille)| {
            below += permille;
            roll < below
        });
        let campaign = dice.chance(380).then(|| CAMPAIGNS[dice.index(CAMPAIGNS.len())]);
        let second = who.second_currency.filter(|_| dice.chance(300));
        let customer = (!dice.chance(40)).then(|| diary.customer(tenant, &mut dice));
        let kind = match dice.below(1000) {
            0..780 => "one_time",
            780..910 => "recurring",
            _ => "subscription",
        };
        let cost = (!dice.chance(30)).then(|| dice.between(480, 720));
        let mut order = Order {
            tenant,
            channel: channel.unwrap_or(0),
            campaign,
            currency: second.unwrap_or(who.currency),
            customer,
            kind,
            cost,
            told_from: 0,
            steps: vec![Step {
                at,
                status: OrderStatus::Placed,
                amount: amount(who.price, &mut dice),
            }],
            gone_at: None,
            discounted: false,
        };
        order.live_out(&mut dice);
        order
    }

    pub(crate) fn placed_at(&self) -> i64 {
        self.steps[0].at
    }

    /// The step at which its revenue was recognized, or the last one.
    pub(crate) fn settled(&self) -> usize {
        let recognized = self.steps.iter().position(|step| step.status == OrderStatus::Recognized);
        recognized.unwrap_or(self.steps.len() - 1)
    }

    /// Whether its amount is another one at the `step`th state than before.
    pub(crate) fn reprices_at(&self, step: usize) -> bool {
        let before = step.checked_sub(1).and_then(|before| self.steps.get(before));
        before.zip(self.steps.get(step)).is_some_and(|(before, now)| before.amount != now.amount)
    }

    /// The last change at or before `at`; before the placement, the placement.
    pub(crate) fn step_at(&self, at: i64) -> &Step {
        self.steps.iter().rev().find(|step| step.at <= at).unwrap_or(&self.steps[0])
    }

    /// When revenue was recognized, as known at `at`.
    pub(crate) fn recognized_at(&self, at: i64) -> Option<i64> {
        let step = self.steps.iter().find(|step| step.status == OrderStatus::Recognized)?;
        (step.at <= at).then_some(step.at)
    }

    pub(crate) fn gone(&self, at: i64) -> bool {
        self.gone_at.is_some_and(|gone| gone <= at)
    }

    /// What the incident does to the order. False: the order is never placed.
    pub(crate) fn suffer(&mut self, seed: u64, trouble: &Trouble) -> bool {
        let placed = self.placed_at();
        if self.tenant != trouble.tenant
            || placed >= trouble.end
            || placed + REACH_BACK < trouble.start
        {
            return true;
        }
        let during = placed >= trouble.start;
        let mut dice =
            Dice::of(mix(seed, tag::STRIKE, trouble.number), tag::STRIKE, placed.cast_unsigned());
        let hit = trouble.start + dice.delay(SECOND, 50 * SECOND);
        match trouble.kind {
            IncidentKind::CostSpike => {}
            IncidentKind::OrderDrop if self.channel != trouble.channel => {}
            IncidentKind::OrderDrop if during => return false,
            IncidentKind::OrderDrop => self.cancel(hit),
            IncidentKind::PaymentOutage => {
                let (start, end) = (trouble.start, trouble.end);
                let paid = |s: &&Step| s.status == OrderStatus::Paid && s.at >= start && s.at < end;
                if let Some(at) = self.steps.iter().find(paid).map(|step| step.at) {
                    self.cancel(at);
                } else if !during && dice.chance(850) {
                    self.cancel(hit);
                }
            }
            IncidentKind::DiscountError if self.discounted => {}
            IncidentKind::DiscountError if during => {
                self.discounted = true;
                self.steps.iter_mut().for_each(|step| step.amount /= trouble.factor);
            }
            IncidentKind::DiscountError => self.reprice(hit, trouble.factor),
        }
        true
    }

    fn cancel(&mut self, at: i64) {
        let Step { status, amount, .. } = *self.step_at(at - 1);
        if status.open() && !self.gone(at) {
            self.steps.retain(|step| step.at < at);
            self.steps.push(Step { at, status: OrderStatus::Cancelled, amount });
            self.gone_at = None;
        }
    }

    fn reprice(&mut self, at: i64, divisor: i64) {
        let Step { status, amount, .. } = *self.step_at(at);
        if status.open() && !self.gone(at) {
            self.discounted = true;
            let next = self.steps.iter().position(|step| step.at >= at).unwrap_or(self.steps.len());
            self.steps[next..].iter_mut().for_each(|step| step.amount /= divisor);
            self.steps.insert(next, Step { at, status, amount: amount / divisor });
            // The one the clock already shows at `at` keeps its place after the new price.
            if let Some(step) = self.steps.get_mut(next + 1).filter(|step| step.at == at) {
                step.at += 1;
            }
        }
    }

    fn live_out(&mut self, dice: &mut Dice) {
        let placed = self.placed_at();
        match dice.below(1000) {
            0..12 => {
                self.gone_at = Some(placed + dice.delay(20 * MINUTE, 3 * HOUR));
                return;
            }
            12..72 => {
                return self
                    .then(placed + dice.delay(10 * MINUTE, 4 * HOUR), OrderStatus::Cancelled);
            }
            72..100 => {
                self.pay(dice);
                let at = placed + dice.delay(HOUR, 8 * HOUR);
                return self.then(at, OrderStatus::Cancelled);
            }
            _ => self.pay(dice),
        }
        if dice.chance(60) {
            let corrected = self.steps[0].amount / 1000 * dice.between(700, 1150);
            let at = placed + dice.delay(30 * MINUTE, 90 * MINUTE);
            self.steps.push(Step { at, status: OrderStatus::Paid, amount: corrected });
        }
        // The store hands the goods over at once, and part of the rest is digital.
        if self.channel != 3 && dice.chance(700) {
            self.then(placed + dice.delay(2 * HOUR, 18 * HOUR), OrderStatus::Shipped);
        }
        self.then(placed + dice.delay(20 * HOUR, 32 * HOUR), OrderStatus::Recognized);
        if dice.chance(35) {
            self.then(placed + dice.delay(3 * DAY, 8 * DAY), OrderStatus::Refunded);
        }
    }

    fn pay(&mut self, dice: &mut Dice) {
        // Most pay at once, some by transfer within minutes.
        let quick = dice.chance(800);
        let longest = if quick { 90 * SECOND } else { 12 * MINUTE };
        self.then(self.placed_at() + dice.delay(8 * SECOND, longest), OrderStatus::Paid);
    }

    fn then(&mut self, at: i64, status: OrderStatus) {
        let amount = self.steps.last().map_or(0, |step| step.amount);
        self.steps.push(Step { at, status, amount });
    }
}

/// An amount around `price`: many small baskets, few large ones, prices that end in 9, 5 or 0.
fn amount(price: i64, dice: &mut Dice) -> i64 {
    // The product of three factors with mean 1 leans to the left like real baskets do.
    let mut permille = 1000;
    for _ in 0..3 {
        permille = permille * dice.between(600, 1400) / 1000;
    }
    let raw = price / 1000 * permille;
    let cents = [9900, 9500, 9000, 5000, 0][dice.index(5)];
    (raw / AMOUNT_ONE * AMOUNT_ONE + cents).max(AMOUNT_ONE)
}
