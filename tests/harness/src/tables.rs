//! Silver and gold as they are, and how they differ from what they should be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::Path;
use std::rc::Rc;

use arrow::array::{Array, RecordBatch};
use schemas::{ColumnType, Contract, Grain, Micros};

use crate::delta_log::{DeltaLog, Snapshot};
use crate::event::{self, Cell, Row};
use crate::fold::{SilverRow, row_id};
use crate::history::{History, HistoryRow};
use crate::kpis::{self, CellId, CellValue};
use crate::{Error, columns, numbers};

/// Examples kept of what differs.
const EXAMPLES: usize = 10;

/// What differs between two sets of rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// How many rows.
    pub count: u64,
    /// The first ten, as text.
    pub examples: Vec<String>,
}

impl Differences {
    fn add(&mut self, text: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(text());
        }
    }
}

/// A table at its newest version, with the barrier that it stands at.
#[derive(Debug, Clone, Default)]
pub struct Table<R> {
    /// `weir/epoch`.
    pub epoch: i64,
    /// `weir/clock`.
    pub clock: i64,
    /// Its rows.
    pub rows: R,
    /// Of current values the windows, apart.
    pub windows: BTreeMap<CellId, CurrentRow>,
    /// Rows that no comparison covers: second rows of a key.
    pub doubled: Differences,
    /// KPIs that the oracle does not know, whose rows it leaves alone.
    pub unknown_kpis: BTreeSet<String>,
}

/// A row of `gold/kpi_current`: what the cell says, its epoch, `as_of` and unit.
pub type CurrentRow = (CellValue, i64, i64, String);

fn open<R: Default>(
    lake: &Path,
    name: &str,
) -> Result<Option<(DeltaLog, Snapshot, Table<R>)>, Error> {
    let root = lake.join(name);
    if !DeltaLog::exists(&root) {
        return Ok(None);
    }
    let log = DeltaLog::open(&root)?;
    let snapshot = log.at(log.newest());
    let txn = |id: &str| snapshot.txns.get(id).copied().unwrap_or(0);
    let (epoch, clock) = (txn("weir/epoch"), txn("weir/clock"));
    let table = Table { epoch, clock, ..Table::default() };
    Ok(Some((log, snapshot, table)))
}

/// The key of a row, as text.
pub fn key(contract: &Contract, row: &Row) -> String {
    let parts = contract.key.iter().map(|&index| match row.get(index) {
        Some(cell) => event::part(&contract.columns[index], cell),
        None => String::new(),
    });
    parts.collect::<Vec<_>>().join("\u{1f}")
}

/// Reads `silver/<contract>`; `None` when there is no such table.
///
/// # Errors
/// When it cannot be read or has other columns than the contract.
pub fn read_silver(
    lake: &Path,
    contract: &Contract,
) -> Result<Option<Table<BTreeMap<String, SilverRow>>>, Error> {
    type Rows = BTreeMap<String, SilverRow>;
    let name = format!("silver/{}", contract.name);
    let Some((log, snapshot, mut table)) = open::<Rows>(lake, &name)? else { return Ok(None) };
    for file in &snapshot.files {
        log.read(file, None, |batch| {
            let (epochs, positions) =
                (columns::integers(batch, "_epoch")?, columns::texts(batch, "_position")?);
            let origins = columns::texts(batch, "_origin")?;
            for (index, row) in silver_rows(contract, batch)?.into_iter().enumerate() {
                let position = positions.value(index).to_owned();
                let key = key(contract, &row);
                let (epoch, origin) = (epochs.value(index), origins.value(index).to_owned());
                let id = row_id(&key, &origin);
                let row = SilverRow { row, epoch, position, origin };
                if table.rows.insert(id, row).is_some() {
                    table.doubled.add(|| format!("{name}: two rows for {key}"));
                }
            }
            Ok(())
        })?;
    }
    Ok(Some(table))
}

fn silver_rows(contract: &Contract, batch: &RecordBatch) -> Result<Vec<Row>, Error> {
    let mut rows = vec![Vec::with_capacity(contract.columns.len()); batch.num_rows()];
    for column in &contract.columns {
        let cells = silver_column(batch, &column.name, column.kind)?;
        for (row, cell) in rows.iter_mut().zip(cells) {
            row.push(cell);
        }
    }
    let unknown = columns::texts(batch, "_unknown")?;
    for (row, list) in rows.iter_mut().zip(unknown.iter()) {
        let names: Vec<String> = match list {
            Some(list) => serde_json::from_str(list).map_err(Error::at("_unknown"))?,
            None => continue,
        };
        for name in names {
            let at = contract.column(&name).and_then(|at| row.get_mut(at));
            match at {
                Some(cell) if *cell == Cell::Null => *cell = Cell::Unknown,
                _ => return Err(Error::new(format!("`_unknown` names {name}, which has a value"))),
            }
        }
    }
    let doubts = columns::texts(batch, "_doubt")?;
    for (row, doubt) in rows.iter_mut().zip(doubts.iter()) {
        let has_unknown = row.contains(&Cell::Unknown);
        match doubt {
            Some("dead letter") => row.push(Cell::Unknown),
            Some("unknown") if has_unknown => {}
            None if !has_unknown => {}
            other => return Err(Error::new(format!("`_doubt` is {other:?} beside {row:?}"))),
        }
    }
    Ok(rows.into_iter().map(Rc::new).collect())
}

