//! A contract with what decoding and folding look up for every event.

use std::sync::Arc;

use schemas::{ColumnType, Contract, EventField, RowKey, RowLayout, RowRef, TimeUnit, decimal};
use xxhash_rust::xxh3::xxh3_64;

use super::maps::Maps;
use super::{Placeholder, PlaceholderError};

/// A column as decoders need it.
#[derive(Debug, Clone)]
pub struct PreparedColumn {
    /// Its name.
    pub name: Box<str>,
    /// Its name in events.
    pub field: Box<str>,
    /// Its type.
    pub kind: ColumnType,
    /// Whether a row without it is an error.
    pub required: bool,
    /// For decimals: the first mantissa that is too large.
    pub mantissa_end: i128,
    /// What its integers count, where the contract says it.
    pub unit: Option<TimeUnit>,
    /// Whether it is computed, and read from no field.
    pub is_mapped: bool,
    /// What stands in events for a value that was not sent.
    pub(super) placeholder: Arc<Placeholder>,
}

/// A contract, its row layout, and look-ups.
#[derive(Debug, Clone)]
pub struct PreparedContract {
    contract: Contract,
    layout: Arc<RowLayout>,
    key: RowKey,
    columns: Vec<PreparedColumn>,
    /// The fields that cells are of: those of the columns, then others that expressions name. Of a
    /// computed column none.
    fields: Vec<Option<Box<str>>>,
    maps: Option<Maps>,
    fingerprint: u64,
}

/// Why a contract cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// The same JSON value has many texts.
    #[error(
        "contract `{contract}`: key column `{column}` is json, and the same json can be written in many \
         ways; name other columns under `key`, or declare it text"
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
    /// An expression that cannot be used.
    #[error("contract `{contract}`: column `{column}`: its `map`: {problem}")]
    Map {
        /// The contract.
        contract: String,
        /// The column.
        column: String,
        /// What is wrong, and what to do.
        problem: String,
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
    /// When there is no key, one that is JSON, or a tenant that is no text.
    pub fn new(contract: Contract) -> Result<PreparedContract, PrepareError> {
        let name = || contract.name.clone();
        let column_of = |index: usize, is_wrong: fn(ColumnType) -> bool| {
            let column = contract.columns.get(index).filter(|column| is_wrong(column.kind));
            column.map(|column| column.name.clone())
        };
        if contract.key.is_empty() {
            return Err(PrepareError::NoKey { contract: name() });
        }
        let json = |&index: &usize| column_of(index, |kind| kind == ColumnType::Json);
        if let Some(column) = contract.key.iter().find_map(json) {
            return Err(PrepareError::KeyType { contract: name(), column });
        }
        if let Some(column) = column_of(contract.tenant, |kind| kind != ColumnType::Text) {
            return Err(PrepareError::TenantType { contract: name(), column });
        }
        let placeholder = Arc::new(Placeholder::default());
        let columns = contract.columns.iter().enumerate().map(|(at, column)| {
            let EventField { from, unit, map } =
                contract.fields.get(at).cloned().unwrap_or_default();
            PreparedColumn {
                name: column.name.as_str().into(),
                field: from.as_deref().unwrap_or(&column.name).into(),
                kind: column.kind,
                required: column.required,
                mantissa_end: match column.kind {
                    ColumnType::Decimal { precision, .. } => 10_i128.pow(u32::from(precision)),
                    _ => decimal::MANTISSA_MAX,
                },
                unit,
                is_mapped: map.is_some(),
                placeholder: Arc::clone(&placeholder),
            }
        });
        let columns: Vec<PreparedColumn> = columns.collect();
        let maps = Maps::new(&contract, &columns)?;
        let own = |column: &PreparedColumn| (!column.is_mapped).then(|| column.field.clone());
        let others = maps.iter().flat_map(Maps::fields).map(|field| Some(field.into()));
        let fields = columns.iter().map(own).chain(others).collect();
        let layout = Arc::new(RowLayout::new(&contract.columns));
        let key = RowKey::new(contract.key.clone());
        let fingerprint = xxh3_64(format!("{contract:?}").as_bytes());
        Ok(PreparedContract { contract, layout, key, columns, fields, maps, fingerprint })
    }

    /// The same contract for events of a connector that says this as `unavailable.value.placeholder`.
    ///
    /// # Errors
    /// When no connector can say it.
    pub fn for_placeholder(
        self: &Arc<PreparedContract>,
        setting: Option<&str>,
    ) -> Result<Arc<PreparedContract>, PlaceholderError> {
        let Some(setting) = setting else { return Ok(Arc::clone(self)) };
        let (mut other, placeholder) = ((**self).clone(), Arc::new(Placeholder::parse(setting)?));
        for column in &mut other.columns {
            column.placeholder = Arc::clone(&placeholder);
        }
        other.maps.iter_mut().for_each(|maps| maps.set_placeholder(&placeholder));
        Ok(Arc::new(other))
    }

    /// Reads records as this contract does, to rows of a later one that [extends](Contract::extends) it: of the columns
    /// behind its own nothing is known, and they are null.
    pub fn to_rows_of(&self, later: &PreparedContract) -> PreparedContract {
        PreparedContract { layout: Arc::clone(&later.layout), ..self.clone() }
    }

    /// Differs between contracts that differ in anything.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The contract.
    pub fn contract(&self) -> &Contract {
        &self.contract
    }

    /// How the rows lie in memory that it is read to.
    pub fn layout(&self) -> &Arc<RowLayout> {
        &self.layout
    }

    /// The key of its rows.
    pub fn key(&self) -> &RowKey {
        &self.key
    }

    /// Its columns, in order.
    pub fn columns(&self) -> &[PreparedColumn] {
        &self.columns
    }

    /// Whether a column has a value in every row.
    pub(crate) fn is_required(&self, column: usize) -> bool {
        self.columns.get(column).is_some_and(|own| own.required)
    }

    /// How many cells of a record are looked at.
    pub(super) fn cells(&self) -> usize {
        self.fields.len()
    }

    /// The computed columns.
    pub(super) fn maps(&self) -> Option<&Maps> {
        self.maps.as_ref()
    }

    /// The index of the cell whose field events name `name`. `guess` is looked at first: events list columns
    /// in the order of the table, most often that of the contract.
    pub fn find(&self, name: &str, guess: usize) -> Option<usize> {
        let is_it = |field: &Option<Box<str>>| field.as_deref() == Some(name);
        if self.fields.get(guess).is_some_and(is_it) {
            return Some(guess);
        }
        self.fields.iter().position(is_it)
    }

    /// Appends the key of a row to `out`.
    pub fn key_of(&self, row: RowRef<'_>, out: &mut Vec<u8>) {
        self.key.write(row, out);
    }
}
