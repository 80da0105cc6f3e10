//! The proof that a lake holds what its sources said.
//!
//! # Guarantees
//! - Nothing here goes through the incremental fold, the KPI engine or their saved state: bronze is read
//!   row by row, silver is folded again from the first record by other code, KPIs are recomputed
//!   with SQL.
//! - Silver and gold are compared at one epoch, while a `weir run` goes on, and on a copied lake.
//! - What could not be checked is said and counts as failed.
//!
//! # Non-guarantees
//! - Decoding is taken on trust: both sides use the same decoders. By which version of its contract a record is decoded is
//!   not.

mod alerts;
mod bronze;
mod in_force;
mod kpis;
mod letters;
mod pin;
mod quiet;
mod reference;
mod report;
mod silver;
#[cfg(test)]
mod tests;
mod topics;
mod versions;
mod views;

use std::collections::BTreeSet;
use std::sync::Arc;

use gold::Catalog;
use lake::{At, Lake, LakeError, Severity, Table};
use pipeline::bronze::{CLOCK, EPOCH, FLUSHED, TABLE as BRONZE};
use schemas::{Contract, DefinitionChange, Micros, chain};

use crate::tables::{ANOMALIES, CURRENT, HISTORY, silver_name};
use crate::{Topics, tokio_runtime};
use bronze::Facts;
pub(crate) use pin::{Pin, Pinned, pin};
use topics::Found;
use versions::Versions;

pub use report::{Check, Report, Status};

/// How often a check is made again when a running writer took its files away.
const ATTEMPTS: usize = 3;

const SEALS_ADVICE: &str = "restore the named files from a backup; if they are below `silver` or `gold`, \
                            those folders can be moved away instead and are built anew from bronze";
const EPOCH_ADVICE: &str = "start `weir run` once: it brings all tables to one epoch; if it refuses, do \
                            what it says";
const UNREAD_ADVICE: &str = "see the checks above; if they hold, run `weir verify` again";

/// What is to be verified, and what the configuration says of it.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The lake, open for reading or writing.
    pub lake: Lake,
    /// The contracts.
    pub contracts: Vec<Contract>,
    /// The KPI definitions.
    pub catalog: Arc<Catalog>,
    /// The same as they are put in force: where others are in force in the lake, those count. None: contracts and
    /// catalog are taken as they are.
    pub definitions: Vec<DefinitionChange>,
    /// (source, topic) to contract as configured; may be empty.
    pub topics: Topics,
    /// Sources that may go on after lost records.
    pub skips: BTreeSet<String>,
}

/// Makes every check.
///
/// # Errors
/// When not even the lake's folder can be looked at. What is wrong inside is in the report.
pub fn verify(subject: &Subject, deep: bool) -> Result<Report, LakeError> {
    let mut report = Report {
        lake: subject.lake.root().display().to_string(),
        epoch: None,
        as_of: None,
        checks: Vec::new(),
    };
    for name in subject.lake.table_names()? {
        report.checks.push(seals(&subject.lake, &name, deep));
    }
    let mut attempt = 1;
    loop {
        let (subject, notes) = &in_force::held(subject);
        let mut compared = compare(subject, deep);
        for check in compared.checks.iter_mut().filter(|check| check.name == "epoch") {
            check.notes.extend(notes.iter().cloned());
        }
        let unread = compared.checks.iter().any(|check| check.status() == Status::Unknown);
        // A running writer may have taken files away meanwhile; then there is a newer epoch.
        if unread && attempt < ATTEMPTS && moved_on(subject, &compared) {
            attempt += 1;
            continue;
        }
        report.epoch = compared.at.and_then(|(epoch, _)| u64::try_from(epoch).ok());
        report.as_of = compared.at.map(|(_, clock)| clock.to_string());
        report.checks.extend(compared.checks);
        return Ok(report);
    }
}

/// Whether bronze has a newer epoch than when it was compared.
fn moved_on(subject: &Subject, compared: &Compared) -> bool {
    let bronze = Table::open(&subject.lake, BRONZE, At::Newest);
    bronze.is_ok_and(|bronze| bronze.progress(EPOCH) > compared.bronze)
}

