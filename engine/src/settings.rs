//! Intervals and bounds of a run, as plain values: where they come from is the caller's business.

use std::path::PathBuf;
use std::time::Duration;

use pipeline::source::Limits;

use crate::upkeep::Upkeep;

/// How a run goes about its work. No result depends on it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder of the ledger.
    pub ledger_dir: PathBuf,
    /// Whether ledger entries are synced to the disk before their epoch is published.
    pub durable: bool,
    /// How long a source may wait for more records after the first one of a poll.
    pub linger: Duration,
    /// What one poll takes at most.
    pub limits: Limits,
    /// Bytes of epochs that may wait for bronze before polling pauses.
    pub max_unflushed: usize,
    /// Memory of the process beyond which polling pauses; three quarters of the machine's where `None`.
    pub memory_limit: Option<u64>,
    /// Bronze commits at least this often while there is something to commit.
    pub flush_interval: Duration,
    /// Bronze commits when it holds this many bytes.
    pub flush_bytes: usize,
    /// The least time between the starts of two barriers.
    pub barrier_interval: Duration,
    /// How much of the past is kept.
    pub upkeep: Upkeep,
    /// How rows leave the files of silver tables.
    pub silver: lake::keyed::Deletes,
    /// Whether and how groups of cells are computed again while running.
    pub audit: Option<AuditSettings>,
}

/// How often a group of cells is computed again, and what that may cost.
#[derive(Debug, Clone, Copy)]
pub struct AuditSettings {
    /// From the end of one audit to the begin of the next.
    pub interval: Duration,
    /// How long a core may be busy with one audit; what takes more is passed over.
    pub budget: Duration,
}
