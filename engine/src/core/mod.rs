//! The deterministic core: epochs in, rows and KPI cells out. Synchronous, without IO.
//!
//! # Guarantees
//! - What it holds after an epoch depends on the records and clocks of all epochs so far, and on
//!   nothing else: live, replayed from the ledger and replayed from bronze give the same.

pub(crate) mod control;
pub(crate) mod decoding;
pub(crate) mod epoch;
pub(crate) mod frozen;
mod removed;
pub(crate) mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gold::{Catalog, Engine, HistoryRow};
use lake::state::Read;
use pipeline::bronze::EpochRecords;
use pipeline::decode::{PreparedContract, Scratch};
use pipeline::record::RawBatch;
use pipeline::silver::{FrozenRuns, Halt, SilverRow, TableFold};
use schemas::{Alert, Contract, EpochStamp, InForce, KpiUpdate, Micros, Observer, Saved};
use serde_json::json;

use crate::contracts::fingerprint;
use crate::tables::{self, silver_name};
use control::Control;
use decoding::Decoding;
use epoch::Epoch;
use frozen::{BarrierJob, CellsJob, SilverJob};
use watch::Watch;

/// The part of the saved state that says what silver depends on besides bronze.
pub(crate) const CONTRACTS: &str = "contracts";
/// The part with the topics that silver was built from: JSON triples of source, topic and contract.
pub(crate) const TOPICS: &str = "topics";
/// The part that says under which KPI definitions cells were computed.
const DEFINITIONS: &str = "definitions";

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
    /// Silver tables that stand further than the rows that were loaded.
    ahead: BTreeSet<String>,
    /// Whether the cells on disk were computed under other KPI definitions.
    is_redefined: bool,
    last: Option<EpochStamp>,
    history: Vec<HistoryRow>,
    scratch: Scratch,
    control: Control,
    /// What silver depends on besides bronze.
    fingerprint: String,
    pub(crate) counts: Counts,
}

struct KeyedTable {
    contract: Arc<PreparedContract>,
    fold: TableFold,
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
        let gold = Engine::new(catalog, contracts).map_err(|e| e.to_string())?;
        Ok(Core {
            tables,
            decoding,
            gold,
            watch: Watch::new(observer),
            whole: BTreeSet::new(),
            ahead: BTreeSet::new(),
            is_redefined: false,
            last: None,
            history: Vec::new(),
            scratch: Scratch::default(),
            control: Control::default(),
            fingerprint: fingerprint(contracts, topics),
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

    /// Why what was folded last may not be published, nor anything after it: a file cannot be read.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.tables.iter().find_map(|table| table.fold.failure())
    }

    /// The definitions in force, as control records have put them.
    pub(crate) fn in_force(&self) -> &InForce {
        &self.control.in_force
    }

    /// Live rows of each silver table.
    pub(crate) fn table_rows(&self) -> Vec<(String, usize)> {
        let rows = |t: &KeyedTable| (silver_name(t.contract.contract()), t.fold.len());
        self.tables.iter().map(rows).collect()
    }

    /// Live rows of all tables.
    pub(crate) fn rows(&self) -> usize {
        self.tables.iter().map(|table| table.fold.len()).sum()
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
            self.control.take(&stamp, &epoch.decisions, &mut self.tables);
            let output = self.gold.tick(stamp.clock);
            self.remember(output.history);
            return Changes { updates: output.updates, alerts: self.watch.take(stamp.id) };
        }
        self.gold.begin_epoch(&stamp);
        let Core { tables, gold, counts, decoding, control, .. } = self;
        let mut failed = 0;
        for (index, table) in tables.iter_mut().enumerate() {
            table.fold.fire(stamp.clock, &mut |old, new| {
                failed += u64::from(gold.apply(index, old, new).is_err());
            });
        }
        control.take(&stamp, &epoch.decisions, tables);
        for (batch, changes) in epoch.records.batches.iter().zip(&epoch.changes) {
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
        let texts = vec![
            (CONTRACTS, self.fingerprint.clone()),
            (TOPICS, self.topics_json()),
            (DEFINITIONS, self.gold.fingerprint()),
            (control::PART, serde_json::to_string(self.in_force()).unwrap_or_default()),
        ];
        let watch = self.watch.freeze();
        let all_alerts = whole.contains(tables::ANOMALIES);
        let history = std::mem::take(&mut self.history);
        Some(BarrierJob { stamp, silver, cells, watch, all_alerts, history, texts })
    }

    /// The runs of deleted keys as they are now, by table.
    pub(crate) fn runs(&mut self) -> Vec<FrozenRuns> {
        self.tables.iter_mut().map(|table| table.fold.runs()).collect()
    }

    /// Which topic is which contract, for reading a lake without its configuration.
    fn topics_json(&self) -> String {
        let name = |at: usize| {
            self.tables.get(at).map_or("", |table| table.contract.contract().name.as_str())
        };
        let topics = self.decoding.topics().iter();
        let topics = topics.map(|((source, topic), &at)| json!([source, topic, name(at)]));
        serde_json::Value::Array(topics.collect()).to_string()
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

    /// Begins to load a barrier: what rows do not give back. The rows follow.
    ///
    /// # Errors
    /// When a part is not what was saved.
    pub(crate) fn begin_load(&mut self, read: &Read) -> Result<(), String> {
        for table in &mut self.tables {
            let loaded = table.fold.load_state(&read.saved, &|number| read.run(number));
            loaded.map_err(|e| e.to_string())?;
        }
        self.gold.load_state(&read.saved).map_err(|e| e.to_string())
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
    ) -> Result<(), String> {
        if let Ok(held) = saved.head::<&str>(control::PART) {
            self.control.in_force = serde_json::from_str(held).map_err(|e| e.to_string())?;
        }
        self.gold.finish_load();
        let definitions = saved.head::<&str>(DEFINITIONS);
        self.is_redefined = !definitions.is_ok_and(|held| held == self.gold.fingerprint());
        self.watch.load(saved, alerts, &self.gold)?;
        // Which files hold which cells is not known: the first barrier writes them all.
        self.write_whole(tables::CURRENT);
        self.last = Some(stamp);
        Ok(())
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

    /// A table on disk stands elsewhere than the rows that were loaded. The places of silver rows are
    /// found by key once bronze is replayed; other tables are written whole.
    pub(crate) fn stands_elsewhere(&mut self, table: &str) {
        if self.silver_contract(table).is_some() {
            self.ahead.insert(table.to_owned());
        } else {
            self.write_whole(table);
        }
    }

    /// Whether a silver table stands further than the rows that were loaded.
    pub(crate) fn is_ahead(&self, table: &str) -> bool {
        self.ahead.contains(table)
    }

    /// The slots with a row of a silver table whose places are about to be found: what has changed so
    /// far is known from them, and not flushed again.
    pub(crate) fn take_located(&mut self, table: &str) -> Vec<u32> {
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

    /// The next barrier writes this table whole: its files are not those that were loaded.
    pub(crate) fn write_whole(&mut self, table: &str) {
        self.whole.insert(table.to_owned());
    }
}
