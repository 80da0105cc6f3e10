//! Which neighbouring files of an append-only table are merged next; pure.
//!
//! # Guarantees
//! - Files are only merged with those beside them in the table's order, within one partition, and
//!   never one that holds rows beyond the limit: the order of rows stays what it was.
//! - A byte is written again about once for each tier it rises through, of which there are four, and
//!   once more when its partition is over.
//! - However many files are added, few are left: fewer than [`FAN_IN`] for each tier of the running
//!   partition, and of one that is over as many as its bytes need.

use std::collections::BTreeMap;
use std::ops::Range;

/// The size of a file that is merged no further.
pub const TARGET_BYTES: u64 = 128 << 20;
/// Neighbours of one tier that are merged into one file.
pub const FAN_IN: usize = 16;
/// Below this size a file is of the lowest tier.
const TIER_BYTES: u64 = 64 << 10;

/// What planning needs to know of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its bytes.
    pub bytes: u64,
    /// The least and the greatest value of the column that orders the table.
    pub span: (i64, i64),
    /// The greatest value of the column that limits what may be merged.
    pub newest: i64,
    /// The values of the partition columns.
    pub partition: BTreeMap<String, Option<String>>,
}

/// The files to merge next, of `pieces` in the table's order; `None` when there is nothing to do.
/// Files with rows beyond `up_to` are left alone.
pub fn next_merge(pieces: &[Piece], up_to: i64) -> Option<Range<usize>> {
    let mut start = 0;
    while start < pieces.len() {
        let end = end_of_run(pieces, start, up_to);
        let run = pieces.get(start..end).unwrap_or_default();
        let partition = pieces.get(start).map(|piece| &piece.partition);
        // What comes later in another partition says that this one is over.
        let is_over = pieces.last().map(|piece| &piece.partition) != partition;
        let found = if is_over { last_merge(run) } else { tier_merge(run) };
        if let Some(found) = found {
            return Some(start + found.start..start + found.end);
        }
        start = end.max(start + 1);
    }
    None
}

/// The end of the files after `start` that may be merged with it.
fn end_of_run(pieces: &[Piece], start: usize, up_to: i64) -> usize {
    let mut end = start;
    while let Some(piece) = pieces.get(end) {
        let fits =
            |before: &Piece| before.partition == piece.partition && before.span.1 <= piece.span.0;
        let follows = end == start || pieces.get(end - 1).is_some_and(fits);
        if piece.newest > up_to || !follows {
            break;
        }
        end += 1;
    }
    end
}

/// Of a partition that is over: the first neighbours that fit into one file.
fn last_merge(run: &[Piece]) -> Option<Range<usize>> {
    let mut start = 0;
    while start < run.len() {
        let end = filled(run, start);
        if end - start > 1 {
            return Some(start..end);
        }
        start += 1;
    }
    None
}

/// Of the running partition: the first neighbours of a tier, the lowest first, that are many enough
/// or large enough together to make a file of the next one.
fn tier_merge(run: &[Piece]) -> Option<Range<usize>> {
    let tiers: Vec<u32> = run.iter().map(|piece| tier(piece.bytes)).collect();
    let mut wanted: Vec<u32> = tiers.clone();
    wanted.sort_unstable();
    wanted.dedup();
    for wanted in wanted.into_iter().filter(|wanted| *wanted < tier(TARGET_BYTES / 2)) {
        let mut start = 0;
        while let Some(found) = group(&tiers, wanted, start) {
            let files = tiers.get(found.clone()).unwrap_or_default();
            let own = files.iter().filter(|tier| **tier == wanted).count();
            let bytes: u64 =
                run.get(found.clone()).unwrap_or_default().iter().map(|p| p.bytes).sum();
            if own >= FAN_IN || (own > 1 && bytes >= TARGET_BYTES) {
                let end = filled(run, found.start).min(found.end);
                if end - found.start > 1 {
                    return Some(found.start..end);
                }
            }
            start = found.end;
        }
    }
    None
}

/// The next files from `start` on that begin and end with one of the tier and have none above it.
fn group(tiers: &[u32], wanted: u32, start: usize) -> Option<Range<usize>> {
    let rest = tiers.get(start..)?;
    let first = start + rest.iter().position(|tier| *tier == wanted)?;
    let above = tiers.get(first..)?.iter().position(|tier| *tier > wanted);
    let end = above.map_or(tiers.len(), |above| first + above);
    let last = tiers.get(first..end)?.iter().rposition(|tier| *tier == wanted)?;
    Some(first..first + last + 1)
}

/// The end of the files from `start` on that fit into one file of the target size.
fn filled(run: &[Piece], start: usize) -> usize {
    let (mut end, mut bytes) = (start, 0_u64);
    while let Some(piece) = run.get(end) {
        bytes = bytes.saturating_add(piece.bytes);
        if bytes > TARGET_BYTES && end > start {
            break;
        }
        end += 1;
    }
    end
}

