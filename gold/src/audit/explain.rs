//! Which rows a cell comes from: those that its recomputation counts, one by one.
//!
//! # Guarantees
//! - The conditions are those of the SQL that recomputes the KPI: what is counted there is told here, and nothing else.
//!
//! # Non-guarantees
//! - KPIs over views have no rows of one contract, and are refused.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;
use schemas::{Contract, Grain, Micros, decimal};

use super::sql::{NUMBER, start_of, tenant_of, totalled};
use super::{AuditError, compare};
use crate::catalog::{CURRENCY, Catalog};
use crate::definition::{Aggregate, Definition, Formula};
use crate::flow::Flow;

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

/// A part of a KPI: an aggregate of a contract's rows.
#[derive(Debug, Clone)]
pub struct Part {
    /// The KPI that it is.
    pub kpi: String,
    /// Where it stands.
    pub role: Role,
    /// Whether it is taken away.
    pub minus: bool,
    /// The contract of its rows.
    pub contract: String,
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
            && matches!(self.flow.aggregate, Aggregate::Count | Aggregate::Sum(_))
    }
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

/// A row that feeds a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
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
}

/// The parts of a KPI.
///
/// # Errors
/// Why its cells come from no rows of contracts.
pub fn parts(catalog: &Catalog, definition: &Definition) -> Result<Vec<Part>, String> {
    let computed = catalog.computed(definition).map_err(|error| error.to_string())?;
    let view = |flow: &&Flow| catalog.relation(&flow.relation).is_none_or(|own| own.view.is_some());
    if let Some(flow) = computed.flows().find(view) {
        return Err(format!(
            "KPI `{}` is over the view `{}`, and only cells over rows of contracts can be led back to them; \
             `weir kpis show {0}` prints the SQL that recomputes it",
            definition.key, flow.relation
        ));
    }
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

fn word(aggregate: &Aggregate) -> &'static str {
    match aggregate {
        Aggregate::Count => "count",
        Aggregate::Sum(_) => "sum",
        Aggregate::Distinct(_) => "distinct",
        Aggregate::Min(_) => "min",
        Aggregate::Max(_) => "max",
        Aggregate::Percentile { .. } => "percentile",
    }
}

fn text(sql: &str) -> String {
    format!("'{}'", sql.replace('\'', "''"))
}

/// The SQL that lists the rows of a part, over the table `silver_<contract>`.
fn rows_sql(
    catalog: &Catalog,
    contract: &Contract,
    part: &Part,
    place: &Place,
    most: Option<usize>,
) -> String {
    let Flow { relation: name, filter, time, aggregate, dims, .. } = &part.flow;
    let Some(relation) = catalog.relation(name) else { return String::new() };
    let tenant = tenant_of(relation);
    let mut columns = Vec::new();
    for (name, column) in dims {
        columns.push(format!("arrow_cast(\"{column}\", 'Utf8') AS \"dim_{name}\""));
    }
    for (at, column) in contract.key.iter().filter_map(|at| contract.columns.get(*at)).enumerate() {
        columns.push(format!("arrow_cast(\"{}\", 'Utf8') AS \"key_{at}\"", column.name));
    }
    for name in ["origin", "position", "doubt"] {
        columns.push(format!("arrow_cast(\"_{name}\", 'Utf8') AS \"row_{name}\""));
    }
    columns.push("\"_epoch\" AS \"row_epoch\"".to_owned());
    let (counted, argument, _) = totalled(aggregate, filter.as_deref());
    let amount = match aggregate {
        Aggregate::Count | Aggregate::Sum(_) => format!("CAST({argument} AS {NUMBER})"),
        _ => argument.to_owned(),
    };
    columns.push(format!("arrow_cast({amount}, 'Utf8') AS \"row_amount\""));
    let currency = part.currency.as_ref();
    let currency = currency.map_or("NULL".to_owned(), |column| format!("\"{column}\""));
    columns.push(format!("arrow_cast({currency}, 'Utf8') AS \"row_currency\""));
    let start = start_of(catalog.calendar(), &tenant, time, place.grain);
    let is_in = match place.grain.is_window() {
        true => format!("{start} IS NOT NULL"),
        false => format!("{start} = to_timestamp_micros({})", place.start.0),
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
    let keys: Vec<String> = (0..contract.key.len()).map(|at| format!("\"key_{at}\"")).collect();
    let limit = most.map(|most| format!(" LIMIT {most}")).unwrap_or_default();
    format!(
        "SELECT {} FROM \"{}\" WHERE {} ORDER BY {}, \"row_origin\"{limit}",
        columns.join(", "),
        relation.rows_table(),
        conditions.join(" AND "),
        keys.join(", "),
    )
}

/// The rows that feed a part of some cells, in the order of their keys, or the first so many of them. `context` is [`super::prepared`] and has the table
/// `silver_<contract>`.
///
/// # Errors
/// When the query cannot be run.
pub async fn feeding(
    context: &SessionContext,
    catalog: &Catalog,
    contract: &Contract,
    part: &Part,
    place: &Place,
    most: Option<usize>,
) -> Result<Vec<Feeding>, AuditError> {
    let sql = rows_sql(catalog, contract, part, place, most);
    let mut found = Vec::new();
    for batch in compare::rows(context, &part.kpi, &sql).await? {
        let column = |name: &str| texts(&batch, &part.kpi, name);
        let dims: Vec<(&String, StringArray)> = part
            .flow
            .dims
            .keys()
            .map(|name| Ok((name, column(&format!("dim_{name}"))?)))
            .collect::<Result<_, AuditError>>()?;
        let keys = (0..contract.key.len()).map(|at| column(&format!("key_{at}")));
        let keys: Vec<StringArray> = keys.collect::<Result<_, AuditError>>()?;
        let own =
            ["row_origin", "row_position", "row_doubt", "row_amount", "row_currency"].map(column);
        let [origin, position, doubt, amount, currency] = own;
        let (origin, position, doubt, amount) = (origin?, position?, doubt?, amount?);
        let currency = currency?;
        let epochs = batch.column_by_name("row_epoch");
        let epochs = epochs.and_then(|column| column.as_primitive_opt::<Int64Type>());
        let epochs = epochs.ok_or_else(|| shape(&part.kpi, "row_epoch"))?;
        let some =
            |column: &StringArray, row| column.is_valid(row).then(|| column.value(row).to_owned());
        found.extend((0..batch.num_rows()).map(|row| Feeding {
            dims: compare::canonical_json(&dims, row),
            key: keys.iter().map(|column| some(column, row).unwrap_or_default()).collect(),
            origin: some(&origin, row).unwrap_or_default(),
            position: some(&position, row).unwrap_or_default(),
            epoch: epochs.value(row),
            doubt: some(&doubt, row),
            amount: match part.currency {
                Some(_) => some(&amount, row).map(|own| money(&own, some(&currency, row))),
                None => some(&amount, row),
            },
        }));
    }
    Ok(found)
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
