//! Typed expressions over rows: what filters, arguments of aggregates and mappings are written in.
//!
//! The text is SQL. DataFusion parses it and names its types; it is evaluated here, row by row, because
//! an epoch may be a single row. What is accepted: columns and literals; `= <> < <= > >=`, IN, BETWEEN,
//! LIKE, IS NULL, IS TRUE and their kin; AND, OR, NOT; CASE, COALESCE, NULLIF; `+ - * / %` on bigint and
//! decimal; `||`, concat, lower, upper, trim, ltrim, rtrim, substr; date_trunc, extract and `+ INTERVAL` in
//! UTC; CAST and TRY_CAST. Over the fields of an event also `->` and `->>`, members of JSON.
//!
//! # Guarantees
//! - A value that is given is the value that DataFusion gives, three-valued logic included.
//! - Arithmetic is exact. What leaves the range of its type, a division by zero and a text that is no
//!   number are an [`EvalError`], never a wrapped or clipped number. [`Expression::failures`] says when
//!   the text is read whether that can happen.
//! - A decimal quotient has four digits more than its dividend, the rest is cut off. A cast to fewer
//!   digits rounds half away from zero; a cast to bigint cuts off.
//! - What is not accepted is refused when it is read: a [`Refusal`] with code, place and advice.
//! - [`Expression::text`] is canonical: it does not depend on blanks, case of keywords or parentheses
//!   that change nothing, and it reads back as the same expression.
//!
//! # Non-guarantees
//! - `'1' = 1` is refused rather than guessed; so is everything that depends on a clock, a locale or a
//!   session.
//! - Whether an operand that cannot change the result is evaluated, and may fail, is not promised.

mod aggregate;
mod arithmetic;
mod calendar;
mod cast;
mod compared;
mod evaluate;
mod failure;
mod functions;
mod json;
mod lower;
mod node;
mod parse;
mod print;
mod refusal;
mod terms;
mod text;
mod types;
mod value;

use schemas::RowRef;

pub use aggregate::Aggregate;
pub use functions::{FUNCTIONS, function, options, planners};
pub use parse::{check_depth, tokens};
pub use print::quoted;
pub use refusal::{Code, Refusal};
pub use terms::{Term, parse_quotient, parse_terms};
pub use types::{Columns, Type};
pub use value::{EvalError, Value};

use node::Typed;
use parse::Over;

/// The names of columns in an expression, each once, as they are written.
///
/// # Errors
/// When the text is no SQL expression.
pub fn names(text: &str) -> Result<Vec<String>, Refusal> {
    parse::names(text)
}

/// The parts of a condition over a relation that AND joins, each with the columns that it reads.
///
/// # Errors
/// When the text is no SQL expression.
pub fn conjuncts(text: &str) -> Result<Vec<(String, Vec<String>)>, Refusal> {
    parse::conjuncts(text)
}

/// An expression over the rows of one relation.
#[derive(Debug, Clone)]
pub struct Expression {
    root: Typed,
    text: String,
    failures: Vec<String>,
    guards: Vec<String>,
    sql: String,
}

impl PartialEq for Expression {
    fn eq(&self, other: &Expression) -> bool {
        self.text == other.text
    }
}

impl Eq for Expression {}

impl Expression {
    /// Reads an expression over `columns`.
    ///
    /// # Errors
    /// When the text is no SQL expression, names what does not exist, or asks for what is not accepted.
    pub fn parse(text: &str, columns: &Columns) -> Result<Expression, Refusal> {
        Expression::of(&parse::expression(text, columns, Over::Relation)?, columns)
    }

    /// Reads an expression over the fields of an event: names are as they are written, in upper and lower
    /// case, and `->` and `->>` give members of JSON.
    ///
    /// # Errors
    /// As [`Expression::parse`].
    pub fn parse_map(text: &str, fields: &Columns) -> Result<Expression, Refusal> {
        Expression::of(&parse::expression(text, fields, Over::Event)?, fields)
    }

