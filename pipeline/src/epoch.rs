//! Cutting: what makes an epoch of the records that a poll brought. Pure.
//!
//! # Guarantees
//! - Clocks ascend strictly, whatever the wall clock does.
//! - Records are in (source, topic, partition, offset) order before anything looks at them.
//! - The quiet bit is decided here, once.

use schemas::{EpochStamp, Micros, Span};
use xxhash_rust::xxh3::Xxh3;

use crate::record::RawBatch;
use crate::source::is_control;

/// A partition whose records are older than this is a backlog: its epochs are quiet.
const BACKLOG_US: i64 = 60_000_000;

/// Brings the batches of one epoch into the order in which they are processed.
pub fn sort(batches: &mut Vec<RawBatch>) {
    batches.retain(|batch| !batch.is_empty());
    batches.sort_by(|a, b| a.topic().cmp(b.topic()));
}

/// The stamp of the epoch after `last`, or of the first when there is none. `snapshot` says whether
/// a record of it is a snapshot row.
pub fn stamp(
    last: Option<EpochStamp>,
    now: Micros,
    batches: &[RawBatch],
    snapshot: bool,
) -> EpochStamp {
    let clock = last.map_or(now, |last| now.max(last.clock.plus(1)));
    // How long ago somebody decided something says nothing of the events.
    let mut events = batches.iter().filter(|batch| !is_control(batch.topic()));
    EpochStamp {
        id: last.map_or(1, |last| last.id + 1),
        clock,
        quiet: snapshot || events.any(|batch| is_backlog(batch, clock)),
    }
}

/// The stamp of a tick after `last`: a clock without records.
pub fn tick(last: Option<EpochStamp>, now: Micros) -> EpochStamp {
    EpochStamp { quiet: false, ..stamp(last, now, &[], false) }
}

/// Records without a timestamp are a backlog too: nothing says that they are new.
fn is_backlog(batch: &RawBatch, clock: Micros) -> bool {
    let first = batch.iter().next();
    first.is_some_and(|record| record.timestamp.is_none_or(|at| at.plus(BACKLOG_US) < clock))
}

/// The hash by which a re-read of the same spans is recognised, in hexadecimal.
pub fn hash(batches: &[RawBatch]) -> String {
    let mut hash = Xxh3::new();
    for batch in batches {
        batch.hash_into(&mut hash);
    }
    format!("{:032x}", hash.digest128())
}

/// The spans that the batches cover.
pub fn spans(batches: &[RawBatch]) -> Vec<Span> {
    let span = |batch: &RawBatch| {
        let (from, to) = batch.span()?;
        let of = batch.topic();
        Some(Span {
            source: of.source.to_string(),
            topic: of.topic.to_string(),
            incarnation: of.incarnation.to_string(),
            partition: of.partition,
            from,
            to,
        })
    };
    batches.iter().filter_map(span).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::record::TopicPartition;

    fn batch(partition: i32, timestamp_ms: Option<i64>) -> RawBatch {
        let of = TopicPartition {
            source: "s".into(),
            topic: "t".into(),
            incarnation: "i".into(),
            partition,
        };
        let mut batch = RawBatch::new(Arc::new(of));
        batch.push(4, timestamp_ms, None, Some(b"v"), &[]);
        batch
    }

    #[test]
    fn clocks_ascend_when_the_wall_clock_goes_back() {
        let first = stamp(None, Micros(100), &[], false);
        let second = stamp(Some(first), Micros(50), &[], false);
        assert_eq!((first.id, second.id), (1, 2));
        assert_eq!((first.clock, second.clock), (Micros(100), Micros(101)));
    }

    #[test]
    fn snapshots_and_backlogs_are_quiet() {
        let now = Micros(1_000_000_000);
        let live = batch(0, Some(999_000));
        let old = batch(1, Some(900_000));
        assert!(!stamp(None, now, std::slice::from_ref(&live), false).quiet);
        assert!(stamp(None, now, std::slice::from_ref(&live), true).quiet);
        assert!(stamp(None, now, &[live, old], false).quiet);
        assert!(stamp(None, now, &[batch(0, None)], false).quiet);
        assert!(!tick(None, now).quiet);
    }

    #[test]
    fn order_and_hash_do_not_depend_on_arrival() {
        let mut one = vec![batch(1, None), batch(0, None)];
        let mut other = vec![batch(0, None), batch(1, None)];
        sort(&mut one);
        sort(&mut other);
        assert_eq!(hash(&one), hash(&other));
        assert_eq!(spans(&one).iter().map(|span| span.partition).collect::<Vec<_>>(), [0, 1]);
    }
}
