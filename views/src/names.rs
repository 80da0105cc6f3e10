//! What the text of a view may name: relations, functions, aggregates. What else it names is kept, so that
//! the refusal can say what it is.

use std::cell::RefCell;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{TableReference, exec_err, plan_err};
use datafusion::functions_aggregate::planner::AggregateFunctionPlanner;
use datafusion::functions_aggregate::{average, bool_and_or, count, min_max, sum};
use datafusion::functions_window::{lead_lag, row_number};
use datafusion::logical_expr::builder::LogicalTableSource;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner};
use datafusion::logical_expr::{
    AggregateUDF, ColumnarValue, HigherOrderUDF, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, TableSource, Volatility, WindowUDF,
};
use schemas::nearest::nearest;
use schemas::{ColumnType, RowSchema};

use crate::percentile;
use crate::refusal::{Code, Refusal};
use crate::relations::{PERIODS, Relations};

/// The function that gives the period of an instant.
pub(crate) const PERIOD: &str = "period";

/// The function that spreads a number over the days between two instants.
pub(crate) const ALLOCATE: &str = "allocate";

/// The type of what it gives: that of KPI values.
pub(crate) const ALLOCATED: DataType = DataType::Decimal128(38, 10);

/// The aggregates there are, for messages.
const AGGREGATES: [&str; 9] = [
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "bool_and",
    "bool_or",
    "percentile_exact",
    "approx_percentile_cont",
];

/// Functions that give something else each time, or in each session.
const VOLATILE: [&str; 12] = [
    "now",
    "current_timestamp",
    "current_date",
    "current_time",
    "localtimestamp",
    "today",
    "random",
    "uuid",
    "version",
    "current_user",
    "session_user",
    "user",
];

/// Window functions of SQL.
const WINDOWS: [&str; 9] = [
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
    "lead",
    "first_value",
    "last_value",
    "nth_value",
];

/// `period(ts)` as a function of DataFusion: the instant itself, which is what stands in rows.
pub fn period() -> Arc<ScalarUDF> {
    static PERIOD_OF: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let signature = Signature::any(1, Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Period { signature }))
    });
    Arc::clone(&PERIOD_OF)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Period {
    signature: Signature,
}

impl ScalarUDFImpl for Period {
    fn name(&self) -> &str {
        PERIOD
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> datafusion::common::Result<DataType> {
        match arguments {
            [instant @ DataType::Timestamp(..)] => Ok(instant.clone()),
            _ => plan_err!("period() takes a timestamp; CAST it AS TIMESTAMP"),
        }
    }

    fn invoke_with_args(
        &self,
        arguments: ScalarFunctionArgs,
    ) -> datafusion::common::Result<ColumnarValue> {
        match arguments.args.into_iter().next() {
            Some(instant) => Ok(instant),
            None => exec_err!("period() takes a timestamp"),
        }
    }
}

/// `allocate(amount, from, to)` as a function of DataFusion, for its type: what it gives is of a period.
fn allocate() -> Arc<ScalarUDF> {
    static ALLOCATE_OF: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let signature = Signature::any(3, Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Allocate { signature }))
    });
    Arc::clone(&ALLOCATE_OF)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Allocate {
    signature: Signature,
}

