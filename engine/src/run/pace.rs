//! When barriers start, and how many records an epoch takes at most.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pipeline::source::Limits;
use schemas::EpochId;

/// A barrier takes at most one part in this many of the time.
const BARRIER_SHARE: u32 = 4;

/// When the next barrier starts: after the interval, the one before it being complete, and not more
/// often than its cost allows.
#[derive(Debug)]
pub(super) struct BarrierTimer {
    interval: Duration,
    last_start: Instant,
    last_cost: Duration,
    pub(super) running: EpochId,
    is_running: bool,
}

impl BarrierTimer {
    pub(super) fn new(interval: Duration, flushed: EpochId) -> BarrierTimer {
        let (last_start, last_cost) = (Instant::now(), Duration::ZERO);
        BarrierTimer { interval, last_start, last_cost, running: flushed, is_running: false }
    }

    pub(super) fn is_due(&mut self, last: EpochId, flushed: EpochId) -> bool {
        if self.is_running && flushed >= self.running {
            self.is_running = false;
            self.last_cost = self.last_start.elapsed();
        }
        let wait = self.interval.max(self.last_cost * BARRIER_SHARE);
        !self.is_running && last > self.running && self.last_start.elapsed() >= wait
    }

    pub(super) fn started(&mut self, epoch: EpochId) {
        (self.running, self.is_running, self.last_start) = (epoch, true, Instant::now());
    }
}

/// What an epoch should take at most. A backlog is over when none of it has come for a second: on a machine where an
/// epoch took longer, each would be a backlog of its own.
const EPOCH_TIME: Duration = Duration::from_millis(300);
/// What leaves room for more.
const SHORT: Duration = Duration::from_millis(100);
/// Before it is known how long records take.
const FIRST_RECORDS: usize = 2_000;
/// However long they take.
const LEAST_RECORDS: usize = 100;
/// Beyond every setting.
const MOST_RECORDS: usize = 1 << 40;

/// How many records a poll takes, so that an epoch of them is folded in time.
#[derive(Debug)]
pub(super) struct Stride(AtomicUsize);

impl Default for Stride {
    fn default() -> Stride {
        Stride(AtomicUsize::new(FIRST_RECORDS))
    }
}

impl Stride {
    /// The limits of the next poll.
    pub(super) fn within(&self, limits: &Limits) -> Limits {
        let most = self.0.load(Ordering::Relaxed);
        let (records, of_partition) = (limits.records, limits.partition_records);
        // Half of it at most from one partition, so that a backlog starves no other.
        let partition_records = of_partition.min(most / 2);
        Limits { records: records.min(most), partition_records, ..*limits }
    }

    /// An epoch of so many records took this long.
    pub(super) fn took(&self, records: usize, time: Duration) {
        let most = self.0.load(Ordering::Relaxed);
        let next = if time > EPOCH_TIME {
            let fits = records as u128 * EPOCH_TIME.as_millis() / time.as_millis().max(1);
            usize::try_from(fits / 2).unwrap_or(most).clamp(LEAST_RECORDS, most.max(LEAST_RECORDS))
        } else if time < SHORT && records >= most / 4 {
            most.saturating_mul(4).min(MOST_RECORDS)
        } else {
            most
        };
        self.0.store(next, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_has_as_many_records_as_are_folded_in_time() {
        let limits =
            Limits { records: 20_000, bytes: 1, partition_records: 10_000, partition_bytes: 1 };
        let stride = Stride::default();
        let most = |stride: &Stride| stride.within(&limits).records;
        assert_eq!(most(&stride), 2_000, "nothing is known yet");
        stride.took(2_000, Duration::from_millis(10));
        stride.took(8_000, Duration::from_millis(40));
        assert_eq!(stride.within(&limits), limits, "a fast machine takes what the settings say");
        // Five seconds for an epoch, on a busy one.
        stride.took(20_000, Duration::from_secs(5));
        assert_eq!(most(&stride), 600);
        assert_eq!(stride.within(&limits).partition_records, 300, "the others have their half");
        stride.took(600, Duration::from_millis(150));
        assert_eq!(most(&stride), 600, "in time");
        stride.took(1, Duration::from_secs(2));
        assert_eq!(most(&stride), LEAST_RECORDS, "never none");
        stride.took(3, Duration::from_millis(1));
        assert_eq!(most(&stride), LEAST_RECORDS, "few records say nothing of many");
        stride.took(100, Duration::from_millis(1));
        assert_eq!(most(&stride), 400);
    }
}
