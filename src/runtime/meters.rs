//! What the running pipeline counts, for the progress line, the summary and the metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use pipeline::source::Lag;

use super::stop::Reached;
use super::troubles::Troubles;

/// Buckets per doubling: a quantile is exact to about 3 percent.
const STEPS: u32 = 32;

/// Counters of one run. All are totals since it started.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    pub(crate) events: Count,
    pub(crate) bytes: Count,
    pub(crate) epochs: Count,
    pub(crate) dead_letters: Count,
    pub(crate) kpi_updates: Count,
    pub(crate) barriers: Count,
    pub(crate) barrier_ms: Count,
    pub(crate) bronze_commits: Count,
    /// The last epoch published.
    pub(crate) published: Count,
    /// From a live record's Kafka timestamp to the publication of its epoch.
    pub(crate) freshness: Histogram,
    /// The last epoch in the ledger, in bronze, and flushed by a barrier.
    pub(crate) recorded: Reached,
    pub(crate) in_bronze: Reached,
    pub(crate) flushed: Reached,
    /// Bytes of epochs that are not in bronze.
    pub(crate) unflushed: Arc<AtomicUsize>,
    /// How far each source's partitions are behind.
    pub(crate) lag: Mutex<BTreeMap<String, Vec<Lag>>>,
    /// What is wrong at the moment.
    pub(crate) troubles: Troubles,
    /// Tables that stand still by themselves, while all else goes on.
    pub(crate) halted: Troubles,
}

/// A counter that any thread may add to.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Durations in logarithmic buckets.
#[derive(Debug, Default)]
pub(crate) struct Histogram(Mutex<Vec<u64>>);

impl Histogram {
    /// Adds `weight` durations of `micros`.
    pub(crate) fn add(&self, micros: i64, weight: u64) {
        let bucket = bucket(u64::try_from(micros).unwrap_or(0));
        let mut counts = self.0.lock();
        if counts.len() <= bucket {
            counts.resize(bucket + 1, 0);
        }
        if let Some(count) = counts.get_mut(bucket) {
            *count += weight;
        }
    }

    /// The duration in microseconds that `share` (0 to 1) of all stay below; `None` without any.
    pub(crate) fn quantile(&self, share: f64) -> Option<u64> {
        let counts = self.0.lock();
        let total: u64 = counts.iter().sum();
        if total == 0 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "a quantile is approximate")]
        let wanted = share * total as f64;
        let mut seen = 0;
        for (bucket, count) in counts.iter().enumerate() {
            seen += count;
            #[expect(clippy::cast_precision_loss, reason = "a quantile is approximate")]
            if seen as f64 >= wanted {
                return Some(upper(bucket));
            }
        }
        Some(upper(counts.len()))
    }
}

fn bucket(micros: u64) -> usize {
    if micros < u64::from(STEPS) {
        return usize::try_from(micros).unwrap_or(0);
    }
    let power = micros.ilog2();
    let step = (micros >> (power - STEPS.ilog2())) - u64::from(STEPS);
    let index = u64::from((power - STEPS.ilog2() + 1) * STEPS) + step;
    usize::try_from(index).unwrap_or(usize::MAX)
}

fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let steps = u64::from(STEPS);
    if bucket < steps {
        return bucket;
    }
    let (power, step) = (bucket / steps - 1, bucket % steps);
    ((steps + step + 1) << power) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_bucket() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for micros in 1..=10_000 {
            histogram.add(micros, 1);
        }
        let median = histogram.quantile(0.5).unwrap();
        assert!((5_000..5_200).contains(&median), "{median}");
        let high = histogram.quantile(0.99).unwrap();
        assert!((9_900..10_250).contains(&high), "{high}");
        for micros in [0, 1, 31, 32, 33, 1_000, 123_456_789] {
            assert!(upper(bucket(micros)) >= micros);
            assert!(upper(bucket(micros)) <= micros + micros / 30 + 1, "{micros}");
        }
    }
}
