//! Where a KPI's cells come from: the rows that feed them, and the records that these were read from.
//!
//! # Guarantees
//! - Cells and rows are of one epoch, also while a `weir run` goes on.
//! - Rows are told that the SQL counts which recomputes the KPI, so that what adds up adds up to the cell.
//!
//! # Non-guarantees
//! - A row is told with the record that wrote it last, and those of values that this one left out; records before
//!   them are in bronze.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, TimestampMicrosecondType};
use datafusion::prelude::SessionContext;
use gold::audit::explain::{Feeding, Part, Place, feeding, parts};
use gold::{Catalog, Definition};
use lake::Lake;
use lake::state::{barriers, read};
use pipeline::silver::{TopicLife, topics_in};
use schemas::decimal::{VALUE_SCALE, format, parse};
use schemas::{Contract, Grain, Micros, Position, chain};
use serde_json::{Value, json};

use crate::tables::{CURRENT, silver_name};
use crate::tokio_runtime;
use crate::verify::{Pin, Pinned, pin};

/// Cells and what they come from.
#[derive(Debug)]
pub struct Explained {
    /// The epoch of cells and rows.
    pub epoch: i64,
    /// Its clock.
    pub as_of: Micros,
    /// The parts of the KPI.
    pub parts: Vec<Part>,
    /// One a cell, by dimensions.
    pub groups: Vec<Group>,
}

/// A cell and what it comes from.
#[derive(Debug, Default)]
pub struct Group {
    /// The dimensions, as canonical JSON.
    pub dims: String,
    /// What the table of current values says; `None` when it has no such cell.
    pub cell: Option<Cell>,
    /// By part its rows, each with its records.
    pub rows: Vec<Vec<Row>>,
}

/// What the table of current values says of a cell.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Where its period starts.
    pub period_start: Micros,
    /// Where that ends.
    pub period_end: Micros,
    /// The value, with the decimals that all numbers of KPIs have.
    pub value: Option<i128>,
    /// A ratio's numerator.
    pub numerator: Option<i128>,
    /// A ratio's denominator.
    pub denominator: Option<i128>,
    /// What the numbers are.
    pub unit: String,
    /// Whether there is a value.
    pub status: String,
}

/// A row and the records that it was read from.
#[derive(Debug, Clone)]
pub struct Row {
    /// The row.
    pub row: Feeding,
    /// The record that wrote it last, then those of values that this left out.
    pub records: Vec<Record>,
}

/// A record of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it was read; `None` when the lake does not know that life of a topic any more.
    pub topic: Option<TopicLife>,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The column whose value it sent; `None` of the record that wrote the row.
    pub column: Option<String>,
}

/// Leads cells back to their rows and records.
///
/// # Errors
/// Why that cannot be done.
pub fn explain(
    lake: &Lake,
    contracts: &[Contract],
    catalog: &Catalog,
    definition: &Definition,
    place: &Place,
) -> Result<Explained, String> {
    explain_within(lake, contracts, catalog, (definition, place), None).map_err(|e| e.to_string())
}

/// How much may be looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    /// So many rows of all parts together.
    pub(crate) rows: usize,
    /// So long, from the first query on.
    pub(crate) time: Duration,
}

/// Why cells are not led back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExplainError {
    /// It takes longer than the bound says.
    #[error("it takes too long")]
    TooLong,
    /// More rows feed them than the bound says.
    #[error("too many rows feed it")]
    TooMany,
    /// Nothing is flushed.
    #[error("nothing was flushed to {0} yet")]
    Nothing(String),
    /// Something else.
    #[error("{0}")]
    Failed(String),
}

impl From<String> for ExplainError {
    fn from(text: String) -> ExplainError {
        ExplainError::Failed(text)
    }
}

