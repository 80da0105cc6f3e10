//! When barriers start.

use std::time::{Duration, Instant};

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
