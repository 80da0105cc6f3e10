//! The same questions asked anew, of all rows: DataFusion over tables in memory, on this thread alone.
//!
//! # Guarantees
//! - What DataFusion says is held against what was kept up to date: figures of wrong answers are no figures.

use std::sync::Arc;

use arrow::array::{RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use gold::{Catalog, Engine};
use schemas::{Micros, RowRef};
use tokio::runtime::{Builder, Runtime};

use crate::failure::Failure;
use crate::four_views::{FourViews, lines_of};
use crate::mix::Mix;
use crate::process::{Spent, spent};

/// The columns of silver with what was never sent or could not be read, of which there is nothing here.
const DOUBTS: [&str; 2] = ["_unknown", "_doubt"];
/// Rows of a batch, as DataFusion reads files.
const BATCH: usize = 8_192;

/// What DataFusion took, and over what.
#[derive(Debug, Clone, Copy)]
pub struct Recomputed {
    /// All questions.
    pub spent: Spent,
    /// The cells or rows that it gave.
    pub answers: usize,
}

/// Asks each view's SQL.
///
/// # Errors
/// When it cannot be asked, and when the answer is another one.
pub fn views(mix: &Mix, views: &FourViews) -> Result<Recomputed, Failure> {
    let runtime = runtime()?;
    let context = context(mix, "", &runtime)?;
    let mut all = Recomputed { spent: Spent::default(), answers: 0 };
    for (number, (name, sql)) in views.questions().enumerate() {
        let answer = || runtime.block_on(async { context.sql(sql).await?.collect().await });
        let (answer, took) = spent(answer)?;
        let answer = lines_of(&answer.map_err(broken)?)?;
        if answer != views.lines(number)? {
            return Err(Failure::Worthless(format!("{name} is not what DataFusion says")));
        }
        all.spent.add(took);
        all.answers += answer.len();
    }
    Ok(all)
}

/// Asks every KPI at every grain, and compares all cells.
///
/// # Errors
/// When it cannot be asked, and when a cell is another one.
pub fn kpis(
    mix: &Mix,
    catalog: &Catalog,
    engine: &Engine,
    at: Micros,
) -> Result<Recomputed, Failure> {
    let runtime = runtime()?;
    let context = context(mix, "silver_", &runtime)?;
    let current = gold::table::current_batch(&engine.snapshot())?;
    context.register_batch("kpi_current", current).map_err(broken)?;
    let (findings, spent) = spent(|| runtime.block_on(gold::audit::audit(&context, catalog, at)))?;
    let findings = findings.map_err(|error| Failure::Worthless(error.to_string()))?;
    if let Some(bad) = findings.iter().find(|finding| finding.mismatches > 0) {
        return Err(Failure::Worthless(format!("the audit found {bad:?}")));
    }
    let answers = findings.iter().map(|finding| finding.cells).sum();
    Ok(Recomputed { spent, answers })
}

fn runtime() -> Result<Runtime, Failure> {
    let failed = Failure::io("start", std::path::Path::new("a runtime"));
    Builder::new_current_thread().enable_all().build().map_err(failed)
}

/// A session with the tables under their names behind a prefix.
fn context(mix: &Mix, prefix: &str, runtime: &Runtime) -> Result<SessionContext, Failure> {
    let context = gold::audit::session();
    let alone = "SET datafusion.execution.target_partitions = 1";
    let set = async { context.sql(alone).await?.collect().await };
    runtime.block_on(set).map_err(broken)?;
    for (table, contract) in mix.contracts().iter().enumerate() {
        let mut fields = rows::fields(&contract.columns);
        fields.extend(DOUBTS.map(|name| rows::field(name, DataType::Utf8, true)));
        let schema = Arc::new(Schema::new(fields));
        let table = MemTable::try_new(Arc::clone(&schema), vec![batches(mix, table, &schema)?]);
        let name = format!("{prefix}{}", contract.name);
        context.register_table(name, Arc::new(table.map_err(broken)?)).map_err(broken)?;
    }
    Ok(context)
}

fn batches(mix: &Mix, table: usize, schema: &SchemaRef) -> Result<Vec<RecordBatch>, Failure> {
    let Some(contract) = mix.contracts().get(table) else { return Ok(Vec::new()) };
    let all: Vec<_> = mix.table(table).collect();
    let batch = |part: &[RowRef<'_>]| {
        let mut columns = rows::arrays(&contract.columns, part.iter().copied())?;
        columns.extend(DOUBTS.map(|_| new_null_array(&DataType::Utf8, part.len())));
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    };
    all.chunks(BATCH).map(batch).collect()
}

fn broken(error: DataFusionError) -> Failure {
    Failure::Worthless(format!("DataFusion: {error}"))
}
