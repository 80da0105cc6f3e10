//! The SQL that recomputes what overlaps periods: each row is joined with the periods that hold any of its days, and what is
//! spread over these is divided anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, Decimal256Array, Int64Builder, ListBuilder};
use arrow::datatypes::{DataType, i256};
use datafusion::common::cast::{as_decimal256_array, as_int64_array, as_string_array};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use schemas::Grain;

use super::Clocks;
use super::sql::{NUMBER, micros};
use super::stock::Lasting;

/// So many months from the running one on have periods that begin in them.
const MONTHS: usize = 25;

/// Two instants.
type Pair = (Option<i64>, Option<i64>);

/// A number of a tenant.
type Amount<'a> = (Option<&'a str>, Option<i256>);

/// The type of [`NUMBER`].
const DECIMAL: DataType = DataType::Decimal256(76, 10);

impl Lasting<'_> {
    /// What overlaps each period. The columns are those of every flow.
    pub(super) fn overlapping_sql(&self, grain: Grain, allocates: bool) -> String {
        let Lasting { rows, tenant, dims, came, went, amount } = self;
        let columns = |each: &dyn Fn(&str, &str) -> String| {
            dims.iter().map(|(name, column)| each(name, column)).collect::<String>()
        };
        let taken = columns(&|name, column| format!(", \"{column}\" AS \"dim_{name}\""));
        let keys = columns(&|name, _| format!(", \"dim_{name}\""));
        let (came_at, went_at) = (micros(came), micros(went));
        let stop = format!("weir_period_end(tenant_id, '{grain}', \"start\")");
        let part = match allocates {
            true => format!("weir_allocated(tenant_id, amount, came, went, \"start\", {stop})"),
            false => "amount".to_owned(),
        };
        format!(
            "WITH taken AS (SELECT {tenant} AS tenant_id{taken}, {came_at} AS came, {went_at} AS went, \
             CAST({amount} AS {NUMBER}) AS amount \
             FROM \"{rows}\" WHERE \"{came}\" IS NOT NULL AND \"{went}\" IS NOT NULL), \
             spread AS (SELECT tenant_id{keys}, came, went, amount, \
             unnest(weir_overlapped(tenant_id, '{grain}', came, went)) AS \"start\" FROM taken) \
             SELECT tenant_id{keys}, to_timestamp_micros(\"start\") AS period_start, COUNT(*) AS cnt, \
             CAST(0 AS BIGINT) AS doubt, COALESCE(SUM({part}), CAST(0 AS {NUMBER})) AS above \
             FROM spread GROUP BY tenant_id{keys}, \"start\""
        )
    }
}

/// The number that is spread over the days between two instants, as far as they are in a period, all as SQL.
pub(super) fn allocated(
    tenant: &str,
    amount: &str,
    (came, went): (&str, &str),
    (start, end): (&str, &str),
) -> String {
    let (came, went) = (micros(came), micros(went));
    format!("weir_allocated({tenant}, CAST({amount} AS {NUMBER}), {came}, {went}, {start}, {end})")
}

/// The condition that a row has a day in a period that may have a cell.
pub(super) fn overlaps(
    tenant: &str,
    (came, went): (&str, &str),
    (start, end): (&str, &str),
) -> String {
    let (came, went) = (micros(came), micros(went));
    format!("weir_overlaps({tenant}, {came}, {went}, {start}, {end})")
}

fn both((one, other): Pair) -> Option<(i64, i64)> {
    one.zip(other)
}

impl Clocks {
    /// The first and the last day of what counts from one instant up to another.
    fn days_of(&self, tenant: &str, came: i64, went: i64) -> Option<(i64, i64)> {
        let (first, last) = (self.day(tenant, came), self.day(tenant, went - 1));
        (first <= last).then_some((first, last))
    }

    /// From where on no period begins that has a cell.
    fn horizon(&self, tenant: &str) -> i64 {
        let mut at = self.now;
        for _ in 0..MONTHS {
            (_, at) = self.period(tenant, Grain::Month, at);
        }
        at
    }

    fn overlapped(
        &self,
        (tenant, horizon): (&str, i64),
        grain: Grain,
        (came, went): (i64, i64),
    ) -> Vec<i64> {
        let mut starts = Vec::new();
        let Some((_, last)) = self.days_of(tenant, came, went) else { return starts };
        let (mut start, mut end) = self.period(tenant, grain, came);
        while start < horizon && self.day(tenant, start) <= last {
            starts.push(start);
            (start, end) = self.period(tenant, grain, end);
        }
        starts
    }

    /// How many days of a row are in a period, of how many, and whether the last one is.
    fn shared(
        &self,
        tenant: &str,
        (came, went): (i64, i64),
        (start, end): (i64, i64),
    ) -> Option<(i64, i64, bool)> {
        let (first, last) = self.days_of(tenant, came, went)?;
        let (from, to) = (self.day(tenant, start), self.day(tenant, end));
        let within = (to.min(last + 1) - from.max(first)).max(0);
        Some((within, last + 1 - first, from <= last && last < to))
    }

