//! From DataFusion's plan to steps that can be kept up to date; everything else is refused.

mod group;
mod join;
mod order;
mod over;
mod periods;
mod running;
mod union;

use std::collections::BTreeSet;

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::logical_expr::{
    Distinct, Filter, LogicalPlan, Projection, SubqueryAlias, TableScan,
};
use schemas::{ColumnType, RowSchema};

use crate::plan::{Node, Plan, unique};
use crate::refusal::{Code, Refusal};
use crate::relations::{PERIODS, Relations};
use over::{Over, Read, double, typed};
use running::Running;

pub(crate) use group::{Grouped, TENANT, name as call_name};

/// How many steps a view may have, subqueries that are named several times counted as often.
const STEPS_MAX: usize = 1_000;

/// How deep they may be nested.
const DEPTH_MAX: usize = 200;

type Lowering<T> = Result<T, Refusal>;

/// A step, and its columns as DataFusion names and types them.
#[derive(Debug, Clone)]
pub(crate) struct Lowered {
    pub(crate) plan: Plan,
    schema: DFSchema,
}

/// What a text has become.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) plan: Plan,
    /// The relations that it reads.
    pub(crate) inputs: Vec<String>,
    /// Where the outermost SELECT groups, and nothing but projects what comes of that: the group.
    pub(crate) grouped: Option<Grouped>,
}

/// Lowers the plan of a view.
pub(crate) fn lower(planned: &LogicalPlan, relations: &Relations) -> Result<Root, Refusal> {
    let mut lower = Lower { relations, inputs: BTreeSet::new(), steps: 0, depth: 0 };
    let running = Running::of(planned)?;
    let root = match planned {
        LogicalPlan::Projection(projection) => match &*projection.input {
            LogicalPlan::Aggregate(aggregate) => Some((aggregate, projection)),
            _ => running.as_ref().map(|own| (own.aggregate, &own.projection)),
        },
        _ => None,
    };
    let (lowered, grouped) = match root {
        Some((aggregate, projection)) => {
            let (input, joined) = lower.grouped_rows(aggregate, running.as_ref())?;
            let grouped = group::root(aggregate, projection, &input, joined.as_ref())?;
            let lowered = project(projection, &grouped.lowered)?;
            (lowered, Some(grouped))
        }
        None => (lower.lower(planned, None)?, None),
    };
    let is_null = |field: &DataType| *field == DataType::Null;
    if let Some(at) = lowered.types().iter().position(is_null) {
        let name = lowered.name(at);
        let problem = format!("column `{name}` is NULL and nothing else");
        let code = Code::Expression(expr::Code::TypeMismatch);
        return Err(Refusal::new(code, name, problem, "CAST it to a type"));
    }
    Ok(Root { plan: lowered.plan, inputs: lower.inputs.into_iter().collect(), grouped })
}

impl Lowered {
    fn types(&self) -> Vec<DataType> {
        self.schema.fields().iter().map(|field| field.data_type().clone()).collect()
    }

    fn name(&self, at: usize) -> String {
        self.plan.schema.get(at).map(|column| column.name.clone()).unwrap_or_default()
    }
}

struct Lower<'a> {
    relations: &'a Relations,
    inputs: BTreeSet<String>,
    steps: usize,
    depth: usize,
}