/// Log entries, checkpoints and data files of one table. What is missing is looked for again when the
/// table has moved on: its writer cleans up.
fn seals(lake: &Lake, name: &str, deep: bool) -> Check {
    let mut attempt = 1;
    loop {
        let mut check = Check::new("seals", name, SEALS_ADVICE);
        let version = match seals_once(lake, name, deep, &mut check) {
            Ok(version) => Some(version),
            Err(error) => {
                check.problem(|| chain(&error));
                None
            }
        };
        let newest = || Table::open(lake, name, At::Newest).ok().map(|table| table.version());
        let moved_on = || version.is_none() || newest() != version;
        if check.status() == Status::Ok || attempt >= ATTEMPTS || !moved_on() {
            return check;
        }
        attempt += 1;
    }
}

fn seals_once(lake: &Lake, name: &str, deep: bool, check: &mut Check) -> Result<i64, LakeError> {
    let table = Table::open(lake, name, At::Newest)?;
    for finding in table.verify(deep)? {
        let text = format!("{} {}", finding.file, finding.message);
        match finding.severity {
            Severity::Error => check.problem(|| text),
            Severity::Warning => check.notes.push(text),
        }
    }
    check.count("files", table.files().count());
    check.counts.push(("rows", table.row_count()));
    check.counts.push(("bytes", table.byte_count()));
    check.counts.push(("versions", u64::try_from(table.version() + 1).unwrap_or(0)));
    Ok(table.version())
}

/// The checks that compare tables.
#[derive(Debug, Default)]
struct Compared {
    /// The last epoch of bronze.
    bronze: Option<i64>,
    /// The epoch at which silver and gold were compared, and its clock.
    at: Option<(i64, Micros)>,
    checks: Vec<Check>,
}

impl Compared {
    /// Takes what a step found; a step that could not be made is a check without an answer.
    fn add<T>(&mut self, name: &'static str, subject: &str, step: Result<T, String>) -> Option<T> {
        step.map_err(|reason| {
            self.checks.push(Check::unknown(name, subject, UNREAD_ADVICE, reason));
        })
        .ok()
    }
}

fn compare(subject: &Subject, deep: bool) -> Compared {
    let text = |e: LakeError| chain(&e);
    let mut compared = Compared::default();
    let mut names: Vec<String> = subject.contracts.iter().map(silver_name).collect();
    names.extend([CURRENT, HISTORY, ANOMALIES].map(str::to_owned));
    // Silver and gold first: bronze is never behind them.
    let pin = pin(&subject.lake, &names);
    let bronze = Table::open(&subject.lake, BRONZE, At::Newest).map_err(text);
    let Some(bronze) = compared.add("bronze", BRONZE, bronze) else { return compared };
    compared.bronze = bronze.progress(EPOCH);
    let up_to = if let Ok(Pin::At(pinned)) = &pin { pinned.epoch } else { 0 };
    let checked = bronze::check(&bronze, up_to, &subject.skips).map_err(text);
    let Some((check, facts)) = compared.add("bronze", BRONZE, checked) else { return compared };
    compared.checks.push(check);
    match pin {
        Err(reason) => {
            compared.checks.push(Check::unknown("epoch", "silver and gold", EPOCH_ADVICE, reason));
        }
        Ok(Pin::Nothing(table)) => compared.checks.push(nothing(&bronze, &table)),
        Ok(Pin::At(pinned)) => {
            compared.at = Some((pinned.epoch, pinned.clock));
            compared.checks.push(epoch(&bronze, &pinned, &facts));
            let Subject { lake, contracts, .. } = subject;
            let up_to = u64::try_from(pinned.epoch).unwrap_or(0);
            let versions = Versions::find(&bronze, up_to).map_err(text);
            let Some(versions) = compared.add("bronze", BRONZE, versions) else { return compared };
            let built = versions.bases(contracts);
            let found = topics::find(lake, pinned.epoch, &subject.topics, &built, &facts.topics);
            let read = (&facts, &found, &versions);
            compare_at(subject, &bronze, &pinned, read, &mut compared);
            if deep {
                let check = alerts::compare(subject, &bronze, &pinned, &found.topics);
                let check = compared.add("alerts", ANOMALIES, check);
                compared.checks.extend(check);
            }
        }
    }
    compared
}

/// No barrier was ever complete: fine for a lake that has just begun.
fn nothing(bronze: &Table, table: &str) -> Check {
    let mut check = Check::new("epoch", "silver and gold", EPOCH_ADVICE);
    let flushed = bronze.progress(FLUSHED).unwrap_or(0);
    if flushed > 0 {
        check.problem(|| format!("barrier {flushed} was complete, but {table} holds no epoch"));
    } else {
        check.notes.push(format!("nothing to compare: no barrier has reached {table} yet"));
    }
    check
}

