//! The deterministic core: epochs in, rows and KPI cells out. Synchronous, without IO.
//!
//! # Guarantees
//! - What it holds after an epoch depends on the records and clocks of all epochs so far, and on
//!   nothing else: live, replayed from the ledger and replayed from bronze give the same.

pub(crate) mod control;
mod dead;
pub(crate) mod decoding;
pub(crate) mod epoch;
mod error;
mod feeders;
pub(crate) mod frozen;
mod letters;
mod load;
mod removed;
mod unconverted;
mod unmapped;
mod unplaced;
mod versions;
pub(crate) mod watch;
pub(crate) mod wish;

use std::collections::BTreeSet;
use std::sync::Arc;

use gold::{Catalog, Engine, FrozenView, HistoryRow};
use pipeline::bronze::EpochRecords;
use pipeline::decode::{PreparedContract, Scratch};
use pipeline::ledger::Entry;
use pipeline::record::RawBatch;
use pipeline::silver::{FrozenRuns, Gap, Halt, Lacking, TableFold, Unread};
use schemas::{
    Alert, Answers, Contents, Contract, Delta, EpochStamp, InForce, KpiUpdate, Micros, Observer,
    RowRef, Sight,
};

use crate::Topics;
use crate::census::Census;
use crate::identities::{Identities, PART};
use crate::lineage::Lineages;
use crate::tables::{self, silver_name};
use control::Control;
use dead::KnownDead;
use decoding::Decoding;
use epoch::Epoch;
pub(crate) use error::{RestoreError, SetupError};
use feeders::Feeders;
use frozen::{BarrierJob, CellsJob, SilverJob, ViewJob};
use letters::Desk;
use unconverted::Unconverted;
use unmapped::Unmapped;
pub(crate) use unplaced::Unplaced;
use watch::Watch;

/// The folds of all tables and the KPI engine over them.
#[derive(Debug)]
pub(crate) struct Core {
    tables: Vec<KeyedTable>,
    decoding: Arc<Decoding>,
    gold: Engine,
    watch: Watch,
    /// Tables whose files on disk are not those that this state tracks: the next barrier writes them
    /// whole.
    whole: BTreeSet<String>,
    /// Tables of rows known by key that stand further than the rows that were loaded.
    ahead: BTreeSet<String>,
    /// KPIs whose alerts were not loaded, because their detectors start anew.
    unwatched: BTreeSet<String>,
    /// Whether cells or alerts on disk were computed under other definitions.
    is_redefined: bool,
    /// Whether KPIs were computed anew because that was decided.
    is_repaired: bool,
    /// Whether what this run puts in force is still to be read.
    is_undecided: bool,
    last: Option<EpochStamp>,
    history: Vec<HistoryRow>,
    scratch: Scratch,
    control: Control,
    /// What all of it depends on besides bronze.
    identities: Identities,
    pub(crate) counts: Counts,
    /// Records that nobody has named a contract for, since the start.
    unmapped: Unmapped,
}

struct KeyedTable {
    contract: Arc<PreparedContract>,
    fold: TableFold,
    /// What the epoch that is being folded changed.
    delta: Delta,
    /// What is to be looked at in its rows.
    census: Census,
}

impl KeyedTable {
    /// The silver table.
    fn name(&self) -> String {
        silver_name(self.contract.contract())
    }

    /// Puts the changes of the epoch in order, and counts what they say to the KPIs of this contract.
    fn count(&mut self, contract: usize, gold: &Engine) {
        self.delta.consolidate();
        let unplaced = |row: RowRef<'_>| gold.unplaced(contract, row);
        self.delta.iter().for_each(|(row, weight)| self.census.add(row, weight, unplaced));
    }
}

impl std::fmt::Debug for KeyedTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("KeyedTable");
        shown.field("contract", &self.contract.contract().name);
        shown.field("rows", &self.fold.len()).finish_non_exhaustive()
    }
}

/// What the core has seen since it was made, or since it was asked.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) dead_letters: u64,
    pub(crate) engine_errors: u64,
}

/// What an epoch changed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Cells, in key order.
    pub(crate) updates: Vec<KpiUpdate>,
    /// Alerts, in the order of their ids.
    pub(crate) alerts: Vec<Alert>,
}

