//! The audit: every KPI recomputed with SQL over silver and compared with what the engine wrote.
//!
//! The SQL text is made from the definitions alone and run by DataFusion: filters are parsed,
//! planned and evaluated there, periods are cut by SQL arithmetic, or, where they are not those of UTC, by
//! [`Clocks`]; sums are DataFusion's in 256 bits. A
//! quotient is checked by multiplying back in 256 bits. Nothing here calls the engine.
//!
//! # Guarantees
//! - A cell that is missing, too many, doubled or wrong in value, parts or status is a mismatch.
//! - Comparisons are exact. A sum beyond `decimal(38,10)` must be an `error` cell.
//!
//! # Non-guarantees
//! - Which epoch changed a cell last is not checked.

mod casts;
mod clocks;
mod compare;
mod converted;
pub mod explain;
pub mod group;
mod judge;
mod lists;
mod overlap;
mod sql;
mod stock;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::execution::{FunctionRegistry, SessionStateBuilder};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, TypePlanner};
use datafusion::logical_expr::{Expr, ExprSchemable, cast};
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{BinaryOperator, DataType as SqlType, TimezoneInfo};
use schemas::{Grain, Micros, chain};

use crate::catalog::Catalog;
use crate::definition::Definition;
pub use clocks::Clocks;
use compare::{Cell, Held};
use judge::{Judge, Verdict};
pub use sql::recompute_sql;
pub use tables::{ViewFinding, audit_views, registered};

/// How many mismatches of a KPI and grain are spelled out.
pub const EXAMPLES_MAX: usize = 5;

/// What the audit of one KPI at one grain found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditFinding {
    /// The KPI.
    pub kpi: String,
    /// The grain.
    pub grain: Grain,
    /// How many cells the recompute has.
    pub cells: usize,
    /// How many cells differ, one way or the other.
    pub mismatches: usize,
    /// The first of them in words.
    pub examples: Vec<String>,
    /// How many cells of a view SQL knows nothing of, because a value was never sent.
    pub doubted: usize,
}

/// Why an audit could not be done.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// DataFusion could not run the SQL.
    #[error("audit of {what} failed: {source}")]
    Query {
        /// The KPI, or the table.
        what: String,
        /// What DataFusion said.
        source: Box<DataFusionError>,
    },
    /// A zone of a tenant cannot be read.
    #[error("the audit cannot read the zones of tenants: {0}")]
    Zones(String),
    /// A result does not have the shape that the SQL asks for.
    #[error("audit of {what} failed: column `{column}` has an unexpected type")]
    Shape {
        /// The KPI, or the table.
        what: String,
        /// The column.
        column: String,
    },
}

/// Rules of DataFusion's optimizer with which a query over no rows has a row, and sums are of another type.
const WRONG_RULES: [&str; 2] =
    ["eliminate_group_by_constant", "single_distinct_aggregation_to_group_by"];

/// A session in which views can be asked: SQL is read as they are, and nothing is left of rules that make it
/// mean something else.
pub fn session() -> SessionContext {
    tuned(SessionContext::new())
}

fn tuned(context: SessionContext) -> SessionContext {
    let types = Arc::new(MicrosecondTypes);
    let state = SessionStateBuilder::new_from_existing(context.state()).with_type_planner(types);
    let mut context = SessionContext::new_with_state(state.build());
    for rule in WRONG_RULES {
        // One that is gone does no harm.
        let _removed = context.remove_optimizer_rule(rule);
    }
    for percentile in views::percentile::percentiles() {
        context.register_udaf(percentile.as_ref().clone());
    }
    let _registered = context.register_expr_planner(Arc::new(MicrosecondTypes));
    // A session without registered functions takes these all the same.
    let _registered = context.register_function_rewrite(Arc::new(lists::Compared));
    let _registered = context.register_function_rewrite(Arc::new(casts::Opaque));
    for planner in expr::planners(true) {
        let _registered = context.register_expr_planner(planner);
    }
    context
}

/// SQL's types as the columns of the lake have them: DataFusion's timestamps are of nanoseconds, which end in 2262, where
/// `9999-12-31` often means for ever.
#[derive(Debug)]
struct MicrosecondTypes;

impl TypePlanner for MicrosecondTypes {
    fn plan_type_field(&self, of: &SqlType) -> Result<Option<FieldRef>, DataFusionError> {
        let SqlType::Timestamp(None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) = of
        else {
            return Ok(None);
        };
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        Ok(Some(Arc::new(Field::new("", micros, true))))
    }
}

