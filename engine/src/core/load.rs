//! Loading: what the tables and the saved state of a barrier hold, and what is built beside them.
//!
//! # Guarantees
//! - What is renewed takes nothing from the barrier: its rows come from bronze, its cells from rows.
//! - A table that is built alone is folded as it would have been with all others, decisions included.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gold::Locator;
use lake::state::Read;
use pipeline::bronze::EpochRecords;
use pipeline::decode::PreparedContract;
use pipeline::epoch;
use pipeline::record::RawBatch;
use pipeline::silver::SilverRow;
use pipeline::source::is_control;
use schemas::{Alert, EpochStamp, Micros, RowLayout, Saved};

use super::dead::KnownDead;
use super::epoch::Epoch;
use super::error::RestoreError;
use super::letters::Desk;
use super::wish::Wish;
use super::{Core, KeyedTable, control};
use crate::identities::{Identities, Renewal};
use crate::tables::{self, silver_name};

impl Core {
    /// Adds rows of a silver table and returns their slots.
    ///
    /// # Errors
    /// When a key is there twice.
    pub(crate) fn load_rows(
        &mut self,
        table: &str,
        rows: Vec<SilverRow>,
    ) -> Result<Vec<u32>, RestoreError> {
        let found = self.tables.iter_mut().enumerate();
        let mut found = found.filter(|(_, t)| silver_name(t.contract.contract()) == table);
        let Some((index, keyed)) = found.next() else { return Ok(Vec::new()) };
        let mut slots = Vec::with_capacity(rows.len());
        for row in rows {
            let view = keyed.contract.layout().row(&row.row);
            self.gold.rebuild(index, view)?;
            keyed.census.add(view, 1, |row| self.gold.unplaced(index, row));
            slots.push(keyed.fold.load(row)?);
        }
        Ok(slots)
    }

    /// Makes the cells of longer periods those of the rows loaded so far.
    pub(crate) fn roll_up(&mut self) {
        self.gold.roll_up();
    }

    /// The contract of a silver table.
    pub(crate) fn silver_contract(&self, table: &str) -> Option<Arc<PreparedContract>> {
        let mut tables = self.tables.iter().map(|table| &table.contract);
        tables.find(|contract| silver_name(contract.contract()) == table).map(Arc::clone)
    }

    /// Folds an epoch of bronze into some tables, without their KPIs; returns how many of its records
    /// are theirs. [`Core::finish_alone`] follows.
    pub(crate) fn fold_alone(&mut self, names: &BTreeSet<String>, epoch: EpochRecords) -> u64 {
        let known = KnownDead::of(&epoch);
        let EpochRecords { stamp, mut batches, .. } = epoch;
        let Core { tables, decoding, scratch, counts, .. } = self;
        let is_own = |batch: &RawBatch| {
            let table = decoding.table_of(batch.topic()).and_then(|at| tables.get(at));
            is_control(batch.topic()) || table.is_some_and(|table| names.contains(&table.name()))
        };
        batches.retain(is_own);
        if batches.is_empty() {
            return 0;
        }
        let mut decoded = decoding.decode_of(stamp.id, batches, scratch);
        epoch::recall(&decoded.batches, &mut decoded.changes);
        for (batch, changes) in decoded.batches.iter().zip(&decoded.changes) {
            let table = decoding.table_of(batch.topic()).and_then(|at| tables.get_mut(at));
            table.into_iter().for_each(|table| table.fold.hush(changes, stamp.clock));
        }
        let mut desk = Desk { decoding, scratch };
        let own = tables.iter_mut().enumerate();
        for (number, table) in own.filter(|(_, table)| names.contains(&table.name())) {
            table.fold.fire(stamp.clock, &mut table.delta);
            table.delta.clear();
            control::take_alone(&stamp, &decoded.decisions, (number, table), &mut desk);
            table.delta.clear();
        }
        let mut records = 0;
        for ((batch, errors), changes) in
            decoded.batches.iter().zip(&decoded.errors).zip(&decoded.changes)
        {
            if let Some(table) = decoding.table_of(batch.topic()).and_then(|at| tables.get_mut(at))
            {
                let refused = table.fold.apply(changes, &stamp, &mut table.delta);
                let new = known.count_new(batch, errors) + known.count_new(batch, refused);
                counts.dead_letters += new;
                table.delta.clear();
                records += batch.len() as u64;
            }
        }
        decoding.recycle(decoded.changes);
        records
    }

