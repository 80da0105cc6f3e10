//! Sums of names, `a + b - c`, and quotients of two: what ratios are made of.

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

/// Reads a sum of names, or one sum divided by another: what stands above the line, and below it.
///
/// # Errors
/// When the text is anything else.
pub fn parse_quotient(text: &str) -> Result<(Vec<Term>, Option<Vec<Term>>), Refusal> {
    let refused = || {
        let problem = format!(
            "`{text}` must be names joined with + and -, or one such sum divided by another: \
             `(a - b) / c`"
        );
        Refusal::new(Code::NotSupported, text, problem)
    };
    let sum = |syntax: &Expr| {
        let mut terms = Vec::new();
        collect(syntax, false, &mut terms).ok_or_else(refused).map(|()| terms)
    };
    let syntax = parse::syntax(text).map_err(|_| refused())?;
    match peeled(&syntax) {
        Expr::BinaryOp { left, op: BinaryOperator::Divide, right } => {
            Ok((sum(left)?, Some(sum(right)?)))
        }
        whole => Ok((sum(whole)?, None)),
    }
}

/// What is inside of parentheses.
fn peeled(mut syntax: &Expr) -> &Expr {
    while let Expr::Nested(inner) = syntax {
        syntax = inner;
    }
    syntax
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_are_of_sums() {
        let shown = |terms: &[Term]| {
            let sign = |term: &Term| if term.minus { '-' } else { '+' };
            terms.iter().map(|t| format!("{}{}", sign(t), t.name)).collect::<String>()
        };
        let read = |text: &str| {
            let (above, below) = parse_quotient(text).ok()?;
            Some((shown(&above), below.map(|below| shown(&below))))
        };
        let some =
            |above: &str, below: Option<&str>| Some((above.into(), below.map(str::to_owned)));
        assert_eq!(read("Revenue"), some("+revenue", None));
        assert_eq!(read("a - (b - c)"), some("+a-b+c", None));
        assert_eq!(read("(a - b) / c"), some("+a-b", Some("+c")));
        assert_eq!(read("((a) / (b + c))"), some("+a", Some("+b+c")));
        for text in ["a + b / c", "a / b / c", "a * b", "2 / a", "", "a /"] {
            let refused = parse_quotient(text).unwrap_err().to_string();
            assert!(refused.contains("divided by another"), "{text}: {refused}");
        }
    }
}
