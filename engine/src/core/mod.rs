//! The deterministic core: epochs in, rows and KPI cells out. Synchronous, without IO.
//!
//! # Guarantees
//! - What it holds after an epoch depends on the records and clocks of all epochs so far, and on
//!   nothing else: live, replayed from the ledger and replayed from bronze give the same.

pub(crate) mod decoding;
pub(crate) mod epoch;
pub(crate) mod frozen;
mod removed;
pub(crate) mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gold::{Catalog, Engine, HistoryRow};
use pipeline::bronze::EpochRecords;
use pipeline::decode::{PreparedContract, Scratch};
use pipeline::record::RawBatch;
use pipeline::silver::{Halt, SilverRow, TableFold};
use schemas::{Alert, Contract, EpochStamp, KpiUpdate, Micros, Observer, Saved};

use crate::identities::{Identities, PART, Renewal};
use crate::tables::{self, silver_name};
use decoding::Decoding;
use epoch::Epoch;
use frozen::{BarrierJob, CellsJob, SilverJob};
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
    /// Whether cells or alerts on disk were computed under other definitions.
    is_redefined: bool,
    last: Option<EpochStamp>,
    history: Vec<HistoryRow>,
    scratch: Scratch,
    /// What all of it depends on besides bronze.
    identities: Identities,
    pub(crate) counts: Counts,
}

struct KeyedTable {
    contract: Arc<PreparedContract>,
    fold: TableFold,
}

impl KeyedTable {
    /// The silver table.
    fn name(&self) -> String {
        silver_name(self.contract.contract())
    }
}

impl std::fmt::Debug for KeyedTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("KeyedTable");
        shown.field("contract", &self.contract.contract().name);
        shown.field("rows", &self.fold.len()).finish_non_exhaustive()
    }
}

