//! `weir dead-letters`: records that could not be decoded.

use std::io::Write;
use std::path::PathBuf;

use arrow::array::{
    Array, AsArray, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use clap::Subcommand;
use lake::{At, DataFile, Lake, LakeError, Table};
use pipeline::bronze::TABLE;
use schemas::Micros;
use serde_json::{Value, json};

use super::setup::open;
use crate::config::Config;
use crate::failure::Failure;
use crate::output;

/// Bytes of a value that are shown.
const SHOWN: usize = 60;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Topic, partition, offset and reason of each, in the order in which they came.
    List {
        /// Only records of this topic.
        #[arg(long)]
        topic: Option<String>,
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
        /// The lake's folder, instead of the configured one.
        #[arg(long, value_name = "DIR")]
        lake: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// One record.
#[derive(Debug, PartialEq, Eq)]
struct Letter {
    source: String,
    topic: String,
    partition: i32,
    offset: i64,
    reason: String,
    epoch: i64,
    kafka_timestamp: Option<Micros>,
    value: Option<String>,
}

pub(crate) fn execute(config: &Config, command: &Command) -> Result<(), Failure> {
    let Command::List { topic, limit, lake, json } = command;
    let lake = open(config, lake.as_deref())?;
    let (letters, total) = find(&lake, topic.as_deref(), *limit)?;
    if *json {
        let letters: Vec<_> = letters.iter().map(Letter::to_json).collect();
        output::json(&json!({ "total": total, "dead_letters": letters }));
        return Ok(());
    }
    let rows: Vec<_> = letters.iter().map(Letter::row).collect();
    let header =
        ["topic", "partition", "offset", "epoch", "kafka timestamp", "reason", "value begins with"];
    output::table(&header, &rows);
    let (shown, total) = (output::count(letters.len() as u64), output::count(total));
    drop(writeln!(std::io::stderr(), "{shown} of {total} dead letters"));
    Ok(())
}

/// The first `limit` dead letters, and how many there are.
fn find(lake: &Lake, topic: Option<&str>, limit: usize) -> Result<(Vec<Letter>, u64), LakeError> {
    let table = match Table::open(lake, TABLE, At::Newest) {
        Err(LakeError::NoTable { .. }) => return Ok((Vec::new(), 0)),
        table => table?,
    };
    let mut files: Vec<(i64, &DataFile)> = table
        .files()
        .map(|file| (file.range_i64("epoch").map_or(0, |range| range.0), file.as_ref()))
        .collect();
    files.sort_by(|a, b| (a.0, &a.1.path).cmp(&(b.0, &b.1.path)));
    let (mut letters, mut total) = (Vec::new(), 0);
    for (_, file) in files {
        // Values are read only of files that have any, and only while some are wanted.
        let here = count(&table, file, topic)?;
        total += here;
        if here == 0 || letters.len() >= limit {
            continue;
        }
        for batch in table.read(&[file], None)? {
            let batch = batch?;
            let columns = Columns::new(&batch).ok_or_else(|| wrong(&table))?;
            let own = (0..batch.num_rows()).filter(|row| columns.is_dead(*row, topic));
            let room = limit - letters.len();
            letters.extend(own.take(room).map(|row| columns.letter(row)));
        }
    }
    Ok((letters, total))
}

fn count(table: &Table, file: &DataFile, topic: Option<&str>) -> Result<u64, LakeError> {
    let mut found = 0;
    for batch in table.read(&[file], Some(&["topic", "decode_error"]))? {
        let batch = batch?;
        let text = |name| batch.column_by_name(name)?.as_string_opt::<i32>();
        let topics = text("topic").ok_or_else(|| wrong(table))?;
        let errors = text("decode_error").ok_or_else(|| wrong(table))?;
        if errors.null_count() == errors.len() {
            continue;
        }
        let dead =
            |row: &usize| errors.is_valid(*row) && topic.is_none_or(|t| topics.value(*row) == t);
        found += (0..batch.num_rows()).filter(dead).count() as u64;
    }
    Ok(found)
}

fn wrong(table: &Table) -> LakeError {
    LakeError::Schema {
        table: table.name().to_owned(),
        detail: "has a column of another type than weir writes".to_owned(),
    }
}

impl Letter {
    fn row(&self) -> Vec<String> {
        let none = || "-".to_owned();
        vec![
            self.topic.clone(),
            self.partition.to_string(),
            self.offset.to_string(),
            self.epoch.to_string(),
            self.kafka_timestamp.map_or_else(none, |at| at.to_string()),
            self.reason.clone(),
            self.value.clone().unwrap_or_else(none),
        ]
    }

    fn to_json(&self) -> Value {
        json!({
            "source": self.source,
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "reason": self.reason,
            "epoch": self.epoch,
            "kafka_timestamp": self.kafka_timestamp.map(|at| at.to_string()),
            "value": self.value,
        })
    }
}

/// The first bytes of a value on one line: what is no text is shown as `\u{..}` or `�`.
fn beginning(value: &[u8]) -> String {
    let shown = value.get(..SHOWN).unwrap_or(value);
    let text = String::from_utf8_lossy(shown);
    let mut line = output::escaped(&text, |_| false).into_owned();
    if value.len() > SHOWN {
        line.push('…');
    }
    line
}

struct Columns {
    source: StringArray,
    topic: StringArray,
    partition: Int32Array,
    offset: Int64Array,
    timestamp: TimestampMicrosecondArray,
    value: BinaryArray,
    error: StringArray,
    epoch: Int64Array,
}

impl Columns {
    fn new(batch: &RecordBatch) -> Option<Columns> {
        let column = |name| batch.column_by_name(name);
        let text = |name| column(name)?.as_string_opt::<i32>().cloned();
        let long = |name| column(name)?.as_primitive_opt::<Int64Type>().cloned();
        let timestamp = column("kafka_timestamp")?;
        Some(Columns {
            source: text("source")?,
            topic: text("topic")?,
            partition: column("partition")?.as_primitive_opt::<Int32Type>().cloned()?,
            offset: long("offset")?,
            timestamp: timestamp.as_primitive_opt::<TimestampMicrosecondType>().cloned()?,
            value: column("value")?.as_binary_opt::<i32>().cloned()?,
            error: text("decode_error")?,
            epoch: long("epoch")?,
        })
    }

    fn is_dead(&self, row: usize, topic: Option<&str>) -> bool {
        self.error.is_valid(row) && topic.is_none_or(|topic| self.topic.value(row) == topic)
    }

    fn letter(&self, row: usize) -> Letter {
        Letter {
            source: self.source.value(row).to_owned(),
            topic: self.topic.value(row).to_owned(),
            partition: self.partition.value(row),
            offset: self.offset.value(row),
            reason: self.error.value(row).to_owned(),
            epoch: self.epoch.value(row),
            kafka_timestamp: self
                .timestamp
                .is_valid(row)
                .then(|| Micros(self.timestamp.value(row))),
            value: self.value.is_valid(row).then(|| beginning(self.value.value(row))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::beginning;

    #[test]
    fn values_are_shown_on_one_line_and_cut() {
        assert_eq!(beginning(b"{\"a\":1}\n\x00"), "{\"a\":1}\\n\\u{0}");
        assert_eq!(beginning(&[0xff, b'a']), "\u{fffd}a");
        let long = beginning(&[b'x'; 100]);
        assert_eq!((long.chars().count(), long.ends_with('…')), (61, true));
    }
}
