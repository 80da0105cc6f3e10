//! Where a KPI's cells come from: the rows that feed them, and the records that these were read from.
//!
//! # Guarantees
//! - Cells and rows are of one epoch, also while a `weir run` goes on.
//! - Rows are told that the SQL counts which recomputes the KPI, so that what adds up adds up to the cell. Of a KPI over
//!   a view these are rows of the view, each with the rows of contracts that it is made of.
//!
//! # Non-guarantees
//! - A row is told with the record that wrote it last, and those of values that this one left out; records before
//!   them are in bronze.

mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, TimestampMicrosecondType};
use datafusion::prelude::SessionContext;
use gold::audit::explain::{Bounds, Feeding, Input, Part, Place, feeding, parts, ready};
use gold::{Catalog, Definition};
use lake::Lake;
use lake::state::{barriers, read};
use pipeline::silver::{TopicLife, topics_in};
use schemas::decimal::{VALUE_SCALE, parse};
use schemas::{Contract, Grain, Micros, Position, chain};
use serde_json::Value;

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
    /// The record that wrote it last, then those of values that this left out. Of a row of a view that is the first of
    /// its inputs.
    pub records: Vec<Record>,
    /// Of a row of a view the rows of contracts that it is made of.
    pub inputs: Vec<Arc<Made>>,
}

/// A row of a contract that a row of a view is made of, and the records that it was read from.
#[derive(Debug, Clone)]
pub struct Made {
    /// The row.
    pub input: Arc<Input>,
    /// As those of a [`Row`].
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

/// Leads cells back to their rows and records, and rows of views to at most so many.
///
/// # Errors
/// Why that cannot be done.
pub fn explain(
    lake: &Lake,
    contracts: &[Contract],
    catalog: &Catalog,
    (definition, place): (&Definition, &Place),
    inputs: usize,
) -> Result<Explained, String> {
    let bound = Bound { rows: None, time: None, inputs, others: true };
    explain_within(lake, contracts, catalog, (definition, place), bound).map_err(|e| e.to_string())
}

/// How much may be looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    /// So many rows of all parts together.
    pub(crate) rows: Option<usize>,
    /// So long, from the first query on.
    pub(crate) time: Option<Duration>,
    /// Of what a row of a view is made of, so many rows are told.
    pub(crate) inputs: usize,
    /// Whether rows of other tenants are told.
    pub(crate) others: bool,
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
    bound: Bound,
) -> Result<Explained, ExplainError> {
    let parts = parts(catalog, definition)?;
    let named: BTreeSet<&str> =
        parts.iter().flat_map(|part| &part.contracts).map(String::as_str).collect();
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
    let read =
        read_groups(&context, &named, (&parts, place), (pinned.clock, &definition.key, bound));
    let groups = runtime.block_on(async {
        match bound.time {
            Some(time) => {
                tokio::time::timeout(time, read).await.map_err(|_| ExplainError::TooLong)?
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

impl Named<'_, '_> {
    /// A row with its records. `made` has the inputs that are known.
    fn recorded(
        &self,
        row: Feeding,
        part: &Part,
        made: &mut BTreeMap<*const Input, Arc<Made>>,
    ) -> Row {
        let told = |input: &Arc<Input>| {
            let records = || self.records(&input.position, &input.contract);
            let new = || Arc::new(Made { input: Arc::clone(input), records: records() });
            Arc::clone(made.entry(Arc::as_ptr(input)).or_insert_with(new))
        };
        let inputs: Vec<Arc<Made>> = row.inputs.iter().map(told).collect();
        let records = match (part.is_view, inputs.first()) {
            (false, _) => self.records(&row.position, &part.contract),
            (true, first) => first.map(|own| own.records.clone()).unwrap_or_default(),
        };
        Row { row, records, inputs }
    }

    fn records(&self, position: &str, contract: &str) -> Vec<Record> {
        let lives = self.topics.get(contract).map(Vec::as_slice).unwrap_or_default();
        self.contracts.get(contract).map(|own| records(position, lives, own)).unwrap_or_default()
    }
}

async fn read_groups(
    context: &SessionContext,
    named: &Named<'_, '_>,
    (parts, place): (&[Part], &Place),
    (clock, kpi, bound): (Micros, &str, Bound),
) -> Result<Vec<Group>, ExplainError> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let empty = |dims: &str| Group {
        dims: dims.to_owned(),
        cell: None,
        rows: vec![Vec::new(); parts.len()],
    };
    ready(context, named.catalog, parts, clock).await.map_err(|e| chain(&e))?;
    for (dims, cell) in cells(context, kpi, place).await? {
        groups.entry(dims.clone()).or_insert_with(|| empty(&dims)).cell = Some(cell);
    }
    let mut left = bound.rows;
    for (at, part) in parts.iter().enumerate() {
        if part.is_stock() && place.start > clock {
            continue;
        }
        // One more than is told says that there are more.
        let rows = left.map(|left| left + 1);
        let bounds = Bounds { rows, inputs: bound.inputs, others: bound.others };
        let found = feeding(context, named.catalog, named.contracts, (part, place), bounds).await;
        let (rows, read) = found.map_err(|e| chain(&e))?;
        if let Some(left) = &mut left {
            *left = left.checked_sub(read).ok_or(ExplainError::TooMany)?;
        }
        let mut made = BTreeMap::new();
        for row in rows {
            let group = groups.entry(row.dims.clone()).or_insert_with(|| empty(&row.dims));
            let row = named.recorded(row, part, &mut made);
            if let Some(rows) = group.rows.get_mut(at) {
                rows.push(row);
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
