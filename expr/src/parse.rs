//! Parsing and planning by DataFusion: from text to its expression over named and typed columns.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TransformedResult, TreeNode};
use datafusion::common::{DFSchema, DataFusionError, SchemaError, TableReference, plan_err};
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner};
use datafusion::logical_expr::{
    AggregateUDF, Expr, ExprSchemable, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF,
};
use datafusion::optimizer::analyzer::type_coercion::TypeCoercionRewriter;
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast::{self, Visit, Visitor};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use schemas::nearest;

use crate::functions::{self, FUNCTIONS};
use crate::refusal::{Code, Refusal};
use crate::types::{Columns, Type};

/// How deep an expression may be: planning and evaluation go down by recursion.
pub(crate) const DEPTH_MAX: usize = 200;

/// How many parentheses may be open at once: the parser tries arguments of functions in two ways, so that
/// each more of them doubles its time.
const PARENTHESES_MAX: usize = 12;

/// The tokens of an SQL text, for its parser: never so many open parentheses that it would take long.
///
/// # Errors
/// When it is no SQL, or has too many of them.
pub fn tokens(text: &str) -> Result<Vec<TokenWithSpan>, Refusal> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location();
    let tokens = tokens.map_err(|e| Refusal::new(Code::Syntax, text, e.to_string()))?;
    let mut open = 0_usize;
    for token in &tokens {
        match token.token {
            Token::LParen => open += 1,
            Token::RParen => open = open.saturating_sub(1),
            _ => {}
        }
        if open > PARENTHESES_MAX {
            let problem = format!("has more than {PARENTHESES_MAX} parentheses open at once");
            return Err(Refusal::new(Code::NotSupported, "(", problem));
        }
    }
    Ok(tokens)
}

/// Whether expressions in it go deeper than planning and evaluation may.
///
/// # Errors
/// When they do.
pub fn check_depth(syntax: &impl Visit) -> Result<(), Refusal> {
    if syntax.visit(&mut Depth(0)).is_break() { Err(too_deep()) } else { Ok(()) }
}

/// Reads one SQL expression and nothing after it.
pub(crate) fn syntax(text: &str) -> Result<ast::Expr, Refusal> {
    let refused =
        |error: &dyn std::fmt::Display| Refusal::new(Code::Syntax, text, error.to_string());
    let dialect = PostgreSqlDialect {};
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens(text)?);
    let expression = parser.parse_expr().map_err(|e| refused(&e))?;
    let rest = parser.next_token();
    if rest.token != Token::EOF {
        let problem = format!("`{rest}` follows the end of the expression");
        return Err(Refusal::new(Code::Syntax, rest, problem));
    }
    check_depth(&expression)?;
    Ok(expression)
}

/// The refusal of what recursion might not come back from.
pub(crate) fn too_deep() -> Refusal {
    let problem = format!("is nested more than {DEPTH_MAX} deep; use IN for long lists");
    Refusal::new(Code::NotSupported, "(", problem)
}

/// How deep an expression is; breaks where that is too deep.
struct Depth(usize);

impl Visitor for Depth {
    type Break = ();

    fn pre_visit_expr(&mut self, _expr: &ast::Expr) -> ControlFlow<()> {
        self.0 += 1;
        if self.0 > DEPTH_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn post_visit_expr(&mut self, _expr: &ast::Expr) -> ControlFlow<()> {
        self.0 -= 1;
        ControlFlow::Continue(())
    }
}

/// The names of columns in a text, each once, as they are written.
pub(crate) fn names(text: &str) -> Result<Vec<String>, Refusal> {
    let mut found = Found(Vec::new());
    // It never breaks.
    let (ControlFlow::Continue(()) | ControlFlow::Break(())) = syntax(text)?.visit(&mut found);
    Ok(found.0)
}

/// The parts of a condition over a relation that AND joins, each with the names of its columns: without
/// quotes they are in lower case.
pub(crate) fn conjuncts(text: &str) -> Result<Vec<(String, Vec<String>)>, Refusal> {
    let syntax = syntax(text)?;
    let (mut open, mut parts) = (vec![&syntax], Vec::new());
    while let Some(part) = open.pop() {
        match part {
            ast::Expr::Nested(one) => open.push(one),
            ast::Expr::BinaryOp { left, op: ast::BinaryOperator::And, right } => {
                open.extend([&**right, left]);
            }
            part => {
                let mut found = Idents(Vec::new());
                // It never breaks.
                let (ControlFlow::Continue(()) | ControlFlow::Break(())) = part.visit(&mut found);
                parts.push((part.to_string(), found.0));
            }
        }
    }
    Ok(parts)
}

/// A name as a relation knows it: without quotes it is in lower case.
pub(crate) fn folded(name: &ast::Ident) -> String {
    match name.quote_style {
        None => name.value.to_lowercase(),
        Some(_) => name.value.clone(),
    }
}

struct Idents(Vec<String>);

impl Visitor for Idents {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
        if let ast::Expr::Identifier(name) = expr {
            self.0.push(folded(name));
        }
        ControlFlow::Continue(())
    }
}

