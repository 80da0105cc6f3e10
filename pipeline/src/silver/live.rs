//! The live rows of a table: in pages of bytes, found by key, each in a numbered slot.
//!
//! A page holds the rows of 64 slots one after the other. The key of a row is read from the row itself
//! and is not kept beside it.
//!
//! # Guarantees
//! - A slot keeps its number for as long as its row lives; numbers of freed slots are used again.
//! - [`LiveRows::freeze`] copies no row. The first write to a page that is held frozen copies that
//!   page, which is at most some hundred kilobytes: rows of over [`LARGE`] bytes lie apart.
//! - A page takes what an allocator hands out for its rows, which is a quarter more than they need at
//!   most; what updates and deletes leave behind lies in that quarter, or is a third of a page.

use std::sync::Arc;

use hashbrown::HashTable;
use schemas::{EpochId, Marks, Paged, Position, RowKey, RowLayout};
use xxhash_rust::xxh3::xxh3_64;

use super::record::{Provenance, put, take};

/// Rows of one page.
const PAGE: usize = 64;

/// A row with more bytes has an allocation of its own.
const LARGE: usize = 4096;

/// No row starts here: the slot is empty.
const EMPTY: u32 = u32::MAX;

/// Bytes left behind by updates and deletes that are not worth tidying.
const DEAD_MIN: usize = 512;

/// A live row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveRow<'a> {
    /// Its bytes.
    pub row: &'a [u8],
    /// The position of the change that wrote it.
    pub position: Position,
    /// The epoch of that change.
    pub epoch: EpochId,
    /// The number of its origin in the table.
    pub(super) origin: u32,
    /// Where the values came from that this change left out.
    pub(super) carried: &'a [u8],
}

/// The rows of so many slots. A record is the length of the row, the row, and its provenance; a large
/// row has a length of 0 and stands in `large`.
#[derive(Debug)]
struct Page {
    starts: [u32; PAGE],
    bytes: Vec<u8>,
    /// Bytes of records that are no more.
    dead: usize,
    large: Vec<(usize, Arc<[u8]>)>,
}

impl Clone for Page {
    /// The copy has room for what comes next, too.
    fn clone(&self) -> Page {
        let Page { starts, dead, ref large, .. } = *self;
        let mut bytes = Vec::with_capacity(self.bytes.capacity());
        bytes.extend_from_slice(&self.bytes);
        Page { starts, bytes, dead, large: large.clone() }
    }
}

impl Page {
    fn new() -> Page {
        Page { starts: [EMPTY; PAGE], bytes: Vec::new(), dead: 0, large: Vec::new() }
    }

    fn has(&self, at: usize) -> bool {
        self.starts.get(at).is_some_and(|start| *start != EMPTY)
    }

    /// The row, and the bytes that follow it.
    fn parts(&self, at: usize) -> Option<(&[u8], &[u8])> {
        let start = *self.starts.get(at).filter(|start| **start != EMPTY)?;
        let mut rest = self.bytes.get(start as usize..)?;
        let length = usize::try_from(take(&mut rest)?).ok()?;
        let (row, rest) = rest.split_at_checked(length)?;
        if length > 0 {
            return Some((row, rest));
        }
        let large = self.large.iter().find(|(of, _)| *of == at);
        Some((large.map_or(row, |(_, row)| row), rest))
    }

