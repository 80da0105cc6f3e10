//! What is held of a group for its aggregates: counts, sums and values, each once for all that read it.

use std::sync::Arc;

use schemas::{ColumnType, Datum, RowLayout, RowRef, RowSchema};

use super::values::Values;
use crate::operator::sum::Sum;
use crate::operator::{Call, Function};
use crate::percentile::cut;

/// One number, or the values of one column, that is held of each group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keeper {
    kind: Kind,
    column: Option<usize>,
    filter: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Count,
    Sum,
    Truths,
    Values(ColumnType),
    /// The same of values that are cut.
    Cut(ColumnType),
}

/// What a keeper holds of one group.
#[derive(Debug)]
pub(super) enum Part {
    Count(i64),
    Sum(Sum),
    /// Values that are not null, and those of them that are true.
    Truths {
        count: i64,
        truths: i64,
    },
    Values(Values),
}

/// What a row is to a keeper.
#[derive(Debug, Clone, Copy)]
pub(super) enum Taken<'a> {
    /// Nothing: a null, or not selected.
    Nothing,
    /// It may be anything, as the source did not say.
    Unknown,
    /// Null where only rows are counted.
    Value(Datum<'a>),
}

impl Keeper {
    /// What an aggregate needs; `None` when it has no column and needs one, or one that it cannot read.
    fn of(call: &Call, input: &RowSchema) -> Option<Keeper> {
        let kind = match call.column {
            Some(column) => Some(input.kind(column)?),
            None => None,
        };
        call.function.result(kind)?;
        if let Some(filter) = call.filter
            && input.kind(filter) != Some(ColumnType::Boolean)
        {
            return None;
        }
        let (kind, column) = match (call.function, kind) {
            (Function::Count, _) => (Kind::Count, None),
            (Function::CountColumn, _) => (Kind::Count, call.column),
            (Function::Sum | Function::Avg, _) => (Kind::Sum, call.column),
            (Function::BoolAnd | Function::BoolOr, _) => (Kind::Truths, call.column),
            (Function::CountDistinct | Function::Min | Function::Max, kind) => {
                (Kind::Values(kind?), call.column)
            }
            (Function::Percentile { cuts: false, .. }, kind) => (Kind::Values(kind?), call.column),
            (Function::Percentile { cuts: true, .. }, kind) => (Kind::Cut(kind?), call.column),
        };
        Some(Keeper { kind, column, filter: call.filter })
    }

    /// What a group without rows has.
    pub(super) fn empty(&self) -> Part {
        match self.kind {
            Kind::Count => Part::Count(0),
            Kind::Sum => Part::Sum(Sum::default()),
            Kind::Truths => Part::Truths { count: 0, truths: 0 },
            Kind::Values(kind) | Kind::Cut(kind) => Part::Values(Values::new(kind)),
        }
    }

    fn cuts(&self) -> bool {
        matches!(self.kind, Kind::Cut(_))
    }

    /// What it takes of a row.
    pub(super) fn take<'a>(&self, row: RowRef<'a>) -> Taken<'a> {
        if let Some(filter) = self.filter {
            match row.boolean(filter) {
                Some(true) => {}
                None if row.is_unknown(filter) => return Taken::Unknown,
                _ => return Taken::Nothing,
            }
        }
        let Some(column) = self.column else { return Taken::Value(Datum::Null) };
        match row.datum(column) {
            Datum::Null if row.is_unknown(column) => Taken::Unknown,
            Datum::Null => Taken::Nothing,
            Datum::Bigint(value) if self.cuts() => {
                Taken::Value(Datum::Bigint(i64::try_from(cut(value.into())).unwrap_or(value)))
            }
            Datum::Decimal(value) if self.cuts() => Taken::Value(Datum::Decimal(cut(value))),
            value => Taken::Value(value),
        }
    }
}

impl Part {
    /// Whether a value is there so many times that it can be taken away.
    pub(super) fn has(&self, value: Datum<'_>, times: i64) -> bool {
        let held = match self {
            Part::Count(count) | Part::Sum(Sum { count, .. }) => *count,
            Part::Truths { truths, .. } if value == Datum::Boolean(true) => *truths,
            Part::Truths { count, truths } => count.wrapping_sub(*truths),
            Part::Values(values) => values.count(value),
        };
        held >= times
    }

    /// Adds a value so many times, or takes it away as often.
    pub(super) fn add(&mut self, value: Datum<'_>, times: i64) {
        match self {
            Part::Count(count) => *count = count.wrapping_add(times),
            Part::Sum(sum) => sum.add(value, times),
            Part::Truths { count, truths } => {
                *count = count.wrapping_add(times);
                if value == Datum::Boolean(true) {
                    *truths = truths.wrapping_add(times);
                }
            }
            Part::Values(values) => values.add(value, times),
        }
    }

