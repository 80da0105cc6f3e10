//! The plan of a flush: files to write, files to remove, files to mark.
//!
//! # Guarantees
//! - After a plan every live slot is in exactly one file. Under [`Deletes::Rewrite`] no file has a dead
//!   row; under [`Deletes::Mark`] every dead row is in its file's vector.
//! - Under [`Deletes::Rewrite`] the number of files stays bounded: beside files that are at least half
//!   full there are at most about log2(rows of a file) smaller ones, and each row is merged that many
//!   times at most for being in a small file. Under [`Deletes::Mark`] that is the work of compaction.

use std::collections::{BTreeMap, BTreeSet};

use roaring::RoaringBitmap;

use super::Deletes;
use super::locations::{Cluster, FileId, Locations};

/// What a flush does.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FilePlan {
    /// Files that are replaced.
    pub removes: Vec<FileId>,
    /// New files with their slots, in order.
    pub writes: Vec<(FileId, Vec<u32>)>,
    /// The slots of a last new file, which is not known by slots afterwards.
    pub lasting: Vec<u32>,
    /// Files some rows of which are gone: all such rows, also those of earlier plans.
    pub marks: Vec<(FileId, RoaringBitmap)>,
    /// Every file that the table has is removed, also those that are not known here.
    pub whole: bool,
}

impl FilePlan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        let writes = self.writes.is_empty() && self.lasting.is_empty();
        !self.whole && self.removes.is_empty() && writes && self.marks.is_empty()
    }

    /// Rows that it writes.
    pub fn rows(&self) -> usize {
        self.writes.iter().map(|(_, slots)| slots.len()).sum::<usize>() + self.lasting.len()
    }
}

/// What a plan asks about rows and files.
pub(super) struct Rules<'a> {
    pub(super) deletes: Deletes,
    /// The cluster of a slot's row.
    pub(super) cluster: &'a dyn Fn(u32) -> Cluster,
    /// Rows of one file of a cluster.
    pub(super) file_rows_max: &'a dyn Fn(Cluster) -> usize,
}

impl Locations {
    /// What brings the table up to date. The state is then as if committed.
    pub(super) fn plan(&mut self, rules: &Rules<'_>) -> FilePlan {
        let touched = std::mem::take(&mut self.touched);
        let (mut removes, marks) = match rules.deletes {
            Deletes::Rewrite => (self.dirty(touched), Vec::new()),
            Deletes::Mark => self.marked(touched),
        };
        let mut slots = self.take_pending();
        self.remove(&removes, &mut slots);
        if rules.deletes == Deletes::Rewrite {
            for cluster in [Cluster::Settled, Cluster::Running] {
                let own = slots.iter().filter(|slot| (rules.cluster)(**slot) == cluster);
                let small = self.small(cluster, own.count(), (rules.file_rows_max)(cluster));
                self.remove(&small, &mut slots);
                removes.extend(small);
            }
        }
        let mut clusters: BTreeMap<Cluster, Vec<u32>> = BTreeMap::new();
        for slot in slots {
            clusters.entry((rules.cluster)(slot)).or_default().push(slot);
        }
        let mut writes = Vec::new();
        for (cluster, mut slots) in clusters {
            slots.sort_unstable();
            let files = slots.len().div_ceil((rules.file_rows_max)(cluster).max(1)).max(1);
            for slots in slots.chunks(slots.len().div_ceil(files).max(1)) {
                writes.push((self.place(slots, cluster), slots.to_vec()));
            }
        }
        FilePlan { removes, writes, marks, ..FilePlan::default() }
    }

    /// Takes files away; their rows have to be written anew.
    fn remove(&mut self, files: &[FileId], slots: &mut Vec<u32>) {
        for id in files {
            let file = self.files.remove(&id.0);
            slots.extend(file.iter().flat_map(|file| file.live_slots()));
        }
    }

    /// Files with a dead row.
    fn dirty(&self, mut touched: BTreeSet<u32>) -> Vec<FileId> {
        let marked = self.files.iter().filter(|(_, file)| file.marked > 0);
        touched.extend(marked.map(|(id, _)| *id));
        touched.into_iter().map(FileId).collect()
    }

    /// Small files of a cluster, to be merged into `rows` rows. Like a binary counter: a file is merged
    /// only into at least as many rows.
    fn small(&self, cluster: Cluster, mut rows: usize, max: usize) -> Vec<FileId> {
        let own = self.files.iter().filter(|(_, file)| file.cluster == cluster);
        let small = own.map(|(id, file)| (file.live(), FileId(*id)));
        let mut small: Vec<_> = small.filter(|(live, _)| *live < max / 2).collect();
        small.sort_unstable();
        let merged = small.into_iter().take_while(|(live, _)| {
            let fits = *live <= rows;
            rows += live;
            fits
        });
        merged.map(|(_, id)| id).collect()
    }

    /// Files without a live row are removed, the others get a vector.
    fn marked(&mut self, touched: BTreeSet<u32>) -> (Vec<FileId>, Vec<(FileId, RoaringBitmap)>) {
        let (mut removes, mut marks) = (Vec::new(), Vec::new());
        for id in touched {
            let Some(file) = self.files.get_mut(&id) else { continue };
            if file.live() == 0 {
                removes.push(FileId(id));
            } else if file.gone.len() > file.marked {
                file.marked = file.gone.len();
                marks.push((FileId(id), file.gone.clone()));
            }
        }
        (removes, marks)
    }
}
