//! The one place that reads the system's clocks.
//!
//! # Guarantees
//! - [`Clock::now`] is the wall clock as long as it may be believed, see [`schemas::clock_guard`].

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{LazyLock, Mutex, PoisonError};

use schemas::clock_guard::{ClockGuard, Clocks, Present};
use schemas::{Clock, Micros};

/// How long ago the machine started, sleep included, in seconds: the first word.
static SINCE_START: LazyLock<Option<File>> = LazyLock::new(|| File::open("/proc/uptime").ok());

/// What the process counts time from.
static GUARD: Mutex<Option<ClockGuard>> = Mutex::new(None);

/// The system's wall clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WallClock;

impl WallClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everything else takes")]
    fn clocks() -> Clocks {
        let wall = Micros(chrono::Utc::now().timestamp_micros());
        Clocks { wall, since_start: SINCE_START.as_ref().and_then(since_start) }
    }

    fn present() -> Present {
        let mut guard = GUARD.lock().unwrap_or_else(PoisonError::into_inner);
        let clocks = WallClock::clocks();
        guard.get_or_insert_with(|| ClockGuard::new(clocks)).read(clocks)
    }
}

impl Clock for WallClock {
    fn now(&self) -> Micros {
        WallClock::present().now
    }

    fn jump(&self) -> Option<i64> {
        WallClock::present().jump
    }

    fn accept(&self) {
        let mut guard = GUARD.lock().unwrap_or_else(PoisonError::into_inner);
        *guard = Some(ClockGuard::new(WallClock::clocks()));
    }
}

/// Read anew, from the open file: every turn of the main loop asks.
fn since_start(file: &File) -> Option<i64> {
    let mut bytes = [0; 64];
    let length = file.read_at(&mut bytes, 0).ok()?;
    micros(std::str::from_utf8(bytes.get(..length)?).ok()?)
}

/// `12345.67 ...` in microseconds.
fn micros(text: &str) -> Option<i64> {
    let (seconds, rest) = text.split_whitespace().next()?.split_once('.')?;
    let fraction: String = rest.chars().chain("000000".chars()).take(6).collect();
    let seconds: i64 = seconds.parse().ok()?;
    seconds.checked_mul(1_000_000)?.checked_add(fraction.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_since_the_start_is_read_and_goes_on() {
        assert_eq!(micros("350735.47 234388.90\n"), Some(350_735_470_000));
        assert_eq!(micros("no time"), None);
        let first = WallClock::clocks().since_start.unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!((30_000..10_000_000).contains(&(WallClock::clocks().since_start.unwrap() - first)));
    }
}
