//! The one place that reads the system clock.

use schemas::{Clock, Micros};

/// The system's wall clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WallClock;

impl Clock for WallClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everything else takes")]
    fn now(&self) -> Micros {
        Micros(chrono::Utc::now().timestamp_micros())
    }
}
