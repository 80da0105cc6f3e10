//! Bronze: spans whole and unbroken per partition, epochs and clocks ascending.
//!
//! # Guarantees
//! - One pass over the rows in the order in which they were written; memory grows with the number of
//!   partitions alone.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{
    AsArray, BooleanArray, Date32Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Date32Type, Int32Type, Int64Type, TimestampMicrosecondType};
use lake::{DataFile, LakeError, Table};
use pipeline::bronze::{CLOCK, EPOCH, FLUSHED, held};
use schemas::{CONTROL, Micros};

use super::report::Check;

const COLUMNS: [&str; 10] = [
    "source",
    "topic",
    "incarnation",
    "partition",
    "offset",
    "prev_offset",
    "epoch",
    "epoch_clock",
    "quiet",
    "day",
];

const ADVICE: &str = "restore the lake from a backup, or start a new lake and read the topics again; \
                      do not run on this one";

const DAY_US: i64 = 86_400_000_000;

/// What the other checks need to know of bronze.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Rows up to the epoch asked for.
    pub(super) rows: u64,
    /// The last epoch with rows of configured sources up to the one asked for.
    pub(super) last: Option<Stamp>,
    /// By (source, topic), the clock of the last epoch with a quiet row up to the one asked for.
    pub(super) last_quiet: BTreeMap<(String, String), Micros>,
    /// (source, topic) of all rows but control records.
    pub(super) topics: BTreeSet<(String, String)>,
}

/// Number and clock of an epoch with rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) epoch: i64,
    pub(super) clock: Micros,
}

/// Source, topic, incarnation, partition.
type Partition = (String, String, String, i32);

struct Pass<'a> {
    check: &'a mut Check,
    skips: &'a BTreeSet<String>,
    partitions: BTreeMap<Partition, i64>,
    /// The partition of the row before and where it goes on.
    current: Option<(Partition, i64)>,
    /// When rows of that partition were quiet last.
    last_quiet: Option<Micros>,
    stamp: Option<Stamp>,
    epochs: usize,
    rows: usize,
    holes: u64,
    up_to: i64,
    facts: Facts,
}

/// Checks the rows of `table`. `skips` names the sources that may go on after records which the broker
/// has lost.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn check(
    table: &Table,
    up_to: i64,
    skips: &BTreeSet<String>,
) -> Result<(Check, Facts), LakeError> {
    let mut check = Check::new("bronze", table.name(), ADVICE);
    let mut pass = Pass {
        check: &mut check,
        skips,
        partitions: BTreeMap::new(),
        current: None,
        last_quiet: None,
        stamp: None,
        epochs: 0,
        rows: 0,
        holes: 0,
        up_to,
        facts: Facts::default(),
    };
    for batch in table.read(&in_order(table), Some(&COLUMNS))? {
        let batch = batch?;
        let wrong = || LakeError::Schema {
            table: table.name().to_owned(),
            detail: "has a column of another type than weir writes".to_owned(),
        };
        let columns = Columns::new(&batch).ok_or_else(wrong)?;
        (0..batch.num_rows()).for_each(|row| pass.row(&columns, row));
    }
    pass.leave_partition();
    pass.progress(table);
    let (rows, partitions, epochs) = (pass.rows, pass.partitions.len(), pass.epochs);
    let (facts, holes) = (pass.facts, pass.holes);
    check.count("rows", rows);
    check.count("partitions", partitions);
    check.count("epochs", epochs);
    if holes > 0 {
        check.notes.push(format!(
            "{holes} times records are missing that the broker had lost before they were read; the \
             source says `lost_records = \"skip\"`"
        ));
    }
    Ok((check, facts))
}

/// The files in the order in which their epochs came.
fn in_order(table: &Table) -> Vec<&DataFile> {
    let mut files: Vec<(i64, &DataFile)> = table
        .files()
        .map(|file| (file.range_i64("epoch").map_or(0, |range| range.0), file.as_ref()))
        .collect();
    files.sort_by(|a, b| (a.0, &a.1.path).cmp(&(b.0, &b.1.path)));
    files.into_iter().map(|(_, file)| file).collect()
}

