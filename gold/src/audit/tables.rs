//! The tables of views against the views' own SQL over silver.
//!
//! # Guarantees
//! - A row that is missing, too many, or there another number of times is a mismatch. Comparisons are exact.
//! - DataFusion groups and aggregates; of a view with a period over the starts of its periods, which come from
//!   SQL arithmetic or from [`super::Clocks`]. Nothing here calls the engine.

use arrow::array::{Int64Array, RecordBatch};
use arrow::util::display::array_value_to_string;
use datafusion::prelude::SessionContext;
use schemas::contract::DEFAULT_TENANT;
use schemas::{ColumnType, Grain, Micros, RowSchema};
use views::{Role, View};

use super::sql::{end_of, micros, start_of};
use super::{AuditError, EXAMPLES_MAX, compare, prepared, sql};
use crate::catalog::Catalog;
use crate::view_table;

/// What the audit of the table of one view found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewFinding {
    /// The view.
    pub view: String,
    /// How many rows its table has.
    pub rows: usize,
    /// How many rows are missing or too many.
    pub mismatches: usize,
    /// The first of them in words.
    pub examples: Vec<String>,
    /// Rows of the tables that it reads with a value that was never sent, of which SQL does not know.
    pub unknown: usize,
}

/// The name under which the table of a view is registered.
pub fn registered(view: &View) -> String {
    format!("table_{}", view.name())
}

/// Compares the tables `table_<view>` of those views of a catalog that `is_asked`, which `context` must have
/// registered, with the views' SELECTs over the tables `silver_<contract>`.
///
/// # Errors
/// When a query cannot be run.
pub async fn audit_views(
    context: &SessionContext,
    catalog: &Catalog,
    at: Micros,
    is_asked: &dyn Fn(&View) -> bool,
) -> Result<Vec<ViewFinding>, AuditError> {
    prepared(context, catalog, at).await?;
    for sql in sql::views(catalog) {
        compare::rows(context, "a view", &sql).await?;
    }
    let mut findings = Vec::new();
    for view in catalog.tabled().filter(|view| is_asked(view)) {
        let Ok(columns) = view_table::columns(view) else { continue };
        findings.push(one(context, catalog, view, &columns).await?);
    }
    Ok(findings)
}

async fn one(
    context: &SessionContext,
    catalog: &Catalog,
    view: &View,
    columns: &RowSchema,
) -> Result<ViewFinding, AuditError> {
    let expected = match period_of_rows(view) {
        None => normal_sql(columns, &format!("\"{}\"", view.name())),
        Some(time) => {
            let mut parts = Vec::new();
            for grain in Grain::ALL {
                let (rows, sql) = rows_of_periods(catalog, view, &time, grain);
                compare::rows(context, view.name(), &sql).await?;
                parts.push(by_period(catalog, (view, columns), &rows, grain));
            }
            parts.join(" UNION ALL ")
        }
    };
    let table = registered(view);
    let held = normal_sql(columns, &format!("\"{table}\""));
    let names: Vec<String> = columns.iter().map(|own| format!("\"{}\"", own.name)).collect();
    let names = names.join(", ");
    let differing = format!(
        "SELECT {names}, CAST(SUM(\"the side\") AS BIGINT) AS \"the sum\" FROM (\
         SELECT {names}, 1 AS \"the side\" FROM ({expected}) AS expected UNION ALL \
         SELECT {names}, -1 AS \"the side\" FROM ({held}) AS held) AS sides \
         GROUP BY {names} HAVING SUM(\"the side\") <> 0"
    );
    let mut finding = ViewFinding {
        view: view.name().to_owned(),
        rows: count(context, view.name(), &format!("\"{table}\"")).await?,
        mismatches: 0,
        examples: Vec::new(),
        unknown: 0,
    };
    for batch in compare::rows(context, view.name(), &differing).await? {
        note(&mut finding, &batch, columns)?;
    }
    let relation = catalog.relation(view.name());
    for contract in relation.iter().flat_map(|own| &own.contracts) {
        let Some(contract) = catalog.relations().get(*contract) else { continue };
        finding.unknown += unsent(context, &contract.name).await?;
    }
    Ok(finding)
}

/// Rows that differ, in words.
fn note(
    finding: &mut ViewFinding,
    batch: &RecordBatch,
    columns: &RowSchema,
) -> Result<(), AuditError> {
    let sides =
        batch.columns().last().and_then(|array| array.as_any().downcast_ref::<Int64Array>());
    let wrong =
        |column: &str| AuditError::Shape { what: finding.view.clone(), column: column.to_owned() };
    let sides = sides.ok_or_else(|| wrong("the side"))?;
    let mut examples = Vec::new();
    let mut mismatches = 0;
    for (row, side) in sides.values().iter().enumerate() {
        mismatches += usize::try_from(side.unsigned_abs()).unwrap_or(usize::MAX);
        if finding.examples.len() + examples.len() >= EXAMPLES_MAX {
            continue;
        }
        let mut told = Vec::new();
        for (column, array) in columns.iter().zip(batch.columns()) {
            let text = array_value_to_string(array, row).map_err(|_| wrong(&column.name))?;
            told.push(format!("{} {text}", column.name));
        }
        let (times, what) = (side.unsigned_abs(), if *side > 0 { "missing" } else { "too many" });
        examples.push(format!("{times} {what}: {}", told.join(", ")));
    }
    finding.mismatches += mismatches;
    finding.examples.extend(examples);
    Ok(())
}

