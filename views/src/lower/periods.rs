//! The relation `periods`: what a join with it says of when a row counts.
//!
//! # Guarantees
//! - The relation is never made: rows stay what they are, with the instant from which they count, and the one
//!   up to which they do.
//! - What is not one of the three joins that have a meaning is refused.

use datafusion::common::JoinType;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Aggregate, BinaryExpr, Expr, Join, LogicalPlan, Operator};

use super::running::Running;
use super::{Lower, Lowered, Lowering, Over};
use crate::names::PERIODS_COLUMNS;
use crate::plan::Plan;
use crate::refusal::{Code, Refusal};
use crate::relations::{PERIODS, Relations};

/// A join of rows with `periods`.
pub(super) struct Joined<'a> {
    rows: &'a LogicalPlan,
    /// The relation; `None` where it is not named.
    periods: Option<&'a LogicalPlan>,
    /// What else is asked of rows.
    filters: Vec<Expr>,
    /// The instant that is in the period, or from which a row counts.
    pub(super) from: Expr,
    /// Up to when it does, where it counts for longer than an instant.
    pub(super) until: Option<Expr>,
    /// Whether it counts in every period of which it has any time; if not, in those at whose end it is alive.
    pub(super) overlaps: bool,
}

/// A column of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edge {
    Start,
    End,
}

/// What the conditions say of edges.
#[derive(Default)]
struct Said {
    /// `ts >= period_start`
    since_start: Option<Expr>,
    /// `ts < period_end`
    before_end: Option<Expr>,
    /// `ts IS NULL OR ts >= period_end`
    open_at_end: Option<Expr>,
    /// `ts > period_start`
    after_start: Option<Expr>,
}

impl Lower<'_> {
    /// Lowers what the outermost SELECT groups: the rows, and what a join with `periods` says of them.
    pub(super) fn grouped_rows<'a>(
        &mut self,
        aggregate: &'a Aggregate,
        running: Option<&Running<'_>>,
    ) -> Lowering<(Lowered, Option<Joined<'a>>)> {
        if let Some(running) = running {
            let (rows, until) = (&*aggregate.input, Some(Running::until()));
            let (filters, from) = (Vec::new(), running.from());
            let joined = Joined { rows, periods: None, filters, from, until, overlaps: false };
            return Ok((self.lower(rows, None)?, Some(joined)));
        }
        let Some(joined) = Joined::of(&aggregate.input, self.relations)? else {
            return Ok((self.lower(&aggregate.input, None)?, None));
        };
        joined.check(aggregate)?;
        let rows = self.lower(joined.rows, None)?;
        let Some(condition) = conjunction(joined.filters.iter().cloned()) else {
            return Ok((rows, Some(joined)));
        };
        let condition = Over::new(&rows).condition(&condition)?;
        let rows = Lowered { plan: Plan::filter(rows.plan, condition), schema: rows.schema };
        Ok((rows, Some(joined)))
    }
}

