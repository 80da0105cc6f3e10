//! Random rows of the contracts that come with Weir, and changes of them, in memory.
//!
//! # Guarantees
//! - A seed and an end instant give one sequence of changes.
//! - Contracts have the shares of [`SHARES`], among those that a mix has.
//! - What refers to a row of another table, as a line to its order, finds it mostly, and is of its tenant and
//!   currency.
//!
//! # Non-guarantees
//! - The rows are not those of a shop: the demo tells a story, this only fills tables.

mod draw;

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use schemas::{Contract, Delta, Micros, RowBuilder, RowKey, RowLayout, RowRef};

use draw::Draw;

/// How many of a hundred and twenty-two changes are of each contract.
pub const SHARES: [(&str, u32); 11] = [
    ("activity", 16),
    ("budgets", 3),
    ("costs", 14),
    ("customers", 6),
    ("fx_rates", 5),
    ("opportunities", 8),
    ("order_items", 14),
    ("orders", 24),
    ("runs", 8),
    ("subscriptions", 16),
    ("uptime", 8),
];
/// Of a hundred changes, those that insert a row, and those that delete one.
const INSERTS: u32 = 36;
const DELETES: u32 = 10;
/// The newest of so many rows are recent.
const RECENT: usize = 20;
/// Rates: a day's, from two currencies.
const RATES: usize = 600;

/// Bytes of a row.
type Bytes = Box<[u8]>;

/// A row that came, changed or went.
#[derive(Debug)]
pub struct Change {
    /// The number of its contract.
    pub table: usize,
    /// The row before.
    pub old: Option<Bytes>,
    /// The row after.
    pub new: Option<Bytes>,
}

/// Tables of some contracts, and what changes in them.
#[derive(Debug)]
pub struct Mix {
    contracts: Vec<Contract>,
    layouts: Vec<Arc<RowLayout>>,
    /// The share of each contract.
    shares: Vec<u32>,
    tables: Vec<Vec<Bytes>>,
    /// How many rows each table ever had.
    drawn: Vec<usize>,
    rng: StdRng,
    builder: RowBuilder,
    draw: Draw,
}

impl Mix {
    /// Empty tables of these contracts, which are to have about so many `rows`; the newest rows are of the instant `end`.
    pub fn new(contracts: Vec<Contract>, seed: u64, rows: usize, end: Micros) -> Mix {
        let share = |contract: &Contract| {
            let found = SHARES.iter().find(|(name, _)| *name == contract.name);
            found.map_or(1, |(_, share)| *share)
        };
        let all: u32 = SHARES.iter().map(|(_, share)| share).sum();
        let people = rows * 6 / usize::try_from(all).unwrap_or(usize::MAX);
        Mix {
            shares: contracts.iter().map(share).collect(),
            layouts: contracts.iter().map(|own| Arc::new(RowLayout::new(&own.columns))).collect(),
            tables: contracts.iter().map(|_| Vec::new()).collect(),
            drawn: vec![0; contracts.len()],
            contracts,
            rng: StdRng::seed_from_u64(seed),
            builder: RowBuilder::default(),
            draw: Draw { end, people: people.max(10), is_live: false },
        }
    }

    /// From now on changes are those of a day at work: what comes is of the last hour, nothing moves to another time, and
    /// nine in ten of the rows that change or go are of the newest twentieth.
    pub fn go_live(&mut self) {
        self.draw.is_live = true;
    }

    /// The contracts.
    pub fn contracts(&self) -> &[Contract] {
        &self.contracts
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.tables.iter().map(Vec::len).sum()
    }