    /// Ends the folding of some tables alone at this clock, and gives their rows to the KPIs.
    ///
    /// # Errors
    /// When there are more series than there can be.
    pub(crate) fn finish_alone(
        &mut self,
        names: &BTreeSet<String>,
        clock: Micros,
    ) -> Result<(), RestoreError> {
        for (index, table) in self.tables.iter_mut().enumerate() {
            if !names.contains(&table.name()) {
                continue;
            }
            table.fold.fire(clock, &mut table.delta);
            table.delta.clear();
            let layout = table.contract.layout();
            for (_, entry) in table.fold.rows() {
                let row = layout.row(entry.row);
                self.gold.rebuild(index, row)?;
                table.census.add(row, 1, |row| self.gold.unplaced(index, row));
            }
        }
        names.iter().for_each(|name| self.write_whole(name));
        Ok(())
    }

    /// Begins to load a barrier: what rows do not give back, but for what is renewed. The rows follow. `held_by`: what
    /// has read the rows of tables whose contracts have been extended since.
    ///
    /// # Errors
    /// When a part is not what was saved.
    pub(crate) fn begin_load(
        &mut self,
        read: &Read,
        held: &Identities,
        renewal: &Renewal,
        held_by: &BTreeMap<String, Arc<PreparedContract>>,
    ) -> Result<(), RestoreError> {
        self.identities.seen.clone_from(&held.seen);
        let is_kept = |table: &&mut KeyedTable| !renewal.tables.contains(&table.name());
        for table in self.tables.iter_mut().filter(is_kept) {
            let loaded = table.fold.load_state(&read.saved, &|number| read.run(number));
            loaded?;
            if let Some(earlier) = held_by.get(&table.name()) {
                table.fold.widen(&RowLayout::new(&earlier.contract().columns));
            }
        }
        if let Ok(answers) = read.saved.head::<&str>(control::ANSWERS_PART) {
            self.control.answers = Arc::new(serde_json::from_str(answers)?);
        }
        let kept = |kpi: &str| !renewal.kpis.contains(kpi);
        Ok(self.gold.load_state(&read.saved, &kept)?)
    }

    /// Ends it, the rows at `stamp` being loaded.
    ///
    /// # Errors
    /// When a part is not what was saved.
    pub(crate) fn finish_load(
        &mut self,
        stamp: EpochStamp,
        saved: &Saved,
        alerts: Vec<Alert>,
        renewal: &Renewal,
    ) -> Result<(), RestoreError> {
        if let Ok(held) = saved.head::<&str>(control::PART) {
            self.control.in_force = serde_json::from_str(held)?;
            self.control.put_in_force(&mut self.tables);
        }
        if let Ok(held) = saved.head::<&str>(control::CLOCK_PART) {
            self.control.clock_ahead = serde_json::from_str(held)?;
        }
        self.gold.finish_load();
        for unkept in self.gold.take_unkept() {
            tracing::info!("{unkept}");
        }
        for refused in self.gold.take_refused() {
            self.counts.engine_errors += 1;
            tracing::error!("{refused}");
        }
        self.is_redefined = renewal.shows();
        self.is_repaired = !renewal.repaired.is_empty();
        self.unwatched.clone_from(&renewal.unwatched);
        let kept = |kpi: &str| !renewal.unwatched.contains(kpi);
        self.watch.load(saved, alerts, &self.gold, &kept)?;
        // Which files hold which cells is not known: the first barrier writes them all.
        self.write_whole(tables::CURRENT);
        self.last = Some(stamp);
        Ok(())
    }

    /// Says whether what this run puts in force is still to be read.
    pub(crate) fn expect_decisions(&mut self, are_expected: bool) {
        self.is_undecided = are_expected;
    }

