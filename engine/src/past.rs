//! What KPIs' cells said at an instant, from the table of their history.
//!
//! # Guarantees
//! - A cell is as its newest row of history at or before the instant says.
//!
//! # Non-guarantees
//! - Rows of a running period follow each other by 60 s, of a closed one by 5 s, and are in the table after the next
//!   barrier: of what was in between nothing is known.

use std::path::PathBuf;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, TimestampMicrosecondType};
use lake::{At, Lake, Table};
use pipeline::bronze::EPOCH;
use schemas::{
    CellKey, CellValue, Grain, KpiHistory, Micros, PastCells, PastQuestion, Status, chain,
};

use crate::tables::HISTORY;

/// The history of the lake in a folder, which is only read.
#[derive(Debug)]
pub struct LakeHistory(pub PathBuf);

impl KpiHistory for LakeHistory {
    fn cells_at(&self, at: Micros, question: &PastQuestion) -> Result<PastCells, String> {
        let lake = Lake::open_reader(&self.0).map_err(|e| chain(&e))?;
        let table = Table::open(&lake, HISTORY, At::Newest).map_err(|e| chain(&e))?;
        let epoch = table.progress(EPOCH).and_then(|epoch| u64::try_from(epoch).ok()).unwrap_or(0);
        let context = gold::audit::session();
        lake::query::register(&context, "kpi_history", &table).map_err(|e| chain(&e))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| format!("could not start the runtime: {e}"))?;
        let sql = sql(at, question);
        let batches = runtime.block_on(async { context.sql(&sql).await?.collect().await });
        let batches: Vec<RecordBatch> = batches.map_err(|e| chain(&e))?;
        let mut cells = Vec::new();
        for batch in &batches {
            let wrong = || "kpi_history has columns of other types than weir writes".to_owned();
            let rows = (0..batch.num_rows()).map(|row| cell(batch, row).ok_or_else(wrong));
            cells.extend(rows.collect::<Result<Vec<_>, String>>()?);
        }
        Ok(PastCells { epoch, cells })
    }
}

fn sql(at: Micros, question: &PastQuestion) -> String {
    let text = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let instant =
        |at: Micros| format!("arrow_cast({}, 'Timestamp(Microsecond, Some(\"UTC\"))')", at.0);
    let mut conditions = vec![format!("as_of <= {}", instant(at))];
    if let Some(kpis) = &question.kpis {
        let kpis: Vec<String> = kpis.iter().map(|kpi| text(kpi)).collect();
        conditions.push(match kpis.is_empty() {
            true => "FALSE".to_owned(),
            false => format!("kpi IN ({})", kpis.join(", ")),
        });
    }
    conditions.extend(question.tenant.iter().map(|own| format!("tenant_id = {}", text(own))));
    conditions.extend(question.grain.map(|grain| format!("grain = '{grain}'")));
    conditions.extend(question.from.map(|from| format!("period_start >= {}", instant(from))));
    conditions.extend(question.last.map(|last| format!("period_start <= {}", instant(last))));
    format!(
        "SELECT kpi, tenant_id, dims, grain, period_start, value, numerator, denominator, status FROM (\
         SELECT *, ROW_NUMBER() OVER (PARTITION BY kpi, tenant_id, dims, grain, period_start \
         ORDER BY as_of DESC, restatement DESC) AS nth FROM kpi_history WHERE {}) AS numbered WHERE nth = 1",
        conditions.join(" AND "),
    )
}

pub(crate) fn cell(batch: &RecordBatch, row: usize) -> Option<(CellKey, CellValue)> {
    let text = |name| Some(batch.column_by_name(name)?.as_string_opt::<i32>()?.value(row));
    let number = |name| {
        let column = batch.column_by_name(name)?.as_primitive_opt::<Decimal128Type>()?;
        Some(column.is_valid(row).then(|| column.value(row)))
    };
    let start = batch.column_by_name("period_start")?;
    let key = CellKey {
        kpi: text("kpi")?.into(),
        tenant: text("tenant_id")?.into(),
        dims: text("dims")?.into(),
        grain: Grain::parse(text("grain")?)?,
        period_start: Micros(start.as_primitive_opt::<TimestampMicrosecondType>()?.value(row)),
    };
    let value = CellValue {
        value: number("value")?,
        numerator: number("numerator")?,
        denominator: number("denominator")?,
        status: Status::ALL.into_iter().find(|own| Some(own.name()) == text("status"))?,
    };
    Some((key, value))
}
