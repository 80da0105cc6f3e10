//! From the records of one poll to changes, before their epoch is cut.
//!
//! # Guarantees
//! - What comes out is a function of records and contracts: live records are decoded by the thread of
//!   their source, replayed ones by the core, and nothing shows where.
//! - Batches, their changes and their errors come in the order in which an epoch is processed.
//! - A record that is read again is read by the version of its contract that was in force in its epoch.

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
use schemas::{
    Contract, ControlRecord, Decision, DefinitionChange, DefinitionKind, EpochId, InForce, Letter,
    Micros,
};

use super::error::SetupError;
use super::versions::Versions;
use crate::Topics;
use crate::lineage::Lineages;
use crate::tables::silver_name;

/// Change batches kept for the next polls.
const SPARES_MAX: usize = 32;

/// The contracts of all topics, for any thread.
pub(crate) struct Decoding {
    tables: Vec<Versions>,
    /// The last epoch of which it is known what was put in force in it.
    known: EpochId,
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
    /// The same of the versions before.
    past: Vec<Arc<PreparedContract>>,
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
    /// `topics` maps (source, topic) to a contract, `lineages` are those of the contracts.
    ///
    /// # Errors
    /// When a contract names no decoder or is unusable, or a topic names no contract.
    pub(crate) fn new(
        contracts: &[Contract],
        topics: &Topics,
        lineages: &Lineages,
    ) -> Result<Decoding, SetupError> {
        let mut usable: Vec<(Versions, _)> = Vec::new();
        for contract in contracts {
            let (prepared, decoder) =
                crate::contracts::usable(contract).map_err(SetupError::Contract)?;
            let versions = Versions::new(prepared, lineages.of(&contract.name));
            usable.push((versions.map_err(SetupError::Contract)?, decoder));
        }
        let mut readings = BTreeMap::new();
        for (topic, mapping) in topics {
            let name = &mapping.contract;
            let table = contracts.iter().position(|contract| contract.name == *name);
            let unknown = || crate::contracts::unknown_contract(topic, name, contracts);
            let found = table.and_then(|table| Some((table, usable.get(table)?)));
            let (table, (versions, decoder)) = found.ok_or_else(|| SetupError::Topic(unknown()))?;
            let own = |contract: &Arc<PreparedContract>| {
                let own = contract.for_placeholder(mapping.placeholder.as_deref());
                own.map_err(|e| {
                    SetupError::Topic(format!("placeholder of topic `{}`: {e}", topic.1))
                })
            };
            let (contract, decoder) = (own(&versions.newest)?, *decoder);
            let past = versions.past.iter().map(own).collect::<Result<_, _>>()?;
            let reading = Reading { table, decoder, contract, past, mapping: mapping.clone() };
            readings.insert(topic.clone(), reading);
        }
        let tables = usable.into_iter().map(|(versions, _)| versions).collect();
        Ok(Decoding { tables, known: lineages.known, topics: readings, spares: Mutex::default() })
    }

    /// The contracts, in the order of table numbers.
    pub(crate) fn contracts(&self) -> impl Iterator<Item = &Arc<PreparedContract>> {
        self.tables.iter().map(|versions| &versions.newest)
    }

    /// What read the rows of silver tables where `held` was in force, of those whose contracts have been extended since.
    pub(crate) fn held_by(&self, held: &InForce) -> BTreeMap<String, Arc<PreparedContract>> {
        let earlier = |versions: &Versions| {
            let contract = versions.newest.contract();
            let held = held.newest(DefinitionKind::Contract, &contract.name)?;
            let earlier = versions.past.get(versions.numbered(held.number)?)?;
            Some((silver_name(contract), Arc::clone(earlier)))
        };
        self.tables.iter().filter_map(earlier).collect()
    }

    /// Whether more than one version of a contract has read the rows of a silver table.
    pub(crate) fn is_extended(&self, table: &str) -> bool {
        let mut tables = self.tables.iter();
        tables.any(|own| !own.past.is_empty() && silver_name(own.newest.contract()) == table)
    }

