//! From the records of one poll to changes, before their epoch is cut.
//!
//! # Guarantees
//! - What comes out is a function of records and contracts: live records are decoded by the thread of
//!   their source, replayed ones by the core, and nothing shows where.
//! - Batches, their changes and their errors come in the order in which an epoch is processed.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use pipeline::decode::{ChangeBatch, Decoder, PreparedContract, Scratch, decode_batch};
use pipeline::epoch;
use pipeline::record::{RawBatch, RawRecord, TopicPartition};
use pipeline::source::{is_control, wrong_line};
use schemas::{Contract, ControlRecord};

use super::control;

/// Change batches kept for the next polls.
const SPARES_MAX: usize = 32;

/// The contracts of all topics, for any thread.
pub(crate) struct Decoding {
    tables: Vec<(Arc<PreparedContract>, &'static dyn Decoder)>,
    /// (source, topic) to the table that its records change.
    topics: BTreeMap<(String, String), usize>,
    /// Memory of epochs that are folded.
    spares: Mutex<Vec<ChangeBatch>>,
}

/// The records of one epoch to be, in processing order. The three lists belong together.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    pub(crate) batches: Vec<RawBatch>,
    pub(crate) changes: Vec<ChangeBatch>,
    /// What could not be decoded of each batch: record and reason, ascending.
    pub(crate) errors: Vec<Vec<(usize, String)>>,
    /// The decisions among the records, in their order.
    pub(crate) decisions: Vec<ControlRecord>,
}

impl std::fmt::Debug for Decoding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoding").field("topics", &self.topics).finish_non_exhaustive()
    }
}

impl Decoding {
    /// `topics` maps (source, topic) to a contract's name.
    ///
    /// # Errors
    /// When a contract names no decoder or is unusable, or a topic names no contract.
    pub(crate) fn new(
        contracts: &[Contract],
        topics: &BTreeMap<(String, String), String>,
    ) -> Result<Decoding, String> {
        let mut tables = Vec::new();
        for contract in contracts {
            let (prepared, decoder) = crate::contracts::usable(contract)?;
            tables.push((Arc::new(prepared), decoder));
        }
        let mut indexes = BTreeMap::new();
        for (topic, name) in topics {
            let at = contracts.iter().position(|contract| contract.name == *name);
            let at =
                at.ok_or_else(|| crate::contracts::unknown_contract(topic, name, contracts))?;
            indexes.insert(topic.clone(), at);
        }
        Ok(Decoding { tables, topics: indexes, spares: Mutex::default() })
    }

    /// The contracts, in the order of table numbers.
    pub(crate) fn contracts(&self) -> impl Iterator<Item = &Arc<PreparedContract>> {
        self.tables.iter().map(|(contract, _)| contract)
    }

    /// The table that a topic's records change: its own entry, or that of every topic of its source.
    pub(crate) fn table_of(&self, of: &TopicPartition) -> Option<usize> {
        let key = |topic: &str| (of.source.to_string(), topic.to_owned());
        self.topics.get(&key(&of.topic)).or_else(|| self.topics.get(&key("*"))).copied()
    }

    /// Decodes the records of one poll, or of one epoch that was cut before.
    pub(crate) fn decode(&self, mut batches: Vec<RawBatch>, scratch: &mut Scratch) -> Decoded {
        epoch::sort(&mut batches);
        let mut decoded = Decoded { batches, ..Decoded::default() };
        for batch in &decoded.batches {
            let mut changes = self.spares.lock().pop().unwrap_or_default();
            decoded.errors.push(if is_control(batch.topic()) {
                changes.clear(batch.topic());
                control::parse(batch, &mut decoded.decisions)
            } else {
                self.decode_batch(batch, scratch, &mut changes)
            });
            decoded.changes.push(changes);
        }
        decoded
    }

    fn decode_batch(
        &self,
        batch: &RawBatch,
        scratch: &mut Scratch,
        changes: &mut ChangeBatch,
    ) -> Vec<(usize, String)> {
        let of = batch.topic();
        let table = self.table_of(of).and_then(|at| self.tables.get(at));
        let Some((contract, decoder)) = table else {
            changes.clear(of);
            return batch.iter().map(|record| no_contract(of, &record)).enumerate().collect();
        };
        decode_batch(*decoder, contract, batch, scratch, changes);
        changes.errors().iter().map(|(at, error)| (*at, error.to_string())).collect()
    }

    /// Takes memory back.
    pub(crate) fn recycle(&self, changes: Vec<ChangeBatch>) {
        let mut spares = self.spares.lock();
        let room = SPARES_MAX.saturating_sub(spares.len());
        spares.extend(changes.into_iter().take(room));
    }
}

/// Why a record of a topic without a contract changes nothing.
fn no_contract(of: &TopicPartition, record: &RawRecord<'_>) -> String {
    match wrong_line(of, record) {
        Some(wrong) => {
            format!("not a line with `topic`, `partition`, `offset`, `key` and `value`: {wrong}")
        }
        None => format!("no contract for topic `{}`: name one under [sources.topics]", of.topic),
    }
}
