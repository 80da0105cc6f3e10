//! An epoch as the core takes it: its records and the changes they were decoded to, one owned whole.
//!
//! # Guarantees
//! - Records, changes and errors are of the same batches in the same order, by construction: there is
//!   no second list to pair them with.
//! - Cutting only reads: the epoch before is named by the caller, and nothing is remembered until the
//!   epoch is folded.

use pipeline::bronze::EpochRecords;
use pipeline::decode::ChangeBatch;
use pipeline::epoch;
use pipeline::ledger::Entry;
use schemas::{ControlRecord, Decision, EpochStamp, Micros, Span};

use super::decoding::Decoded;

/// A cut epoch.
#[derive(Debug)]
pub(crate) struct Epoch {
    /// Number, clock and quiet bit.
    pub(crate) stamp: EpochStamp,
    /// The offsets that it takes of each partition.
    pub(crate) spans: Vec<Span>,
    /// The hash of its records; empty for a tick.
    pub(crate) hash: String,
    /// The records, for bronze.
    pub(crate) records: EpochRecords,
    /// What each batch of records changes.
    pub(crate) changes: Vec<ChangeBatch>,
    /// The decisions among the records, in their order.
    pub(crate) decisions: Vec<ControlRecord>,
    /// The topics that make it quiet, each at least once; of an epoch that is cut now.
    pub(crate) quiet_by: Vec<String>,
}

impl Epoch {
    /// The epoch after `last` that is made of the records of one poll, with their [`epoch::hash`]: at
    /// `now`, when the machine's clock says `wall`.
    pub(crate) fn cut(
        last: Option<EpochStamp>,
        decoded: Decoded,
        hash: String,
        (now, wall): (Micros, Micros),
    ) -> Epoch {
        let has_snapshot =
            |changes: &ChangeBatch| changes.iter().any(|change| change.change.position.snapshot);
        let snapshot = decoded.changes.iter().any(has_snapshot);
        let stamp = epoch::stamp(last, (now, wall), &decoded.batches, snapshot);
        let mut quiet_by: Vec<String> = Vec::new();
        if stamp.quiet {
            let pairs = decoded.batches.iter().zip(&decoded.changes);
            let quiet = pairs
                .filter(|(batch, changes)| epoch::is_backlog(batch, wall) || has_snapshot(changes));
            quiet_by.extend(quiet.map(|(batch, _)| batch.topic().topic.to_string()));
            quiet_by.dedup();
        }
        let spans = epoch::spans(&decoded.batches);
        Epoch { spans, hash, quiet_by, ..Epoch::of(stamp, decoded) }
    }

    /// The tick after `last`: time without records.
    pub(crate) fn tick(last: Option<EpochStamp>, now: Micros) -> Epoch {
        Epoch::of(epoch::tick(last, now), Decoded::default())
    }

    /// An epoch that was cut before, under its recorded stamp. Whoever recorded it has spans and hash.
    pub(crate) fn of(stamp: EpochStamp, decoded: Decoded) -> Epoch {
        let Decoded { batches, changes, errors, decisions } = decoded;
        let records = EpochRecords { stamp, batches, errors };
        let (spans, quiet_by) = (Vec::new(), Vec::new());
        Epoch { stamp, spans, hash: String::new(), records, changes, decisions, quiet_by }
    }

    /// Whether it is a tick to all that rows make: no record of a configured source is in it.
    pub(crate) fn is_tick(&self) -> bool {
        !self.records.has_events()
    }

    /// Whether a decision in it changes rows.
    pub(crate) fn decides_rows(&self) -> bool {
        let changes = |record: &ControlRecord| {
            let decision = &record.decision;
            matches!(
                decision,
                Decision::SweepTable { .. }
                    | Decision::DropDeadLetters { .. }
                    | Decision::RetryDeadLetters { .. }
            )
        };
        self.decisions.iter().any(changes)
    }

    /// Whether a decision in it ends a batch run.
    pub(crate) fn ends_batch(&self) -> bool {
        self.decisions.iter().any(|record| record.decision == Decision::EndBatch)
    }

    /// The ledger's line of it.
    pub(crate) fn entry(&self) -> Entry {
        Entry {
            epoch: self.stamp.id,
            clock: self.stamp.clock.0,
            quiet: self.stamp.quiet,
            hash: self.hash.clone(),
            spans: self.spans.clone(),
        }
    }
}
