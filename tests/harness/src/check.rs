//! One lake against the oracle, from bronze to history.
//!
//! # Guarantees
//! - Each table is compared at its own barrier: bronze is folded up to the table's `weir/epoch`.
//! - The fold uses bronze's own epochs, clocks and quiet bits, and nothing else of the product.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;

use schemas::Contract;

use crate::audit::{self, RowAudit};
use crate::bronze::{Epochs, Record};
use crate::delta_log::DeltaLog;
use crate::event::Row;
use crate::fold::{Delta, Fold, Id, SilverRow};
use crate::history::{History, HistoryRow, Quiet};
use crate::kpis::{self, CellId, CellValue, Sums};
use crate::tables::{self, CurrentRow, Differences, Table};
use crate::{Error, Log, Report};

/// What to check and how.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The contract of topics that are not named after theirs.
    pub topics: BTreeMap<String, String>,
    /// Whether to leave silver and gold out.
    pub bronze_only: bool,
}

/// Checks the lake at `lake`, against the expected log when there is one.
///
/// # Errors
/// When a table cannot be read at all.
pub fn check_lake(lake: &Path, expected: Option<&Log>, options: &Options) -> Result<Report, Error> {
    let bronze = audit::audit_versions(lake, expected)?;
    let expected_records = expected.map(|log| log.len() as u64);
    let mut report = Report { bronze, expected_records, ..Report::default() };
    let mut rows = RowAudit::default();
    let mut oracle = Oracle::new(options)?;
    let mut stops =
        if options.bronze_only { Vec::new() } else { stops(lake, &oracle, &mut report)? };
    stops.sort_by_key(|stop| std::cmp::Reverse(stop.epoch()));
    let mut epochs = Epochs::open(lake)?;
    while let Some(records) = epochs.next_epoch()? {
        let Some(first) = records.first() else { continue };
        while stops.last().is_some_and(|stop| stop.epoch() < first.epoch) {
            stops.pop().into_iter().for_each(|stop| stop.compare(&mut oracle, &mut report));
        }
        rows.see(&records, expected, &mut report.bronze);
        report.dead_letters += records.iter().filter(|r| r.decode_error.is_some()).count() as u64;
        let bits = oracle.epoch(&records);
        RowAudit::see_quiet(first.epoch, &bits, &mut report.bronze);
    }
    while let Some(stop) = stops.pop() {
        stop.compare(&mut oracle, &mut report);
    }
    rows.finish(expected, &mut report.bronze);
    oracle.report(&mut report);
    Ok(report)
}

/// A table to compare once the oracle has reached its barrier.
enum Stop {
    Silver(Contract, Table<BTreeMap<String, SilverRow>>),
    Current(Table<BTreeMap<CellId, CurrentRow>>),
    History(Table<Vec<HistoryRow>>),
}

/// Reads every table, and finds those that are missing or ahead of bronze.
fn stops(lake: &Path, oracle: &Oracle, report: &mut Report) -> Result<Vec<Stop>, Error> {
    let bronze = DeltaLog::open(&lake.join("bronze/changes"))?;
    let newest = bronze.at(bronze.newest()).txns.get("weir/epoch").copied().unwrap_or(0);
    let mut stops = Vec::new();
    let mut missing = |name: String| {
        report.table_faults += 1;
        report.findings.push(format!("{name}: no such table"));
    };
    for (name, contract) in oracle.fold.contracts() {
        match tables::read_silver(lake, contract)? {
            Some(table) => stops.push(Stop::Silver(contract.clone(), table)),
            None => missing(format!("silver/{name}")),
        }
    }
    match tables::read_current(lake)? {
        Some(table) => stops.push(Stop::Current(table)),
        None => missing("gold/kpi_current".into()),
    }
    match tables::read_history(lake)? {
        Some(table) => stops.push(Stop::History(table)),
        None => missing("gold/kpi_history".into()),
    }
    for stop in stops.iter().filter(|stop| stop.epoch() > newest) {
        report.table_faults += 1;
        let (name, epoch) = (stop.name(), stop.epoch());
        report.findings.push(format!("{name}: is at epoch {epoch}, bronze at {newest}"));
    }
    for stop in stops.iter().filter(|stop| stop.epoch() < newest) {
        let (name, epoch) = (stop.name(), stop.epoch());
        report.notes.push(format!("{name}: compared at epoch {epoch}, bronze is at {newest}"));
    }
    Ok(stops)
}

