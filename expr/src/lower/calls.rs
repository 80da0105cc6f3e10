//! Functions.

use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::ScalarFunction;

use super::{Lowered, Lowering, together};
use crate::json;
use crate::node::{Function, Node, Typed, Unit};
use crate::print;
use crate::refusal::{Code, Refusal};
use crate::types::Type;
use crate::value::Value;

impl Lowering<'_> {
    pub(super) fn call(self, call: &ScalarFunction, planned: &Expr) -> Lowered {
        let args = call.args.iter().map(|arg| self.lower(arg)).collect::<Result<Vec<_>, _>>()?;
        let name = call.func.name();
        let function = match name {
            "date_trunc" | "date_part" => return calendar(name, args, planned),
            "coalesce" => return coalesce(args),
            "nullif" if args.len() == 2 => return self.null_if(args, planned),
            json::JSON if args.len() == 2 => return member(args, Function::Member, Type::Json),
            json::TEXT if args.len() == 2 => return member(args, Function::MemberText, Type::Text),
            "concat" if !args.is_empty() => return joined(args, Function::Concat),
            "substr" if matches!(args.len(), 2 | 3) => return substr(args),
            "lower" => Function::Lower,
            "upper" => Function::Upper,
            "btrim" | "trim" => Function::Trim,
            "ltrim" => Function::TrimStart,
            "rtrim" => Function::TrimEnd,
            _ => return Err(Refusal::unsupported(planned.human_display())),
        };
        let [arg] = args.as_slice() else {
            let problem = format!("`{}` takes one argument here", function.name());
            return Err(Refusal::new(Code::UnknownFunction, planned.human_display(), problem));
        };
        must_be_text(arg)?;
        Ok(Typed { node: Node::Call { function, args }, ty: Type::Text })
    }

    fn null_if(self, args: Vec<Typed>, planned: &Expr) -> Lowered {
        let mut args = args.into_iter();
        let (Some(own), Some(unwanted)) = (args.next(), args.next()) else {
            return Err(Refusal::unsupported(planned.human_display()));
        };
        let (own, unwanted) = self.comparable(own, unwanted)?;
        let ty = together(own.ty, &unwanted)?;
        let args = vec![own, unwanted];
        Ok(Typed { node: Node::Call { function: Function::NullIf, args }, ty })
    }
}

fn must_be_text(arg: &Typed) -> Result<(), Refusal> {
    if matches!(arg.ty, Type::Text | Type::Null) {
        return Ok(());
    }
    let place = print::text(arg);
    let problem = format!("`{place}` is {}, but the function takes text; CAST it", arg.ty);
    Err(Refusal::new(Code::TypeMismatch, place, problem))
}

fn member(args: Vec<Typed>, function: Function, ty: Type) -> Lowered {
    let [json, name] = args.as_slice() else { return Err(Refusal::unsupported(function.name())) };
    must_be_text(name)?;
    if json.ty != Type::Json {
        must_be_text(json)?;
    }
    Ok(Typed { node: Node::Call { function, args }, ty })
}

fn coalesce(args: Vec<Typed>) -> Lowered {
    let mut ty = Type::Null;
    for arg in &args {
        ty = together(ty, arg)?;
    }
    Ok(Typed { node: Node::Call { function: Function::Coalesce, args }, ty })
}

pub(super) fn joined(args: Vec<Typed>, function: Function) -> Lowered {
    for arg in &args {
        must_be_text(arg)?;
    }
    // A chain of || is one node.
    let mut parts = Vec::with_capacity(args.len());
    for (at, arg) in args.into_iter().enumerate() {
        match arg.node {
            Node::Call { function: Function::Join, args }
                if at == 0 && function == Function::Join =>
            {
                parts.extend(args);
            }
            node => parts.push(Typed { node, ty: arg.ty }),
        }
    }
    Ok(Typed { node: Node::Call { function, args: parts }, ty: Type::Text })
}

fn substr(args: Vec<Typed>) -> Lowered {
    args.first().map_or(Ok(()), must_be_text)?;
    let position = args.iter().skip(1).find(|arg| !matches!(arg.ty, Type::Bigint | Type::Null));
    if let Some(position) = position {
        let place = print::text(position);
        let problem =
            format!("`{place}` is no bigint: substr counts characters; CAST it to BIGINT");
        return Err(Refusal::new(Code::TypeMismatch, place, problem));
    }
    Ok(Typed { node: Node::Call { function: Function::Substr, args }, ty: Type::Text })
}

fn calendar(name: &str, args: Vec<Typed>, planned: &Expr) -> Lowered {
    let mut args = args.into_iter();
    let (Some(unit), Some(at)) = (args.next(), args.next()) else {
        return Err(Refusal::unsupported(planned.human_display()));
    };
    let named = match unit.as_literal() {
        Some(Value::Text(text)) => Unit::parse(text),
        _ => None,
    };
    let truncates = name == "date_trunc";
    let named =
        named.filter(|unit| !truncates || !matches!(unit, Unit::DayOfWeek | Unit::DayOfYear));
    let Some(unit) = named else {
        let problem = format!("the unit of `{name}` must be one of {}", Unit::names());
        return Err(Refusal::new(Code::NotSupported, planned.human_display(), problem));
    };
    let fits = at.ty == Type::Timestamp || (!truncates && at.ty == Type::Date);
    if !fits {
        let place = print::text(&at);
        let problem = format!("`{place}` is {}, but `{name}` takes a timestamp; CAST it", at.ty);
        return Err(Refusal::new(Code::TypeMismatch, place, problem));
    }
    let at = Box::new(at);
    Ok(if truncates {
        Typed { node: Node::DateTrunc { unit, at }, ty: Type::Timestamp }
    } else {
        Typed { node: Node::Extract { part: unit, at }, ty: Type::Bigint }
    })
}
