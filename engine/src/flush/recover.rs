//! Recovery, what a run starts from: load the last complete barrier, replay bronze after it,
//! then the ledger's tail.
//!
//! # Guarantees
//! - Bronze decides what has been ingested; silver, gold and state are never trusted beyond it.
//! - A missing or damaged ledger, saved state or table version costs time or a new stream generation,
//!   and is said; it never costs rows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use gold::Catalog;
use lake::keyed::Deletes;
use lake::state::{self, Read, StateLog};
use lake::{At, Lake, LakeError, Table};
use pipeline::bronze::{self, BronzeWriter, CLOCK, EPOCH, Held};
use pipeline::decode::PreparedContract;
use pipeline::ledger::{Entry, Header, Ledger, Segments};
use pipeline::record::TopicPartition;
use pipeline::silver::{FrozenRuns, RunsError, rows_from_batch};
use pipeline::source::{LastRecord, needs_last};
use schemas::{Alert, Contract, EpochId, EpochStamp, Feed, Micros, chain};
use tokio::runtime::Handle;

use super::alerts;
use super::barrier::{Flusher, LoadedFile, LoadedTable};
use super::preview;
use crate::core::Core;
use crate::identities::{Identities, PART, Renewal, Seen};
use crate::run::meters::Meters;
use crate::run::stop::Stop;
use crate::tables::{self, number};

/// What recovery needs to know.
#[derive(Debug)]
pub(crate) struct Inputs {
    /// When it begins.
    pub(crate) now: Micros,
    pub(crate) lake: Lake,
    pub(crate) ledger_dir: PathBuf,
    pub(crate) durable: bool,
    /// How rows leave the files of silver tables.
    pub(crate) silver: Deletes,
    pub(crate) contracts: Vec<Contract>,
    /// (source, topic) to what the topic is.
    pub(crate) topics: crate::Topics,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) meters: Arc<Meters>,
}

/// Everything a run owns at its start.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) core: Core,
    pub(crate) bronze: BronzeWriter,
    pub(crate) held: Held,
    /// The last record of the partitions whose topics have no id: their sources compare it.
    pub(crate) lasts: BTreeMap<TopicPartition, LastRecord>,
    pub(crate) flusher: Flusher,
    pub(crate) ledger: Ledger,
    /// Recorded epochs that bronze does not hold: to be read again from their sources.
    pub(crate) tail: Vec<Entry>,
}

/// Epochs of bronze folded between two looks at the runs of deleted keys.
const RUNS_EVERY: u64 = 64;

/// The files whose rows were loaded, by table.
type Files = BTreeMap<String, LoadedTable>;

/// Brings the lake's state into memory. Where that takes the building of tables, `feeds` are told what
/// there is before it.
pub(crate) fn recover(
    inputs: &Inputs,
    feeds: &mut [Box<dyn Feed>],
    runtime: &Handle,
    stop: &Stop,
) -> Result<Recovered, String> {
    let text = |e: LakeError| chain(&e);
    let lake = &inputs.lake;
    let bronze = runtime.block_on(Table::open_or_create(lake, &bronze::spec())).map_err(text)?;
    let newest = runtime.block_on(tables::open_all(lake, &inputs.contracts)).map_err(text)?;
    for warning in newest.iter().chain([&bronze]).flat_map(|table| table.warnings()) {
        tracing::warn!("{warning}");
    }
    let held = bronze::held(&bronze);
    let wanted = held.next.iter().filter(|(of, _)| needs_last(of));
    let wanted = wanted.map(|(of, next)| (of.clone(), *next)).collect();
    let lasts = bronze::last_records(&bronze, wanted).map_err(text)?;
    let (mut core, mut files, state) = load(inputs, feeds, &held, &newest, &bronze)?;
    let loaded = core.last().map_or(Micros(0), |stamp| stamp.clock);
    let mut log = state_log(inputs, state.as_ref())?;
    replay_bronze(&mut core, &bronze, &held, &mut log).map_err(text)?;
    if let Some(reason) = core.failure() {
        return Err(reason.to_owned());
    }
    for table in &newest {
        if core.is_ahead(table.name()) {
            let located = match table.name() {
                tables::ANOMALIES => alerts::locate(&mut core, table, loaded)?,
                _ => locate(&mut core, table)?,
            };
            files.insert(table.name().to_owned(), located);
        }
    }
    let (mut header, mut tail, mut segments) = read_ledger(inputs, &held, core.identities())?;
    let recorded = tail.last().map_or(held.epoch, |entry| entry.epoch);
    if let Some(beyond) = furthest(&newest).filter(|stamp| stamp.id > recorded) {
        tracing::warn!(
            "silver or gold stand at epoch {}, bronze and the ledger end at {recorded}: they are \
             written again from bronze, under a new stream generation",
            beyond.id
        );
        (header.generation, tail, segments) = (new_generation(), Vec::new(), Segments::default());
        core.skip_to(beyond);
    }
    let ledger = Ledger::open(&inputs.ledger_dir, header, segments, inputs.durable);
    let place = inputs.ledger_dir.display();
    let ledger = ledger.map_err(|e| format!("could not open the ledger in `{place}`: {e}"))?;
    let meters = Arc::clone(&inputs.meters);
    let (runtime, stop) = (runtime.clone(), stop.clone());
    let flusher = Flusher::new(newest, files, inputs.silver, log, runtime, stop, meters);
    let flusher = flusher.map_err(text)?;
    let bronze = BronzeWriter::new(bronze).map_err(text)?;
    Ok(Recovered { core, bronze, held, lasts, flusher, ledger, tail })
}

