//! UNION ALL.

use arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::logical_expr::type_coercion::binary::type_union_coercion;
use datafusion::logical_expr::{Cast, Expr, LogicalPlan, Union};
use schemas::ColumnType;

use super::{Lower, Lowered, Lowering, Over, Read, typed};
use crate::plan::{Node, Plan, unique};
use crate::refusal::{Code, Refusal};

impl Lower<'_> {
    pub(super) fn union(&mut self, union: &Union) -> Lowering<Lowered> {
        let mut inputs = Vec::new();
        for planned in flat(union) {
            inputs.push(self.lower(planned, None)?);
        }
        let types = common(&inputs)?;
        let cast = inputs.iter().map(|input| Self::cast(input, &types));
        let cast = cast.collect::<Result<Vec<Vec<Read>>, _>>()?;
        // JSON beside text is text.
        let kinds = (0..types.len()).map(|at| {
            let mut all = cast.iter().filter_map(|read| read.get(at)).map(|read| read.kind);
            let first = all.next().unwrap_or(ColumnType::Text);
            if all.all(|kind| kind == first) { first } else { ColumnType::Text }
        });
        let names = union.schema.fields().iter().map(|field| field.name().clone());
        let own = unique(names.zip(kinds));
        let inputs = inputs.into_iter().zip(cast).map(|(input, read)| {
            let columns = read.into_iter().map(|read| read.expression).collect();
            Plan::map(input.plan, None, columns, own.clone())
        });
        let plan = Plan { node: Node::Union { inputs: inputs.collect() }, schema: own.clone() };
        Ok(Lowered { plan, schema: typed(&union.schema, &types)? })
    }

    /// The columns of an input as those types.
    fn cast(input: &Lowered, types: &[DataType]) -> Lowering<Vec<Read>> {
        let over = Over::new(input);
        let columns = input.schema.iter().zip(types).map(|(named, data)| {
            let (own, data) = (wide(named.1.data_type()), wide(data));
            let column = Expr::Column(Column::from(named));
            over.read(&match own == data {
                true => column,
                false => Expr::Cast(Cast::new(Box::new(column), data)),
            })
        });
        columns.collect()
    }
}

/// The type that whole numbers have here, whatever they have to DataFusion; others as they are.
fn wide(data: &DataType) -> DataType {
    match data {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt64 => DataType::Int64,
        other => other.clone(),
    }
}

/// The inputs of a union of unions.
fn flat(union: &Union) -> Vec<&LogicalPlan> {
    let (mut open, mut found): (Vec<&LogicalPlan>, _) = (Vec::new(), Vec::new());
    open.extend(union.inputs.iter().rev().map(|input| &**input));
    while let Some(planned) = open.pop() {
        match planned {
            LogicalPlan::Union(inner) => {
                open.extend(inner.inputs.iter().rev().map(|input| &**input));
            }
            other => found.push(other),
        }
    }
    found
}

/// The types that the columns of all inputs become.
fn common(inputs: &[Lowered]) -> Lowering<Vec<DataType>> {
    let Some((first, rest)) = inputs.split_first() else { return Ok(Vec::new()) };
    let mut types = first.types();
    for input in rest {
        for (at, (own, other)) in types.iter_mut().zip(input.types()).enumerate() {
            let Some(both) = type_union_coercion(own, &other) else {
                let name = first.name(at);
                let problem = format!("column `{name}` of a UNION is {own} first and {other} then");
                let code = Code::Expression(expr::Code::TypeMismatch);
                return Err(Refusal::new(code, name, problem, "CAST one of them"));
            };
            *own = both;
        }
    }
    Ok(types)
}
