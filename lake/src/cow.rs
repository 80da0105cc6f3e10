//! Which file holds each live row of an upsert table, and what a flush must rewrite.
//!
//! Rows are known by slot numbers that the caller gives. A changed or deleted row leaves a dead row
//! in its file; copy-on-write means that such a file is removed and its live rows are written again
//! together with the changed ones. This is the seam where deletion vectors would go.
//!
//! # Guarantees
//! - After [`SlotFiles::plan`] every live slot is in exactly one file, and no file has a dead row.
//! - The number of files stays bounded: beside files that are at least half full there are at most
//!   about log2(`rows_per_file_max`) smaller ones, and each row is merged that many times at most
//!   for being in a small file.
//!
//! # Non-guarantees
//! - No IO: the caller writes the files and commits. If the commit fails, the state here is ahead
//!   of the table; then the caller removes every file that the *table* holds and writes what
//!   [`SlotFiles::plan_full`] says (ignoring its `removes`, which name files that may not exist).

use std::collections::{BTreeMap, BTreeSet};

/// A file, by the number that a plan gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// What a flush does: files to remove, and files to write with their slots, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// Files that are replaced.
    pub removes: Vec<FileId>,
    /// New files.
    pub writes: Vec<(FileId, Vec<u32>)>,
}

/// The slot holds no row.
const VACANT: u32 = u32::MAX;
/// The slot's row is in no file yet.
const PENDING: u32 = u32::MAX - 1;

/// The location of every live row. Costs 4 bytes a slot and 4 a row in a file.
#[derive(Debug, Default)]
pub struct SlotFiles {
    /// By slot: the number of its file, or one of the marks above.
    home: Vec<u32>,
    files: BTreeMap<u32, Rows>,
    /// Files with a dead row.
    touched: BTreeSet<u32>,
    /// Slots that became pending since the last plan; some may be vacant again, or be twice.
    changed: Vec<u32>,
    pending: usize,
    live: usize,
    next_file: u32,
}

#[derive(Debug, Default)]
struct Rows {
    /// As written; a slot is live here only if it still points here.
    slots: Vec<u32>,
    live: usize,
}

impl SlotFiles {
    /// No rows, no files.
    pub fn new() -> SlotFiles {
        SlotFiles::default()
    }

    /// The row in `slot` is new or has changed.
    pub fn upsert(&mut self, slot: u32) {
        match self.leave(slot, PENDING) {
            PENDING => {}
            before => {
                self.changed.push(slot);
                self.pending += 1;
                self.live += usize::from(before == VACANT);
            }
        }
    }

    /// The row in `slot` is gone. The slot may be given to another row at once.
    pub fn delete(&mut self, slot: u32) {
        match self.leave(slot, VACANT) {
            VACANT => {}
            PENDING => {
                self.pending -= 1;
                self.live -= 1;
            }
            _ => self.live -= 1,
        }
    }

    /// `file` is in the table and holds the rows of `slots`.
    pub fn load(&mut self, file: FileId, slots: impl IntoIterator<Item = u32>) {
        let slots: Vec<u32> = slots.into_iter().collect();
        for slot in &slots {
            match self.leave(*slot, file.0) {
                VACANT => self.live += 1,
                PENDING => self.pending -= 1,
                _ => {}
            }
        }
        let live = slots.len();
        self.files.insert(file.0, Rows { slots, live });
        self.next_file = self.next_file.max(file.0.saturating_add(1));
    }

    /// The cheapest rewrite that brings the table up to date. The state is then as if committed.
    pub fn plan(&mut self, rows_per_file_max: usize) -> Rewrite {
        let mut removes = std::mem::take(&mut self.touched);
        let dead_rows = removes.iter().filter_map(|file| self.files.get(file));
        let mut rows = self.pending + dead_rows.map(|file| file.live).sum::<usize>();
        if rows > 0 {
            let mut small: Vec<(usize, u32)> = self
                .files
                .iter()
                .filter(|(id, file)| !removes.contains(id) && file.live < rows_per_file_max / 2)
                .map(|(id, file)| (file.live, *id))
                .collect();
            small.sort_unstable();
            // Like a binary counter: a file is merged only into at least as many rows.
            for (live, id) in small {
                if live > rows {
                    break;
                }
                rows += live;
                removes.insert(id);
            }
        }
        self.rewrite(&removes, rows_per_file_max)
    }

    /// Writes every live row anew.
    pub fn plan_full(&mut self, rows_per_file_max: usize) -> Rewrite {
        self.touched.clear();
        let removes = self.files.keys().copied().collect();
        self.rewrite(&removes, rows_per_file_max)
    }

    /// Rows that [`SlotFiles::plan`] would write, merges of small files aside.
    pub fn dirty(&self) -> usize {
        let touched = self.touched.iter().filter_map(|file| self.files.get(file));
        self.pending + touched.map(|file| file.live).sum::<usize>()
    }

    /// Live rows.
    pub fn live(&self) -> usize {
        self.live
    }

    /// Files.
    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    /// Points `slot` elsewhere and returns where it pointed before.
    fn leave(&mut self, slot: u32, to: u32) -> u32 {
        let at = usize::try_from(slot).unwrap_or(usize::MAX);
        if at >= self.home.len() {
            if to == VACANT {
                return VACANT;
            }
            self.home.resize(at + 1, VACANT);
        }
        let Some(home) = self.home.get_mut(at) else { return VACANT };
        let before = std::mem::replace(home, to);
        if let Some(file) = self.files.get_mut(&before) {
            file.live -= 1;
            self.touched.insert(before);
        }
        before
    }

    fn home_of(&self, slot: u32) -> u32 {
        let at = usize::try_from(slot).unwrap_or(usize::MAX);
        self.home.get(at).copied().unwrap_or(VACANT)
    }

    fn rewrite(&mut self, removes: &BTreeSet<u32>, rows_per_file_max: usize) -> Rewrite {
        let mut moved = std::mem::take(&mut self.changed);
        moved.retain(|slot| self.home_of(*slot) == PENDING);
        for id in removes {
            let Some(file) = self.files.remove(id) else { continue };
            let home = |slot: &u32| self.home_of(*slot) == *id;
            moved.extend(file.slots.iter().copied().filter(home));
        }
        moved.sort_unstable();
        moved.dedup();
        self.pending = 0;
        let removes = removes.iter().copied().map(FileId).collect();
        let files = moved.len().div_ceil(rows_per_file_max.max(1)).max(1);
        let mut writes = Vec::new();
        for slots in moved.chunks(moved.len().div_ceil(files).max(1)) {
            let id = self.next_file;
            self.next_file = id.saturating_add(1);
            for slot in slots {
                self.leave(*slot, id);
            }
            self.files.insert(id, Rows { slots: slots.to_vec(), live: slots.len() });
            writes.push((FileId(id), slots.to_vec()));
        }
        Rewrite { removes, writes }
    }
}

#[cfg(test)]
mod tests;
