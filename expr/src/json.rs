//! Members of JSON: the operators `->` and `->>`, as PostgreSQL has them on objects.
//!
//! # Guarantees
//! - A member is what stands in the text: numbers keep their digits, of equal names the last one counts.
//! - What is no object has no members; a member that is JSON's null is none by `->>`.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, exec_datafusion_err, exec_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::value::EvalError;

/// The member of this name; `None` when there is none.
pub(crate) fn member<'a>(json: &'a str, name: &str) -> Result<Option<&'a str>, EvalError> {
    if !json.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        let read: Result<&RawValue, _> = serde_json::from_str(json);
        return read.map(|_| None).map_err(|_| EvalError::BadJson);
    }
    let mut text = serde_json::Deserializer::from_str(json);
    let found = text.deserialize_map(Wanted(name)).map_err(|_| EvalError::BadJson)?;
    text.end().map_err(|_| EvalError::BadJson)?;
    Ok(found)
}

/// Reads an object for the member of this name: of equal ones the last.
struct Wanted<'n>(&'n str);

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_wanted) = members.next_key_seed(IsName(self.0))? {
            if is_wanted {
                found = Some(members.next_value::<&RawValue>()?.get());
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Reads a name: whether it is this one.
struct IsName<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for IsName<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for IsName<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
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

    /// For queries that DataFusion runs; expressions are evaluated here.
    fn invoke_with_args(
        &self,
        arguments: ScalarFunctionArgs,
    ) -> datafusion::common::Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let [json, name] = arrays.as_slice() else {
            return exec_err!("`{}` takes two arguments", self.name);
        };
        let (json, name) = (cast(json, &DataType::Utf8)?, cast(name, &DataType::Utf8)?);
        let found = json.as_string::<i32>().iter().zip(name.as_string::<i32>().iter());
        let found = found.map(|(json, name)| {
            let (Some(json), Some(name)) = (json, name) else { return Ok(None) };
            let found = member(json, name).map_err(|e| exec_datafusion_err!("{e}: {json}"))?;
            Ok(found.and_then(|found| match self.name {
                JSON => Some(found.to_owned()),
                _ => text(found).map(Cow::into_owned),
            }))
        });
        let found = found.collect::<datafusion::common::Result<StringArray>>()?;
        Ok(ColumnarValue::Array(Arc::new(found)))
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
        for json in ["[1]", "5", "1e999", r#""team""#, "null", "  {}  "] {
            assert_eq!(of(json, "team"), Ok(None), "{json}");
        }
        assert_eq!(
            of(r#"{"te\u0061m":{"team":1}, "team" : [ 2 ]}"#, "team"),
            Ok(Some("[ 2 ]".into()))
        );
        for json in ["", "{", "team=a", r#"{"team":}"#, r#"{"team":1}}"#, r#"{"team":1,"b":[}"#] {
            assert_eq!(of(json, "team"), Err(EvalError::BadJson), "{json}");
        }
    }
}
