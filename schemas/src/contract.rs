//! Source table contracts: which columns a table has, which of them are its key and its tenant.
//!
//! A contract is a TOML file in `schemas/contracts/tables/`. Adding a table is adding a file and a
//! line in [`built_in`].
//!
//! # Guarantees
//! - A contract that parses names each column once, and its key and tenant columns exist.
//! - No two of its columns are read from one field of an event.
//! - Only text columns have a vocabulary, and none is empty.

use serde::Deserialize;

use crate::column::{Column, ColumnType, RowSchema};
use crate::event_field::{EventField, TimeUnit};
use crate::identity::{Fingerprint, Identity};
use crate::vocabulary::{ISO_4217, LISTED_MAX, Values, Vocabulary};
use crate::watching;

/// Names that views and audits know as something else: neither a contract nor a view may have them.
pub const OWN_RELATIONS: [&str; 2] = ["kpi_current", "periods"];

/// The tenant of rows that name none: null, or an empty text.
pub const DEFAULT_TENANT: &str = "default";

/// What stands for all tenants where one is asked for, so that no row may have it.
pub const ALL_TENANTS: &str = "*";

/// Why a row with it is refused.
pub const ALL_TENANTS_REFUSED: &str = "`*` stands for all tenants and is the name of none; give the tenant another name at the source";

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
    /// The values that columns are meant to have, of those that say it.
    pub vocabularies: Vec<Vocabulary>,
    /// Indexes of the key columns.
    pub key: Vec<usize>,
    /// Index of the tenant column.
    pub tenant: usize,
    /// How long after its end a period of it is whole, in hours, where that is said.
    pub lateness: Option<i64>,
    /// A number for people: with another one the table is built anew from all records.
    pub edition: u32,
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
    /// A lateness that is none.
    #[error("`lateness` of contract `{contract}`: {problem}")]
    Lateness {
        /// The contract.
        contract: String,
        /// What is wrong, and what to write instead.
        problem: String,
    },
    /// A key or tenant names no column, or a column is named twice.
    #[error("{what} `{column}` of contract `{contract}` {problem}")]
    Column {
        /// The contract.
        contract: String,
        /// `key column`, `tenant column`, `column` or `the name`.
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
    lateness: Option<String>,
    #[serde(default)]
    edition: u32,
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
    map: Option<String>,
    values: Option<FileValues>,
    #[serde(default)]
    strict: bool,
    #[serde(default, rename = "note")]
    _note: String,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "`values` is a list of texts, or \"iso4217\"")]
enum FileValues {
    Named(String),
    Listed(Vec<String>),
}

impl Contract {
    /// Reads a contract file.
    ///
    /// # Errors
    /// When the text is no TOML, names an unknown type or field, or its columns do not fit together.
    pub fn parse(text: &str) -> Result<Contract, ContractError> {
        let file: File = toml::from_str(text)?;
        if OWN_RELATIONS.contains(&file.name.as_str()) {
            let own = "is that of a relation of Weir's own; choose another";
            return Err(problem(&file.name, "the name", &file.name, own));
        }
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
        let vocabularies = vocabularies(&file)?;
        let find = |what, name: &str| {
            let at = columns.iter().position(|column| column.name == name);
            at.ok_or_else(|| problem(&file.name, what, name, "is not among its columns"))
        };
        let key = file.key.iter().map(|name| find("key column", name)).collect::<Result<_, _>>()?;
        let tenant = find("tenant column", &file.tenant)?;
        if let Some(column) =
            file.columns.iter().find(|c| c.map.is_some() && file.key.contains(&c.name))
        {
            let cannot = "has a `map`: message keys and deletes name the key as it is; use `from`";
            return Err(problem(&file.name, "key column", &column.name, cannot));
        }
        let lateness = file.lateness.as_deref().map(watching::lateness).transpose();
        let lateness = lateness
            .map_err(|problem| ContractError::Lateness { contract: file.name.clone(), problem })?;
        let columns = RowSchema::new(columns);
        let File { name, format, edition, .. } = file;
        Ok(Contract { name, format, columns, fields, vocabularies, key, tenant, lateness, edition })
    }

