//! Upserts into a keyed table: by Weir's lake, and by delta-rs' MERGE of the same rows.
//!
//! # Guarantees
//! - Both write the same columns and the same changed keys; a count after the last round must be right.
//! - Bytes are those of files that came to be, the log included.
//!
//! # Non-guarantees
//! - Weir knows from memory where a row lies, delta-rs has to look for it: that is what is compared.
//!   delta-rs never syncs a file, so only a folder in memory makes both equal in that.

mod merge;
mod ours;
mod rows;

pub use self::rows::{Rows, schema};
pub use merge::Merged;
pub use ours::Keyed;

use std::path::Path;

use crate::failure::Failure;

/// Bytes of all files below a folder.
///
/// # Errors
/// When a folder cannot be listed.
pub fn bytes_below(folder: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).map_err(Failure::io("list", folder))? {
        let entry = entry.map_err(Failure::io("list", folder))?;
        let metadata = entry.metadata().map_err(Failure::io("look at", &entry.path()))?;
        bytes += if metadata.is_dir() { bytes_below(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// For `map_err` of what has no error type of its own here.
fn worthless<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Failure {
    move |error| Failure::Worthless(format!("could not {what}: {error}"))
}