    fn get(&self, at: usize) -> Option<LiveRow<'_>> {
        let (row, mut rest) = self.parts(at)?;
        let Provenance { position, epoch, origin, carried } = Provenance::read(&mut rest)?;
        Some(LiveRow { row, position, epoch, origin, carried })
    }

    /// Where the record of a slot lies.
    fn record(&self, at: usize) -> Option<std::ops::Range<usize>> {
        let start = *self.starts.get(at).filter(|start| **start != EMPTY)? as usize;
        let (_, mut rest) = self.parts(at)?;
        Provenance::skip(&mut rest)?;
        Some(start..self.bytes.len().checked_sub(rest.len())?)
    }

    /// Puts a record in a slot; `row` apart when it is large.
    fn put(&mut self, at: usize, record: &[u8], large: Option<&[u8]>) {
        self.large.retain(|(of, _)| *of != at);
        if let Some(row) = large {
            self.large.push((at, row.into()));
        }
        let held = self.record(at);
        if let Some(held) = held.clone()
            && held.len() == record.len()
            && let Some(place) = self.bytes.get_mut(held)
        {
            place.copy_from_slice(record);
            return;
        }
        self.dead += held.map_or(0, |held| held.len());
        self.set_start(at, EMPTY);
        if self.bytes.capacity() - self.bytes.len() < record.len() {
            self.make_room(record.len());
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(record);
        // Records are short and few in a page, so that it has far less than four billion bytes.
        self.set_start(at, u32::try_from(start).unwrap_or(EMPTY));
    }

    fn set_start(&mut self, at: usize, start: u32) {
        if let Some(place) = self.starts.get_mut(at) {
            *place = start;
        }
    }

    /// Empties a slot.
    fn remove(&mut self, at: usize) {
        let Some(held) = self.record(at) else { return };
        self.large.retain(|(of, _)| *of != at);
        self.dead += held.len();
        self.set_start(at, EMPTY);
        if self.dead > DEAD_MIN && self.dead > self.bytes.len() / 3 {
            self.tidy();
            self.bytes.shrink_to(size_class(self.bytes.len()));
        }
    }

    /// Makes room for a record: in what others left behind, if that is enough for a few of them.
    fn make_room(&mut self, bytes: usize) {
        let needed = self.bytes.len() - self.dead + bytes;
        let is_enough = self.bytes.capacity().saturating_sub(needed) >= needed / 16;
        if self.dead > 0 {
            self.tidy();
        }
        let class = size_class(needed);
        if !is_enough {
            self.bytes.reserve_exact(class.saturating_sub(self.bytes.len()));
        } else if class < self.bytes.capacity() / 2 {
            self.bytes.shrink_to(class);
        }
    }

    /// Moves the records of slots together.
    fn tidy(&mut self) {
        let mut order = std::array::from_fn::<usize, PAGE, _>(|at| at);
        order.sort_unstable_by_key(|at| self.starts.get(*at));
        let mut end = 0;
        for at in order {
            let Some(record) = self.record(at) else { break };
            let length = record.len();
            self.bytes.copy_within(record, end);
            self.set_start(at, u32::try_from(end).unwrap_or(EMPTY));
            end += length;
        }
        self.bytes.truncate(end);
        self.dead = 0;
    }
}

/// What an allocator hands out for so many bytes: four sizes for each doubling.
fn size_class(bytes: usize) -> usize {
    bytes.next_multiple_of((bytes.next_power_of_two() / 8).max(64))
}

/// Where a slot lies: its page and its place in it.
fn place(slot: u32) -> (usize, usize) {
    let slot = slot as usize;
    (slot / PAGE, slot % PAGE)
}

/// The live rows of one table.
#[derive(Debug)]
pub(super) struct LiveRows {
    layout: Arc<RowLayout>,
    key: RowKey,
    pages: Paged<Arc<Page>>,
    /// Slots that were ever used.
    used: u32,
    free: Vec<u32>,
    slots: HashTable<u32>,
    changed: Marks,
    record: Vec<u8>,
    /// Rows in doubt.
    in_doubt: usize,
    /// Whether every row is of the origin 0: then nobody asks whose a row is.
    is_single: bool,
}

/// The live rows as they were at one epoch.
#[derive(Debug)]
pub(super) struct FrozenPages(Paged<Arc<Page>>);

impl LiveRows {
    pub(super) fn new(layout: Arc<RowLayout>, key: RowKey) -> LiveRows {
        LiveRows {
            layout,
            key,
            pages: Paged::new(1),
            used: 0,
            free: Vec::new(),
            slots: HashTable::new(),
            changed: Marks::default(),
            record: Vec::new(),
            in_doubt: 0,
            is_single: true,
        }
    }

    /// The slot of the row of an origin with this key.
    pub(super) fn find(&self, key: &[u8], origin: u32) -> Option<u32> {
        let is_it = |slot: &u32| {
            let row = row_at(&self.pages, *slot);
            row.is_some_and(|row| self.key.is_of(self.layout.row(row), key))
                && (self.is_single || origin_at(&self.pages, *slot) == Some(origin))
        };
        self.slots.find(hash(xxh3_64(key), origin), is_it).copied()
    }

