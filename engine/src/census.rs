//! The census of a table: how many of its rows have a value outside a vocabulary, an empty tenant, a
//! value that was never sent, or one of which it follows that nobody knows which KPI cells they feed.
//!
//! # Guarantees
//! - The sums are those of the rows there are, whatever came and went before.
//! - Memory has a bound: of each column so many values are known by name.
//!
//! # Non-guarantees
//! - Where there are more values than that, which of them are known by name depends on their order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use arrow::array::{Array, StringArray};
use lake::{At, Lake, LakeError, Table};
use rows::columns;
use schemas::vocabulary::shown;
use schemas::{Contents, Contract, Outside, OutsideValue, RowRef, Vocabulary};

use crate::tables::silver_name;

/// Values of a column that are known by name, and those that are told.
const VALUES_MAX: usize = 64;
const TOLD_MAX: usize = 16;

/// The counts of one table.
#[derive(Debug, Clone)]
pub struct Census {
    contract: String,
    tenant: usize,
    tenant_name: String,
    rows: u64,
    empty_tenants: u64,
    unknown: u64,
    /// By column: rows that may feed other cells, because its value was never sent.
    unplaced: BTreeMap<usize, u64>,
    columns: Vec<Column>,
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    vocabulary: Vocabulary,
    /// Rows with a value outside, known by name or not.
    rows: u64,
    values: BTreeMap<String, Known>,
}

/// A value outside that is known by name.
#[derive(Debug, Clone, Default)]
struct Known {
    rows: u64,
    /// The nearest value that is allowed, looked for once.
    hint: OnceLock<String>,
}

impl Census {
    /// No rows of this contract.
    pub fn new(contract: &Contract) -> Census {
        let name = |at: usize| contract.column_name(at).to_owned();
        let columns = contract.vocabularies.iter().map(|vocabulary| Column {
            name: name(vocabulary.column),
            vocabulary: vocabulary.clone(),
            rows: 0,
            values: BTreeMap::new(),
        });
        Census {
            contract: contract.name.clone(),
            tenant: contract.tenant,
            tenant_name: name(contract.tenant),
            rows: 0,
            empty_tenants: 0,
            unknown: 0,
            unplaced: BTreeMap::new(),
            columns: columns.collect(),
        }
    }

    /// Adds a row so many times, or takes it away. `unplaced`: the columns of a row with an unknown value
    /// that leave open which KPI cells it feeds.
    pub fn add(
        &mut self,
        row: RowRef<'_>,
        weight: i64,
        unplaced: impl FnOnce(RowRef<'_>) -> BTreeSet<usize>,
    ) {
        self.add_texts(weight, |column| row.text(column));
        if !row.has_unknown() {
            return;
        }
        count(&mut self.unknown, weight);
        for column in unplaced(row) {
            count(self.unplaced.entry(column).or_default(), weight);
        }
        self.unplaced.retain(|_, rows| *rows > 0);
    }

    /// Rows of which nobody knows which KPI cells they feed, by the column whose value was never sent.
    pub fn unplaced(&self) -> impl Iterator<Item = (usize, u64)> {
        self.unplaced.iter().map(|(column, rows)| (*column, *rows))
    }

    /// The same for a row of which only the texts are at hand: whether a value is unknown is not looked at.
    pub fn add_texts<'a>(&mut self, weight: i64, text: impl Fn(usize) -> Option<&'a str>) {
        count(&mut self.rows, weight);
        if text(self.tenant) == Some("") {
            count(&mut self.empty_tenants, weight);
        }
        for column in &mut self.columns {
            let value = text(column.vocabulary.column);
            if let Some(value) = value.filter(|value| !column.vocabulary.has(value)) {
                column.add(value, weight);
            }
        }
    }

    /// What there is to be looked at.
    pub fn contents(&self) -> Contents {
        let outside = self.columns.iter().filter(|column| column.rows > 0).map(Column::outside);
        Contents {
            contract: self.contract.clone(),
            rows: self.rows,
            tenant: self.tenant_name.clone(),
            empty_tenants: self.empty_tenants,
            unknown: self.unknown,
            outside: outside.collect(),
            ..Contents::default()
        }
    }
}

impl Column {
    fn add(&mut self, value: &str, weight: i64) {
        count(&mut self.rows, weight);
        let value = shown(value);
        let is_known = self.values.contains_key(&value);
        if !is_known && (weight < 0 || self.values.len() >= VALUES_MAX) {
            return;
        }
        let known = self.values.entry(value.clone()).or_default();
        count(&mut known.rows, weight);
        if known.rows == 0 {
            self.values.remove(&value);
        }
    }

