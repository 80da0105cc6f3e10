//! KPIs against their recomputation, and the history against the current values.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::prelude::SessionContext;
use gold::Catalog;
use gold::audit::{Clocks, audit};
use lake::Table;
use rows::columns;
use schemas::{Contract, Grain, Micros, chain};
use tokio::runtime::Runtime;

use super::pin::Pinned;
use super::report::Check;
use crate::tables::{CURRENT, HISTORY, silver_name};

const AUDIT_ADVICE: &str = "if the KPI's definition was changed, run `weir run` once with it; otherwise stop \
                            weir, move the lake's folder `gold` away and start it again";
const HISTORY_ADVICE: &str = "the current values are right if the KPI checks hold; restore `gold/kpi_history` \
                              from a backup";

/// A restatement may be on its way for so long after a change: five seconds, and some.
const PENDING_US: i64 = 6_000_000;
/// And the row of a running period.
const FOLLOWING_US: i64 = gold::history::HISTORY_INTERVAL_US + SETTLE_US;
/// Changes of a backlog are written so long after its last epoch.
const SETTLE_US: i64 = gold::history::SETTLE_US;

/// Recomputes every KPI over silver. One check per KPI.
///
/// # Errors
/// When the tables cannot be queried.
pub(super) fn recompute(
    runtime: &Runtime,
    pinned: &Pinned,
    contracts: &[Contract],
    catalog: &Catalog,
) -> Result<Vec<Check>, String> {
    let context = gold::audit::session();
    for contract in contracts {
        register(&context, &format!("silver_{}", contract.name), pinned, &silver_name(contract))?;
    }
    register(&context, "kpi_current", pinned, CURRENT)?;
    let findings =
        runtime.block_on(audit(&context, catalog, pinned.clock)).map_err(|e| chain(&e))?;
    let mut checks: BTreeMap<String, (Check, usize)> = BTreeMap::new();
    for finding in findings {
        let fresh = || (Check::new("kpi", &finding.kpi, AUDIT_ADVICE), 0);
        let (check, cells) = checks.entry(finding.kpi.clone()).or_insert_with(fresh);
        *cells += finding.cells;
        if finding.doubted > 0 {
            check.notes.push(format!(
                "by {}, {} cells are not compared: SQL takes values that were never sent for null",
                finding.grain, finding.doubted
            ));
        }
        let grain = finding.grain;
        let examples = finding.examples.iter().map(|text| format!("by {grain}, {text}"));
        check.problems(finding.mismatches as u64, examples);
    }
    let finish = |(mut check, cells): (Check, usize)| {
        check.count("cells", cells);
        check
    };
    Ok(checks.into_values().map(finish).collect())
}

pub(super) fn register(
    context: &SessionContext,
    name: &str,
    pinned: &Pinned,
    table: &str,
) -> Result<(), String> {
    let found = pinned.tables.get(table).ok_or_else(|| format!("there is no table {table}"))?;
    lake::query::register(context, name, found).map_err(|e| chain(&e))
}

/// The last row of a cell, where it is not what the current table says. Windows have no history.
const LAST_ROWS: &str = "
    SELECT c.kpi, c.tenant_id, c.dims, c.grain, c.period_start, c.as_of,
           c.value AS is_value, c.status AS is_status, h.value AS last_value, h.status AS last_status
    FROM kpi_current c LEFT JOIN (
        SELECT * FROM (
            SELECT *, ROW_NUMBER() OVER (
                PARTITION BY kpi, tenant_id, dims, grain, period_start
                ORDER BY as_of DESC, restatement DESC) AS nth
            FROM kpi_history) AS numbered
        WHERE nth = 1) AS h
      ON c.kpi = h.kpi AND c.tenant_id = h.tenant_id AND c.dims = h.dims AND c.grain = h.grain
         AND c.period_start = h.period_start
    WHERE c.grain NOT LIKE 'last_%' AND c.grain <> 'all' AND (
          h.status IS NULL OR c.status <> h.status OR c.unit <> h.unit
       OR (c.value IS DISTINCT FROM h.value) OR (c.numerator IS DISTINCT FROM h.numerator)
       OR (c.denominator IS DISTINCT FROM h.denominator))
    ORDER BY c.kpi, c.tenant_id, c.dims, c.grain, c.period_start";