impl Core {
    /// A core without rows. `topics` maps (source, topic) to a contract, `lineages` are those of the contracts.
    ///
    /// # Errors
    /// When a contract names no decoder, or a definition does not fit the contracts.
    pub(crate) fn new(
        contracts: &[Contract],
        topics: &Topics,
        catalog: Arc<Catalog>,
        observer: Box<dyn Observer>,
        lineages: &Lineages,
    ) -> Result<Core, SetupError> {
        let decoding = Arc::new(Decoding::new(contracts, topics, lineages)?);
        let table = |contract: &Arc<PreparedContract>| {
            let fold = TableFold::new(Arc::clone(contract));
            let census = Census::new(contract.contract());
            KeyedTable { contract: Arc::clone(contract), delta: fold.no_changes(), fold, census }
        };
        let tables = decoding.contracts().map(table).collect();
        let bases = lineages.bases(contracts);
        let identities = Identities::of(&bases, topics, &catalog, observer.as_ref());
        let identities = identities.with_extended(lineages.extended());
        let gold = Engine::new(catalog, contracts)?;
        Ok(Core {
            tables,
            decoding,
            gold,
            watch: Watch::new(observer),
            whole: BTreeSet::new(),
            ahead: BTreeSet::new(),
            unwatched: BTreeSet::new(),
            is_redefined: false,
            is_repaired: false,
            is_undecided: false,
            last: None,
            history: Vec::new(),
            scratch: Scratch::default(),
            control: Control::default(),
            identities,
            counts: Counts::default(),
            unmapped: Unmapped::default(),
        })
    }

    /// The stamp of the last epoch.
    pub(crate) fn last(&self) -> Option<EpochStamp> {
        self.last
    }

    /// When a tick is needed, if no epoch comes before.
    pub(crate) fn next_due(&self) -> Option<Micros> {
        let folds = self.tables.iter().filter_map(|table| table.fold.due());
        let others = self.gold.next_due().into_iter().chain(self.watch.next_due());
        folds.chain(others).chain(self.control.answers.next_due()).min()
    }

    /// Drops the history rows that wait for a barrier, in a run that has none.
    pub(crate) fn forget_history(&mut self) {
        self.history.clear();
    }

    /// What alerts and removed cells there are.
    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// The KPI engine, for reading.
    pub(crate) fn gold(&self) -> &Engine {
        &self.gold
    }

    /// Why origins of tables stand still, those that do.
    pub(crate) fn halts(&self) -> impl Iterator<Item = &Halt> {
        self.tables.iter().flat_map(|table| table.fold.halts())
    }

    /// What complete snapshots lacked and nobody has decided about.
    pub(crate) fn lacking(&self) -> impl Iterator<Item = &Lacking> {
        self.tables.iter().flat_map(|table| table.fold.lacking())
    }

    /// What origins of tables lack because it was gone before it was read.
    pub(crate) fn gaps(&self) -> impl Iterator<Item = &Gap> {
        self.tables.iter().flat_map(|table| table.fold.gaps())
    }

    /// What could not be read and has no row to mark, by table.
    pub(crate) fn unread(&self) -> impl Iterator<Item = Unread> {
        self.tables.iter().filter_map(|table| table.fold.unread())
    }

