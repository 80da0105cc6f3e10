//! Records that have become dead letters, counted once.
//!
//! # Guarantees
//! - A record of bronze that was a dead letter there is none that a replay has made: only those are counted that another
//!   contract no longer reads.

use std::collections::BTreeSet;
use std::sync::Arc;

use pipeline::bronze::EpochRecords;
use pipeline::record::{RawBatch, TopicPartition};

use super::Core;

/// The dead letters of an epoch, as bronze has them.
#[derive(Debug, Default)]
pub(super) struct KnownDead(BTreeSet<(Arc<TopicPartition>, i64)>);

fn name(batch: &RawBatch, at: usize) -> Option<(Arc<TopicPartition>, i64)> {
    Some((Arc::clone(batch.topic()), batch.get(at)?.offset))
}

impl KnownDead {
    pub(super) fn of(epoch: &EpochRecords) -> KnownDead {
        let pairs = epoch.batches.iter().zip(&epoch.errors);
        let names = pairs.flat_map(|(batch, errors)| {
            errors.iter().filter_map(move |(at, _)| name(batch, *at)).collect::<Vec<_>>()
        });
        KnownDead(names.collect())
    }

    /// How many of these records of a batch are none of them.
    pub(super) fn count_new(&self, batch: &RawBatch, errors: &[(usize, String)]) -> u64 {
        let is_new = |at: &usize| name(batch, *at).is_some_and(|name| !self.0.contains(&name));
        errors.iter().filter(|(at, _)| is_new(at)).count() as u64
    }

    /// The same of all batches of an epoch.
    pub(super) fn count_new_of(&self, epoch: &EpochRecords) -> u64 {
        let pairs = epoch.batches.iter().zip(&epoch.errors);
        pairs.map(|(batch, errors)| self.count_new(batch, errors)).sum()
    }
}

impl Core {
    /// Records that have become dead letters since this was asked last.
    pub(crate) fn take_dead_letters(&mut self) -> u64 {
        std::mem::take(&mut self.counts.dead_letters)
    }
}