/// The highest epoch, with its clock, that any silver or gold table holds.
fn furthest(tables: &[Table]) -> Option<EpochStamp> {
    let stamp = |table: &Table| {
        let id = table.progress(EPOCH).and_then(|epoch| u64::try_from(epoch).ok())?;
        Some(EpochStamp { id, clock: Micros(table.progress(CLOCK)?), quiet: false })
    };
    tables.iter().filter_map(stamp).max_by_key(|stamp| (stamp.id, stamp.clock))
}

/// A name for a stream generation that no other has.
pub(super) fn new_generation() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

fn state_folder(inputs: &Inputs) -> PathBuf {
    inputs.lake.work_dir().join("state")
}

/// The saved state that goes on after `read`.
fn state_log(inputs: &Inputs, read: Option<&Read>) -> Result<StateLog, String> {
    StateLog::new(&state_folder(inputs), read)
        .map_err(|e| format!("could not read the folder of saved state: {e}"))
}

/// A ledger in place of one whose epochs cannot be read again: of a new stream generation.
pub(crate) fn restart(ledger: &Ledger, folder: &Path, durable: bool) -> Result<Ledger, String> {
    let header = Header { generation: new_generation(), ..ledger.header().clone() };
    Ledger::open(folder, header, Segments::default(), durable)
        .map_err(|e| format!("could not open the ledger in `{}`: {e}", folder.display()))
}

/// The core at the last barrier that every table and the saved state still hold, or an empty one.
fn load(
    inputs: &Inputs,
    feeds: &mut [Box<dyn Feed>],
    held: &Held,
    newest: &[Table],
    bronze: &Table,
) -> Result<(Core, Files, Option<Read>), String> {
    let mut at_most = held.flushed;
    let outdated = newest.iter().filter(|table| table.is_outdated());
    let outdated = outdated.map(|table| table.name().to_owned()).collect();
    let mut barriers = Barriers { inputs, outdated, bronze };
    while at_most > 0 {
        match barriers.load(at_most, feeds)? {
            Loaded::Whole(core, files, state) => {
                let mut core = *core;
                for table in newest.iter().filter(|t| t.progress(EPOCH) != Some(number(at_most))) {
                    core.stands_elsewhere(table.name());
                }
                return Ok((core, files, state.map(|state| *state)));
            }
            Loaded::Damaged(table, error) => {
                tracing::warn!("{table} cannot be read and is built again from bronze: {error}");
                barriers.outdated.insert(table);
            }
            Loaded::Earlier(epoch) => {
                tracing::warn!("barrier {at_most} is not whole, trying the one at {epoch}");
                at_most = epoch.min(at_most - 1);
            }
        }
    }
    if held.flushed > 0 {
        tracing::warn!("no barrier is whole: rebuilding silver and gold from bronze");
    }
    let mut core = new_core(inputs)?;
    newest.iter().for_each(|table| core.write_whole(table.name()));
    Ok((core, Files::new(), None))
}