/// The same within a bound.
pub(crate) fn explain_within(
    lake: &Lake,
    contracts: &[Contract],
    catalog: &Catalog,
    (definition, place): (&Definition, &Place),
    bound: Option<Bound>,
) -> Result<Explained, ExplainError> {
    let parts = parts(catalog, definition)?;
    let named: BTreeSet<&str> = parts.iter().map(|part| part.contract.as_str()).collect();
    let of = |name: &str| contracts.iter().find(|own| own.name == *name);
    let contracts: BTreeMap<&str, &Contract> =
        named.into_iter().filter_map(|name| Some((name, of(name)?))).collect();
    let mut names: Vec<String> = contracts.values().map(|own| silver_name(own)).collect();
    names.push(CURRENT.to_owned());
    let pinned = match pin(lake, &names)? {
        Pin::At(pinned) => pinned,
        Pin::Nothing(table) => return Err(ExplainError::Nothing(table)),
    };
    let runtime = tokio_runtime().map_err(|e| format!("could not start the runtime: {e}"))?;
    let context = session(&pinned, &contracts)?;
    let topics = topics(lake, &contracts)?;
    let named = Named { contracts: &contracts, catalog, topics: &topics };
    let most = bound.map(|bound| bound.rows);
    let read =
        read_groups(&context, &named, (&parts, place), (pinned.clock, &definition.key, most));
    let groups = runtime.block_on(async {
        match bound {
            Some(bound) => {
                tokio::time::timeout(bound.time, read).await.map_err(|_| ExplainError::TooLong)?
            }
            None => read.await,
        }
    });
    // What was given up ends between two batches; nobody waits for it.
    runtime.shutdown_background();
    Ok(Explained { epoch: pinned.epoch, as_of: pinned.clock, parts, groups: groups? })
}

/// What rows are read by.
struct Named<'n, 'c> {
    contracts: &'n BTreeMap<&'c str, &'c Contract>,
    catalog: &'n Catalog,
    topics: &'n BTreeMap<&'c str, Vec<TopicLife>>,
}

async fn read_groups(
    context: &SessionContext,
    named: &Named<'_, '_>,
    (parts, place): (&[Part], &Place),
    (clock, kpi, most): (Micros, &str, Option<usize>),
) -> Result<Vec<Group>, ExplainError> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let empty = |dims: &str| Group {
        dims: dims.to_owned(),
        cell: None,
        rows: vec![Vec::new(); parts.len()],
    };
    gold::audit::prepared(context, named.catalog, clock).await.map_err(|e| chain(&e))?;
    for (dims, cell) in cells(context, kpi, place).await? {
        groups.entry(dims.clone()).or_insert_with(|| empty(&dims)).cell = Some(cell);
    }
    let mut left = most;
    for (at, part) in parts.iter().enumerate() {
        let Some(contract) = named.contracts.get(part.contract.as_str()) else { continue };
        // One more than is told says that there are more.
        let limit = left.map(|left| left + 1);
        let rows = feeding(context, named.catalog, contract, part, place, limit).await;
        let rows = rows.map_err(|e| chain(&e))?;
        if let Some(left) = &mut left {
            *left = left.checked_sub(rows.len()).ok_or(ExplainError::TooMany)?;
        }
        let lives = named.topics.get(part.contract.as_str()).map(Vec::as_slice).unwrap_or_default();
        for row in rows {
            let group = groups.entry(row.dims.clone()).or_insert_with(|| empty(&row.dims));
            let records = records(&row.position, lives, contract);
            if let Some(rows) = group.rows.get_mut(at) {
                rows.push(Row { row, records });
            }
        }
    }
    Ok(groups.into_values().collect())
}

fn session(
    pinned: &Pinned,
    contracts: &BTreeMap<&str, &Contract>,
) -> Result<SessionContext, String> {
    let context = gold::audit::session();
    let names = contracts.iter().map(|(name, own)| (format!("silver_{name}"), silver_name(own)));
    for (name, table) in names.chain([("kpi_current".to_owned(), CURRENT.to_owned())]) {
        let found = pinned.tables.get(&table);
        let found = found.ok_or_else(|| format!("there is no table {table}"))?;
        lake::query::register(&context, &name, found).map_err(|e| chain(&e))?;
    }
    Ok(context)
}

