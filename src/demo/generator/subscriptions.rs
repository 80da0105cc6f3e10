//! The life of a customer's subscriptions: all of it is known when the customer signs up.
//!
//! Guarantees: a customer has one subscription at a time. A row is one price: where the plan changes, one row ends at
//! the instant at which the next begins; where it pauses, the next begins later.

use super::diary::Dated;
use super::facts::{Customer, Fact, Row};
use super::mix::{Dice, mix, tag};
use super::world::{AMOUNT_ONE, DAY, HOUR, World};

/// Plans with the price of a seat in a month.
const PLANS: [(&str, i64); 3] = [("starter", 19), ("team", 59), ("scale", 149)];
const TRIAL: i64 = 14 * DAY;
/// A customer has no more rows than this.
const MOST: u32 = 8;

/// Writes the rows of one life down: `told` from an instant on, as if it had been so `since` another one, and no
/// further than `until`.
pub(crate) fn tell(
    world: &World,
    customer: Customer,
    (at, since, until): (i64, i64, i64),
    ids: &mut u64,
    told: &mut Vec<Dated>,
) {
    let seed = mix(world.seed, tag::SUBSCRIPTION, customer.tenant as u64);
    let mut dice = Dice::of(seed, tag::SUBSCRIPTION, customer.number);
    if !dice.chance(340) {
        return;
    }
    let mut begin = since + dice.delay(HOUR, 6 * DAY);
    let mut plan = dice.index(PLANS.len()).min(dice.index(PLANS.len()));
    let mut seats = dice.between(1, 12);
    let mut is_trial = dice.chance(350);
    for _ in 0..MOST {
        let mrr = PLANS[plan].1 * seats * AMOUNT_ONE;
        let end =
            begin + if is_trial { TRIAL } else { dice.between(35, 260) * DAY + dice.delay(0, DAY) };
        // What was over before anything is told, and what is too far away, is left out.
        if begin > until {
            return;
        }
        let fate = Fate::after(is_trial, &mut dice);
        if end > at {
            let id = *ids;
            *ids += 1;
            let row = |status, ended_at| Row::Subscription {
                customer,
                plan: PLANS[plan].0,
                status,
                mrr,
                started_at: begin,
                ended_at,
            };
            let fact = |is_new, row| Fact { id, tenant: Some(customer.tenant), is_new, row };
            let status = if is_trial { "trial" } else { "active" };
            told.push((begin.max(at + 1), fact(true, row(status, None))));
            if end <= until {
                let status = if is_trial { "trial" } else { fate.status() };
                told.push((end.max(at + 2), fact(false, row(status, Some(end)))));
            }
        }
        begin = match fate {
            Fate::Ends => return,
            Fate::Pauses => end + dice.delay(12 * DAY, 45 * DAY),
            Fate::Changes => {
                let change = dice.between(0, 3);
                seats = (seats + [1, 3, -1, 4][usize::try_from(change).unwrap_or(0)]).max(1);
                plan = if dice.chance(300) { (plan + 1) % PLANS.len() } else { plan };
                end
            }
            Fate::GoesOn => end,
        };
        is_trial = false;
    }
}

/// How a row ends.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// For good.
    Ends,
    Pauses,
    /// Another plan or number of seats follows.
    Changes,
    /// A trial becomes a subscription.
    GoesOn,
}

impl Fate {
    fn after(is_trial: bool, dice: &mut Dice) -> Fate {
        match (is_trial, dice.below(1000)) {
            (true, 0..600) => Fate::GoesOn,
            (true, _) | (false, 0..360) => Fate::Ends,
            (false, 360..520) => Fate::Pauses,
            (false, _) => Fate::Changes,
        }
    }

    fn status(self) -> &'static str {
        match self {
            Fate::Ends => "cancelled",
            Fate::Pauses => "paused",
            Fate::Changes | Fate::GoesOn => "changed",
        }
    }
}
