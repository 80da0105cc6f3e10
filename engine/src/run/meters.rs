//! What the running pipeline counts, for the progress line, the summary and the metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use pipeline::source::Lag;
use schemas::{Contents, Debt};

use super::doubts::Doubts;
use super::stop::Reached;
use super::troubles::Troubles;
use crate::audit::Audits;

/// Significant digits of a duration: a quantile is exact to one percent.
const DIGITS: u8 = 2;

/// Counters of the runs of a process. All are totals since it started.
#[derive(Debug, Default)]
pub struct Meters {
    /// Records.
    pub events: Count,
    /// Their keys and values.
    pub bytes: Count,
    /// Epochs with records.
    pub epochs: Count,
    /// Records that could not be decoded.
    pub dead_letters: Count,
    /// Transactions that epochs hold in parts.
    pub split_transactions: Count,
    /// Changed cells that were published.
    pub kpi_updates: Count,
    /// Complete barriers.
    pub barriers: Count,
    /// Milliseconds that they took.
    pub barrier_ms: Count,
    /// Commits to bronze.
    pub bronze_commits: Count,
    /// Groups of cells that were computed again.
    pub audits: Audits,
    /// The last epoch published.
    pub published: Count,
    /// From a live record's Kafka timestamp to the publication of its epoch.
    pub freshness: Durations,
    /// The last epoch in the ledger.
    pub recorded: Reached,
    /// The last epoch in bronze.
    pub in_bronze: Reached,
    /// The last epoch that a barrier flushed.
    pub flushed: Reached,
    /// Bytes of epochs that are not in bronze.
    pub unflushed: Arc<AtomicUsize>,
    /// How far each source's partitions are behind.
    pub lag: Mutex<BTreeMap<String, Vec<Lag>>>,
    /// What tables have lying about.
    pub debt: Mutex<BTreeMap<String, Debt>>,
    /// What is wrong at the moment with what is around the pipeline. What the epochs themselves make
    /// doubtful travels with the results.
    pub troubles: Troubles,
    /// What is to be looked at in the rows of each table, as of about a second ago.
    pub contents: Mutex<Arc<[Contents]>>,
    /// What is in doubt of each contract, as of the last epoch.
    pub doubts: Doubts,
    /// Live rows of each silver table, as of the last barrier that began.
    pub table_rows: Mutex<Vec<(String, usize)>>,
    /// KPIs that the process has decided to compute anew.
    pub(crate) rebuilt: Mutex<BTreeSet<String>>,
}

impl Meters {
    /// Forgets what an earlier run of the process said of its surroundings: the next one finds out for itself.
    pub(super) fn begin_run(&self) {
        self.troubles.forget_run();
        self.unflushed.store(0, Ordering::Relaxed);
        self.lag.lock().clear();
        self.debt.lock().clear();
    }
}

/// A counter that any thread may add to.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to it.
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// Replaces it.
    pub fn set(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Durations and their quantiles.
#[derive(Debug, Default)]
pub struct Durations(Mutex<Option<Histogram<u64>>>);

impl Durations {
    /// Adds `weight` durations of `micros`.
    pub fn add(&self, micros: i64, weight: u64) {
        let mut held = self.0.lock();
        if held.is_none() {
            *held = Histogram::new(DIGITS).ok();
        }
        let recorded =
            held.as_mut().map(|own| own.record_n(u64::try_from(micros).unwrap_or(0), weight));
        // It grows with what it is told; a duration that it has no room for is left out, and said.
        if let Some(Err(error)) = recorded {
            tracing::debug!(%error, micros, "a duration is not counted");
        }
    }

    /// The duration in microseconds that `share` (0 to 1) of all stay below; `None` without any.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let held = self.0.lock();
        let histogram = held.as_ref().filter(|histogram| !histogram.is_empty())?;
        Some(histogram.value_at_quantile(share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_one_percent() {
        let durations = Durations::default();
        assert_eq!(durations.quantile(0.5), None);
        for micros in 1..=10_000 {
            durations.add(micros, 1);
        }
        for (share, expected) in [(0.5, 5_000), (0.99, 9_900), (1.0, 10_000)] {
            let found = durations.quantile(share).unwrap();
            assert!((expected..=expected + expected / 100).contains(&found), "{share}: {found}");
        }
        durations.add(123_456_789_000, 1);
        assert!(durations.quantile(1.0).unwrap() >= 123_456_789_000, "days fit");
        durations.add(-5, 100_000);
        assert_eq!(durations.quantile(0.5), Some(0), "a clock that runs ahead counts as no time");
    }

    #[test]
    fn a_weight_counts_as_so_many() {
        let durations = Durations::default();
        durations.add(10, 99);
        durations.add(1_000, 1);
        assert_eq!(durations.quantile(0.99), Some(10));
        assert!(durations.quantile(0.995).unwrap() >= 1_000);
    }
}
