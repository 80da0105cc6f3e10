//! Bags: how often each value of a column is among the rows of a cell.
//!
//! What no sum tells follows from them: the least value, the greatest, percentiles. It is written
//! into a sum of the cell, so that nothing else needs to know of bags.
//!
//! # Guarantees
//! - A value that is put in and taken out leaves nothing behind; the order does not matter.
//! - A percentile is found from where it was: a value that comes or goes moves it by a place.
//!
//! # Non-guarantees
//! - Every different value of every cell is held in memory.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

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

/// Values with how often each is there.
#[derive(Debug, Default)]
struct Values {
    /// Never 0.
    counts: BTreeMap<i128, u64>,
    /// How many there are.
    all: u64,
    /// Where the percentile was last.
    found: Option<Box<Found>>,
}

/// A value, there or not, and how many are less.
#[derive(Debug)]
struct Found {
    value: i128,
    before: u64,
}

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
        if values.all == 0 {
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
        if own.all == 0 {
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
        for (value, count) in &other.counts {
            if comes {
                self.put(*value, *count);
            } else {
                let held = self.counts.get(value).copied().unwrap_or(0);
                self.take(*value, held.min(*count));
            }
        }
    }

    fn read(&mut self, extract: Extract) -> i128 {
        match extract {
            Extract::Least => self.counts.first_key_value().map_or(0, |(value, _)| *value),
            Extract::Greatest => self.counts.last_key_value().map_or(0, |(value, _)| *value),
            Extract::Percentile { millionths, .. } => self.percentile(millionths),
        }
    }

    /// Whether it could be done.
    fn change(&mut self, extract: Extract, value: &Value<'_>, comes: bool) -> bool {
        let Some(number) = value.number() else { return false };
        let cuts = matches!(extract, Extract::Percentile { cuts: true, .. });
        let number = if cuts { cut(number) } else { number };
        if comes {
            self.put(number, 1);
            return true;
        }
        self.take(number, 1)
    }

    fn put(&mut self, value: i128, times: u64) {
        *self.counts.entry(value).or_default() += times;
        self.all += times;
        if let Some(found) = self.found.as_mut().filter(|found| value < found.value) {
            found.before += times;
        }
    }

    /// Whether it was there so many times.
    fn take(&mut self, value: i128, times: u64) -> bool {
        let Some(count) = self.counts.get_mut(&value).filter(|count| **count >= times) else {
            return false;
        };
        *count -= times;
        if *count == 0 {
            self.counts.remove(&value);
        }
        self.all -= times;
        if let Some(found) = self.found.as_mut().filter(|found| value < found.value) {
            found.before -= times;
        }
        true
    }

    /// The value at the place of a percentile; 0 of none. From the value that was there last it goes on to the next
    /// one, or the one before, until the place is reached.
    fn percentile(&mut self, millionths: u32) -> i128 {
        let Some((first, _)) = self.counts.first_key_value().filter(|_| self.all > 0) else {
            return 0;
        };
        let place = place(self.all, millionths).min(self.all - 1);
        let fresh = || Box::new(Found { value: *first, before: 0 });
        let Found { value, before } = &mut **self.found.get_or_insert_with(fresh);
        loop {
            let next = if place < *before {
                let next = self.counts.range(..*value).next_back();
                next.map(|(less, times)| (*less, before.saturating_sub(*times)))
            } else {
                let times = self.counts.get(value).copied().unwrap_or(0);
                let after = *before + times;
                let next = self.counts.range((Excluded(*value), Unbounded)).next();
                next.map(|(more, _)| (*more, after)).filter(|_| place >= after)
            };
            match next {
                Some(next) => (*value, *before) = next,
                None => return *value,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The value that so many millionths are not above, of a list.
    fn by_list(values: &[i128], millionths: u32) -> i128 {
        let mut values = values.to_vec();
        values.sort_unstable();
        let parts = values.len() * usize::try_from(millionths).unwrap();
        let rank = parts.div_ceil(1_000_000).max(1);
        values.get(rank - 1).copied().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn percentiles_are_those_of_a_list(
            steps in prop::collection::vec((-9..9_i128, any::<bool>(), 0..3_u32), 1..80),
            millionths in prop_oneof![Just(0), Just(1_000_000), Just(950_000), 0..1_000_000_u32],
        ) {
            let extract = Extract::Percentile { millionths, cuts: false };
            let (mut bags, mut lists) = (Bags::default(), [Vec::new(), Vec::new()]);
            for (value, comes, what) in steps {
                let of = usize::try_from(what % 2).unwrap();
                let before = by_list(&lists[of], millionths);
                if what == 2 {
                    // The other bag comes or goes as a whole.
                    let other = lists[1].clone();
                    for value in &other {
                        let at = lists[0].iter().position(|own| own == value);
                        match (comes, at) {
                            (true, _) => lists[0].push(*value),
                            (false, Some(at)) => {
                                lists[0].swap_remove(at);
                            }
                            (false, None) => {}
                        }
                    }
                    let shift = bags.merge((1, 0), (0, 0), extract, comes);
                    let now = by_list(&lists[0], millionths);
                    if !other.is_empty() {
                        prop_assert_eq!(shift, Shift { from: before, to: now });
                    }
                    continue;
                }
                let list = &mut lists[of];
                let at = list.iter().position(|own| *own == value);
                match (comes, at) {
                    (true, _) => list.push(value),
                    (false, Some(at)) => {
                        list.swap_remove(at);
                    }
                    (false, None) => {}
                }
                let expected = (comes || at.is_some())
                    .then(|| Shift { from: before, to: by_list(list, millionths) });
                let bag = (u32::try_from(of).unwrap(), 0);
                let found = bags.change(bag, extract, &Value::Decimal(value), comes);
                prop_assert_eq!(found, expected);
            }
            for (number, list) in (0..).zip(lists) {
                for value in list {
                    bags.change((number, 0), extract, &Value::Decimal(value), false);
                }
            }
            prop_assert!(bags.0.is_empty());
        }
    }

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
