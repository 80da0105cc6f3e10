//! The lines of an order: what was bought.
//!
//! Guarantees: quantities times unit prices of an order's lines add up to its amount, to the last decimal and
//! whatever the amount is at the moment; quantities, products and categories stay as they were bought.

use super::mix::{Dice, mix, tag};
use super::orders::{Order, Step};

/// Categories with their share of lines (permille), and how many products each has.
const CATEGORIES: [(&str, u64, u64); 5] = [
    ("clothing", 340, 60),
    ("home", 240, 40),
    ("electronics", 190, 25),
    ("books", 140, 80),
    ("gift-cards", 90, 4),
];
/// The cent in the four decimals of amounts.
const CENT: i64 = 100;
/// What every line but the first has of the amount, permille.
const SHARE: i64 = 240;

/// A line of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) product: u64,
    pub(crate) category: &'static str,
    pub(crate) quantity: i64,
    /// In the four decimals of amounts.
    pub(crate) unit_price: i64,
}

/// How many lines an order has: most have one.
pub(crate) fn count(seed: u64, order: &Order) -> u8 {
    match dice(seed, order, 0).below(1000) {
        0..740 => 1,
        740..930 => 2,
        _ => 3,
    }
}

/// The `index`th line of an order whose amount is `amount` at `step`: the first line takes what the others leave.
pub(crate) fn line(seed: u64, order: &Order, step: &Step, amount: i64, index: u8) -> Line {
    let other = |index: u8| {
        let quantity = dice(seed, order, u64::from(index) + 100).between(1, 3);
        let price = step.amount * SHARE / 1000 / quantity / CENT * CENT;
        (quantity, price)
    };
    let others = (1..count(seed, order)).map(other);
    let rest = amount - others.map(|(quantity, price)| quantity * price).sum::<i64>();
    let (quantity, unit_price) = if index == 0 { (1, rest) } else { other(index) };
    let mut dice = dice(seed, order, u64::from(index) + 1);
    let roll = dice.below(1000);
    let mut below = 0;
    let found = CATEGORIES.iter().find(|(_, permille, _)| {
        below += permille;
        roll < below
    });
    let (category, _, products) = *found.unwrap_or(&CATEGORIES[0]);
    Line { product: dice.below(products), category, quantity, unit_price }
}

fn dice(seed: u64, order: &Order, purpose: u64) -> Dice {
    let tenant = order.tenant as u64;
    Dice::of(mix(seed, tag::LINE, tenant), purpose, order.placed_at().cast_unsigned())
}