/// Files of about equal size, each tier [`FAN_IN`] times the one below; none is above half the target.
fn tier(bytes: u64) -> u32 {
    let mut limit = TIER_BYTES;
    let mut tier = 0;
    while bytes >= limit && limit < TARGET_BYTES / 2 {
        limit = limit.saturating_mul(FAN_IN as u64).min(TARGET_BYTES / 2);
        tier += 1;
    }
    tier
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn piece(day: &str, bytes: u64, first: i64, last: i64) -> Piece {
        let partition = BTreeMap::from([("day".to_owned(), Some(day.to_owned()))]);
        Piece { bytes, span: (first, last), newest: last, partition }
    }

    /// Adds a file of `bytes` after each of `days`' commits and merges whatever is due.
    fn grow(days: &[(&str, usize, u64)]) -> (Vec<Piece>, u64, u64) {
        let (mut pieces, mut at): (Vec<Piece>, i64) = (Vec::new(), 0);
        let (mut added, mut written) = (0, 0);
        for (day, commits, bytes) in days {
            for _ in 0..*commits {
                pieces.push(piece(day, *bytes, at, at + 1));
                (at, added) = (at + 2, added + bytes);
                while let Some(found) = next_merge(&pieces, i64::MAX) {
                    let merged: Vec<Piece> = pieces.drain(found.clone()).collect();
                    let bytes = merged.iter().map(|piece| piece.bytes).sum();
                    assert!(merged.len() > 1 && bytes <= TARGET_BYTES);
                    let span = (merged[0].span.0, merged.last().unwrap().span.1);
                    assert!(merged.iter().all(|piece| piece.partition == merged[0].partition));
                    written += bytes;
                    pieces.insert(found.start, piece(day_of(&merged[0]), bytes, span.0, span.1));
                }
                assert!(pieces.is_sorted_by_key(|piece| piece.span));
            }
        }
        (pieces, added, written)
    }

    fn day_of(piece: &Piece) -> &str {
        piece.partition["day"].as_deref().unwrap()
    }

    #[test]
    fn a_day_of_commits_ends_as_few_files_and_a_byte_is_written_a_few_times() {
        for bytes in [3_000, 40_000, 900_000] {
            let days = [("d1", 20_000, bytes), ("d2", 20_000, bytes), ("d3", 1, bytes)];
            let (pieces, added, written) = grow(&days);
            let ideal = usize::try_from(2 * (20_000 * bytes).div_ceil(TARGET_BYTES)).unwrap();
            let past = pieces.iter().filter(|piece| day_of(piece) != "d3").count();
            assert!(past <= ideal * 2, "{past} files of past days, {ideal} would do");
            assert!(written <= added * 8, "{bytes}: {written} bytes for {added}");
        }
    }

    #[test]
    fn the_running_day_has_few_files_at_any_time() {
        let mut most = 0;
        for commits in (1..8_000).step_by(613) {
            most = most.max(grow(&[("d1", commits, 20_000)]).0.len());
        }
        assert!(most < FAN_IN * 4, "{most} files");
    }

    #[test]
    fn nothing_beyond_the_limit_is_touched() {
        let pieces: Vec<Piece> = (0..100).map(|at| piece("d1", 1_000, at, at)).collect();
        assert_eq!(next_merge(&pieces, i64::MAX), Some(0..100));
        assert_eq!(next_merge(&pieces, 39), Some(0..40));
        assert_eq!(next_merge(&pieces, 10), None, "too few");
        let mut over = pieces.clone();
        over.push(piece("d2", 1_000, 100, 100));
        assert_eq!(next_merge(&over, 10), Some(0..11), "the day is over");
        assert_eq!(next_merge(&over, 0), None);
    }

    #[test]
    fn files_whose_rows_lie_across_each_other_are_left_alone() {
        let pieces: Vec<Piece> = (0..40).map(|at| piece("d1", 1_000, at, at + 3)).collect();
        assert_eq!(next_merge(&pieces, i64::MAX), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn whatever_the_sizes_merging_ends(
            sizes in proptest::collection::vec(1_u64..(200 << 20), 1..120),
            days in proptest::collection::vec(0_usize..4, 1..120),
        ) {
            let names = ["d1", "d2", "d3", "d4"];
            let mut days: Vec<usize> = days;
            days.sort_unstable();
            let mut pieces: Vec<Piece> = Vec::new();
            for (at, (bytes, day)) in (0_i64..).zip(sizes.iter().zip(&days)) {
                pieces.push(piece(names[*day], *bytes, at, at));
            }
            let before: u64 = pieces.iter().map(|piece| piece.bytes).sum();
            let mut merges = 0;
            while let Some(found) = next_merge(&pieces, i64::MAX) {
                let merged: Vec<Piece> = pieces.drain(found.clone()).collect();
                let bytes = merged.iter().map(|piece| piece.bytes).sum();
                let span = (merged[0].span.0, merged.last().unwrap().span.1);
                pieces.insert(found.start, piece(day_of(&merged[0]), bytes, span.0, span.1));
                merges += 1;
                prop_assert!(merges <= sizes.len());
            }
            prop_assert_eq!(pieces.iter().map(|piece| piece.bytes).sum::<u64>(), before);
            // Of a day that is over, no two neighbours fit into one file.
            let newest = day_of(pieces.last().unwrap()).to_owned();
            for pair in pieces.windows(2) {
                let over = day_of(&pair[0]) == day_of(&pair[1]) && day_of(&pair[0]) != newest;
                prop_assert!(!over || pair[0].bytes + pair[1].bytes > TARGET_BYTES);
            }
        }
    }
}
