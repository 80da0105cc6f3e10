//! Different values of a column: in which units of time each one occurs, and how many there are in any period.
//!
//! A unit is the part of an hour that lies in one day: every hour, day, longer period and window is made of whole
//! ones. A value that comes into a unit is new to just those periods around it that have no other unit of the value,
//! which its neighbours tell: so a period needs no values of its own, however many there are.
//!
//! # Guarantees
//! - A value that is put in and taken out leaves nothing behind; the order does not matter.
//!
//! # Non-guarantees
//! - Every different value of every unit is held in memory, its bytes once a series.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;

use expr::Value;
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet, HashTable};
use schemas::Micros;

/// Whose values: a series, and the sum that says how many there are.
pub(crate) type Of = (u32, u32);

/// What a value that comes or goes does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is not there to be taken.
    Missing,
    /// Its unit had it before, or still has it.
    Same,
    /// Its unit is the first to have it, or has it no more.
    Other(Alone),
}

/// The nearest other units that have a value: between them it is alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Alone {
    before: Option<Micros>,
    after: Option<Micros>,
}

impl Alone {
    /// Whether no other unit of a period around this one has the value.
    pub(crate) fn in_period(self, start: Micros, end: Micros) -> bool {
        self.before.is_none_or(|before| before < start)
            && self.after.is_none_or(|after| after >= end)
    }
}

/// The units that have a value, ascending, and how often.
type Units = Vec<(Micros, u32)>;

/// The different values of a cube.
#[derive(Debug)]
pub(crate) struct Distinct(HashMap<Of, Values, FixedState>);

/// The values of one series and sum, and when they occur.
#[derive(Debug)]
struct Values {
    /// By their bytes: their numbers.
    numbers: HashTable<u32>,
    hasher: FixedState,
    /// By number: the bytes, and the units with how often each has the value, ascending.
    values: Vec<(Box<[u8]>, Units)>,
    free: Vec<u32>,
    /// By unit: the numbers of its values.
    units: BTreeMap<Micros, HashSet<u32, FixedState>>,
}

impl Default for Distinct {
    fn default() -> Distinct {
        Distinct(HashMap::with_hasher(FixedState::with_seed(0xd15)))
    }
}

impl Distinct {
    /// Puts a value into a unit, or takes it out. NULL is no value.
    pub(crate) fn change(
        &mut self,
        of: Of,
        value: &Value<'_>,
        unit: Micros,
        comes: bool,
    ) -> Change {
        let mut room = [0; 16];
        let Some(bytes) = bytes(value, &mut room) else { return Change::Missing };
        let values = self.0.entry(of).or_insert_with(Values::new);
        let change = if comes { values.put(bytes, unit) } else { values.take(bytes, unit) };
        if values.units.is_empty() {
            self.0.remove(&of);
        }
        change
    }

    /// How many different values there are in a period.
    pub(crate) fn count(&self, of: Of, (start, end): (Micros, Micros)) -> i128 {
        let Some(values) = self.0.get(&of).filter(|_| start < end) else { return 0 };
        let mut found = HashSet::with_hasher(FixedState::with_seed(0xd15));
        values.units.range(start..end).for_each(|(_, own)| found.extend(own.iter().copied()));
        wide(found.len())
    }

    /// By how much that number changes when a period moves on.
    pub(crate) fn moved(&self, of: Of, was: (Micros, Micros), now: (Micros, Micros)) -> i128 {
        let Some(values) = self.0.get(&of) else { return 0 };
        let mut looked_at: HashSet<u32, FixedState> =
            HashSet::with_hasher(FixedState::with_seed(0xd15));
        for (start, end) in [
            (was.0, now.0.min(was.1)),
            (now.1.max(was.0), was.1),
            (now.0, was.0.min(now.1)),
            (was.1.max(now.0), now.1),
        ] {
            if start < end {
                let units = values.units.range(start..end);
                units.for_each(|(_, own)| looked_at.extend(own.iter().copied()));
            }
        }
        let has = |number: u32, (start, end): (Micros, Micros)| {
            let (_, units) = &values.values[number as usize];
            let first = units.partition_point(|(unit, _)| *unit < start);
            units.get(first).is_some_and(|(unit, _)| *unit < end)
        };
        let change = |number: u32| i128::from(has(number, now)) - i128::from(has(number, was));
        looked_at.into_iter().map(change).sum()
    }