/// Rows that are there more than once.
const DOUBLED: &str = "
    SELECT kpi, tenant_id, dims, grain, period_start, as_of, COUNT(*) AS times
    FROM kpi_history
    GROUP BY kpi, tenant_id, dims, grain, period_start, as_of, value, numerator, denominator, unit,
             status, epoch, closed, restatement
    HAVING COUNT(*) > 1
    ORDER BY kpi, tenant_id, dims, grain, period_start, as_of";

/// Checks the history: flags, doubled rows, and that the last row of every cell is its current value,
/// once it must be written. That of a KPI that is `settling` may wait.
///
/// # Errors
/// When the tables cannot be read.
pub(super) fn history(
    runtime: &Runtime,
    pinned: &Pinned,
    settling: &BTreeSet<String>,
    catalog: &Catalog,
) -> Result<Check, String> {
    let mut check = Check::new("history", HISTORY, HISTORY_ADVICE);
    let table = pinned.tables.get(HISTORY).ok_or_else(|| format!("there is no table {HISTORY}"))?;
    let clocks = Clocks::of(catalog.calendar())?;
    flags(table, pinned, &clocks, &mut check)?;
    let context = SessionContext::new();
    register(&context, "kpi_current", pinned, CURRENT)?;
    register(&context, "kpi_history", pinned, HISTORY)?;
    let rows = |sql: &str| {
        let rows = runtime.block_on(async { context.sql(sql).await?.collect().await });
        rows.map_err(|e| chain(&e))
    };
    for batch in rows(DOUBLED)? {
        let (cells, times) = (Cells::new(&batch)?, long(&batch, "times")?);
        for (at, times) in times.iter().enumerate() {
            check.problem(|| format!("{}: the same row is there {times} times", cells.name(at)));
        }
    }
    let mut waiting: BTreeMap<String, u64> = BTreeMap::new();
    for batch in rows(LAST_ROWS)? {
        let cells = Cells::new(&batch)?;
        let words = ["is_value", "is_status", "last_value", "last_status"];
        let words = words.map(|name| text(&batch, name));
        let [is, is_status, was, was_status] = words;
        let (is, is_status, was, was_status) = (is?, is_status?, was?, was_status?);
        for at in (0..batch.num_rows()).filter(|at| cells.is_settled(*at, pinned.clock, &clocks)) {
            let kpi = cells.kpi.value(at);
            if settling.contains(kpi) {
                *waiting.entry(kpi.to_owned()).or_default() += 1;
                continue;
            }
            let say = |value: &StringArray, status: &StringArray| match value.is_valid(at) {
                true => value.value(at).to_owned(),
                false if status.is_valid(at) => status.value(at).to_owned(),
                false => "missing".to_owned(),
            };
            let (now, then) = (say(&is, &is_status), say(&was, &was_status));
            check.problem(|| {
                format!("{}: the cell is {now}, its last history row is {then}", cells.name(at))
            });
        }
    }
    if !waiting.is_empty() {
        let told: Vec<String> = waiting.iter().map(|(kpi, n)| format!("{kpi} ({n})")).collect();
        let told = told.join(", ");
        check.notes.push(format!(
            "a backlog is being read: history rows wait for a second after it, of {told}"
        ));
    }
    Ok(check)
}