/// By contract the lives of topics, by the numbers that positions have.
fn topics<'c>(
    lake: &Lake,
    contracts: &BTreeMap<&'c str, &Contract>,
) -> Result<BTreeMap<&'c str, Vec<TopicLife>>, String> {
    let folder = lake.work_dir().join("state");
    let newest = barriers(&folder).map_err(|e| chain(&e))?.into_iter().max();
    let newest =
        newest.ok_or("there is no saved state that names the topics; start `weir run` once")?;
    let read = read(&folder, newest).map_err(|e| chain(&e))?;
    let one = |name: &&'c str| {
        let found = topics_in(&read.saved, name);
        found.map(|found| (*name, found)).map_err(|e| chain(&e))
    };
    contracts.keys().map(one).collect()
}

/// The records that a row was read from, by its position.
fn records(position: &str, lives: &[TopicLife], contract: &Contract) -> Vec<Record> {
    let mut parts = position.split(';');
    let record = |text: &str, column: Option<String>| {
        let position = Position::parse(text)?;
        let topic = lives.get(usize::try_from(position.topic).ok()?).cloned();
        let Position { partition, offset, .. } = position;
        Some(Record { topic, partition, offset, column })
    };
    let first = parts.next().and_then(|text| record(text, None));
    // What could not be read has brought nothing.
    let carried = parts.filter_map(|part| {
        let (column, text) = part.split_once('=')?;
        let column = contract.columns.get(column.parse::<usize>().ok()?)?;
        record(text, Some(column.name.clone()))
    });
    first.into_iter().chain(carried).collect()
}

/// The cells of a place, by dimensions.
async fn cells(
    context: &SessionContext,
    kpi: &str,
    place: &Place,
) -> Result<Vec<(String, Cell)>, String> {
    let text = |text: &str| text.replace('\'', "''");
    let mut sql = format!(
        "SELECT dims, period_start, period_end, value, numerator, denominator, unit, status FROM kpi_current \
         WHERE kpi = '{}' AND tenant_id = '{}' AND grain = '{}'",
        text(kpi),
        text(&place.tenant),
        place.grain,
    );
    if !place.grain.is_window() {
        sql.push_str(&format!(" AND CAST(period_start AS BIGINT) = {}", place.start.0));
    }
    let batches = async { context.sql(&sql).await?.collect().await };
    let batches: Vec<RecordBatch> = batches.await.map_err(|e| chain(&e))?;
    let mut found = Vec::new();
    for batch in batches {
        let one = |row| cell_of(&batch, row).ok_or("kpi_current has columns of other types");
        for row in 0..batch.num_rows() {
            let (dims, cell) = one(row)?;
            if place.dims.is_empty() || has(&dims, &place.dims) {
                found.push((dims, cell));
            }
        }
    }
    Ok(found)
}

/// Whether dimensions have these values.
fn has(dims: &str, wanted: &BTreeMap<String, String>) -> bool {
    let dims: Value = serde_json::from_str(dims).unwrap_or_default();
    wanted.iter().all(|(name, value)| dims[name].as_str().unwrap_or_default() == value)
}

fn cell_of(batch: &RecordBatch, row: usize) -> Option<(String, Cell)> {
    let text =
        |name| Some(batch.column_by_name(name)?.as_string_opt::<i32>()?.value(row).to_owned());
    let instant = |name| {
        let column = batch.column_by_name(name)?.as_primitive_opt::<TimestampMicrosecondType>()?;
        Some(Micros(column.value(row)))
    };
    let number = |name| {
        let column = batch.column_by_name(name)?.as_primitive_opt::<Decimal128Type>()?;
        Some(column.is_valid(row).then(|| column.value(row)))
    };
    let cell = Cell {
        period_start: instant("period_start")?,
        period_end: instant("period_end")?,
        value: number("value")?,
        numerator: number("numerator")?,
        denominator: number("denominator")?,
        unit: text("unit")?,
        status: text("status")?,
    };
    Some((text("dims")?, cell))
}

impl Group {
    /// What the rows of a part add up to; `None` when they do not.
    pub fn sum(&self, at: usize, part: &Part) -> Option<i128> {
        let rows = self.rows.get(at).filter(|_| part.adds_up())?;
        let numbers = rows.iter().filter_map(|own| own.row.amount.as_deref());
        numbers.map(number).try_fold(0_i128, |sum, number| sum.checked_add(number?))
    }
}