impl Lower<'_> {
    /// The step of a planned node. `rank` is how many rows of ROW_NUMBER what stands above looks at.
    fn lower(&mut self, planned: &LogicalPlan, rank: Option<u64>) -> Lowering<Lowered> {
        self.steps += 1;
        if self.steps > STEPS_MAX || self.depth > DEPTH_MAX {
            let problem = format!("the view has more than {STEPS_MAX} steps");
            let advice = "split it into views that read each other";
            return Err(Refusal::new(Code::NotSupported, "", problem, advice));
        }
        self.depth += 1;
        let lowered = match planned {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::SubqueryAlias(alias) => self.alias(alias, rank),
            LogicalPlan::Projection(projection) => {
                let input = self.lower(&projection.input, rank)?;
                project(projection, &input)
            }
            LogicalPlan::Filter(filter) => self.filter(filter, rank),
            LogicalPlan::Aggregate(aggregate) => {
                let input = self.lower(&aggregate.input, None)?;
                group::inner(aggregate, &input)
            }
            LogicalPlan::Distinct(distinct) => self.distinct(distinct),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Window(window) => self.window(window, rank),
            LogicalPlan::Limit(limit) => self.limit(limit),
            other => Err(not_supported(other)),
        };
        self.depth -= 1;
        lowered
    }

    fn scan(&mut self, scan: &TableScan) -> Lowering<Lowered> {
        let name = scan.table_name.table();
        let Some(relation) = self.relations.find(name) else {
            if name == PERIODS {
                return Err(periods::unbounded("`periods` has no end"));
            }
            let problem = format!("there is no contract or view `{name}`");
            return Err(Refusal::new(Code::UnknownRelation, name, problem, ""));
        };
        if relation.has_period {
            let problem = format!("view `{name}` has a period: it holds other rows at each grain");
            let advice = "read what it reads, or put what both need into a view without period()";
            return Err(Refusal::new(Code::Period, name, problem, advice));
        }
        self.inputs.insert(name.to_owned());
        let types: Vec<DataType> =
            relation.schema.iter().map(|column| rows::data_type(column.kind)).collect();
        let node = Node::Scan { relation: name.to_owned() };
        let plan = Plan { node, schema: relation.schema.clone() };
        Ok(Lowered { plan, schema: typed(&scan.projected_schema, &types)? })
    }

    fn alias(&mut self, alias: &SubqueryAlias, rank: Option<u64>) -> Lowering<Lowered> {
        let input = self.lower(&alias.input, rank)?;
        let schema = typed(&alias.schema, &input.types())?;
        Ok(Lowered { plan: input.plan, schema })
    }

    fn filter(&mut self, filter: &Filter, rank: Option<u64>) -> Lowering<Lowered> {
        let rank = order::bound(filter)?.or(rank);
        let input = self.lower(&filter.input, rank)?;
        let condition = Over::new(&input).condition(&filter.predicate)?;
        Ok(Lowered { plan: Plan::filter(input.plan, condition), schema: input.schema })
    }

    fn distinct(&mut self, distinct: &Distinct) -> Lowering<Lowered> {
        let Distinct::All(input) = distinct else {
            let problem = "DISTINCT ON is not supported";
            let advice = "use ROW_NUMBER() OVER (PARTITION BY ... ORDER BY ...) and WHERE rn = 1";
            return Err(Refusal::new(Code::NotSupported, "DISTINCT ON", problem, advice));
        };
        let input = self.lower(input, None)?;
        let is_double = |column: &&schemas::Column| column.kind == ColumnType::Double;
        if let Some(column) = input.plan.schema.iter().find(is_double) {
            return Err(double(&column.name));
        }
        let schema = input.plan.schema.clone();
        let plan = Plan { node: Node::Distinct { input: Box::new(input.plan) }, schema };
        Ok(Lowered { plan, schema: input.schema })
    }
}

/// Rows as other columns.
fn project(projection: &Projection, input: &Lowered) -> Lowering<Lowered> {
    let over = Over::new(input);
    let read = projection.expr.iter().map(|planned| over.read(planned));
    let read = read.collect::<Result<Vec<Read>, _>>()?;
    let types: Vec<DataType> = read.iter().map(|read| read.data.clone()).collect();
    let schema = typed(&projection.schema, &types)?;
    if schema.fields().len() != read.len() {
        return Err(not_supported(&LogicalPlan::Projection(projection.clone())));
    }
    let names = schema.fields().iter().map(|field| field.name().clone());
    let own: RowSchema = unique(names.zip(read.iter().map(|read| read.kind)));
    let columns = read.into_iter().map(|read| read.expression).collect();
    Ok(Lowered { plan: Plan::map(input.plan.clone(), None, columns, own), schema })
}

fn not_supported(planned: &LogicalPlan) -> Refusal {
    let what = match planned {
        LogicalPlan::EmptyRelation(_) => "a SELECT without FROM",
        LogicalPlan::Values(_) => "VALUES",
        LogicalPlan::Unnest(_) => "UNNEST",
        LogicalPlan::Sort(_) => {
            let problem = "ORDER BY without LIMIT says nothing: a view has no order";
            return Refusal::new(Code::Limit, "ORDER BY", problem, "leave it out, or add LIMIT");
        }
        _ => "this part of SQL",
    };
    let place = planned.display().to_string();
    let problem = format!("{what} is not supported in a view");
    let advice = "there are WHERE, JOIN, LEFT JOIN, UNION ALL, DISTINCT, GROUP BY, HAVING, \
                  ROW_NUMBER() with a bound, ORDER BY with LIMIT, and WITH";
    Refusal::new(Code::NotSupported, place, problem, advice)
}