    /// Every unit of every value, with the nearest earlier unit that has the value.
    pub(crate) fn occurrences(&self) -> impl Iterator<Item = (Of, Micros, Option<Micros>)> {
        self.0.iter().flat_map(|(of, values)| {
            values.values.iter().flat_map(move |(_, units)| {
                let before = std::iter::once(None).chain(units.iter().map(|(unit, _)| Some(*unit)));
                units.iter().zip(before).map(move |((unit, _), before)| (*of, *unit, before))
            })
        })
    }

    /// The series that have values.
    pub(crate) fn series(&self) -> BTreeSet<u32> {
        self.0.keys().map(|(series, _)| *series).collect()
    }
}

impl Values {
    fn new() -> Values {
        Values {
            numbers: HashTable::new(),
            hasher: FixedState::with_seed(0xd15),
            values: Vec::new(),
            free: Vec::new(),
            units: BTreeMap::new(),
        }
    }

    fn find(&self, bytes: &[u8]) -> Option<u32> {
        let is_it = |number: &u32| *self.values[*number as usize].0 == *bytes;
        self.numbers.find(self.hasher.hash_one(bytes), is_it).copied()
    }

    fn put(&mut self, bytes: &[u8], unit: Micros) -> Change {
        let number = self.find(bytes).unwrap_or_else(|| self.insert(bytes));
        let (_, units) = &mut self.values[number as usize];
        let place = units.partition_point(|(own, _)| *own < unit);
        if let Some((_, times)) = units.get_mut(place).filter(|(own, _)| *own == unit) {
            *times += 1;
            return Change::Same;
        }
        units.insert(place, (unit, 1));
        let alone = alone(units, place);
        let fresh = || HashSet::with_hasher(FixedState::with_seed(0xd15));
        self.units.entry(unit).or_insert_with(fresh).insert(number);
        Change::Other(alone)
    }

    fn take(&mut self, bytes: &[u8], unit: Micros) -> Change {
        let Some(number) = self.find(bytes) else { return Change::Missing };
        let (_, units) = &mut self.values[number as usize];
        let place = units.partition_point(|(own, _)| *own < unit);
        let Some((_, times)) = units.get_mut(place).filter(|(own, _)| *own == unit) else {
            return Change::Missing;
        };
        *times -= 1;
        if *times > 0 {
            return Change::Same;
        }
        let alone = alone(units, place);
        units.remove(place);
        if units.is_empty() {
            self.forget(number);
        }
        if let Some(own) = self.units.get_mut(&unit) {
            own.remove(&number);
            if own.is_empty() {
                self.units.remove(&unit);
            }
        }
        Change::Other(alone)
    }

    fn insert(&mut self, bytes: &[u8]) -> u32 {
        let fresh = (Box::from(bytes), Vec::new());
        let number = match self.free.pop() {
            Some(number) => {
                self.values[number as usize] = fresh;
                number
            }
            None => {
                self.values.push(fresh);
                u32::try_from(self.values.len() - 1).unwrap_or(u32::MAX)
            }
        };
        let Values { numbers, hasher, values, .. } = self;
        let hash = |number: &u32| hasher.hash_one(&*values[*number as usize].0);
        numbers.insert_unique(hasher.hash_one(bytes), number, hash);
        number
    }

    /// Gives the number of a value back that no unit has.
    fn forget(&mut self, number: u32) {
        let (bytes, _) = std::mem::take(&mut self.values[number as usize]);
        let hash = self.hasher.hash_one(&*bytes);
        if let Ok(entry) = self.numbers.find_entry(hash, |own| *own == number) {
            entry.remove();
        }
        self.free.push(number);
    }
}

