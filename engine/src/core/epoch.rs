//! An epoch as the core takes it: its records and the changes they were decoded to, one owned whole.
//!
//! # Guarantees
//! - Records, changes and errors are of the same batches in the same order, by construction: there is
//!   no second list to pair them with.
//! - Cutting only reads: the epoch before is named by the caller, and nothing is remembered until the
//!   epoch is folded.

use std::collections::BTreeSet;
use std::sync::Arc;

use pipeline::bronze::EpochRecords;
use pipeline::decode::ChangeBatch;
use pipeline::epoch;
use pipeline::ledger::Entry;
use pipeline::record::TopicPartition;
use schemas::{ControlRecord, Decision, EpochStamp, LetterAt, Micros, Span};

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
    /// The origins that are quiet in it; of an epoch that is cut now.
    pub(crate) quiet: BTreeSet<Arc<str>>,
}

impl Epoch {
    /// The epoch after `last` that is made of the records of one poll, with their [`epoch::hash`]: at
    /// `now`, when the machine's clock says `wall`.
    pub(crate) fn cut(
        last: Option<EpochStamp>,
        mut decoded: Decoded,
        hash: String,
        (now, wall): (Micros, Micros),
    ) -> Epoch {
        let quiet = epoch::hush(&mut decoded.batches, &mut decoded.changes, wall);
        let stamp = epoch::stamp(last, now, !quiet.is_empty());
        let spans = epoch::spans(&decoded.batches);
        Epoch { spans, hash, quiet, ..Epoch::of(stamp, decoded) }
    }

    /// The tick after `last`: time without records.
    pub(crate) fn tick(last: Option<EpochStamp>, now: Micros) -> Epoch {
        Epoch::of(epoch::tick(last, now), Decoded::default())
    }

    /// An epoch as the ledger recorded it.
    pub(crate) fn recorded(entry: &Entry, mut decoded: Decoded) -> Epoch {
        epoch::mark(&mut decoded.batches, &mut decoded.changes, &entry.quiet);
        Epoch::of(entry.stamp(), decoded)
    }

    /// An epoch as bronze has it: its rows are marked.
    pub(crate) fn replayed(stamp: EpochStamp, mut decoded: Decoded) -> Epoch {
        epoch::recall(&decoded.batches, &mut decoded.changes);
        Epoch::of(stamp, decoded)
    }

    /// An epoch under its stamp. Whoever recorded it has spans and hash.
    fn of(stamp: EpochStamp, decoded: Decoded) -> Epoch {
        let Decoded { batches, changes, errors, decisions } = decoded;
        let records = EpochRecords { stamp, batches, errors };
        let (spans, quiet) = (Vec::new(), BTreeSet::new());
        Epoch { stamp, spans, hash: String::new(), records, changes, decisions, quiet }
    }

    /// Whether it is a tick to all that rows make: no record of a configured source is in it.
    pub(crate) fn is_tick(&self) -> bool {
        !self.records.has_events()
    }

    /// The topics by which origins came that are quiet in it, each at least once.
    pub(crate) fn quiet_by(&self) -> impl Iterator<Item = &TopicPartition> {
        let pairs = self.records.batches.iter().zip(&self.changes);
        pairs.filter(|(_, changes)| changes.has_quiet()).map(|(batch, _)| &**batch.topic())
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

    /// The dead letters that decisions in it drop one by one.
    pub(crate) fn dropped(&self) -> impl Iterator<Item = &LetterAt> {
        self.decisions.iter().filter_map(|record| match &record.decision {
            Decision::DropDeadLetters { letter, .. } => letter.as_ref(),
            _ => None,
        })
    }

    /// Whether a decision in it puts definitions in force.
    pub(crate) fn defines(&self) -> bool {
        self.decisions.iter().any(|record| matches!(record.decision, Decision::Define(_)))
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
            quiet: self.quiet.clone(),
            hash: self.hash.clone(),
            spans: self.spans.clone(),
        }
    }
}