    /// Reads a condition: an expression that is true, false or unknown.
    ///
    /// # Errors
    /// As [`Expression::parse`], and when its type is not boolean.
    pub fn parse_condition(text: &str, columns: &Columns) -> Result<Expression, Refusal> {
        let condition = Expression::parse(text, columns)?;
        if !matches!(condition.root.ty, Type::Boolean | Type::Null) {
            let (text, ty) = (&condition.text, condition.root.ty);
            let problem = format!("`{text}` is {ty} and no condition; compare it with something");
            return Err(Refusal::new(Code::TypeMismatch, text, problem));
        }
        Ok(condition)
    }

    /// Takes an expression that DataFusion has planned over a schema of these columns.
    ///
    /// # Errors
    /// When it asks for what is not accepted.
    pub fn of(
        planned: &datafusion::logical_expr::Expr,
        columns: &Columns,
    ) -> Result<Expression, Refusal> {
        let root = lower::lower(planned, columns)?;
        parse::check_type(planned, columns, root.ty)?;
        let (text, sql) = (print::text(&root), print::sql(&root));
        let (failures, guards) = (failure::all(&root), failure::guards(&root));
        Ok(Expression { root: evaluate::folded(root), text, failures, guards, sql })
    }

    /// A column and nothing else, of any type. Of doubles there are no values here: who passes the column on
    /// takes it from the row, see [`Expression::as_column`].
    pub fn column(columns: &Columns, index: usize) -> Option<Expression> {
        let (name, ty) = columns.get(index)?;
        let root = Typed { node: node::Node::Column { index, name: name.to_owned() }, ty };
        let (text, sql) = (print::text(&root), print::sql(&root));
        Some(Expression { text, failures: Vec::new(), guards: Vec::new(), sql, root })
    }

    /// The type of its values.
    pub fn ty(&self) -> Type {
        self.root.ty
    }

    /// The canonical text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The column it consists of, when it is a column and nothing else.
    pub fn as_column(&self) -> Option<usize> {
        self.root.as_column()
    }

    /// Whether it reads a column of which this holds.
    pub fn reads(&self, holds: impl Fn(usize) -> bool) -> bool {
        self.root.columns().into_iter().any(holds)
    }

    /// The columns that it compares with texts, for equality, and these.
    pub fn compared(&self) -> Vec<(usize, &str)> {
        let mut found = Vec::new();
        compared::find(&self.root, &mut found);
        found
    }

    /// Why it may fail on some row, of each part that may; none when it gives a value for every row.
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    /// Its text with all names in quotes, as it can stand anywhere in SQL. It is null where this divides by zero.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// Conditions in SQL that hold of the rows on which it divides nothing by zero.
    pub fn guards(&self) -> &[String] {
        &self.guards
    }

    /// Digits after the point of its values; `None` when they are no numbers.
    pub fn scale(&self) -> Option<u8> {
        self.root.ty.digits().map(|(_, scale)| scale)
    }

    /// The expression, unless it may fail on some row.
    ///
    /// # Errors
    /// When it may: the reason and what cures it.
    pub fn never_failing(self) -> Result<Expression, Refusal> {
        match self.failures.first() {
            None => Ok(self),
            Some(why) => Err(Refusal::new(Code::CanFail, &self.text, why.clone())),
        }
    }

    /// Its value for a row.
    ///
    /// # Errors
    /// When the row makes it fail.
    pub fn evaluate<'a>(&'a self, row: RowRef<'a>) -> Result<Value<'a>, EvalError> {
        evaluate::value(&self.root, row)
    }

    /// Whether it is true of a row; unknown is not true.
    ///
    /// # Errors
    /// When the row makes it fail.
    pub fn selects(&self, row: RowRef<'_>) -> Result<bool, EvalError> {
        Ok(evaluate::truth(&self.root, row)? == Some(true))
    }

    /// Whether it may be true of a row of which some values are not known: every part that AND joins is
    /// true, or reads such a value.
    ///
    /// # Errors
    /// When the row makes it fail.
    pub fn may_select(&self, row: RowRef<'_>) -> Result<bool, EvalError> {
        for part in self.root.conjuncts() {
            let is_open = part.columns().into_iter().any(|column| row.is_unknown(column));
            if !is_open && evaluate::truth(part, row)? != Some(true) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl std::fmt::Display for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
