//! From the records of one poll to changes, before their epoch is cut.
//!
//! # Guarantees
//! - What comes out is a function of records and contracts: live records are decoded by the thread of
//!   their source, replayed ones by the core, and nothing shows where.
//! - Batches, their changes and their errors come in the order in which an epoch is processed.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use pipeline::decode::{
    ChangeBatch, Decoder, PreparedContract, Scratch, decode_batch, is_transaction_marker,
};
use pipeline::epoch;
use pipeline::record::{Header, RawBatch, RawRecord, TopicPartition};
use pipeline::source::{Mapping, is_control, wrong_line};
use schemas::letter::Bytes;
use schemas::{Contract, ControlRecord, Letter, Micros};

use super::error::SetupError;
use crate::Topics;

/// Change batches kept for the next polls.
const SPARES_MAX: usize = 32;

/// The contracts of all topics, for any thread.
pub(crate) struct Decoding {
    tables: Vec<Arc<PreparedContract>>,
    /// (source, topic) to what its records change.
    topics: BTreeMap<(String, String), Reading>,
    /// Memory of epochs that are folded.
    spares: Mutex<Vec<ChangeBatch>>,
}

/// What the records of a topic change.
struct Reading {
    table: usize,
    decoder: &'static dyn Decoder,
    /// The table's contract as this topic's connector fills it.
    contract: Arc<PreparedContract>,
    mapping: Mapping,
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
        let topics: Vec<_> = self.topics.keys().collect();
        f.debug_struct("Decoding").field("topics", &topics).finish_non_exhaustive()
    }
}

impl Decoding {
    /// `topics` maps (source, topic) to a contract.
    ///
    /// # Errors
    /// When a contract names no decoder or is unusable, or a topic names no contract.
    pub(crate) fn new(contracts: &[Contract], topics: &Topics) -> Result<Decoding, SetupError> {
        let mut usable: Vec<(Arc<PreparedContract>, _)> = Vec::new();
        for contract in contracts {
            let (prepared, decoder) =
                crate::contracts::usable(contract).map_err(SetupError::Contract)?;
            usable.push((Arc::new(prepared), decoder));
        }
        let mut readings = BTreeMap::new();
        for (topic, mapping) in topics {
            let name = &mapping.contract;
            let table = contracts.iter().position(|contract| contract.name == *name);
            let unknown = || crate::contracts::unknown_contract(topic, name, contracts);
            let found = table.and_then(|table| Some((table, usable.get(table)?)));
            let (table, (contract, decoder)) = found.ok_or_else(|| SetupError::Topic(unknown()))?;
            let contract = contract.for_placeholder(mapping.placeholder.as_deref());
            let contract = contract.map_err(|e| {
                SetupError::Topic(format!("placeholder of topic `{}`: {e}", topic.1))
            })?;
            let reading = Reading { table, decoder: *decoder, contract, mapping: mapping.clone() };
            readings.insert(topic.clone(), reading);
        }
        let tables = usable.into_iter().map(|(contract, _)| contract).collect();
        Ok(Decoding { tables, topics: readings, spares: Mutex::default() })
    }

    /// The contracts, in the order of table numbers.
    pub(crate) fn contracts(&self) -> impl Iterator<Item = &Arc<PreparedContract>> {
        self.tables.iter()
    }

    /// The table that a topic's records change: its own entry, or that of every topic of its source.
    pub(crate) fn table_of(&self, of: &TopicPartition) -> Option<usize> {
        self.reading_of(of).map(|reading| reading.table)
    }

    /// The contract of that table.
    pub(crate) fn contract_of(&self, of: &TopicPartition) -> Option<&str> {
        let table = self.tables.get(self.table_of(of)?)?;
        Some(&table.contract().name)
    }

    /// Whether these are records of a topic that nobody has named a contract for.
    pub(crate) fn is_unmapped(&self, batch: &RawBatch) -> bool {
        let of = batch.topic();
        !is_control(of)
            && self.reading_of(of).is_none()
            && batch.iter().any(|record| wrong_line(of, &record).is_none() && !is_marker(&record))
    }