/// How many rows of a contract have a value that was never sent.
pub(super) async fn unsent(context: &SessionContext, contract: &str) -> Result<usize, AuditError> {
    let name = format!("silver_{contract}");
    let failed = |source| AuditError::Query { what: name.clone(), source: Box::new(source) };
    let table = context.table(&name).await.map_err(failed)?;
    if !table.schema().has_column_with_unqualified_name("_unknown") {
        return Ok(0);
    }
    let rows = format!("\"{name}\" WHERE \"_unknown\" IS NOT NULL");
    count(context, contract, &rows).await
}

async fn count(context: &SessionContext, what: &str, rows: &str) -> Result<usize, AuditError> {
    let sql = format!("SELECT CAST(COUNT(*) AS BIGINT) AS n FROM {rows}");
    let batches = compare::rows(context, what, &sql).await?;
    let number = batches.iter().filter(|batch| batch.num_rows() > 0).find_map(|batch| {
        batch.column(0).as_any().downcast_ref::<Int64Array>().map(|numbers| numbers.value(0))
    });
    Ok(number.and_then(|number| usize::try_from(number).ok()).unwrap_or(0))
}

/// The column of a view's rows with the instant that its period is of.
fn period_of_rows(view: &View) -> Option<String> {
    let at = view.columns().iter().find_map(|column| match column.role {
        Role::Period(at) => Some(at),
        _ => None,
    })?;
    view.rows_schema().get(at).map(|column| column.name.clone())
}

/// Whose a row is: the value of its column, or the default one.
fn tenant(column: Option<&str>) -> String {
    column.map_or_else(
        || format!("'{DEFAULT_TENANT}'"),
        |column| format!("COALESCE(NULLIF(\"{column}\", ''), '{DEFAULT_TENANT}')"),
    )
}

/// The relation of a view's rows with the starts of their periods in the place of their instants, and the SQL
/// that makes it.
fn rows_of_periods(catalog: &Catalog, view: &View, time: &str, grain: Grain) -> (String, String) {
    let of_tenant = view.columns().iter().find_map(|column| match column.role {
        Role::Tenant(at) => view.rows_schema().get(at),
        _ => None,
    });
    let tenant = tenant(of_tenant.map(|column| column.name.as_str()));
    let start = start_of(catalog.calendar(), &tenant, time, grain);
    let columns = view.rows_schema().iter().map(|column| match column.name == time {
        true => format!("{start} AS \"{time}\""),
        false => format!("\"{}\"", column.name),
    });
    let columns = columns.collect::<Vec<_>>().join(", ");
    let name = format!("rows of {} by {grain}", view.name());
    let sql = format!(
        "CREATE VIEW \"{name}\" AS SELECT {columns} FROM \"rows_{}\" WHERE \"{time}\" IS NOT NULL",
        view.name()
    );
    (name, sql)
}

/// What a view with a period holds at one grain, over rows whose instants are the starts of their periods.
fn by_period(
    catalog: &Catalog,
    (view, columns): (&View, &RowSchema),
    rows: &str,
    grain: Grain,
) -> String {
    let of_tenant = view.tenant().and_then(|at| view.columns().get(at));
    let tenant = tenant(of_tenant.map(|column| column.name.as_str()));
    let end = end_of(catalog.calendar(), &tenant, "\"period\"", grain);
    let inner = format!(
        "(SELECT *, '{grain}' AS grain, \"period\" AS period_start, {end} AS period_end \
         FROM ({}) AS grouped) AS told",
        view.sql_above(rows)
    );
    normal_sql(columns, &inner)
}

/// The columns of a table, each as its type, from something of the same columns.
fn normal_sql(columns: &RowSchema, from: &str) -> String {
    let columns = columns.iter().map(|column| {
        let name = &column.name;
        let value = match column.kind {
            ColumnType::Timestamp => micros(name),
            ColumnType::Text | ColumnType::Json => format!("CAST(\"{name}\" AS VARCHAR)"),
            ColumnType::Bigint => format!("CAST(\"{name}\" AS BIGINT)"),
            ColumnType::Double => format!("CAST(\"{name}\" AS DOUBLE)"),
            ColumnType::Boolean => format!("CAST(\"{name}\" AS BOOLEAN)"),
            ColumnType::Date => format!("CAST(\"{name}\" AS DATE)"),
            ColumnType::Decimal { precision, scale } => {
                format!("CAST(\"{name}\" AS DECIMAL({precision},{scale}))")
            }
        };
        format!("{value} AS \"{name}\"")
    });
    format!("SELECT {} FROM {from}", columns.collect::<Vec<_>>().join(", "))
}
