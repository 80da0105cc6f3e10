//! How well the detector of the product finds what people have labelled, and what was put there.
//!
//! # Guarantees
//! - One configuration, the product's own, for all series. No score sees a later number, and no series'
//!   length, range or label is looked at to make one.
//! - What is fitted to labels is called so.
//!
//! # Non-guarantees
//! - Public benchmarks are not the data of a shop. The generated series are, as far as their generator
//!   is.

pub mod data;
pub mod generated;
pub mod labelled;
pub mod nab;
pub mod scores;

use std::collections::BTreeMap;

/// A table of figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    title: String,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    pub fn new(title: &str, columns: &[&str]) -> Table {
        let columns = columns.iter().map(|own| (*own).to_owned()).collect();
        Table { title: title.to_owned(), columns, rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table as Markdown.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = vec!["---"; self.columns.len()].join("|");
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("### {}\n\n{}|{rule}|\n{rows}", self.title, line(&self.columns))
    }

    /// The table as JSON: a title, and an object for each row.
    pub fn json(&self) -> serde_json::Value {
        let object = |row: &Vec<String>| -> serde_json::Value {
            self.columns
                .iter()
                .cloned()
                .zip(row.iter().cloned())
                .collect::<BTreeMap<_, _>>()
                .into_iter()
                .collect()
        };
        let rows: Vec<serde_json::Value> = self.rows.iter().map(object).collect();
        serde_json::json!({ "title": self.title, "rows": rows })
    }
}

/// `part` of `whole` in percent, and `-` of nothing.
pub fn percent(part: usize, whole: usize) -> String {
    if whole == 0 {
        return "-".into();
    }
    format!("{:.1} %", float(part) / float(whole) * 100.0)
}

/// A number of things as a float.
pub fn float(count: usize) -> f64 {
    count as f64
}