    /// The rows of a table.
    pub fn table(&self, table: usize) -> impl Iterator<Item = RowRef<'_>> + Clone {
        let layout = self.layouts.get(table);
        let rows = self.tables.get(table).into_iter().flatten();
        rows.filter_map(move |bytes| Some(layout?.row(bytes)))
    }

    /// No changes of each table.
    pub fn no_changes(&self) -> Vec<Delta> {
        let none = |(contract, layout): (&Contract, &Arc<RowLayout>)| {
            Delta::new(Arc::clone(layout), RowKey::new(contract.key.clone()))
        };
        self.contracts.iter().zip(&self.layouts).map(none).collect()
    }

    /// Consolidated changes of each table, as one epoch has them.
    pub fn epoch(&self, changes: &[Change], is_quiet: bool) -> Vec<Delta> {
        let mut deltas = self.no_changes();
        deltas.iter_mut().for_each(|delta| delta.set_quiet(is_quiet));
        for Change { table, old, new } in changes {
            let (Some(delta), Some(layout)) = (deltas.get_mut(*table), self.layouts.get(*table))
            else {
                continue;
            };
            delta.change(
                old.as_deref().map(|bytes| layout.row(bytes)),
                new.as_deref().map(|bytes| layout.row(bytes)),
            );
        }
        deltas.iter_mut().for_each(Delta::consolidate);
        deltas
    }

    /// A new row.
    pub fn insert(&mut self) -> Change {
        let table = self.pick();
        self.insert_into(table)
    }

    /// A row that comes, changes or goes.
    pub fn change(&mut self) -> Change {
        let (table, what) = (self.pick(), self.rng.random_range(0..100));
        let rows = self.tables.get(table).map_or(0, Vec::len);
        if rows == 0 || what < INSERTS {
            return self.insert_into(table);
        }
        let at = self.any_of(rows);
        if what < INSERTS + DELETES && !self.is_full(table) {
            let old = self.tables.get_mut(table).map(|rows| rows.swap_remove(at));
            return Change { table, old, new: None };
        }
        self.update_at(table, at)
    }

    /// A row that changes.
    pub fn update(&mut self) -> Change {
        let table = self.pick();
        match self.tables.get(table).map_or(0, Vec::len) {
            0 => self.insert_into(table),
            rows => {
                let at = self.rng.random_range(0..rows);
                self.update_at(table, at)
            }
        }
    }

    /// One of so many rows, the newest last.
    fn any_of(&mut self, rows: usize) -> usize {
        let is_recent = self.draw.is_live && self.rng.random_range(0..10) > 0;
        let first = if is_recent { rows - rows.div_ceil(RECENT) } else { 0 };
        self.rng.random_range(first..rows)
    }

    fn pick(&mut self) -> usize {
        let mut at = self.rng.random_range(0..self.shares.iter().sum::<u32>().max(1));
        let found = self.shares.iter().position(|share| {
            let is_it = at < *share;
            at = at.saturating_sub(*share);
            is_it
        });
        found.unwrap_or_default()
    }

    /// Whether a table has every key that there is.
    fn is_full(&self, table: usize) -> bool {
        let is_rates = self.contracts.get(table).is_some_and(|own| own.name == "fx_rates");
        is_rates && self.drawn.get(table).is_some_and(|drawn| *drawn >= RATES)
    }

    fn insert_into(&mut self, table: usize) -> Change {
        if self.is_full(table) {
            let rows = self.tables.get(table).map_or(0, Vec::len);
            let at = self.rng.random_range(0..rows.max(1));
            return self.update_at(table, at);
        }
        let number = self.drawn.get(table).copied().unwrap_or_default();
        let new = self.row(table, number, None);
        if let (Some(rows), Some(drawn)) = (self.tables.get_mut(table), self.drawn.get_mut(table)) {
            rows.push(new.clone());
            *drawn += 1;
        }
        Change { table, old: None, new: Some(new) }
    }

    fn update_at(&mut self, table: usize, at: usize) -> Change {
        let old = self.tables.get(table).and_then(|rows| rows.get(at)).cloned().unwrap_or_default();
        let new = self.row(table, 0, Some(&old));
        if let Some(row) = self.tables.get_mut(table).and_then(|rows| rows.get_mut(at)) {
            *row = new.clone();
        }
        Change { table, old: Some(old), new: Some(new) }
    }

    /// The row with this number, or what becomes of an old one.
    fn row(&mut self, table: usize, number: usize, old: Option<&Bytes>) -> Bytes {
        let mut bytes = Vec::new();
        let orders = self.contracts.iter().position(|contract| contract.name == "orders");
        let orders = orders.and_then(|at| self.drawn.get(at)).copied().unwrap_or_default();
        let (Some(contract), Some(layout)) = (self.contracts.get(table), self.layouts.get(table))
        else {
            return bytes.into();
        };
        let old = old.map(|bytes| layout.row(bytes));
        let Mix { rng, builder, draw, .. } = self;
        builder.reset(layout.len());
        match old {
            None => draw.row(contract, number, orders, rng, builder),
            Some(old) => draw.update(contract, old, rng, builder),
        }
        builder.finish(layout, &mut bytes);
        bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::prepared;

    const END: Micros = Micros(1_795_252_754_000_000);

    fn mix() -> Mix {
        Mix::new(prepared::all_contracts(), 3, 20_000, END)
    }

    #[test]
    fn changes_are_of_rows_as_they_are_and_shares_are_as_said() {
        let mut mix = mix();
        let mut model: Vec<BTreeMap<Vec<u8>, Bytes>> = vec![BTreeMap::new(); SHARES.len()];
        let mut counts = vec![0_u32; SHARES.len()];
        for at in 0..20_000 {
            let change = if at < 5_000 { mix.insert() } else { mix.change() };
            let contract = &mix.contracts[change.table];
            let key = |bytes: &Bytes| {
                let mut key = Vec::new();
                let row = mix.layouts[change.table].row(bytes);
                RowKey::new(contract.key.clone()).write(row, &mut key);
                key
            };
            counts[change.table] += 1;
            let rows = &mut model[change.table];
            let any = change.new.as_ref().or(change.old.as_ref()).map(key).unwrap();
            assert_eq!(rows.get(&any), change.old.as_ref());
            match &change.new {
                Some(new) => rows.insert(key(new), new.clone()),
                None => rows.remove(&any),
            };
        }
        let all: u32 = SHARES.iter().map(|(_, share)| share).sum();
        for (table, rows) in model.iter().enumerate() {
            let held: Vec<_> = mix.table(table).map(|row| row.bytes().to_vec()).collect();
            assert_eq!(held.len(), rows.len());
            let share = SHARES.iter().find(|(name, _)| *name == mix.contracts[table].name).unwrap();
            let expected = 20_000 * share.1 / all;
            assert!(counts[table].abs_diff(expected) < 200, "{share:?}: {}", counts[table]);
        }
    }

    #[test]
    fn required_columns_have_values_that_contracts_allow() {
        let mut mix = mix();
        (0..10_000).for_each(|_| drop(mix.change()));
        for (table, contract) in mix.contracts.iter().enumerate() {
            assert!(mix.table(table).next().is_some(), "{}", contract.name);
            for row in mix.table(table) {
                for (at, column) in contract.columns.iter().enumerate() {
                    let is_missing = column.required && row.is_null(at);
                    assert!(!is_missing, "{}.{}", contract.name, column.name);
                }
            }
        }
    }

    #[test]
    fn a_seed_gives_the_same_changes() {
        let (mut one, mut two) = (mix(), mix());
        for _ in 0..2_000 {
            let (one, two) = (one.change(), two.change());
            assert_eq!((one.table, one.old, one.new), (two.table, two.old, two.new));
        }
    }
}