    /// The columns that are computed: index and expression.
    pub fn maps(&self) -> impl Iterator<Item = (usize, &str)> {
        let fields = self.fields.iter().enumerate();
        fields.filter_map(|(at, field)| Some((at, field.map.as_deref()?)))
    }

    /// The index of the column with this name.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.find(name)
    }

    /// The name of a column by its place; empty where there is none.
    pub fn column_name(&self, at: usize) -> &str {
        self.columns.get(at).map_or("", |column| &column.name)
    }
}

/// How events carry each column of a file.
fn fields(file: &File) -> Result<Vec<EventField>, ContractError> {
    let mut fields = Vec::with_capacity(file.columns.len());
    let mut seen: Vec<&str> = Vec::with_capacity(file.columns.len());
    for column in &file.columns {
        let refused = |what| problem(&file.name, "column", &column.name, what);
        if let Some(map) = &column.map {
            if column.from.is_some() || column.unit.is_some() {
                return Err(refused("has a `map` beside `from` or `unit`; keep one of them"));
            }
            if map.trim().is_empty() {
                return Err(refused("has an empty `map`; write an expression, or leave it out"));
            }
            fields.push(EventField { map: Some(map.clone()), ..EventField::default() });
            continue;
        }
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
        fields.push(EventField { from, unit, map: None });
    }
    Ok(fields)
}

/// The values that columns of a file are meant to have.
fn vocabularies(file: &File) -> Result<Vec<Vocabulary>, ContractError> {
    let mut all = Vec::new();
    for (index, column) in file.columns.iter().enumerate() {
        let refused = |what| problem(&file.name, "column", &column.name, what);
        let values = match &column.values {
            None if column.strict => {
                return Err(refused("is `strict` without `values`; list them, or remove `strict`"));
            }
            None => continue,
            Some(_) if column.r#type != "text" => {
                return Err(refused("has `values`, which only a text has; remove them"));
            }
            Some(FileValues::Named(list)) if list == ISO_4217 => Values::Currencies,
            Some(FileValues::Named(_)) => {
                return Err(refused(
                    "names no known list as `values`; use \"iso4217\" or [\"a\", \"b\"]",
                ));
            }
            Some(FileValues::Listed(listed)) if (1..=LISTED_MAX).contains(&listed.len()) => {
                Values::Listed(listed.clone())
            }
            Some(FileValues::Listed(_)) => {
                return Err(refused("has no `values`, or over 1,000; list those that it may have"));
            }
        };
        all.push(Vocabulary { column: index, is_strict: column.strict, values });
    }
    Ok(all)
}

fn problem(
    contract: &str,
    what: &'static str,
    column: &str,
    problem: &'static str,
) -> ContractError {
    ContractError::Column { contract: contract.into(), what, column: column.into(), problem }
}

/// The contracts that come with Weir and are always in force, as (file name, text).
pub fn built_in() -> Vec<(&'static str, &'static str)> {
    vec![
        ("costs.toml", include_str!("../contracts/tables/costs.toml")),
        ("orders.toml", include_str!("../contracts/tables/orders.toml")),
    ]
}

/// The contracts that come with Weir and rest until a topic is of them, as (file name, text).
pub fn offered() -> Vec<(&'static str, &'static str)> {
    vec![
        ("activity.toml", include_str!("../contracts/tables/activity.toml")),
        ("budgets.toml", include_str!("../contracts/tables/budgets.toml")),
        ("customers.toml", include_str!("../contracts/tables/customers.toml")),
        ("fx_rates.toml", include_str!("../contracts/tables/fx_rates.toml")),
        ("opportunities.toml", include_str!("../contracts/tables/opportunities.toml")),
        ("order_items.toml", include_str!("../contracts/tables/order_items.toml")),
        ("runs.toml", include_str!("../contracts/tables/runs.toml")),
        ("subscriptions.toml", include_str!("../contracts/tables/subscriptions.toml")),
        ("uptime.toml", include_str!("../contracts/tables/uptime.toml")),
    ]
}

/// Every contract that comes with Weir, as (file name, text).
pub fn all_that_come() -> Vec<(&'static str, &'static str)> {
    [built_in(), offered()].concat()
}

/// A column of a contract, and how events carry it.
struct Carried<'a>(&'a Column, Option<&'a EventField>);

