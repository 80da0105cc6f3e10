//! Members of JSON: the operators `->` and `->>`, as PostgreSQL has them on objects.
//!
//! # Guarantees
//! - A member is what stands in the text: numbers keep their digits, of equal names the last one counts.
//! - What is no object has no members; a member that is JSON's null is none by `->>`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, not_impl_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use serde_json::value::RawValue;

use crate::value::EvalError;

/// The member of this name; `None` when there is none.
pub(crate) fn member<'a>(json: &'a str, name: &str) -> Result<Option<&'a str>, EvalError> {
    let whole: &RawValue = serde_json::from_str(json).map_err(|_| EvalError::BadJson)?;
    if !whole.get().starts_with('{') {
        return Ok(None);
    }
    let mut members: HashMap<Cow<'_, str>, &RawValue> =
        serde_json::from_str(whole.get()).map_err(|_| EvalError::BadJson)?;
    Ok(members.remove(name).map(RawValue::get))
}

/// What a member is as text: a text without its quotes, null as `None`, anything else as it stands there.
pub(crate) fn text(json: &str) -> Option<Cow<'_, str>> {
    match json.as_bytes().first() {
        Some(b'n') => None,
        Some(b'"') => serde_json::from_str(json).ok().map(Cow::Owned),
        _ => Some(Cow::Borrowed(json)),
    }
}

/// One of the operators, as DataFusion plans it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Operator {
    name: &'static str,
    signature: Signature,
}

/// The operator's names.
pub(crate) const JSON: &str = "->";
pub(crate) const TEXT: &str = "->>";

impl ScalarUDFImpl for Operator {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> datafusion::common::Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(
        &self,
        _arguments: ScalarFunctionArgs,
    ) -> datafusion::common::Result<ColumnarValue> {
        not_impl_err!("`{}` is evaluated row by row", self.name)
    }
}

/// Plans the operators.
#[derive(Debug)]
pub(crate) struct Planner;

impl ExprPlanner for Planner {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        _schema: &DFSchema,
    ) -> datafusion::common::Result<PlannerResult<RawBinaryExpr>> {
        let name = match expr.op {
            BinaryOperator::Arrow => JSON,
            BinaryOperator::LongArrow => TEXT,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let signature = Signature::any(2, Volatility::Immutable);
        let function = ScalarUDF::new_from_impl(Operator { name, signature });
        let call = ScalarFunction::new_udf(Arc::new(function), vec![expr.left, expr.right]);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_what_stands_in_the_text() {
        let of = |json: &str, name: &str| {
            member(json, name).map(|found| found.and_then(text).map(Cow::into_owned))
        };
        let json = r#"{"team":"a\u00e9\"b","n":1.50,"no":null,"o":{"x":[1, 2]},"d":1,"d":2,"":"e","t":true}"#;
        for (name, expected) in [
            ("team", Some("aé\"b")),
            ("n", Some("1.50")),
            ("no", None),
            ("none", None),
            ("o", Some(r#"{"x":[1, 2]}"#)),
            ("d", Some("2")),
            ("", Some("e")),
            ("t", Some("true")),
        ] {
            assert_eq!(of(json, name), Ok(expected.map(str::to_owned)), "{name}");
        }
        for json in ["[1]", "5", r#""team""#, "null", "  {}  "] {
            assert_eq!(of(json, "team"), Ok(None), "{json}");
        }
        for json in ["", "{", "team=a", r#"{"team":}"#] {
            assert_eq!(of(json, "team"), Err(EvalError::BadJson), "{json}");
        }
    }
}