impl ExprPlanner for MicrosecondTypes {
    /// Has a text that a time is compared with be a time of microseconds, too.
    fn plan_binary_op(
        &self,
        compared: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>, DataFusionError> {
        use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
        if !matches!(compared.op, Eq | NotEq | Lt | LtEq | Gt | GtEq) {
            return Ok(PlannerResult::Original(compared));
        }
        let RawBinaryExpr { op, left, right } = compared;
        let of = |side: &Expr| side.get_type(schema).ok();
        let like = |text: Expr, other: Option<DataType>| match (&text, other) {
            (
                Expr::Literal(ScalarValue::Utf8(Some(_)), _),
                Some(time @ DataType::Timestamp(TimeUnit::Microsecond, _)),
            ) => cast(text, time),
            _ => text,
        };
        let (of_left, of_right) = (of(&left), of(&right));
        let (left, right) = (like(left, of_right), like(right, of_left));
        Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }))
    }
}

/// Prepares a session for the SQL of a catalog's KPIs, as of an instant.
///
/// # Errors
/// When a zone of a tenant cannot be read.
pub async fn prepared(
    context: &SessionContext,
    catalog: &Catalog,
    at: Micros,
) -> Result<(), AuditError> {
    // Literals such as 0.1 must stay exact.
    let exact = "SET datafusion.sql_parser.parse_float_as_decimal = true";
    compare::rows(context, "settings", exact).await?;
    let clocks = Clocks::of(catalog.calendar()).map_err(AuditError::Zones)?.at(at);
    let clocks = Arc::new(clocks);
    let functions = clocks.functions().into_iter().chain(clocks.overlap_functions());
    functions.for_each(|function| context.register_udf(function));
    Ok(())
}

/// Recomputes every KPI from the tables `silver_<contract>` and compares with the table
/// `kpi_current`, all of which `context` must have registered, at the instant `at`: up to it periods have begun, and
/// windows are those of it. One finding per KPI and grain or window; KPIs that only the table knows are mismatches
/// too. A KPI whose query cannot be run is a finding as well.
///
/// # Errors
/// When the tables cannot be read.
pub async fn audit(
    context: &SessionContext,
    catalog: &Catalog,
    at: Micros,
) -> Result<Vec<AuditFinding>, AuditError> {
    prepared(context, catalog, at).await?;
    for sql in sql::views(catalog) {
        compare::rows(context, "a view", &sql).await?;
    }
    let mut held = compare::held(context, None).await?;
    let mut findings = Vec::new();
    for definition in catalog.definitions() {
        let judge = Judge::of(context, catalog, definition).await?;
        for grain in definition.grains.iter().chain(catalog.windows(definition).iter()) {
            let expected = compare::expected(context, catalog, definition, grain, None).await;
            let held = held.remove(&(definition.key.to_string(), grain)).unwrap_or_default();
            let expected = match expected {
                Ok(expected) => expected,
                // The others are looked at all the same.
                Err(error) => {
                    findings.push(uncomputed(definition, grain, &error));
                    continue;
                }
            };
            findings.push(finding(definition, &judge, grain, &expected, &held));
        }
    }
    for ((kpi, grain), cells) in held {
        let examples = vec!["no definition names the KPI and this grain".to_owned()];
        let mismatches = cells.values().map(Vec::len).sum();
        findings.push(AuditFinding { kpi, grain, cells: 0, mismatches, examples, doubted: 0 });
    }
    Ok(findings)
}

/// What is said of a KPI whose SQL cannot be run.
fn uncomputed(definition: &Definition, grain: Grain, error: &AuditError) -> AuditFinding {
    let examples = vec![format!("it cannot be computed again: {}", chain(error))];
    let kpi = definition.key.to_string();
    AuditFinding { kpi, grain, cells: 0, mismatches: 1, examples, doubted: 0 }
}

fn finding(
    definition: &Definition,
    judge: &Judge,
    grain: Grain,
    expected: &BTreeMap<Cell, compare::Expected>,
    held: &BTreeMap<Cell, Vec<Held>>,
) -> AuditFinding {
    let cells: BTreeSet<&Cell> = expected.keys().chain(held.keys()).collect();
    let (mut mismatches, mut examples, mut doubted) = (0, Vec::new(), 0);
    for cell in cells {
        let rows = held.get(cell).map_or(&[][..], Vec::as_slice);
        match judge.judge(expected.get(cell), rows) {
            Verdict::Right => {}
            Verdict::Doubted => doubted += 1,
            Verdict::Wrong(problem) => {
                mismatches += 1;
                if examples.len() < EXAMPLES_MAX {
                    examples.push(format!("{cell}: {problem}"));
                }
            }
        }
    }
    AuditFinding {
        kpi: definition.key.to_string(),
        grain,
        cells: expected.len(),
        mismatches,
        examples,
        doubted,
    }
}

#[cfg(test)]
mod tests;
