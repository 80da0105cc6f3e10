//! Quiet bits of bronze: the rows of one epoch and origin have one.
//!
//! # Non-guarantees
//! - Why an origin was quiet is not asked: that was decided by a clock that bronze does not have.

use std::collections::BTreeMap;

use pipeline::decode::{ChangeBatch, ChangeKind, NO_ORIGIN};
use pipeline::record::RawBatch;

/// How many problems are kept.
const PROBLEMS_MAX: usize = 100;

/// The origins of the epoch that is being looked at, and what was wrong so far.
#[derive(Debug, Default)]
pub(super) struct QuietRows {
    epoch: u64,
    origins: BTreeMap<String, bool>,
    pub(super) problems: Vec<String>,
}

impl QuietRows {
    /// Looks at the rows of a batch.
    pub(super) fn see(&mut self, epoch: u64, batch: &RawBatch, changes: &ChangeBatch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.origins.clear();
        }
        let mut changes = changes.iter().peekable();
        for at in 0..batch.len() {
            let change = changes.next_if(|own| own.change.record == at);
            let named = change.filter(|own| {
                own.change.origin != NO_ORIGIN && own.change.kind != ChangeKind::Tombstone
            });
            let origin = named.map_or(&*batch.topic().topic, |own| own.origin);
            let is_quiet = batch.quiet().has(at);
            match self.origins.get(origin) {
                Some(others) if *others != is_quiet => self.differs(origin.to_owned()),
                Some(_) => {}
                None => drop(self.origins.insert(origin.to_owned(), is_quiet)),
            }
        }
    }

    fn differs(&mut self, origin: String) {
        if self.problems.len() < PROBLEMS_MAX {
            let epoch = self.epoch;
            self.problems.push(format!("epoch {epoch} has quiet and other rows of {origin}"));
        }
    }
}