fn number(text: &str) -> Option<i128> {
    parse(text.as_bytes(), VALUE_SCALE)
}

impl Explained {
    /// As JSON; with at most so many rows a cell and part.
    pub fn to_json(&self, contracts: &[Contract], most: usize) -> Value {
        let group = |group: &Group| {
            let dims: Value = serde_json::from_str(&group.dims).unwrap_or_default();
            let shown = |number: Option<i128>| number.map(|number| format(number, VALUE_SCALE));
            let cell = group.cell.as_ref();
            let parts = self.parts.iter().zip(&group.rows).enumerate();
            let parts = parts.map(|(at, (part, rows))| {
                let contract = contracts.iter().find(|own| own.name == part.contract);
                let rows_shown = rows.iter().take(most).map(|row| row.to_json(contract));
                json!({
                    "kpi": part.kpi,
                    "role": part.role.name(),
                    "minus": part.minus,
                    "contract": part.contract,
                    "aggregate": part.aggregate,
                    "sum": shown(group.sum(at, part)),
                    "rows_total": rows.len(),
                    "rows": rows_shown.collect::<Vec<_>>(),
                })
            });
            json!({
                "dims": dims,
                "period_start": cell.map(|cell| cell.period_start.to_string()),
                "period_end": cell.map(|cell| cell.period_end.to_string()),
                "value": cell.and_then(|cell| shown(cell.value)),
                "numerator": cell.and_then(|cell| shown(cell.numerator)),
                "denominator": cell.and_then(|cell| shown(cell.denominator)),
                "unit": cell.map(|cell| cell.unit.clone()),
                "status": cell.map(|cell| cell.status.clone()),
                "parts": parts.collect::<Vec<_>>(),
            })
        };
        json!({
            "epoch": self.epoch,
            "as_of": self.as_of.to_string(),
            "groups": self.groups.iter().map(group).collect::<Vec<_>>(),
        })
    }
}

impl Row {
    /// The columns of the row's key with their values.
    pub fn key(&self, contract: Option<&Contract>) -> BTreeMap<String, String> {
        self.key_in_order(contract).into_iter().collect()
    }

    /// The same in the order of the contract.
    pub(crate) fn key_in_order(&self, contract: Option<&Contract>) -> Vec<(String, String)> {
        let names = contract.into_iter().flat_map(|own| {
            own.key.iter().filter_map(|at| own.columns.get(*at)).map(|column| column.name.clone())
        });
        names.zip(self.row.key.iter().cloned()).collect()
    }

    /// What it brings. Text is shown as it is, a number as short as it can be.
    pub(crate) fn shown_amount(&self) -> Option<String> {
        let amount = self.row.amount.as_deref();
        amount.map(|own| number(own).map_or(own.to_owned(), |own| format(own, VALUE_SCALE)))
    }

    fn to_json(&self, contract: Option<&Contract>) -> Value {
        let record = |record: &Record| {
            let topic = record.topic.as_ref();
            json!({
                "source": topic.map(|own| own.source.clone()),
                "topic": topic.map(|own| own.topic.clone()),
                "partition": record.partition,
                "offset": record.offset,
                "column": record.column,
            })
        };
        json!({
            "key": self.key(contract),
            "origin": self.row.origin,
            "amount": self.shown_amount(),
            "doubt": self.row.doubt,
            "epoch": self.row.epoch,
            "records": self.records.iter().map(record).collect::<Vec<_>>(),
        })
    }
}

/// Where the period of a tenant starts that a date or an instant is in. A date is the tenant's own.
pub fn period_start(catalog: &Catalog, tenant: &str, grain: Grain, text: &str) -> Option<Micros> {
    let at = Micros::parse(text)?;
    let periods = catalog.calendar().of(tenant);
    if text.contains(['T', 't']) || grain == Grain::Hour {
        return Some(periods.start(grain, at));
    }
    // The day that is called so begins within a day of UTC's.
    Some(periods.start(grain, periods.midnight(at.day())))
}
