//! From DataFusion's expression to the tree that is evaluated: every node typed, everything else refused.

mod calls;
mod literals;

use datafusion::logical_expr::expr::{Between, Case, InList, Like};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use crate::arithmetic;
use crate::cast;
use crate::node::{Arithmetic, Function, Is, Node, Test, Typed};
use crate::parse;
use crate::print;
use crate::refusal::{Code, Refusal};
use crate::types::{Columns, Type};
use crate::value::Value;

type Lowered = Result<Typed, Refusal>;

/// The tree of an expression over `columns`.
pub(crate) fn lower(planned: &Expr, columns: &Columns) -> Lowered {
    Lowering { columns, depth: 0 }.lower(planned)
}

#[derive(Clone, Copy)]
struct Lowering<'a> {
    columns: &'a Columns,
    depth: usize,
}

impl Lowering<'_> {
    fn lower(self, planned: &Expr) -> Lowered {
        if self.depth > parse::DEPTH_MAX {
            return Err(parse::too_deep());
        }
        let deeper = Lowering { depth: self.depth + 1, ..self };
        match planned {
            Expr::Alias(alias) => deeper.lower(&alias.expr),
            Expr::Column(column) => self.column(&column.name),
            Expr::Literal(value, _) => literals::literal(value),
            Expr::BinaryExpr(binary) => deeper.binary(binary),
            Expr::Like(like) => deeper.like(like),
            Expr::Not(one) => {
                Ok(Typed::boolean(Node::Not(Box::new(deeper.condition(one, "NOT")?))))
            }
            Expr::Negative(one) => deeper.negative(one),
            Expr::Between(between) => deeper.between(between),
            Expr::InList(list) => deeper.in_list(list),
            Expr::Case(case) => deeper.case(case),
            Expr::Cast(cast) => deeper.cast(&cast.expr, cast.field.data_type(), false),
            Expr::TryCast(cast) => deeper.cast(&cast.expr, cast.field.data_type(), true),
            Expr::ScalarFunction(call) => deeper.call(call, planned),
            other => deeper.is(other),
        }
    }

    /// A column of a type that has values here.
    fn column(self, name: &str) -> Lowered {
        let column = self.any_column(name)?;
        if column.ty != Type::Double {
            return Ok(column);
        }
        let problem = format!(
            "column `{name}` is a double, of which only IS NULL may be asked; \
             make it a decimal(p,s) of the contract"
        );
        Err(Refusal::new(Code::TypeMismatch, name, problem))
    }

    fn any_column(self, name: &str) -> Lowered {
        let Some((index, ty)) = self.columns.find(name) else {
            return Err(Refusal::new(Code::UnknownColumn, name, self.columns.unknown(name)));
        };
        Ok(Typed { node: Node::Column { index, name: name.to_owned() }, ty })
    }

    /// An operand that must be true, false or unknown.
    fn condition(self, planned: &Expr, of: &str) -> Lowered {
        let tree = self.lower(planned)?;
        if matches!(tree.ty, Type::Boolean | Type::Null) {
            return Ok(tree);
        }
        let place = print::text(&tree);
        let problem = format!("`{place}` is {}, but {of} takes conditions", tree.ty);
        Err(Refusal::new(Code::TypeMismatch, place, problem))
    }

    fn binary(self, binary: &BinaryExpr) -> Lowered {
        let BinaryExpr { left, op, right } = binary;
        let (test, operator) = match op {
            Operator::And | Operator::Or => return self.connected(binary),
            Operator::Eq => (Some(Test::Equal), None),
            Operator::NotEq => (Some(Test::NotEqual), None),
            Operator::Lt => (Some(Test::Less), None),
            Operator::LtEq => (Some(Test::LessOrEqual), None),
            Operator::Gt => (Some(Test::Greater), None),
            Operator::GtEq => (Some(Test::GreaterOrEqual), None),
            Operator::Plus => (None, Some(Arithmetic::Add)),
            Operator::Minus => (None, Some(Arithmetic::Subtract)),
            Operator::Multiply => (None, Some(Arithmetic::Multiply)),
            Operator::Divide => (None, Some(Arithmetic::Divide)),
            Operator::Modulo => (None, Some(Arithmetic::Remainder)),
            Operator::StringConcat => (None, None),
            _ => {
                return Err(Refusal::unsupported(Expr::BinaryExpr(binary.clone()).human_display()));
            }
        };
        if let Some(shifted) = self.shifted(operator, left, right) {
            return shifted;
        }
        let (left, right) = (self.lower(left)?, self.lower(right)?);
        if let Some(test) = test {
            let (left, right) = self.comparable(left, right)?;
            return Ok(Typed::boolean(Node::Compare {
                test,
                left: left.into(),
                right: right.into(),
            }));
        }
        if let Some(operator) = operator {
            return self.arithmetic(operator, left, right);
        }
        calls::joined(vec![left, right], Function::Join)
    }

    /// A chain of ANDs or ORs, however long, is one node.
    fn connected(self, binary: &BinaryExpr) -> Lowered {
        let mut parts = vec![&*binary.right];
        let mut left = &*binary.left;
        while let Expr::BinaryExpr(inner) = left
            && inner.op == binary.op
        {
            parts.push(&inner.right);
            left = &inner.left;
        }
        parts.push(left);
        let name = binary.op.to_string();
        let parts = parts.into_iter().rev().map(|part| self.condition(part, &name));
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        Ok(Typed::boolean(if binary.op == Operator::And {
            Node::And(parts)
        } else {
            Node::Or(parts)
        }))
    }

    /// Two operands that have an order, a text literal beside an instant read as one.
    fn comparable(self, left: Typed, right: Typed) -> Result<(Typed, Typed), Refusal> {
        let place = print::text(&left);
        if left.is_null() || right.is_null() {
            let problem = "a comparison with NULL is never true; use IS NULL";
            return Err(Refusal::new(Code::NullCompared, place, problem));
        }
        let (right_ty, left_ty) = (right.ty, left.ty);
        let (left, right) =
            (literals::as_instant(left, right_ty)?, literals::as_instant(right, left_ty)?);
        for side in [&left, &right] {
            if side.ty == Type::Json {
                let name = print::text(side);
                let problem = format!("column `{name}` is JSON and has no order; CAST it to text");
                return Err(Refusal::new(Code::TypeMismatch, name, problem));
            }
        }
        if left.ty == right.ty || (left.ty.is_number() && right.ty.is_number()) {
            return Ok((left, right));
        }
        let (one, other) = (print::text(&left), print::text(&right));
        let problem = format!(
            "`{one}` is {} and `{other}` is {}: they do not compare; CAST one of them",
            left.ty, right.ty
        );
        Err(Refusal::new(Code::TypeMismatch, place, problem))
    }

    /// An instant and an INTERVAL that is added to it, or taken away; `None` where it is neither.
    fn shifted(self, operator: Option<Arithmetic>, left: &Expr, right: &Expr) -> Option<Lowered> {
        let (at, interval, is_less) = match (operator?, left, right) {
            (Arithmetic::Add, at, Expr::Literal(interval, _)) => (at, interval, false),
            (Arithmetic::Subtract, at, Expr::Literal(interval, _)) => (at, interval, true),
            (Arithmetic::Add, Expr::Literal(interval, _), at) => (at, interval, false),
            _ => return None,
        };
        let by = literals::span(interval, is_less)?;
        Some(by.and_then(|by| {
            let at = self.lower(at)?;
            if at.ty != Type::Timestamp {
                let place = print::text(&at);
                let problem =
                    format!("`{place}` is {}, but INTERVAL is added to timestamps", at.ty);
                return Err(Refusal::new(Code::TypeMismatch, place, problem));
            }
            Ok(Typed { node: Node::Shift { at: at.into(), by }, ty: Type::Timestamp })
        }))
    }

    fn arithmetic(self, operator: Arithmetic, left: Typed, right: Typed) -> Lowered {
        for side in [&left, &right] {
            if !side.ty.is_number() {
                let name = print::text(side);
                let problem = format!(
                    "`{name}` is {}, but `{}` takes numbers; CAST it",
                    side.ty,
                    operator.text()
                );
                return Err(Refusal::new(Code::TypeMismatch, name, problem));
            }
        }
        let Some((ty, _)) = arithmetic::result(operator, left.ty, right.ty) else {
            let place = print::text(&right);
            let problem = format!(
                "a product with `{place}` has more than 38 digits after the point; CAST a side"
            );
            return Err(Refusal::new(Code::TypeMismatch, place, problem));
        };
        Ok(Typed {
            node: Node::Arithmetic { operator, left: left.into(), right: right.into() },
            ty,
        })
    }

    fn negative(self, one: &Expr) -> Lowered {
        let tree = self.lower(one)?;
        if !tree.ty.is_number() {
            let place = print::text(&tree);
            let problem = format!("`{place}` is {}, but - takes a number", tree.ty);
            return Err(Refusal::new(Code::TypeMismatch, place, problem));
        }
        // The minus of a literal is part of it, as it is when the text is read.
        Ok(match tree.node {
            Node::Literal(Value::Bigint(number)) if number != i64::MIN => {
                Typed::literal(Value::Bigint(-number), tree.ty)
            }
            Node::Literal(Value::Decimal(mantissa)) => {
                Typed::literal(Value::Decimal(-mantissa), tree.ty)
            }
            _ => Typed { ty: tree.ty, node: Node::Negate(tree.into()) },
        })
    }

    fn is(self, planned: &Expr) -> Lowered {
        let (one, what, negated) = match planned {
            Expr::IsNull(one) => (one, Is::Null, false),
            Expr::IsNotNull(one) => (one, Is::Null, true),
            Expr::IsTrue(one) => (one, Is::True, false),
            Expr::IsNotTrue(one) => (one, Is::True, true),
            Expr::IsFalse(one) => (one, Is::False, false),
            Expr::IsNotFalse(one) => (one, Is::False, true),
            Expr::IsUnknown(one) => (one, Is::Unknown, false),
            Expr::IsNotUnknown(one) => (one, Is::Unknown, true),
            other => return Err(Refusal::unsupported(other.human_display())),
        };
        let operand = match (what, &**one) {
            (Is::Null, Expr::Column(column)) => self.any_column(&column.name)?,
            (Is::Null, _) => self.lower(one)?,
            _ => self.condition(one, "IS TRUE, FALSE and UNKNOWN")?,
        };
        Ok(Typed::boolean(Node::Is { what, operand: operand.into(), negated }))
    }

    fn like(self, like: &Like) -> Lowered {
        let Like { negated, expr, pattern, escape_char, case_insensitive } = like;
        if *case_insensitive || escape_char.is_some_and(|own| own != '\\') {
            let problem =
                "ILIKE and ESCAPE are not accepted; use lower(...) LIKE, and \\ before % and _";
            let place = expr.human_display();
            return Err(Refusal::new(Code::NotSupported, place, problem));
        }
        let (operand, pattern) = (self.text(expr, "LIKE")?, self.text(pattern, "LIKE")?);
        let (operand, pattern) = (operand.into(), pattern.into());
        Ok(Typed::boolean(Node::Like { operand, pattern, negated: *negated }))
    }

    /// An operand that must be text.
    fn text(self, planned: &Expr, of: &str) -> Lowered {
        let tree = self.lower(planned)?;
        if matches!(tree.ty, Type::Text | Type::Null) {
            return Ok(tree);
        }
        let place = print::text(&tree);
        let problem = format!("`{place}` is {}, but {of} takes text; CAST it", tree.ty);
        Err(Refusal::new(Code::TypeMismatch, place, problem))
    }

    fn between(self, between: &Between) -> Lowered {
        let Between { expr, negated, low, high } = between;
        let (operand, low) = self.comparable(self.lower(expr)?, self.lower(low)?)?;
        let (operand, high) = self.comparable(operand, self.lower(high)?)?;
        let (operand, low, high) = (operand.into(), low.into(), high.into());
        Ok(Typed::boolean(Node::Between { operand, low, high, negated: *negated }))
    }

    fn in_list(self, list: &InList) -> Lowered {
        let InList { expr, list, negated } = list;
        let mut operand = self.lower(expr)?;
        let mut items = Vec::with_capacity(list.len());
        for item in list {
            let (own, item) = self.comparable(operand, self.lower(item)?)?;
            operand = own;
            items.push(item);
        }
        Ok(Typed::boolean(Node::In { operand: operand.into(), list: items, negated: *negated }))
    }

    fn case(self, case: &Case) -> Lowered {
        let mut operand = case.expr.as_ref().map(|one| self.lower(one)).transpose()?;
        let (mut ty, mut branches) = (Type::Null, Vec::with_capacity(case.when_then_expr.len()));
        for (when, then) in &case.when_then_expr {
            let when = match operand.take() {
                Some(own) => {
                    let (own, when) = self.comparable(own, self.lower(when)?)?;
                    operand = Some(own);
                    when
                }
                None => self.condition(when, "WHEN")?,
            };
            let then_tree = self.lower(then)?;
            ty = together(ty, &then_tree)?;
            branches.push((when, then_tree));
        }
        let otherwise = match &case.else_expr {
            None => None,
            Some(planned) => {
                let tree = self.lower(planned)?;
                ty = together(ty, &tree)?;
                Some(Box::new(tree))
            }
        };
        let operand = operand.map(Box::new);
        Ok(Typed { node: Node::Case { operand, branches, otherwise }, ty })
    }

    fn cast(self, planned: &Expr, to: &arrow::datatypes::DataType, or_null: bool) -> Lowered {
        let tree = self.lower(planned)?;
        let narrow =
            matches!(to, arrow::datatypes::DataType::Int8 | arrow::datatypes::DataType::Int16)
                || *to == arrow::datatypes::DataType::Int32;
        let found = Type::of_arrow(to).filter(|_| !narrow);
        let Some(ty) = found.filter(|to| cast::can_fail(tree.ty, *to).is_some()) else {
            let place = print::text(&tree);
            let problem = format!(
                "`{place}` is {}, which cannot be cast to {to}; there are BIGINT, DECIMAL(p,s), TEXT, DATE \
                 and TIMESTAMP",
                tree.ty
            );
            return Err(Refusal::new(Code::NotSupported, place, problem));
        };
        if ty == tree.ty {
            return Ok(tree);
        }
        if !or_null && let Some(literal) = literals::read(&tree, ty)? {
            return Ok(literal);
        }
        Ok(Typed { node: Node::Cast { operand: tree.into(), or_null }, ty })
    }
}

/// The type of values so far and of one more.
fn together(ty: Type, tree: &Typed) -> Result<Type, Refusal> {
    ty.common(tree.ty).map(|(ty, _)| ty).ok_or_else(|| {
        let place = print::text(tree);
        let problem = format!(
            "`{place}` is {}, but what stands before it is {ty}; CAST one of them",
            tree.ty
        );
        Refusal::new(Code::TypeMismatch, place, problem)
    })
}