impl Pass<'_> {
    fn row(&mut self, columns: &Columns, row: usize) {
        self.rows += 1;
        self.enter_partition(columns, row);
        self.coordinates(columns.prev_offset.value(row), columns.offset.value(row));
        let stamp =
            Stamp { epoch: columns.epoch.value(row), clock: Micros(columns.clock.value(row)) };
        let is_quiet = columns.quiet.value(row);
        self.stamp(stamp);
        if i64::from(columns.day.value(row)) != stamp.clock.0.div_euclid(DAY_US) {
            let place = self.place();
            self.check.problem(|| format!("{place}: `day` is not the date of its epoch's clock"));
        }
        if stamp.epoch <= self.up_to {
            self.facts.rows += 1;
            let is_control = self.current.as_ref().is_some_and(|(of, _)| of.0 == CONTROL);
            if is_control && is_quiet {
                let place = self.place();
                self.check.problem(|| format!("{place}: a decision is quiet"));
            }
            if is_quiet {
                self.last_quiet = Some(stamp.clock);
            }
            if !is_control {
                self.facts.last = Some(stamp);
            }
        }
    }

    fn enter_partition(&mut self, columns: &Columns, row: usize) {
        if self.current.as_ref().is_some_and(|(partition, _)| columns.is_of(row, partition)) {
            return;
        }
        self.leave_partition();
        let partition = columns.partition_of(row);
        let next = self.partitions.get(&partition).copied();
        let next = next.unwrap_or_else(|| columns.prev_offset.value(row));
        if partition.0 != CONTROL {
            self.facts.topics.insert((partition.0.clone(), partition.1.clone()));
        }
        self.current = Some((partition, next));
    }

    fn leave_partition(&mut self) {
        if let Some((partition, next)) = self.current.take() {
            if let Some(clock) = self.last_quiet.take() {
                let topic = (partition.0.clone(), partition.1.clone());
                let last = self.facts.last_quiet.entry(topic).or_insert(clock);
                *last = clock.max(*last);
            }
            self.partitions.insert(partition, next);
        }
    }

    fn place(&self) -> String {
        self.current.as_ref().map_or_else(String::new, |(partition, next)| {
            format!("{} before offset {next}", name(partition))
        })
    }

    fn coordinates(&mut self, prev_offset: i64, offset: i64) {
        let Some((partition, next)) = &mut self.current else { return };
        let expected = std::mem::replace(next, offset.saturating_add(1).max(*next));
        let place = name(partition);
        if offset < expected {
            self.check.problem(|| {
                format!("{place}: offset {offset} is there twice or out of order, after {expected} was reached")
            });
        } else if prev_offset > expected && self.skips.contains(&partition.0) {
            self.holes += 1;
        } else if prev_offset > expected {
            self.check.problem(|| {
                format!("{place}: offsets {expected} to {prev_offset} (exclusive) were read and are missing")
            });
        } else if prev_offset < expected {
            self.check.problem(|| {
                format!("{place}: offset {offset} says that {prev_offset} was reached before it, but it was {expected}")
            });
        } else if offset < prev_offset {
            self.check.problem(|| {
                format!("{place}: offset {offset} is below its prev_offset {prev_offset}")
            });
        }
    }

    fn stamp(&mut self, stamp: Stamp) {
        let Some(before) = self.stamp.replace(stamp) else {
            self.epochs += 1;
            return;
        };
        let Stamp { epoch, clock } = stamp;
        if epoch == before.epoch {
            if clock != before.clock {
                self.check.problem(|| format!("epoch {epoch} has rows with different clocks"));
            }
            return;
        }
        self.epochs += 1;
        if epoch < before.epoch {
            self.check.problem(|| format!("epoch {epoch} comes after epoch {}", before.epoch));
        } else if clock <= before.clock {
            self.check.problem(|| {
                let was = before.clock;
                format!(
                    "epoch {epoch} has the clock {clock}, not later than {was} of epoch {}",
                    before.epoch
                )
            });
        }
    }

    /// The progress kept with the rows says what the rows say.
    fn progress(&mut self, table: &Table) {
        let mut told: BTreeMap<Partition, i64> = BTreeMap::new();
        for (of, next) in held(table).next {
            let text = |part: std::sync::Arc<str>| part.to_string();
            let key = (text(of.source), text(of.topic), text(of.incarnation), of.partition);
            told.insert(key, next);
        }
        for (partition, reached) in &self.partitions {
            let said = told.remove(partition);
            if said != Some(*reached) {
                let said = said.map_or("nothing".to_owned(), |next| next.to_string());
                self.check.problem(|| {
                    let place = name(partition);
                    format!("{place}: the rows reach offset {reached}, the recorded progress says {said}")
                });
            }
        }
        for (partition, next) in told {
            self.check.problem(|| {
                let place = name(&partition);
                format!("{place}: the recorded progress says {next}, but there is no row of it")
            });
        }
        let number = |app| table.progress(app).unwrap_or(0);
        let (epoch, clock, flushed) = (number(EPOCH), number(CLOCK), number(FLUSHED));
        if let Some(last) = self.stamp.filter(|last| last.epoch > epoch || last.clock.0 > clock) {
            self.check.problem(|| {
                format!("rows reach epoch {}, the recorded progress says {epoch}", last.epoch)
            });
        }
        if flushed > epoch {
            self.check.problem(|| {
                format!("barrier {flushed} is complete, but bronze ends at epoch {epoch}")
            });
        }
    }
}

fn name(partition: &Partition) -> String {
    let (source, topic, incarnation, number) = partition;
    format!("source `{source}`, topic `{topic}` ({incarnation}), partition {number}")
}

struct Columns {
    source: StringArray,
    topic: StringArray,
    incarnation: StringArray,
    partition: Int32Array,
    offset: Int64Array,
    prev_offset: Int64Array,
    epoch: Int64Array,
    clock: TimestampMicrosecondArray,
    quiet: BooleanArray,
    day: Date32Array,
}

impl Columns {
    fn new(batch: &RecordBatch) -> Option<Columns> {
        let text = |name| batch.column_by_name(name)?.as_string_opt::<i32>().cloned();
        let long = |name| batch.column_by_name(name)?.as_primitive_opt::<Int64Type>().cloned();
        let column = |name| batch.column_by_name(name);
        Some(Columns {
            source: text("source")?,
            topic: text("topic")?,
            incarnation: text("incarnation")?,
            partition: column("partition")?.as_primitive_opt::<Int32Type>().cloned()?,
            offset: long("offset")?,
            prev_offset: long("prev_offset")?,
            epoch: long("epoch")?,
            clock: column("epoch_clock")?
                .as_primitive_opt::<TimestampMicrosecondType>()
                .cloned()?,
            quiet: column("quiet")?.as_boolean_opt().cloned()?,
            day: column("day")?.as_primitive_opt::<Date32Type>().cloned()?,
        })
    }

    fn is_of(&self, row: usize, partition: &Partition) -> bool {
        self.partition.value(row) == partition.3
            && self.topic.value(row) == partition.1
            && self.incarnation.value(row) == partition.2
            && self.source.value(row) == partition.0
    }

    fn partition_of(&self, row: usize) -> Partition {
        let text = |column: &StringArray| column.value(row).to_owned();
        let number = self.partition.value(row);
        (text(&self.source), text(&self.topic), text(&self.incarnation), number)
    }
}
