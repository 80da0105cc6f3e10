//! Alerts at a start: which of them are held, and where their rows lie.
//!
//! # Guarantees
//! - Files in which all alerts are long over are left as they are, and nothing of them is held.

use std::collections::BTreeSet;

use lake::Table;
use schemas::{Alert, Micros};

use super::barrier::{LoadedFile, LoadedTable};
use super::error::RecoverError;
use crate::core::Core;

/// Loads the alerts to hold at `clock`, and their places. Files in which all are long over stay on disk alone;
/// those of KPIs `unwatched` are dropped.
pub(super) fn load(
    table: &Table,
    clock: Micros,
    unwatched: &BTreeSet<String>,
) -> Result<(LoadedTable, Vec<Alert>), RecoverError> {
    let (mut loaded, mut alerts) = (LoadedTable::default(), Vec::new());
    let is_dropped = |alert: &Alert| unwatched.contains(&*alert.key.kpi);
    for (path, file) in read(table) {
        let file = file?;
        if file.iter().all(|alert| alert.is_long_over(clock) && !is_dropped(alert)) {
            continue;
        }
        let mut slots = Vec::with_capacity(file.len());
        for alert in file {
            let is_held = !is_dropped(&alert);
            slots.push(u32::try_from(alerts.len()).ok().filter(|_| is_held));
            alerts.extend(Some(alert).filter(|_| is_held));
        }
        loaded.files.push(LoadedFile { path, slots });
    }
    Ok((loaded, alerts))
}

/// Finds the alerts in memory in a table that stands elsewhere than what was loaded, at `loaded`.
pub(super) fn locate(
    core: &mut Core,
    table: &Table,
    loaded: Micros,
) -> Result<LoadedTable, RecoverError> {
    let mut located = LoadedTable::default();
    for (path, file) in read(table) {
        let Some(found) = core.locate_alerts(file?, loaded) else { continue };
        let differing = found.iter().flatten().filter(|(_, same)| !same);
        located.differing.extend(differing.map(|(slot, _)| *slot));
        let slots = found.into_iter().map(|found| found.map(|(slot, _)| slot)).collect();
        located.files.push(LoadedFile { path, slots });
    }
    located.live = core.take_located(table.name());
    Ok(located)
}

/// The files of `gold/anomalies` with their alerts.
fn read(table: &Table) -> impl Iterator<Item = (String, Result<Vec<Alert>, RecoverError>)> {
    let alerts = |file: &lake::DataFile| {
        let mut read = Vec::new();
        for batch in table.read(&[file], None)? {
            let alerts = gold::anomalies::read_anomalies(&batch?);
            read.extend(alerts.map_err(|problem| {
                let file = file.path.clone();
                RecoverError::Alerts { file, problem }
            })?);
        }
        Ok(read)
    };
    table.files().map(move |file| (file.path.clone(), alerts(file.as_ref())))
}
