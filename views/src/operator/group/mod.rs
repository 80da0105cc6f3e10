//! Groups: one row for the rows whose keys are equal, with aggregates over them.
//!
//! # Guarantees
//! - A group is there as long as it has a row. Without keys there is one group, always: its row is given in
//!   the first step, changes or not.
//! - Nulls are one key. So are values that were never sent, beside the null.
//! - A group's row changes at most once a step, and is quiet when all changes of the group are.
//! - Sums are exact. One that does not fit its type, and a mean that does not, is an error that names group
//!   and aggregate when it comes to that; the column is unknown until it fits again.
//! - An aggregate over a value that was never sent is unknown, and a row that is outdated makes its group's
//!   so. Both end with that row.
//! - A row that cannot have been there, because its group has fewer rows or fewer of its values, is an error
//!   and changes nothing.
//!
//! # Non-guarantees
//! - Only what aggregates need is held: a row that was never there goes unnoticed where they cannot tell.

mod part;
mod values;

use std::sync::Arc;

use schemas::{Delta, RowBuilder, RowLayout, RowRef};

use super::key_columns::{KeyColumns, copy};
use super::problems::{self, Problems};
use super::slots::Slots;
use super::{Call, Operator, StepError};
use part::{Keeper, Part, Reading, Taken};

/// Groups that no step has touched yet.
const UNTOUCHED: u32 = u32::MAX;

/// Aggregates of the rows with equal keys.
#[derive(Debug)]
pub struct Group {
    layout: Arc<RowLayout>,
    node: String,
    keys: KeyColumns,
    keepers: Vec<Keeper>,
    readings: Vec<Reading>,
    groups: Slots<Held>,
    /// Whether the row of the group without keys was given.
    has_begun: bool,
    touched: Vec<Touched>,
    /// The rows of touched groups before the step.
    before: Vec<u8>,
    builder: RowBuilder,
    after: Vec<u8>,
}

/// What is held of a group.
#[derive(Debug)]
struct Held {
    rows: i64,
    parts: Box<[Part]>,
    doubts: Option<Box<Doubts>>,
    /// Its place among those that the step touched.
    touched: u32,
}

/// How many rows make a group doubtful.
#[derive(Debug, PartialEq, Eq)]
struct Doubts {
    outdated: i64,
    /// By keeper.
    unknown: Box<[i64]>,
}

/// A group that the step touched.
#[derive(Debug)]
struct Touched {
    group: u32,
    /// Where its row lies, if it had one.
    row: Option<(usize, usize)>,
    /// Whether a sum did not fit.
    did_not_fit: bool,
    is_quiet: bool,
}

impl Group {
    /// Groups rows of `input` by the columns `keys`. The columns of `out` are the keys, then the aggregates.
    ///
    /// # Errors
    /// An aggregate that there is not for its column, or whose column in `out` is of another type.
    pub fn new(
        input: Arc<RowLayout>,
        keys: Vec<usize>,
        calls: Vec<Call>,
        out: Arc<RowLayout>,
    ) -> Result<Group, StepError> {
        let planned = part::plan(&calls, &input, &out, keys.len());
        let (keepers, readings) = planned.map_err(|(call, problem)| StepError {
            node: "GROUP BY".to_owned(),
            row: call,
            problem,
        })?;
        Ok(Group::of(&input, "GROUP BY", keys, (keepers, readings), out))
    }

    /// The distinct rows of an input: groups by all columns.
    pub(super) fn distinct(layout: Arc<RowLayout>) -> Group {
        let keys = (0..layout.len()).collect();
        let input = Arc::clone(&layout);
        Group::of(&input, "DISTINCT", keys, (Vec::new(), Vec::new()), layout)
    }

    fn of(
        input: &RowLayout,
        node: &str,
        keys: Vec<usize>,
        (keepers, readings): (Vec<Keeper>, Vec<Reading>),
        layout: Arc<RowLayout>,
    ) -> Group {
        Group {
            layout,
            node: node.to_owned(),
            keys: KeyColumns::new(input, keys),
            keepers,
            readings,
            groups: Slots::new(),
            has_begun: false,
            touched: Vec::new(),
            before: Vec::new(),
            builder: RowBuilder::default(),
            after: Vec::new(),
        }
    }

