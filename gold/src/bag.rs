//! Bags: how often each value of a column is among the rows of a cell.
//!
//! What no sum tells follows from them: the least value, the greatest, percentiles. It is written
//! into a sum of the cell, so that nothing else needs to know of bags.
//!
//! # Guarantees
//! - A value that is put in and taken out leaves nothing behind; the order does not matter.
//!
//! # Non-guarantees
//! - Every different value of every cell is held in memory.

use std::collections::BTreeMap;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use expr::Value;
use views::percentile::{cut, place};

/// What is read from a bag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extract {
    /// The least, a number.
    Least,
    /// The greatest.
    Greatest,
    /// The least that so many millionths are not above, of values that may be cut.
    Percentile { millionths: u32, cuts: bool },
}

/// The bags of a cube: by cell, and by the sum that a bag feeds.
#[derive(Debug)]
pub(crate) struct Bags(HashMap<(u32, u32), Values, FixedState>);

/// How often each value is there, never 0.
#[derive(Debug, Default)]
struct Values(BTreeMap<i128, u64>);

/// What a value that comes or goes does to the numbers of a cell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Shift {
    /// What was read from the bag before, and is read now.
    pub(crate) from: i128,
    pub(crate) to: i128,
}

impl Default for Bags {
    fn default() -> Bags {
        Bags(HashMap::with_hasher(FixedState::with_seed(0xba6)))
    }
}

impl Bags {
    /// Puts a value into a bag, or takes it out; `None` when it is not there to be taken.
    pub(crate) fn change(
        &mut self,
        at: (u32, u32),
        extract: Extract,
        value: &Value<'_>,
        comes: bool,
    ) -> Option<Shift> {
        let values = self.0.entry(at).or_default();
        let from = values.read(extract);
        let is_done = values.change(extract, value, comes);
        let to = values.read(extract);
        if values.0.is_empty() {
            self.0.remove(&at);
        }
        is_done.then_some(Shift { from, to })
    }
}

impl Bags {
    /// Puts the values of one bag into another one of the same kind, or takes them out.
    pub(crate) fn merge(
        &mut self,
        from: (u32, u32),
        to: (u32, u32),
        extract: Extract,
        comes: bool,
    ) -> Shift {
        // Taken out for as long as the other one is written.
        let Some(values) = self.0.remove(&from) else { return Shift::default() };
        let own = self.0.entry(to).or_default();
        let before = own.read(extract);
        own.merge(&values, comes);
        let shift = Shift { from: before, to: own.read(extract) };
        if own.0.is_empty() {
            self.0.remove(&to);
        }
        self.0.insert(from, values);
        shift
    }

    /// Forgets a bag.
    pub(crate) fn remove(&mut self, at: (u32, u32)) {
        self.0.remove(&at);
    }
}

impl Values {
    /// Adds how often each value is there, or takes it away.
    fn merge(&mut self, other: &Values, comes: bool) {
        for (value, count) in &other.0 {
            if comes {
                *self.0.entry(*value).or_default() += count;
            } else if let Some(held) = self.0.get_mut(value) {
                *held = held.saturating_sub(*count);
                if *held == 0 {
                    self.0.remove(value);
                }
            }
        }
    }

    fn read(&self, extract: Extract) -> i128 {
        match extract {
            Extract::Least => self.0.first_key_value().map_or(0, |(value, _)| *value),
            Extract::Greatest => self.0.last_key_value().map_or(0, |(value, _)| *value),
            Extract::Percentile { millionths, .. } => percentile(&self.0, millionths),
        }
    }

    /// Whether it could be done.
    fn change(&mut self, extract: Extract, value: &Value<'_>, comes: bool) -> bool {
        let Some(number) = value.number() else { return false };
        let cuts = matches!(extract, Extract::Percentile { cuts: true, .. });
        let number = if cuts { cut(number) } else { number };
        if comes {
            *self.0.entry(number).or_default() += 1;
            return true;
        }
        let Some(count) = self.0.get_mut(&number) else { return false };
        *count -= 1;
        if *count == 0 {
            self.0.remove(&number);
        }
        true
    }
}

fn percentile(values: &BTreeMap<i128, u64>, millionths: u32) -> i128 {
    let mut before = place(values.values().sum(), millionths);
    let found = values.iter().find(|(_, times)| {
        let is_it = before < **times;
        before = before.saturating_sub(**times);
        is_it
    });
    found.map_or(0, |(value, _)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shift(from: i128, to: i128) -> Option<Shift> {
        Some(Shift { from, to })
    }

    #[test]
    fn the_next_extreme_takes_the_place_of_one_that_goes() {
        let mut bags = Bags::default();
        let mut put =
            |number, comes| bags.change((7, 0), Extract::Greatest, &Value::Decimal(number), comes);
        assert_eq!(put(-5, true), shift(0, -5));
        assert_eq!(put(9, true), shift(-5, 9));
        assert_eq!(put(9, true), shift(9, 9));
        assert_eq!(put(3, true), shift(9, 9));
        assert_eq!(put(9, false), shift(9, 9));
        assert_eq!(put(9, false), shift(9, 3));
        assert_eq!(put(7, false), None);
        assert_eq!((put(3, false), put(-5, false)), (shift(3, -5), shift(-5, 0)));
        assert!(bags.0.is_empty());
    }
}
