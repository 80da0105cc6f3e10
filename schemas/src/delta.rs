//! The changes of one relation in one epoch: rows with weights.
//!
//! A weight says how often a row came (above 0) or went (below 0). What a relation holds is the sum of
//! all its deltas, so deltas are added in any order, and one that comes to nothing is empty.
//!
//! # Guarantees
//! - After [`Delta::consolidate`] each row is there once, with a weight that is not 0, and the rows of a
//!   key stand together. Rows of quiet origins and of others are not taken for one.
//! - Rows that were added one by one then stand by key and bytes, those without a key by a hash of their
//!   bytes, so that equal changes give equal deltas, in whatever order they were added. Keys of which
//!   [`Delta::first_change`] alone was called come before them, in the order of the calls, and were not
//!   sorted.
//! - Weights are added modulo 2^64, so that no order of adding gives another sum.
//!
//! # Non-guarantees
//! - Before it, rows stand as they were added.

use std::cmp::Ordering;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::key::RowKey;
use crate::row::{RowLayout, RowRef};

/// Memory that a cleared delta keeps.
const KEPT_BYTES: usize = 16 << 20;
const KEPT_ROWS: usize = 1 << 16;

/// Changes of a relation's rows.
#[derive(Debug, Clone)]
pub struct Delta {
    layout: Arc<RowLayout>,
    key: RowKey,
    /// Key and row of each entry.
    bytes: Vec<u8>,
    entries: Vec<Weighted>,
    /// Memory for sorting.
    spare: Vec<Weighted>,
    is_consolidated: bool,
    /// Whether what is added is of a quiet origin.
    is_quiet: bool,
}

/// A row with its weight; its bytes are `key..row` and `row..end` of the arena.
#[derive(Debug, Clone, Copy)]
struct Weighted {
    /// The first eight bytes of the key, by which most keys are told apart; without a key a hash of the row.
    prefix: u64,
    key: usize,
    row: usize,
    end: usize,
    weight: i64,
    /// Added by [`Delta::first_change`].
    is_first: bool,
    /// Of an origin that is quiet in the epoch.
    is_quiet: bool,
}

/// The changes of one key in a consolidated delta.
#[derive(Debug, Clone, Copy)]
pub struct KeyChange<'a> {
    delta: &'a Delta,
    entries: &'a [Weighted],
}

impl Delta {
    /// No changes of a relation whose rows lie so and have this key.
    pub fn new(layout: Arc<RowLayout>, key: RowKey) -> Delta {
        let (bytes, entries, spare) = (Vec::new(), Vec::new(), Vec::new());
        Delta { layout, key, bytes, entries, spare, is_consolidated: true, is_quiet: false }
    }

    /// How its rows lie in memory.
    pub fn layout(&self) -> &Arc<RowLayout> {
        &self.layout
    }

    /// The key of its rows.
    pub fn key(&self) -> &RowKey {
        &self.key
    }

