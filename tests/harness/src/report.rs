//! What the oracle found, as figures that must be zero and figures that say how much was looked at.

use std::fmt;

use crate::audit::BronzeAudit;

/// The figures of one lake.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Bronze by itself and against the expected log.
    pub bronze: BronzeAudit,
    /// Expected records, when a log was given.
    pub expected_records: Option<u64>,
    /// Records that bronze calls undecodable.
    pub dead_letters: u64,
    /// Records where bronze and oracle disagree on that.
    pub decode_mismatches: u64,
    /// Records older than what was held.
    pub stale: u64,
    /// Records that had been applied before.
    pub duplicates: u64,
    /// Rows in silver.
    pub silver_rows: u64,
    /// Rows of silver that are missing, extra or different.
    pub silver_mismatches: u64,
    /// Cells in `kpi_current`.
    pub cells: u64,
    /// Cells that are missing, extra or different.
    pub cell_mismatches: u64,
    /// Rows in `kpi_history`.
    pub history_rows: u64,
    /// Rows of `kpi_history` that are missing, extra or different.
    pub history_mismatches: u64,
    /// Cells where the oracle's two ways of counting differ: a bug of the oracle.
    pub oracle_mismatches: u64,
    /// Tables that should be there and are not, or stand ahead of bronze.
    pub table_faults: u64,
    /// The first findings of each kind, as text.
    pub findings: Vec<String>,
    /// What was left out or is worth knowing, as text.
    pub notes: Vec<String>,
}

impl Report {
    /// Whether every figure that must be zero is.
    pub fn is_clean(&self) -> bool {
        let silver_and_gold =
            self.silver_mismatches + self.cell_mismatches + self.history_mismatches;
        let rest = self.decode_mismatches + self.oracle_mismatches + self.table_faults;
        self.bronze.is_clean() && silver_and_gold + rest == 0
    }

    /// Name, figure and, where it is one, the bound it must keep.
    pub fn figures(&self) -> Vec<(&'static str, u64, Option<u64>)> {
        let zero = Some(0);
        vec![
            ("expected records", self.expected_records.unwrap_or(0), None),
            ("records", self.bronze.records, None),
            ("epochs", self.bronze.epochs, None),
            ("bronze versions", self.bronze.versions, None),
            ("unreadable versions", self.bronze.unreadable_versions, None),
            ("lost", self.bronze.lost, zero),
            ("doubled", self.bronze.doubled, zero),
            ("spurious", self.bronze.spurious, zero),
            ("corrupt", self.bronze.corrupt, zero),
            ("holes", self.bronze.holes, zero),
            ("drift", self.bronze.drift, zero),
            ("clock faults", self.bronze.clocks, zero),
            ("dead letters", self.dead_letters, None),
            ("decode mismatches", self.decode_mismatches, zero),
            ("stale", self.stale, None),
            ("duplicates", self.duplicates, None),
            ("silver rows", self.silver_rows, None),
            ("silver mismatches", self.silver_mismatches, zero),
            ("cells", self.cells, None),
            ("cell mismatches", self.cell_mismatches, zero),
            ("history rows", self.history_rows, None),
            ("history mismatches", self.history_mismatches, zero),
            ("table faults", self.table_faults, zero),
            ("oracle mismatches", self.oracle_mismatches, zero),
        ]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, figure, bound) in self.figures() {
            let verdict = match bound {
                Some(bound) if figure > bound => "  WRONG",
                Some(_) => "  ok",
                None => "",
            };
            writeln!(f, "{name:<22}{figure:>12}{verdict}")?;
        }
        for finding in self.bronze.examples.iter().chain(&self.findings) {
            writeln!(f, "- {finding}")?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        write!(f, "{}", if self.is_clean() { "clean" } else { "not clean" })
    }
}