    fn reading_of(&self, of: &TopicPartition) -> Option<&Reading> {
        let key = |topic: &str| (of.source.to_string(), topic.to_owned());
        self.topics.get(&key(&of.topic)).or_else(|| self.topics.get(&key("*")))
    }

    /// Decodes the records of one poll, or of one epoch that was cut before.
    pub(crate) fn decode(&self, mut batches: Vec<RawBatch>, scratch: &mut Scratch) -> Decoded {
        epoch::sort(&mut batches);
        let mut decoded = Decoded { batches, ..Decoded::default() };
        for batch in &decoded.batches {
            let mut changes = self.spares.lock().pop().unwrap_or_default();
            decoded.errors.push(if is_control(batch.topic()) {
                changes.clear(batch.topic());
                read_decisions(batch, &mut decoded.decisions)
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
        let Some(Reading { decoder, contract, mapping, .. }) = self.reading_of(of) else {
            changes.clear(of);
            let rows = batch.iter().enumerate().filter(|(_, record)| !is_marker(record));
            return rows.map(|(at, record)| (at, no_contract(of, &record))).collect();
        };
        decode_batch(*decoder, contract, batch, scratch, changes);
        mapping.apply(changes);
        changes.errors().iter().map(|(at, error)| (*at, error.to_string())).collect()
    }

    /// Decodes a dead letter that is read again; `None` when its topic has no contract. Gives its table.
    pub(crate) fn decode_letter(
        &self,
        letter: &Letter,
        scratch: &mut Scratch,
    ) -> Option<(usize, ChangeBatch)> {
        let batch = batch_of(letter);
        let Reading { table, decoder, contract, mapping } = self.reading_of(batch.topic())?;
        let mut changes = ChangeBatch::default();
        decode_batch(*decoder, contract, &batch, scratch, &mut changes);
        mapping.apply(&mut changes);
        Some((*table, changes))
    }

    /// Takes memory back.
    pub(crate) fn recycle(&self, changes: Vec<ChangeBatch>) {
        let mut spares = self.spares.lock();
        let room = SPARES_MAX.saturating_sub(spares.len());
        spares.extend(changes.into_iter().take(room));
    }
}

/// Reads the decisions of a batch; returns what is none, record and reason, ascending.
fn read_decisions(batch: &RawBatch, into: &mut Vec<ControlRecord>) -> Vec<(usize, String)> {
    let mut errors = Vec::new();
    for (at, record) in batch.iter().enumerate() {
        match read_decision(batch, &record) {
            Ok(decision) => into.push(decision),
            Err(reason) => errors.push((at, reason)),
        }
    }
    errors
}

fn read_decision(batch: &RawBatch, record: &RawRecord<'_>) -> Result<ControlRecord, String> {
    if let Some(wrong) = wrong_line(batch.topic(), record) {
        return Err(format!("no line of a control record: {wrong}"));
    }
    ControlRecord::parse(record.value.unwrap_or_default()).map_err(|error| error.to_string())
}

/// Whether a record of a topic without a contract says only where a transaction begins or ends.
fn is_marker(record: &RawRecord<'_>) -> bool {
    record.value.is_some_and(is_transaction_marker)
}

/// A dead letter as the record that it was.
pub(crate) fn batch_of(letter: &Letter) -> RawBatch {
    let mut batch = RawBatch::new(Arc::new(TopicPartition {
        source: letter.source.as_str().into(),
        topic: letter.topic.as_str().into(),
        incarnation: letter.incarnation.as_str().into(),
        partition: letter.partition,
    }));
    let bytes = |bytes: &Option<Bytes>| bytes.as_ref().map(|Bytes(bytes)| bytes.as_slice().into());
    let header =
        |(key, value): &(String, _)| Header { key: key.as_str().into(), value: bytes(value) };
    let headers: Vec<Header> = letter.headers.iter().map(header).collect();
    batch.push_record(&RawRecord {
        offset: letter.offset,
        prev_offset: letter.offset,
        timestamp: letter.timestamp.map(Micros),
        key: letter.key.as_ref().map(|key| key.0.as_slice()),
        value: letter.value.as_ref().map(|value| value.0.as_slice()),
        headers: &headers,
    });
    batch
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
