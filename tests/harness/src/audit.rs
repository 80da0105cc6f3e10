//! Nothing lost, nothing doubled: the figures of bronze, over every version of it.
//!
//! # Guarantees
//! - Every committed version whose files still exist is looked at, not only the newest.
//! - A defect is counted once under the name that fits it best, with the first ten as text.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use crate::Error;
use crate::bronze::{self, Epochs, Record};
use crate::delta_log::DeltaLog;
use crate::log::{self, Log};

/// Examples kept of what is wrong.
const EXAMPLES: usize = 10;

/// What was found in bronze.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BronzeAudit {
    /// Versions looked at.
    pub versions: u64,
    /// Versions whose files have been vacuumed away, and which could not be looked at.
    pub unreadable_versions: u64,
    /// Rows at the newest version, without decisions.
    pub records: u64,
    /// Rows of the built-in source: decisions.
    pub decisions: u64,
    /// Epochs with records other than decisions.
    pub epochs: u64,
    /// Partitions of versions whose rows are not all that was read up to there.
    pub holes: u64,
    /// Partitions of versions whose stored progress is not one past their last row.
    pub drift: u64,
    /// Rows beyond the first with the same coordinates.
    pub doubled: u64,
    /// Expected records that are not there.
    pub lost: u64,
    /// Rows that nobody produced.
    pub spurious: u64,
    /// Rows with another key or value than was produced.
    pub corrupt: u64,
    /// Epochs whose clock does not rise, or with two clocks, or with two quiet bits of one origin.
    pub clocks: u64,
    /// The first findings, as text.
    pub examples: Vec<String>,
}

impl BronzeAudit {
    /// Whether every figure that must be zero is.
    pub fn is_clean(&self) -> bool {
        let wrong = [self.holes, self.drift, self.doubled, self.lost, self.spurious, self.corrupt];
        wrong.iter().sum::<u64>() + self.clocks == 0
    }

    fn say(&mut self, finding: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(finding());
        }
    }
}

/// Audits `bronze/changes` of a lake, against the expected log when there is one.
///
/// # Errors
/// When bronze cannot be read.
pub fn audit(lake: &Path, expected: Option<&Log>) -> Result<BronzeAudit, Error> {
    let mut audit = audit_versions(lake, expected)?;
    let mut rows = RowAudit::default();
    let mut epochs = Epochs::open(lake)?;
    while let Some(records) = epochs.next_epoch()? {
        rows.see(&records, expected, &mut audit);
    }
    rows.finish(expected, &mut audit);
    Ok(audit)
}

/// What is known of one partition while walking the versions.
#[derive(Debug, Default)]
struct Partition {
    start: i64,
    next: Option<i64>,
    /// Distinct rows since `start`.
    rows: usize,
}

/// Looks at each version: chains without gaps, and progress that fits the rows.
///
/// # Errors
/// When the log or a file cannot be read.
pub fn audit_versions(lake: &Path, expected: Option<&Log>) -> Result<BronzeAudit, Error> {
    let log = DeltaLog::open(&lake.join("bronze/changes"))?;
    let mut audit = BronzeAudit::default();
    let mut partitions: BTreeMap<String, Partition> = BTreeMap::new();
    let mut stored = BTreeMap::new();
    for entry in log.entries() {
        audit.versions += 1;
        let mut by_partition: BTreeMap<String, Vec<Record>> = BTreeMap::new();
        let mut complete = true;
        // Only a rewrite of files may bring no rows: the flag alone is a claim of the product.
        let rewrites = !entry.removes.is_empty();
        for file in entry.adds.iter().filter(|file| file.data_change || !rewrites) {
            if !log.has_file(file) {
                complete = false;
                continue;
            }
            for record in bronze::read_coordinates(&log, file)? {
                by_partition.entry(record.app_id()).or_default().push(record);
            }
        }
        if !complete {
            stored.extend(entry.txns.iter().map(|(id, value)| (id.clone(), *value)));
            audit.unreadable_versions += 1;
            partitions.clear();
            continue;
        }
        for (app_id, mut records) in by_partition {
            records.sort_by_key(|record| record.offset);
            let partition = partitions.entry(app_id).or_default();
            if follow(partition, &records, expected, &mut audit) {
                audit.holes += 1;
            }
        }
        stored.extend(entry.txns.iter().map(|(id, value)| (id.clone(), *value)));
        check_progress(entry.version, &stored, &partitions, &mut audit);
    }
    Ok(audit)
}

