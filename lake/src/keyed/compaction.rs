//! The choice of files to write anew: those of which much is gone, and small ones to merge.
//!
//! # Guarantees
//! - A file of which over [`DEAD_PERCENT`] % is gone is chosen, the worst first.
//! - Small files are merged in tiers, each [`TIER`] times as large as the one before: a row is merged
//!   once a tier, so about six times until its file is large.
//! - What is chosen at once has at most the budget's rows, except for a single file.

use super::locations::{FileId, Shape};

/// A file of which more than this is gone is written anew.
pub(super) const DEAD_PERCENT: usize = 30;
/// Files of a tier that are merged, and the ratio of one tier to the next.
pub(super) const TIER: usize = 8;

/// What a round of compaction did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Files that were replaced.
    pub files: usize,
    /// Rows that were written.
    pub rows: usize,
}

/// Files to be written anew together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pick {
    pub(super) files: Vec<FileId>,
    /// Their live rows.
    pub(super) rows: usize,
}

/// The next files to write anew, if any.
pub(super) fn pick(
    files: &[Shape],
    file_rows_max: usize,
    budget: usize,
    is_idle: bool,
) -> Option<Pick> {
    let budget = budget.min(file_rows_max);
    worn(files, budget)
        .or_else(|| small(files, file_rows_max, budget))
        .or_else(|| if is_idle { marked(files, budget) } else { None })
}

/// Files of which much is gone, the worst first.
fn worn(files: &[Shape], budget: usize) -> Option<Pick> {
    let is_worn = |it: &&Shape| (it.rows - it.live) * 100 > it.rows * DEAD_PERCENT;
    let mut worn: Vec<&Shape> = files.iter().filter(is_worn).collect();
    worn.sort_by_key(|it| (it.live * 1_000 / it.rows.max(1), it.id));
    gather(worn.into_iter(), budget)
}

/// The files of the lowest tier that has enough of them. Two nearly half full ones are enough.
fn small(files: &[Shape], file_rows_max: usize, budget: usize) -> Option<Pick> {
    let half = file_rows_max / 2;
    let (mut low, mut high) = (0, TIER);
    while low < half {
        let is_in = |it: &&Shape| (low..high.min(half)).contains(&it.live);
        let mut tier: Vec<&Shape> = files.iter().filter(is_in).collect();
        let enough = if low >= half / 2 { 2 } else { TIER };
        if tier.len() >= enough {
            tier.sort_by_key(|it| (it.live, it.id));
            return gather(tier.into_iter(), budget).filter(|pick| pick.files.len() > 1);
        }
        (low, high) = (high, high * TIER);
    }
    None
}

/// Files with a vector, the oldest first.
fn marked(files: &[Shape], budget: usize) -> Option<Pick> {
    gather(files.iter().filter(|it| it.live < it.rows), budget)
}

fn gather<'a>(files: impl Iterator<Item = &'a Shape>, budget: usize) -> Option<Pick> {
    let mut pick = Pick { files: Vec::new(), rows: 0 };
    for file in files {
        let is_first = pick.files.is_empty();
        if budget == 0 || (!is_first && pick.rows + file.live > budget) {
            break;
        }
        pick.files.push(file.id);
        pick.rows += file.live;
    }
    (!pick.files.is_empty()).then_some(pick)
}