    /// `weir_overlapped(tenant, grain, came, went)`: where the periods start that hold a day of a row.
    /// `weir_overlaps(tenant, came, went, start, end)`: whether a period does, and may have a cell.
    /// `weir_allocated(tenant, amount, came, went, start, end)`: what of a number is on its days of a period.
    pub(super) fn overlap_functions(self: &Arc<Clocks>) -> [ScalarUDF; 3] {
        [self.overlapped_function(), self.overlaps_function(), self.allocated_function()]
    }

    fn overlapped_function(self: &Arc<Clocks>) -> ScalarUDF {
        let clocks = Arc::clone(self);
        let run = move |arguments: &[ColumnarValue]| {
            let arrays = ColumnarValue::values_to_arrays(arguments)?;
            let [tenants, grains, came, went] = arrays.as_slice() else {
                return datafusion::common::internal_err!("four arguments are needed");
            };
            let grains = as_string_array(grains)?.iter().map(|grain| Grain::parse(grain?));
            let instants = as_int64_array(came)?.iter().zip(as_int64_array(went)?);
            let mut horizons = BTreeMap::new();
            let mut lists = ListBuilder::new(Int64Builder::new());
            for ((tenant, grain), (came, went)) in
                as_string_array(tenants)?.iter().zip(grains).zip(instants)
            {
                let of = tenant.zip(grain).zip(came.zip(went));
                let starts = of.map(|((tenant, grain), row)| {
                    let horizon = horizons.entry(tenant).or_insert_with(|| clocks.horizon(tenant));
                    clocks.overlapped((tenant, *horizon), grain, row).into_iter().map(Some)
                });
                lists.append_option(starts);
            }
            Ok(ColumnarValue::Array(Arc::new(lists.finish())))
        };
        let takes = vec![DataType::Utf8, DataType::Utf8, DataType::Int64, DataType::Int64];
        let gives = DataType::new_list(DataType::Int64, true);
        create_udf("weir_overlapped", takes, gives, Volatility::Immutable, Arc::new(run))
    }

    fn overlaps_function(self: &Arc<Clocks>) -> ScalarUDF {
        let clocks = Arc::clone(self);
        let run = move |arguments: &[ColumnarValue]| {
            let arrays = ColumnarValue::values_to_arrays(arguments)?;
            let [tenants, came, went, start, end] = arrays.as_slice() else {
                return datafusion::common::internal_err!("five arguments are needed");
            };
            let row = as_int64_array(came)?.iter().zip(as_int64_array(went)?);
            let period = as_int64_array(start)?.iter().zip(as_int64_array(end)?);
            let of = as_string_array(tenants)?.iter().zip(row.zip(period));
            let one = |(tenant, (row, period)): (Option<&str>, (Pair, Pair))| {
                let (tenant, row, period) = (tenant?, both(row)?, both(period)?);
                let shared = clocks.shared(tenant, row, period).is_some_and(|own| own.0 > 0);
                Some(shared && period.0 < clocks.horizon(tenant))
            };
            let found: BooleanArray = of.map(one).collect();
            Ok(ColumnarValue::Array(Arc::new(found)))
        };
        let takes = [vec![DataType::Utf8], vec![DataType::Int64; 4]].concat();
        create_udf("weir_overlaps", takes, DataType::Boolean, Volatility::Immutable, Arc::new(run))
    }

    fn allocated_function(self: &Arc<Clocks>) -> ScalarUDF {
        let clocks = Arc::clone(self);
        let run = move |arguments: &[ColumnarValue]| {
            let arrays = ColumnarValue::values_to_arrays(arguments)?;
            let [tenants, amounts, came, went, start, end] = arrays.as_slice() else {
                return datafusion::common::internal_err!("six arguments are needed");
            };
            let row = as_int64_array(came)?.iter().zip(as_int64_array(went)?);
            let period = as_int64_array(start)?.iter().zip(as_int64_array(end)?);
            let of = as_string_array(tenants)?.iter().zip(as_decimal256_array(amounts)?);
            let one = |((tenant, amount), (row, period)): (Amount<'_>, (Pair, Pair))| {
                let (row, period) = (both(row)?, both(period)?);
                let (within, days, has_last) = clocks.shared(tenant?, row, period)?;
                let (amount, days) = (amount?, i256::from_i128(days.into()));
                let daily = amount.wrapping_div(days);
                let rest = amount.wrapping_sub(daily.wrapping_mul(days));
                let part = daily.wrapping_mul(i256::from_i128(within.into()));
                Some(if has_last { part.wrapping_add(rest) } else { part })
            };
            let found: Decimal256Array = of.zip(row.zip(period)).map(one).collect();
            let found = found.with_precision_and_scale(76, 10)?;
            Ok(ColumnarValue::Array(Arc::new(found)))
        };
        let takes = [vec![DataType::Utf8, DECIMAL], vec![DataType::Int64; 4]].concat();
        create_udf("weir_allocated", takes, DECIMAL, Volatility::Immutable, Arc::new(run))
    }
}
