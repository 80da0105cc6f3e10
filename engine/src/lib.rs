//! The running pipeline: threads and queues around the deterministic core, and the proof of a lake.
//!
//! ```text
//! source threads -> core (main thread) -> ledger thread ---> publish thread
//!                                      \-> bronze thread -> barrier thread
//! ```
//!
//! # Guarantees
//! - An epoch is published only after the ledger holds it, committed to bronze only after that, and
//!   flushed to silver and gold only after bronze holds it.
//! - Every queue is bounded. Polling pauses while `max_unflushed` bytes are not in bronze.
//! - A thread that cannot go on ends the run with a reason; nothing that was acknowledged is lost.
//! - No command line, no configuration file, no HTTP: who wants any of that brings it.

pub mod alerts;
mod audit;
pub mod cells;
pub mod census;
pub mod contracts;
mod core;
pub mod definitions;
pub mod explain;
mod flush;
mod identities;
pub mod letters;
mod lineage;
pub mod past;
pub mod provenance;
mod run;
mod settings;
pub mod tables;
pub mod upkeep;
pub mod verify;

use std::collections::BTreeMap;
use std::sync::Arc;

use gold::Catalog;
use pipeline::source::Mapping;
use schemas::Observer;

pub use crate::core::wish::Wish;
pub use audit::Audits;
pub use run::{
    ContractDoubts, Count, Doubts, Durations, Meters, Outcome, Reached, Reloads, Run, Stop,
    Stopped, Troubles, Weight, run,
};
pub use settings::{AuditSettings, Settings};
pub use upkeep::Upkeep;

/// (source, topic) to what the topic is; the topic `*` stands for every other topic of the source.
pub type Topics = BTreeMap<(String, String), Mapping>;

/// The detector over a catalog's KPIs.
pub(crate) fn observer(catalog: &Catalog) -> Box<dyn Observer> {
    let scorer = anomaly::Scorer::new(catalog.infos());
    Box::new(scorer.with_calendar(Arc::clone(catalog.calendar())))
}

/// The runtime on which tables are committed and queried.
///
/// # Errors
/// When the operating system refuses its threads.
pub fn tokio_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}
