//! Relations: what KPIs are computed over, the rows of a contract or those under a view.
//!
//! # Guarantees
//! - Relations of contracts come first, in the order of the contracts; their numbers are those of the
//!   contracts. Views follow, each behind those that it reads.

use std::collections::{BTreeMap, BTreeSet};

use expr::{Columns, quoted};
use schemas::{ColumnType, Contract, RowSchema};
use views::{Call, Function, Role, View, ViewColumn};

use crate::definition::Aggregate;
use crate::flow::Joined;

/// Rows that KPIs are computed over.
#[derive(Debug, Clone)]
pub(crate) struct Relation {
    pub(crate) name: String,
    pub(crate) columns: Columns,
    pub(crate) schema: RowSchema,
    /// The column that says whose a row is; none: no KPI can be computed.
    pub(crate) tenant: Option<usize>,
    /// The numbers of the contracts that its rows come from, ascending.
    pub(crate) contracts: Vec<usize>,
    /// How long after its end a period of a contract is whole, in hours, where the contract says it.
    pub(crate) lateness: Option<i64>,
    /// What a view has beside its rows.
    pub(crate) view: Option<OverRows>,
}

/// What KPIs may ask of a view.
#[derive(Debug, Clone)]
pub(crate) struct OverRows {
    /// The canonical SQL of the view and of those that it reads.
    pub(crate) sql: BTreeSet<String>,
    /// The column of its rows with the instant that the period is of; of a view without one, an instant that all have.
    pub(crate) period: Option<String>,
    /// Whether it has no period: there is one cell of each series.
    pub(crate) is_of_all_time: bool,
    /// Whether KPIs have all its groups, because they cannot be made of fewer.
    pub(crate) is_whole: bool,
    pub(crate) joined: Joined,
    /// The column with the instant up to which they count, where that is longer than an instant.
    pub(crate) until: Option<String>,
    /// Columns that it is grouped by, and the columns of its rows that they are.
    pub(crate) groups: BTreeMap<String, String>,
    /// What its other columns are as numbers of a cell, or why they are none.
    pub(crate) measures: BTreeMap<String, Result<Measured, String>>,
}

/// A column of a view as numbers of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Measured {
    Aggregate(Aggregate),
    /// A quotient of two.
    Average {
        sum: Aggregate,
        count: Aggregate,
    },
}

impl Relation {
    /// Those of contracts, then those of views.
    pub(crate) fn all(contracts: &[Contract], views: &[View]) -> Vec<Relation> {
        let mut all: Vec<Relation> =
            contracts.iter().enumerate().map(|(at, own)| Relation::of_contract(at, own)).collect();
        for view in views {
            let relation = Relation::of_view(view, &all);
            all.push(relation);
        }
        all
    }

    fn of_contract(number: usize, contract: &Contract) -> Relation {
        Relation {
            name: contract.name.clone(),
            columns: Columns::of(contract),
            schema: contract.columns.clone(),
            tenant: Some(contract.tenant),
            contracts: vec![number],
            lateness: contract.lateness,
            view: None,
        }
    }