enum Loaded {
    /// With the saved state that the next one goes on from, unless something is renewed.
    Whole(Box<Core>, Files, Option<Box<Read>>),
    /// Not there; the newest barrier that may be.
    Earlier(EpochId),
    /// A silver table whose files do not give its rows, and why.
    Damaged(String, String),
}

/// The barriers of a lake, and what they are loaded under.
struct Barriers<'a> {
    inputs: &'a Inputs,
    /// Silver tables whose columns are not those of their contract, or whose files are damaged.
    outdated: BTreeSet<String>,
    bronze: &'a Table,
}

impl Barriers<'_> {
    /// The core at one barrier: what has the identity that it had then from its tables and state, the
    /// rest from bronze.
    fn load(&self, barrier: EpochId, feeds: &mut [Box<dyn Feed>]) -> Result<Loaded, String> {
        let inputs = self.inputs;
        let folder = state_folder(inputs);
        let barriers = state::barriers(&folder).unwrap_or_default();
        let earlier = barriers.into_iter().filter(|epoch| *epoch < barrier).max().unwrap_or(0);
        let read = match state::read(&folder, barrier) {
            Ok(read) => read,
            Err(error) => {
                tracing::warn!("could not read the state of barrier {barrier}: {error}");
                return Ok(Loaded::Earlier(earlier));
            }
        };
        let mut core = new_core(inputs)?;
        let identities = read.saved.head::<&str>(PART).ok().map(str::as_bytes);
        let Some(identities) = identities.and_then(Identities::parse) else {
            tracing::warn!("barrier {barrier} was written by another release");
            return Ok(Loaded::Earlier(0));
        };
        let renewal = core.identities().renewal(&identities, &identities.seen, &inputs.catalog);
        let renewal = renewal.with_tables(&self.outdated, &inputs.catalog);
        let unusable = |error: String| {
            tracing::warn!("the state of barrier {barrier} cannot be used: {error}");
            Ok(Loaded::Earlier(earlier))
        };
        if let Err(error) = core.begin_load(&read, &identities, &renewal) {
            return unusable(error);
        }
        let tables = match self.load_tables(&mut core, barrier, earlier, &renewal)? {
            Ok(tables) => tables,
            Err(other) => return Ok(other),
        };
        let stamp = EpochStamp { id: barrier, clock: tables.clock, quiet: false };
        if !renewal.tables.is_empty() {
            preview::tell(feeds, &core, (stamp, self.inputs.now), &tables.alerts, &renewal);
            self.build_alone(&mut core, stamp, &renewal.tables)?;
        }
        if let Err(error) = core.finish_load(stamp, &read.saved, tables.alerts, &renewal) {
            return unusable(error);
        }
        let read = (renewal == Renewal::default()).then(|| Box::new(read));
        Ok(Loaded::Whole(Box::new(core), tables.files, read))
    }

    /// Loads the tables that are not renewed; else why they are not to be had.
    fn load_tables(
        &self,
        core: &mut Core,
        barrier: EpochId,
        earlier: EpochId,
        renewal: &Renewal,
    ) -> Result<Result<LoadedTables, Loaded>, String> {
        let mut loaded = LoadedTables::default();
        for spec in tables::specs(&self.inputs.contracts) {
            if renewal.tables.contains(&spec.name) {
                continue;
            }
            let at = At::Progress { app: EPOCH.into(), at_most: number(barrier) };
            let Ok(table) = Table::open(&self.inputs.lake, &spec.name, at) else {
                return Ok(Err(Loaded::Earlier(earlier)));
            };
            let epoch = table.progress(EPOCH).and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
            if epoch != barrier {
                return Ok(Err(Loaded::Earlier(epoch)));
            }
            loaded.clock = Micros(table.progress(CLOCK).unwrap_or(0));
            if let Some(contract) = core.silver_contract(&spec.name) {
                match load_silver(core, &table, &contract) {
                    Ok(files) => drop(loaded.files.insert(spec.name, files)),
                    Err(error) => return Ok(Err(Loaded::Damaged(spec.name, error))),
                }
            } else if spec.name == tables::ANOMALIES {
                let (files, alerts) = alerts::load(&table, loaded.clock, &renewal.unwatched)?;
                loaded.files.insert(spec.name, files);
                loaded.alerts = alerts;
            }
        }
        Ok(Ok(loaded))
    }

    /// Builds the tables that are renewed from bronze up to the barrier; the others hold theirs.
    fn build_alone(
        &self,
        core: &mut Core,
        barrier: EpochStamp,
        names: &BTreeSet<String>,
    ) -> Result<(), String> {
        let begun = Instant::now();
        let mut records = 0_u64;
        let mut log = state_log(self.inputs, None)?;
        for (epoch, at) in
            bronze::replay(self.bronze, 0, barrier.id).map_err(|e| chain(&e))?.zip(1_u64..)
        {
            let epoch = epoch.map_err(|e| chain(&e))?;
            records += core.fold_alone(names, epoch.stamp, epoch.batches);
            if at.is_multiple_of(RUNS_EVERY) {
                write_runs(core, &mut log);
            }
        }
        core.finish_alone(names, barrier.clock)?;
        tracing::info!(
            records,
            took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            "built from bronze, because their definition is new or differs: {}; all other tables are loaded as \
             barrier {} wrote them",
            names.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
            barrier.id
        );
        Ok(())
    }
}