fn silver_column(batch: &RecordBatch, name: &str, kind: ColumnType) -> Result<Vec<Cell>, Error> {
    fn cells<T>(values: impl Iterator<Item = Option<T>>, cell: fn(T) -> Cell) -> Vec<Cell> {
        values.map(|value| value.map_or(Cell::Null, cell)).collect()
    }
    // A file that was written before the table had the column: there it is null.
    if batch.column_by_name(name).is_none() {
        return Ok(vec![Cell::Null; batch.num_rows()]);
    }
    Ok(match kind {
        ColumnType::Text | ColumnType::Json => {
            let texts = columns::texts(batch, name)?;
            cells(texts.iter().map(|text| text.map(str::to_owned)), Cell::Text)
        }
        ColumnType::Decimal { precision, scale } => {
            let scale = i8::try_from(scale).map_err(Error::at(name))?;
            cells(columns::decimals(batch, name, precision, scale)?.iter(), Cell::Decimal)
        }
        ColumnType::Timestamp => cells(columns::times(batch, name)?.iter(), Cell::Time),
        ColumnType::Bigint => cells(columns::integers(batch, name)?.iter(), Cell::Whole),
        ColumnType::Double => {
            cells(columns::doubles(batch, name)?.iter(), |number| Cell::Double(event::bits(number)))
        }
        ColumnType::Boolean => cells(columns::flags(batch, name)?.iter(), Cell::Flag),
        ColumnType::Date => cells(columns::dates(batch, name)?.iter(), Cell::Date),
    })
}

/// Reads `gold/kpi_current`; `None` when there is no such table.
///
/// # Errors
/// When it cannot be read or has other columns than it should.
pub fn read_current(lake: &Path) -> Result<Option<Table<BTreeMap<CellId, CurrentRow>>>, Error> {
    let found = open::<BTreeMap<CellId, CurrentRow>>(lake, "gold/kpi_current")?;
    let Some((log, snapshot, mut table)) = found else { return Ok(None) };
    for file in &snapshot.files {
        log.read(file, None, |batch| {
            for cell in kpi_rows(batch)? {
                let Some(id) = cell.id else {
                    table.unknown_kpis.insert(cell.name.kpi);
                    continue;
                };
                let row = (cell.value, cell.epoch, cell.as_of, cell.unit);
                let rows = if id.grain.is_window() { &mut table.windows } else { &mut table.rows };
                if rows.insert(id.clone(), row).is_some() {
                    table.doubled.add(|| format!("kpi_current: two rows for {}", show(&id)));
                }
            }
            Ok(())
        })?;
    }
    Ok(Some(table))
}

/// What names a cell of any KPI, also of one that the oracle does not know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedCell {
    /// The KPI.
    pub kpi: String,
    /// The tenant.
    pub tenant: String,
    /// Canonical JSON text.
    pub dims: String,
    /// The grain, or the window.
    pub grain: String,
    /// Start of the period in microseconds.
    pub start: i64,
}

/// Cells by their names: where the period ends, and what they say.
pub type NamedCells = BTreeMap<NamedCell, (i64, CellValue)>;

/// Reads every row of `gold/kpi_current`; `None` when there is no such table.
///
/// # Errors
/// When it cannot be read or has other columns than it should.
pub fn read_cells(lake: &Path) -> Result<Option<Table<NamedCells>>, Error> {
    let found = open::<NamedCells>(lake, "gold/kpi_current")?;
    let Some((log, snapshot, mut table)) = found else { return Ok(None) };
    for file in &snapshot.files {
        log.read(file, None, |batch| {
            let ends = columns::times(batch, "period_end")?;
            for (row, cell) in kpi_rows(batch)?.into_iter().enumerate() {
                if table.rows.insert(cell.name.clone(), (ends.value(row), cell.value)).is_some() {
                    table.doubled.add(|| format!("kpi_current: two rows for {:?}", cell.name));
                }
            }
            Ok(())
        })?;
    }
    Ok(Some(table))
}

