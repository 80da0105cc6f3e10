//! Recovery, what a run starts from: load the last complete barrier, replay bronze after it,
//! then the ledger's tail.
//!
//! # Guarantees
//! - Bronze decides what has been ingested; silver, gold and state are never trusted beyond it.
//! - A missing or damaged ledger, saved state or table version costs time or a new stream generation,
//!   and is said; it never costs rows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
use schemas::{Alert, Contract, EpochId, EpochStamp, Micros, chain};
use tokio::runtime::Handle;

use super::barrier::{Flusher, LoadedFile, LoadedTable};
use crate::core::{CONTRACTS, Core};
use crate::run::meters::Meters;
use crate::run::stop::Stop;
use crate::tables::{self, number};

/// What recovery needs to know.
#[derive(Debug)]
pub(crate) struct Inputs {
    pub(crate) lake: Lake,
    pub(crate) ledger_dir: PathBuf,
    pub(crate) durable: bool,
    /// How rows leave the files of silver tables.
    pub(crate) silver: Deletes,
    pub(crate) contracts: Vec<Contract>,
    /// (source, topic) to contract.
    pub(crate) topics: BTreeMap<(String, String), String>,
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

/// Epochs of bronze replayed between two looks at the runs of deleted keys.
const RUNS_EVERY: u64 = 64;

/// The files whose rows were loaded, by table.
type Files = BTreeMap<String, LoadedTable>;

/// Brings the lake's state into memory.
pub(crate) fn recover(inputs: &Inputs, runtime: &Handle, stop: &Stop) -> Result<Recovered, String> {
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
    let (mut core, mut files, state) = load(inputs, &held, &newest)?;
    let mut log = StateLog::new(&state_folder(inputs), state.as_ref())
        .map_err(|e| format!("could not read the folder of saved state: {e}"))?;
    replay_bronze(&mut core, &bronze, &held, &mut log).map_err(text)?;
    if let Some(reason) = core.failure() {
        return Err(reason.to_owned());
    }
    for table in &newest {
        if core.is_ahead(table.name()) {
            let located = locate(&mut core, table)?;
            files.insert(table.name().to_owned(), located);
        }
    }
    let (mut header, mut tail, mut segments) = read_ledger(inputs, &held)?;
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
fn new_generation() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

fn state_folder(inputs: &Inputs) -> PathBuf {
    inputs.lake.state_dir().join("state")
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
    held: &Held,
    newest: &[Table],
) -> Result<(Core, Files, Option<Read>), String> {
    let mut at_most = held.flushed;
    for table in newest.iter().filter(|table| table.is_outdated()) {
        let name = table.name();
        tracing::warn!("the contract of {name} has other columns now: built again from bronze");
        at_most = 0;
    }
    while at_most > 0 {
        match load_at(inputs, at_most)? {
            Loaded::Whole(core, files, state) => {
                let mut core = *core;
                for table in newest.iter().filter(|t| t.progress(EPOCH) != Some(number(at_most))) {
                    core.stands_elsewhere(table.name());
                }
                return Ok((core, files, Some(*state)));
            }
            Loaded::Earlier(epoch) => {
                tracing::warn!("barrier {at_most} is not whole, trying the one at {epoch}");
                at_most = epoch.min(at_most - 1);
            }
        }
    }
    if held.flushed > 0 && !newest.iter().any(Table::is_outdated) {
        tracing::warn!("no barrier is whole: rebuilding silver and gold from bronze");
    }
    let mut core = new_core(inputs)?;
    newest.iter().for_each(|table| core.write_whole(table.name()));
    Ok((core, Files::new(), None))
}

enum Loaded {
    Whole(Box<Core>, Files, Box<Read>),
    /// Not there; the newest barrier that may be.
    Earlier(EpochId),
}

fn load_at(inputs: &Inputs, barrier: EpochId) -> Result<Loaded, String> {
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
    if read.saved.head::<&str>(CONTRACTS).is_ok_and(|own| own != contracts_fingerprint(inputs)) {
        tracing::warn!("contracts or topics have changed: silver is built again from bronze");
        return Ok(Loaded::Earlier(0));
    }
    let mut core = new_core(inputs)?;
    let unusable = |error: String| {
        tracing::warn!("the state of barrier {barrier} cannot be used: {error}");
        Ok(Loaded::Earlier(earlier))
    };
    if let Err(error) = core.begin_load(&read) {
        return unusable(error);
    }
    let mut loaded = Files::new();
    let mut clock = Micros(0);
    let mut alerts = Vec::new();
    for spec in tables::specs(&inputs.contracts) {
        let at = At::Progress { app: EPOCH.into(), at_most: number(barrier) };
        let Ok(table) = Table::open(&inputs.lake, &spec.name, at) else {
            return Ok(Loaded::Earlier(earlier));
        };
        let epoch = table.progress(EPOCH).and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        if epoch != barrier {
            return Ok(Loaded::Earlier(epoch));
        }
        clock = Micros(table.progress(CLOCK).unwrap_or(0));
        if let Some(contract) = core.silver_contract(&spec.name) {
            let files = load_silver(&mut core, &table, &contract)?;
            loaded.insert(spec.name, files);
        } else if spec.name == tables::ANOMALIES {
            alerts = load_alerts(&table)?;
        }
    }
    let stamp = EpochStamp { id: barrier, clock, quiet: false };
    if let Err(error) = core.finish_load(stamp, &read.saved, alerts) {
        return unusable(error);
    }
    Ok(Loaded::Whole(Box::new(core), loaded, Box::new(read)))
}

fn new_core(inputs: &Inputs) -> Result<Core, String> {
    let observer = crate::observer(&inputs.catalog);
    Core::new(&inputs.contracts, &inputs.topics, Arc::clone(&inputs.catalog), observer)
}

fn load_alerts(table: &Table) -> Result<Vec<Alert>, String> {
    let text = |e: LakeError| chain(&e);
    let mut alerts = Vec::new();
    let files: Vec<_> = table.files().collect();
    let files: Vec<_> = files.iter().map(|file| file.as_ref()).collect();
    for batch in table.read(&files, None).map_err(text)? {
        alerts.extend(gold::anomalies::read_anomalies(&batch.map_err(text)?)?);
    }
    Ok(alerts)
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
fn read_ledger(inputs: &Inputs, held: &Held) -> Result<(Header, Vec<Entry>, Segments), String> {
    let found = Ledger::recover(&inputs.ledger_dir, held.epoch).map_err(|e| {
        format!("could not read the ledger in `{}`: {e}", inputs.ledger_dir.display())
    })?;
    let fingerprint = fingerprint(inputs);
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
        (Some(header), None) if header.fingerprint != fingerprint => {
            Some("contracts or KPI definitions have changed".to_owned())
        }
        (Some(_), None) => continues(found.range, &found.entries, held).err(),
    };
    match (found.header, problem) {
        (Some(header), None) => Ok((header, found.entries, found.segments)),
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

fn contracts_fingerprint(inputs: &Inputs) -> String {
    crate::contracts::fingerprint(&inputs.contracts, &inputs.topics)
}

fn fingerprint(inputs: &Inputs) -> String {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    hash.update(contracts_fingerprint(inputs));
    hash.update(inputs.catalog.fingerprint());
    hash.update(crate::observer(&inputs.catalog).fingerprint());
    hash.finalize().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}