    /// All definitions are in force from the epoch on, unless it is folded again: before the decision, what changed was told
    /// by those of then.
    pub(super) fn come_into_force(&mut self, epoch: &Epoch) {
        if epoch.defines() || !(self.control.is_replay || self.is_undecided) {
            self.gold.come_into_force(epoch.stamp.clock);
        }
    }

    /// Whether a KPI was computed anew because that was decided: who was told of it heard other numbers.
    pub(crate) fn is_repaired(&self) -> bool {
        self.is_repaired
    }

    /// Does to KPIs what was decided of them in the epoch: the next barrier writes current values whole, and says
    /// that these KPIs are not what they should be, so that another run computes them anew.
    pub(super) fn mark_rebuilt(&mut self) {
        for kpi in std::mem::take(&mut self.control.rebuilt) {
            self.control.wish.cells |= self.identities.disown(&kpi);
            self.write_whole(tables::CURRENT);
        }
    }

    /// What decisions ask another run for, since this was asked last.
    pub(crate) fn take_wish(&mut self) -> Wish {
        std::mem::take(&mut self.control.wish)
    }

    /// Whether a table on disk stands elsewhere than this state: at other rows, or further, or under
    /// other KPI definitions.
    pub(crate) fn is_rebuilt(&self) -> bool {
        let is_ahead = !self.ahead.is_empty();
        self.is_redefined || is_ahead || self.whole.iter().any(|table| table != tables::CURRENT)
    }

    /// Goes on after `stamp`, the furthest that any table stands.
    pub(crate) fn skip_to(&mut self, stamp: EpochStamp) {
        self.last = Some(stamp);
    }

    /// A table on disk stands elsewhere than the rows that were loaded. The places of silver rows and of
    /// alerts are found by key once bronze is replayed, those of views are always found; other tables, and those
    /// built alone, are written whole.
    pub(crate) fn stands_elsewhere(&mut self, table: &str) {
        if self.whole.contains(table) || tables::is_of_view(table) {
            return;
        }
        if table == tables::ANOMALIES || self.silver_contract(table).is_some() {
            self.ahead.insert(table.to_owned());
        } else {
            self.write_whole(table);
        }
    }

    /// Whether a table of rows that are known by key stands further than the rows that were loaded.
    pub(crate) fn is_ahead(&self, table: &str) -> bool {
        self.ahead.contains(table)
    }

    /// What finds the rows of a table of a view in memory; `None` where the next barrier writes it whole.
    pub(crate) fn locate_view(&mut self, table: &str) -> Option<Locator<'_>> {
        if self.whole.contains(table) { None } else { self.gold.locate_view(table) }
    }

    /// The next barrier must bring this table of a view to the last epoch, also where nothing arrives.
    pub(crate) fn is_left_behind(&mut self, table: &str) {
        self.ahead.insert(table.to_owned());
    }

    /// The slots with a row of such a table whose places are about to be found: what has changed so
    /// far is known from them, and not flushed again.
    pub(crate) fn take_located(&mut self, table: &str) -> Vec<u32> {
        if table == tables::ANOMALIES {
            return self.watch.slots();
        }
        let mut tables = self.tables.iter_mut();
        let Some(keyed) = tables.find(|t| silver_name(t.contract.contract()) == table) else {
            return Vec::new();
        };
        drop(keyed.fold.take_changed_slots());
        keyed.fold.rows().map(|(slot, _)| slot).collect()
    }

    /// The slot with the key of a row of a silver table, and whether the row there is the same.
    pub(crate) fn locate(&self, table: &str, row: &SilverRow) -> Option<(u32, bool)> {
        let mut tables = self.tables.iter();
        let keyed = tables.find(|t| silver_name(t.contract.contract()) == table)?;
        keyed.fold.locate(row)
    }

    /// Where the alerts of a file are held: see [`Watch::locate`](super::watch::Watch::locate).
    pub(crate) fn locate_alerts(
        &mut self,
        file: Vec<Alert>,
        loaded: Micros,
    ) -> Option<Vec<Option<(u32, bool)>>> {
        self.watch.locate(file, loaded, &self.unwatched)
    }

    /// The next barrier writes this table whole: its files are not those that were loaded.
    pub(crate) fn write_whole(&mut self, table: &str) {
        self.whole.insert(table.to_owned());
    }
}
