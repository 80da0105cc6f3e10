//! Expressions over a step: what DataFusion planned, as what is evaluated here.

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{Expr, ExprSchemable};
use datafusion::optimizer::analyzer::type_coercion::TypeCoercionRewriter;
use expr::{Columns, Expression, Type};
use schemas::ColumnType;

use super::Lowered;
use crate::names::{ALLOCATE, PERIOD};
use crate::refusal::{Code, Refusal};
use crate::sql::invalid;

/// An expression, with its type here and its type to DataFusion.
#[derive(Debug, Clone)]
pub(super) struct Read {
    pub(super) expression: Expression,
    pub(super) kind: ColumnType,
    pub(super) data: DataType,
}

/// What expressions are read over.
pub(super) struct Over<'a> {
    input: &'a Lowered,
    columns: Columns,
}

impl<'a> Over<'a> {
    pub(super) fn new(input: &'a Lowered) -> Over<'a> {
        let own = input.plan.schema.iter().zip(input.schema.fields());
        let own = own.map(|(column, field)| {
            let is_null = *field.data_type() == DataType::Null;
            (column.name.clone(), if is_null { Type::Null } else { Type::of(column.kind) })
        });
        Over { input, columns: Columns::new("what it is read from", own.collect()) }
    }

    /// Reads any expression.
    pub(super) fn read(&self, planned: &Expr) -> Result<Read, Refusal> {
        check(planned)?;
        let own = planned.clone().unalias_nested().data;
        let data = self.data_type(&own)?;
        if let Expr::Column(column) = &own
            && let Some(at) = self.input.schema.maybe_index_of_column(column)
            && let Some(expression) = Expression::column(&self.columns, at)
        {
            let kind = self.input.plan.schema.kind(at).unwrap_or(ColumnType::Text);
            return Ok(Read { expression, kind, data });
        }
        let expression = Expression::of(&self.named(own)?, &self.columns)?;
        let kind = self.kind(&expression, &data)?;
        Ok(Read { expression, kind, data })
    }

    /// Reads a condition.
    pub(super) fn condition(&self, planned: &Expr) -> Result<Expression, Refusal> {
        let read = self.read(planned)?;
        if matches!(read.expression.ty(), Type::Boolean | Type::Null) {
            return Ok(read.expression);
        }
        let (text, ty) = (read.expression.text().to_owned(), read.expression.ty());
        let problem = format!("`{text}` is {ty} and no condition");
        let code = Code::Expression(expr::Code::TypeMismatch);
        Err(Refusal::new(code, text, problem, "compare it with something"))
    }

    /// Reads what rows are told apart by, or put in order: neither doubles nor nothing but NULL.
    pub(super) fn key(&self, planned: &Expr) -> Result<Read, Refusal> {
        let read = self.read(planned)?;
        let text = read.expression.text();
        match read.kind {
            ColumnType::Double => Err(double(text)),
            _ if read.data == DataType::Null => {
                let problem = format!("`{text}` is NULL and nothing else");
                let code = Code::Expression(expr::Code::NullCompared);
                Err(Refusal::new(code, text, problem, "leave it out, or CAST it"))
            }
            _ => Ok(read),
        }
    }

    /// The type of an expression to DataFusion.
    pub(super) fn data_type(&self, planned: &Expr) -> Result<DataType, Refusal> {
        let schema = &self.input.schema;
        let coerced = planned.clone().rewrite(&mut TypeCoercionRewriter::new(schema)).data();
        coerced.and_then(|expr| expr.get_type(schema)).map_err(|error| {
            let mut refusal = invalid(&error);
            refusal.code = Code::Expression(expr::Code::TypeMismatch);
            refusal.place = planned.human_display().to_string();
            refusal
        })
    }

    /// The expression with the names that columns have here.
    fn named(&self, planned: Expr) -> Result<Expr, Refusal> {
        let renamed = planned.transform_up(|one| {
            let Expr::Column(column) = &one else { return Ok(Transformed::no(one)) };
            let at = self.input.schema.index_of_column(column)?;
            let name = self.input.plan.schema.get(at).map_or("", |column| column.name.as_str());
            Ok(Transformed::yes(Expr::Column(Column::new_unqualified(name))))
        });
        renamed.data().map_err(|error| invalid(&error))
    }

    /// The type of a column that holds its values: digits are DataFusion's.
    fn kind(&self, expression: &Expression, data: &DataType) -> Result<ColumnType, Refusal> {
        let theirs = Type::of_arrow(data);
        let kind = match (expression.ty(), theirs) {
            (Type::Decimal { scale, .. }, Some(Type::Decimal { precision, scale: theirs }))
                if scale == theirs =>
            {
                Some(ColumnType::Decimal { precision, scale })
            }
            (Type::Bigint, Some(Type::Bigint)) => Some(ColumnType::Bigint),
            (Type::Bigint, None) if *data == DataType::UInt64 => Some(ColumnType::Bigint),
            (Type::Boolean, Some(Type::Boolean)) => Some(ColumnType::Boolean),
            (Type::Date, Some(Type::Date)) => Some(ColumnType::Date),
            (Type::Timestamp, Some(Type::Timestamp)) => Some(ColumnType::Timestamp),
            (Type::Json, Some(Type::Text)) => Some(ColumnType::Json),
            (Type::Text | Type::Null, Some(Type::Text | Type::Null)) => Some(ColumnType::Text),
            _ => None,
        };
        kind.ok_or_else(|| {
            let text = expression.text();
            let problem = format!("`{text}` is {} here and {data} to DataFusion", expression.ty());
            let code = Code::Expression(expr::Code::TypeMismatch);
            Refusal::new(code, text, problem, "CAST it")
        })
    }
}

/// The refusal of a double where values must be equal or in order.
pub(super) fn double(text: &str) -> Refusal {
    let problem = format!("`{text}` is a double, whose sums and equality are not exact");
    let advice = "make it a decimal(p,s) of the contract";
    Refusal::new(Code::Double, text, problem, advice)
}

/// Whether it is a call of `period`.
pub(super) fn period_of(planned: &Expr) -> Option<&Expr> {
    match planned {
        Expr::Alias(alias) => period_of(&alias.expr),
        Expr::ScalarFunction(call) if call.func.name() == PERIOD => call.args.first(),
        _ => None,
    }
}

/// Refuses what no row can answer.
fn check(planned: &Expr) -> Result<(), Refusal> {
    let mut found = None;
    let visited = planned.apply(|one| {
        found = refused(one);
        Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    visited.map_err(|error| invalid(&error))?;
    found.map_or(Ok(()), Err)
}

fn refused(one: &Expr) -> Option<Refusal> {
    let place = || one.human_display().to_string();
    Some(match one {
        Expr::ScalarSubquery(_)
        | Expr::Exists(_)
        | Expr::InSubquery(_)
        | Expr::SetComparison(_)
        | Expr::OuterReferenceColumn(..) => {
            let problem = "a query in the place of a value is not supported";
            let advice = "write it as a JOIN, its rows once by DISTINCT or GROUP BY";
            Refusal::new(Code::Subquery, "SELECT", problem, advice)
        }
        Expr::GroupingSet(_) => {
            let problem = "GROUPING SETS, ROLLUP and CUBE are not supported";
            let advice =
                "write a view for each set; KPIs have totals over dimensions by themselves";
            Refusal::new(Code::GroupingSets, place(), problem, advice)
        }
        Expr::WindowFunction(_) => {
            let problem = format!("the window function `{}` has no place here", place());
            Refusal::new(Code::Window, place(), problem, "select it in a subquery")
        }
        Expr::AggregateFunction(_) => {
            let problem = format!("the aggregate `{}` has no place here", place());
            Refusal::new(Code::Aggregate, place(), problem, "select it in a subquery")
        }
        Expr::ScalarFunction(call) if call.func.name() == PERIOD => {
            let problem = "period() has a meaning only in SELECT and GROUP BY of the outermost \
                           SELECT, with nothing around it and no DISTINCT, HAVING or LIMIT";
            let advice = "use date_trunc('month', ts) elsewhere";
            Refusal::new(Code::Period, PERIOD, problem, advice)
        }
        Expr::ScalarFunction(call) if call.func.name() == ALLOCATE => unallocated(&place()),
        _ => return None,
    })
}

/// The refusal of a call of `allocate` that has no meaning.
pub(super) fn unallocated(place: &str) -> Refusal {
    let problem = format!("`{place}` has no meaning here");
    let advice = "write SUM(allocate(amount, started, ended)) in the outermost SELECT, with nothing around \
                  allocate(), where it joins `periods` ON started < p.period_end AND ended > p.period_start";
    Refusal::new(Code::PeriodsUnbounded, place, problem, advice)
}

/// The columns of a planned node, with the types that they have once everything is coerced.
pub(super) fn typed(names: &DFSchema, types: &[DataType]) -> Result<DFSchema, Refusal> {
    let fields = names.iter().zip(types).map(|((qualifier, field), data)| {
        (qualifier.cloned(), std::sync::Arc::new(Field::new(field.name(), data.clone(), true)))
    });
    let schema = DFSchema::new_with_metadata(fields.collect(), Default::default());
    schema.map_err(|error| invalid(&error))
}
