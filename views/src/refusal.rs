//! Refusals: why a view is not accepted.

use std::fmt;

/// A kind of refusal, by which programs tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Of one expression.
    Expression(expr::Code),
    /// The text is no single SELECT, or SQL that cannot be planned.
    Invalid,
    /// There is no such relation.
    UnknownRelation,
    /// A relation that is refused itself.
    RefusedRelation,
    /// Views that read each other.
    Cycle,
    /// It depends on a clock, on chance or on a session.
    Volatile,
    /// A query in the place of a value.
    Subquery,
    /// A join that is neither inner nor left.
    JoinKind,
    /// A join on something else than equality.
    JoinCondition,
    /// An aggregate that cannot be kept up to date.
    Aggregate,
    /// Arithmetic, order or equality of doubles.
    Double,
    /// GROUPING SETS, ROLLUP or CUBE.
    GroupingSets,
    /// A query that reads itself.
    Recursive,
    /// A window function other than a bounded ROW_NUMBER.
    Window,
    /// LIMIT without an order, an order without LIMIT, or OFFSET.
    Limit,
    /// `period()` where it has no meaning.
    Period,
    /// The relation `periods` where its rows would have no end.
    PeriodsUnbounded,
    /// A column of the result without a name of its own.
    ColumnName,
    /// SQL that is not part of the subset.
    NotSupported,
}

impl Code {
    /// All of them but those of expressions.
    pub const ALL: [Code; 18] = [
        Code::Invalid,
        Code::UnknownRelation,
        Code::RefusedRelation,
        Code::Cycle,
        Code::Volatile,
        Code::Subquery,
        Code::JoinKind,
        Code::JoinCondition,
        Code::Aggregate,
        Code::Double,
        Code::GroupingSets,
        Code::Recursive,
        Code::Window,
        Code::Limit,
        Code::Period,
        Code::PeriodsUnbounded,
        Code::ColumnName,
        Code::NotSupported,
    ];

    /// The word used in messages.
    pub fn name(self) -> &'static str {
        match self {
            Code::Expression(code) => code.name(),
            Code::Invalid => "INVALID",
            Code::UnknownRelation => "UNKNOWN_RELATION",
            Code::RefusedRelation => "REFUSED_RELATION",
            Code::Cycle => "CYCLE",
            Code::Volatile => "VOLATILE",
            Code::Subquery => "SUBQUERY",
            Code::JoinKind => "JOIN_KIND",
            Code::JoinCondition => "JOIN_CONDITION",
            Code::Aggregate => "AGGREGATE",
            Code::Double => "DOUBLE",
            Code::GroupingSets => "GROUPING_SETS",
            Code::Recursive => "RECURSIVE",
            Code::Window => "WINDOW",
            Code::Limit => "LIMIT",
            Code::Period => "PERIOD",
            Code::PeriodsUnbounded => "PERIODS_UNBOUNDED",
            Code::ColumnName => "COLUMN_NAME",
            Code::NotSupported => "NOT_SUPPORTED",
        }
    }
}

/// Why a view is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its kind.
    pub code: Code,
    /// The part of the text that it is about.
    pub place: String,
    /// The line where that stands, when it is found there.
    pub line: Option<usize>,
    /// What is wrong.
    pub problem: String,
    /// What to write instead; empty where the problem says it.
    pub advice: String,
}

impl Refusal {
    pub(crate) fn new(
        code: Code,
        place: impl fmt::Display,
        problem: impl Into<String>,
        advice: impl Into<String>,
    ) -> Refusal {
        let (place, problem, advice) = (place.to_string(), problem.into(), advice.into());
        Refusal { code, place, line: None, problem, advice }
    }

    /// With the line of the place in the text, where it stands there as it is written.
    pub(crate) fn located(mut self, sql: &str) -> Refusal {
        let (text, place) = (sql.to_lowercase(), self.place.to_lowercase());
        // A name of a table before a column is DataFusion's, and not always written.
        let found = text.find(&place).or_else(|| text.find(place.rsplit('.').next()?));
        self.line = found
            .filter(|_| !place.is_empty())
            .and_then(|at| text.get(..at).map(|before| before.matches('\n').count() + 1));
        self
    }
}

impl From<expr::Refusal> for Refusal {
    fn from(refusal: expr::Refusal) -> Refusal {
        let expr::Refusal { code, place, problem } = refusal;
        Refusal::new(Code::Expression(code), place, problem, "")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refusal { code, place, line, problem, advice } = self;
        f.write_str(problem)?;
        if !advice.is_empty() {
            write!(f, "; {advice}")?;
        }
        write!(f, " ({}", code.name())?;
        if !problem.contains(place.as_str()) {
            write!(f, " at `{place}`")?;
        }
        line.iter().try_for_each(|line| write!(f, ", line {line}"))?;
        f.write_str(")")
    }
}

impl std::error::Error for Refusal {}
