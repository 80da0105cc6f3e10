//! Source table contracts: which columns a table has, which of them are its key and its tenant.
//!
//! A contract is a TOML file in `schemas/contracts/tables/`. Adding a table is adding a file and a
//! line in [`built_in`].
//!
//! # Guarantees
//! - A contract that parses names each column once, and its key and tenant columns exist.
//! - No two of its columns are read from one field of an event.

use serde::Deserialize;

use crate::column::{Column, ColumnType, RowSchema};
use crate::event_field::{EventField, TimeUnit};

/// The tenant of rows that name none.
pub const DEFAULT_TENANT: &str = "default";

/// Columns that silver tables have beside those of their contract.
pub const ADDED_COLUMNS: [&str; 5] = ["_epoch", "_position", "_origin", "_unknown", "_doubt"];

/// A source table that Weir understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    /// The name: `silver/<name>` is the table that it becomes.
    pub name: String,
    /// How events of it are encoded, the name of a decoder.
    pub format: String,
    /// The columns, in the order of the silver table.
    pub columns: RowSchema,
    /// How events carry each of the columns.
    pub fields: Vec<EventField>,
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
    /// A unit that does not exist.
    #[error("column `{column}`: unknown unit `{unit}`; use {}", TimeUnit::KNOWN)]
    Unit {
        /// The column.
        column: String,
        /// What was written.
        unit: String,
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
    from: Option<String>,
    unit: Option<String>,
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
        for column in &file.columns {
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
            columns.push(Column { name: column.name.clone(), kind, required: column.required });
        }
        let fields = fields(&file)?;
        let find = |what, name: &str| {
            let at = columns.iter().position(|column| column.name == name);
            at.ok_or_else(|| problem(&file.name, what, name, "is not among its columns"))
        };
        let key = file.key.iter().map(|name| find("key column", name)).collect::<Result<_, _>>()?;
        let tenant = find("tenant column", &file.tenant)?;
        let columns = RowSchema::new(columns);
        Ok(Contract { name: file.name, format: file.format, columns, fields, key, tenant })
    }

    /// The index of the column with this name.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.find(name)
    }
}

/// How events carry each column of a file.
fn fields(file: &File) -> Result<Vec<EventField>, ContractError> {
    let mut fields = Vec::with_capacity(file.columns.len());
    let mut seen: Vec<&str> = Vec::with_capacity(file.columns.len());
    for column in &file.columns {
        let refused = |what| problem(&file.name, "column", &column.name, what);
        let in_event = column.from.as_deref().unwrap_or(&column.name);
        if column.from.as_deref() == Some("") {
            return Err(refused(
                "has an empty `from`; name the field of the event, or leave it out",
            ));
        }
        if seen.contains(&in_event) {
            return Err(refused("is read from the same field of the event as another column"));
        }
        seen.push(in_event);
        let unit = column.unit.as_deref().map(|unit| {
            let unknown = || ContractError::Unit { column: column.name.clone(), unit: unit.into() };
            TimeUnit::parse(unit).ok_or_else(unknown)
        });
        let unit = unit.transpose()?;
        if unit.is_some() && !matches!(column.r#type.as_str(), "date" | "timestamp") {
            return Err(refused("has a `unit`, which only a date or a timestamp has; remove it"));
        }
        let from = column.from.clone().filter(|from| *from != column.name);
        fields.push(EventField { from, unit });
    }
    Ok(fields)
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
    fn a_column_says_how_events_carry_it_and_that_is_part_of_its_identity() {
        use crate::identity::Identity;

        let plain = "name='t'\nformat='f'\nkey=['a']\ntenant='a'\n\
                     columns=[{name='a',type='text'},{name='at',type='date'}]";
        let identity = |text: &str| Contract::parse(text).unwrap().identity();
        let with = |extra: &str| plain.replace("type='date'", &format!("type='date',{extra}"));
        let carried = Contract::parse(&with("unit='days',from='Day'")).unwrap().fields;
        let day = EventField { from: Some("Day".into()), unit: Some(TimeUnit::Days) };
        assert_eq!(carried, [EventField::default(), day]);
        assert_eq!(identity(plain), identity(&with("from='at'")), "what is said without need");
        let all = ["unit='days'", "unit='ms'", "from='Day'", "from='days'"];
        let all: Vec<String> = all.into_iter().map(|extra| identity(&with(extra))).collect();
        for (at, one) in all.iter().enumerate() {
            assert!(*one != identity(plain) && !all[at + 1..].contains(one), "{at}");
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
            ("type='text'", "type='date',unit='m'", "unknown unit `m`; use days, s, ms, us or ns"),
            ("type='text'", "type='text',unit='ms'", "has a `unit`, which only a date"),
            ("type='text'", "type='text',from=''", "empty `from`"),
            ("type='text'}", "type='text'},{name='b',type='text',from='a'}", "the same field"),
            ("{name='a',", "{name='_origin',type='text'},{name='a',", "`_origin` of contract `t`"),
        ] {
            let error = Contract::parse(&good.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
