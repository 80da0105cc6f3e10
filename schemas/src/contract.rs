//! Source table contracts: which columns a table has, which of them are its key and its tenant.
//!
//! A contract is a TOML file in `schemas/contracts/tables/`. Adding a table is adding a file and a
//! line in [`built_in`].
//!
//! # Guarantees
//! - A contract that parses names each column once, and its key and tenant columns exist.

use serde::Deserialize;

use crate::column::{Column, ColumnType, RowSchema};

/// The tenant of rows that name none.
pub const DEFAULT_TENANT: &str = "default";

/// Columns that silver tables have beside those of their contract.
pub const ADDED_COLUMNS: [&str; 4] = ["_epoch", "_position", "_origin", "_unknown"];

/// A source table that Weir understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    /// The name: `silver/<name>` is the table that it becomes.
    pub name: String,
    /// How events of it are encoded, the name of a decoder.
    pub format: String,
    /// The columns, in the order of the silver table.
    pub columns: RowSchema,
    /// Indexes of the key columns.
    pub key: Vec<usize>,
    /// Index of the tenant column.
    pub tenant: usize,
}

/// Why a contract was refused.
#[derive(Debug, thiserror::Error)]
pub enum ContractError {
    /// The file is not TOML of the expected shape.
    #[error("contract is not valid TOML: {0}")]
    Toml(#[from] toml::de::Error),
    /// A column type that does not exist.
    #[error("column `{column}`: unknown type `{kind}`; use {}", ColumnType::KNOWN)]
    Type {
        /// The column.
        column: String,
        /// What was written.
        kind: String,
    },
    /// A key or tenant names no column, or a column is named twice.
    #[error("{what} `{column}` of contract `{contract}` {problem}")]
    Column {
        /// The contract.
        contract: String,
        /// `key column`, `tenant column` or `column`.
        what: &'static str,
        /// The name.
        column: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    format: String,
    key: Vec<String>,
    tenant: String,
    columns: Vec<FileColumn>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileColumn {
    name: String,
    r#type: String,
    #[serde(default)]
    required: bool,
    #[serde(default, rename = "note")]
    _note: String,
}

impl Contract {
    /// Reads a contract file.
    ///
    /// # Errors
    /// When the text is no TOML, names an unknown type or field, or its columns do not fit together.
    pub fn parse(text: &str) -> Result<Contract, ContractError> {
        let file: File = toml::from_str(text)?;
        let mut columns: Vec<Column> = Vec::with_capacity(file.columns.len());
        for column in file.columns {
            if columns.iter().any(|seen| seen.name == column.name) {
                return Err(problem(&file.name, "column", &column.name, "is named twice"));
            }
            if ADDED_COLUMNS.contains(&column.name.as_str()) {
                let added = "is one that silver tables have of their own; leave it out";
                return Err(problem(&file.name, "column", &column.name, added));
            }
            let kind = ColumnType::parse(&column.r#type).ok_or_else(|| ContractError::Type {
                column: column.name.clone(),
                kind: column.r#type.clone(),
            })?;
            columns.push(Column { name: column.name, kind, required: column.required });
        }
        let find = |what, name: &str| {
            let at = columns.iter().position(|column| column.name == name);
            at.ok_or_else(|| problem(&file.name, what, name, "is not among its columns"))
        };
        let key = file.key.iter().map(|name| find("key column", name)).collect::<Result<_, _>>()?;
        let tenant = find("tenant column", &file.tenant)?;
        let columns = RowSchema::new(columns);
        Ok(Contract { name: file.name, format: file.format, columns, key, tenant })
    }

    /// The index of the column with this name.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.find(name)
    }
}

fn problem(
    contract: &str,
    what: &'static str,
    column: &str,
    problem: &'static str,
) -> ContractError {
    ContractError::Column { contract: contract.into(), what, column: column.into(), problem }
}

/// The contracts that come with Weir, as (file name, text).
pub fn built_in() -> Vec<(&'static str, &'static str)> {
    vec![
        ("costs.toml", include_str!("../contracts/tables/costs.toml")),
        ("orders.toml", include_str!("../contracts/tables/orders.toml")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_contracts_parse_under_their_names() {
        for (file, text) in built_in() {
            let contract = Contract::parse(text).unwrap();
            assert_eq!(format!("{}.toml", contract.name), file);
            assert!(!contract.key.is_empty());
        }
    }

    #[test]
    fn refuses_what_does_not_fit_together() {
        let good = "name='t'\nformat='f'\nkey=['a']\ntenant='a'\ncolumns=[{name='a',type='text'}]";
        assert!(Contract::parse(good).is_ok());
        for (from, to, says) in [
            ("key=['a']", "key=['b']", "key column `b`"),
            ("type='text'", "type='money'", "unknown type `money`"),
            ("type='text'", "type='decimal(4,5)'", "use text, bigint, double,"),
            ("tenant='a'", "tenant='z'", "tenant column `z`"),
            ("columns=", "colums=", "colums"),
            ("{name='a',", "{name='_origin',type='text'},{name='a',", "`_origin` of contract `t`"),
        ] {
            let error = Contract::parse(&good.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
