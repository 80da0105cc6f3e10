//! Sums of names: `a + b - c`, of which the numerators of ratios are made.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, UnaryOperator};

use crate::parse;
use crate::refusal::{Code, Refusal};

/// One name of a sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// Whether it is taken away instead of added.
    pub minus: bool,
    /// The name.
    pub name: String,
}

/// Reads names joined with `+` and `-`, in their order.
///
/// # Errors
/// When the text is anything else.
pub fn parse_terms(text: &str) -> Result<Vec<Term>, Refusal> {
    let refused = || {
        let problem = format!("`{text}` must be names joined with + and -");
        Refusal::new(Code::NotSupported, text, problem)
    };
    let syntax = parse::syntax(text).map_err(|_| refused())?;
    let mut terms = Vec::new();
    collect(&syntax, false, &mut terms).ok_or_else(refused)?;
    Ok(terms)
}

fn collect(syntax: &Expr, minus: bool, terms: &mut Vec<Term>) -> Option<()> {
    match syntax {
        Expr::Identifier(name) => {
            terms.push(Term { minus, name: parse::folded(name) });
            Some(())
        }
        Expr::Nested(one) => collect(one, minus, terms),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => collect(expr, !minus, terms),
        Expr::BinaryOp { left, op: BinaryOperator::Plus, right } => {
            collect(left, minus, terms)?;
            collect(right, minus, terms)
        }
        Expr::BinaryOp { left, op: BinaryOperator::Minus, right } => {
            collect(left, minus, terms)?;
            collect(right, !minus, terms)
        }
        _ => None,
    }
}
