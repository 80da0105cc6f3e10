//! The tree that is evaluated: every node with its type.

use std::cmp::Ordering;

use crate::json;
use crate::types::Type;
use crate::value::Value;

/// A node and the type of its values.
#[derive(Debug, Clone)]
pub(crate) struct Typed {
    pub(crate) node: Node,
    pub(crate) ty: Type,
}

#[derive(Debug, Clone)]
pub(crate) enum Node {
    Column {
        index: usize,
        name: String,
    },
    Literal(Value<'static>),
    And(Vec<Typed>),
    Or(Vec<Typed>),
    Not(Box<Typed>),
    Compare {
        test: Test,
        left: Box<Typed>,
        right: Box<Typed>,
    },
    Is {
        what: Is,
        operand: Box<Typed>,
        negated: bool,
    },
    In {
        operand: Box<Typed>,
        list: Vec<Typed>,
        negated: bool,
    },
    Between {
        operand: Box<Typed>,
        low: Box<Typed>,
        high: Box<Typed>,
        negated: bool,
    },
    Like {
        operand: Box<Typed>,
        pattern: Box<Typed>,
        negated: bool,
    },
    Case {
        operand: Option<Box<Typed>>,
        branches: Vec<(Typed, Typed)>,
        otherwise: Option<Box<Typed>>,
    },
    Arithmetic {
        operator: Arithmetic,
        left: Box<Typed>,
        right: Box<Typed>,
    },
    Negate(Box<Typed>),
    Call {
        function: Function,
        args: Vec<Typed>,
    },
    DateTrunc {
        unit: Unit,
        at: Box<Typed>,
    },
    Extract {
        part: Unit,
        at: Box<Typed>,
    },
    /// So much later.
    Shift {
        at: Box<Typed>,
        by: Span,
    },
    Cast {
        operand: Box<Typed>,
        or_null: bool,
    },
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Test {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Test {
    pub(crate) fn holds(self, order: Ordering) -> bool {
        match self {
            Test::Equal => order.is_eq(),
            Test::NotEqual => order.is_ne(),
            Test::Less => order.is_lt(),
            Test::LessOrEqual => order.is_le(),
            Test::Greater => order.is_gt(),
            Test::GreaterOrEqual => order.is_ge(),
        }
    }

    pub(crate) fn text(self) -> &'static str {
        match self {
            Test::Equal => "=",
            Test::NotEqual => "<>",
            Test::Less => "<",
            Test::LessOrEqual => "<=",
            Test::Greater => ">",
            Test::GreaterOrEqual => ">=",
        }
    }
}

/// What IS asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Is {
    Null,
    True,
    False,
    Unknown,
}

/// An operator on numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Arithmetic {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Arithmetic::Add => "+",
            Arithmetic::Subtract => "-",
            Arithmetic::Multiply => "*",
            Arithmetic::Divide => "/",
            Arithmetic::Remainder => "%",
        }
    }
}

/// A function whose arguments are values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Coalesce,
    NullIf,
    Lower,
    Upper,
    Trim,
    TrimStart,
    TrimEnd,
    Substr,
    /// NULL adds nothing.
    Concat,
    /// `||`: NULL makes it NULL.
    Join,
    /// `->`: a member of an object.
    Member,
    /// `->>`: a member of an object, as text.
    MemberText,
}

impl Function {
    /// The name that it is called by.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Function::Coalesce => "coalesce",
            Function::NullIf => "nullif",
            Function::Lower => "lower",
            Function::Upper => "upper",
            Function::Trim => "trim",
            Function::TrimStart => "ltrim",
            Function::TrimEnd => "rtrim",
            Function::Substr => "substr",
            Function::Concat => "concat",
            Function::Join => "||",
            Function::Member => json::JSON,
            Function::MemberText => json::TEXT,
        }
    }
}

/// A length of time: months first, then days, then the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) months: i32,
    pub(crate) days: i32,
    pub(crate) micros: i64,
}

/// A unit of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    DayOfWeek,
    DayOfYear,
}

impl Unit {
    const ALL: [(Unit, &'static str); 10] = [
        (Unit::Second, "second"),
        (Unit::Minute, "minute"),
        (Unit::Hour, "hour"),
        (Unit::Day, "day"),
        (Unit::Week, "week"),
        (Unit::Month, "month"),
        (Unit::Quarter, "quarter"),
        (Unit::Year, "year"),
        (Unit::DayOfWeek, "dow"),
        (Unit::DayOfYear, "doy"),
    ];

    pub(crate) fn name(self) -> &'static str {
        Unit::ALL.iter().find(|(unit, _)| *unit == self).map_or("", |(_, name)| name)
    }

    pub(crate) fn parse(name: &str) -> Option<Unit> {
        let name = name.to_ascii_lowercase();
        Unit::ALL.iter().find(|(_, own)| *own == name).map(|(unit, _)| *unit)
    }

    /// The names of units, for messages.
    pub(crate) fn names() -> String {
        Unit::ALL.map(|(_, name)| name).join(", ")
    }
}

impl Typed {
    pub(crate) fn boolean(node: Node) -> Typed {
        Typed { node, ty: Type::Boolean }
    }

    pub(crate) fn literal(value: Value<'static>, ty: Type) -> Typed {
        Typed { node: Node::Literal(value), ty }
    }

    pub(crate) fn as_column(&self) -> Option<usize> {
        match self.node {
            Node::Column { index, .. } => Some(index),
            _ => None,
        }
    }

    pub(crate) fn as_literal(&self) -> Option<&Value<'static>> {
        match &self.node {
            Node::Literal(value) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.node, Node::Literal(Value::Null))
    }

    /// The parts that AND joins: the tree itself where it joins none.
    pub(crate) fn conjuncts(&self) -> Vec<&Typed> {
        match &self.node {
            Node::And(parts) => parts.iter().flat_map(Typed::conjuncts).collect(),
            _ => vec![self],
        }
    }

    /// The columns that it reads, as often as it does.
    pub(crate) fn columns(&self) -> Vec<usize> {
        match &self.node {
            Node::Column { index, .. } => vec![*index],
            _ => self.children().into_iter().flat_map(Typed::columns).collect(),
        }
    }

    /// The nodes right below.
    pub(crate) fn children(&self) -> Vec<&Typed> {
        match &self.node {
            Node::Column { .. } | Node::Literal(_) => Vec::new(),
            Node::And(all) | Node::Or(all) | Node::Call { args: all, .. } => all.iter().collect(),
            Node::Not(one)
            | Node::Negate(one)
            | Node::Is { operand: one, .. }
            | Node::DateTrunc { at: one, .. }
            | Node::Extract { at: one, .. }
            | Node::Shift { at: one, .. }
            | Node::Cast { operand: one, .. } => vec![one],
            Node::Compare { left, right, .. }
            | Node::Arithmetic { left, right, .. }
            | Node::Like { operand: left, pattern: right, .. } => vec![left, right],
            Node::In { operand, list, .. } => std::iter::once(&**operand).chain(list).collect(),
            Node::Between { operand, low, high, .. } => vec![operand, low, high],
            Node::Case { operand, branches, otherwise } => {
                let branches = branches.iter().flat_map(|(when, then)| [when, then]);
                let operand = operand.as_deref().into_iter();
                operand.chain(branches).chain(otherwise.as_deref()).collect()
            }
        }
    }
}
