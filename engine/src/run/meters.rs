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
pub struct Meters {
    /// Records.
    pub events: Count,
    /// Their keys and values.
    pub bytes: Count,
    /// Epochs with records.
    pub epochs: Count,
    /// Records that could not be decoded.
    pub dead_letters: Count,
    /// Changed cells that were published.
    pub kpi_updates: Count,
    /// Complete barriers.
    pub barriers: Count,
    /// Milliseconds that they took.
    pub barrier_ms: Count,
    /// Commits to bronze.
    pub bronze_commits: Count,
    /// The last epoch published.
    pub published: Count,
    /// From a live record's Kafka timestamp to the publication of its epoch.
    pub freshness: Histogram,
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
    /// What is wrong at the moment with what is around the pipeline. What the epochs themselves make
    /// doubtful travels with the results.
    pub troubles: Troubles,
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

/// Durations in logarithmic buckets.
#[derive(Debug, Default)]
pub struct Histogram(Mutex<Vec<u64>>);

impl Histogram {
    /// Adds `weight` durations of `micros`.
    pub fn add(&self, micros: i64, weight: u64) {
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
    pub fn quantile(&self, share: f64) -> Option<u64> {
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
