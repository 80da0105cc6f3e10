//! The canonical text of a tree: SQL that reads back as the same tree; and SQL that any parser takes.

use datafusion::sql::sqlparser::ast::Expr;

use crate::cast::number_text;
use crate::failure;
use crate::node::{Arithmetic, Function, Is, Node, Span, Typed};
use crate::parse;
use crate::types::Type;
use crate::value::Value;

// How strongly things bind, weakest first.
const OR: u8 = 1;
const AND: u8 = 2;
const NOT: u8 = 3;
const COMPARISON: u8 = 4;
const JOIN: u8 = 5;
const SUM: u8 = 6;
const PRODUCT: u8 = 7;
const SIGN: u8 = 8;
const ATOM: u8 = 9;

/// How names are written: all in quotes, or those that do not read back as themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    Short,
    Quoted,
}

impl Names {
    fn of(self, name: &str) -> String {
        if self == Names::Quoted { quoted(name) } else { short(name) }
    }
}

/// The text of a tree.
pub(crate) fn text(tree: &Typed) -> String {
    written(tree, Names::Short).0
}

/// The same with all names in quotes: `end` is one by itself, and none before AS. Where it divides by zero it is null.
pub(crate) fn sql(tree: &Typed) -> String {
    written(tree, Names::Quoted).0
}

/// The text, in parentheses when it binds less than `least`.
fn inner(tree: &Typed, least: u8, names: Names) -> String {
    let (text, binds) = written(tree, names);
    if binds < least { format!("({text})") } else { text }
}

fn list(trees: &[Typed], names: Names) -> String {
    trees.iter().map(|tree| written(tree, names).0).collect::<Vec<_>>().join(", ")
}

fn joined(trees: &[Typed], operator: &str, binds: u8, names: Names) -> (String, u8) {
    let parts = trees.iter().map(|tree| inner(tree, binds + 1, names)).collect::<Vec<_>>();
    (parts.join(operator), binds)
}

fn written(tree: &Typed, names: Names) -> (String, u8) {
    let text = |tree: &Typed| written(tree, names).0;
    let inner = |tree: &Typed, least: u8| inner(tree, least, names);
    let not = |negated: bool| if negated { "NOT " } else { "" };
    match &tree.node {
        Node::Column { name, .. } => (names.of(name), ATOM),
        Node::Literal(value) => literal(value, tree.ty),
        Node::And(parts) => joined(parts, " AND ", AND, names),
        Node::Or(parts) => joined(parts, " OR ", OR, names),
        Node::Not(one) => (format!("NOT {}", inner(one, NOT)), NOT),
        Node::Compare { test, left, right } => {
            let (left, right) = (inner(left, JOIN), inner(right, JOIN));
            (format!("{left} {} {right}", test.text()), COMPARISON)
        }
        Node::Is { what, operand, negated } => {
            let what = match what {
                Is::Null => "NULL",
                Is::True => "TRUE",
                Is::False => "FALSE",
                Is::Unknown => "UNKNOWN",
            };
            (format!("{} IS {}{what}", inner(operand, JOIN), not(*negated)), COMPARISON)
        }
        Node::In { operand, list: items, negated } => {
            let operand = inner(operand, JOIN);
            (format!("{operand} {}IN ({})", not(*negated), list(items, names)), COMPARISON)
        }
        Node::Between { operand, low, high, negated } => {
            let [operand, low, high] = [operand, low, high].map(|one| inner(one, JOIN));
            (format!("{operand} {}BETWEEN {low} AND {high}", not(*negated)), COMPARISON)
        }
        Node::Like { operand, pattern, negated } => {
            let (operand, pattern) = (inner(operand, JOIN), inner(pattern, JOIN));
            (format!("{operand} {}LIKE {pattern}", not(*negated)), COMPARISON)
        }
        Node::Case { operand, branches, otherwise } => {
            let mut out = String::from("CASE");
            operand.iter().for_each(|one| out.push_str(&format!(" {}", text(one))));
            for (when, then) in branches {
                out.push_str(&format!(" WHEN {} THEN {}", text(when), text(then)));
            }
            otherwise.iter().for_each(|one| out.push_str(&format!(" ELSE {}", text(one))));
            (out + " END", ATOM)
        }
        Node::Arithmetic { operator, left, right } => {
            computed((*operator, left, right), names, failure::divides_by_zero(tree))
        }
        // Two signs in a row would begin a comment.
        Node::Negate(one) => (format!("-{}", inner(one, ATOM)), SIGN),
        Node::Call { function: Function::Join, args } => joined(args, " || ", JOIN, names),
        Node::Call { function: function @ (Function::Member | Function::MemberText), args } => {
            let parts: Vec<_> = args.iter().map(|arg| inner(arg, ATOM)).collect();
            (format!("({})", parts.join(&format!(" {} ", function.name()))), ATOM)
        }
        Node::Call { function, args } => {
            (format!("{}({})", function.name(), list(args, names)), ATOM)
        }
        Node::DateTrunc { unit, at } => {
            (format!("date_trunc('{}', {})", unit.name(), text(at)), ATOM)
        }
        Node::Extract { part, at } => (format!("extract({} FROM {})", part.name(), text(at)), ATOM),
        Node::Shift { at, by } => (format!("{} + INTERVAL '{}'", inner(at, SUM), span(*by)), SUM),
        Node::Cast { operand, or_null } => {
            let name = if *or_null { "TRY_CAST" } else { "CAST" };
            (format!("{name}({} AS {})", text(operand), type_name(tree.ty)), ATOM)
        }
    }
}