    /// Notes the definitions that come into force in an epoch.
    pub(crate) fn define<'a>(
        &self,
        changes: impl Iterator<Item = &'a DefinitionChange> + Clone,
        epoch: EpochId,
    ) {
        if epoch <= self.known {
            return;
        }
        for versions in &self.tables {
            let name = &versions.newest.contract().name;
            let is_own = |change: &&DefinitionChange| {
                change.of == DefinitionKind::Contract && change.name == *name
            };
            let times = changes.clone().filter(is_own).count();
            versions.define(epoch, u32::try_from(times).unwrap_or(u32::MAX));
        }
    }

    /// The table that a topic's records change: its own entry, or that of every topic of its source.
    pub(crate) fn table_of(&self, of: &TopicPartition) -> Option<usize> {
        self.reading_of(of).map(|reading| reading.table)
    }

    /// The contract of that table.
    pub(crate) fn contract_of(&self, of: &TopicPartition) -> Option<&str> {
        let table = self.tables.get(self.table_of(of)?)?;
        Some(&table.newest.contract().name)
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

    /// The version of a topic's contract that reads the records of an epoch; those that come now without one.
    fn version_of<'a>(
        &self,
        reading: &'a Reading,
        epoch: Option<EpochId>,
    ) -> &'a Arc<PreparedContract> {
        let versions = self.tables.get(reading.table);
        let earlier = versions.zip(epoch).and_then(|(versions, epoch)| versions.in_epoch(epoch));
        earlier.and_then(|at| reading.past.get(at)).unwrap_or(&reading.contract)
    }

    /// Decodes the records of one poll.
    pub(crate) fn decode(&self, batches: Vec<RawBatch>, scratch: &mut Scratch) -> Decoded {
        self.decode_in(None, batches, scratch)
    }

    /// Decodes the records of an epoch that was cut before.
    pub(crate) fn decode_of(
        &self,
        epoch: EpochId,
        batches: Vec<RawBatch>,
        scratch: &mut Scratch,
    ) -> Decoded {
        let mut decisions = Vec::new();
        for batch in batches.iter().filter(|batch| is_control(batch.topic())) {
            drop(read_decisions(batch, &mut decisions));
        }
        self.define(definitions(&decisions).flatten(), epoch);
        self.decode_in(Some(epoch), batches, scratch)
    }

    fn decode_in(
        &self,
        of: Option<EpochId>,
        mut batches: Vec<RawBatch>,
        scratch: &mut Scratch,
    ) -> Decoded {
        epoch::sort(&mut batches);
        let mut decoded = Decoded { batches, ..Decoded::default() };
        for batch in &decoded.batches {
            let mut changes = self.spares.lock().pop().unwrap_or_default();
            decoded.errors.push(if is_control(batch.topic()) {
                changes.clear(batch.topic());
                read_decisions(batch, &mut decoded.decisions)
            } else {
                self.decode_batch(of, batch, scratch, &mut changes)
            });
            decoded.changes.push(changes);
        }
        decoded
    }

    fn decode_batch(
        &self,
        epoch: Option<EpochId>,
        batch: &RawBatch,
        scratch: &mut Scratch,
        changes: &mut ChangeBatch,
    ) -> Vec<(usize, String)> {
        let of = batch.topic();
        let Some(reading) = self.reading_of(of) else {
            changes.clear(of);
            let rows = batch.iter().enumerate().filter(|(_, record)| !is_marker(record));
            return rows.map(|(at, record)| (at, no_contract(of, &record))).collect();
        };
        let contract = self.version_of(reading, epoch);
        decode_batch(reading.decoder, contract, batch, scratch, changes);
        reading.mapping.apply(changes);
        changes.errors().iter().map(|(at, error)| (*at, error.to_string())).collect()
    }

    /// Decodes a dead letter that is read again in an epoch; `None` when its topic has no contract. Gives its table.
    pub(crate) fn decode_letter(
        &self,
        letter: &Letter,
        epoch: EpochId,
        scratch: &mut Scratch,
    ) -> Option<(usize, ChangeBatch)> {
        let batch = batch_of(letter);
        let reading = self.reading_of(batch.topic())?;
        let mut changes = ChangeBatch::default();
        let contract = self.version_of(reading, Some(epoch));
        decode_batch(reading.decoder, contract, &batch, scratch, &mut changes);
        reading.mapping.apply(&mut changes);
        Some((reading.table, changes))
    }

    /// Takes memory back.
    pub(crate) fn recycle(&self, changes: Vec<ChangeBatch>) {
        let mut spares = self.spares.lock();
        let room = SPARES_MAX.saturating_sub(spares.len());
        spares.extend(changes.into_iter().take(room));
    }
}

/// The definitions among decisions, in order.
pub(super) fn definitions(
    decisions: &[ControlRecord],
) -> impl Iterator<Item = &[DefinitionChange]> + Clone {
    decisions.iter().filter_map(|record| match &record.decision {
        Decision::Define(changes) => Some(changes.as_slice()),
        _ => None,
    })
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