/// What the tables of a barrier hold.
#[derive(Debug, Default)]
struct LoadedTables {
    files: Files,
    clock: Micros,
    alerts: Vec<Alert>,
}

/// The topics that bronze holds records of.
fn seen(held: &Held) -> Seen {
    let mut seen = Seen::new();
    for of in held.next.keys() {
        seen.entry(of.source.to_string()).or_default().insert(of.topic.to_string());
    }
    seen
}

fn new_core(inputs: &Inputs) -> Result<Core, String> {
    let observer = crate::observer(&inputs.catalog);
    Core::new(&inputs.contracts, &inputs.topics, Arc::clone(&inputs.catalog), observer)
}

fn load_silver(
    core: &mut Core,
    table: &Table,
    contract: &PreparedContract,
) -> Result<LoadedTable, String> {
    let text = |e: LakeError| chain(&e);
    let mut files = Vec::new();
    for file in table.files() {
        let mut rows = Vec::new();
        for batch in table.read(&[file.as_ref()], None).map_err(text)? {
            let batch = batch.map_err(text)?;
            rows.extend(rows_from_batch(contract, &batch).map_err(|e| e.to_string())?);
        }
        let slots = core.load_rows(table.name(), rows)?.into_iter().map(Some).collect();
        files.push(LoadedFile { path: file.path.clone(), slots });
    }
    Ok(LoadedTable { files, ..LoadedTable::default() })
}

/// Where the rows in memory lie in a table that stands further than what was loaded: found by key.
fn locate(core: &mut Core, table: &Table) -> Result<LoadedTable, String> {
    let text = |e: LakeError| chain(&e);
    let mut located = LoadedTable { live: core.take_located(table.name()), ..Default::default() };
    let Some(contract) = core.silver_contract(table.name()) else { return Ok(located) };
    for file in table.files() {
        let mut slots = Vec::new();
        for batch in table.read(&[file.as_ref()], None).map_err(text)? {
            let batch = batch.map_err(text)?;
            for row in rows_from_batch(&contract, &batch).map_err(|e| e.to_string())? {
                let found = core.locate(table.name(), &row);
                slots.push(found.map(|(slot, _)| slot));
                located.differing.extend(found.filter(|(_, same)| !same).map(|(slot, _)| slot));
            }
        }
        located.files.push(LoadedFile { path: file.path.clone(), slots });
    }
    Ok(located)
}

