//! What an origin is known to lack: records that were gone before they were read, where the configuration says to go
//! on without them, and rows that went by mistake.
//!
//! # Guarantees
//! - Every origin that came by the topic says so until a snapshot of it is complete that began after the gap.
//!
//! # Non-guarantees
//! - What is lost before the first record of a partition is read is no gap: nobody has seen where it began.

use std::fmt;

use schemas::Micros;
use serde::{Deserialize, Serialize};

use super::TableFold;
use crate::decode::ChangeBatch;

/// Records that an origin lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The table.
    pub table: String,
    /// Of which origin.
    pub origin: String,
    cause: Cause,
    /// The clock of the epoch that went on.
    pub(super) clock: i64,
}

/// What they lack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Cause {
    /// Records of a partition of a life of a topic: the first offset that is gone, and the one at which reading
    /// went on.
    Skipped { topic: String, partition: i32, from: i64, to: i64 },
    /// Rows that were taken for the rest of an unfinished snapshot, which was seen to end later.
    Removed { rows: u64 },
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Gap { table, origin, cause, .. } = self;
        match cause {
            Cause::Skipped { topic, partition, from, to } => write!(
                f,
                "table `{table}`: records {from} to {to} (exclusive) of {topic} partition {partition} were gone before \
                 they were read, and `lost_records = \"skip\"` went on without them: changes and deletes of {origin} \
                 may be missing. A complete snapshot of it ends this"
            ),
            Cause::Removed { rows } => write!(
                f,
                "table `{table}`: the end of a snapshot of {origin} was read after a later snapshot was complete, \
                 which had removed what the first brought and the second lacked: {rows} rows may be missing. A \
                 complete snapshot of it ends this"
            ),
        }
    }
}

impl Gap {
    /// So many rows of an origin may have been removed wrongly.
    pub(super) fn removed(table: String, origin: &str, rows: u64, clock: Micros) -> Gap {
        Gap { table, origin: origin.to_owned(), cause: Cause::Removed { rows }, clock: clock.0 }
    }
}

impl TableFold {
    /// Looks whether a batch goes on where its partition ended.
    pub(super) fn note_gap(&mut self, changes: &ChangeBatch, clock: Micros) {
        let Some((partition, from, to)) = changes.covers() else { return };
        let lane = (self.origins.topic(), partition);
        let expected = self.ends.insert(lane, to);
        let Some(expected) = expected.filter(|expected| *expected < from) else { return };
        for origin in self.origins.of_topic().collect::<Vec<_>>() {
            let gap = Gap {
                table: self.contract.contract().name.clone(),
                origin: self.origins.name(origin).to_owned(),
                cause: Cause::Skipped {
                    topic: changes.topic().to_owned(),
                    partition,
                    from: expected,
                    to: from,
                },
                clock: clock.0,
            };
            self.origins.get_mut(origin).into_iter().for_each(|own| own.gap = Some(gap.clone()));
        }
    }

    /// What origins lack, those that do.
    pub fn gaps(&self) -> impl Iterator<Item = &Gap> {
        self.origins.iter().filter_map(|(_, origin)| origin.gap.as_ref())
    }
}
