//! The values of a group, each with how often it is there: what MIN, MAX and COUNT(DISTINCT) read.

use schemas::{ColumnType, Datum};

use crate::operator::bag::Bag;
use crate::operator::order;
use crate::percentile::place;

/// A counted multiset of the values of one column.
#[derive(Debug)]
pub(super) enum Values {
    Words(Bag<u64>),
    Decimals(Bag<i128>),
    Texts(Bag<Box<str>>),
}

impl Values {
    /// No values of this type.
    pub(super) fn new(kind: ColumnType) -> Values {
        match kind {
            ColumnType::Text | ColumnType::Json => Values::Texts(Bag::default()),
            ColumnType::Decimal { .. } => Values::Decimals(Bag::default()),
            ColumnType::Bigint
            | ColumnType::Double
            | ColumnType::Boolean
            | ColumnType::Date
            | ColumnType::Timestamp => Values::Words(Bag::default()),
        }
    }

    /// How often a value is there.
    pub(super) fn count(&self, value: Datum<'_>) -> i64 {
        match (self, value) {
            (Values::Words(bag), value) => order::word(value).map_or(0, |word| bag.count(&word)),
            (Values::Decimals(bag), Datum::Decimal(mantissa)) => bag.count(&mantissa),
            (Values::Texts(bag), Datum::Text(text)) => bag.count(text),
            _ => 0,
        }
    }

    /// Adds a value so many times, or takes it away as often.
    pub(super) fn add(&mut self, value: Datum<'_>, times: i64) {
        match (self, value) {
            (Values::Words(bag), value) => {
                let Some(word) = order::word(value) else { return };
                bag.add(&word, || word, times);
            }
            (Values::Decimals(bag), Datum::Decimal(mantissa)) => {
                bag.add(&mantissa, || mantissa, times);
            }
            (Values::Texts(bag), Datum::Text(text)) => bag.add(text, || text.into(), times),
            _ => {}
        }
    }

    /// How many different values there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Values::Words(bag) => bag.len(),
            Values::Decimals(bag) => bag.len(),
            Values::Texts(bag) => bag.len(),
        }
    }

    /// The least, of this type; null of none.
    pub(super) fn first(&self, kind: ColumnType) -> Datum<'_> {
        let found = match self {
            Values::Words(bag) => bag.first().map(|word| order::datum(*word, kind)),
            Values::Decimals(bag) => bag.first().copied().map(Datum::Decimal),
            Values::Texts(bag) => bag.first().map(|text| Datum::Text(text)),
        };
        found.unwrap_or_default()
    }

    /// The least that so many millionths are not above, of this type; null of none.
    pub(super) fn percentile(&self, kind: ColumnType, millionths: u32) -> Datum<'_> {
        let found = match self {
            Values::Words(bag) => percentile(bag, millionths).map(|word| order::datum(*word, kind)),
            Values::Decimals(bag) => percentile(bag, millionths).copied().map(Datum::Decimal),
            Values::Texts(_) => None,
        };
        found.unwrap_or_default()
    }

    /// The greatest, of this type; null of none.
    pub(super) fn last(&self, kind: ColumnType) -> Datum<'_> {
        let found = match self {
            Values::Words(bag) => bag.last().map(|word| order::datum(*word, kind)),
            Values::Decimals(bag) => bag.last().copied().map(Datum::Decimal),
            Values::Texts(bag) => bag.last().map(|text| Datum::Text(text)),
        };
        found.unwrap_or_default()
    }
}

fn percentile<V: Ord>(bag: &Bag<V>, millionths: u32) -> Option<&V> {
    let count = |times: i64| u64::try_from(times).unwrap_or(0);
    let all = bag.iter().map(|(_, times)| count(times)).sum();
    let mut before = place(all, millionths);
    bag.iter().find_map(|(value, times)| {
        let is_it = before < count(times);
        before = before.saturating_sub(count(times));
        is_it.then_some(value)
    })
}
