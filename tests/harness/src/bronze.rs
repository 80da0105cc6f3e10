//! The records of `bronze/changes`, epoch by epoch.
//!
//! # Guarantees
//! - Epochs come in ascending order, each whole, its records sorted by source, topic, partition and
//!   offset, wherever compaction has put them.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};

use crate::delta_log::{DataFile, DeltaLog};
use crate::{Error, columns};

/// The built-in source.
/// Where a dead letter lies: topic with its source and life, partition, offset.
pub type LetterAt = (String, i64, i64);

const CONTROL_SOURCE: &str = "_weir.control";

/// One record as bronze holds it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// The configured source.
    pub source: String,
    /// The topic.
    pub topic: String,
    /// Which life of the topic.
    pub incarnation: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// One past the offset of the record read before it.
    pub prev_offset: i64,
    /// Kafka's timestamp in microseconds.
    pub timestamp: Option<i64>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
    /// The headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Why it could not be decoded.
    pub decode_error: Option<String>,
    /// The epoch that took it.
    pub epoch: i64,
    /// That epoch's clock in microseconds.
    pub epoch_clock: i64,
    /// Whether that epoch was quiet.
    pub quiet: bool,
}

impl Record {
    /// `topic/partition/offset`, for messages.
    pub fn place(&self) -> String {
        format!("{}/{}/{}", self.topic, self.partition, self.offset)
    }

    /// Whether it is of the built-in source: a decision, and no event.
    pub fn is_control(&self) -> bool {
        self.source == CONTROL_SOURCE
    }

    /// The table that it lets go on, when that was decided.
    pub fn resumed_table(&self) -> Option<String> {
        let value: serde_json::Value = serde_json::from_slice(self.value.as_deref()?).ok()?;
        let is_resumption = self.is_control() && value["v"] == 1 && value["kind"] == "table.resume";
        is_resumption.then(|| value["body"]["table"].as_str().map(str::to_owned))?
    }

    /// Whether it ends a batch run.
    pub fn ends_batch(&self) -> bool {
        let value = self.value.as_deref().filter(|_| self.is_control());
        let value = value.and_then(|value| serde_json::from_slice(value).ok());
        value
            .is_some_and(|value: serde_json::Value| value["v"] == 1 && value["kind"] == "batch.end")
    }

    /// The table whose dead letters it drops, and which one, when that was decided: topic with source and
    /// life, partition and offset.
    pub fn dropped_letters(&self) -> Option<(String, Option<LetterAt>)> {
        let value: serde_json::Value = serde_json::from_slice(self.value.as_deref()?).ok()?;
        let is_drop = self.is_control() && value["v"] == 1 && value["kind"] == "dead_letters.drop";
        let (table, letter) = (value["body"]["table"].as_str()?, &value["body"]["letter"]);
        let letter = letter.is_object().then(|| {
            let topic = letter["topic"].as_str()?.to_owned();
            Some((topic, letter["partition"].as_i64()?, letter["offset"].as_i64()?))
        });
        is_drop.then(|| (table.to_owned(), letter.flatten()))
    }

    /// The table whose dead letters are read again, and these as they came, when that was decided.
    pub fn retried_letters(&self) -> Option<(String, Vec<Record>)> {
        let value: serde_json::Value = serde_json::from_slice(self.value.as_deref()?).ok()?;
        let is_retry =
            self.is_control() && value["v"] == 1 && value["kind"] == "dead_letters.retry";
        let body = Some(&value["body"]).filter(|_| is_retry)?;
        let letters = body["letters"].as_array()?.iter().map(letter).collect::<Option<_>>()?;
        Some((body["table"].as_str()?.to_owned(), letters))
    }

    /// The application id of the progress of its partition.
    pub fn app_id(&self) -> String {
        format!("weir/{}/{}/{}/{}", self.source, self.topic, self.incarnation, self.partition)
    }
}

/// A dead letter as a decision carries it.
fn letter(value: &serde_json::Value) -> Option<Record> {
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    let header = |pair: &serde_json::Value| Some((pair[0].as_str()?.to_owned(), bytes(&pair[1])));
    Some(Record {
        source: text("source")?,
        topic: text("topic")?,
        incarnation: text("incarnation")?,
        partition: value["partition"].as_i64()?.try_into().ok()?,
        offset: value["offset"].as_i64()?,
        timestamp: value["timestamp"].as_i64(),
        key: bytes(&value["key"]),
        value: bytes(&value["value"]),
        headers: value["headers"].as_array()?.iter().map(header).collect::<Option<_>>()?,
        epoch: value["epoch"].as_i64()?,
        epoch_clock: value["clock"].as_i64()?,
        ..Record::default()
    })
}

/// A text, pairs of hexadecimal digits, or nothing.
fn bytes(value: &serde_json::Value) -> Option<Vec<u8>> {
    if let Some(text) = value.as_str() {
        return Some(text.as_bytes().to_vec());
    }
    let digits = value["hex"].as_str()?.as_bytes();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(pair).collect()
}

/// The columns that say where a record is, without what it says.
pub const COORDINATES: [&str; 9] = [
    "source",
    "topic",
    "incarnation",
    "partition",
    "offset",
    "prev_offset",
    "epoch",
    "epoch_clock",
    "quiet",
];

/// Reads the coordinates of the rows of one file; what the records say stays empty.
///
/// # Errors
/// When the file cannot be read or has other columns.
pub fn read_coordinates(log: &DeltaLog, file: &DataFile) -> Result<Vec<Record>, Error> {
    let mut records = Vec::new();
    log.read(file, Some(&COORDINATES), |batch| add_coordinates(batch, &mut records))?;
    Ok(records)
}

