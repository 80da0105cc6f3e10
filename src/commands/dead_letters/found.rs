//! The dead letters of a lake, read from bronze: what could not be decoded, without what was dropped.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{
    Array, AsArray, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use engine::Topics;
use lake::{At, DataFile, Lake, LakeError, Table};
use pipeline::bronze::TABLE;
use schemas::{CONTROL, ControlRecord, Decision, LetterAt, Micros};

/// One record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) source: String,
    pub(super) topic: String,
    /// The life of the topic.
    pub(super) incarnation: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) reason: String,
    pub(super) epoch: i64,
    pub(super) kafka_timestamp: Option<Micros>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    /// Whether somebody has dropped it.
    pub(super) is_dropped: bool,
}

impl Letter {
    /// What it is called on the command line.
    pub(super) fn id(&self) -> String {
        format!("{}/{}/{}/{}", self.source, self.topic, self.partition, self.offset)
    }

    /// Where it lies.
    pub(super) fn at(&self) -> LetterAt {
        let topic = format!("{}/{}/{}", self.source, self.topic, self.incarnation);
        LetterAt { topic, partition: self.partition, offset: self.offset }
    }
}

/// Which letters are asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted<'a> {
    /// Only those of this topic.
    pub(super) topic: Option<&'a str>,
    /// Only those that change this contract's table.
    pub(super) contract: Option<&'a str>,
    /// Only the one that is called so.
    pub(super) id: Option<&'a str>,
    /// Those that were dropped, too.
    pub(super) all: bool,
}

/// The contract of a topic, if it has one.
pub(super) fn contract_of<'a>(topics: &'a Topics, source: &str, topic: &str) -> Option<&'a str> {
    let of = |topic: &str| topics.get(&(source.to_owned(), topic.to_owned()));
    of(topic).or_else(|| of("*")).map(|mapping| mapping.contract.as_str())
}

/// The first `limit` of those that are asked for, and how many there are.
pub(super) fn find(
    lake: &Lake,
    topics: &Topics,
    wanted: Wanted<'_>,
    limit: usize,
) -> Result<(Vec<Letter>, u64), LakeError> {
    let table = match Table::open(lake, TABLE, At::Newest) {
        Err(LakeError::NoTable { .. }) => return Ok((Vec::new(), 0)),
        table => table?,
    };
    let mut files: Vec<(i64, &DataFile)> = table
        .files()
        .map(|file| (file.range_i64("epoch").map_or(0, |range| range.0), file.as_ref()))
        .collect();
    files.sort_by(|a, b| (a.0, &a.1.path).cmp(&(b.0, &b.1.path)));
    let (mut with_letters, mut dropped) = (Vec::new(), Dropped::default());
    for (_, file) in files {
        // Values are read only of files that have any letter or decision.
        let (has_letters, has_decisions) = look(&table, file)?;
        if has_letters {
            with_letters.push(file);
        }
        if has_decisions {
            dropped.read(&table, file)?;
        }
    }
    let (mut letters, mut total) = (Vec::new(), 0);
    for file in with_letters {
        for batch in table.read(&[file], None)? {
            let batch = batch?;
            let columns = Columns::new(&batch).ok_or_else(|| wrong(&table))?;
            for row in (0..batch.num_rows()).filter(|row| columns.is_dead(*row, wanted.topic)) {
                let mut letter = columns.letter(row);
                let contract = contract_of(topics, &letter.source, &letter.topic);
                letter.is_dropped = dropped.has(&letter, contract);
                let is_other = wanted.contract.is_some_and(|own| contract != Some(own));
                let is_named = wanted.id.is_none_or(|id| letter.id() == id);
                if is_other || !is_named || (letter.is_dropped && !wanted.all) {
                    continue;
                }
                total += 1;
                if letters.len() < limit {
                    letters.push(letter);
                }
            }
        }
    }
    Ok((letters, total))
}

/// What was dropped.
#[derive(Debug, Default)]
struct Dropped {
    /// By contract, the epoch before which all were.
    tables: BTreeMap<String, i64>,
    letters: BTreeSet<LetterAt>,
}

