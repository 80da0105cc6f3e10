//! The seam between the rows and records that a KPI's cells come from and whoever serves them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::epoch::EpochId;
use crate::kpi::CellValue;
use crate::time::{Grain, Micros};

/// Which cells are to be led back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenanceQuestion {
    /// The KPI.
    pub kpi: String,
    /// The tenant.
    pub tenant: String,
    /// The grain, or the window.
    pub grain: Grain,
    /// Where the period starts; of a window it means nothing.
    pub start: Micros,
    /// Values of dimensions; the empty one means none.
    pub dims: BTreeMap<String, String>,
    /// Whether rows of other tenants are told, which a view may join with those of the tenant.
    pub others: bool,
}

/// Cells with what they come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance {
    /// The epoch of cells and rows.
    pub epoch: EpochId,
    /// Its clock.
    pub as_of: Micros,
    /// One a cell, by dimensions.
    pub groups: Vec<FedCell>,
    /// The rows of all groups: by group, part and key.
    pub rows: Vec<FeedingRow>,
}

/// A cell, and what its rows add up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FedCell {
    /// The dimensions, as canonical JSON.
    pub dims: String,
    /// Where its period starts and ends, and what it says; `None` when there is no such cell.
    pub cell: Option<(Micros, Micros, CellValue)>,
    /// The parts of the KPI's formula.
    pub parts: Vec<FedPart>,
}

/// A part of a KPI's formula: an aggregate of rows of a contract, or of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FedPart {
    /// The KPI that it is.
    pub kpi: String,
    /// Where it stands: `value`, `numerator` or `denominator`.
    pub role: &'static str,
    /// Whether it is taken away.
    pub minus: bool,
    /// The contract of its rows, or the view.
    pub contract: String,
    /// The view, where it is one.
    pub view: Option<String>,
    /// The contracts of the rows that its rows are made of.
    pub contracts: Vec<String>,
    /// `exact`, or `partition` where rows are made of some of the rows that are told.
    pub lineage: &'static str,
    /// What is done with the rows' amounts.
    pub aggregate: &'static str,
    /// What the rows add up to; `None` where they do not.
    pub sum: Option<i128>,
    /// How many rows feed it.
    pub rows: usize,
}

/// A row that feeds a cell. Of a row of a view key, origin and records are those of the first of its inputs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeedingRow {
    /// The number of its group.
    pub group: usize,
    /// The number of its part.
    pub part: usize,
    /// The columns of its key, in their order, with their values.
    pub key: Vec<(String, String)>,
    /// The table of the source that it came from.
    pub origin: String,
    /// What it brings: the number that is added, or the value that is counted.
    pub amount: Option<String>,
    /// Why it is in doubt.
    pub doubt: Option<String>,
    /// The epoch that changed it last.
    pub epoch: i64,
    /// The record that wrote it last, then those of values that this left out.
    pub records: Vec<SourceRecord>,
    /// Of a row of a view the rows of contracts that it is made of.
    pub inputs: Vec<Arc<FedInput>>,
    /// Whether it is made of more of them.
    pub more_inputs: bool,
    /// How many rows of other tenants it is made of, which are not told.
    pub withheld: usize,
    /// Tells rows apart that have the same key and origin.
    pub tie: String,
}

/// A row of a contract that a row of a view is made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FedInput {
    /// The contract.
    pub contract: String,
    /// The columns of its key, in their order, with their values.
    pub key: Vec<(String, String)>,
    /// The table of the source that it came from.
    pub origin: String,
    /// Why it is in doubt.
    pub doubt: Option<String>,
    /// The epoch that changed it last.
    pub epoch: i64,
    /// As those of a [`FeedingRow`].
    pub records: Vec<SourceRecord>,
}

/// A record of a source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceRecord {
    /// The source and its topic; `None` when that life of the topic is not known any more.
    pub topic: Option<(String, String)>,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The column whose value it sent; `None` of the record that wrote the row.
    pub column: Option<String>,
}

/// Why cells are not led back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotLedBack {
    /// This KPI's cells cannot be.
    Never(String),
    /// More rows feed them than are told at once.
    TooMany,
    /// It takes longer than anybody may have the machine for.
    TooLong,
    /// Nothing is written yet.
    NotYet(String),
    /// Tables cannot be read.
    Failed(String),
}

/// Leads cells back to rows and records.
pub trait KpiProvenance: Send + Sync {
    /// What cells come from, if those are at most so many rows. It reads tables, so that it may take a while, which is
    /// bounded.
    ///
    /// # Errors
    /// Why it cannot be told.
    fn provenance(
        &self,
        question: &ProvenanceQuestion,
        most: usize,
    ) -> Result<Provenance, NotLedBack>;
}
