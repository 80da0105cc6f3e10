//! How much clients may ask: requests of a token subject, messages of a connection.
//!
//! # Guarantees
//! - A subject gets its burst at once and its rate for long, whatever others do.
//! - Memory is bounded by [`SUBJECTS_MAX`]: subjects whose burst is whole again are forgotten first.
//!
//! # Non-guarantees
//! - Requests without a valid token are not counted here; connections bound those.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use parking_lot::RwLock;

/// Subjects that are remembered.
pub(crate) const SUBJECTS_MAX: usize = 10_000;

/// Rate of the messages of one connection.
pub(crate) type MessageRate<C = DefaultClock> =
    RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// Rates of every subject by themselves.
type BySubject<C> =
    RateLimiter<Arc<str>, HashMapStateStore<Arc<str>>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// Quota of `per_s` for long and `burst` at once. Neither is ever below one.
pub(crate) fn quota(per_s: u32, burst: u32) -> Quota {
    let at_least_one = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    Quota::per_second(at_least_one(per_s)).allow_burst(at_least_one(burst))
}

/// Requests that subjects may make.
#[derive(Debug)]
pub(crate) struct RequestRates<C: Clock = DefaultClock> {
    quota: Quota,
    clock: C,
    subjects: RwLock<BySubject<C>>,
}

impl RequestRates {
    /// Rates of this quota, in real time.
    pub(crate) fn new(quota: Quota) -> RequestRates {
        RequestRates::with_clock(quota, DefaultClock::default())
    }
}

impl<C: Clock + Clone> RequestRates<C> {
    fn with_clock(quota: Quota, clock: C) -> RequestRates<C> {
        let subjects = RwLock::new(by_subject(quota, &clock));
        RequestRates { quota, clock, subjects }
    }

    /// Takes one request of a subject.
    ///
    /// # Errors
    /// When it has none left: the seconds until it has one again.
    pub(crate) fn take(&self, subject: &Arc<str>) -> Result<(), u32> {
        let subjects = self.subjects.read();
        let taken = subjects.check_key(subject);
        let taken = taken.map_err(|until| whole_seconds(until.wait_time_from(self.clock.now())));
        let are_too_many = subjects.len() > SUBJECTS_MAX;
        drop(subjects);
        if are_too_many {
            self.forget();
        }
        taken
    }

    /// Forgets subjects that have their whole burst again, or all of them.
    fn forget(&self) {
        let mut subjects = self.subjects.write();
        subjects.retain_recent();
        if subjects.len() > SUBJECTS_MAX {
            // All of them are busy: better to forget their use than to turn a new one away.
            *subjects = by_subject(self.quota, &self.clock);
        }
    }
}

fn by_subject<C: Clock + Clone>(quota: Quota, clock: &C) -> BySubject<C> {
    RateLimiter::new(quota, HashMapStateStore::default(), clock.clone())
}

fn whole_seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn rates(per_s: u32, burst: u32) -> (RequestRates<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (RequestRates::with_clock(quota(per_s, burst), clock.clone()), clock)
    }

    #[test]
    fn a_subject_gets_its_burst_and_then_its_rate() {
        let (rates, clock) = rates(10, 3);
        let (a, b) = (Arc::from("a"), Arc::from("b"));
        for _ in 0..3 {
            assert_eq!(rates.take(&a), Ok(()));
        }
        assert_eq!(rates.take(&a), Err(1));
        assert_eq!(rates.take(&b), Ok(()), "others have their own");
        clock.advance(Duration::from_millis(200));
        assert_eq!(rates.take(&a), Ok(()));
        assert_eq!(rates.take(&a), Ok(()));
        assert_eq!(rates.take(&a), Err(1));
        clock.advance(Duration::from_secs(3600));
        let allowed = (0..10).filter(|_| rates.take(&a).is_ok()).count();
        assert_eq!(allowed, 3, "no more than the burst is saved up");
    }

    #[test]
    fn nobody_is_ever_without_a_request() {
        let (rates, clock) = rates(0, 0);
        assert_eq!(rates.take(&Arc::from("a")), Ok(()));
        assert_eq!(rates.take(&Arc::from("a")), Err(1));
        clock.advance(Duration::from_secs(1));
        assert_eq!(rates.take(&Arc::from("a")), Ok(()));
    }

    #[test]
    fn subjects_are_bounded_and_idle_ones_go_first() {
        let (rates, clock) = rates(1, 1);
        let take = |name: usize| rates.take(&name.to_string().into());
        for number in 0..SUBJECTS_MAX {
            assert_eq!(take(number), Ok(()));
        }
        clock.advance(Duration::from_secs(2));
        assert_eq!(take(0), Ok(()));
        assert_eq!(take(SUBJECTS_MAX), Ok(()));
        assert_eq!(rates.subjects.read().len(), 2, "idle ones are forgotten");
        assert_eq!(take(0), Err(1), "busy ones are not");
        for number in 1..SUBJECTS_MAX + 5 {
            assert!(take(number) != Err(0));
            assert!(rates.subjects.read().len() <= SUBJECTS_MAX);
        }
    }

    #[test]
    fn messages_come_in_a_burst_and_then_at_a_rate() {
        let clock = FakeRelativeClock::default();
        let rate: MessageRate<_> = MessageRate::direct_with_clock(quota(10, 3), clock.clone());
        let taken: Vec<bool> = (0..4).map(|_| rate.check().is_ok()).collect();
        assert_eq!(taken, [true, true, true, false]);
        clock.advance(Duration::from_millis(99));
        assert!(rate.check().is_err());
        clock.advance(Duration::from_millis(1));
        assert!(rate.check().is_ok() && rate.check().is_err());
        clock.advance(Duration::from_secs(60));
        assert_eq!((0..9).filter(|_| rate.check().is_ok()).count(), 3);
    }
}
