//! Aggregates: what stands in the place of a number that is kept up to date.

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
};

use crate::parse;
use crate::refusal::{Code, Refusal};

/// An aggregate, its argument not yet read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aggregate {
    /// `count(*)`.
    Count,
    /// `sum(...)` of the expression with this text.
    Sum(String),
}

impl Aggregate {
    /// Reads `count(*)` or `sum(expression)`.
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn parse(text: &str) -> Result<Aggregate, Refusal> {
        let refused = || {
            let problem =
                format!("`{text}` cannot be kept up to date; use sum(expression) or count(*)");
            Refusal::new(Code::NotSupported, text, problem)
        };
        let Expr::Function(function) = parse::syntax(text)? else { return Err(refused()) };
        let argument = argument(&function).ok_or_else(refused)?;
        match (function.name.to_string().to_lowercase().as_str(), argument) {
            ("count", FunctionArgExpr::Wildcard) => Ok(Aggregate::Count),
            ("sum", FunctionArgExpr::Expr(argument)) => Ok(Aggregate::Sum(argument.to_string())),
            _ => Err(refused()),
        }
    }
}

/// The only argument of a plain call: without DISTINCT, FILTER, OVER and the like.
fn argument(function: &Function) -> Option<&FunctionArgExpr> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let is_plain = list.duplicate_treatment.is_none()
        && list.clauses.is_empty()
        && function.filter.is_none()
        && function.over.is_none()
        && function.null_treatment.is_none()
        && function.within_group.is_empty()
        && matches!(function.parameters, FunctionArguments::None);
    match (list.args.as_slice(), is_plain) {
        ([FunctionArg::Unnamed(argument)], true) => Some(argument),
        _ => None,
    }
}
