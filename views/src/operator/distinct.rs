//! DISTINCT: each row once, as long as it is there at all.
//!
//! # Guarantees
//! - It is the group of all columns: a row comes with the first of its equals and goes with the last.
//! - Rows that differ only in being outdated are equal, and outdated when one of them is.

use std::sync::Arc;

use schemas::{Delta, RowLayout};

use super::group::Group;
use super::{Operator, StepError};

/// The distinct rows of its input.
#[derive(Debug)]
pub struct Distinct(Group);

impl Distinct {
    /// Of rows that lie so.
    pub fn new(layout: Arc<RowLayout>) -> Distinct {
        Distinct(Group::distinct(layout))
    }
}

impl Operator for Distinct {
    fn layout(&self) -> &Arc<RowLayout> {
        self.0.layout()
    }

    fn step(&mut self, inputs: &[&Delta], out: &mut Delta) -> Result<(), StepError> {
        self.0.step(inputs, out)
    }

    fn held(&self) -> usize {
        self.0.held()
    }
}

#[cfg(test)]
mod tests;
