//! Locations of the live rows of a keyed table: which row of which file holds which slot.
//!
//! # Guarantees
//! - A location costs 8 bytes a slot and 4 a row in a file, besides a bitmap of rows that are gone.
//! - A slot is in at most one place: a file, or among the pending ones.

use std::collections::{BTreeMap, BTreeSet};

use roaring::RoaringBitmap;

/// The file number of a slot without a row.
const VACANT: u32 = u32::MAX;
/// The file number of a slot whose row is in no file yet.
const PENDING: u32 = u32::MAX - 1;

/// A file, by the number that a plan gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// Rows that change about as often as each other. Where files are rewritten, each cluster has its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cluster {
    /// Rows of which any may change, or none.
    #[default]
    Settled,
    /// Rows that change again and again.
    Running,
}

/// A file: how many rows it has, and how many of them live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) id: FileId,
    pub(super) rows: usize,
    pub(super) live: usize,
}

/// The place of a slot's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Home {
    file: u32,
    row: u32,
}

impl Home {
    const VACANT: Home = Home { file: VACANT, row: 0 };
    const PENDING: Home = Home { file: PENDING, row: 0 };
}

/// The rows of one file.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// The slot that each row was written for; of no meaning where the row is gone.
    slots: Vec<u32>,
    /// Rows that are gone.
    pub(super) gone: RoaringBitmap,
    /// How many of them the table's vector names.
    pub(super) marked: u64,
    pub(super) cluster: Cluster,
}

impl Rows {
    pub(super) fn live(&self) -> usize {
        self.slots.len().saturating_sub(usize::try_from(self.gone.len()).unwrap_or(usize::MAX))
    }

    /// The slots of the rows that are not gone, in the order of the rows.
    pub(super) fn live_slots(&self) -> impl Iterator<Item = u32> {
        let rows = (0_u32..).zip(&self.slots);
        rows.filter(|(row, _)| !self.gone.contains(*row)).map(|(_, slot)| *slot)
    }
}

/// The place of every live row.
#[derive(Debug, Default)]
pub(super) struct Locations {
    /// By slot.
    home: Vec<Home>,
    pub(super) files: BTreeMap<u32, Rows>,
    /// Files that lost a row since the last plan.
    pub(super) touched: BTreeSet<u32>,
    /// Slots that became pending since the last plan; some may be vacant again, or be twice.
    changed: Vec<u32>,
    pub(super) pending: usize,
    live: usize,
    next_file: u32,
}

impl Locations {
    /// The row in `slot` is new or has changed.
    pub(super) fn upsert(&mut self, slot: u32) {
        match self.leave(slot, Home::PENDING).file {
            PENDING => {}
            before => {
                self.changed.push(slot);
                self.pending += 1;
                self.live += usize::from(before == VACANT);
            }
        }
    }

    /// The row in `slot` is gone. The slot may be given to another row at once.
    pub(super) fn delete(&mut self, slot: u32) {
        match self.leave(slot, Home::VACANT).file {
            VACANT => {}
            PENDING => {
                self.pending -= 1;
                self.live -= 1;
            }
            _ => self.live -= 1,
        }
    }

    /// A file of the table with `rows` rows. `slots` are those of the rows that are not in `gone`;
    /// `None` for a row that is gone by now.
    pub(super) fn load(&mut self, rows: u32, gone: RoaringBitmap, slots: &[Option<u32>]) -> FileId {
        let id = self.new_file();
        let mut file = Rows { marked: gone.len(), ..Rows::default() };
        let mut given = slots.iter();
        for row in 0..rows {
            let slot = if gone.contains(row) { None } else { given.next().copied().flatten() };
            let Some(slot) = slot else {
                file.gone.insert(row);
                file.slots.push(VACANT);
                continue;
            };
            match self.leave(slot, Home { file: id, row }).file {
                VACANT => self.live += 1,
                PENDING => self.pending -= 1,
                _ => {}
            }
            file.slots.push(slot);
        }
        if file.gone.len() > file.marked {
            self.touched.insert(id);
        }
        self.files.insert(id, file);
        FileId(id)
    }

    /// Whether there is a row in `slot`.
    pub(super) fn is_known(&self, slot: u32) -> bool {
        self.home_of(slot) != Home::VACANT
    }

    /// Rows that live.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// Whether every change is in a plan.
    pub(super) fn is_settled(&self) -> bool {
        self.pending == 0 && self.touched.is_empty()
    }

    /// The files, for compaction.
    pub(super) fn shapes(&self) -> Vec<Shape> {
        let shape = |(id, file): (&u32, &Rows)| Shape {
            id: FileId(*id),
            rows: file.slots.len(),
            live: file.live(),
        };
        self.files.iter().map(shape).collect()
    }

    /// The pending slots, ascending. They must be written now.
    pub(super) fn take_pending(&mut self) -> Vec<u32> {
        let mut slots = std::mem::take(&mut self.changed);
        slots.retain(|slot| self.home_of(*slot) == Home::PENDING);
        slots.sort_unstable();
        slots.dedup();
        self.pending = 0;
        slots
    }

    /// The live rows of `slots` lie in a new file, in this order.
    pub(super) fn place(&mut self, slots: &[u32], cluster: Cluster) -> FileId {
        let id = self.new_file();
        for (row, slot) in (0_u32..).zip(slots) {
            self.set(*slot, Home { file: id, row });
        }
        self.files.insert(id, Rows { slots: slots.to_vec(), cluster, ..Rows::default() });
        FileId(id)
    }

    /// The live rows of `sources`, one after the other, lie in new files with `rows` rows each.
    pub(super) fn moved(
        &mut self,
        sources: &[FileId],
        rows: impl Iterator<Item = u64>,
    ) -> Vec<FileId> {
        let sources = sources.iter().filter_map(|id| self.files.remove(&id.0));
        let slots: Vec<u32> =
            sources.flat_map(|file| file.live_slots().collect::<Vec<_>>()).collect();
        let mut rest = slots.as_slice();
        let mut files = Vec::new();
        for rows in rows {
            let rows = usize::try_from(rows).unwrap_or(usize::MAX).min(rest.len());
            let (own, others) = rest.split_at(rows);
            rest = others;
            files.push(self.place(own, Cluster::Settled));
        }
        files
    }

    fn new_file(&mut self) -> u32 {
        let id = self.next_file;
        self.next_file = id.saturating_add(1);
        id
    }

    /// Points `slot` elsewhere and returns where it pointed before; the row there is gone.
    fn leave(&mut self, slot: u32, to: Home) -> Home {
        let before = self.set(slot, to);
        if let Some(file) = self.files.get_mut(&before.file) {
            file.gone.insert(before.row);
            self.touched.insert(before.file);
        }
        before
    }

    fn set(&mut self, slot: u32, to: Home) -> Home {
        let at = usize::try_from(slot).unwrap_or(usize::MAX);
        if at >= self.home.len() {
            if to == Home::VACANT {
                return Home::VACANT;
            }
            self.home.resize(at + 1, Home::VACANT);
        }
        match self.home.get_mut(at) {
            Some(home) => std::mem::replace(home, to),
            None => Home::VACANT,
        }
    }

    fn home_of(&self, slot: u32) -> Home {
        let at = usize::try_from(slot).unwrap_or(usize::MAX);
        self.home.get(at).copied().unwrap_or(Home::VACANT)
    }
}
