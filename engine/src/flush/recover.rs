//! Recovery, what a run starts from: load the last complete barrier, replay bronze after it,
//! then the ledger's tail.
//!
//! # Guarantees
//! - Bronze decides what has been ingested; silver, gold and state are never trusted beyond it.
//! - A missing or damaged ledger, saved state or table version costs time or a new stream generation,
//!   and is said; it never costs rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use lake::Table;
use pipeline::bronze::{self, BronzeWriter, CLOCK, EPOCH, Held};
use pipeline::ledger::{Entry, Ledger, Segments};
use pipeline::record::TopicPartition;
use pipeline::source::{LastRecord, needs_last};
use schemas::{EpochStamp, Feed, Micros};
use tokio::runtime::Handle;

use super::barrier::Flusher;
use super::error::RecoverError;
use super::generation::{self, new_generation};
use super::replay::replay_bronze;
use super::{alerts, last_barrier, silver, views};
use crate::core::Core;
use crate::run::stop::Stop;
use crate::tables;

pub(crate) use super::generation::restart;
pub(crate) use super::inputs::Inputs;

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

/// Brings the lake's state into memory. Where that takes the building of tables, `feeds` are told what
/// there is before it.
pub(crate) fn recover(
    inputs: &Inputs,
    feeds: &mut [Box<dyn Feed>],
    runtime: &Handle,
    stop: &Stop,
) -> Result<Recovered, RecoverError> {
    let lake = &inputs.lake;
    let bronze = runtime.block_on(Table::open_or_create(lake, &bronze::spec()))?;
    let newest = runtime.block_on(tables::open_all(lake, &inputs.contracts, &inputs.catalog))?;
    for warning in newest.iter().chain([&bronze]).flat_map(|table| table.warnings()) {
        tracing::warn!("{warning}");
    }
    let held = bronze::held(&bronze);
    let wanted = held.next.iter().filter(|(of, _)| needs_last(of));
    let wanted = wanted.map(|(of, next)| (of.clone(), *next)).collect();
    let lasts = bronze::last_records(&bronze, wanted)?;
    let (mut core, mut files, state) = last_barrier::load(inputs, feeds, &held, &newest, &bronze)?;
    let loaded = core.last().map_or(Micros(0), |stamp| stamp.clock);
    let mut log = inputs.state_log(state.as_ref())?;
    replay_bronze(&mut core, &bronze, &held, &mut log)?;
    if let Some(reason) = core.failure() {
        return Err(RecoverError::Runs(reason.to_owned()));
    }
    for table in newest.iter().filter(|table| tables::is_of_view(table.name())) {
        let located = views::locate(&mut core, table, held.flushed);
        files.extend(located.map(|located| (table.name().to_owned(), located)));
    }
    for table in newest.iter().filter(|table| !tables::is_of_view(table.name())) {
        if core.is_ahead(table.name()) {
            let located = match table.name() {
                tables::ANOMALIES => alerts::locate(&mut core, table, loaded)?,
                _ => silver::locate(&mut core, table)?,
            };
            files.insert(table.name().to_owned(), located);
        }
    }
    let (mut header, mut tail, mut segments) =
        generation::read_ledger(inputs, &held, core.identities(), core.is_repaired())?;
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
    let folder = &inputs.ledger_dir;
    let ledger = Ledger::open(folder, header, segments, inputs.durable);
    let ledger = ledger.map_err(RecoverError::ledger("open", folder))?;
    let meters = Arc::clone(&inputs.meters);
    let (runtime, stop) = (runtime.clone(), stop.clone());
    let flusher = Flusher::new(newest, files, inputs.silver, log, runtime, stop, meters)?;
    let metrics = gold::semantic::metrics(&inputs.catalog);
    let flusher = flusher.with_metrics(lake.clone(), metrics, !core.is_rebuilt());
    let bronze = BronzeWriter::new(bronze)?;
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
