//! From text to DataFusion's plan: one SELECT, over relations that are there.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::common::{Column, DataFusionError, SchemaError};
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::planner::SqlToRel;
use datafusion::sql::sqlparser::ast::{Query, Statement, Visit, Visitor, visit_relations};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use crate::names::{self, Names};
use crate::refusal::{Code, Refusal};
use crate::relations::Relations;

/// Reads one query.
pub(crate) fn query(text: &str) -> Result<Query, Refusal> {
    let tokens = expr::tokens(text)?;
    let parsed = Parser::new(&PostgreSqlDialect {}).with_tokens_with_locations(tokens);
    let parsed = { parsed }.parse_statements();
    let syntax = |problem: String| {
        let advice = "a view is one SELECT";
        Refusal::new(Code::Expression(expr::Code::Syntax), "", problem, advice)
    };
    let statements = parsed.map_err(|e| syntax(e.to_string()))?;
    let query = match <[Statement; 1]>::try_from(statements) {
        Ok([Statement::Query(query)]) => *query,
        Ok([other]) => return Err(syntax(format!("`{other}` is no SELECT"))),
        Err(all) => return Err(syntax(format!("there are {} statements", all.len()))),
    };
    expr::check_depth(&query)?;
    match query.visit(&mut Recursion) {
        ControlFlow::Continue(()) => Ok(query),
        ControlFlow::Break(()) => {
            let problem = "a WITH RECURSIVE cannot be kept up to date";
            let advice = "write the levels that there are as joins";
            Err(Refusal::new(Code::Recursive, "RECURSIVE", problem, advice))
        }
    }
}

/// Finds WITH RECURSIVE.
struct Recursion;

impl Visitor for Recursion {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        match query.with.as_ref().is_some_and(|with| with.recursive) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

/// The names that a query reads from, those of its own WITH included.
pub(crate) fn relations(query: &Query) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let visited: ControlFlow<()> = visit_relations(query, |name| {
        let part = name.0.last().and_then(|part| part.as_ident());
        names.extend(part.map(|ident| match ident.quote_style {
            None => ident.value.to_lowercase(),
            Some(_) => ident.value.clone(),
        }));
        ControlFlow::Continue(())
    });
    // It never breaks.
    let (ControlFlow::Continue(()) | ControlFlow::Break(())) = visited;
    names
}

/// Has a query planned.
pub(crate) fn plan(query: Query, relations: &Relations) -> Result<LogicalPlan, Refusal> {
    let names = Names::new(relations);
    let planner = SqlToRel::new_with_options(&names, expr::options());
    let planned = planner.sql_statement_to_plan(Statement::Query(Box::new(query)));
    planned.map_err(|error| refusal(&error, &names))
}

fn refusal(error: &DataFusionError, asked: &Names<'_>) -> Refusal {
    if let DataFusionError::SchemaError(schema, _) = error.find_root()
        && let SchemaError::FieldNotFound { field, valid_fields } = &**schema
    {
        if let Some(refusal) = names::volatile(&field.name) {
            return refusal;
        }
        let may_be = |other: &&Column| field.relation.is_none() || other.relation == field.relation;
        let known = valid_fields.iter().filter(may_be).map(|field| field.name.as_str());
        let hint = schemas::nearest::nearest(&field.name, known);
        let problem = format!("there is no column `{}`{hint}", field.flat_name());
        let code = Code::Expression(expr::Code::UnknownColumn);
        return Refusal::new(code, field.flat_name(), problem, "");
    }
    asked.refusal().unwrap_or_else(|| invalid(error))
}

/// What DataFusion says of a text that it cannot plan.
pub(crate) fn invalid(error: &DataFusionError) -> Refusal {
    let text = error.strip_backtrace();
    let problem = text.lines().next().unwrap_or_default();
    // Casts are no part of the names that DataFusion gives.
    let is_taken = problem.contains("duplicate") || problem.contains("same name");
    let advice = if is_taken { "compute one of them in a subquery, with AS" } else { "" };
    Refusal::new(Code::Invalid, "", problem, advice)
}
