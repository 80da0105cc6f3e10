//! The table `gold/audit`: one row for each audit, written by the auditor itself.
//!
//! # Guarantees
//! - What is first found wrong is committed at once, other audits a few seconds later, and all of them when the run ends.
//! - Small files are merged, and the log is kept short, as those of the KPI history.
//!
//! # Non-guarantees
//! - What was not committed yet is lost with the process, and while the disk refuses the oldest rows are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use lake::{Commit, CommitError, Lake, LakeError, Table, TableSpec};
use pipeline::bronze::{CLOCK, EPOCH};
use rows::{columns, instant};
use schemas::Micros;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::{Audited, Verdict};
use crate::run::Meters;
use crate::tables::{AUDIT, number};
use crate::upkeep::{Keeper, Task, Upkeep};

/// The progress that every commit brings: how many rows there are.
const AUDITS: &str = "weir/audits";
/// Rows are committed this long after the commit before.
const EVERY: Duration = Duration::from_secs(5);
/// Rows that wait at most.
const WAITING: usize = 1_000;

pub(crate) fn spec() -> TableSpec {
    TableSpec {
        name: AUDIT.into(),
        schema: schema(),
        partition_columns: Vec::new(),
        description: "groups of KPI cells that were computed again from silver".into(),
    }
}

fn schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let count = |name: &str| Field::new(name, DataType::Int64, false);
    Arc::new(Schema::new(vec![
        Field::new("at", instant(), false),
        count("epoch"),
        text("kpi"),
        text("tenant_id"),
        text("grain"),
        Field::new("period_start", instant(), false),
        text("status"),
        count("cells"),
        count("mismatches"),
        Field::new("details", DataType::Utf8, true),
        count("milliseconds"),
    ]))
}

/// Why it is as it is: JSON.
fn details(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Ok => None,
        Verdict::PassedOver(reason) => Some(json!({ "reason": reason }).to_string()),
        Verdict::Mismatch(details) => {
            let cells = details.iter().map(|own| {
                // Dimensions are JSON already.
                let dims = serde_json::from_str::<Value>(&own.dims).unwrap_or_default();
                json!({
                    "dims": dims, "expected": own.expected, "found": own.found, "problem": own.problem,
                })
            });
            Some(json!({ "cells": cells.collect::<Vec<_>>() }).to_string())
        }
    }
}

fn batch(rows: &[(Micros, Audited)]) -> Result<RecordBatch, ArrowError> {
    let text = |of: fn(&Audited) -> &str| columns::texts(rows.iter().map(move |row| of(&row.1)));
    let count = |of: fn(&Audited) -> u64| -> ArrayRef {
        let numbers = rows.iter().map(|row| i64::try_from(of(&row.1)).unwrap_or(i64::MAX));
        Arc::new(Int64Array::from_iter_values(numbers))
    };
    let details: Vec<Option<String>> = rows.iter().map(|row| details(&row.1.verdict)).collect();
    let arrays = vec![
        columns::timestamps(rows.iter().map(|row| Some(row.0))),
        count(|own| own.epoch),
        text(|own| &own.group.kpi),
        text(|own| &own.group.tenant),
        text(|own| own.group.grain.name()),
        columns::timestamps(rows.iter().map(|row| Some(row.1.group.period_start))),
        text(|own| own.verdict.name()),
        count(|own| own.cells as u64),
        count(|own| own.mismatches as u64),
        columns::some_texts(details.iter().map(Option::as_deref)),
        count(|own| u64::try_from(own.took.as_millis()).unwrap_or(u64::MAX)),
    ];
    RecordBatch::try_new(schema(), arrays)
}

/// Writes the table. It is made with the first row.
pub(crate) struct AuditLog {
    lake: Lake,
    table: Option<Table>,
    keeper: Option<Keeper>,
    upkeep: Upkeep,
    tasks: std::sync::mpsc::SyncSender<Task>,
    meters: Arc<Meters>,
    runtime: Handle,
    waiting: Vec<(Micros, Audited)>,
    committed: Option<Instant>,
}

#[derive(Debug, thiserror::Error)]
enum LogError {
    #[error(transparent)]
    Lake(#[from] LakeError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Arrow(#[from] ArrowError),
}

impl AuditLog {
    pub(crate) fn new(
        lake: Lake,
        upkeep: Upkeep,
        tasks: std::sync::mpsc::SyncSender<Task>,
        meters: Arc<Meters>,
        runtime: Handle,
    ) -> AuditLog {
        let (table, keeper, waiting, committed) = (None, None, Vec::new(), None);
        AuditLog { lake, table, keeper, upkeep, tasks, meters, runtime, waiting, committed }
    }

    /// Takes an audit that was made at this instant, and commits what is due, or urgent.
    pub(crate) fn add(&mut self, at: Micros, audited: Audited, is_urgent: bool) {
        if self.waiting.len() == WAITING {
            self.waiting.remove(0);
        }
        self.waiting.push((at, audited));
        if is_urgent || self.committed.is_none_or(|last| last.elapsed() >= EVERY) {
            self.commit(at);
        }
    }

    /// Commits the rows that wait. What fails is said, and tried again with the next row.
    pub(crate) fn commit(&mut self, now: Micros) {
        self.committed = Some(Instant::now());
        if self.waiting.is_empty() {
            return;
        }
        if let Err(error) = self.try_commit(now) {
            let rows = self.waiting.len();
            let error = schemas::chain(&error);
            tracing::warn!("could not write {AUDIT}, and tries again with {rows} rows: {error}");
            // It is opened anew: nobody knows what the log has now.
            (self.table, self.keeper) = (None, None);
        }
    }

    fn try_commit(&mut self, now: Micros) -> Result<(), LogError> {
        if self.table.is_none() {
            let opened = self.runtime.block_on(Table::open_or_create(&self.lake, &spec()))?;
            opened.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
            self.table = Some(opened);
        }
        let Some(table) = &mut self.table else { return Ok(()) };
        let held = |app: &str| table.progress(app).unwrap_or(0);
        let newest = self.waiting.iter().map(|row| (number(row.1.epoch), row.1.clock.0)).max();
        let (epoch, clock) = newest.unwrap_or((0, 0));
        let (epoch, clock) = (epoch.max(held(EPOCH)), clock.max(held(CLOCK)));
        let rows = i64::try_from(self.waiting.len()).unwrap_or(i64::MAX);
        let progress = vec![
            (AUDITS.into(), held(AUDITS).saturating_add(rows)),
            (EPOCH.into(), epoch),
            (CLOCK.into(), clock),
        ];
        let mut writer = table.file_writer(&[])?;
        writer.write(&batch(&self.waiting)?)?;
        let adds = vec![writer.finish()?];
        let commit = Commit { adds, progress, operation: "WRITE", ..Commit::default() };
        self.runtime.block_on(table.commit(&commit))?;
        self.waiting.clear();
        let new = |table: &Table| {
            Keeper::new(table, self.upkeep, self.tasks.clone(), Arc::clone(&self.meters))
        };
        let keeper = self.keeper.get_or_insert_with(|| new(table));
        keeper.barrier(table, epoch);
        keeper.tend(table, now, &self.runtime);
        Ok(())
    }
}
