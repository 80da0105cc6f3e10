//! The dead letters of a lake, read from bronze: what could not be decoded, without what was dropped and what
//! has been read again.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{
    Array, AsArray, BinaryArray, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use engine::Topics;
use lake::{At, DataFile, Lake, LakeError, Table};
use pipeline::bronze::{TABLE, headers_of};
use pipeline::record::Header;
use schemas::letter::Bytes;
use schemas::{CONTROL, ControlRecord, Decision, LetterAt, Micros, StillDead};

use crate::failure::Failure;

/// One record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) source: String,
    pub(crate) topic: String,
    /// The life of the topic.
    pub(crate) incarnation: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) reason: String,
    pub(crate) epoch: i64,
    /// The epoch's clock.
    clock: Micros,
    pub(crate) kafka_timestamp: Option<Micros>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    headers: Vec<Header>,
    /// Whether somebody has dropped it.
    pub(crate) is_dropped: bool,
    /// Whether it could be read again.
    pub(crate) is_read: bool,
}

impl Letter {
    /// What it is called on the command line.
    pub(crate) fn id(&self) -> String {
        self.at().id()
    }

    /// Where it lies.
    pub(crate) fn at(&self) -> LetterAt {
        let life = (&*self.source, &*self.topic, &*self.incarnation);
        LetterAt::new(life, self.partition, self.offset)
    }

    /// The record as a decision carries it.
    pub(crate) fn carried(&self) -> schemas::Letter {
        let bytes = |bytes: &Option<Vec<u8>>| bytes.clone().map(Bytes);
        let value = |value: &Option<Box<[u8]>>| value.as_ref().map(|value| Bytes(value.to_vec()));
        let headers = self.headers.iter();
        schemas::Letter {
            source: self.source.clone(),
            topic: self.topic.clone(),
            incarnation: self.incarnation.clone(),
            partition: self.partition,
            offset: self.offset,
            epoch: u64::try_from(self.epoch).unwrap_or(0),
            clock: self.clock.0,
            timestamp: self.kafka_timestamp.map(|at| at.0),
            key: bytes(&self.key),
            value: bytes(&self.value),
            headers: headers.map(|own| (own.key.to_string(), value(&own.value))).collect(),
        }
    }
}

/// Which letters are asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted<'a> {
    /// Only those of this topic.
    pub(crate) topic: Option<&'a str>,
    /// Only those that change this contract's table.
    pub(crate) contract: Option<&'a str>,
    /// Only the one that is called so.
    pub(crate) id: Option<&'a str>,
    /// Those that were dropped or have been read again, too.
    pub(crate) all: bool,
}

/// The contract of a topic, if it has one.
pub(crate) fn contract_of<'a>(topics: &'a Topics, source: &str, topic: &str) -> Option<&'a str> {
    let of = |topic: &str| topics.get(&(source.to_owned(), topic.to_owned()));
    of(topic).or_else(|| of("*")).map(|mapping| mapping.contract.as_str())
}

/// The first `limit` of those that are asked for, and how many there are.
pub(crate) fn find(
    lake: &Lake,
    topics: &Topics,
    wanted: Wanted<'_>,
    limit: usize,
) -> Result<(Vec<Letter>, u64), Failure> {
    let (mut letters, mut total) = (Vec::new(), 0);
    visit(lake, topics, wanted, &mut |letter| {
        total += 1;
        if letters.len() < limit {
            letters.push(letter);
        }
        Ok(())
    })?;
    Ok((letters, total))
}

/// Shows those that are asked for one by one, in the order in which they came.
pub(crate) fn visit(
    lake: &Lake,
    topics: &Topics,
    wanted: Wanted<'_>,
    show: &mut dyn FnMut(Letter) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let table = match Table::open(lake, TABLE, At::Newest) {
        Err(LakeError::NoTable { .. }) => return Ok(()),
        table => table?,
    };
    let mut files: Vec<(i64, &DataFile)> = table
        .files()
        .map(|file| (file.range_i64("epoch").map_or(0, |range| range.0), file.as_ref()))
        .collect();
    files.sort_by(|a, b| (a.0, &a.1.path).cmp(&(b.0, &b.1.path)));
    let (mut with_letters, mut decided) = (Vec::new(), Decided::default());
    for (_, file) in files {
        // Values are read only of files that have any letter or decision.
        let (has_letters, has_decisions) = look(&table, file)?;
        if has_letters {
            with_letters.push(file);
        }
        if has_decisions {
            decided.read(&table, file)?;
        }
    }
    for file in with_letters {
        for batch in table.read(&[file], None)? {
            let batch = batch?;
            let columns = Columns::new(&batch).ok_or_else(|| wrong(&table))?;
            for row in (0..batch.num_rows()).filter(|row| columns.is_dead(*row, wanted.topic)) {
                let mut letter = columns.letter(row);
                let contract = contract_of(topics, &letter.source, &letter.topic);
                decided.tell(&mut letter, contract);
                let is_other = wanted.contract.is_some_and(|own| contract != Some(own));
                let is_named = wanted.id.is_none_or(|id| letter.id() == id);
                let is_over = letter.is_dropped || letter.is_read;
                if is_other || !is_named || (is_over && !wanted.all) {
                    continue;
                }
                show(letter)?;
            }
        }
    }
    Ok(())
}