impl Identity for Carried<'_> {
    fn identify(&self, out: &mut Fingerprint) {
        self.0.identify(out);
        if let Some(field) = self.1 {
            field.identify(out);
        }
    }
}

/// The order of the columns is that of the silver table, so it counts.
impl Identity for Contract {
    fn identify(&self, out: &mut Fingerprint) {
        out.text("name", &self.name);
        out.text("format", &self.format);
        let columns = self.columns.iter().enumerate();
        let columns = columns.map(|(at, column)| Carried(column, self.fields.get(at)));
        let columns: Vec<Carried<'_>> = columns.collect();
        out.list("columns", columns.iter().map(|column| column as &dyn Identity));
        out.texts("key", self.key.iter().map(|at| self.column_name(*at)));
        out.text("tenant", self.column_name(self.tenant));
        out.number("edition", u64::from(self.edition));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_contracts_parse_under_their_names() {
        for (file, text) in all_that_come() {
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
        let day = EventField { from: Some("Day".into()), unit: Some(TimeUnit::Days), map: None };
        assert_eq!(carried, [EventField::default(), day]);
        assert_eq!(identity(plain), identity(&with("from='at'")), "what is said without need");
        let all = ["unit='days'", "unit='ms'", "from='Day'", "from='days'", "map='a'", "map='b'"];
        let all: Vec<String> = all.into_iter().map(|extra| identity(&with(extra))).collect();
        for (at, one) in all.iter().enumerate() {
            assert!(*one != identity(plain) && !all[at + 1..].contains(one), "{at}");
        }
    }

    #[test]
    fn a_vocabulary_is_no_part_of_the_identity_of_a_table() {
        use crate::identity::Identity;

        let plain = "name='t'\nformat='f'\nkey=['a']\ntenant='a'\n\
                     columns=[{name='a',type='text'},{name='b',type='text'}]";
        let of = |extra: &str| {
            let text = plain.replace("name='b',", &format!("name='b',{extra},"));
            Contract::parse(&text).unwrap()
        };
        let strict = of("values=['x','y'],strict=true");
        let values = Values::Listed(vec!["x".into(), "y".into()]);
        assert_eq!(strict.vocabularies, [Vocabulary { column: 1, is_strict: true, values }]);
        assert_eq!(of("values='iso4217'").vocabularies[0].values, Values::Currencies);
        assert_eq!(strict.identity(), Contract::parse(plain).unwrap().identity());
    }

    #[test]
    fn lateness_is_no_part_of_the_identity_of_a_table() {
        use crate::identity::Identity;

        let plain = "name='t'\nformat='f'\nkey=['a']\ntenant='a'\ncolumns=[{name='a',type='text'}]";
        let with = |late: &str| Contract::parse(&format!("lateness='{late}'\n{plain}"));
        assert_eq!(with("90m").unwrap().lateness, Some(2));
        assert_eq!(with("2h").unwrap().identity(), Contract::parse(plain).unwrap().identity());
        let other = Contract::parse(&format!("edition=2\n{plain}")).unwrap();
        assert_ne!(other.identity(), with("2h").unwrap().identity(), "what asks for another table");
        let refused = with("2").unwrap_err().to_string();
        assert!(refused.contains("`lateness` of contract `t`: `2` is no duration"), "{refused}");
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
            ("type='text'", "type='text',map='b'", "key column `a` of contract `t` has a `map`"),
            ("type='text'}", "type='text'},{name='b',type='text',map='a',from='c'}", "keep one"),
            ("type='text'}", "type='text'},{name='b',type='text',map=' '}", "empty `map`"),
            ("type='text'}", "type='text'},{name='b',type='text',from='a'}", "the same field"),
            ("name='t'", "name='periods'", "relation of Weir's own"),
            ("name='t'", "name='kpi_current'", "relation of Weir's own"),
            ("{name='a',", "{name='_origin',type='text'},{name='a',", "`_origin` of contract `t`"),
            ("type='text'", "type='text',strict=true", "`strict` without `values`"),
            ("type='text'", "type='date',values=['x']", "`values`, which only a text"),
            ("type='text'", "type='text',values='iso4271'", "use \"iso4217\""),
            ("type='text'", "type='text',values=[]", "has no `values`"),
            ("type='text'", "type='text',values=[1]", "a list of texts"),
        ] {
            let error = Contract::parse(&good.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