    /// Rows of which nobody knows which KPI cells they feed, by table and column.
    pub(crate) fn unplaced(&self) -> impl Iterator<Item = Unplaced<'_>> {
        self.tables.iter().enumerate().flat_map(move |(index, table)| {
            let contract = table.contract.contract();
            table.census.unplaced().map(move |(column, rows)| Unplaced {
                table: &contract.name,
                column: contract.column_name(column),
                rows,
                kpis: self.gold.placed_by(index, column),
            })
        })
    }

    /// Pairs of currencies that a rate is lacking for.
    pub(crate) fn unconverted(&self) -> Vec<Unconverted> {
        unconverted::by_pair(self.gold.unconverted())
    }

    /// Source and topic of records that became dead letters because no contract is named for them.
    pub(crate) fn unmapped(&self) -> impl Iterator<Item = &(String, String)> {
        self.unmapped.topics()
    }

    /// The definitions in force, as control records have put them.
    pub(crate) fn in_force(&self) -> &InForce {
        &self.control.in_force
    }

    /// What people said of alerts.
    pub(crate) fn answers(&self) -> &Arc<Answers> {
        &self.control.answers
    }

    /// How far the lake's time is ahead of the machine's clock, as somebody has accepted, in microseconds.
    pub(crate) fn clock_ahead(&self) -> i64 {
        self.control.clock_ahead
    }

    /// Live rows of each silver table.
    pub(crate) fn table_rows(&self) -> Vec<(String, usize)> {
        let rows = |t: &KeyedTable| (silver_name(t.contract.contract()), t.fold.len());
        self.tables.iter().map(rows).collect()
    }

    /// What is to be looked at in each table, with at most so many of its origins.
    pub(crate) fn contents(&self, origins_max: usize) -> Vec<Contents> {
        let of = |table: &KeyedTable| {
            let (origins, origins_total) = table.fold.origin_states(origins_max);
            let contract = table.contract.contract();
            let name = |column: usize| contract.column_name(column).to_owned();
            let infinite = table.fold.infinite().into_iter();
            let infinite = infinite.map(|(column, times)| (name(column), times));
            let infinite = infinite.collect();
            Contents { origins, origins_total, infinite, ..table.census.contents() }
        };
        self.tables.iter().map(of).collect()
    }

    /// What is in doubt, by contract: live rows, and what could not be read and has no row to mark.
    pub(crate) fn doubts(&self) -> impl Iterator<Item = (&str, usize, u64)> {
        self.tables.iter().map(|table| {
            let name = table.contract.contract().name.as_str();
            (name, table.fold.in_doubt(), table.fold.unplaced_count())
        })
    }

    /// Live rows of all tables.
    pub(crate) fn rows(&self) -> usize {
        self.tables.iter().map(|table| table.fold.len()).sum()
    }

    /// What all of it depends on besides bronze.
    pub(crate) fn identities(&self) -> &Identities {
        &self.identities
    }

    /// What sources decode with.
    pub(crate) fn decoding(&self) -> &Arc<Decoding> {
        &self.decoding
    }

    /// Makes an epoch of the records of one poll, to be folded next.
    #[cfg(test)]
    pub(crate) fn cut(&mut self, batches: Vec<RawBatch>, now: Micros) -> Epoch {
        let decoded = self.decoding.decode(batches, &mut self.scratch);
        let hash = pipeline::epoch::hash(&decoded.batches);
        Epoch::cut(self.last, decoded, hash, (now, now))
    }

    /// Decodes an epoch that bronze has, under its stamp, and folds it.
    pub(crate) fn replay(&mut self, epoch: EpochRecords) -> (EpochRecords, Changes) {
        let known = KnownDead::of(&epoch);
        let EpochRecords { stamp, batches, .. } = epoch;
        let decoded = self.decoding.decode_of(stamp.id, batches, &mut self.scratch);
        let folded = self.fold_again(Epoch::replayed(stamp, decoded));
        self.counts.dead_letters += known.count_new_of(&folded.0);
        folded
    }

    /// The same for an epoch that the ledger has, its records read again.
    pub(crate) fn replay_recorded(
        &mut self,
        entry: &Entry,
        batches: Vec<RawBatch>,
    ) -> (EpochRecords, Changes) {
        let decoded = self.decoding.decode_of(entry.epoch, batches, &mut self.scratch);
        self.fold_again(Epoch::recorded(entry, decoded))
    }

    fn fold_again(&mut self, epoch: Epoch) -> (EpochRecords, Changes) {
        self.control.is_replay = true;
        let folded = self.fold(epoch);
        self.control.is_replay = false;
        folded
    }

    /// Folds the epoch after the last one. Gives back its records, and what it changed.
    pub(crate) fn fold(&mut self, mut epoch: Epoch) -> (EpochRecords, Changes) {
        let changes = self.fold_changes(&mut epoch);
        self.mark_rebuilt();
        let Epoch { records, changes: spare, .. } = epoch;
        self.decoding.recycle(spare);
        (records, changes)
    }

    fn fold_changes(&mut self, epoch: &mut Epoch) -> Changes {
        let stamp = epoch.stamp;
        self.last = Some(stamp);
        let is_live = !self.control.is_replay;
        if is_live {
            let errors = epoch.records.errors.iter();
            self.counts.dead_letters += errors.map(|own| own.len() as u64).sum::<u64>();
        }
        let hushed = self.hush(epoch);
        let feeders = Feeders { gold: &self.gold, tables: &self.tables };
        let sight = Sight { cells: &self.gold, feeding: &feeders };
        self.watch.advance(&stamp, epoch.is_tick(), &hushed.origins, sight);
        self.control.pass(&stamp);
        self.come_into_force(epoch);
        let control = &self.control;
        self.watch.decide(&stamp, &epoch.decisions, (&control.answers, control.is_replay));
        if epoch.is_tick() && !self.is_fold_due(stamp.clock) && !epoch.decides_rows() {
            let mut desk = Desk { decoding: &self.decoding, scratch: &mut self.scratch };
            drop(self.control.take(&stamp, &epoch.decisions, &mut self.tables, &mut desk));
            return self.pass(epoch);
        }
        let Core { tables, gold, counts, decoding, control, identities, unmapped, scratch, .. } =
            self;
        for table in tables.iter_mut() {
            table.fold.fire(stamp.clock, &mut table.delta);
        }
        let mut desk = Desk { decoding, scratch };
        let still_dead = control.take(&stamp, &epoch.decisions, tables, &mut desk);
        letters::say(&mut epoch.records, still_dead);
        epoch.dropped().for_each(|letter| unmapped.drop(letter));
        let EpochRecords { batches, errors, .. } = &mut epoch.records;
        for ((batch, errors), changes) in batches.iter().zip(errors).zip(&epoch.changes) {
            identities.see(batch.topic());
            let Some(index) = decoding.table_of(batch.topic()) else {
                if decoding.is_unmapped(batch) {
                    unmapped.see(batch.topic(), errors.len());
                }
                continue;
            };
            let Some(table) = tables.get_mut(index) else { continue };
            let refused = table.fold.apply(changes, &stamp, &mut table.delta);
            if !refused.is_empty() {
                counts.dead_letters += if is_live { refused.len() as u64 } else { 0 };
                errors.extend_from_slice(refused);
                errors.sort_unstable_by_key(|(record, _)| *record);
            }
        }
        // Every table is folded: all changes of the epoch are in one hand.
        tables.iter_mut().enumerate().for_each(|(index, table)| table.count(index, gold));
        // What was due or decided changed no row: history rows are of the last epoch that did.
        if epoch.is_tick() && tables.iter().all(|table| table.delta.is_empty()) {
            return self.pass(epoch);
        }
        let mut waiting = Vec::new();
        if epoch.ends_batch() {
            waiting = gold.end_batch(stamp.clock).history;
        }
        gold.begin_epoch(&stamp);
        gold.hush(hushed.contracts);
        let deltas: Vec<&Delta> = tables.iter().map(|table| &table.delta).collect();
        for wrong in gold.step_all(&stamp, &deltas) {
            counts.engine_errors += wrong.rows;
            tracing::error!("{wrong}");
        }
        tables.iter_mut().for_each(|table| table.delta.clear());
        let output = gold.finish_epoch(&stamp);
        let feeders = Feeders { gold: &self.gold, tables: &self.tables };
        let sight = Sight { cells: &self.gold, feeding: &feeders };
        let alerts = self.watch.observe(&stamp, &output.updates, sight);
        self.remember(waiting);
        self.remember(output.history);
        Changes { updates: output.updates, alerts }
    }

    /// Lets time pass in an epoch that changes no row.
    fn pass(&mut self, epoch: &Epoch) -> Changes {
        let stamp = epoch.stamp;
        let output = match epoch.ends_batch() {
            true => self.gold.end_batch(stamp.clock),
            false => self.gold.tick(stamp.clock),
        };
        self.remember(output.history);
        let alerts = self.watch.pass(&stamp, &output.updates);
        Changes { updates: output.updates, alerts }
    }

    /// Keeps history rows for the next barrier. After a backlog there is one for every cell.
    fn remember(&mut self, rows: Vec<HistoryRow>) {
        if self.history.is_empty() {
            self.history = rows;
        } else {
            self.history.extend(rows);
        }
    }

    /// Takes the memory of updates that have been seen.
    pub(crate) fn recycle(&mut self, updates: Vec<KpiUpdate>) {
        self.gold.recycle(updates);
    }

    /// Everything to flush so that all tables stand at the last epoch: frozen, not copied, because
    /// epochs wait meanwhile. Nothing before the first epoch, and after a failure.
    pub(crate) fn barrier(&mut self) -> Option<BarrierJob> {
        let stamp = self.last.filter(|_| self.failure().is_none())?;
        let whole = std::mem::take(&mut self.whole);
        let silver = |table: &mut KeyedTable| {
            let name = silver_name(table.contract.contract());
            SilverJob {
                whole: whole.contains(&name),
                table: name,
                changed: table.fold.take_changed_slots(),
                rows: table.fold.freeze(),
            }
        };
        let silver = self.tables.iter_mut().map(silver).collect();
        let cells = CellsJob {
            whole: whole.contains(tables::CURRENT),
            changed: self.gold.take_changed_slots(),
            cells: self.gold.freeze(),
        };
        let view = |rows: FrozenView| ViewJob { whole: whole.contains(&rows.table), rows };
        let views = self.gold.freeze_views().into_iter().map(view).collect();
        let texts = vec![
            (PART, self.identities.to_text()),
            (control::PART, serde_json::to_string(self.in_force()).unwrap_or_default()),
            (control::CLOCK_PART, self.clock_ahead().to_string()),
            (control::ANSWERS_PART, serde_json::to_string(&**self.answers()).unwrap_or_default()),
        ];
        let watch = self.watch.freeze();
        let all_alerts = whole.contains(tables::ANOMALIES);
        let history = std::mem::take(&mut self.history);
        Some(BarrierJob { stamp, silver, cells, views, watch, all_alerts, history, texts })
    }

    /// The runs of deleted keys as they are now, by table.
    pub(crate) fn runs(&mut self) -> Vec<FrozenRuns> {
        self.tables.iter_mut().map(|table| table.fold.runs()).collect()
    }

    /// Why what was folded last may not be published, nor anything after it: a file cannot be read.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.tables.iter().find_map(|table| table.fold.failure())
    }

    fn is_fold_due(&self, clock: Micros) -> bool {
        self.tables.iter().filter_map(|table| table.fold.due()).any(|due| due <= clock)
    }
}
