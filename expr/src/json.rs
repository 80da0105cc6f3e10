//! Members of JSON: the operators `->` and `->>`, as PostgreSQL has them on objects.
//!
//! # Guarantees
//! - A member is what stands in the text: numbers keep their digits, of equal names the last one counts.
//! - What is no object has no members; a member that is JSON's null is none by `->>`.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, not_impl_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use serde::de::IgnoredAny;

use crate::value::EvalError;

/// The member of this name; `None` when there is none.
///
/// Members are found by hand, in text that is known to be JSON: what serde_json makes of a member's raw text
/// would be compiled here, and then no more into the decoder that lives by it.
pub(crate) fn member<'a>(json: &'a str, name: &str) -> Result<Option<&'a str>, EvalError> {
    let whole: Result<IgnoredAny, _> = serde_json::from_slice(json.as_bytes());
    whole.map_err(|_| EvalError::BadJson)?;
    let mut left = Scan { text: json, at: 0 };
    if !left.takes(b'{') {
        return Ok(None);
    }
    let mut found = None;
    while !left.takes(b'}') {
        let key = left.value().ok_or(EvalError::BadJson)?;
        let is_it = text(key).is_some_and(|key| *key == *name);
        if !left.takes(b':') {
            return Err(EvalError::BadJson);
        }
        let value = left.value().ok_or(EvalError::BadJson)?;
        if is_it {
            found = Some(value);
        }
        left.takes(b',');
    }
    Ok(found)
}

/// A place in a text that is JSON.
struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Passes this byte, if it comes next.
    fn takes(&mut self, byte: u8) -> bool {
        self.skip_blanks();
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Passes one value, however deep, and gives its text.
    fn value(&mut self) -> Option<&'a str> {
        self.skip_blanks();
        let start = self.at;
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => self.pass_string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' => self.at += 1,
                _ => self.pass_word(),
            }
            if depth == 0 {
                return self.text.get(start..self.at);
            }
            self.skip_blanks();
        }
    }

    fn pass_string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
    }

    /// A number, true, false or null.
    fn pass_word(&mut self) {
        self.at += 1;
        while self
            .peek()
            .is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+' | b'-'))
        {
            self.at += 1;
        }
    }
}

/// What a member is as text: a text without its quotes, null as `None`, anything else as it stands there.
pub(crate) fn text(json: &str) -> Option<Cow<'_, str>> {
    match json.as_bytes().first() {
        Some(b'n') => None,
        Some(b'"') if json.contains('\\') => {
            serde_json::from_slice(json.as_bytes()).ok().map(Cow::Owned)
        }
        Some(b'"') => json.get(1..json.len().saturating_sub(1)).map(Cow::Borrowed),
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
        let json = r#"{"team":"a\u00e9\"b","n":1.50,"no":null,"o":{"x":[1, 2]},"d":1,"d":2,"":"e", "t" : true , "s p":"x,}:","l":[{"a":"]"}, 2]}"#;
        for (name, expected) in [
            ("team", Some("aé\"b")),
            ("n", Some("1.50")),
            ("no", None),
            ("none", None),
            ("o", Some(r#"{"x":[1, 2]}"#)),
            ("d", Some("2")),
            ("", Some("e")),
            ("t", Some("true")),
            ("s p", Some("x,}:")),
            ("l", Some("[{\"a\":\"]\"}, 2]")),
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