/// What was decided about letters.
#[derive(Debug, Default)]
struct Decided {
    /// By contract, the epoch before which all were dropped.
    tables: BTreeMap<String, i64>,
    dropped: BTreeSet<LetterAt>,
    /// Those that were to be read again, and why they still cannot be.
    retried: BTreeMap<LetterAt, Option<String>>,
}

impl Decided {
    fn read(&mut self, table: &Table, file: &DataFile) -> Result<(), LakeError> {
        for batch in table.read(&[file], Some(&["topic", "value", "decode_error", "epoch"]))? {
            let batch = batch?;
            let text = |name| batch.column_by_name(name)?.as_string_opt::<i32>();
            let (texts, errors) = (text("topic"), text("decode_error"));
            let values = batch.column_by_name("value").and_then(|own| own.as_binary_opt::<i32>());
            let epochs =
                batch.column_by_name("epoch").and_then(|own| own.as_primitive_opt::<Int64Type>());
            let (Some(texts), Some(errors)) = (texts, errors) else { return Err(wrong(table)) };
            let (Some(values), Some(epochs)) = (values, epochs) else { return Err(wrong(table)) };
            for row in (0..batch.num_rows()).filter(|row| texts.value(*row) == CONTROL) {
                match ControlRecord::parse(values.value(row)).map(|record| record.decision) {
                    Ok(Decision::DropDeadLetters { letter: Some(letter), .. }) => {
                        self.dropped.insert(letter);
                    }
                    Ok(Decision::DropDeadLetters { table, letter: None }) => {
                        let before = self.tables.entry(table).or_default();
                        *before = epochs.value(row).max(*before);
                    }
                    Ok(Decision::RetryDeadLetters { letters, .. }) => {
                        self.retried.extend(letters.iter().map(|letter| (letter.at(), None)));
                        let said = errors.is_valid(row).then(|| errors.value(row));
                        let still = said.and_then(StillDead::parse).unwrap_or_default();
                        let reasons = still.unread.into_iter();
                        self.retried.extend(reasons.map(|(at, reason)| (at, Some(reason))));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Says of a letter what became of it.
    fn tell(&self, letter: &mut Letter, contract: Option<&str>) {
        let before = contract.and_then(|contract| self.tables.get(contract));
        let at = letter.at();
        letter.is_dropped =
            before.is_some_and(|before| letter.epoch < *before) || self.dropped.contains(&at);
        match self.retried.get(&at) {
            None => {}
            Some(None) => letter.is_read = true,
            Some(Some(reason)) => letter.reason.clone_from(reason),
        }
    }
}

/// Whether a file has letters, and whether it has decisions.
fn look(table: &Table, file: &DataFile) -> Result<(bool, bool), LakeError> {
    let mut decisions = false;
    for batch in table.read(&[file], Some(&["topic"]))? {
        let batch = batch?;
        let topics = batch.column_by_name("topic").and_then(|own| own.as_string_opt::<i32>());
        let topics = topics.ok_or_else(|| wrong(table))?;
        decisions |= topics.iter().any(|topic| topic == Some(CONTROL));
    }
    // Nobody knows of a file without statistics.
    let letters = file.null_count("decode_error").is_none_or(|none| none < file.rows);
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
    clock: TimestampMicrosecondArray,
    headers: ListArray,
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
            clock: column("epoch_clock")?
                .as_primitive_opt::<TimestampMicrosecondType>()
                .cloned()?,
            headers: column("headers")?.as_list_opt::<i32>().cloned()?,
        })
    }

    fn is_dead(&self, row: usize, topic: Option<&str>) -> bool {
        // A decision says there what became of it.
        let is_said = || {
            self.source.value(row) == CONTROL && StillDead::parse(self.error.value(row)).is_some()
        };
        let is_asked = topic.is_none_or(|topic| self.topic.value(row) == topic);
        self.error.is_valid(row) && is_asked && !is_said()
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
            clock: Micros(self.clock.value(row)),
            key: bytes(&self.key),
            value: bytes(&self.value),
            headers: headers_of(&self.headers, row),
            is_dropped: false,
            is_read: false,
        }
    }
}