    /// Takes a row into its group so many times, or out of it as often.
    fn take(&mut self, row: RowRef<'_>, weight: i64, is_quiet: bool, problems: &mut Problems) {
        let keepers = &self.keepers;
        let group = self.groups.intern(self.keys.of(row), || Held::new(keepers));
        self.touch(group, is_quiet);
        let Some(held) = self.groups.get_mut(group) else { return };
        if weight < 0 && !held.has(&self.keepers, row, weight.saturating_neg()) {
            problems.add(|| problems::never_there(&self.node, row, weight.saturating_neg()));
            return;
        }
        held.add(&self.keepers, row, weight);
    }

    /// Puts the row of a group aside before its first change.
    fn touch(&mut self, group: u32, is_quiet: bool) {
        let Some(held) = self.groups.get_mut(group) else { return };
        if let Some(touched) = self.touched.get_mut(held.touched as usize) {
            touched.is_quiet &= is_quiet;
            return;
        }
        held.touched = u32::try_from(self.touched.len()).unwrap_or(UNTOUCHED);
        let from = self.before.len();
        let mut touched = Touched { group, row: None, did_not_fit: false, is_quiet };
        if held.rows > 0 || (self.keys.columns().is_empty() && self.has_begun) {
            let misfit = self.build(group);
            self.before.extend_from_slice(&self.after);
            touched.row = Some((from, self.before.len()));
            touched.did_not_fit = misfit.is_some();
        }
        self.touched.push(touched);
    }

    /// Makes the row of a group. Returns the first aggregate that does not fit its column.
    fn build(&mut self, group: u32) -> Option<usize> {
        self.after.clear();
        let held = self.groups.get(group)?;
        let keys = self.keys.columns().len();
        self.builder.reset(self.layout.len());
        let key = self.keys.row(self.groups.key(group));
        (0..keys).for_each(|column| copy(&mut self.builder, column, key, column));
        let mut misfit = None;
        for (at, reading) in self.readings.iter().enumerate() {
            let is_known = held.unknown(reading.keeper) == 0;
            let value = held.parts.get(reading.keeper).and_then(|part| reading.value(part));
            match value {
                Some(value) if is_known => self.builder.set(keys + at, value),
                Some(_) => self.builder.set_unknown(keys + at),
                None => {
                    self.builder.set_unknown(keys + at);
                    misfit = misfit.or(Some(at));
                }
            }
        }
        let outdated = held.doubts.as_ref().map_or(0, |doubts| doubts.outdated);
        self.builder.set_outdated(outdated > 0);
        self.builder.finish(&self.layout, &mut self.after);
        misfit
    }

    /// Gives what became of a touched group, and lets go of it when it has no row.
    fn settle(&mut self, touched: &Touched, out: &mut Delta, problems: &mut Problems) {
        let Some(held) = self.groups.get_mut(touched.group) else { return };
        held.touched = UNTOUCHED;
        let is_empty = held.rows <= 0;
        if is_empty && !held.is_empty() {
            problems.add(|| self.residue(touched.group));
        }
        let is_there = !is_empty || self.keys.columns().is_empty();
        if is_empty
            && is_there
            && let Some(held) = self.groups.get_mut(touched.group)
        {
            *held = Held::new(&self.keepers);
        }
        let misfit = if is_there { self.build(touched.group) } else { None };
        if let Some(reading) = misfit.and_then(|at| self.readings.get(at))
            && !touched.did_not_fit
        {
            problems.add(|| self.beyond(touched.group, &reading.text));
        }
        let old = touched.row.and_then(|(from, to)| self.before.get(from..to));
        let new = is_there.then_some(self.after.as_slice());
        if old != new {
            out.set_quiet(touched.is_quiet);
            out.change(old.map(|row| self.layout.row(row)), new.map(|row| self.layout.row(row)));
        }
        if !is_there {
            self.groups.remove(touched.group);
        }
    }

    fn residue(&self, group: u32) -> StepError {
        let problem = "has no row left, but not all of its values went: rows went that were never \
                       there; read the tables of the view anew";
        self.error(&self.node, group, problem)
    }