/// Adds a version's rows of one partition; whether they leave a hole.
fn follow(
    partition: &mut Partition,
    records: &[Record],
    expected: Option<&Log>,
    audit: &mut BronzeAudit,
) -> bool {
    let mut hole = false;
    for record in records {
        let next = partition.next.unwrap_or_else(|| {
            partition.start = record.prev_offset;
            record.prev_offset
        });
        if record.offset < next {
            continue; // Counted as doubled among the rows.
        }
        if record.prev_offset != next {
            hole = true;
            audit.say(|| {
                let (place, prev) = (record.place(), record.prev_offset);
                format!("hole: {place} follows offset {prev}, but bronze had read up to {next}")
            });
        }
        partition.next = Some(record.offset + 1);
        partition.rows += 1;
    }
    if let (Some(log), Some(last), Some(next)) = (expected, records.last(), partition.next) {
        let due = log.count(&last.topic, last.partition, partition.start, next);
        if due > partition.rows && !hole {
            hole = true;
            let (place, rows) = (last.place(), partition.rows);
            audit.say(|| format!("hole: {rows} rows up to {place}, {due} records were produced"));
        }
    }
    hole
}

/// `stored` is the progress at this version: of its own entry or of an earlier one.
fn check_progress(
    version: u64,
    stored: &BTreeMap<String, i64>,
    partitions: &BTreeMap<String, Partition>,
    audit: &mut BronzeAudit,
) {
    for (app_id, partition) in partitions {
        let stored = stored.get(app_id).copied();
        if stored != partition.next {
            audit.drift += 1;
            let rows = partition.next;
            audit.say(|| {
                format!(
                    "drift: version {version} stores {stored:?} for {app_id}, its rows say {rows:?}"
                )
            });
        }
    }
}

/// The figures that need each row once: doubled, spurious, corrupt, lost, clocks.
#[derive(Debug, Default)]
pub struct RowAudit {
    seen: BTreeMap<(String, i32), BTreeMap<String, HashSet<i64>>>,
    last_clock: i64,
}

impl RowAudit {
    /// Sees the records of the next epoch.
    pub fn see(&mut self, records: &[Record], expected: Option<&Log>, audit: &mut BronzeAudit) {
        let Some(first) = records.first() else { return };
        audit.epochs += u64::from(records.iter().any(|record| !record.is_control()));
        if records.iter().any(|record| record.epoch_clock != first.epoch_clock) {
            audit.clocks += 1;
            audit.say(|| format!("clock: epoch {} has two clocks", first.epoch));
        }
        if records.iter().any(|record| record.is_control() && record.quiet) {
            audit.clocks += 1;
            audit.say(|| format!("clock: a decision is quiet in epoch {}", first.epoch));
        }
        if first.epoch_clock <= self.last_clock {
            audit.clocks += 1;
            audit.say(|| format!("clock: epoch {} is not later than the one before", first.epoch));
        }
        self.last_clock = first.epoch_clock;
        for record in records {
            self.see_record(record, expected, audit);
        }
    }

    fn see_record(&mut self, record: &Record, expected: Option<&Log>, audit: &mut BronzeAudit) {
        let is_control = record.is_control();
        audit.records += u64::from(!is_control);
        audit.decisions += u64::from(is_control);
        let place = (record.topic.clone(), record.partition);
        let life = format!("{}/{}", record.source, record.incarnation);
        let offsets = self.seen.entry(place).or_default().entry(life).or_default();
        if !offsets.insert(record.offset) {
            audit.doubled += 1;
            audit.say(|| format!("doubled: {}", record.place()));
            return;
        }
        let Some(expected) = expected.filter(|_| !is_control) else { return };
        match expected.get(&record.topic, record.partition, record.offset) {
            None => {
                audit.spurious += 1;
                audit.say(|| format!("spurious: {}", record.place()));
            }
            Some(hash) if hash != log::hash(record.key.as_deref(), record.value.as_deref()) => {
                audit.corrupt += 1;
                audit.say(|| format!("corrupt: {}", record.place()));
            }
            Some(_) => {}
        }
    }

    /// Sees the quiet bits of an epoch, each with the origin of its record.
    pub fn see_quiet(epoch: i64, bits: &[(String, bool)], audit: &mut BronzeAudit) {
        let quiet: HashSet<&str> =
            bits.iter().filter(|(_, quiet)| *quiet).map(|(origin, _)| origin.as_str()).collect();
        if let Some((origin, _)) =
            bits.iter().find(|(origin, is_quiet)| !is_quiet && quiet.contains(origin.as_str()))
        {
            audit.clocks += 1;
            audit.say(|| format!("clock: {origin} has two quiet bits in epoch {epoch}"));
        }
    }

    /// After the last epoch: which expected records did not come.
    pub fn finish(&self, expected: Option<&Log>, audit: &mut BronzeAudit) {
        let Some(expected) = expected else { return };
        for (topic, partition, offset) in expected.coordinates() {
            let lives = self.seen.get(&(topic.to_owned(), partition));
            if !lives.is_some_and(|lives| lives.values().any(|seen| seen.contains(&offset))) {
                audit.lost += 1;
                audit.say(|| format!("lost: {topic}/{partition}/{offset}"));
            }
        }
    }
}
