//! Filter conditions: a small, sound subset of SQL, parsed by DataFusion's own parser and evaluated
//! on rows as they pass.
//!
//! # Guarantees
//! - What is accepted means here what it means in SQL, three-valued logic included: a comparison with
//!   null is unknown, and an unknown row is not selected.
//! - What is outside the subset is refused when the definition is read, with the reason.
//!
//! # Non-guarantees
//! - No arithmetic, no functions, no column compared with a column.

use std::cmp::Ordering;

use datafusion::sql::sqlparser::ast::{BinaryOperator, DataType, Expr, UnaryOperator, Value};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;
use schemas::{ColumnType, Contract, Micros, RowRef, decimal};

use crate::nearest::nearest;

/// A compiled condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter(Node);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Compare { column: usize, test: Test, literal: Literal },
    In { column: usize, list: Vec<Literal>, negated: bool },
    Between { column: usize, low: Literal, high: Literal, negated: bool },
    IsNull { column: usize, negated: bool },
    Not(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Literal {
    Text(String),
    Decimal(i128),
    Timestamp(Micros),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Test {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Test::Equal => order.is_eq(),
            Test::NotEqual => order.is_ne(),
            Test::Less => order.is_lt(),
            Test::LessOrEqual => order.is_le(),
            Test::Greater => order.is_gt(),
            Test::GreaterOrEqual => order.is_ge(),
        }
    }

    /// The test with its sides swapped.
    fn flipped(self) -> Test {
        match self {
            Test::Less => Test::Greater,
            Test::LessOrEqual => Test::GreaterOrEqual,
            Test::Greater => Test::Less,
            Test::GreaterOrEqual => Test::LessOrEqual,
            same => same,
        }
    }

    fn of(operator: &BinaryOperator) -> Option<Test> {
        Some(match operator {
            BinaryOperator::Eq => Test::Equal,
            BinaryOperator::NotEq => Test::NotEqual,
            BinaryOperator::Lt => Test::Less,
            BinaryOperator::LtEq => Test::LessOrEqual,
            BinaryOperator::Gt => Test::Greater,
            BinaryOperator::GtEq => Test::GreaterOrEqual,
            _ => return None,
        })
    }
}

impl Filter {
    /// Compiles a condition on the columns of `contract`. The error says what is not accepted and why.
    pub(crate) fn compile(text: &str, contract: &Contract) -> Result<Filter, String> {
        let dialect = PostgreSqlDialect {};
        let mut parser = Parser::new(&dialect).try_with_sql(text).map_err(|e| e.to_string())?;
        let expression = parser.parse_expr().map_err(|e| e.to_string())?;
        let rest = parser.next_token();
        if rest.token != Token::EOF {
            return Err(format!("`{rest}` follows the end of the condition"));
        }
        node(&expression, contract).map(Filter)
    }

    /// Whether the condition is true of the row; unknown is not true.
    pub(crate) fn selects(&self, row: RowRef<'_>) -> bool {
        self.0.evaluate(row) == Some(true)
    }
}

