//! The steps that views are made of: changes of their inputs in, changes of what they hold out.
//!
//! Between two of them rows travel as a [`Delta`] without a key: a row is its own key, and equal rows may
//! come several times.
//!
//! # Guarantees
//! - What an operator has given so far adds up to what it gives of all it was given, in whatever parts and
//!   order that came: changes that take each other back leave no trace.
//! - A row that comes of quiet changes alone is quiet. A column that is passed on is unknown where it was.
//! - What cannot be, such as a row that goes and was never there, is a [`StepError`]; all else is done, and
//!   what is held stays true.
//!
//! # Non-guarantees
//! - What is given is not consolidated.

mod bag;
mod distinct;
mod group;
mod join;
mod key_columns;
mod map;
mod order;
mod problems;
mod slots;
mod sum;
mod top_n;
mod union;
mod window;

#[cfg(test)]
mod algebra;

use std::fmt;
use std::sync::Arc;

use schemas::{Delta, RowLayout, RowRef};

pub use distinct::Distinct;
pub use group::Group;
pub use join::Join;
pub use map::Map;
pub use top_n::TopN;
pub use union::Union;
pub use window::{Window, WindowFunction};

/// One step of a view: changes of its inputs in, changes of what it holds out.
pub trait Operator: fmt::Debug + Send + Sync {
    /// How the rows lie that it gives.
    fn layout(&self) -> &Arc<RowLayout>;

    /// Adds to `out` what changes in what it holds when its inputs change so. They are consolidated.
    ///
    /// # Errors
    /// The first row that cannot be so; all others are done.
    fn step(&mut self, inputs: &[&Delta], out: &mut Delta) -> Result<(), StepError>;

    /// The same where nobody looks at what it gives: `spare` is empty before and after.
    ///
    /// # Errors
    /// As [`Operator::step`].
    fn take_in(&mut self, inputs: &[&Delta], spare: &mut Delta) -> Result<(), StepError> {
        let done = self.step(inputs, spare);
        spare.clear();
        done
    }

    /// Rows, groups or values that it keeps.
    fn held(&self) -> usize;

    /// Whether it never keeps any: what it gives in a step follows from the changes of that step.
    fn is_stateless(&self) -> bool {
        false
    }
}

/// Gives the changes of an operator's inputs with their weights, and whether each is quiet. What comes is there
/// before anything goes, whichever of them is quiet.
fn each_change(inputs: &[&Delta], mut take: impl FnMut(RowRef<'_>, i64, bool)) {
    for comes in [true, false] {
        for change in inputs.iter().flat_map(|input| input.keys()) {
            let is_quiet = change.is_quiet();
            for (row, weight) in change.rows().filter(|(_, weight)| (*weight > 0) == comes) {
                take(row, weight, is_quiet);
            }
        }
    }
}

/// A change that cannot be so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{node}: {row}: {problem}")]
pub struct StepError {
    /// The operator, in words: `SUM(amount)`.
    pub node: String,
    /// The row or the key, as text.
    pub row: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Which rows a join keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    /// Pairs.
    Inner,
    /// Pairs, and each left row without a right one beside nulls.
    Left,
}

/// What an aggregate does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// `COUNT(*)`.
    Count,
    /// `COUNT(column)`: those that are not null.
    CountColumn,
    /// `COUNT(DISTINCT column)`.
    CountDistinct,
    /// Of bigint: bigint. Of `decimal(p,s)`: `decimal(min(38, p+10), s)`. Null of none.
    Sum,
    /// Of `decimal(p,s)`: `decimal(min(38, p+4), min(38, s+4))`, the rest cut off. Null of none.
    Avg,
    /// The least that is not null.
    Min,
    /// The greatest that is not null.
    Max,
    /// Whether all that are not null are true.
    BoolAnd,
    /// Whether one is true.
    BoolOr,
    /// The least value that so many millionths are not above; of values cut to their highest bits, where it says so.
    Percentile {
        /// The share.
        millionths: u32,
        /// Whether values are cut.
        cuts: bool,
    },
}

/// An aggregate over a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What it does.
    pub function: Function,
    /// Of which column; none for `COUNT(*)`.
    pub column: Option<usize>,
    /// A boolean column: only rows where it is true are taken.
    pub filter: Option<usize>,
    /// Whether what it adds up is spread over the days of the row.
    pub allocates: bool,
    /// How it is written, for messages.
    pub text: String,
}

/// One column of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortBy {
    /// The column.
    pub column: usize,
    /// Whether the greatest comes first.
    pub descending: bool,
    /// Whether nulls come first.
    pub nulls_first: bool,
}
