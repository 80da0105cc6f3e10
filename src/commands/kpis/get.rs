//! `weir kpis get`: the current values of one KPI, as the last barrier wrote them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use arrow::array::{
    Array, AsArray, Decimal128Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Decimal128Type, Int64Type, TimestampMicrosecondType};
use clap::Args;
use engine::tables::CURRENT;
use lake::{At, LakeError, Table};
use pipeline::bronze::{CLOCK, EPOCH};
use schemas::nearest::nearest;
use schemas::{Grain, Micros, decimal};
use serde_json::{Value, json};

use super::{parse_grain, parse_time};
use crate::commands::setup::open;
use crate::config::Config;
use crate::failure::Failure;
use crate::output;

/// Tenants that are named at most where there is none of this name.
const TENANTS_MAX: usize = 20;

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The KPI's key.
    pub(super) kpi: String,
    /// Only cells of this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// Only cells of this grain: `hour`, `day`, `week`, `month`, `quarter` or `year`; or of a window: `last_24h`,
    /// `last_7d`, `last_30d`, `last_90d` or `all`.
    #[arg(long, value_parser = parse_grain)]
    grain: Option<Grain>,
    /// Only periods that start here or later: RFC 3339 or YYYY-MM-DD, in UTC.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    from: Option<Micros>,
    /// Only periods that start before this.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    to: Option<Micros>,
    /// The lake's folder, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    lake: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// One cell of the current table.
struct Cell {
    tenant: String,
    dims: String,
    grain: String,
    period_start: Micros,
    period_end: Micros,
    value: Option<String>,
    numerator: Option<String>,
    denominator: Option<String>,
    unit: String,
    status: String,
    epoch: i64,
    as_of: Micros,
}

pub(super) fn execute(config: &Config, get: &Get) -> Result<(), Failure> {
    let lake = open(config, get.lake.as_deref())?;
    let table = Table::open(&lake, CURRENT, At::Newest)?;
    let files: Vec<_> = table.files().map(AsRef::as_ref).collect();
    let (mut cells, mut tenants) = (Vec::new(), BTreeSet::new());
    for batch in table.read(&files, None)? {
        let batch = batch?;
        let columns = Columns::new(&batch).ok_or_else(|| LakeError::Schema {
            table: CURRENT.to_owned(),
            detail: "has a column of another type than weir writes".to_owned(),
        })?;
        if get.tenant.is_some() {
            columns.note_tenants(&mut tenants);
        }
        let wanted = (0..batch.num_rows()).filter(|row| columns.is_wanted(*row, get));
        cells.extend(wanted.map(|row| columns.cell(row)));
    }
    if let Some(tenant) = get.tenant.as_ref().filter(|tenant| !tenants.contains(*tenant)) {
        return Err(unknown(tenant, &tenants));
    }
    if get.grain.is_none() {
        let is_window = |cell: &Cell| Grain::parse(&cell.grain).is_some_and(Grain::is_window);
        // Of a view without a period there is nothing else.
        let is_timeless = get.from.or(get.to).is_none() && cells.iter().all(is_window);
        cells.retain(|cell| is_timeless || !is_window(cell));
    }
    let order = |cell: &Cell| {
        let grain = Grain::parse(&cell.grain);
        (cell.tenant.clone(), cell.dims.clone(), grain, cell.period_start)
    };
    cells.sort_by_cached_key(order);
    if get.json {
        output::json(&json!({
            "kpi": get.kpi,
            "epoch": table.progress(EPOCH),
            "as_of": table.progress(CLOCK).map(|clock| Micros(clock).to_string()),
            "cells": cells.iter().map(Cell::to_json).collect::<Vec<_>>(),
        }));
        return Ok(());
    }
    let rows: Vec<_> = cells.iter().map(Cell::row).collect();
    output::table(&["tenant", "dims", "grain", "period start", "value", "unit", "status"], &rows);
    Ok(())
}

/// That nobody has values of a tenant, and who has.
fn unknown(tenant: &str, tenants: &BTreeSet<String>) -> Failure {
    let mut known: Vec<String> =
        tenants.iter().take(TENANTS_MAX).map(|tenant| format!("`{tenant}`")).collect();
    let more = tenants.len().saturating_sub(known.len());
    known.extend((more > 0).then(|| format!("and {} more", output::count(more as u64))));
    let there = match known.as_slice() {
        [] => "there are no values yet".to_owned(),
        known => format!("there are {}", known.join(", ")),
    };
    let hint = nearest(tenant, tenants.iter().map(String::as_str));
    Failure::Usage(format!("no tenant `{tenant}` has values{hint}; {there}"))
}

