//! Decisions of people and of Weir itself, taken in the epochs of their records.
//!
//! # Guarantees
//! - Decisions of an epoch take effect after its timers and before its rows: its definitions first, then all
//!   others, in offset order. So what waited for a start is judged by what that start puts in force.
//! - An epoch without any other records passes like a tick: nothing that is computed from rows shows
//!   whether there was one.

use std::sync::Arc;

use schemas::clock_guard::JUMP_US;
use schemas::{
    Answers, Contract, ControlRecord, Decision, DefinitionChange, DefinitionKind, EpochId,
    EpochStamp, InForce, Letter, Micros, StillDead,
};

use super::KeyedTable;
use super::decoding::definitions;
use super::letters::{Desk, retry};
use super::wish::Wish;

/// The part of a state file with the definitions in force.
pub(crate) const PART: &str = "control";
/// That with how far the lake's time is ahead.
pub(crate) const CLOCK_PART: &str = "clock";
/// That with what people said of alerts.
pub(crate) const ANSWERS_PART: &str = "answers";

fn named<'a>(tables: &'a mut [KeyedTable], name: &str) -> Option<&'a mut KeyedTable> {
    tables.iter_mut().find(|table| table.contract.contract().name == name)
}

/// What decisions have made of the state, beside the rows of tables.
#[derive(Debug, Default)]
pub(super) struct Control {
    /// The definitions in force.
    pub(super) in_force: InForce,
    /// Whether epochs pass that were folded before: what they decided is no news.
    pub(super) is_replay: bool,
    /// How far the lake's time is ahead of the machine's clock, as somebody has accepted, in microseconds.
    pub(super) clock_ahead: i64,
    /// What people said of alerts.
    pub(super) answers: Arc<Answers>,
    /// KPIs that were decided to be computed anew, and are still to be marked so.
    pub(super) rebuilt: Vec<String>,
    /// What decisions ask another run for.
    pub(super) wish: Wish,
}

/// Takes the contract in a definition's text, if it is of this table: which values it refuses from here on.
fn put_in_force(table: &mut KeyedTable, text: Option<&str>) {
    // A text of another release may be none that this one reads; what it refused is unknown then.
    let contract = text.and_then(|text| Contract::parse(text).ok());
    table.fold.put_in_force(contract.as_ref());
}

/// Does to a table that is built alone what decisions of the epoch say.
pub(super) fn take_alone(
    stamp: &EpochStamp,
    decisions: &[ControlRecord],
    (number, table): (usize, &mut KeyedTable),
    desk: &mut Desk<'_>,
) {
    let own = table.contract.contract().name.clone();
    let of_own =
        |change: &&DefinitionChange| change.of == DefinitionKind::Contract && change.name == own;
    if let Some(change) = definitions(decisions).flatten().filter(of_own).last() {
        put_in_force(table, change.text.as_deref());
    }
    for record in decisions {
        match &record.decision {
            Decision::ResumeTable { table: name } if *name == own => {
                table.fold.resume(stamp.id);
            }
            Decision::SweepTable { table: name } if *name == own => {
                table.fold.sweep_lacking(stamp.clock, &mut table.delta);
            }
            Decision::DropDeadLetters { table: name, letter } if *name == own => {
                table.fold.drop_unread(letter.as_ref(), stamp, &mut table.delta);
            }
            Decision::RetryDeadLetters { table: name, letters } if *name == own => {
                // What became of it is in bronze already.
                drop(retry(letters, (number, table), stamp, desk));
            }
            _ => {}
        }
    }
}

impl Control {
    /// Gives every table the contract in force.
    pub(super) fn put_in_force(&self, tables: &mut [KeyedTable]) {
        for table in tables {
            let name = &table.contract.contract().name;
            let version = self.in_force.newest(DefinitionKind::Contract, name);
            put_in_force(table, version.and_then(|version| version.text.as_deref()));
        }
    }

    /// Lets time pass to the clock of an epoch, before its decisions.
    pub(super) fn pass(&mut self, stamp: &EpochStamp) {
        if self.answers.next_due().is_some_and(|due| due <= stamp.clock) {
            Arc::make_mut(&mut self.answers).pass(stamp);
        }
    }

    /// The machine's clock, that was at `at` when the lake stood at `clock`, is right.
    fn accept_clock(&mut self, at: Micros, clock: Micros) -> String {
        let ahead = clock.0.saturating_sub(at.0);
        self.clock_ahead = if ahead > JUMP_US { ahead } else { 0 };
        let ahead_s = self.clock_ahead / 1_000_000;
        format!("the machine's clock is accepted, with the lake {ahead_s} s ahead")
    }

    /// The cells of a KPI are to be computed anew.
    fn rebuild(&mut self, kpi: &str, epoch: EpochId) -> String {
        self.rebuilt.push(kpi.to_owned());
        format!(
            "the KPI `{kpi}` is written again, and the next run computes it anew, as was decided when the lake stood at \
             epoch {epoch}"
        )
    }