/// The pinned epoch is one that bronze knows, under one clock.
fn epoch(bronze: &Table, pinned: &Pinned, facts: &Facts) -> Check {
    let mut check = Check::new("epoch", "silver and gold", EPOCH_ADVICE);
    check.count("tables", pinned.tables.len());
    for (name, table) in &pinned.tables {
        let clock = Micros(table.progress(CLOCK).unwrap_or(0));
        if clock != pinned.clock {
            let other = pinned.clock;
            check.problem(|| {
                format!("{name} has epoch {} at {clock}, others at {other}", pinned.epoch)
            });
        }
    }
    let held = bronze.progress(EPOCH).unwrap_or(0);
    if held < pinned.epoch {
        check.problem(|| format!("tables are at epoch {}, bronze ends at {held}", pinned.epoch));
    }
    let clock = |stamp: &bronze::Stamp| match stamp.epoch == pinned.epoch {
        true => stamp.clock != pinned.clock,
        false => stamp.clock >= pinned.clock,
    };
    if let Some(last) = facts.last.filter(clock) {
        let (epoch, at) = (last.epoch, last.clock);
        check.problem(|| {
            format!("bronze has epoch {epoch} at {at}, the tables stand at {}", pinned.clock)
        });
    }
    check
}

fn compare_at(
    subject: &Subject,
    bronze: &Table,
    pinned: &Pinned,
    (facts, found, versions): (&Facts, &Found, &Versions),
    compared: &mut Compared,
) {
    let read = (facts, found, versions);
    let silver = compare_silver(subject, bronze, pinned, read, &mut compared.checks);
    let checks = compared.add("silver", "silver", silver.map_err(|e| chain(&e)));
    compared.checks.extend(checks.into_iter().flatten());
    let Subject { lake, contracts, catalog, .. } = subject;
    let runtime = tokio_runtime().map_err(|e| format!("could not start the runtime: {e}"));
    let Some(runtime) = compared.add("kpi", CURRENT, runtime) else { return };
    let recomputed = kpis::recompute(&runtime, pinned, contracts, catalog);
    let checks = compared.add("kpi", CURRENT, recomputed);
    compared.checks.extend(checks.into_iter().flatten());
    let recomputed = views::recompute(&runtime, lake, pinned, contracts, catalog);
    let checks = compared.add("view", "gold/views", recomputed);
    compared.checks.extend(checks.into_iter().flatten());
    let settling = quiet::settling(&facts.last_quiet, pinned.clock, &found.topics, catalog);
    let history = kpis::history(&runtime, pinned, &settling, catalog);
    let check = compared.add("history", HISTORY, history);
    compared.checks.extend(check);
}

fn compare_silver(
    subject: &Subject,
    bronze: &Table,
    pinned: &Pinned,
    (facts, found, versions): (&Facts, &Found, &Versions),
    of_bronze: &mut [Check],
) -> Result<Vec<Check>, LakeError> {
    let mut folds = silver::fold(bronze, pinned, (&subject.contracts, versions), &found.topics)?;
    let (records, carried) = (folds.records, std::mem::take(&mut folds.carried));
    let unfed = std::mem::take(&mut folds.unfed);
    for check in of_bronze.iter_mut().filter(|check| check.name == "bronze") {
        folds.quiet.iter().for_each(|problem| check.problem(|| problem.clone()));
    }
    let mut checks = silver::compare(folds, pinned)?;
    for check in &mut checks {
        if !found.unknown.is_empty() {
            check.doubt(format!(
                "no contract is known for {}: name it under [sources.topics] of the configuration",
                found.unknown.join(", ")
            ));
        }
        if records != facts.rows {
            check.doubt(format!("{records} of {} rows of bronze could be replayed", facts.rows));
        }
        if found.is_other {
            check.notes.push(
                "silver was built under other contracts or topics than those configured: give the \
                 --config of this lake, or start `weir run` once"
                    .to_owned(),
            );
        }
        // A topic that only says where transactions begin and end feeds no table, as it should.
        for (topic, none) in found.unused.iter().filter_map(|of| Some((&of.1, unfed.get(of)?))) {
            check.notes.push(format!(
                "topic `{topic}` feeds no table: no contract is configured for it (records: {none})"
            ));
        }
    }
    checks.extend(carried.compare(bronze)?);
    Ok(checks)
}
