//! The origins of a table's rows: each has a number, which is what rows keep.
//!
//! # Guarantees
//! - Numbers are given in the order in which origins were first seen and are never taken back.
//!
//! # Non-guarantees
//! - They are not saved: tables hold the text, and another run may number otherwise.

use std::collections::HashMap;
use std::sync::Arc;

/// Origins by number and by text.
#[derive(Debug, Default)]
pub(super) struct Origins {
    names: Arc<Vec<Arc<str>>>,
    numbers: HashMap<Arc<str>, u32>,
    /// Of the batch that is being applied: its own number of an origin to the table's.
    batch: Vec<u32>,
}

impl Origins {
    /// The number of an origin.
    pub(super) fn intern(&mut self, origin: &Arc<str>) -> u32 {
        if let Some(number) = self.numbers.get(origin) {
            return *number;
        }
        // A database with four billion tables has other problems.
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        Arc::make_mut(&mut self.names).push(Arc::clone(origin));
        self.numbers.insert(Arc::clone(origin), number);
        number
    }

    /// A batch with these origins is applied next.
    pub(super) fn begin(&mut self, origins: &[Arc<str>]) {
        let mut batch = std::mem::take(&mut self.batch);
        batch.clear();
        batch.extend(origins.iter().map(|origin| self.intern(origin)));
        self.batch = batch;
    }

    /// The number of an origin of the batch.
    pub(super) fn of(&self, in_batch: u32) -> u32 {
        self.batch.get(in_batch as usize).copied().unwrap_or(u32::MAX)
    }

    /// The text of a number.
    pub(super) fn name(&self, number: u32) -> &str {
        self.names.get(number as usize).map_or("", |name| name)
    }

    /// The texts, by number, as they are now.
    pub(super) fn names(&self) -> Arc<Vec<Arc<str>>> {
        Arc::clone(&self.names)
    }
}