    /// Files of definitions are to be read again. An epoch that is folded again wants nothing: who folds it has read
    /// them since.
    fn apply(&mut self, at: Micros) -> String {
        if !self.is_replay {
            self.wish.definitions = self.wish.definitions.max(Some(at));
        }
        "the files of definitions are to be read again".to_owned()
    }

    /// Takes the decisions of an epoch. Gives the dead letters that were to be read again and still cannot be,
    /// by the number of the decision.
    pub(super) fn take(
        &mut self,
        stamp: &EpochStamp,
        decisions: &[ControlRecord],
        tables: &mut [KeyedTable],
        desk: &mut Desk<'_>,
    ) -> Vec<(usize, StillDead)> {
        let mut still_dead = Vec::new();
        desk.decoding.define(definitions(decisions).flatten(), stamp.id);
        for changes in definitions(decisions) {
            self.in_force.take(changes, stamp.id, stamp.clock);
            self.put_in_force(tables);
        }
        for (number, record) in decisions.iter().enumerate() {
            let (is_usual, said) = match &record.decision {
                Decision::ResumeTable { table } => {
                    let is_resumed =
                        named(tables, table).is_some_and(|table| table.fold.resume(stamp.id));
                    match is_resumed {
                        true => (true, format!("table `{table}` is resumed")),
                        false => {
                            (false, format!("table `{table}` is not halted: nothing to resume"))
                        }
                    }
                }
                Decision::SweepTable { table } => {
                    let sweep =
                        |t: &mut KeyedTable| t.fold.sweep_lacking(stamp.clock, &mut t.delta);
                    let rows = named(tables, table).map_or(0, sweep);
                    (true, format!("table `{table}` is swept: rows that go: {rows}"))
                }
                Decision::AcceptClock => (true, self.accept_clock(record.at, stamp.clock)),
                Decision::DropDeadLetters { table, letter } => {
                    let drop = |t: &mut KeyedTable| {
                        t.fold.drop_unread(letter.as_ref(), stamp, &mut t.delta)
                    };
                    let ended = named(tables, table).map_or(0, drop);
                    let what = match letter {
                        Some(letter) => format!("the dead letter {} is", letter.id()),
                        None => format!("dead letters of table `{table}` are"),
                    };
                    (true, format!("{what} dropped: doubts that end: {ended}"))
                }
                Decision::RetryDeadLetters { table, letters } => {
                    let still = retry_in(tables, table, letters, stamp, desk);
                    let said = told(table, letters, &still);
                    let is_usual = still.unread.is_empty();
                    still_dead.extend((!is_usual).then_some((number, still)));
                    (is_usual, said)
                }
                Decision::RebuildKpi { kpi, epoch } => (false, self.rebuild(kpi, *epoch)),
                Decision::ApplyDefinitions => (true, self.apply(record.at)),
                Decision::Acknowledge(_)
                | Decision::Feedback(_)
                | Decision::Mute(_)
                | Decision::Unmute(_) => Arc::make_mut(&mut self.answers).take(record, stamp),
                // Definitions came first, and models are the observer's; whether a batch ends, the core asks the epoch.
                Decision::EndBatch | Decision::Define(_) | Decision::Train(_) => continue,
                Decision::Unknown { kind, version } => {
                    let unknown =
                        "is kept and has no effect: this version of weir does not know it";
                    (false, format!("a decision `{kind}` of version {version} {unknown}"))
                }
            };
            let ControlRecord { id, by, .. } = record;
            match is_usual {
                _ if self.is_replay => {}
                true => tracing::info!(epoch = stamp.id, id, by, "{said}"),
                false => tracing::warn!(epoch = stamp.id, id, by, "{said}"),
            }
        }
        still_dead
    }
}

/// What is said of a retry.
fn told(table: &str, letters: &[Letter], still: &StillDead) -> String {
    let (all, still) = (letters.len(), still.unread.len());
    format!(
        "dead letters of table `{table}` are read again: {all}, of which still cannot be read: {still}"
    )
}

/// Reads dead letters of a table again; without the table none can be.
fn retry_in(
    tables: &mut [KeyedTable],
    name: &str,
    letters: &[Letter],
    stamp: &EpochStamp,
    desk: &mut Desk<'_>,
) -> StillDead {
    let is_it = |(_, table): &(usize, &mut KeyedTable)| table.contract.contract().name == name;
    match tables.iter_mut().enumerate().find(is_it) {
        Some(table) => retry(letters, table, stamp, desk),
        None => {
            let reason = format!("there is no contract `{name}`");
            let unread = letters.iter().map(|letter| (letter.at(), reason.clone()));
            StillDead { unread: unread.collect() }
        }
    }
}