    /// Forgets all changes, and keeps the memory unless they were very many.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.entries.shrink_to(KEPT_ROWS);
        self.spare.shrink_to(KEPT_ROWS);
        self.is_consolidated = true;
        self.is_quiet = false;
    }

    /// Says whether what is added from here on is of an origin that is quiet in the epoch.
    pub fn set_quiet(&mut self, is_quiet: bool) {
        self.is_quiet = is_quiet;
    }

    /// Adds a row `weight` times.
    pub fn add(&mut self, row: RowRef<'_>, weight: i64) {
        self.push(row, weight, false);
        self.is_consolidated = false;
    }

    fn push(&mut self, row: RowRef<'_>, weight: i64, is_first: bool) {
        let key = self.bytes.len();
        self.key.write(row, &mut self.bytes);
        let at = self.bytes.len();
        self.bytes.extend_from_slice(row.bytes());
        let prefix = match self.is_keyless() {
            true => xxh3_64(row.bytes()),
            false => prefix(self.bytes.get(key..at).unwrap_or_default()),
        };
        let end = self.bytes.len();
        let is_quiet = self.is_quiet;
        self.entries.push(Weighted { prefix, key, row: at, end, weight, is_first, is_quiet });
    }

    /// Adds that a row became another one: `None` where there is none.
    pub fn change(&mut self, old: Option<RowRef<'_>>, new: Option<RowRef<'_>>) {
        old.into_iter().for_each(|row| self.add(row, -1));
        new.into_iter().for_each(|row| self.add(row, 1));
    }

    /// The same for a key of which nothing was added before. Unless another change of it follows, it
    /// costs no sorting. The two rows differ.
    pub fn first_change(&mut self, old: Option<RowRef<'_>>, new: Option<RowRef<'_>>) {
        old.into_iter().for_each(|row| self.push(row, -1, true));
        new.into_iter().for_each(|row| self.push(row, 1, true));
    }

    /// Adds the changes of another delta of this relation.
    pub fn extend(&mut self, other: &Delta) {
        let moved = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        let entries = other.entries.iter().map(|entry| Weighted {
            key: entry.key + moved,
            row: entry.row + moved,
            end: entry.end + moved,
            is_first: false,
            ..*entry
        });
        self.entries.extend(entries);
        self.is_consolidated = self.entries.is_empty();
    }

    /// Turns every change around.
    pub fn negate(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.weight = entry.weight.wrapping_neg());
    }

    /// Adds up the weights of equal rows, and puts the rows of each key together.
    pub fn consolidate(&mut self) {
        if std::mem::replace(&mut self.is_consolidated, true) {
            return;
        }
        let again = self.entries.iter().filter(|entry| !entry.is_first).map(|entry| entry.prefix);
        let keys = Prefixes::of(again);
        let mut again = std::mem::take(&mut self.spare);
        self.entries.retain(|entry| {
            let may_be = !entry.is_first || keys.may_have(entry.prefix);
            if may_be {
                again.push(*entry);
            }
            !may_be
        });
        self.add_up(&mut again);
        self.entries.append(&mut again);
        self.spare = again;
    }

    /// Puts entries in key order, those of equal rows as one.
    fn add_up(&self, entries: &mut Vec<Weighted>) {
        entries.sort_unstable_by(|a, b| self.order(a, b));
        let mut kept: usize = 0;
        for at in 0..entries.len() {
            let Some(&entry) = entries.get(at) else { break };
            let last = kept.checked_sub(1).and_then(|last| entries.get_mut(last));
            match last {
                Some(last) if self.order(last, &entry) == Ordering::Equal => {
                    last.weight = last.weight.wrapping_add(entry.weight);
                    continue;
                }
                // What came to nothing makes room for the next row.
                Some(last) if last.weight == 0 => *last = entry,
                _ => {
                    if let Some(place) = entries.get_mut(kept) {
                        *place = entry;
                    }
                    kept += 1;
                }
            }
        }
        entries.truncate(kept);
        if entries.last().is_some_and(|last| last.weight == 0) {
            entries.pop();
        }
    }

    /// Every row with its weight.
    pub fn iter(&self) -> impl Iterator<Item = (RowRef<'_>, i64)> {
        self.entries.iter().map(|entry| (self.row(entry), entry.weight))
    }

    /// The changes of a consolidated delta, key by key; of a key those that are not quiet first, and then
    /// those that are.
    pub fn keys(&self) -> impl Iterator<Item = KeyChange<'_>> {
        let same = |a: &Weighted, b: &Weighted| {
            a.is_quiet == b.is_quiet && self.key_of(a) == self.key_of(b)
        };
        self.entries.chunk_by(same).map(|entries| KeyChange { delta: self, entries })
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn order(&self, a: &Weighted, b: &Weighted) -> Ordering {
        let row = |entry: &Weighted| self.row(entry).bytes();
        if self.is_keyless() {
            let first = |entry: &Weighted| (entry.is_quiet, entry.prefix);
            return first(a).cmp(&first(b)).then_with(|| row(a).cmp(row(b)));
        }
        let bytes = |entry: &Weighted| (self.key_of(entry), entry.is_quiet, row(entry));
        a.prefix.cmp(&b.prefix).then_with(|| bytes(a).cmp(&bytes(b)))
    }

    /// Whether rows have no key but themselves: all are of one key, the empty one.
    fn is_keyless(&self) -> bool {
        self.key.columns().is_empty()
    }

    fn key_of(&self, entry: &Weighted) -> &[u8] {
        self.bytes.get(entry.key..entry.row).unwrap_or_default()
    }

    fn row(&self, entry: &Weighted) -> RowRef<'_> {
        self.layout.row(self.bytes.get(entry.row..entry.end).unwrap_or_default())
    }
}