impl<'a> Joined<'a> {
    fn of(planned: &'a LogicalPlan, relations: &Relations) -> Lowering<Option<Joined<'a>>> {
        let (join, above) = match planned {
            LogicalPlan::Join(join) => (join, None),
            LogicalPlan::Filter(filter) => match &*filter.input {
                LogicalPlan::Join(join) => (join, Some(&filter.predicate)),
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        let (left, right) = (&*join.left, &*join.right);
        let (rows, periods) = match (is_periods(left, relations), is_periods(right, relations)) {
            (false, true) => (left, right),
            (true, false) => (right, left),
            _ => return Ok(None),
        };
        if join.join_type != JoinType::Inner {
            return Err(unbounded("a LEFT JOIN with `periods` has rows without a period"));
        }
        let (filters, from, until) = (Vec::new(), Expr::default(), None);
        let periods = Some(periods);
        let mut joined = Joined { rows, periods, filters, from, until, overlaps: false };
        let said = joined.read(join, above)?;
        joined.overlaps = said.after_start.is_some();
        (joined.from, joined.until) = said.meaning()?;
        Ok(Some(joined))
    }

    /// Reads what the join and a WHERE above it say: of edges, and of rows only.
    fn read(&mut self, join: &Join, above: Option<&Expr>) -> Lowering<Said> {
        if let Some((one, _)) = join.on.first() {
            return Err(condition(one));
        }
        let mut said = Said::default();
        for part in join.filter.iter().chain(above).flat_map(split_conjunction) {
            if !self.reads(part) {
                self.filters.push(part.clone());
                continue;
            }
            let place = match self.compared(part) {
                Some((row, Operator::GtEq, Edge::Start)) => (&mut said.since_start, row),
                Some((row, Operator::Lt, Edge::End)) => (&mut said.before_end, row),
                Some((row, Operator::Gt, Edge::Start)) => (&mut said.after_start, row),
                Some(_) => return Err(condition(part)),
                None => match self.open_at_end(part) {
                    Some(row) => (&mut said.open_at_end, row),
                    None => return Err(condition(part)),
                },
            };
            if place.0.replace(place.1).is_some() {
                return Err(condition(part));
            }
        }
        Ok(said)
    }

    /// Whether an expression reads a period.
    fn reads(&self, planned: &Expr) -> bool {
        let Some(schema) = self.periods.map(LogicalPlan::schema) else { return false };
        planned.column_refs().into_iter().any(|own| schema.maybe_index_of_column(own).is_some())
    }

    fn edge(&self, planned: &Expr) -> Option<Edge> {
        let Expr::Column(column) = planned else { return None };
        let at = self.periods?.schema().maybe_index_of_column(column)?;
        match PERIODS_COLUMNS.get(at) {
            Some((_, "period_start")) => Some(Edge::Start),
            Some((_, "period_end")) => Some(Edge::End),
            _ => None,
        }
    }

    /// What of a row is compared with an edge, the row's side first.
    fn compared(&self, planned: &Expr) -> Option<(Expr, Operator, Edge)> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = planned else { return None };
        let (row, op, edge) = match (self.edge(left), self.edge(right)) {
            (None, Some(edge)) => (left, *op, edge),
            (Some(edge), None) => (right, op.swap()?, edge),
            _ => return None,
        };
        (!self.reads(row)).then(|| ((**row).clone(), op, edge))
    }

    /// The instant of `ts IS NULL OR ts >= period_end`.
    fn open_at_end(&self, planned: &Expr) -> Option<Expr> {
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) = planned else {
            return None;
        };
        let (ended, other) = match (&**left, &**right) {
            (Expr::IsNull(ended), other) | (other, Expr::IsNull(ended)) => (&**ended, other),
            _ => return None,
        };
        match self.compared(other) {
            Some((row, Operator::GtEq, Edge::End)) if row == *ended => Some(row),
            _ => None,
        }
    }

    /// Whether this is where the period starts, which is what a view groups by.
    pub(super) fn is_start(&self, planned: &Expr) -> bool {
        self.edge(planned) == Some(Edge::Start)
    }

    /// Rows are grouped by the period, and nothing else is asked of it.
    fn check(&self, aggregate: &Aggregate) -> Lowering<()> {
        let is_start = |key: &Expr| self.is_start(&key.clone().unalias());
        let all = aggregate.group_expr.iter().filter(|key| !is_start(key));
        if let Some(other) = all.chain(&aggregate.aggr_expr).find(|one| self.reads(one)) {
            let place = other.human_display().to_string();
            let problem = format!("`{place}` reads a period");
            let advice =
                "select period_start AS period and group by it; the KPI's file says its grains";
            return Err(Refusal::new(Code::PeriodsUnbounded, place, problem, advice));
        }
        match aggregate.group_expr.iter().any(is_start) {
            true => Ok(()),
            false => Err(unbounded("rows are joined with `periods` and not grouped by the period")),
        }
    }
}

impl Said {
    /// From when on a row counts, and up to when.
    fn meaning(self) -> Lowering<(Expr, Option<Expr>)> {
        match (self.since_start, self.before_end, self.open_at_end, self.after_start) {
            (Some(since), Some(before), None, None) if since == before => Ok((since, None)),
            (None, Some(from), Some(until), None) | (None, Some(from), None, Some(until)) => {
                Ok((from, Some(until)))
            }
            _ => Err(unbounded("the join with `periods` says neither of what has a meaning")),
        }
    }
}

fn is_periods(planned: &LogicalPlan, relations: &Relations) -> bool {
    match planned {
        LogicalPlan::SubqueryAlias(alias) => is_periods(&alias.input, relations),
        LogicalPlan::TableScan(scan) => {
            scan.table_name.table() == PERIODS && relations.find(PERIODS).is_none()
        }
        _ => false,
    }
}

/// The refusal of a condition that says nothing here.
fn condition(planned: &Expr) -> Refusal {
    let place = planned.human_display().to_string();
    let problem = format!("`{place}` in a join with `periods` has no meaning");
    Refusal::new(Code::PeriodsUnbounded, place, problem, ADVICE)
}

/// The refusal of rows that would have no end.
pub(super) fn unbounded(problem: &str) -> Refusal {
    Refusal::new(Code::PeriodsUnbounded, PERIODS, problem, ADVICE)
}

const ADVICE: &str = "join it last in the outermost SELECT, without HAVING, DISTINCT or LIMIT, ON ts >= \
                      p.period_start AND ts < p.period_end, or ON started < p.period_end AND (ended IS \
                      NULL OR ended >= p.period_end), or ON started < p.period_end AND ended > \
                      p.period_start, and GROUP BY p.period_start AS period";
