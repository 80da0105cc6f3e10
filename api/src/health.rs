//! What the process says about itself: the seam between the pipeline and its probes.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::{Contents, Debt};

/// How far one partition is behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLag {
    /// The configured source.
    pub source: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Records that are there and not yet read.
    pub lag: i64,
}

/// What is in doubt of one contract.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Doubts {
    /// Live rows.
    pub rows: u64,
    /// Records that could not be read and have no row to mark.
    pub unplaced: u64,
}

/// Groups of cells that were computed again from silver since the start, and what came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Audits {
    /// All cells were as computed.
    pub ok: u64,
    /// Some were not.
    pub mismatch: u64,
    /// It was not done: it would have cost too much, or something could not be read.
    pub passed_over: u64,
    /// Cells that were not as computed.
    pub cells: u64,
}

/// The pipeline at a moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// What is wrong around the pipeline, for which answers are degraded: a source or the lake is out of reach,
    /// and what is slighter. What the epochs themselves make doubtful is in the store, with the numbers.
    pub troubles: Vec<String>,
    /// Those of them for which nobody should be sent here.
    pub unready: Vec<String>,
    /// Records read since the start.
    pub events: u64,
    /// Epochs with records since the start.
    pub epochs: u64,
    /// Records that could not be decoded.
    pub dead_letters: u64,
    /// Transactions that epochs hold in parts.
    pub split_transactions: u64,
    /// By contract, rows in doubt, and records that could not be read and have no row to mark.
    pub doubts: BTreeMap<String, Doubts>,
    /// KPI changes published.
    pub kpi_updates: u64,
    /// Commits of bronze.
    pub bronze_commits: u64,
    /// Barriers completed, and how long they took in all.
    pub barriers: u64,
    /// Milliseconds that barriers took in all.
    pub barrier_ms: u64,
    /// What audits found.
    pub audits: Audits,
    /// The last epoch in the ledger.
    pub epoch_recorded: u64,
    /// The last epoch in bronze.
    pub epoch_bronze: u64,
    /// The last epoch flushed to silver and gold.
    pub epoch_flushed: u64,
    /// Bytes that are not in bronze yet.
    pub unflushed_bytes: u64,
    /// From a record's Kafka timestamp to the publication of its epoch, in seconds: median and 99 %.
    pub freshness: Option<(f64, f64)>,
    /// How far every partition is behind.
    pub lag: Vec<SourceLag>,
    /// What the lake's tables have lying about, as last counted.
    pub debt: BTreeMap<String, Debt>,
    /// What is to be looked at in the rows of each table.
    pub contents: Arc<[Contents]>,
}

/// Tells how the pipeline is. Must not wait.
pub trait Health: Send + Sync {
    /// The state now.
    fn report(&self) -> Report;
}