impl Stop {
    fn epoch(&self) -> i64 {
        match self {
            Stop::Silver(_, table) => table.epoch,
            Stop::Current(table) => table.epoch,
            Stop::History(table) => table.epoch,
        }
    }

    fn name(&self) -> String {
        match self {
            Stop::Silver(contract, _) => format!("silver/{}", contract.name),
            Stop::Current(_) => "gold/kpi_current".into(),
            Stop::History(_) => "gold/kpi_history".into(),
        }
    }

    fn compare(self, oracle: &mut Oracle, report: &mut Report) {
        let mut take = |parts: [Differences; 2], unknown: &BTreeSet<String>| {
            let unknown: Vec<_> = unknown
                .iter()
                .filter(|kpi| !crate::kpis::LEFT_ALONE.contains(&kpi.as_str()))
                .collect();
            if !unknown.is_empty() {
                report.notes.push(format!("KPIs that the oracle does not know: {unknown:?}"));
            }
            let count = parts.iter().map(|part| part.count).sum::<u64>();
            report.findings.extend(parts.into_iter().flat_map(|part| part.examples));
            count
        };
        match self {
            Stop::Silver(contract, table) => {
                let expected = oracle.fold.silver(&contract.name);
                let found = tables::compare_silver(&contract, &table.rows, &expected);
                let wrong = take([found, table.doubled], &table.unknown_kpis);
                report.silver_rows += table.rows.len() as u64;
                report.silver_mismatches += wrong;
            }
            Stop::Current(table) => {
                let found = tables::compare_current(&table.rows, &oracle.history);
                let windows = oracle.windows(table.clock);
                let windows = tables::compare_windows(&table.windows, &windows);
                let wrong = take([found, table.doubled], &table.unknown_kpis)
                    + take([windows, Differences::default()], &BTreeSet::new());
                report.cells = (table.rows.len() + table.windows.len()) as u64;
                report.cell_mismatches = wrong;
                report.oracle_mismatches = oracle.disagreements();
            }
            Stop::History(table) => {
                oracle.history.timers(table.clock);
                let expected = oracle.history.rows();
                let found = tables::compare_history(&table.rows, expected, table.clock);
                let wrong = take([found, table.doubled], &table.unknown_kpis);
                report.history_rows = table.rows.len() as u64;
                report.history_mismatches = wrong;
            }
        }
    }
}

/// A row before and after.
type Sides<'a> = (Option<&'a Row>, Option<&'a Row>);

/// What is quiet of an epoch: `bits` has an origin and a bit for each of its events.
fn quiet(bits: &[(String, bool)], deltas: &[Delta], touched: &BTreeSet<CellId>) -> Quiet {
    let origins: BTreeSet<&str> =
        bits.iter().filter(|(_, quiet)| *quiet).map(|(origin, _)| origin.as_str()).collect();
    if origins.is_empty() {
        return Quiet::default();
    }
    let of_record = |delta: &&Delta| origins.contains(delta.origin.as_str());
    let contracts = deltas.iter().filter(of_record).filter_map(|delta| delta.contract.clone());
    // Each row that changed of an origin that is not quiet, as it was and as it is.
    let mut rows: BTreeMap<(&str, &Id), Sides<'_>> = BTreeMap::new();
    for delta in deltas {
        let ids = delta.gone.iter().chain(&delta.come).map(|(contract, id, _)| (contract, id));
        for (contract, id) in ids.filter(|(_, id)| !origins.contains(id.0.as_str())) {
            let side = |side: &[(Rc<str>, Id, Row)]| side.iter().position(|own| own.1 == *id);
            let before = side(&delta.gone).map(|at| &delta.gone[at].2);
            let after = side(&delta.come).map(|at| &delta.come[at].2);
            rows.entry((contract, id)).or_insert((before, after)).1 = after;
        }
    }
    let mut loud = BTreeSet::new();
    for ((contract, _), (before, after)) in rows {
        loud.extend(kpis::changed(contract, before, after));
    }
    Quiet { contracts: contracts.collect(), cells: touched.difference(&loud).cloned().collect() }
}

