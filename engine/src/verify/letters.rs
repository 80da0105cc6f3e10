//! Dead letters that decisions carry, against the records that bronze holds at their places.
//!
//! # Guarantees
//! - A decision to read a letter again can bring nothing into a table that its source has not sent.
//! - Memory grows with the number of letters that are carried.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lake::{LakeError, Table};
use pipeline::bronze;
use pipeline::epoch::hash;
use pipeline::record::{RawBatch, RawRecord};
use schemas::{EpochId, Letter, LetterAt};

use super::report::Check;
use crate::core::decoding::batch_of;

const ADVICE: &str = "somebody has written `_weir/control.ndjson` by other means than weir: restore the lake from a \
                      backup that was made before";

/// Epoch, its clock, and the hash of the record.
type Told = (EpochId, i64, String);

/// The letters that decisions carry.
#[derive(Debug, Default)]
pub(super) struct Carried(BTreeMap<LetterAt, BTreeSet<Told>>);

impl Carried {
    /// Notes one.
    pub(super) fn note(&mut self, letter: &Letter) {
        let told = (letter.epoch, letter.clock, hash(&[batch_of(letter)]));
        self.0.entry(letter.at()).or_default().insert(told);
    }

    /// Compares all of them, if there are any.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(super) fn compare(mut self, bronze: &Table) -> Result<Option<Check>, LakeError> {
        let epochs: BTreeSet<EpochId> =
            self.0.values().flatten().map(|(epoch, ..)| *epoch).collect();
        let (Some(first), Some(last)) = (epochs.first(), epochs.last()) else { return Ok(None) };
        let mut check = Check::new("letters", bronze.name(), ADVICE);
        check.count("letters read again", self.0.len());
        for epoch in bronze::replay(bronze, first.saturating_sub(1), *last)? {
            let epoch = epoch?;
            if !epochs.contains(&epoch.stamp.id) {
                continue;
            }
            for (batch, record) in epoch.batches.iter().flat_map(|b| b.iter().map(move |r| (b, r)))
            {
                let at = place(batch, &record);
                if let Some(told) = self.0.remove(&at) {
                    let held =
                        (epoch.stamp.id, epoch.stamp.clock.0, hash(&[alone(batch, &record)]));
                    if told.iter().any(|told| *told != held) {
                        check.problem(|| {
                            format!("{}: the decision carries another record", at.id())
                        });
                    }
                }
            }
        }
        for at in self.0.keys() {
            check.problem(|| format!("{}: bronze has no such record", at.id()));
        }
        Ok(Some(check))
    }
}

fn place(batch: &RawBatch, record: &RawRecord<'_>) -> LetterAt {
    let of = batch.topic();
    LetterAt::new((&of.source, &of.topic, &of.incarnation), of.partition, record.offset)
}

/// A record as a batch of its own.
fn alone(batch: &RawBatch, record: &RawRecord<'_>) -> RawBatch {
    let mut alone = RawBatch::new(Arc::clone(batch.topic()));
    alone.push_record(record);
    alone
}
