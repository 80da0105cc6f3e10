//! The unit of everything: an epoch is a set of offset spans and the wall clock of that moment.

use serde::{Deserialize, Serialize};

use crate::time::Micros;

/// The number of an epoch: 1 for the first of a lake, then one more each.
pub type EpochId = u64;

/// The half-open run of offsets `from..to` that an epoch takes from one partition of one topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// The configured source.
    pub source: String,
    /// The topic.
    pub topic: String,
    /// Which life of the topic: Kafka's topic id, or a hash standing in for it.
    pub incarnation: String,
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub from: i64,
    /// One past the last offset.
    pub to: i64,
}

/// What downstream may know of an epoch besides its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochStamp {
    /// Its number.
    pub id: EpochId,
    /// Its clock: later than the clock of every epoch before it.
    pub clock: Micros,
    /// Whether any row of it is quiet: its origin brings a snapshot or a backlog.
    pub quiet: bool,
}