/// What the core has seen since it was made.
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
    /// A core without rows. `topics` maps (source, topic) to a contract's name.
    ///
    /// # Errors
    /// When a contract names no decoder, or a definition does not fit the contracts.
    pub(crate) fn new(
        contracts: &[Contract],
        topics: &BTreeMap<(String, String), String>,
        catalog: Arc<Catalog>,
        observer: Box<dyn Observer>,
    ) -> Result<Core, String> {
        let decoding = Arc::new(Decoding::new(contracts, topics)?);
        let table = |contract: &Arc<PreparedContract>| KeyedTable {
            contract: Arc::clone(contract),
            fold: TableFold::new(Arc::clone(contract)),
        };
        let tables = decoding.contracts().map(table).collect();
        let identities = Identities::of(contracts, topics, &catalog, observer.as_ref());
        let gold = Engine::new(catalog, contracts).map_err(|e| e.to_string())?;
        Ok(Core {
            tables,
            decoding,
            gold,
            watch: Watch::new(observer),
            whole: BTreeSet::new(),
            is_redefined: false,
            last: None,
            history: Vec::new(),
            scratch: Scratch::default(),
            identities,
            counts: Counts::default(),
        })
    }

    /// The stamp of the last epoch.
    pub(crate) fn last(&self) -> Option<EpochStamp> {
        self.last
    }

    /// When a tick is needed, if no epoch comes before.
    pub(crate) fn next_due(&self) -> Option<Micros> {
        let folds = self.tables.iter().filter_map(|table| table.fold.due());
        folds.chain(self.gold.next_due()).chain(self.watch.next_due()).min()
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

    /// Why tables stand still, those that do.
    pub(crate) fn halts(&self) -> impl Iterator<Item = &Halt> {
        self.tables.iter().filter_map(|table| table.fold.halted())
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
        Epoch::cut(self.last, decoded, hash, now)
    }

    /// Decodes an epoch that was cut before, under its recorded stamp, and folds it.
    pub(crate) fn replay(
        &mut self,
        stamp: EpochStamp,
        batches: Vec<RawBatch>,
    ) -> (EpochRecords, Changes) {
        let decoded = self.decoding.decode(batches, &mut self.scratch);
        self.fold(Epoch::of(stamp, decoded))
    }

    /// Folds the epoch after the last one. Gives back its records, and what it changed.
    pub(crate) fn fold(&mut self, epoch: Epoch) -> (EpochRecords, Changes) {
        let changes = self.fold_changes(&epoch);
        let Epoch { records, changes: spare, .. } = epoch;
        self.decoding.recycle(spare);
        (records, changes)
    }

    fn fold_changes(&mut self, epoch: &Epoch) -> Changes {
        let stamp = epoch.stamp;
        self.last = Some(stamp);
        self.counts.dead_letters +=
            epoch.records.errors.iter().map(|e| e.len() as u64).sum::<u64>();
        self.watch.advance(&stamp, epoch.is_tick(), &self.gold);
        if epoch.is_tick() && !self.is_fold_due(stamp.clock) {
            let output = self.gold.tick(stamp.clock);
            self.remember(output.history);
            return Changes { updates: output.updates, alerts: self.watch.take(stamp.id) };
        }
        self.gold.begin_epoch(&stamp);
        let Core { tables, gold, counts, decoding, identities, .. } = self;
        let mut failed = 0;
        for (index, table) in tables.iter_mut().enumerate() {
            table.fold.fire(stamp.clock, &mut |old, new| {
                failed += u64::from(gold.apply(index, old, new).is_err());
            });
        }
        for (batch, changes) in epoch.records.batches.iter().zip(&epoch.changes) {
            identities.see(batch.topic());
            let Some(index) = decoding.table_of(batch.topic()) else { continue };
            let Some(table) = tables.get_mut(index) else { continue };
            table.fold.apply(changes, &stamp, &mut |old, new| {
                failed += u64::from(gold.apply(index, old, new).is_err());
            });
        }
        counts.engine_errors += failed;
        if failed > 0 {
            tracing::error!(epoch = stamp.id, failed, "a row was taken back that was never added");
        }
        let output = gold.finish_epoch(&stamp);
        let alerts = self.watch.observe(&stamp, &output.updates, gold);
        self.remember(output.history);
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
    /// epochs wait meanwhile.
    pub(crate) fn barrier(&mut self) -> Option<BarrierJob> {
        let stamp = self.last?;
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
        let texts = vec![(PART, self.identities.to_text())];
        let watch = self.watch.freeze();
        let all_alerts = whole.contains(tables::ANOMALIES);
        let history = std::mem::take(&mut self.history);
        Some(BarrierJob { stamp, silver, cells, watch, all_alerts, history, texts })
    }

    fn is_fold_due(&self, clock: Micros) -> bool {
        self.tables.iter().filter_map(|table| table.fold.due()).any(|due| due <= clock)
    }
}

/// Loading what the tables and the saved state hold.
impl Core {
    /// Adds rows of a silver table and returns their slots.
    ///
    /// # Errors
    /// When a key is there twice.
    pub(crate) fn load_rows(
        &mut self,
        table: &str,
        rows: Vec<SilverRow>,
    ) -> Result<Vec<u32>, String> {
        let found = self.tables.iter_mut().enumerate();
        let mut found = found.filter(|(_, t)| silver_name(t.contract.contract()) == table);
        let Some((index, keyed)) = found.next() else { return Ok(Vec::new()) };
        let mut slots = Vec::with_capacity(rows.len());
        for row in rows {
            let view = keyed.contract.layout().row(&row.row);
            self.gold.rebuild(index, view).map_err(|e| e.to_string())?;
            slots.push(keyed.fold.load(row).map_err(|e| e.to_string())?);
        }
        Ok(slots)
    }

    /// The contract of a silver table.
    pub(crate) fn silver_contract(&self, table: &str) -> Option<Arc<PreparedContract>> {
        let mut tables = self.tables.iter().map(|table| &table.contract);
        tables.find(|contract| silver_name(contract.contract()) == table).map(Arc::clone)
    }

    /// Folds an epoch of bronze into some tables, without their KPIs; returns how many of its records
    /// are theirs. [`Core::finish_alone`] follows.
    pub(crate) fn fold_alone(
        &mut self,
        names: &BTreeSet<String>,
        stamp: EpochStamp,
        mut batches: Vec<RawBatch>,
    ) -> u64 {
        let Core { tables, decoding, scratch, .. } = self;
        let is_own = |batch: &RawBatch| {
            let table = decoding.table_of(batch.topic()).and_then(|at| tables.get(at));
            table.is_some_and(|table| names.contains(&table.name()))
        };
        batches.retain(is_own);
        if batches.is_empty() {
            return 0;
        }
        let decoded = decoding.decode(batches, scratch);
        for table in tables.iter_mut().filter(|table| names.contains(&table.name())) {
            table.fold.fire(stamp.clock, &mut |_, _| {});
        }
        for (batch, changes) in decoded.batches.iter().zip(&decoded.changes) {
            if let Some(table) = decoding.table_of(batch.topic()).and_then(|at| tables.get_mut(at))
            {
                table.fold.apply(changes, &stamp, &mut |_, _| {});
            }
        }
        decoding.recycle(decoded.changes);
        decoded.batches.iter().map(|batch| batch.len() as u64).sum()
    }

    /// Ends the folding of some tables alone at this clock, and gives their rows to the KPIs.
    ///
    /// # Errors
    /// When there are more series than there can be.
    pub(crate) fn finish_alone(
        &mut self,
        names: &BTreeSet<String>,
        clock: Micros,
    ) -> Result<(), String> {
        for (index, table) in self.tables.iter_mut().enumerate() {
            if !names.contains(&table.name()) {
                continue;
            }
            table.fold.fire(clock, &mut |_, _| {});
            let layout = table.contract.layout();
            for (_, entry) in table.fold.rows() {
                self.gold.rebuild(index, layout.row(&entry.row)).map_err(|e| e.to_string())?;
            }
        }
        names.iter().for_each(|name| self.write_whole(name));
        Ok(())
    }

    /// Begins to load a barrier: what rows do not give back, but for what is renewed. The rows follow.
    ///
    /// # Errors
    /// When a part is not what was saved.
    pub(crate) fn begin_load(
        &mut self,
        saved: &Saved,
        held: &Identities,
        renewal: &Renewal,
    ) -> Result<(), String> {
        self.identities.seen.clone_from(&held.seen);
        let is_kept = |table: &&mut KeyedTable| !renewal.tables.contains(&table.name());
        for table in self.tables.iter_mut().filter(is_kept) {
            table.fold.load_state(saved).map_err(|e| e.to_string())?;
        }
        let kept = |kpi: &str| !renewal.kpis.contains(kpi);
        self.gold.load_state(saved, &kept).map_err(|e| e.to_string())
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
    ) -> Result<(), String> {
        self.gold.finish_load();
        self.is_redefined = renewal.shows();
        let kept = |kpi: &str| !renewal.unwatched.contains(kpi);
        self.watch.load(saved, alerts, &self.gold, &kept)?;
        // Which files hold which cells is not known: the first barrier writes them all.
        self.write_whole(tables::CURRENT);
        self.last = Some(stamp);
        Ok(())
    }

    /// Whether a table on disk stands elsewhere than this state: at other rows, or further, or under
    /// other KPI definitions.
    pub(crate) fn is_rebuilt(&self) -> bool {
        self.is_redefined || self.whole.iter().any(|table| table != tables::CURRENT)
    }

    /// Goes on after `stamp`, the furthest that any table stands.
    pub(crate) fn skip_to(&mut self, stamp: EpochStamp) {
        self.last = Some(stamp);
    }

    /// The next barrier writes this table whole: its files are not those that were loaded.
    pub(crate) fn write_whole(&mut self, table: &str) {
        self.whole.insert(table.to_owned());
    }
}
