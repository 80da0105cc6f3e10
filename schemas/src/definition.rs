//! Definitions as control records carry them: what they define, what their meaning is known by, their text.
//!
//! # Guarantees
//! - The identity of a definition is its meaning: layout, comments and what is for people only are not part of it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a definition defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DefinitionKind {
    /// A table's contract.
    Contract,
    /// A KPI.
    Kpi,
    /// A view.
    View,
}

impl fmt::Display for DefinitionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DefinitionKind::Contract => "contract",
            DefinitionKind::Kpi => "KPI",
            DefinitionKind::View => "view",
        })
    }
}

/// A definition that comes into force, in place of the one before it, or goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefinitionChange {
    /// What it defines.
    pub of: DefinitionKind,
    /// The contract's name, or the KPI's key.
    pub name: String,
    /// What its meaning is known by; `None` when it is in force no longer.
    pub identity: Option<String>,
    /// The file's text, where there is one.
    pub text: Option<String>,
    /// Of a contract: whether its table goes on with the rows that it has, read by the versions before. Else it is
    /// built anew by this one alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extends: bool,
}

/// What a file says for people only, and computes nothing.
const FOR_PEOPLE: [&str; 4] = ["title", "description", "owner", "note"];

impl DefinitionChange {
    /// The view `name`, whose canonical SQL is its meaning.
    pub fn of_view(name: &str, canonical: &str, text: &str) -> DefinitionChange {
        let identity = xxhash_rust::xxh3::xxh3_128(canonical.as_bytes());
        let (identity, text) = (Some(format!("{identity:032x}")), Some(text.to_owned()));
        let name = name.to_owned();
        DefinitionChange { of: DefinitionKind::View, name, identity, text, extends: false }
    }

    /// The definition in a TOML file. Its identity is what the file says, without layout, comments and what is
    /// for people only.
    ///
    /// # Errors
    /// When the text is no TOML, or does not say what it defines.
    pub fn of_file(of: DefinitionKind, text: &str) -> Result<DefinitionChange, String> {
        let mut table: toml::Table = text.parse().map_err(|e: toml::de::Error| e.to_string())?;
        let field = match of {
            DefinitionKind::Contract | DefinitionKind::View => "name",
            DefinitionKind::Kpi => "key",
        };
        let name = table.get(field).and_then(toml::Value::as_str).map(str::to_owned);
        let name = name.ok_or_else(|| format!("`{field}` is missing"))?;
        drop_for_people(&mut table);
        // Sorted by field, in a form that no other version of a library writes otherwise.
        let canonical = serde_json::to_vec(&table).map_err(|e| e.to_string())?;
        let identity = xxhash_rust::xxh3::xxh3_128(&canonical);
        let (identity, text) = (Some(format!("{identity:032x}")), Some(text.to_owned()));
        Ok(DefinitionChange { of, name, identity, text, extends: false })
    }
}

fn drop_for_people(table: &mut toml::Table) {
    table.retain(|field, _| !FOR_PEOPLE.contains(&field));
    for value in table.iter_mut().map(|(_, value)| value) {
        let items = value.as_array_mut().into_iter().flatten();
        items.filter_map(toml::Value::as_table_mut).for_each(drop_for_people);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_of_a_file_is_its_meaning() {
        let of = |text: &str| DefinitionChange::of_file(DefinitionKind::Contract, text).unwrap();
        let base = of("name='t'\nkey=['a']\ncolumns=[{name='a',type='text'}]");
        assert_eq!(base.name, "t");
        // Every lake has it: it must not change by itself.
        assert_eq!(base.identity.as_deref(), Some("2caf085961ef803b89074e0968581f90"));
        let laid_out =
            of("# c\nkey = [\"a\"]\nname = 't'\ncolumns=[{type='text', name='a', note='n'}]\n");
        assert_eq!(laid_out.identity, base.identity);
        let typed = of("name='t'\nkey=['a']\ncolumns=[{name='a',type='json'}]");
        assert_ne!(typed.identity, base.identity);
        let nameless = DefinitionChange::of_file(DefinitionKind::Kpi, "name='t'").unwrap_err();
        assert!(nameless.contains("`key`"), "{nameless}");
    }
}