impl Node {
    /// True, false, or `None` for unknown.
    fn evaluate(&self, row: RowRef<'_>) -> Option<bool> {
        match self {
            Node::Compare { column, test, literal } => {
                literal.order(row, *column).map(|order| test.holds(order))
            }
            Node::In { column, list, negated } => {
                if row.is_null(*column) {
                    return None;
                }
                let found = list.iter().any(|l| l.order(row, *column) == Some(Ordering::Equal));
                Some(found != *negated)
            }
            Node::Between { column, low, high, negated } => {
                let inside = low.order(row, *column)?.is_ge() && high.order(row, *column)?.is_le();
                Some(inside != *negated)
            }
            Node::IsNull { column, negated } => Some(row.is_null(*column) != *negated),
            Node::Not(inner) => inner.evaluate(row).map(|value| !value),
            Node::And(left, right) => match (left.evaluate(row), right.evaluate(row)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Node::Or(left, right) => match (left.evaluate(row), right.evaluate(row)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
        }
    }
}

impl Literal {
    /// How the column's value compares with this literal; `None` when it is null.
    fn order(&self, row: RowRef<'_>, column: usize) -> Option<Ordering> {
        match self {
            Literal::Text(text) => row.text(column).map(|value| value.cmp(text)),
            Literal::Decimal(number) => row.decimal(column).map(|value| value.cmp(number)),
            Literal::Timestamp(at) => row.timestamp(column).map(|value| value.cmp(at)),
        }
    }
}

fn node(expression: &Expr, contract: &Contract) -> Result<Node, String> {
    match expression {
        Expr::Nested(inner) => node(inner, contract),
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => {
            Ok(Node::Not(Box::new(node(expr, contract)?)))
        }
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            Ok(Node::And(Box::new(node(left, contract)?), Box::new(node(right, contract)?)))
        }
        Expr::BinaryOp { left, op: BinaryOperator::Or, right } => {
            Ok(Node::Or(Box::new(node(left, contract)?), Box::new(node(right, contract)?)))
        }
        Expr::BinaryOp { left, op, right } => comparison(left, op, right, contract),
        Expr::IsNull(inner) => {
            Ok(Node::IsNull { column: column(inner, contract)?, negated: false })
        }
        Expr::IsNotNull(inner) => {
            Ok(Node::IsNull { column: column(inner, contract)?, negated: true })
        }
        Expr::InList { expr, list, negated } => {
            let column = column(expr, contract)?;
            let list =
                list.iter().map(|l| literal(l, column, contract)).collect::<Result<_, _>>()?;
            Ok(Node::In { column, list, negated: *negated })
        }
        Expr::Between { expr, negated, low, high } => {
            let column = column(expr, contract)?;
            let (low, high) = (literal(low, column, contract)?, literal(high, column, contract)?);
            Ok(Node::Between { column, low, high, negated: *negated })
        }
        other => Err(format!(
            "`{other}` is not accepted in a filter; use comparisons, IN, BETWEEN, IS NULL, AND, OR, NOT"
        )),
    }
}

fn comparison(
    left: &Expr,
    operator: &BinaryOperator,
    right: &Expr,
    contract: &Contract,
) -> Result<Node, String> {
    let Some(test) = Test::of(operator) else {
        return Err(format!("operator `{operator}` is not accepted; use = <> < <= > >="));
    };
    if let Ok(column) = column(left, contract) {
        return Ok(Node::Compare { column, test, literal: literal(right, column, contract)? });
    }
    match column(right, contract) {
        Ok(column) => {
            let literal = literal(left, column, contract)?;
            Ok(Node::Compare { column, test: test.flipped(), literal })
        }
        Err(_) => Err(column(left, contract).err().unwrap_or_default()),
    }
}

fn column(expression: &Expr, contract: &Contract) -> Result<usize, String> {
    match expression {
        Expr::Nested(inner) => column(inner, contract),
        Expr::Identifier(name) => {
            // SQL folds names that are not quoted to lower case.
            let name = if name.quote_style.is_some() {
                name.value.clone()
            } else {
                name.value.to_lowercase()
            };
            let index = contract.column(&name).ok_or_else(|| unknown_column(&name, contract))?;
            match contract.columns.get(index).map(|column| column.kind) {
                Some(ColumnType::Json) => Err(format!("column `{name}` is JSON and has no order")),
                _ => Ok(index),
            }
        }
        other => Err(format!("`{other}` is not a column of `{}`", contract.name)),
    }
}

/// The message for a column that a contract does not have.
pub(crate) fn unknown_column(name: &str, contract: &Contract) -> String {
    let hint = nearest(name, contract.columns.iter().map(|column| column.name.as_str()));
    format!("contract `{}` has no column `{name}`{hint}", contract.name)
}

fn literal(expression: &Expr, column: usize, contract: &Contract) -> Result<Literal, String> {
    let Some(column) = contract.columns.get(column) else {
        return Err("column is out of range".into());
    };
    let text = literal_text(expression)?;
    match (column.kind, text) {
        (ColumnType::Text, Word::Text(text)) => Ok(Literal::Text(text)),
        (ColumnType::Timestamp, Word::Text(text)) => match Micros::parse(&text) {
            Some(at) => Ok(Literal::Timestamp(at)),
            None => Err(format!("'{text}' is no timestamp; write '2026-01-31T00:00:00Z'")),
        },
        (ColumnType::Decimal { scale, .. }, Word::Number(text)) => {
            decimal::parse(text.as_bytes(), u32::from(scale)).map(Literal::Decimal).ok_or_else(
                || {
                    format!(
                        "{text} does not fit `{}`, which has {scale} digits after the point",
                        column.name
                    )
                },
            )
        }
        (_, Word::Text(text)) => Err(format!("column `{}` is no text like '{text}'", column.name)),
        (_, Word::Number(text)) => {
            Err(format!("column `{}` is no number like {text}", column.name))
        }
    }
}

enum Word {
    Text(String),
    Number(String),
}

fn literal_text(expression: &Expr) -> Result<Word, String> {
    let refused = || Err(format!("`{expression}` is not accepted; compare with a literal"));
    match expression {
        Expr::Nested(inner) => literal_text(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match literal_text(expr)? {
            Word::Number(text) if !text.starts_with('-') => Ok(Word::Number(format!("-{text}"))),
            _ => refused(),
        },
        Expr::TypedString(typed) => match (&typed.data_type, &typed.value.value) {
            (DataType::Timestamp(..) | DataType::Date, Value::SingleQuotedString(text)) => {
                Ok(Word::Text(text.clone()))
            }
            _ => refused(),
        },
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Ok(Word::Text(text.clone())),
            Value::Number(text, _) => Ok(Word::Number(text.clone())),
            Value::Null => Err("a comparison with NULL is never true; use IS NULL".into()),
            _ => refused(),
        },
        _ => refused(),
    }
}

#[cfg(test)]
mod tests;
