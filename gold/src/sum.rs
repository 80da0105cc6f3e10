//! The numbers that a cell is made of.

pub(crate) use schemas::ExactSum;

/// The counts and sums of one cell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers<'a> {
    pub(crate) counts: &'a [i64],
    pub(crate) sums: &'a [ExactSum],
}
