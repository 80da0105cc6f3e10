//! UNION ALL: the rows of all inputs.

use std::sync::Arc;

use schemas::{Delta, RowLayout};

use super::{Operator, StepError};

/// Puts inputs together that have the same columns.
#[derive(Debug)]
pub struct Union {
    layout: Arc<RowLayout>,
}

impl Union {
    /// Any number of inputs whose rows lie so.
    pub fn new(layout: Arc<RowLayout>) -> Union {
        Union { layout }
    }
}

impl Operator for Union {
    fn layout(&self) -> &Arc<RowLayout> {
        &self.layout
    }

    fn step(&mut self, inputs: &[&Delta], out: &mut Delta) -> Result<(), StepError> {
        for change in inputs.iter().flat_map(|input| input.keys()) {
            out.set_quiet(change.is_quiet());
            change.rows().for_each(|(row, weight)| out.add(row, weight));
        }
        Ok(())
    }

    fn held(&self) -> usize {
        0
    }

    fn is_stateless(&self) -> bool {
        true
    }
}