impl PartialEq for Delta {
    /// Whether the same rows stand in the same order with the same weights.
    fn eq(&self, other: &Delta) -> bool {
        self.layout == other.layout
            && self.key == other.key
            && self
                .iter()
                .map(|(row, weight)| (row.bytes(), weight))
                .eq(other.iter().map(|(row, weight)| (row.bytes(), weight)))
    }
}

impl<'a> KeyChange<'a> {
    /// The key.
    pub fn key(&self) -> &'a [u8] {
        self.entries.first().map_or(&[], |entry| self.delta.key_of(entry))
    }

    /// Whether they are of origins that are quiet in the epoch.
    pub fn is_quiet(&self) -> bool {
        self.entries.first().is_some_and(|entry| entry.is_quiet)
    }

    /// Its rows with their weights.
    pub fn rows(&self) -> impl Iterator<Item = (RowRef<'a>, i64)> {
        let delta = self.delta;
        self.entries.iter().map(move |entry| (delta.row(entry), entry.weight))
    }

    /// The row before and the row after, in a relation with one row a key. `None` when this is no such
    /// change: a weight beyond 1, or two rows of one side.
    pub fn sides(&self) -> Option<(Option<RowRef<'a>>, Option<RowRef<'a>>)> {
        let (mut old, mut new) = (None, None);
        for (row, weight) in self.rows() {
            let side = match weight {
                -1 => &mut old,
                1 => &mut new,
                _ => return None,
            };
            if side.replace(row).is_some() {
                return None;
            }
        }
        Some((old, new))
    }
}

/// Which keys have more than one change, by their first bytes; others may be taken for them.
struct Prefixes {
    bits: Vec<u64>,
    /// How far a hash is shifted to give the number of a bit.
    shift: u32,
}

impl Prefixes {
    fn of(prefixes: impl Iterator<Item = u64> + Clone) -> Prefixes {
        // Sixteen bits a key: one in sixteen of the others is sorted with them.
        let bits = (prefixes.clone().count() * 16).next_power_of_two().max(64);
        let shift = u64::BITS - bits.trailing_zeros();
        let mut found = Prefixes { bits: vec![0; bits / 64], shift };
        for prefix in prefixes {
            let (word, bit) = found.place(prefix);
            if let Some(word) = found.bits.get_mut(word) {
                *word |= bit;
            }
        }
        found
    }

    fn may_have(&self, prefix: u64) -> bool {
        let (word, bit) = self.place(prefix);
        self.bits.get(word).is_some_and(|word| word & bit != 0)
    }

    fn place(&self, prefix: u64) -> (usize, u64) {
        // Multiplying by the golden ratio spreads numbers that differ in a few digits.
        let hash = prefix.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift;
        let word = usize::try_from(hash / 64).unwrap_or(usize::MAX);
        (word, 1 << (hash % 64))
    }
}

/// The first eight bytes, as a number that orders as they do.
fn prefix(bytes: &[u8]) -> u64 {
    let mut first = [0; 8];
    first.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests;
