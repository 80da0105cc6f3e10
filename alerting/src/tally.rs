//! Tallies: what became of a route's deliveries.
//!
//! # Guarantees
//! - They count since the start and are kept nowhere.

use std::sync::atomic::AtomicU64;

/// What became of a route's deliveries since the start.
#[derive(Debug, Default)]
pub struct Tally {
    /// Taken by the receiver.
    pub delivered: AtomicU64,
    /// Tries that failed.
    pub failed: AtomicU64,
    /// Refused for good, or given up.
    pub lost: AtomicU64,
    /// Those that wait.
    pub waiting: AtomicU64,
}
