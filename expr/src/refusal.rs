//! Refusals: why an expression is not accepted.

use std::fmt;

use crate::functions::FUNCTIONS;

/// A kind of refusal, by which programs tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The text is no SQL expression.
    Syntax,
    /// There is no such column.
    UnknownColumn,
    /// There is no such function, or not with these arguments.
    UnknownFunction,
    /// Two types that do not go together.
    TypeMismatch,
    /// A comparison with NULL, which is never true.
    NullCompared,
    /// A literal that is no value of its type.
    BadLiteral,
    /// SQL that is not part of the subset.
    NotSupported,
    /// It can fail on a row where a value is needed for every row.
    CanFail,
}

impl Code {
    /// The word used in messages.
    pub fn name(self) -> &'static str {
        match self {
            Code::Syntax => "SYNTAX",
            Code::UnknownColumn => "UNKNOWN_COLUMN",
            Code::UnknownFunction => "UNKNOWN_FUNCTION",
            Code::TypeMismatch => "TYPE_MISMATCH",
            Code::NullCompared => "NULL_COMPARED",
            Code::BadLiteral => "BAD_LITERAL",
            Code::NotSupported => "NOT_SUPPORTED",
            Code::CanFail => "CAN_FAIL",
        }
    }
}

/// Why an expression is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its kind.
    pub code: Code,
    /// The part of the text that it is about.
    pub place: String,
    /// What is wrong and what to write instead.
    pub problem: String,
}

impl Refusal {
    pub(crate) fn new(code: Code, place: impl fmt::Display, problem: impl Into<String>) -> Refusal {
        Refusal { code, place: place.to_string(), problem: problem.into() }
    }

    pub(crate) fn unsupported(place: impl fmt::Display) -> Refusal {
        let problem = format!(
            "`{place}` is not accepted; use comparisons, IN, BETWEEN, LIKE, IS NULL, AND, OR, NOT, CASE, \
             COALESCE, NULLIF, + - * / %, ||, CAST, or the functions {}",
            FUNCTIONS.join(", ")
        );
        Refusal::new(Code::NotSupported, place, problem)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refusal { code, place, problem } = self;
        write!(f, "{problem} ({}", code.name())?;
        if !problem.contains(place.as_str()) {
            write!(f, " at `{place}`")?;
        }
        f.write_str(")")
    }
}

impl std::error::Error for Refusal {}
