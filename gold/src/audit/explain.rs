//! Which rows a cell comes from: those that its recomputation counts, one by one.
//!
//! # Guarantees
//! - The conditions are those of the SQL that recomputes the KPI: what is counted there is told here, and nothing else.
//! - A row of a view is told with the rows of contracts that it is made of, as [`views::lineage`] says it.
//! - Of rows of other tenants, which a view may join, nothing is told unless [`Bounds::others`] says so.
//!
//! # Non-guarantees
//! - Rows of a view that bring nothing, null or a zero to a sum, are left out.

mod made;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;
use schemas::{Contract, Grain, Micros, decimal};

use super::sql::{NUMBER, micros, start_of, tenant_of, totalled};
use super::{AuditError, compare, group, overlap, sql};
use crate::catalog::{CURRENCY, Catalog};
use crate::definition::{Aggregate, Definition, Formula};
use crate::flow::{Flow, Joined};
use crate::relation::Relation;

/// Where a part stands in a KPI's formula.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It is the value.
    Value,
    /// It stands above the line of a quotient.
    Numerator,
    /// It stands below it.
    Denominator,
}

impl Role {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Value => "value",
            Role::Numerator => "numerator",
            Role::Denominator => "denominator",
        }
    }
}

/// A part of a KPI: an aggregate of rows of a contract, or of a view.
#[derive(Debug, Clone)]
pub struct Part {
    /// The KPI that it is.
    pub kpi: String,
    /// Where it stands.
    pub role: Role,
    /// Whether it is taken away.
    pub minus: bool,
    /// The contract of its rows, or the view.
    pub contract: String,
    /// Whether that is a view.
    pub is_view: bool,
    /// The contracts of the rows that those are made of.
    pub contracts: Vec<String>,
    /// Whether each row is made of all that it is said to be made of; otherwise of some of it.
    pub is_exact: bool,
    /// `count`, `sum`, `distinct`, `min`, `max` or `percentile`.
    pub aggregate: &'static str,
    flow: Flow,
    /// The column with the currency of each row, where they are added up in another one.
    currency: Option<String>,
}

impl Part {
    /// Whether the rows' amounts add up to it.
    pub fn adds_up(&self) -> bool {
        self.currency.is_none()
            && matches!(
                self.flow.aggregate,
                Aggregate::Count | Aggregate::Sum(_) | Aggregate::Allocated(_)
            )
    }

    /// The view of its rows, where they are of one.
    pub fn view(&self) -> Option<&str> {
        self.is_view.then_some(&self.contract)
    }

    /// How exactly the rows of contracts are told that its rows are made of: `exact`, or `partition` where these are
    /// some of all rows of a partition of a window function.
    pub fn lineage(&self) -> &'static str {
        if self.is_exact { "exact" } else { "partition" }
    }

    /// Whether it is of what is alive at the end of a period.
    pub fn is_stock(&self) -> bool {
        self.flow.joined == Joined::Alive
    }

    /// What a row brings to a place, as SQL.
    fn amount(&self, place: &Place) -> String {
        let Flow { filter, aggregate, time, until, .. } = &self.flow;
        let (_, argument, _) = totalled(aggregate, filter.as_deref());
        match (aggregate, until) {
            (Aggregate::Count | Aggregate::Sum(_), _) => format!("CAST({argument} AS {NUMBER})"),
            (Aggregate::Allocated(_), Some(until)) => {
                let (start, end) = place.bounds();
                overlap::allocated(&text(&place.tenant), argument, (time, until), (&start, &end))
            }
            _ => argument.to_owned(),
        }
    }
}

/// How much is told.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// At most so many rows; one more says that there are more.
    pub rows: Option<usize>,
    /// Of what a row of a view is made of, at most so many rows.
    pub inputs: usize,
    /// Whether rows of other tenants are told.
    pub others: bool,
}

/// Which cells are asked for.
#[derive(Debug, Clone)]
pub struct Place {
    /// Whose they are.
    pub tenant: String,
    /// The grain, or the window.
    pub grain: Grain,
    /// Where the period starts; a window has one place.
    pub start: Micros,
    /// Values of dimensions; the empty one means none.
    pub dims: BTreeMap<String, String>,
}

