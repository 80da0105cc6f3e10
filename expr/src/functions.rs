//! The functions and operators that SQL may name here: for expressions, and for who has DataFusion plan or
//! run whole queries.

use std::sync::Arc;

use datafusion::functions::datetime::planner::DatetimeFunctionPlanner;
use datafusion::functions::unicode::planner::UnicodeFunctionPlanner;
use datafusion::functions::{core as choices, datetime, string, unicode};
use datafusion::logical_expr::ScalarUDF;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::sql::planner::ParserOptions;

use crate::json;

/// The names of the functions, for messages.
pub const FUNCTIONS: [&str; 11] = [
    "lower",
    "upper",
    "trim",
    "ltrim",
    "rtrim",
    "substr",
    "concat",
    "coalesce",
    "nullif",
    "date_trunc",
    "extract",
];

/// The function of this name, as DataFusion has it.
pub fn function(name: &str) -> Option<Arc<ScalarUDF>> {
    Some(match name {
        "lower" => string::lower(),
        "upper" => string::upper(),
        "trim" | "btrim" => string::btrim(),
        "ltrim" => string::ltrim(),
        "rtrim" => string::rtrim(),
        "concat" => string::concat(),
        "substr" | "substring" => unicode::substr(),
        "coalesce" => choices::coalesce(),
        "nullif" => choices::nullif(),
        "date_trunc" => datetime::date_trunc(),
        "date_part" => datetime::date_part(),
        _ => return None,
    })
}

/// What plans operators and syntax of their own; members of JSON only where they are asked for.
pub fn planners(with_json: bool) -> Vec<Arc<dyn ExprPlanner>> {
    let mut planners: Vec<Arc<dyn ExprPlanner>> =
        vec![Arc::new(DatetimeFunctionPlanner), Arc::new(UnicodeFunctionPlanner)];
    if with_json {
        planners.push(Arc::new(json::Planner));
    }
    planners
}

/// How literals and types are read: `1.5` is a decimal.
pub fn options() -> ParserOptions {
    ParserOptions {
        parse_float_as_decimal: true,
        map_string_types_to_utf8view: false,
        ..ParserOptions::new()
    }
}
