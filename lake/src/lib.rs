//! Delta tables on local disk in which rows and progress are one durable, sealed commit.
//!
//! # Guarantees
//! - A commit is atomic: its rows, its removals and its progress appear together or not at all, and
//!   when [`Table::commit`] returns they are on stable storage.
//! - A commit whose outcome is unknown is resolved by reading the log entry back, never by guessing.
//! - Every log entry carries a seal over all of its bytes and the seal of the entry before it, so a
//!   torn, zeroed, exchanged or missing entry is seen when a table is opened. What is seen is either
//!   repaired without loss of consistency or refused with the name of the file.
//! - A commit costs O(its own changes), however long the log and however many files are live.
//! - A log, its checkpoints and what vacuum keeps have bounds; small files of append-only tables become
//!   large ones off the commit path ([`compact`]).
//! - Tables are plain Delta (reader version 1, writer version 2), or, where rows are marked as gone,
//!   Delta with deletion vectors (3 and 7): other engines read them.
//!
//! # Non-guarantees
//! - One writer process per lake. Other writers are noticed and refused, not merged with.
//! - Object stores are not served yet, nor schema evolution.

mod actions;
mod backup;
mod checkpoint;
pub mod compact;
mod data_file;
mod durable;
mod error;
mod features;
mod folder;
pub mod keyed;
mod log;
pub mod query;
pub mod run;
mod schema;
mod seal;
pub mod state;
mod stats;
mod store;
mod table;
mod vector;
mod version;
mod work_dir;

pub use backup::Copied;
pub use checkpoint::CheckpointJob;
pub use data_file::{FileFactory, FileWriter, StagedFile};
pub use error::{CommitError, LakeError};
pub use folder::{FORMAT_VERSION, Lake};
pub use table::{
    At, Batches, CHECKPOINT_EVERY, Commit, Finding, HistoryEntry, LOG_ENTRIES_MAX, LogKeep, Mark,
    Severity, Table, TableSpec, VacuumJob, Vacuumed,
};
pub use version::DataFile;
pub use work_dir::WorkDir;

/// The text that `commitInfo.engineInfo` carries.
pub(crate) const ENGINE: &str = concat!("weir/", env!("CARGO_PKG_VERSION"));