impl Place {
    /// Where the period starts and ends, as SQL.
    fn bounds(&self) -> (String, String) {
        let (own, start) = (text(&self.tenant), format!("CAST({} AS BIGINT)", self.start.0));
        let end = format!("weir_period_end({own}, '{}', {start})", self.grain);
        (start, end)
    }
}

/// A row that feeds a cell. Of a row of a view key, origin and position are those of the first of its inputs, the
/// epoch is that of the last change of any, and the doubt is that of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Feeding {
    /// The dimensions of the cell, as canonical JSON.
    pub dims: String,
    /// The values of the row's key columns, in their order.
    pub key: Vec<String>,
    /// The table of the source that it came from.
    pub origin: String,
    /// As the column `_position` has it.
    pub position: String,
    /// The epoch that changed the row last.
    pub epoch: i64,
    /// Why it is in doubt.
    pub doubt: Option<String>,
    /// What it brings: the number that is added, or the value that is counted.
    pub amount: Option<String>,
    /// What a row of a view is made of.
    pub inputs: Vec<Arc<Input>>,
    /// Whether it is made of more rows than that.
    pub has_more: bool,
    /// How many rows of other tenants it is made of, which are not told.
    pub withheld: usize,
    /// Tells rows of a view apart that have the same key and origin.
    pub tie: String,
}

/// A row of a contract that a row of a view is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The contract.
    pub contract: String,
    /// The values of the row's key columns, in their order.
    pub key: Vec<String>,
    /// The table of the source that it came from.
    pub origin: String,
    /// As the column `_position` has it.
    pub position: String,
    /// The epoch that changed the row last.
    pub epoch: i64,
    /// Why it is in doubt.
    pub doubt: Option<String>,
    /// Whose it is.
    pub tenant: String,
}

/// The parts of a KPI.
///
/// # Errors
/// Why its cells are not led back.
pub fn parts(catalog: &Catalog, definition: &Definition) -> Result<Vec<Part>, String> {
    let computed = catalog.computed(definition).map_err(|error| error.to_string())?;
    if computed.over.is_some() {
        return Err(format!(
            "KPI `{}` is a quotient of quotients; ask for the two that it is made of",
            definition.key
        ));
    }
    let names: Vec<String> = match &definition.formula {
        Formula::Ratio { numerator, denominator } => {
            numerator.iter().map(|term| term.kpi.clone()).chain([denominator.clone()]).collect()
        }
        Formula::Converted { of, .. } => vec![of.clone()],
        _ => vec![definition.key.to_string()],
    };
    let mut names = names.into_iter();
    let is_ratio = computed.below.is_some();
    let mut part = |role: Role, minus: bool, mut flow: Flow| Part {
        kpi: names.next().unwrap_or_else(|| definition.key.to_string()),
        role,
        minus,
        contract: flow.relation.clone(),
        is_view: catalog.relation(&flow.relation).is_some_and(|own| own.view.is_some()),
        contracts: contracts(catalog, &flow.relation),
        is_exact: made::is_exact(catalog, &flow.relation),
        aggregate: word(&flow.aggregate),
        currency: match definition.is_converted() {
            true => flow.dims.remove(CURRENCY),
            false => None,
        },
        flow,
    };
    let above = if is_ratio { Role::Numerator } else { Role::Value };
    let mut parts: Vec<Part> =
        computed.above.into_iter().map(|(minus, flow)| part(above, minus, flow)).collect();
    parts.extend(computed.below.map(|flow| part(Role::Denominator, false, flow)));
    Ok(parts)
}

/// The contracts that the rows of a relation come from.
fn contracts(catalog: &Catalog, relation: &str) -> Vec<String> {
    let numbers = catalog.relation(relation).map(|own| own.contracts.as_slice());
    let named = numbers.into_iter().flatten().filter_map(|at| catalog.relations().get(*at));
    named.map(|own| own.name.clone()).collect()
}

fn word(aggregate: &Aggregate) -> &'static str {
    match aggregate {
        Aggregate::Count => "count",
        Aggregate::Sum(_) | Aggregate::Allocated(_) => "sum",
        Aggregate::Distinct(_) => "distinct",
        Aggregate::Min(_) => "min",
        Aggregate::Max(_) => "max",
        Aggregate::Percentile { .. } => "percentile",
    }
}

fn text(sql: &str) -> String {
    format!("'{}'", sql.replace('\'', "''"))
}