impl Dropped {
    fn read(&mut self, table: &Table, file: &DataFile) -> Result<(), LakeError> {
        for batch in table.read(&[file], Some(&["topic", "value", "epoch"]))? {
            let batch = batch?;
            let texts = batch.column_by_name("topic").and_then(|own| own.as_string_opt::<i32>());
            let values = batch.column_by_name("value").and_then(|own| own.as_binary_opt::<i32>());
            let epochs =
                batch.column_by_name("epoch").and_then(|own| own.as_primitive_opt::<Int64Type>());
            let (Some(texts), Some(values), Some(epochs)) = (texts, values, epochs) else {
                return Err(wrong(table));
            };
            for row in (0..batch.num_rows()).filter(|row| texts.value(*row) == CONTROL) {
                match ControlRecord::parse(values.value(row)).map(|record| record.decision) {
                    Ok(Decision::DropDeadLetters { letter: Some(letter), .. }) => {
                        self.letters.insert(letter);
                    }
                    Ok(Decision::DropDeadLetters { table, letter: None }) => {
                        let before = self.tables.entry(table).or_default();
                        *before = epochs.value(row).max(*before);
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn has(&self, letter: &Letter, contract: Option<&str>) -> bool {
        let before = contract.and_then(|contract| self.tables.get(contract));
        before.is_some_and(|before| letter.epoch < *before) || self.letters.contains(&letter.at())
    }
}

/// Whether a file has letters, and whether it has decisions.
fn look(table: &Table, file: &DataFile) -> Result<(bool, bool), LakeError> {
    let (mut letters, mut decisions) = (false, false);
    for batch in table.read(&[file], Some(&["topic", "decode_error"]))? {
        let batch = batch?;
        let text = |name| batch.column_by_name(name)?.as_string_opt::<i32>();
        let topics = text("topic").ok_or_else(|| wrong(table))?;
        let errors = text("decode_error").ok_or_else(|| wrong(table))?;
        letters |= errors.null_count() < errors.len();
        decisions |= topics.iter().any(|topic| topic == Some(CONTROL));
    }
    Ok((letters, decisions))
}

fn wrong(table: &Table) -> LakeError {
    LakeError::Schema {
        table: table.name().to_owned(),
        detail: "has a column of another type than weir writes".to_owned(),
    }
}

struct Columns {
    source: StringArray,
    topic: StringArray,
    incarnation: StringArray,
    partition: Int32Array,
    offset: Int64Array,
    timestamp: TimestampMicrosecondArray,
    key: BinaryArray,
    value: BinaryArray,
    error: StringArray,
    epoch: Int64Array,
}

impl Columns {
    fn new(batch: &RecordBatch) -> Option<Columns> {
        let column = |name| batch.column_by_name(name);
        let text = |name| column(name)?.as_string_opt::<i32>().cloned();
        let long = |name| column(name)?.as_primitive_opt::<Int64Type>().cloned();
        let bytes = |name| column(name)?.as_binary_opt::<i32>().cloned();
        let timestamp = column("kafka_timestamp")?;
        Some(Columns {
            source: text("source")?,
            topic: text("topic")?,
            incarnation: text("incarnation")?,
            partition: column("partition")?.as_primitive_opt::<Int32Type>().cloned()?,
            offset: long("offset")?,
            timestamp: timestamp.as_primitive_opt::<TimestampMicrosecondType>().cloned()?,
            key: bytes("key")?,
            value: bytes("value")?,
            error: text("decode_error")?,
            epoch: long("epoch")?,
        })
    }

    fn is_dead(&self, row: usize, topic: Option<&str>) -> bool {
        self.error.is_valid(row) && topic.is_none_or(|topic| self.topic.value(row) == topic)
    }

    fn letter(&self, row: usize) -> Letter {
        let bytes = |of: &BinaryArray| of.is_valid(row).then(|| of.value(row).to_vec());
        Letter {
            source: self.source.value(row).to_owned(),
            topic: self.topic.value(row).to_owned(),
            incarnation: self.incarnation.value(row).to_owned(),
            partition: self.partition.value(row),
            offset: self.offset.value(row),
            reason: self.error.value(row).to_owned(),
            epoch: self.epoch.value(row),
            kafka_timestamp: self
                .timestamp
                .is_valid(row)
                .then(|| Micros(self.timestamp.value(row))),
            key: bytes(&self.key),
            value: bytes(&self.value),
            is_dropped: false,
        }
    }
}
