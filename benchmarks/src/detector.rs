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

use std::fmt::Write;

/// Rows of a Markdown table.
#[derive(Debug)]
pub struct Table {
    text: String,
}

impl Table {
    /// A table with these columns.
    pub fn new(columns: &[&str]) -> Table {
        let rule = vec!["---"; columns.len()].join("|");
        Table { text: format!("| {} |\n|{rule}|\n", columns.join(" | ")) }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: &[String]) {
        // Writing to a string does not fail.
        if writeln!(self.text, "| {} |", cells.join(" | ")).is_err() {
            self.text.push('\n');
        }
    }

    /// The table.
    pub fn into_text(self) -> String {
        self.text
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