    pub(super) fn get(&self, slot: u32) -> Option<LiveRow<'_>> {
        get(&self.pages, slot)
    }

    /// Appends the key of a slot's row to `out`.
    pub(super) fn key_of(&self, slot: u32, out: &mut Vec<u8>) {
        if let Some(row) = row_at(&self.pages, slot) {
            self.key.write(self.layout.row(row), out);
        }
    }

    /// Adds the row of a key that is not there yet; `None` when every slot number is taken.
    pub(super) fn insert(&mut self, key: &[u8], row: &[u8], from: &Provenance<'_>) -> Option<u32> {
        self.is_single &= from.origin == 0;
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = self.used;
                self.used = self.used.checked_add(1)?;
                if place(slot).0 == self.pages.len() {
                    self.pages.push(Arc::new(Page::new()));
                }
                slot
            }
        };
        self.update(slot, row, from);
        let (pages, layout, own) = (&self.pages, &self.layout, &self.key);
        let rehash = |slot: &u32| {
            let row = row_at(pages, *slot).unwrap_or_default();
            let origin = origin_at(pages, *slot).unwrap_or_default();
            hash(own.with(layout.row(row), xxh3_64), origin)
        };
        self.slots.insert_unique(hash(xxh3_64(key), from.origin), slot, rehash);
        Some(slot)
    }

    /// Gives a slot its row, which has the key that the one before had.
    pub(super) fn update(&mut self, slot: u32, row: &[u8], from: &Provenance<'_>) {
        self.in_doubt -= usize::from(self.is_in_doubt(slot));
        self.in_doubt += usize::from(self.layout.row(row).is_in_doubt());
        let (page, at) = place(slot);
        let Some(page) = self.pages.get_mut(page) else { return };
        let large = (row.len() > LARGE).then_some(row);
        let own = if large.is_some() { &[] } else { row };
        self.record.clear();
        put(own.len() as u128, &mut self.record);
        self.record.extend_from_slice(own);
        from.write(&mut self.record);
        Arc::make_mut(page).put(at, &self.record, large);
    }

    /// Empties a slot.
    pub(super) fn remove(&mut self, slot: u32, key: &[u8]) {
        let Some(origin) = origin_at(&self.pages, slot) else { return };
        self.in_doubt -= usize::from(self.is_in_doubt(slot));
        let (page, at) = place(slot);
        let Some(page) = self.pages.get_mut(page) else { return };
        Arc::make_mut(page).remove(at);
        if let Ok(found) = self.slots.find_entry(hash(xxh3_64(key), origin), |held| *held == slot) {
            found.remove();
        }
        self.free.push(slot);
    }

    fn is_in_doubt(&self, slot: u32) -> bool {
        row_at(&self.pages, slot).is_some_and(|row| self.layout.row(row).is_in_doubt())
    }

    /// The number of rows in doubt.
    pub(super) fn in_doubt(&self) -> usize {
        self.in_doubt
    }

    /// Notes that a slot has to be flushed.
    pub(super) fn mark(&mut self, slot: u32) {
        self.changed.mark(slot);
    }

    /// Takes the slots marked since the last call, each once.
    pub(super) fn take_changed(&mut self) -> Vec<u32> {
        self.changed.take()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Every row with its slot, by slot.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, LiveRow<'_>)> {
        slots(&self.pages).filter_map(|slot| Some((slot, get(&self.pages, slot)?)))
    }

    /// The rows as they are now.
    pub(super) fn freeze(&mut self) -> FrozenPages {
        FrozenPages(self.pages.freeze())
    }
}

impl FrozenPages {
    pub(super) fn has(&self, slot: u32) -> bool {
        let (page, at) = place(slot);
        self.0.get(page).is_some_and(|page| page.has(at))
    }

    pub(super) fn get(&self, slot: u32) -> Option<LiveRow<'_>> {
        get(&self.0, slot)
    }

    /// The slots that hold a row, ascending.
    pub(super) fn slots(&self) -> impl Iterator<Item = u32> {
        slots(&self.0)
    }
}

fn row_at(pages: &Paged<Arc<Page>>, slot: u32) -> Option<&[u8]> {
    let (page, at) = place(slot);
    Some(pages.get(page)?.parts(at)?.0)
}

fn origin_at(pages: &Paged<Arc<Page>>, slot: u32) -> Option<u32> {
    get(pages, slot).map(|live| live.origin)
}

/// Where a row is looked for: rows of two origins may have one key.
fn hash(key: u64, origin: u32) -> u64 {
    key ^ u64::from(origin).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn get(pages: &Paged<Arc<Page>>, slot: u32) -> Option<LiveRow<'_>> {
    let (page, at) = place(slot);
    pages.get(page)?.get(at)
}

fn slots(pages: &Paged<Arc<Page>>) -> impl Iterator<Item = u32> {
    let first = (0_u32..).step_by(PAGE);
    let pages = first.zip(pages.iter());
    let of_page = |(first, page): (u32, &Arc<Page>)| {
        let page = Arc::clone(page);
        (first..).zip(0..PAGE).filter(move |(_, at)| page.has(*at)).map(|(slot, _)| slot)
    };
    pages.flat_map(of_page)
}

#[cfg(test)]
mod tests;