fn replay_bronze(
    core: &mut Core,
    bronze: &Table,
    held: &Held,
    log: &mut StateLog,
) -> Result<(), LakeError> {
    let from = core.last().map_or(0, |stamp| stamp.id);
    if held.epoch <= from {
        return Ok(());
    }
    let mut epochs = 0_u64;
    for epoch in bronze::replay(bronze, from, held.epoch)? {
        let epoch = epoch?;
        core.replay(epoch.stamp, epoch.batches);
        epochs += 1;
        if epochs.is_multiple_of(RUNS_EVERY) {
            write_runs(core, log);
        }
    }
    if core.last().is_none_or(|last| last.id < held.epoch) {
        let tick = EpochStamp { id: held.epoch, clock: held.clock, quiet: false };
        core.replay(tick, Vec::new());
    }
    tracing::info!(epochs, from, to = held.epoch, "replayed bronze");
    Ok(())
}

/// Puts the runs of deleted keys on disk, which memory would hold until the first barrier.
fn write_runs(core: &mut Core, log: &mut StateLog) {
    let runs = core.runs();
    let written = log.need_runs(runs.iter().flat_map(FrozenRuns::iter));
    let written = written.map_err(RunsError::from);
    let merged = written.and_then(|_| runs.iter().try_for_each(|runs| runs.merge(log)));
    if let Err(error) = merged {
        tracing::warn!("could not write runs of deleted keys, they wait in memory: {error}");
    }
}

/// The header to go on under, the recorded epochs after bronze, and the segments to go on behind. A
/// ledger that does not continue bronze is a lost one.
fn read_ledger(
    inputs: &Inputs,
    held: &Held,
    identities: &Identities,
) -> Result<(Header, Vec<Entry>, Segments), String> {
    let found = Ledger::recover(&inputs.ledger_dir, held.epoch).map_err(|e| {
        format!("could not read the ledger in `{}`: {e}", inputs.ledger_dir.display())
    })?;
    let fingerprint = identities.to_text();
    let shows = |header: &Header| {
        let before = Identities::parse(header.fingerprint.as_bytes());
        let renewal = |before| identities.renewal(&before, &seen(held), &inputs.catalog);
        before.map(renewal).is_none_or(|renewal| renewal.shows())
    };
    let lake = inputs.lake.id().to_owned();
    let fresh = || {
        let generation = new_generation();
        let header = Header { lake: lake.clone(), generation, fingerprint: fingerprint.clone() };
        (header, Vec::new(), Segments::default())
    };
    let problem = match (&found.header, &found.damage) {
        (_, Some(damage)) => Some(damage.clone()),
        (None, None) if held.epoch == 0 => return Ok(fresh()),
        (None, None) => Some("it is missing".to_owned()),
        (Some(header), None) if header.lake != lake => Some("it is of another lake".to_owned()),
        (Some(header), None) if shows(header) => {
            Some("what KPIs or detectors compute has changed".to_owned())
        }
        (Some(_), None) => continues(found.range, &found.entries, held).err(),
    };
    match (found.header, problem) {
        (Some(header), None) => {
            Ok((Header { fingerprint, ..header }, found.entries, found.segments))
        }
        (_, problem) => {
            let problem = problem.unwrap_or_default();
            tracing::warn!(
                "the ledger is not used: {problem}. A new stream generation starts; no data is lost"
            );
            Ok(fresh())
        }
    }
}

/// `entries` are those after bronze's last epoch, of a ledger that holds the epochs of `range`.
fn continues(
    range: Option<(EpochId, EpochId)>,
    entries: &[Entry],
    held: &Held,
) -> Result<(), String> {
    let (first, last) = range.unwrap_or((0, 0));
    if last < held.epoch || first > held.epoch + 1 {
        let bronze = held.epoch;
        return Err(format!("it holds epochs {first} to {last} and bronze ends at {bronze}"));
    }
    let mut next: BTreeMap<(&str, &str, &str, i32), i64> = BTreeMap::new();
    for (of, offset) in &held.next {
        next.insert((&of.source, &of.topic, &of.incarnation, of.partition), *offset);
    }
    for span in entries.iter().flat_map(|entry| &entry.spans) {
        let key = (&*span.source, &*span.topic, &*span.incarnation, span.partition);
        let expected = next.insert(key, span.to);
        if expected.is_some_and(|expected| expected != span.from) {
            let (topic, partition) = (&span.topic, span.partition);
            return Err(format!("its offsets of {topic}/{partition} do not continue bronze"));
        }
    }
    Ok(())
}
