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

/// The stamp of the epoch after `last`, or of the first when there is none: at `now`, when the machine's
/// clock says `wall`. `snapshot` says whether a record of it is a snapshot row.
pub fn stamp(
    last: Option<EpochStamp>,
    (now, wall): (Micros, Micros),
    batches: &[RawBatch],
    snapshot: bool,
) -> EpochStamp {
    let clock = last.map_or(now, |last| now.max(last.clock.plus(1)));
    EpochStamp {
        id: last.map_or(1, |last| last.id + 1),
        clock,
        quiet: snapshot || batches.iter().any(|batch| is_backlog(batch, wall)),
    }
}

/// The stamp of a tick after `last`: a clock without records.
pub fn tick(last: Option<EpochStamp>, now: Micros) -> EpochStamp {
    EpochStamp { quiet: false, ..stamp(last, (now, now), &[], false) }
}

/// Whether a batch of events makes its epoch quiet by its age; how long ago somebody decided something says
/// nothing of them. Records without a timestamp are a backlog
/// too: nothing says that they are new. How old they are is a matter of the machine's clock: the lake's
/// time may be ahead of it.
pub fn is_backlog(batch: &RawBatch, wall: Micros) -> bool {
    let is_old = |oldest: Micros| oldest.plus(BACKLOG_US) < wall;
    !is_control(batch.topic()) && batch.oldest().is_some_and(is_old)
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

    fn at(now: i64) -> (Micros, Micros) {
        (Micros(now), Micros(now))
    }

    #[test]
    fn clocks_ascend_when_the_wall_clock_goes_back() {
        let first = stamp(None, at(100), &[], false);
        let second = stamp(Some(first), at(50), &[], false);
        assert_eq!((first.id, second.id), (1, 2));
        assert_eq!((first.clock, second.clock), (Micros(100), Micros(101)));
    }

    #[test]
    fn snapshots_and_backlogs_are_quiet() {
        let now = at(1_000_000_000);
        let live = batch(0, Some(999_000));
        let old = batch(1, Some(900_000));
        assert!(!stamp(None, now, std::slice::from_ref(&live), false).quiet);
        assert!(stamp(None, now, std::slice::from_ref(&live), true).quiet);
        assert!(stamp(None, now, &[live.clone(), old], false).quiet);
        assert!(stamp(None, now, &[batch(0, None)], false).quiet);
        assert!(!tick(None, now.0).quiet);
        // The oldest record decides, wherever it stands.
        for late in [Some(900_000), None] {
            let mut mixed = live.clone();
            mixed.push(5, late, None, Some(b"v"), &[]);
            mixed.push(6, Some(999_500), None, Some(b"v"), &[]);
            assert!(stamp(None, now, &[mixed], false).quiet);
        }
        // The lake's time may be ahead.
        let ahead = (now.0.plus(86_400_000_000), now.1);
        assert!(!stamp(None, ahead, &[live], false).quiet);
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
