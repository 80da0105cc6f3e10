//! The last barrier that every table and the saved state still hold: found, and loaded.
//!
//! # Guarantees
//! - What has another identity than it had at the barrier is built from bronze beside the rest, and so is a
//!   silver table whose files do not give its rows. One whose contract was extended goes on with the rows that it has.
//! - A barrier that is not whole is passed over for an earlier one, and that is said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use lake::state::{self, Read};
use lake::{At, Table};
use pipeline::bronze::{self, CLOCK, EPOCH, Held};
use pipeline::decode::PreparedContract;
use schemas::{Alert, EpochId, EpochStamp, Feed, InForce, Micros, chain};

use super::barrier::LoadedTable;
use super::error::RecoverError;
use super::inputs::Inputs;
use super::replay::{RUNS_EVERY, write_runs};
use super::{alerts, preview, silver};
use crate::core::{Core, RestoreError, control};
use crate::identities::{Identities, PART, Renewal};
use crate::tables::{self, is_of_view, number};

/// The files whose rows were loaded, by table.
pub(super) type Files = BTreeMap<String, LoadedTable>;

/// The core at the last barrier that every table and the saved state still hold, or an empty one.
pub(super) fn load(
    inputs: &Inputs,
    feeds: &mut [Box<dyn Feed>],
    held: &Held,
    newest: &[Table],
    bronze: &Table,
) -> Result<(Core, Files, Option<Read>), RecoverError> {
    let mut at_most = held.flushed;
    // Current values are written whole after every load, and what the tables of views hold is found then.
    let is_built = |table: &&Table| table.name() != tables::CURRENT && !is_of_view(table.name());
    let (widened, outdated): (Vec<_>, Vec<_>) = newest
        .iter()
        .filter(|table| table.is_outdated())
        .filter(is_built)
        .partition(|table| table.is_widened());
    let names = |tables: Vec<&Table>| -> BTreeSet<String> {
        tables.iter().map(|table| table.name().to_owned()).collect()
    };
    let (outdated, widened) = (names(outdated), names(widened));
    let mut barriers = Barriers { inputs, outdated, widened, bronze, held };
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
                let error = chain(&error);
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
    let lineages = inputs.lineages(InForce::default(), 0, bronze, held)?;
    let mut core = inputs.new_core(&lineages)?;
    newest.iter().for_each(|table| core.write_whole(table.name()));
    Ok((core, Files::new(), None))
}

enum Loaded {
    /// With the saved state that the next one goes on from, unless something is renewed.
    Whole(Box<Core>, Files, Option<Box<Read>>),
    /// Not there; the newest barrier that may be.
    Earlier(EpochId),
    /// A silver table whose files do not give its rows, and why.
    Damaged(String, RecoverError),
}

/// The barriers of a lake, and what they are loaded under.
struct Barriers<'a> {
    inputs: &'a Inputs,
    /// Silver tables whose columns are not those of their contract, or whose files are damaged.
    outdated: BTreeSet<String>,
    /// Those that lack nothing but columns.
    widened: BTreeSet<String>,
    bronze: &'a Table,
    held: &'a Held,
}

impl Barriers<'_> {
    /// The core at one barrier: what has the identity that it had then from its tables and state, the
    /// rest from bronze.
    fn load(&self, barrier: EpochId, feeds: &mut [Box<dyn Feed>]) -> Result<Loaded, RecoverError> {
        let inputs = self.inputs;
        let folder = inputs.state_folder();
        let barriers = state::barriers(&folder).unwrap_or_default();
        let earlier = barriers.into_iter().filter(|epoch| *epoch < barrier).max().unwrap_or(0);
        let read = match state::read(&folder, barrier) {
            Ok(read) => read,
            Err(error) => {
                tracing::warn!("could not read the state of barrier {barrier}: {error}");
                return Ok(Loaded::Earlier(earlier));
            }
        };
        let in_force = read.saved.head::<&str>(control::PART).ok();
        let in_force: Option<InForce> = in_force.and_then(|text| serde_json::from_str(text).ok());
        let in_force = in_force.unwrap_or_default();
        let lineages = inputs.lineages(in_force.clone(), barrier, self.bronze, self.held)?;
        let mut core = inputs.new_core(&lineages)?;
        let identities = read.saved.head::<&str>(PART).ok().map(str::as_bytes);
        let Some(identities) = identities.and_then(Identities::parse) else {
            tracing::warn!("barrier {barrier} was written by another release");
            return Ok(Loaded::Earlier(0));
        };
        let renewal = core.identities().renewal(&identities, &identities.seen, &inputs.catalog);
        let is_other = |table: &&String| !core.decoding().is_extended(table);
        let lacking = self.widened.iter().filter(is_other).cloned().collect();
        let renewal = renewal.with_tables(&self.outdated, &inputs.catalog);
        let renewal = renewal.with_tables(&lacking, &inputs.catalog);
        for kpi in &renewal.repaired {
            tracing::warn!("the KPI `{kpi}` is computed anew from silver, as was decided");
        }
        let unusable = |error: RestoreError| {
            tracing::warn!("the state of barrier {barrier} cannot be used: {error}");
            Ok(Loaded::Earlier(earlier))
        };
        let held_by = core.decoding().held_by(&in_force);
        if let Err(error) = core.begin_load(&read, &identities, &renewal, &held_by) {
            return unusable(error);
        }
        let epochs = (barrier, earlier);
        let tables = match self.load_tables(&mut core, epochs, &renewal, &held_by)? {
            Ok(tables) => tables,
            Err(other) => return Ok(other),
        };
        let stamp = EpochStamp { id: barrier, clock: tables.clock, quiet: false };
        if !renewal.tables.is_empty() {
            core.roll_up();
            let detected = (tables.alerts.as_slice(), anomaly::models_in_force(&read.saved));
            preview::tell(feeds, &core, (stamp, self.inputs.now), detected, &renewal);
            self.build_alone(&mut core, stamp, &renewal.tables)?;
        }
        if let Err(error) = core.finish_load(stamp, &read.saved, tables.alerts, &renewal) {
            return unusable(error);
        }
        let read = (renewal == Renewal::default()).then(|| Box::new(read));
        Ok(Loaded::Whole(Box::new(core), tables.files, read))
    }

    /// Loads the tables that are not renewed; else why they are not to be had. `held_by`: what has read the rows of
    /// tables whose contracts have been extended since.
    fn load_tables(
        &self,
        core: &mut Core,
        (barrier, earlier): (EpochId, EpochId),
        renewal: &Renewal,
        held_by: &BTreeMap<String, Arc<PreparedContract>>,
    ) -> Result<Result<LoadedTables, Loaded>, RecoverError> {
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
                let contract = held_by.get(&spec.name).map_or(contract, Arc::clone);
                match silver::load(core, &table, &contract) {
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
    ) -> Result<(), RecoverError> {
        let begun = Instant::now();
        let mut records = 0_u64;
        let mut log = self.inputs.state_log(None)?;
        for (epoch, at) in bronze::replay(self.bronze, 0, barrier.id)?.zip(1_u64..) {
            let epoch = epoch?;
            records += core.fold_alone(names, epoch);
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