/// The neighbours of a unit among those of its value.
fn alone(units: &[(Micros, u32)], place: usize) -> Alone {
    let at = |place: usize| units.get(place).map(|(unit, _)| *unit);
    Alone { before: place.checked_sub(1).and_then(at), after: at(place + 1) }
}

fn wide(number: usize) -> i128 {
    i128::try_from(number).unwrap_or(i128::MAX)
}

/// What tells values of one type apart; `None` of NULL, which is no value.
fn bytes<'a>(value: &'a Value<'_>, room: &'a mut [u8; 16]) -> Option<&'a [u8]> {
    let long = match value {
        Value::Null => return None,
        Value::Text(text) => return Some(text.as_bytes()),
        Value::Boolean(value) => i128::from(*value),
        Value::Bigint(value) => i128::from(*value),
        Value::Decimal(value) => *value,
        Value::Date(day) => i128::from(*day),
        Value::Timestamp(at) => i128::from(at.0),
    };
    *room = long.to_le_bytes();
    Some(room)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OF: Of = (3, 1);

    fn different(rows: &[(i64, i64)], (start, end): (Micros, Micros)) -> i128 {
        let within = rows.iter().filter(|(_, unit)| (start.0..end.0).contains(unit));
        wide(within.map(|(value, _)| value).collect::<BTreeSet<_>>().len())
    }

    proptest! {
        #[test]
        fn numbers_are_those_of_a_list_of_rows(
            steps in prop::collection::vec((0..5_i64, 0..12_i64, any::<bool>()), 1..60),
            was in (0..12_i64, 0..12_i64), now in (0..12_i64, 0..12_i64),
        ) {
            let period = |(a, b): (i64, i64)| (Micros(a.min(b)), Micros(a.max(b)));
            let (was, now) = (period(was), period(now));
            let (mut distinct, mut rows) = (Distinct::default(), Vec::new());
            for (value, unit, comes) in steps {
                let before = different(&rows, was);
                let held = rows.iter().position(|row| *row == (value, unit));
                match (comes, held) {
                    (true, _) => rows.push((value, unit)),
                    (false, Some(at)) => { rows.swap_remove(at); }
                    (false, None) => {}
                }
                let change = distinct.change(OF, &Value::Bigint(value), Micros(unit), comes);
                prop_assert_eq!(change == Change::Missing, !comes && held.is_none());
                let is_in = was.0.0 <= unit && unit < was.1.0;
                let shows = matches!(change, Change::Other(alone) if is_in && alone.in_period(was.0, was.1));
                prop_assert_eq!(different(&rows, was) != before, shows);
                prop_assert_eq!(distinct.count(OF, was), different(&rows, was));
                let moved = different(&rows, now) - different(&rows, was);
                prop_assert_eq!(distinct.moved(OF, was, now), moved);
                let first = |(_, unit, before): &(Of, Micros, Option<Micros>)|
                    was.0 <= *unit && *unit < was.1 && before.is_none_or(|before| before < was.0);
                let counted = distinct.occurrences().filter(first).count();
                prop_assert_eq!(wide(counted), different(&rows, was));
            }
            for (value, unit) in rows {
                distinct.change(OF, &Value::Bigint(value), Micros(unit), false);
            }
            prop_assert!(distinct.0.is_empty());
        }
    }

    #[test]
    fn null_is_no_value_and_texts_are_told_apart() {
        let mut distinct = Distinct::default();
        let mut put = |value: Value<'_>| distinct.change(OF, &value, Micros(0), true);
        assert_eq!(put(Value::Null), Change::Missing);
        for text in ["", "a", "a", "b"] {
            put(Value::Text(text.into()));
        }
        assert_eq!(distinct.count(OF, (Micros(0), Micros(1))), 3);
        assert_eq!(distinct.series(), [OF.0].into());
    }
}
