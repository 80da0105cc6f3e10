//! Decisions of people and of Weir itself, taken in the epochs of their records.
//!
//! # Guarantees
//! - Decisions of an epoch take effect after its timers and before its rows, in offset order.
//! - An epoch without any other records passes like a tick: nothing that is computed from rows shows
//!   whether there was one.

use pipeline::record::{RawBatch, RawRecord};
use pipeline::source::wrong_line;
use schemas::{ControlRecord, Decision, EpochStamp, InForce};

use super::KeyedTable;

/// The part of a state file with the definitions in force.
pub(crate) const PART: &str = "control";

/// Reads the decisions of a batch; returns what is none, record and reason, ascending.
pub(super) fn parse(batch: &RawBatch, into: &mut Vec<ControlRecord>) -> Vec<(usize, String)> {
    let mut errors = Vec::new();
    for (at, record) in batch.iter().enumerate() {
        match parse_one(batch, &record) {
            Ok(decision) => into.push(decision),
            Err(reason) => errors.push((at, reason)),
        }
    }
    errors
}

fn parse_one(batch: &RawBatch, record: &RawRecord<'_>) -> Result<ControlRecord, String> {
    if let Some(wrong) = wrong_line(batch.topic(), record) {
        return Err(format!("no line of a control record: {wrong}"));
    }
    ControlRecord::parse(record.value.unwrap_or_default()).map_err(|error| error.to_string())
}

fn named<'a>(tables: &'a mut [KeyedTable], name: &str) -> Option<&'a mut KeyedTable> {
    tables.iter_mut().find(|table| table.contract.contract().name == name)
}

/// What decisions have made of the state, beside the rows of tables.
#[derive(Debug, Default)]
pub(super) struct Control {
    /// The definitions in force.
    pub(super) in_force: InForce,
}

/// Does to a table that is built alone what decisions of the epoch say.
pub(super) fn take_alone(stamp: &EpochStamp, decisions: &[ControlRecord], table: &mut KeyedTable) {
    let own = &table.contract.contract().name;
    for record in decisions {
        match &record.decision {
            Decision::ResumeTable { table: name } if name == own => {
                table.fold.resume();
            }
            Decision::SweepTable { table: name } if name == own => {
                table.fold.sweep_lacking(stamp.clock, &mut table.delta);
            }
            Decision::DropDeadLetters { table: name, letter } if name == own => {
                table.fold.drop_unread(letter.as_ref(), stamp, &mut table.delta);
            }
            _ => {}
        }
    }
}

impl Control {
    /// Takes the decisions of an epoch.
    pub(super) fn take(
        &mut self,
        stamp: &EpochStamp,
        decisions: &[ControlRecord],
        tables: &mut [KeyedTable],
    ) {
        for ControlRecord { id, by, decision, .. } in decisions {
            match decision {
                Decision::ResumeTable { table } => {
                    let found = named(tables, table);
                    let epoch = stamp.id;
                    if found.is_some_and(|table| table.fold.resume()) {
                        tracing::info!(epoch, id, by, "table `{table}` is resumed");
                    } else {
                        tracing::warn!(id, by, "table `{table}` is not halted: nothing to resume");
                    }
                }
                Decision::SweepTable { table } => {
                    let sweep =
                        |t: &mut KeyedTable| t.fold.sweep_lacking(stamp.clock, &mut t.delta);
                    let rows = named(tables, table).map_or(0, sweep);
                    let epoch = stamp.id;
                    tracing::info!(epoch, id, by, rows, "table `{table}` is swept");
                }
                Decision::DropDeadLetters { table, letter } => {
                    let drop = |t: &mut KeyedTable| {
                        t.fold.drop_unread(letter.as_ref(), stamp, &mut t.delta)
                    };
                    let ended = named(tables, table).map_or(0, drop);
                    let epoch = stamp.id;
                    tracing::info!(
                        epoch,
                        id,
                        by,
                        ended,
                        "dead letters of table `{table}` are dropped"
                    );
                }
                Decision::Define(changes) => self.in_force.take(changes, stamp.id, stamp.clock),
                Decision::Unknown { kind, version } => tracing::warn!(
                    id,
                    by,
                    "a decision `{kind}` of version {version} is kept and has no effect: this version of weir does not know it"
                ),
            }
        }
    }
}