    /// Values that it keeps.
    pub(super) fn held(&self) -> usize {
        if let Part::Values(values) = self { values.len() } else { 0 }
    }

    /// Whether it is what a group without rows has.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Part::Count(count) => *count == 0,
            Part::Sum(sum) => *sum == Sum::default(),
            Part::Truths { count, truths } => (*count, *truths) == (0, 0),
            Part::Values(values) => values.len() == 0,
        }
    }
}

/// How an aggregate is read of what its keeper holds.
#[derive(Debug)]
pub(super) struct Reading {
    /// How it is written.
    pub(super) text: String,
    function: Function,
    /// The place of its keeper.
    pub(super) keeper: usize,
    input: ColumnType,
    result: ColumnType,
}

impl Reading {
    /// The value; `None` when it does not fit its type.
    pub(super) fn value<'a>(&self, part: &'a Part) -> Option<Datum<'a>> {
        let whole = |count: i64| Some(Datum::Bigint(count));
        match (self.function, part) {
            (Function::Avg, Part::Sum(sum)) => sum.mean(self.input.scale(), self.result),
            (_, Part::Sum(sum)) => sum.total(self.result),
            (_, Part::Truths { count: 0, .. }) => Some(Datum::Null),
            (Function::BoolAnd, Part::Truths { count, truths }) => {
                Some(Datum::Boolean(count == truths))
            }
            (_, Part::Truths { truths, .. }) => Some(Datum::Boolean(*truths > 0)),
            (Function::Min, Part::Values(values)) => Some(values.first(self.input)),
            (Function::Max, Part::Values(values)) => Some(values.last(self.input)),
            (Function::Percentile { millionths, .. }, Part::Values(values)) => {
                Some(values.percentile(self.input, millionths))
            }
            (_, Part::Values(values)) => whole(i64::try_from(values.len()).unwrap_or(i64::MAX)),
            (_, Part::Count(count)) => whole(*count),
        }
    }
}

/// The keepers that aggregates need, and how each aggregate is read; the words of what is wrong otherwise.
pub(super) fn plan(
    calls: &[Call],
    input: &RowLayout,
    out: &Arc<RowLayout>,
    keys: usize,
) -> Result<(Vec<Keeper>, Vec<Reading>), (String, String)> {
    let (mut keepers, mut readings) = (Vec::new(), Vec::new());
    for (at, call) in calls.iter().enumerate() {
        let problem = |problem: &str| (call.text.clone(), problem.to_owned());
        let Some(keeper) = Keeper::of(call, input.schema()) else {
            return Err(problem("has no column that it can be computed of"));
        };
        let kind = call.column.and_then(|column| input.schema().kind(column));
        let result = call.function.result(kind);
        if result.is_none() || result != out.schema().kind(keys + at) {
            return Err(problem("gives another type than its column has"));
        }
        let place = keepers.iter().position(|other| *other == keeper).unwrap_or(keepers.len());
        if place == keepers.len() {
            keepers.push(keeper);
        }
        readings.push(Reading {
            text: call.text.clone(),
            function: call.function,
            keeper: place,
            input: kind.unwrap_or(ColumnType::Bigint),
            result: result.unwrap_or(ColumnType::Bigint),
        });
    }
    Ok((keepers, readings))
}

impl Function {
    /// The type of the result for a column of this type, or for none; `None` when there is no such aggregate.
    pub fn result(self, column: Option<ColumnType>) -> Option<ColumnType> {
        let decimal = |precision: u8, more: u8, scale: u8| ColumnType::Decimal {
            precision: precision.saturating_add(more).min(38),
            scale: scale.min(38),
        };
        Some(match (self, column) {
            (Function::Count, None) => ColumnType::Bigint,
            (Function::CountColumn | Function::CountDistinct, Some(_)) => ColumnType::Bigint,
            (Function::Sum, Some(ColumnType::Bigint)) => ColumnType::Bigint,
            (Function::Sum, Some(ColumnType::Decimal { precision, scale })) => {
                decimal(precision, 10, scale)
            }
            (Function::Avg, Some(ColumnType::Bigint)) => ColumnType::Double,
            (Function::Avg, Some(ColumnType::Decimal { precision, scale })) => {
                decimal(precision, 4, scale.saturating_add(4))
            }
            (Function::Min | Function::Max, Some(kind)) => kind,
            (
                Function::Percentile { .. },
                Some(kind @ (ColumnType::Bigint | ColumnType::Decimal { .. })),
            ) => kind,
            (Function::BoolAnd | Function::BoolOr, Some(ColumnType::Boolean)) => {
                ColumnType::Boolean
            }
            _ => return None,
        })
    }
}
