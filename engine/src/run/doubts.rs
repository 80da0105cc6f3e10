//! What is in doubt, for the metrics.

use parking_lot::Mutex;

use crate::core::Core;

/// What is in doubt of each contract.
#[derive(Debug, Default)]
pub struct Doubts(Mutex<Vec<ContractDoubts>>);

/// What is in doubt of one contract.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContractDoubts {
    /// The contract.
    pub contract: String,
    /// Live rows in doubt.
    pub rows: usize,
    /// Records that could not be read and have no row to mark.
    pub unplaced: u64,
}

impl Doubts {
    /// Looks at the tables after an epoch.
    pub(super) fn update(&self, core: &Core) {
        let mut held = self.0.lock();
        let known = held.iter().map(|own| (own.contract.as_str(), own.rows, own.unplaced));
        if !known.eq(core.doubts()) {
            let own = |(contract, rows, unplaced): (&str, usize, u64)| {
                let contract = contract.to_owned();
                ContractDoubts { contract, rows, unplaced }
            };
            *held = core.doubts().map(own).collect();
        }
    }

    /// All of them, as of the last epoch.
    pub fn list(&self) -> Vec<ContractDoubts> {
        self.0.lock().clone()
    }
}