/// What is asked of each row of a part: its dimensions, and what it brings.
fn columns(part: &Part, place: &Place) -> Vec<String> {
    let mut columns = Vec::new();
    for (name, column) in &part.flow.dims {
        columns.push(format!("arrow_cast(\"{column}\", 'Utf8') AS \"dim_{name}\""));
    }
    columns.push(format!("arrow_cast({}, 'Utf8') AS \"row_amount\"", part.amount(place)));
    let currency = part.currency.as_ref();
    let currency = currency.map_or("NULL".to_owned(), |column| format!("\"{column}\""));
    columns.push(format!("arrow_cast({currency}, 'Utf8') AS \"row_currency\""));
    columns
}

/// Which rows of a relation feed a part of the cells of a place.
fn conditions(catalog: &Catalog, relation: &Relation, part: &Part, place: &Place) -> Vec<String> {
    let Flow { filter, time, joined, until, aggregate, dims, .. } = &part.flow;
    let tenant = tenant_of(relation);
    let (counted, argument, _) = totalled(aggregate, filter.as_deref());
    let start = start_of(catalog.calendar(), &tenant, time, place.grain);
    let is_in = match (until, place.grain.is_window()) {
        (Some(until), _) if *joined == Joined::Overlap => {
            let (start, end) = place.bounds();
            overlap::overlaps(&text(&place.tenant), (time, until), (&start, &end))
        }
        (Some(until), _) => {
            let (_, end) = place.bounds();
            let (came, went) = (micros(time), micros(until));
            format!("{came} < {end} AND (\"{until}\" IS NULL OR {went} >= {end})")
        }
        (None, true) => format!("{start} IS NOT NULL"),
        (None, false) => format!("{start} = to_timestamp_micros({})", place.start.0),
    };
    let mut conditions = vec![format!("\"{time}\" IS NOT NULL"), format!("({counted})"), is_in];
    conditions.push(format!("{tenant} = {}", text(&place.tenant)));
    for (name, value) in &place.dims {
        let Some(column) = dims.get(name) else { continue };
        conditions.push(match value.is_empty() {
            true => format!("(\"{column}\" IS NULL OR \"{column}\" = '')"),
            false => format!("\"{column}\" = {}", text(value)),
        });
    }
    if part.is_view {
        // An outermost SELECT has aggregates of some of its rows beside those of others.
        conditions.extend(match aggregate {
            Aggregate::Count => None,
            Aggregate::Sum(_) | Aggregate::Allocated(_) => {
                Some(format!("{} <> 0", part.amount(place)))
            }
            _ => Some(format!("({argument}) IS NOT NULL")),
        });
    }
    conditions
}

/// The SQL that lists the rows of a part, over the table `silver_<contract>`.
fn rows_sql(
    catalog: &Catalog,
    contract: &Contract,
    part: &Part,
    place: &Place,
    most: Option<usize>,
) -> String {
    let Some(relation) = catalog.relation(&part.flow.relation) else { return String::new() };
    let mut columns = columns(part, place);
    for (at, column) in contract.key.iter().filter_map(|at| contract.columns.get(*at)).enumerate() {
        columns.push(format!("arrow_cast(\"{}\", 'Utf8') AS \"key_{at}\"", column.name));
    }
    for name in ["origin", "position", "doubt"] {
        columns.push(format!("arrow_cast(\"_{name}\", 'Utf8') AS \"row_{name}\""));
    }
    columns.push("\"_epoch\" AS \"row_epoch\"".to_owned());
    let keys: Vec<String> = (0..contract.key.len()).map(|at| format!("\"key_{at}\"")).collect();
    let limit = most.map(|most| format!(" LIMIT {most}")).unwrap_or_default();
    format!(
        "SELECT {} FROM \"{}\" WHERE {} ORDER BY {}, \"row_origin\"{limit}",
        columns.join(", "),
        relation.rows_table(),
        conditions(catalog, relation, part, place).join(" AND "),
        keys.join(", "),
    )
}

/// Prepares a session for the rows of parts: [`super::prepared`], and knowing their views. It has the tables
/// `silver_<contract>` of the contracts of all of them.
///
/// # Errors
/// When a zone of a tenant cannot be read, or a view is refused.
pub async fn ready(
    context: &SessionContext,
    catalog: &Catalog,
    parts: &[Part],
    at: Micros,
) -> Result<(), AuditError> {
    super::prepared(context, catalog, at).await?;
    let views = parts.iter().filter(|part| part.is_view).map(|part| part.contract.clone());
    let needed: BTreeSet<String> = group::under(catalog, views.collect());
    for sql in sql::views_for(catalog, &needed) {
        compare::rows(context, "a view", &sql).await?;
    }
    Ok(())
}