    fn beyond(&self, group: u32, call: &str) -> StepError {
        let problem = "is beyond its type, and unknown until it fits again; cast the column to a \
                       decimal with more digits";
        self.error(call, group, problem)
    }

    fn error(&self, node: &str, group: u32, problem: &str) -> StepError {
        let row = problems::text(self.keys.row(self.groups.key(group)));
        StepError { node: node.to_owned(), row, problem: problem.to_owned() }
    }
}

impl Operator for Group {
    fn layout(&self) -> &Arc<RowLayout> {
        &self.layout
    }

    fn step(&mut self, inputs: &[&Delta], out: &mut Delta) -> Result<(), StepError> {
        let mut problems = Problems::default();
        super::each_change(inputs, |row, weight, is_quiet| {
            self.take(row, weight, is_quiet, &mut problems);
        });
        if self.keys.columns().is_empty() && !self.has_begun {
            let (nothing, keepers) = (self.layout.row(&[]), &self.keepers);
            let group = self.groups.intern(self.keys.of(nothing), || Held::new(keepers));
            if self.touched.is_empty() {
                self.touch(group, false);
            }
            self.has_begun = true;
        }
        let mut touched = std::mem::take(&mut self.touched);
        touched.iter().for_each(|touched| self.settle(touched, out, &mut problems));
        touched.clear();
        self.touched = touched;
        self.before.clear();
        out.set_quiet(false);
        problems.finish()
    }

    fn held(&self) -> usize {
        self.groups
            .iter()
            .map(|(_, held)| 1 + held.parts.iter().map(Part::held).sum::<usize>())
            .sum()
    }
}

impl Held {
    fn new(keepers: &[Keeper]) -> Held {
        let parts = keepers.iter().map(Keeper::empty).collect();
        Held { rows: 0, parts, doubts: None, touched: UNTOUCHED }
    }

    /// Whether all that a row brought is there so many times.
    fn has(&self, keepers: &[Keeper], row: RowRef<'_>, times: i64) -> bool {
        let outdated = self.doubts.as_ref().map_or(0, |doubts| doubts.outdated);
        self.rows >= times
            && (!row.is_outdated() || outdated >= times)
            && keepers.iter().zip(&self.parts).enumerate().all(|(at, (keeper, part))| match keeper
                .take(row)
            {
                Taken::Nothing => true,
                Taken::Unknown => self.unknown(at) >= times,
                Taken::Value(value) => part.has(value, times),
            })
    }

    fn add(&mut self, keepers: &[Keeper], row: RowRef<'_>, times: i64) {
        self.rows = self.rows.wrapping_add(times);
        if row.is_outdated() {
            Doubts::add(&mut self.doubts, keepers.len(), None, times);
        }
        for (at, (keeper, part)) in keepers.iter().zip(&mut self.parts).enumerate() {
            match keeper.take(row) {
                Taken::Nothing => {}
                Taken::Unknown => Doubts::add(&mut self.doubts, keepers.len(), Some(at), times),
                Taken::Value(value) => part.add(value, times),
            }
        }
    }

    /// How many rows have a value that was never sent where this keeper reads one.
    fn unknown(&self, keeper: usize) -> i64 {
        let counts = self.doubts.as_ref().map(|doubts| &doubts.unknown);
        counts.and_then(|counts| counts.get(keeper)).copied().unwrap_or(0)
    }

    fn is_empty(&self) -> bool {
        self.doubts.is_none() && self.parts.iter().all(Part::is_empty)
    }
}

impl Doubts {
    /// Counts a doubt, of a keeper or that a row is outdated; what comes to nothing is let go of.
    fn add(held: &mut Option<Box<Doubts>>, keepers: usize, at: Option<usize>, times: i64) {
        let fresh = || Box::new(Doubts { outdated: 0, unknown: vec![0; keepers].into() });
        let doubts = held.get_or_insert_with(fresh);
        let count = match at {
            None => Some(&mut doubts.outdated),
            Some(at) => doubts.unknown.get_mut(at),
        };
        if let Some(count) = count {
            *count = count.wrapping_add(times);
        }
        if doubts.outdated == 0 && doubts.unknown.iter().all(|count| *count == 0) {
            *held = None;
        }
    }
}

#[cfg(test)]
mod tests;
