//! The alerts of a lake and what people said of them, as of its newest flush.
//!
//! # Guarantees
//! - Nothing is written: it works beside a running Weir, and on a copy of a lake.
//!
//! # Non-guarantees
//! - What a running Weir has found since its last barrier is not in the lake yet.

use lake::state::{barriers, read};
use lake::{At, Lake, LakeError, Table};
use pipeline::bronze::{CLOCK, EPOCH};
use schemas::{Alert, Answers, EpochId, Micros, Saved};

use crate::core::control::ANSWERS_PART;
use crate::tables::ANOMALIES;

/// The alerts that a lake holds.
#[derive(Debug, Default)]
pub struct LakeAlerts {
    /// The epoch that they are of, and its clock; `None` before the first barrier.
    pub as_of: Option<(EpochId, Micros)>,
    /// All of them, also those long over.
    pub alerts: Vec<Alert>,
    /// What people said of them; `None` where the state that has it cannot be read.
    pub answers: Option<Answers>,
}

/// Reads them.
///
/// # Errors
/// When the table of alerts cannot be read.
pub fn of(lake: &Lake) -> Result<LakeAlerts, Box<dyn std::error::Error>> {
    let table = match Table::open(lake, ANOMALIES, At::Newest) {
        Err(LakeError::NoTable { .. }) => return Ok(LakeAlerts::default()),
        table => table?,
    };
    let epoch = table.progress(EPOCH).and_then(|epoch| EpochId::try_from(epoch).ok());
    let as_of = epoch.zip(table.progress(CLOCK).map(Micros));
    Ok(LakeAlerts { as_of, alerts: rows(&table)?, answers: answers(lake, epoch) })
}

/// The alerts of a table.
pub(crate) fn rows(table: &Table) -> Result<Vec<Alert>, Box<dyn std::error::Error>> {
    let files: Vec<_> = table.files().map(AsRef::as_ref).collect();
    let mut alerts = Vec::new();
    for batch in table.read(&files, None)? {
        alerts.extend(gold::anomalies::read_anomalies(&batch?)?);
    }
    Ok(alerts)
}

/// What people said, as a saved state has it; `None` of an older release.
pub(crate) fn saved_answers(saved: &Saved) -> Option<Answers> {
    serde_json::from_str(saved.head::<&str>(ANSWERS_PART).ok()?).ok()
}

/// What people said as of an epoch, or, where its state is gone, as of the newest barrier.
fn answers(lake: &Lake, epoch: Option<EpochId>) -> Option<Answers> {
    let folder = lake.work_dir().join("state");
    let of = |epoch| saved_answers(&read(&folder, epoch).ok()?.saved);
    epoch.and_then(of).or_else(|| of(barriers(&folder).ok()?.into_iter().max()?))
}
