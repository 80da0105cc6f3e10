//! Alerts: every row of `gold/anomalies` against an undisturbed run over bronze's epochs, and what people said of
//! them against the decisions in bronze.
//!
//! # Guarantees
//! - The run starts from nothing and reads bronze in its own epochs and clocks, so what restarts,
//!   crashes and flushes did to the lake's own run shows as a difference, to the last bit of a score.
//!
//! # Non-guarantees
//! - The detector is the same code on both sides: what is proved is that alerts follow from bronze,
//!   not that they are wise.

use std::collections::BTreeMap;
use std::sync::Arc;

use lake::{LakeError, Table};
use pipeline::bronze;
use schemas::{Alert, Answers, EpochStamp, InForce, chain};

use super::Subject;
use super::pin::Pinned;
use super::report::Check;
use crate::Topics;
use crate::alerts::{rows, saved_answers};
use crate::core::{Changes, Core};
use crate::lineage::{self, Lineages};
use crate::tables::ANOMALIES;

const ADVICE: &str = "the KPI values are right if the checks above hold; if detector or definitions have \
                      changed since, older alerts differ; else report this";

/// Compares the alerts of the pinned epoch.
///
/// # Errors
/// When bronze or the table cannot be read.
pub(super) fn compare(
    subject: &Subject,
    bronze: &Table,
    pinned: &Pinned,
    topics: &Topics,
) -> Result<Check, String> {
    let mut check = Check::new("alerts", ANOMALIES, ADVICE);
    let found = read(pinned).map_err(|e| chain(&*e))?;
    let (expected, answers) = rerun(subject, bronze, pinned, topics)?;
    check.count("alerts", found.len());
    for (id, alert) in &expected {
        match found.get(id) {
            None => check.problem(|| format!("alert {id} is missing: {}", alert.reason)),
            Some(row) if row != alert => {
                check.problem(|| format!("alert {id} differs: {row:?} instead of {alert:?}"));
            }
            Some(_) => {}
        }
    }
    for (id, alert) in found.iter().filter(|(id, _)| !expected.contains_key(*id)) {
        check.problem(|| format!("alert {id} is not a result of bronze: {}", alert.reason));
    }
    if held_answers(subject, pinned).is_some_and(|saved| !saved.agrees(&answers)) {
        check.problem(|| {
            "what people said of alerts is not what the decisions in bronze say".to_owned()
        });
    }
    Ok(check)
}

type Alerts = BTreeMap<Arc<str>, Alert>;

fn read(pinned: &Pinned) -> Result<Alerts, Box<dyn std::error::Error>> {
    let table = pinned.tables.get(ANOMALIES).ok_or("there is no table gold/anomalies")?;
    let alerts = rows(table)?.into_iter();
    Ok(alerts.map(|alert| (Arc::clone(&alert.id), alert)).collect())
}

/// What people said of alerts, as the state of the epoch has it; `None` without one, or of an older release.
fn held_answers(subject: &Subject, pinned: &Pinned) -> Option<Answers> {
    let folder = subject.lake.work_dir().join("state");
    let state = lake::state::read(&folder, u64::try_from(pinned.epoch).ok()?).ok()?;
    saved_answers(&state.saved)
}

fn rerun(
    subject: &Subject,
    bronze: &Table,
    pinned: &Pinned,
    topics: &Topics,
) -> Result<(Alerts, Arc<Answers>), String> {
    let text = |e: LakeError| chain(&e);
    let catalog = Arc::clone(&subject.catalog);
    let observer = crate::observer(&catalog);
    let last = u64::try_from(pinned.epoch).unwrap_or(0);
    let mut in_force = InForce::default();
    lineage::follow(&mut in_force, bronze, 0, last).map_err(text)?;
    let lineages = Lineages::new(&in_force, last, &subject.contracts);
    let core = Core::new(&subject.contracts, topics, catalog, observer, &lineages);
    let mut core = core.map_err(|e| e.to_string())?;
    let mut alerts = Alerts::new();
    let mut take = |changes: Changes| {
        alerts.extend(changes.alerts.into_iter().map(|alert| (Arc::clone(&alert.id), alert)));
    };
    for epoch in bronze::replay(bronze, 0, last).map_err(text)? {
        let epoch = epoch.map_err(text)?;
        take(core.replay(epoch).1);
        core.forget_history();
    }
    if core.last().is_none_or(|stamp| stamp.id < last) {
        let tick = EpochStamp { id: last, clock: pinned.clock, quiet: false };
        take(core.replay(bronze::EpochRecords::tick(tick)).1);
    }
    Ok((alerts, Arc::clone(core.answers())))
}