struct Found(Vec<String>);

impl Visitor for Found {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
        if let ast::Expr::Identifier(name) = expr
            && !self.0.contains(&name.value)
        {
            self.0.push(name.value.clone());
        }
        ControlFlow::Continue(())
    }
}

/// What is written in SQL: where that makes a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// A relation: names without quotes are in lower case.
    Relation,
    /// The fields of an event: names are as they are written, and members of JSON may be asked for.
    Event,
}

/// Reads an expression and has it planned over `columns`.
pub(crate) fn expression(text: &str, columns: &Columns, over: Over) -> Result<Expr, Refusal> {
    let syntax = syntax(text)?;
    let names = Names::new(over);
    let options = functions::options().with_enable_ident_normalization(over == Over::Relation);
    let schema = schema(columns, text)?;
    let planner = SqlToRel::new_with_options(&names, options);
    let planned = planner.sql_to_expr(syntax, &schema, &mut PlannerContext::new());
    planned.map_err(|error| refusal(error, &names, text, columns))
}

/// Refuses an expression whose type DataFusion sees otherwise.
pub(crate) fn check_type(planned: &Expr, columns: &Columns, own: Type) -> Result<(), Refusal> {
    let text = planned.human_display().to_string();
    let schema = schema(columns, &text)?;
    let refused = |e: &DataFusionError| Refusal::new(Code::TypeMismatch, &text, first_line(e));
    let coerced = planned.clone().rewrite(&mut TypeCoercionRewriter::new(&schema)).data();
    let theirs = coerced.and_then(|expr| expr.get_type(&schema)).map_err(|e| refused(&e))?;
    let same = match (Type::of_arrow(&theirs), own) {
        (Some(Type::Decimal { scale: theirs, .. }), Type::Decimal { scale, .. }) => theirs == scale,
        (Some(Type::Text), Type::Json) => true,
        (theirs, own) => theirs == Some(own),
    };
    if same {
        return Ok(());
    }
    let problem = format!("`{text}` is {own} here and {theirs} to DataFusion; CAST it");
    Err(Refusal::new(Code::TypeMismatch, text, problem))
}

fn schema(columns: &Columns, text: &str) -> Result<DFSchema, Refusal> {
    DFSchema::try_from(columns.arrow())
        .map_err(|e| Refusal::new(Code::Syntax, text, first_line(&e)))
}

fn refusal(error: DataFusionError, names: &Names, text: &str, columns: &Columns) -> Refusal {
    if let DataFusionError::SchemaError(schema, _) = error.find_root()
        && let SchemaError::FieldNotFound { field, .. } = &**schema
    {
        let problem = columns.unknown(&field.name);
        return Refusal::new(Code::UnknownColumn, &field.name, problem);
    }
    if let Some(name) = names.unknown.take() {
        let hint = nearest::nearest(&name, FUNCTIONS.into_iter());
        let known = FUNCTIONS.join(", ");
        let problem = format!("there is no function `{name}` here{hint}; there are {known}");
        return Refusal::new(Code::UnknownFunction, &name, problem);
    }
    Refusal::new(Code::NotSupported, text, first_line(&error))
}

fn first_line(error: &DataFusionError) -> String {
    let text = error.strip_backtrace();
    text.lines().next().unwrap_or_default().to_owned()
}

/// The functions that texts may name, and the one that was asked for and is not there.
struct Names {
    options: ConfigOptions,
    planners: Vec<Arc<dyn ExprPlanner>>,
    unknown: RefCell<Option<String>>,
}

impl Names {
    fn new(over: Over) -> Names {
        let planners = functions::planners(over == Over::Event);
        Names { options: ConfigOptions::new(), planners, unknown: RefCell::new(None) }
    }
}

impl ContextProvider for Names {
    fn get_table_source(
        &self,
        name: TableReference,
    ) -> datafusion::common::Result<Arc<dyn TableSource>> {
        plan_err!("a table has no place in an expression: `{name}`")
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let found = functions::function(name);
        if found.is_none() {
            self.unknown.replace(Some(name.to_owned()));
        }
        found
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, _name: &str) -> Option<Arc<AggregateUDF>> {
        None
    }

    fn get_window_meta(&self, _name: &str) -> Option<Arc<WindowUDF>> {
        None
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}