/// `closed` and `restatement` follow from `as_of` and the period; nothing is later than the epoch. Rows of periods that
/// today's calendar does not have stay when it changes, and are counted.
fn flags(table: &Table, pinned: &Pinned, clocks: &Clocks, check: &mut Check) -> Result<(), String> {
    let names = [
        "kpi",
        "tenant_id",
        "dims",
        "grain",
        "period_start",
        "as_of",
        "epoch",
        "closed",
        "restatement",
    ];
    let files: Vec<_> = table.files().map(AsRef::as_ref).collect();
    let (mut rows, mut restatements, mut others) = (0, 0, 0);
    for batch in table.read(&files, Some(&names)).map_err(|e| chain(&e))? {
        let batch = batch.map_err(|e| chain(&e))?;
        rows += batch.num_rows();
        let cells = Cells::new(&batch)?;
        let epochs = long(&batch, "epoch")?;
        let flag = |name: &str| columns::boolean(&batch, name).map_err(|e| e.to_string());
        let (closed, restatement) = (flag("closed")?, flag("restatement")?);
        for (at, epoch) in epochs.iter().enumerate() {
            let as_of = Micros(cells.as_of.value(at));
            restatements += usize::from(restatement.value(at));
            let Some((start, end)) = cells.period(at, clocks) else { continue };
            let over = end <= as_of;
            let is_of_now = start.0 == cells.start.value(at);
            others += usize::from(!is_of_now);
            if is_of_now && (closed.value(at) != over || (restatement.value(at) && !over)) {
                check.problem(|| {
                    format!("{}: `closed` or `restatement` does not fit its period", cells.name(at))
                });
            }
            if as_of > pinned.clock || *epoch > pinned.epoch {
                check.problem(|| {
                    format!(
                        "{}: epoch {epoch} as of {as_of} is later than the table",
                        cells.name(at)
                    )
                });
            }
        }
    }
    check.count("rows", rows);
    check.count("restatements", restatements);
    if others > 0 {
        check.notes.push(format!("{others} rows are of periods of an earlier calendar"));
    }
    Ok(())
}

fn long(batch: &RecordBatch, name: &str) -> Result<Vec<i64>, String> {
    let column = columns::bigint(batch, name).map_err(|e| e.to_string())?;
    Ok(column.values().to_vec())
}

fn text(batch: &RecordBatch, name: &str) -> Result<StringArray, String> {
    columns::text(batch, name).map_err(|e| e.to_string())
}

/// The columns that name a cell, and `as_of`.
struct Cells {
    kpi: StringArray,
    tenant: StringArray,
    dims: StringArray,
    grain: StringArray,
    start: TimestampMicrosecondArray,
    as_of: TimestampMicrosecondArray,
}

impl Cells {
    fn new(batch: &RecordBatch) -> Result<Cells, String> {
        let instant = |name: &str| columns::timestamp(batch, name).map_err(|e| e.to_string());
        Ok(Cells {
            kpi: text(batch, "kpi")?,
            tenant: text(batch, "tenant_id")?,
            dims: text(batch, "dims")?,
            grain: text(batch, "grain")?,
            start: instant("period_start")?,
            as_of: instant("as_of")?,
        })
    }

    fn name(&self, at: usize) -> String {
        let (kpi, tenant, dims) = (self.kpi.value(at), self.tenant.value(at), self.dims.value(at));
        let (grain, start) = (self.grain.value(at), Micros(self.start.value(at)));
        format!("{kpi} of {tenant} {dims} by {grain}, {start}")
    }

    /// The period of today's calendar that its start is in.
    fn period(&self, at: usize, clocks: &Clocks) -> Option<(Micros, Micros)> {
        let grain = Grain::parse(self.grain.value(at))?;
        let (start, end) = clocks.period(self.tenant.value(at), grain, self.start.value(at));
        Some((Micros(start), Micros(end)))
    }

    /// Whether every history row of the cell's last change has been written.
    fn is_settled(&self, at: usize, clock: Micros, clocks: &Clocks) -> bool {
        let changed = Micros(self.as_of.value(at));
        let is_over = self.period(at, clocks).is_some_and(|(_, end)| end <= clock);
        changed.plus(if is_over { PENDING_US } else { FOLLOWING_US }) < clock
    }
}
