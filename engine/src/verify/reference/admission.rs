//! What a row must not say, by the rules alone: a value outside a strict vocabulary of the contract in force, or
//! the tenant `*`.

use std::collections::BTreeSet;

use pipeline::decode::PreparedContract;
use schemas::{ColumnType, Contract, DefinitionChange, DefinitionKind, Values, Vocabulary};

use super::Reference;

/// The values that a column may have.
#[derive(Debug)]
pub(super) enum Admitted {
    These(BTreeSet<String>),
    Currencies(Vocabulary),
}

impl Reference {
    /// A definition comes into force; `table` is the contract by which the rows are read.
    pub(in crate::verify) fn define(
        &mut self,
        change: &DefinitionChange,
        table: &PreparedContract,
    ) {
        if change.of != DefinitionKind::Contract {
            return;
        }
        self.strict.clear();
        let text = change.text.as_deref().unwrap_or_default();
        let Ok(contract) = Contract::parse(text) else { return };
        for vocabulary in contract.vocabularies.iter().filter(|vocabulary| vocabulary.is_strict) {
            let Some(named) = contract.columns.get(vocabulary.column) else { continue };
            let own = table.columns().iter().position(|column| *column.name == *named.name);
            let is_text = |at: &usize| {
                table.columns().get(*at).is_some_and(|column| column.kind == ColumnType::Text)
            };
            if let Some(own) = own.filter(is_text) {
                let admitted = match &vocabulary.values {
                    Values::Listed(listed) => Admitted::These(listed.iter().cloned().collect()),
                    Values::Currencies => Admitted::Currencies(vocabulary.clone()),
                };
                self.strict.insert(own, admitted);
            }
        }
    }

    /// Whether the record with this row is a dead letter.
    pub(super) fn is_refused(&self, contract: &PreparedContract, row: &[u8]) -> bool {
        let row = contract.layout().row(row);
        let is_outside = |(column, admitted): (&usize, &Admitted)| {
            row.text(*column).is_some_and(|value| match admitted {
                Admitted::These(values) => !values.contains(value),
                Admitted::Currencies(codes) => !codes.has(value),
            })
        };
        row.text(contract.contract().tenant) == Some("*") || self.strict.iter().any(is_outside)
    }
}