impl ScalarUDFImpl for Allocate {
    fn name(&self) -> &str {
        ALLOCATE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> datafusion::common::Result<DataType> {
        match arguments {
            [
                DataType::Decimal128(..) | DataType::Int64,
                DataType::Timestamp(..),
                DataType::Timestamp(..),
            ] => Ok(ALLOCATED),
            _ => plan_err!("allocate() takes a bigint or decimal and two timestamps; CAST them"),
        }
    }

    fn invoke_with_args(
        &self,
        _arguments: ScalarFunctionArgs,
    ) -> datafusion::common::Result<ColumnarValue> {
        exec_err!("allocate() has no value without a period")
    }
}

/// The columns of the relation of periods.
pub(crate) const PERIODS_COLUMNS: [(ColumnType, &str); 4] = [
    (ColumnType::Text, "zone"),
    (ColumnType::Text, "grain"),
    (ColumnType::Timestamp, "period_start"),
    (ColumnType::Timestamp, "period_end"),
];

fn periods() -> RowSchema {
    let columns = PERIODS_COLUMNS.map(|(kind, name)| crate::plan::column(name, kind));
    RowSchema::new(columns.to_vec())
}

/// The Arrow schema of rows, all of whose columns may be null.
pub(crate) fn arrow(schema: &RowSchema) -> Arc<Schema> {
    let fields = schema.iter().map(|c| Field::new(&c.name, rows::data_type(c.kind), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The refusal of what gives something else each time, with parentheses or without.
pub(crate) fn volatile(name: &str) -> Option<Refusal> {
    let problem = format!("`{name}` gives something else each time it is asked");
    let advice = "a view depends on rows alone, on no clock; take an instant from a column";
    VOLATILE.contains(&name).then(|| Refusal::new(Code::Volatile, name, problem, advice))
}

/// What is there to name, and what was named and is not there.
pub(crate) struct Names<'a> {
    relations: &'a Relations,
    options: ConfigOptions,
    planners: Vec<Arc<dyn ExprPlanner>>,
    function: RefCell<Option<String>>,
    relation: RefCell<Option<String>>,
}

impl<'a> Names<'a> {
    pub(crate) fn new(relations: &'a Relations) -> Names<'a> {
        let mut planners = expr::planners(true);
        planners.push(Arc::new(AggregateFunctionPlanner));
        let (function, relation) = (RefCell::new(None), RefCell::new(None));
        Names { relations, options: ConfigOptions::new(), planners, function, relation }
    }

    /// The refusal of a name that is not there.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        if let Some(name) = self.relation.take() {
            return Some(self.unknown_relation(&name));
        }
        let name = self.function.take()?;
        if let Some(refusal) = volatile(&name) {
            return Some(refusal);
        }
        if WINDOWS.contains(&name.as_str()) {
            let problem = format!("the window function `{name}` is not supported");
            let advice = "there are ROW_NUMBER() with a bound, LAG(x, n) and running sums";
            return Some(Refusal::new(Code::Window, name, problem, advice));
        }
        let known = expr::FUNCTIONS.into_iter().chain(AGGREGATES).chain([PERIOD, ALLOCATE]);
        let hint = nearest(&name, known.clone());
        let problem = format!("there is no function `{name}` here{hint}");
        let advice = format!("there are {}", known.collect::<Vec<_>>().join(", "));
        let code = Code::Expression(expr::Code::UnknownFunction);
        Some(Refusal::new(code, name, problem, advice))
    }

    fn unknown_relation(&self, name: &str) -> Refusal {
        let hint = self.relations.hint(name);
        let names: Vec<&str> = self.relations.iter().map(|one| one.name.as_str()).collect();
        let problem = format!("there is no contract or view `{name}`{hint}");
        let advice = format!("there are {}", names.join(", "));
        Refusal::new(Code::UnknownRelation, name, problem, advice)
    }
}

impl ContextProvider for Names<'_> {
    fn get_table_source(
        &self,
        name: TableReference,
    ) -> datafusion::common::Result<Arc<dyn TableSource>> {
        let found = match &name {
            TableReference::Bare { table } => self.relations.find(table),
            _ => None,
        };
        if found.is_none() && name.table() == PERIODS {
            return Ok(Arc::new(LogicalTableSource::new(arrow(&periods()))));
        }
        let Some(relation) = found else {
            self.relation.replace(Some(name.to_string()));
            return plan_err!("there is no relation `{name}`");
        };
        Ok(Arc::new(LogicalTableSource::new(arrow(&relation.schema))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let found = match name {
            PERIOD => Some(period()),
            ALLOCATE => Some(allocate()),
            _ => expr::function(name),
        };
        if found.is_none() {
            self.function.replace(Some(name.to_owned()));
        }
        found
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        let found = match name {
            "count" => count::count_udaf(),
            "sum" => sum::sum_udaf(),
            "avg" | "mean" => average::avg_udaf(),
            "min" => min_max::min_udaf(),
            "max" => min_max::max_udaf(),
            "bool_and" => bool_and_or::bool_and_udaf(),
            "bool_or" => bool_and_or::bool_or_udaf(),
            _ => {
                let own = percentile::percentiles().into_iter().find(|own| own.name() == name);
                if own.is_none() {
                    self.function.replace(Some(name.to_owned()));
                }
                own?
            }
        };
        // It is asked for after functions.
        self.function.take();
        Some(found)
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        let found = match name {
            "row_number" => row_number::row_number_udwf(),
            "lag" => lead_lag::lag_udwf(),
            _ => {
                self.function.replace(Some(name.to_owned()));
                return None;
            }
        };
        self.function.take();
        Some(found)
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}
