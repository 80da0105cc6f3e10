//! What a row must not say: a value outside a strict vocabulary, or a tenant that stands for all tenants.
//!
//! # Guarantees
//! - Which vocabularies are strict is decided by the contract in force in the epoch of a record, so records
//!   of earlier epochs stay what they were, live and replayed.
//!
//! # Non-guarantees
//! - A value that an event leaves out is not looked at: it was when it was sent.

use schemas::contract::{ALL_TENANTS, ALL_TENANTS_REFUSED};
use schemas::{Contract, Delta, EpochStamp, RowRef, Vocabulary};

use super::TableFold;
use crate::decode::{ChangeKind, ChangeRef, DecodeError};

/// The strict vocabularies in force, by columns of the table.
#[derive(Debug, Default)]
pub(super) struct Admission {
    strict: Vec<Vocabulary>,
}

impl Admission {
    /// Takes what a contract says; `None` when there is none in force.
    pub(super) fn set(&mut self, own: &Contract, in_force: Option<&Contract>) {
        let strict = in_force.into_iter().flat_map(|contract| {
            let strict = contract.vocabularies.iter().filter(|vocabulary| vocabulary.is_strict);
            strict.filter_map(|vocabulary| vocabulary.moved(&contract.columns, &own.columns))
        });
        self.strict = strict.collect();
    }

    /// Why the record with this row is a dead letter, if it is one.
    pub(super) fn refusal(&self, contract: &Contract, row: RowRef<'_>) -> Option<String> {
        let name = |column: usize| contract.column_name(column);
        if row.text_bytes(contract.tenant) == Some(ALL_TENANTS.as_bytes()) {
            return Some(format!("column `{}`: {ALL_TENANTS_REFUSED}", name(contract.tenant)));
        }
        self.strict.iter().find_map(|vocabulary| {
            let value = row.text(vocabulary.column)?;
            let is_outside = !vocabulary.has(value);
            is_outside.then(|| vocabulary.refusal(name(vocabulary.column), value))
        })
    }
}

impl TableFold {
    /// Takes the version of the contract that is in force from here on: which values it refuses.
    pub fn put_in_force(&mut self, contract: Option<&Contract>) {
        self.admission.set(self.contract.contract(), contract);
    }

    /// Why the record of an upsert is a dead letter for what its row says, if it is one.
    pub(super) fn refusal(&self, change: ChangeRef<'_>) -> Option<String> {
        let row = self.contract.layout().row(change.row);
        self.admission.refusal(self.contract.contract(), row)
    }

    /// Takes such a record as one that could not be read.
    pub(super) fn refuse(
        &mut self,
        change: ChangeRef<'_>,
        reason: String,
        stamp: &EpochStamp,
        delta: &mut Delta,
    ) {
        self.counters.refused += 1;
        let mut what = change.change.clone();
        what.kind = ChangeKind::Unreadable;
        let reason = DecodeError(reason);
        let unreadable = ChangeRef { change: &what, ..change };
        self.take_unreadable(unreadable, Some(&reason), stamp, delta);
        self.refused.push((what.record, reason.0));
    }
}