    fn outside(&self) -> Outside {
        let mut values: Vec<(&String, &Known)> = self.values.iter().collect();
        values.sort_by_key(|(value, known)| (Reverse(known.rows), *value));
        let told = values.into_iter().take(TOLD_MAX).map(|(value, known)| OutsideValue {
            value: value.clone(),
            rows: known.rows,
            hint: known.hint.get_or_init(|| self.vocabulary.nearest(value)).clone(),
        });
        Outside {
            column: self.name.clone(),
            rows: self.rows,
            is_strict: self.vocabulary.is_strict,
            allowed: self.vocabulary.allowed(),
            values: told.collect(),
        }
    }
}

/// What was found of a silver table in a lake.
#[derive(Debug)]
pub enum Counted {
    /// There is no table.
    Nothing,
    /// It has so many rows, which are more than were asked for.
    TooMany(u64),
    /// What there is to be looked at.
    All(Contents),
}

/// Counts the rows of the newest version of a contract's table.
///
/// # Errors
/// When it cannot be read.
pub fn of_table(lake: &Lake, contract: &Contract, rows_max: u64) -> Result<Counted, LakeError> {
    let table = match Table::open(lake, &silver_name(contract), At::Newest) {
        Err(LakeError::NoTable { .. }) => return Ok(Counted::Nothing),
        table => table?,
    };
    if table.row_count() > rows_max {
        return Ok(Counted::TooMany(table.row_count()));
    }
    let mut census = Census::new(contract);
    let spoken_of = contract.vocabularies.iter().map(|vocabulary| vocabulary.column);
    let mut wanted: Vec<usize> = spoken_of.chain([contract.tenant]).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let named = wanted.iter().filter_map(|at| Some(contract.columns.get(*at)?.name.as_str()));
    let names: Vec<&str> = named.collect();
    let files: Vec<_> = table.files().map(AsRef::as_ref).collect();
    for batch in table.read(&files, Some(&names))? {
        let batch = batch?;
        let texts = names.iter().map(|name| columns::text(&batch, name));
        let texts = texts.collect::<Result<Vec<StringArray>, _>>().map_err(|e| {
            LakeError::Schema { table: table.name().to_owned(), detail: e.to_string() }
        })?;
        for row in 0..batch.num_rows() {
            census.add_texts(1, |column| {
                let at = wanted.iter().position(|wanted| *wanted == column)?;
                let texts = texts.get(at)?;
                texts.is_valid(row).then(|| texts.value(row))
            });
        }
    }
    Ok(Counted::All(census.contents()))
}

fn count(sum: &mut u64, weight: i64) {
    let by = weight.unsigned_abs();
    *sum = if weight < 0 { sum.saturating_sub(by) } else { sum.saturating_add(by) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn census() -> Census {
        let text = "name='t'\nformat='f'\nkey=['k']\ntenant='tenant'\ncolumns=[{name='k',type='text'},\
                    {name='tenant',type='text'},{name='s',type='text',values=['paid','open']}]";
        Census::new(&Contract::parse(text).unwrap())
    }

    fn add(census: &mut Census, weight: i64, tenant: &str, status: &str) {
        census.add_texts(weight, |column| [Some("k"), Some(tenant), Some(status)][column]);
    }

    #[test]
    fn counts_the_rows_there_are() {
        let mut census = census();
        for (weight, tenant, status) in [
            (1, "a", "paid"),
            (1, "", "payed"),
            (1, "", "payed"),
            (1, "a", "Open"),
            (-1, "", "payed"),
        ] {
            add(&mut census, weight, tenant, status);
        }
        let contents = census.contents();
        assert_eq!((contents.rows, contents.empty_tenants), (3, 1));
        assert_eq!(
            contents.lines(),
            [
                "column `s`: 1 row has `Open`, which is not one of paid, open (did you mean `open`?)",
                "column `s`: 1 row has `payed`, which is not one of paid, open (did you mean `paid`?)",
                "column `tenant`: 1 row has an empty tenant, which is taken as null: the tenant `default`",
            ]
        );
        add(&mut census, -1, "", "payed");
        add(&mut census, -1, "a", "Open");
        assert_eq!(census.contents().lines(), Vec::<String>::new());
    }

    #[test]
    fn sums_are_right_beyond_the_values_that_are_known_by_name() {
        let mut census = census();
        let names: Vec<String> = (0..500).map(|at| format!("v{at}")).collect();
        names.iter().for_each(|name| add(&mut census, 1, "a", name));
        let contents = census.contents();
        assert_eq!(contents.outside[0].rows, 500);
        assert_eq!(contents.outside[0].values.len(), TOLD_MAX);
        assert!(contents.lines().last().unwrap().contains("484 rows have other values"));
        names.iter().for_each(|name| add(&mut census, -1, "a", name));
        assert!(census.contents().outside.is_empty() && census.columns[0].values.is_empty());
    }
}