impl Cell {
    fn row(&self) -> Vec<String> {
        vec![
            self.tenant.clone(),
            self.dims.clone(),
            self.grain.clone(),
            self.period_start.to_string(),
            self.value.clone().unwrap_or_else(|| "-".to_owned()),
            self.unit.clone(),
            self.status.clone(),
        ]
    }

    fn to_json(&self) -> Value {
        let dims: Value = serde_json::from_str(&self.dims).unwrap_or(json!(self.dims));
        json!({
            "tenant": self.tenant,
            "dims": dims,
            "grain": self.grain,
            "period_start": self.period_start.to_string(),
            "period_end": self.period_end.to_string(),
            "value": self.value,
            "numerator": self.numerator,
            "denominator": self.denominator,
            "unit": self.unit,
            "status": self.status,
            "epoch": self.epoch,
            "as_of": self.as_of.to_string(),
        })
    }
}

struct Columns {
    kpi: StringArray,
    tenant: StringArray,
    dims: StringArray,
    grain: StringArray,
    start: TimestampMicrosecondArray,
    end: TimestampMicrosecondArray,
    numbers: [Decimal128Array; 3],
    unit: StringArray,
    status: StringArray,
    epoch: Int64Array,
    as_of: TimestampMicrosecondArray,
}

impl Columns {
    fn new(batch: &RecordBatch) -> Option<Columns> {
        let column = |name| batch.column_by_name(name);
        let text = |name| column(name)?.as_string_opt::<i32>().cloned();
        let instant = |name| column(name)?.as_primitive_opt::<TimestampMicrosecondType>().cloned();
        let number = |name| column(name)?.as_primitive_opt::<Decimal128Type>().cloned();
        Some(Columns {
            kpi: text("kpi")?,
            tenant: text("tenant_id")?,
            dims: text("dims")?,
            grain: text("grain")?,
            start: instant("period_start")?,
            end: instant("period_end")?,
            numbers: [number("value")?, number("numerator")?, number("denominator")?],
            unit: text("unit")?,
            status: text("status")?,
            epoch: column("epoch")?.as_primitive_opt::<Int64Type>().cloned()?,
            as_of: instant("as_of")?,
        })
    }

    /// Takes the tenants of all rows.
    fn note_tenants(&self, tenants: &mut BTreeSet<String>) {
        for tenant in self.tenant.iter().flatten() {
            if !tenants.contains(tenant) {
                tenants.insert(tenant.to_owned());
            }
        }
    }

    fn is_wanted(&self, row: usize, get: &Get) -> bool {
        let start = Micros(self.start.value(row));
        let own = Grain::parse(self.grain.value(row));
        let is_grain = get.grain.is_none_or(|grain| own == Some(grain));
        self.kpi.value(row) == get.kpi
            && get.tenant.as_ref().is_none_or(|tenant| self.tenant.value(row) == tenant)
            && is_grain
            && get.from.is_none_or(|from| start >= from)
            && get.to.is_none_or(|to| start < to)
    }

    fn cell(&self, row: usize) -> Cell {
        let text = |column: &StringArray| column.value(row).to_owned();
        let number = |column: &Decimal128Array| {
            column.is_valid(row).then(|| decimal::format(column.value(row), decimal::VALUE_SCALE))
        };
        let [value, numerator, denominator] = &self.numbers;
        Cell {
            tenant: text(&self.tenant),
            dims: text(&self.dims),
            grain: text(&self.grain),
            period_start: Micros(self.start.value(row)),
            period_end: Micros(self.end.value(row)),
            value: number(value),
            numerator: number(numerator),
            denominator: number(denominator),
            unit: text(&self.unit),
            status: text(&self.status),
            epoch: self.epoch.value(row),
            as_of: Micros(self.as_of.value(row)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_without_values_is_told_who_has_some() {
        let tenants = |count: usize| (0..count).map(|own| format!("t{own:04}")).collect();
        let says = |tenant: &str, count: usize| {
            let failure = unknown(tenant, &tenants(count));
            assert_eq!(failure.code(), 2);
            failure.to_string()
        };
        assert_eq!(says("acme", 0), "no tenant `acme` has values; there are no values yet");
        let two =
            "no tenant `t000O` has values (did you mean `t0000`?); there are `t0000`, `t0001`";
        assert_eq!(says("t000O", 2), two);
        let many = says("acme", 1_023);
        assert!(many.ends_with("`t0018`, `t0019`, and 1,003 more"), "{many}");
    }
}