/// An operator with its sides.
fn computed(
    (operator, left, right): (Arithmetic, &Typed, &Typed),
    names: Names,
    divides_by_zero: bool,
) -> (String, u8) {
    let binds = match operator {
        Arithmetic::Add | Arithmetic::Subtract => SUM,
        _ => PRODUCT,
    };
    let divisor = match names == Names::Quoted && divides_by_zero {
        // Of the same type, which NULLIF might not be.
        true => format!("CASE WHEN ({0}) <> 0 THEN ({0}) END", written(right, names).0),
        false => inner(right, binds + 1, names),
    };
    (format!("{} {} {divisor}", inner(left, binds, names), operator.text()), binds)
}

/// `12 months 3 days`
fn span(Span { months, days, micros }: Span) -> String {
    let units =
        [(i64::from(months), "months"), (i64::from(days), "days"), (micros, "microseconds")];
    let named = units.into_iter().filter(|(number, _)| *number != 0);
    let named: Vec<_> = named.map(|(number, unit)| format!("{number} {unit}")).collect();
    if named.is_empty() { "0 days".to_owned() } else { named.join(" ") }
}

fn literal(value: &Value<'_>, ty: Type) -> (String, u8) {
    let text = match value {
        Value::Null => "NULL".to_owned(),
        Value::Boolean(value) => if *value { "TRUE" } else { "FALSE" }.to_owned(),
        Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Value::Bigint(_) | Value::Decimal(_) => {
            let text = number_text(value, ty.scale());
            let binds = if text.starts_with('-') { SIGN } else { ATOM };
            return (text, binds);
        }
        Value::Date(day) => {
            format!("DATE '{}'", crate::calendar::midnight(*day).date())
        }
        Value::Timestamp(at) => format!("TIMESTAMP '{}'", at),
    };
    (text, ATOM)
}

fn type_name(ty: Type) -> String {
    match ty {
        Type::Bigint => "BIGINT".to_owned(),
        Type::Decimal { precision, scale } => format!("DECIMAL({precision},{scale})"),
        Type::Date => "DATE".to_owned(),
        Type::Timestamp => "TIMESTAMP".to_owned(),
        Type::Boolean => "BOOLEAN".to_owned(),
        Type::Text | Type::Json | Type::Double | Type::Null => "TEXT".to_owned(),
    }
}

/// The name, in double quotes unless it reads back as itself without.
fn short(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let reads_back = name.chars().all(plain)
        && matches!(parse::syntax(name), Ok(Expr::Identifier(read)) if read.value == name);
    if reads_back { name.to_owned() } else { quoted(name) }
}

/// A name in double quotes.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