    fn of_view(view: &View, before: &[Relation]) -> Relation {
        let read = || before.iter().filter(|own| view.inputs().contains(&own.name));
        let contracts: BTreeSet<usize> = read().flat_map(|own| own.contracts.clone()).collect();
        let inner = read().filter_map(|own| own.view.as_ref()).flat_map(|own| own.sql.clone());
        let schema = view.rows_schema().clone();
        let rows = |at: usize| schema.get(at).map(|column| column.name.clone());
        let mut over = OverRows {
            sql: inner.chain([format!("{}: {}", view.name(), view.sql())]).collect(),
            period: view.always().and_then(rows),
            is_of_all_time: view.always().is_some(),
            is_whole: !view.is_regroupable(),
            joined: match view.until() {
                None => Joined::Point,
                Some(_) if view.overlaps() => Joined::Overlap,
                Some(_) => Joined::Alive,
            },
            until: view.until().and_then(rows),
            groups: BTreeMap::new(),
            measures: BTreeMap::new(),
        };
        let mut tenant = None;
        for column in view.columns() {
            match &column.role {
                Role::Tenant(at) => tenant = Some(*at),
                Role::Period(at) => over.period = rows(*at),
                // Of single rows.
                Role::Group(_) if view.groups_schema().is_none() && is_exact(column) => {
                    let sum = Aggregate::Sum(quoted(&column.name));
                    over.measures.insert(column.name.clone(), Ok(Measured::Aggregate(sum)));
                }
                Role::Group(at) => {
                    over.groups.extend(rows(*at).map(|own| (column.name.clone(), own)));
                }
                Role::Measure(_) | Role::Computed(_) | Role::Window => {
                    let measured = match over.is_whole {
                        true => held(column),
                        false => measured(column, &schema),
                    };
                    over.measures.insert(column.name.clone(), measured);
                }
            }
        }
        let columns = schema.iter().map(|own| (own.name.clone(), expr::Type::of(own.kind)));
        let columns = Columns::new(format!("view `{}`", view.name()), columns.collect());
        let name = view.name().to_owned();
        let contracts = contracts.into_iter().collect();
        Relation { name, columns, schema, tenant, contracts, lateness: None, view: Some(over) }
    }

    /// The table that an audit finds its rows in.
    pub(crate) fn rows_table(&self) -> String {
        let kind = if self.view.is_some() { "rows" } else { "silver" };
        format!("{kind}_{}", self.name)
    }
}

/// Whether it is a number that can be summed.
fn is_exact(column: &ViewColumn) -> bool {
    matches!(column.ty, ColumnType::Bigint | ColumnType::Decimal { .. })
}

/// What a column that is no group is as numbers of a cell, where each cell is of a row that the view holds. Only sums
/// and counts say something together.
fn held(column: &ViewColumn) -> Result<Measured, String> {
    if !is_exact(column) {
        return Err(format!("is {} and no number that is exact; CAST it, or count it", column.ty));
    }
    let adds_up = match &column.role {
        Role::Measure(call) => {
            matches!(call.function, Function::Sum | Function::Count | Function::CountColumn)
        }
        _ => false,
    };
    let name = quoted(&column.name);
    let aggregate = if adds_up { Aggregate::Sum(name) } else { Aggregate::Max(name) };
    Ok(Measured::Aggregate(aggregate))
}

/// What a column that is no group is as numbers of a cell.
fn measured(column: &ViewColumn, rows: &RowSchema) -> Result<Measured, String> {
    let Role::Measure(Call { function, column: argument, allocates, .. }) = &column.role else {
        return Err("is computed from others; name those in `value`".to_owned());
    };
    let name = argument.and_then(|at| rows.get(at)).map_or("", |column| column.name.as_str());
    let name = quoted(name);
    let present = || Aggregate::Sum(format!("CASE WHEN {name} IS NULL THEN 0 ELSE 1 END"));
    Ok(Measured::Aggregate(match function {
        Function::Count => Aggregate::Count,
        Function::CountColumn => present(),
        Function::CountDistinct => Aggregate::Distinct(name),
        Function::Sum if *allocates => Aggregate::Allocated(name),
        Function::Sum => Aggregate::Sum(name),
        Function::Min => Aggregate::Min(name),
        Function::Max => Aggregate::Max(name),
        Function::Percentile { millionths, cuts } => {
            Aggregate::Percentile { of: name, millionths: *millionths, cuts: *cuts }
        }
        Function::Avg => {
            let (sum, count) = (Aggregate::Sum(name.clone()), present());
            return Ok(Measured::Average { sum, count });
        }
        Function::BoolAnd | Function::BoolOr => {
            return Err("is true or false, and no number; count with FILTER".to_owned());
        }
    }))
}
