//! The SQL that recomputes what is alive at the end of each period: every period of a series is made, from that of
//! its first row to the running one, and joined with the rows that came before it ends.

use std::sync::Arc;

use arrow::array::{Int64Builder, ListBuilder};
use arrow::datatypes::DataType;
use datafusion::common::cast::{as_int64_array, as_string_array};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use schemas::Grain;

use super::Clocks;
use super::sql::{NUMBER, micros};

/// What is asked of rows that count for longer than an instant.
pub(super) struct Lasting<'a> {
    /// The table of the rows.
    pub(super) rows: &'a str,
    /// The tenant, as SQL.
    pub(super) tenant: &'a str,
    /// Dimension name and column.
    pub(super) dims: Vec<(&'a str, &'a str)>,
    pub(super) came: &'a str,
    pub(super) went: &'a str,
    /// What is added up, as SQL.
    pub(super) amount: &'a str,
}

impl Lasting<'_> {
    /// What is alive at the end of each period. The columns are those of every flow.
    pub(super) fn alive_sql(&self, grain: Grain) -> String {
        let Lasting { rows, tenant, dims, came, went, amount } = self;
        let columns = |each: &dyn Fn(&str, &str) -> String| {
            dims.iter().map(|(name, column)| each(name, column)).collect::<String>()
        };
        let taken = columns(&|name, column| format!(", \"{column}\" AS \"dim_{name}\""));
        let keys = columns(&|name, _| format!(", \"dim_{name}\""));
        let own = columns(&|name, _| format!(", p.\"dim_{name}\""));
        let named = columns(&|name, _| format!(", p.\"dim_{name}\" AS \"dim_{name}\""));
        let on = columns(&|name, _| {
            format!(" AND (t.\"dim_{name}\" IS NOT DISTINCT FROM p.\"dim_{name}\")")
        });
        let (came_at, went_at) = (micros(came), micros(went));
        format!(
            "WITH taken AS (SELECT {tenant} AS tenant_id{taken}, {came_at} AS came, \
             {went_at} AS went, CAST({amount} AS {NUMBER}) AS above \
             FROM \"{rows}\" WHERE \"{came}\" IS NOT NULL), \
             series AS (SELECT tenant_id{keys}, MIN(came) AS came FROM taken GROUP BY tenant_id{keys}), \
             starts AS (SELECT tenant_id{keys}, unnest(weir_periods(tenant_id, '{grain}', came)) AS \"start\" \
             FROM series), \
             ends AS (SELECT tenant_id{keys}, \"start\", weir_period_end(tenant_id, '{grain}', \"start\") AS stop \
             FROM starts) \
             SELECT p.tenant_id AS tenant_id{named}, to_timestamp_micros(p.\"start\") AS period_start, \
             COUNT(*) AS cnt, CAST(0 AS BIGINT) AS doubt, \
             COALESCE(SUM(CASE WHEN t.went IS NULL OR t.went >= p.stop THEN t.above END), CAST(0 AS {NUMBER})) \
             AS above FROM ends AS p JOIN taken AS t ON t.tenant_id = p.tenant_id{on} AND t.came < p.stop \
             GROUP BY p.tenant_id{own}, p.\"start\""
        )
    }
}

/// `weir_periods(tenant, grain, microseconds)` for SQL: where all periods start from that of an instant to the running
/// one.
pub(super) fn periods(clocks: &Arc<Clocks>) -> ScalarUDF {
    let clocks = Arc::clone(clocks);
    let run = move |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let [tenants, grains, instants] = arrays.as_slice() else {
            return datafusion::common::internal_err!("three arguments are needed");
        };
        let (tenants, grains) = (as_string_array(tenants)?, as_string_array(grains)?);
        let rows = tenants.iter().zip(grains).zip(as_int64_array(instants)?);
        let mut lists = ListBuilder::new(Int64Builder::new());
        for ((tenant, grain), from) in rows {
            let of = tenant.zip(grain.and_then(Grain::parse)).zip(from);
            let starts = of.map(|((tenant, grain), from)| starts(&clocks, tenant, grain, from));
            lists.append_option(starts.map(|starts| starts.into_iter().map(Some)));
        }
        Ok(ColumnarValue::Array(Arc::new(lists.finish())))
    };
    let takes = vec![DataType::Utf8, DataType::Utf8, DataType::Int64];
    let gives = DataType::new_list(DataType::Int64, true);
    create_udf("weir_periods", takes, gives, Volatility::Immutable, Arc::new(run))
}

fn starts(clocks: &Clocks, tenant: &str, grain: Grain, from: i64) -> Vec<i64> {
    let mut starts = Vec::new();
    let (mut start, mut end) = clocks.period(tenant, grain, from);
    while start <= clocks.now {
        starts.push(start);
        (start, end) = clocks.period(tenant, grain, end);
    }
    starts
}
