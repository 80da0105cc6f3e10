//! The cells of some KPIs as a lake holds them, as of its newest flush.
//!
//! # Guarantees
//! - Nothing is written: it works beside a running Weir, and on a copy of a lake.

use arrow::array::RecordBatch;
use lake::{At, Lake, LakeError, Table};
use pipeline::bronze::{CLOCK, EPOCH};
use schemas::{CellKey, CellValue, EpochId, Grain, Micros, chain};

use crate::past::cell;
use crate::tables::CURRENT;

/// Cells that are asked for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Of these KPIs.
    pub kpis: Vec<String>,
    /// Of this tenant; `None`: of all.
    pub tenant: Option<String>,
    /// Of these grains.
    pub grains: Vec<Grain>,
}

/// Cells, and what they are of.
#[derive(Debug, Default)]
pub struct LakeCells {
    /// Their epoch and its clock; `None` before the first barrier.
    pub as_of: Option<(EpochId, Micros)>,
    /// By key.
    pub cells: Vec<(CellKey, CellValue)>,
}

/// Reads them.
///
/// # Errors
/// When the table of current values cannot be read.
pub fn current(lake: &Lake, asked: &Asked) -> Result<LakeCells, String> {
    let table = match Table::open(lake, CURRENT, At::Newest) {
        Err(LakeError::NoTable { .. }) => return Ok(LakeCells::default()),
        table => table.map_err(|e| chain(&e))?,
    };
    let epoch = table.progress(EPOCH).and_then(|epoch| EpochId::try_from(epoch).ok());
    let as_of = epoch.zip(table.progress(CLOCK).map(Micros));
    let context = gold::audit::session();
    lake::query::register(&context, "kpi_current", &table).map_err(|e| chain(&e))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("could not start the runtime: {e}"))?;
    let sql = sql(asked);
    let batches = runtime.block_on(async { context.sql(&sql).await?.collect().await });
    let batches: Vec<RecordBatch> = batches.map_err(|e| chain(&e))?;
    let mut cells = Vec::new();
    for batch in &batches {
        let wrong = || "kpi_current has columns of other types than weir writes".to_owned();
        let rows = (0..batch.num_rows()).map(|row| cell(batch, row).ok_or_else(wrong));
        cells.extend(rows.collect::<Result<Vec<_>, String>>()?);
    }
    cells.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(LakeCells { as_of, cells })
}

fn sql(asked: &Asked) -> String {
    let text = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let list = |texts: Vec<String>| match texts.is_empty() {
        true => "(NULL)".to_owned(),
        false => format!("({})", texts.join(", ")),
    };
    let kpis = list(asked.kpis.iter().map(|kpi| text(kpi)).collect());
    let grains = list(asked.grains.iter().map(|grain| text(grain.name())).collect());
    let tenant = asked.tenant.iter().map(|own| format!(" AND tenant_id = {}", text(own)));
    format!(
        "SELECT kpi, tenant_id, dims, grain, period_start, value, numerator, denominator, status FROM kpi_current \
         WHERE kpi IN {kpis} AND grain IN {grains}{}",
        tenant.collect::<String>(),
    )
}