/// The rows that feed a part of some cells, in the order of their keys, or some so many of them, and how many were
/// read for that. `context` is [`ready`].
///
/// # Errors
/// When the query cannot be run.
pub async fn feeding(
    context: &SessionContext,
    catalog: &Catalog,
    contracts: &BTreeMap<&str, &Contract>,
    (part, place): (&Part, &Place),
    bounds: Bounds,
) -> Result<(Vec<Feeding>, usize), AuditError> {
    if part.is_view {
        return made::feeding(context, catalog, contracts, (part, place), bounds).await;
    }
    let Some(contract) = contracts.get(part.contract.as_str()) else { return Ok((vec![], 0)) };
    let sql = rows_sql(catalog, contract, part, place, bounds.rows);
    let mut found = Vec::new();
    for batch in compare::rows(context, &part.kpi, &sql).await? {
        let column = |name: &str| texts(&batch, &part.kpi, name);
        let brought = Brought::of(&batch, part)?;
        let keys = (0..contract.key.len()).map(|at| column(&format!("key_{at}")));
        let keys: Vec<StringArray> = keys.collect::<Result<_, AuditError>>()?;
        let [origin, position, doubt] = ["row_origin", "row_position", "row_doubt"].map(column);
        let (origin, position, doubt) = (origin?, position?, doubt?);
        let epochs = batch.column_by_name("row_epoch");
        let epochs = epochs.and_then(|column| column.as_primitive_opt::<Int64Type>());
        let epochs = epochs.ok_or_else(|| shape(&part.kpi, "row_epoch"))?;
        found.extend((0..batch.num_rows()).map(|row| Feeding {
            dims: brought.dims(row),
            key: keys.iter().map(|column| some(column, row).unwrap_or_default()).collect(),
            origin: some(&origin, row).unwrap_or_default(),
            position: some(&position, row).unwrap_or_default(),
            epoch: epochs.value(row),
            doubt: some(&doubt, row),
            amount: brought.amount(row),
            ..Feeding::default()
        }));
    }
    let read = found.len();
    Ok((found, read))
}

/// What [`columns`] asked for.
struct Brought<'p> {
    dims: Vec<(&'p String, StringArray)>,
    amount: StringArray,
    currency: Option<StringArray>,
}

impl<'p> Brought<'p> {
    fn of(batch: &RecordBatch, part: &'p Part) -> Result<Brought<'p>, AuditError> {
        let column = |name: &str| texts(batch, &part.kpi, name);
        let dims = part.flow.dims.keys().map(|name| Ok((name, column(&format!("dim_{name}"))?)));
        let dims = dims.collect::<Result<_, AuditError>>()?;
        let currency = part.currency.as_ref().map(|_| column("row_currency")).transpose()?;
        Ok(Brought { dims, amount: column("row_amount")?, currency })
    }

    fn dims(&self, row: usize) -> String {
        compare::canonical_json(&self.dims, row)
    }

    fn amount(&self, row: usize) -> Option<String> {
        let amount = some(&self.amount, row)?;
        Some(match &self.currency {
            Some(currency) => money(&amount, some(currency, row)),
            None => amount,
        })
    }
}

fn some(column: &StringArray, row: usize) -> Option<String> {
    column.is_valid(row).then(|| column.value(row).to_owned())
}

/// An amount with its currency.
fn money(amount: &str, currency: Option<String>) -> String {
    let scale = decimal::VALUE_SCALE;
    let number = decimal::parse(amount.as_bytes(), scale);
    let number = number.map_or_else(|| amount.to_owned(), |own| decimal::format(own, scale));
    format!("{number} {}", currency.as_deref().unwrap_or("of no currency"))
}

fn texts(batch: &RecordBatch, what: &str, name: &str) -> Result<StringArray, AuditError> {
    let found = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
    found.cloned().ok_or_else(|| shape(what, name))
}

fn shape(what: &str, column: &str) -> AuditError {
    AuditError::Shape { what: what.to_owned(), column: column.to_owned() }
}