/// Reads what `gold/kpi_history` says of the KPIs that the oracle knows; `None` when there is no such table.
///
/// # Errors
/// When it cannot be read or has other columns than it should.
pub fn read_history(lake: &Path) -> Result<Option<Table<Vec<HistoryRow>>>, Error> {
    read_history_rows(lake, |read, table| {
        let Some(cell) = read.id else {
            table.unknown_kpis.insert(read.name.kpi);
            return None;
        };
        if kpis::unit(cell.kpi) != Some(&read.unit) {
            let problem = || format!("kpi_history: unit {} of {}", read.unit, cell.kpi);
            table.doubled.add(problem);
        }
        Some(cell)
    })
}

/// Reads every row of `gold/kpi_history`; `None` when there is no such table.
///
/// # Errors
/// When it cannot be read or has other columns than it should.
pub fn read_all_history(lake: &Path) -> Result<Option<Table<Vec<HistoryRow<NamedCell>>>>, Error> {
    read_history_rows(lake, |read, _| Some(read.name))
}

fn read_history_rows<C>(
    lake: &Path,
    cell: impl Fn(KpiRow, &mut Table<Vec<HistoryRow<C>>>) -> Option<C>,
) -> Result<Option<Table<Vec<HistoryRow<C>>>>, Error> {
    let found = open::<Vec<HistoryRow<C>>>(lake, "gold/kpi_history")?;
    let Some((log, snapshot, mut table)) = found else { return Ok(None) };
    for file in &snapshot.files {
        log.read(file, None, |batch| {
            let closed = columns::flags(batch, "closed")?;
            let restatement = columns::flags(batch, "restatement")?;
            for (row, read) in kpi_rows(batch)?.into_iter().enumerate() {
                let (as_of, value, epoch) = (read.as_of, read.value, read.epoch);
                let (closed, restatement) = (closed.value(row), restatement.value(row));
                if let Some(cell) = cell(read, &mut table) {
                    let row = HistoryRow { cell, as_of, value, epoch, closed, restatement };
                    table.rows.push(row);
                }
            }
            Ok(())
        })?;
    }
    Ok(Some(table))
}

/// The columns that both KPI tables have.
struct KpiRow {
    name: NamedCell,
    /// `None` for KPIs that the oracle does not know.
    id: Option<CellId>,
    value: CellValue,
    unit: String,
    epoch: i64,
    as_of: i64,
}

fn kpi_rows(batch: &RecordBatch) -> Result<Vec<KpiRow>, Error> {
    let (kpi, tenant) = (columns::texts(batch, "kpi")?, columns::texts(batch, "tenant_id")?);
    let (dims, grain) = (columns::texts(batch, "dims")?, columns::texts(batch, "grain")?);
    let start = columns::times(batch, "period_start")?;
    let scale = i8::try_from(numbers::SCALE).map_err(Error::new)?;
    let number = |name| columns::decimals(batch, name, 38, scale);
    let (value, numerator) = (number("value")?, number("numerator")?);
    let denominator = number("denominator")?;
    let (unit, status) = (columns::texts(batch, "unit")?, columns::texts(batch, "status")?);
    let (epoch, as_of) = (columns::integers(batch, "epoch")?, columns::times(batch, "as_of")?);
    let mut rows = Vec::new();
    for row in 0..batch.num_rows() {
        let text = |array: &arrow::array::StringArray| array.value(row).to_owned();
        let name = NamedCell {
            kpi: text(&kpi),
            tenant: text(&tenant),
            dims: text(&dims),
            grain: text(&grain),
            start: start.value(row),
        };
        let grain = Grain::parse(grain.value(row))
            .ok_or_else(|| Error::new(format!("unknown grain {}", grain.value(row))))?;
        let id = kpis::kpi(&name.kpi).map(|kpi| {
            let (tenant, dims) = (tenant.value(row).into(), dims.value(row).into());
            CellId { kpi, tenant, dims, grain, start: start.value(row) }
        });
        let status =
            ["ok", "in_doubt", "no_data", "error"].into_iter().find(|s| *s == status.value(row));
        let some =
            |array: &arrow::array::Decimal128Array| array.is_valid(row).then(|| array.value(row));
        let value = CellValue {
            value: some(&value),
            numerator: some(&numerator),
            denominator: some(&denominator),
            status: status.ok_or_else(|| Error::new("unknown status"))?,
        };
        let unit = unit.value(row).to_owned();
        let (epoch, as_of) = (epoch.value(row), as_of.value(row));
        rows.push(KpiRow { name, id, value, unit, epoch, as_of });
    }
    Ok(rows)
}

