//! The periods and days of tenants as functions of SQL.

use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::datatypes::DataType;
use datafusion::common::cast::{as_int64_array, as_string_array};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use schemas::Grain;

use super::{Clocks, Period};

impl Clocks {
    /// `weir_period_start`, `weir_period_end`, and `weir_periods` for SQL: of a tenant, a grain and microseconds since
    /// 1970. Of a window NULL for an instant that is not in it. And `weir_day`, of a tenant and microseconds.
    pub(in super::super) fn functions(self: &Arc<Clocks>) -> [ScalarUDF; 4] {
        let function = |name: &str, of: fn(Period) -> i64| {
            let clocks = Arc::clone(self);
            let run = move |arguments: &[ColumnarValue]| {
                let arrays = ColumnarValue::values_to_arrays(arguments)?;
                let [tenants, grains, instants] = arrays.as_slice() else {
                    return datafusion::common::internal_err!("three arguments are needed");
                };
                let (tenants, grains) = (as_string_array(tenants)?, as_string_array(grains)?);
                let rows = tenants.iter().zip(grains).zip(as_int64_array(instants)?);
                let one = |((tenant, grain), at): ((Option<&str>, Option<&str>), Option<i64>)| {
                    let (tenant, grain, at) = (tenant?, Grain::parse(grain?)?, at?);
                    if grain.is_window() {
                        let (start, end) = clocks.window(tenant, grain);
                        return (start <= at && at < end).then(|| of((start, end)));
                    }
                    Some(of(clocks.period(tenant, grain, at)))
                };
                let found: Int64Array = rows.map(one).collect();
                Ok(ColumnarValue::Array(Arc::new(found)))
            };
            let takes = vec![DataType::Utf8, DataType::Utf8, DataType::Int64];
            create_udf(name, takes, DataType::Int64, Volatility::Immutable, Arc::new(run))
        };
        [
            function("weir_period_start", |(start, _)| start),
            function("weir_period_end", |(_, end)| end),
            super::super::stock::periods(self),
            self.day_function(),
        ]
    }

    fn day_function(self: &Arc<Clocks>) -> ScalarUDF {
        let clocks = Arc::clone(self);
        let run = move |arguments: &[ColumnarValue]| {
            let arrays = ColumnarValue::values_to_arrays(arguments)?;
            let [tenants, instants] = arrays.as_slice() else {
                return datafusion::common::internal_err!("two arguments are needed");
            };
            let rows = as_string_array(tenants)?.iter().zip(as_int64_array(instants)?);
            let day = |(tenant, at): (Option<&str>, Option<i64>)| Some(clocks.day(tenant?, at?));
            let found: Int64Array = rows.map(day).collect();
            Ok(ColumnarValue::Array(Arc::new(found)))
        };
        let takes = vec![DataType::Utf8, DataType::Int64];
        create_udf("weir_day", takes, DataType::Int64, Volatility::Immutable, Arc::new(run))
    }
}