fn add_coordinates(batch: &RecordBatch, records: &mut Vec<Record>) -> Result<(), Error> {
    let (source, topic) = (columns::texts(batch, "source")?, columns::texts(batch, "topic")?);
    let incarnation = columns::texts(batch, "incarnation")?;
    let partition = columns::integers(batch, "partition")?;
    let offset = columns::integers(batch, "offset")?;
    let prev_offset = columns::integers(batch, "prev_offset")?;
    let epoch = columns::integers(batch, "epoch")?;
    let epoch_clock = columns::times(batch, "epoch_clock")?;
    let quiet = columns::flags(batch, "quiet")?;
    for row in 0..batch.num_rows() {
        records.push(Record {
            source: source.value(row).to_owned(),
            topic: topic.value(row).to_owned(),
            incarnation: incarnation.value(row).to_owned(),
            partition: i32::try_from(partition.value(row)).map_err(Error::at("partition"))?,
            offset: offset.value(row),
            prev_offset: prev_offset.value(row),
            epoch: epoch.value(row),
            epoch_clock: epoch_clock.value(row),
            quiet: quiet.value(row),
            ..Record::default()
        });
    }
    Ok(())
}

fn add_records(batch: &RecordBatch, records: &mut Vec<Record>) -> Result<(), Error> {
    let first = records.len();
    add_coordinates(batch, records)?;
    let timestamp = columns::times(batch, "kafka_timestamp")?;
    let (key, value) = (columns::bytes(batch, "key")?, columns::bytes(batch, "value")?);
    let decode_error = columns::texts(batch, "decode_error")?;
    for (row, record) in records.iter_mut().skip(first).enumerate() {
        record.timestamp = timestamp.is_valid(row).then(|| timestamp.value(row));
        record.key = key.is_valid(row).then(|| key.value(row).to_vec());
        record.value = value.is_valid(row).then(|| value.value(row).to_vec());
        record.decode_error =
            decode_error.is_valid(row).then(|| decode_error.value(row).to_owned());
        record.headers = headers(batch, row)?;
    }
    Ok(())
}

type Headers = Vec<(String, Option<Vec<u8>>)>;

fn headers(batch: &RecordBatch, row: usize) -> Result<Headers, Error> {
    let column =
        batch.column_by_name("headers").ok_or_else(|| Error::new("no column `headers`"))?;
    let lists = column.as_list_opt::<i32>().ok_or_else(|| Error::new("`headers` is no list"))?;
    if lists.is_null(row) || lists.value_length(row) == 0 {
        return Ok(Vec::new());
    }
    let list = lists.value(row);
    let entries = list.as_struct_opt().ok_or_else(|| Error::new("`headers` holds no structs"))?;
    let entries = RecordBatch::from(entries.clone());
    let (keys, values) = (columns::texts(&entries, "key")?, columns::bytes(&entries, "value")?);
    let pair = |i: usize| {
        let value = values.is_valid(i).then(|| values.value(i).to_vec());
        (keys.value(i).to_owned(), value)
    };
    Ok((0..entries.num_rows()).map(pair).collect())
}

/// Walks bronze at its newest version, one epoch at a time.
#[derive(Debug)]
pub struct Epochs {
    log: DeltaLog,
    /// Files not read yet, with the first epoch in each.
    files: VecDeque<(i64, DataFile)>,
    waiting: BTreeMap<i64, Vec<Record>>,
}

impl Epochs {
    /// Opens `bronze/changes` of the lake at `lake`.
    ///
    /// # Errors
    /// When the log or a file cannot be read.
    pub fn open(lake: &Path) -> Result<Epochs, Error> {
        let log = DeltaLog::open(&lake.join("bronze/changes"))?;
        let mut files = Vec::new();
        for file in log.at(log.newest()).files {
            let mut first = i64::MAX;
            log.read(&file, Some(&["epoch"]), |batch| {
                let epochs = columns::integers(batch, "epoch")?;
                first = epochs.iter().flatten().fold(first, i64::min);
                Ok(())
            })?;
            files.push((first, file));
        }
        files.sort_by_key(|(first, _)| *first);
        Ok(Epochs { log, files: files.into(), waiting: BTreeMap::new() })
    }

    /// The records of the next epoch; `None` after the last.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn next_epoch(&mut self) -> Result<Option<Vec<Record>>, Error> {
        loop {
            let ready = self.waiting.keys().next().copied();
            match (ready, self.files.front()) {
                (Some(epoch), Some((first, _))) if epoch < *first => break,
                (_, None) => break,
                _ => self.load()?,
            }
        }
        let Some((_, mut records)) = self.waiting.pop_first() else { return Ok(None) };
        records.sort_by(|a, b| {
            let place = |r: &Record| (r.partition, r.offset);
            (&a.source, &a.topic).cmp(&(&b.source, &b.topic)).then(place(a).cmp(&place(b)))
        });
        Ok(Some(records))
    }

    fn load(&mut self) -> Result<(), Error> {
        let Some((_, file)) = self.files.pop_front() else { return Ok(()) };
        let mut records = Vec::new();
        self.log.read(&file, None, |batch| add_records(batch, &mut records))?;
        for record in records {
            self.waiting.entry(record.epoch).or_default().push(record);
        }
        Ok(())
    }
}
