//! A contract with what decoding and folding look up for every event.

use schemas::{ColumnType, Contract, RowLayout, RowRef, decimal};
use xxhash_rust::xxh3::xxh3_64;

/// Joins the parts of a key that has several columns.
pub(crate) const KEY_SEPARATOR: u8 = 0x1f;

/// A column as decoders need it.
#[derive(Debug, Clone)]
pub struct PreparedColumn {
    /// Its name.
    pub name: Box<str>,
    /// Its type.
    pub kind: ColumnType,
    /// Whether a row without it is an error.
    pub required: bool,
    /// For decimals: the first mantissa that is too large.
    pub mantissa_end: i128,
}

/// A contract, its row layout, and look-ups.
#[derive(Debug, Clone)]
pub struct PreparedContract {
    contract: Contract,
    layout: RowLayout,
    columns: Vec<PreparedColumn>,
    fingerprint: u64,
}

/// Why a contract cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// Keys are texts.
    #[error(
        "contract `{contract}`: key column `{column}` must be of type text (integers are taken as their decimal text)"
    )]
    KeyType {
        /// The contract.
        contract: String,
        /// The column.
        column: String,
    },
    /// A table needs a key.
    #[error("contract `{contract}` has no key columns; name at least one under `key`")]
    NoKey {
        /// The contract.
        contract: String,
    },
    /// Rows without a tenant get one, which is a text.
    #[error("contract `{contract}`: tenant column `{column}` must be of type text")]
    TenantType {
        /// The contract.
        contract: String,
        /// The column.
        column: String,
    },
}

impl PreparedContract {
    /// Prepares a contract.
    ///
    /// # Errors
    /// When its key or tenant columns are not texts.
    pub fn new(contract: Contract) -> Result<PreparedContract, PrepareError> {
        let name = || contract.name.clone();
        let not_text =
            |index: &usize| contract.columns.get(*index).filter(|c| c.kind != ColumnType::Text);
        if contract.key.is_empty() {
            return Err(PrepareError::NoKey { contract: name() });
        }
        if let Some(column) = contract.key.iter().find_map(not_text) {
            let column = column.name.clone();
            return Err(PrepareError::KeyType { contract: name(), column });
        }
        if let Some(column) = not_text(&contract.tenant) {
            let column = column.name.clone();
            return Err(PrepareError::TenantType { contract: name(), column });
        }
        let columns = contract.columns.iter().map(|column| PreparedColumn {
            name: column.name.as_str().into(),
            kind: column.kind,
            required: column.required,
            mantissa_end: match column.kind {
                ColumnType::Decimal { precision, .. } => 10_i128.pow(u32::from(precision)),
                _ => decimal::MANTISSA_MAX,
            },
        });
        let columns = columns.collect();
        let layout = RowLayout::new(&contract);
        let fingerprint = xxh3_64(format!("{contract:?}").as_bytes());
        Ok(PreparedContract { contract, layout, columns, fingerprint })
    }

    /// Differs between contracts that differ in anything.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The contract.
    pub fn contract(&self) -> &Contract {
        &self.contract
    }

    /// How its rows lie in memory.
    pub fn layout(&self) -> &RowLayout {
        &self.layout
    }

    /// Its columns, in order.
    pub fn columns(&self) -> &[PreparedColumn] {
        &self.columns
    }

    /// The index of the column named `name`. `guess` is looked at first: events list columns in
    /// the order of the table, most often that of the contract.
    pub fn find(&self, name: &str, guess: usize) -> Option<usize> {
        if self.columns.get(guess).is_some_and(|column| *column.name == *name) {
            return Some(guess);
        }
        self.columns.iter().position(|column| *column.name == *name)
    }

    /// Appends the key text of a row to `out`.
    pub fn key_of(&self, row: RowRef<'_>, out: &mut Vec<u8>) {
        for (part, &column) in self.contract.key.iter().enumerate() {
            if part > 0 {
                out.push(KEY_SEPARATOR);
            }
            out.extend_from_slice(row.text(column).unwrap_or_default().as_bytes());
        }
    }
}