/// The oracle's own state after some epoch.
#[derive(Debug)]
struct Oracle {
    fold: Fold,
    sums: Sums,
    history: History,
}

impl Oracle {
    fn new(options: &Options) -> Result<Oracle, Error> {
        let fold = Fold::new(options.topics.clone())?;
        Ok(Oracle { fold, sums: Sums::default(), history: History::default() })
    }

    /// Takes an epoch; gives the quiet bit of each event with its origin.
    fn epoch(&mut self, records: &[Record]) -> Vec<(String, bool)> {
        let Some(first) = records.first() else { return Vec::new() };
        self.history.timers(first.epoch_clock);
        for table in records.iter().filter_map(Record::resumed_table) {
            self.fold.resume(&table, first.epoch);
        }
        if records.iter().any(Record::ends_batch) {
            self.history.end_batch(first.epoch_clock);
        }
        // An epoch of nothing but decisions is no more than an instant to all that rows make, unless they are
        // about rows.
        let event = records.iter().find(|record| !record.is_control());
        let first = event.unwrap_or(first);
        let mut deltas = Vec::new();
        for record in records {
            if let Some((table, letter)) = record.dropped_letters() {
                deltas.push(self.fold.drop_unread(&table, letter.as_ref(), first.epoch));
            }
            if let Some((table, letters)) = record.retried_letters() {
                let now = (first.epoch, first.epoch_clock);
                deltas.extend(self.fold.retry(&table, &letters, now));
            }
        }
        let mut bits = Vec::new();
        for record in records.iter().filter(|record| !record.is_control()) {
            let delta = self.fold.apply(record);
            bits.push((delta.origin.clone(), record.quiet));
            deltas.push(delta);
        }
        if event.is_none()
            && deltas.iter().all(|delta| delta.gone.is_empty() && delta.come.is_empty())
        {
            return bits;
        }
        let mut touched = BTreeSet::new();
        for delta in &deltas {
            for (contract, _, row) in &delta.gone {
                touched.extend(self.sums.take(contract, row));
            }
            for (contract, _, row) in &delta.come {
                touched.extend(self.sums.add(contract, row));
            }
        }
        let quiet = quiet(&bits, &deltas, &touched);
        self.history.epoch((first.epoch, first.epoch_clock), &quiet, &touched, &self.sums);
        bits
    }

    /// The rows of all tables, by contract.
    fn tables(&self) -> Vec<(&str, BTreeMap<String, SilverRow>)> {
        self.fold.contracts().map(|(name, _)| (name, self.fold.silver(name))).collect()
    }

    /// The windows of all rows at an instant.
    fn windows(&self, now: i64) -> BTreeMap<CellId, CellValue> {
        kpis::windows(rows_of(&self.tables()), now)
    }

    /// Cells kept epoch by epoch that differ from cells counted afresh over all rows.
    fn disagreements(&self) -> u64 {
        let fresh = kpis::cells(rows_of(&self.tables()));
        let kept: BTreeMap<CellId, CellValue> =
            self.history.current().map(|(id, value, ..)| (id.clone(), value)).collect();
        let all: BTreeSet<&CellId> = fresh.keys().chain(kept.keys()).collect();
        all.into_iter().filter(|id| fresh.get(id) != kept.get(id)).count() as u64
    }

    fn report(&self, report: &mut Report) {
        let fold = &self.fold;
        report.decode_mismatches = fold.decode_mismatches.len() as u64;
        report.findings.extend(fold.decode_mismatches.iter().take(10).cloned());
        (report.stale, report.duplicates) = (fold.stale, fold.duplicates);
        if fold.halted > 0 {
            report.notes.push(format!("{} records of halted tables", fold.halted));
        }
        if fold.snapshots_over_rows > 0 {
            let rows = fold.snapshots_over_rows;
            report
                .notes
                .push(format!("{rows} snapshot rows over live ones: its sweep is not modelled"));
        }
        for topic in &fold.unknown_topics {
            report.notes.push(format!("topic {topic} carries no contract that the oracle knows"));
        }
    }
}

/// Every row with its contract.
fn rows_of<'a>(
    tables: &'a [(&'a str, BTreeMap<String, SilverRow>)],
) -> impl Iterator<Item = (&'a str, &'a Row)> {
    tables.iter().flat_map(|(name, rows)| rows.values().map(|row| (*name, &row.row)))
}