/// Compares silver with the oracle's fold.
pub fn compare_silver(
    contract: &Contract,
    found: &BTreeMap<String, SilverRow>,
    expected: &BTreeMap<String, SilverRow>,
) -> Differences {
    let same = |a: &SilverRow, b: &SilverRow| {
        let of = |row: &SilverRow| (row.epoch, row.position.clone(), row.origin.clone());
        of(a) == of(b) && same_row(contract, &a.row, &b.row)
    };
    compare_maps(&format!("silver/{}", contract.name), found, expected, same)
}

/// JSON is equal when it means the same, everything else when it is the same.
fn same_row(contract: &Contract, a: &Row, b: &Row) -> bool {
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    contract.columns.iter().zip(a.iter().zip(b.iter())).all(|(column, pair)| match pair {
        (Cell::Text(a), Cell::Text(b)) if column.kind == ColumnType::Json => {
            a == b || (json(a).is_some() && json(a) == json(b))
        }
        (a, b) => a == b,
    })
}

/// Compares `gold/kpi_current` with the oracle's cells.
pub fn compare_current(found: &BTreeMap<CellId, CurrentRow>, history: &History) -> Differences {
    let row = |(id, value, epoch, as_of): (&CellId, CellValue, i64, i64)| {
        let unit = kpis::unit(id.kpi).unwrap_or_default().to_owned();
        (id.clone(), (value, epoch, as_of, unit))
    };
    let expected: BTreeMap<CellId, CurrentRow> = history.current().map(row).collect();
    compare_maps("kpi_current", found, &expected, |a, b| a == b)
}

/// Compares the windows of `gold/kpi_current` with those that the oracle counts over all rows.
pub fn compare_windows(
    found: &BTreeMap<CellId, CurrentRow>,
    expected: &BTreeMap<CellId, CellValue>,
) -> Differences {
    let found = found.iter().map(|(id, (value, ..))| (id.clone(), *value)).collect();
    compare_maps("windows of kpi_current", &found, expected, |a, b| a == b)
}

fn compare_maps<K: Ord + Debug, V: Debug>(
    name: &str,
    found: &BTreeMap<K, V>,
    expected: &BTreeMap<K, V>,
    same: impl Fn(&V, &V) -> bool,
) -> Differences {
    let mut differences = Differences::default();
    for (key, row) in expected {
        match found.get(key) {
            None => differences.add(|| format!("{name}: missing {key:?} {row:?}")),
            Some(other) if !same(other, row) => {
                differences.add(|| format!("{name}: {key:?} is {other:?}, expected {row:?}"));
            }
            Some(_) => {}
        }
    }
    for (key, row) in found.iter().filter(|(key, _)| !expected.contains_key(key)) {
        differences.add(|| format!("{name}: extra {key:?} {row:?}"));
    }
    differences
}

/// Compares the rows of `gold/kpi_history` up to `clock` with the oracle's, row by row.
pub fn compare_history(found: &[HistoryRow], expected: &[HistoryRow], clock: i64) -> Differences {
    let sorted = |rows: &[HistoryRow]| {
        let mut rows: Vec<_> = rows.iter().filter(|row| row.as_of <= clock).cloned().collect();
        rows.sort();
        rows
    };
    let (found, expected) = (sorted(found), sorted(expected));
    let mut differences = Differences::default();
    let (mut left, mut right) = (found.iter().peekable(), expected.iter().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return differences,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(a), Some(b)) => a.cmp(b),
        };
        let extra = if order.is_le() { left.next() } else { None };
        let missing = if order.is_ge() { right.next() } else { None };
        match (extra, missing) {
            (Some(row), None) => {
                differences.add(|| format!("kpi_history: extra {}", show_row(row)))
            }
            (None, Some(row)) => {
                differences.add(|| format!("kpi_history: missing {}", show_row(row)));
            }
            _ => {}
        }
    }
}

fn show(id: &CellId) -> String {
    let (grain, start) = (id.grain, Micros(id.start));
    format!("{} {} {} {grain} {start}", id.kpi, id.tenant, id.dims)
}

fn show_row(row: &HistoryRow) -> String {
    let number = |n: Option<i128>| n.map_or("null".into(), |n| numbers::text(n, numbers::SCALE));
    let (as_of, value) = (Micros(row.as_of), number(row.value.value));
    let parts = format!("{}/{}", number(row.value.numerator), number(row.value.denominator));
    let flags = format!("closed={} restatement={}", row.closed, row.restatement);
    let (cell, status) = (show(&row.cell), row.value.status);
    format!("{cell} = {value} ({parts}, {status}) at {as_of} epoch {} {flags}", row.epoch)
}
