//! How many requests a token subject may make.
//!
//! # Guarantees
//! - A subject gets its burst at once and its rate for long, whatever others do.
//! - Memory is bounded by [`SUBJECTS_MAX`]: subjects whose bucket is full again are forgotten first.
//!
//! # Non-guarantees
//! - Requests without a valid token are not counted here; connections bound those.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

/// Subjects that are remembered.
pub(crate) const SUBJECTS_MAX: usize = 10_000;

/// A bucket of requests per subject. It fills with time and is emptied by requests.
#[derive(Debug)]
pub(crate) struct Rates {
    per_s: f64,
    burst: f64,
    subjects: Mutex<HashMap<Arc<str>, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Rates {
    /// `per_s` requests a second for long, `burst` at once. Neither is ever below one.
    pub(crate) fn new(per_s: u32, burst: u32) -> Rates {
        let (per_s, burst) = (f64::from(per_s.max(1)), f64::from(burst.max(1)));
        Rates { per_s, burst, subjects: Mutex::default() }
    }

    /// Takes one request of a subject.
    ///
    /// # Errors
    /// When it has none left: the seconds until it has one again.
    pub(crate) fn take(&self, subject: &Arc<str>, now: Instant) -> Result<(), u32> {
        let mut subjects = self.subjects.lock();
        if subjects.len() >= SUBJECTS_MAX && !subjects.contains_key(subject) {
            subjects.retain(|_, bucket| self.filled(*bucket, now) < self.burst);
            if subjects.len() >= SUBJECTS_MAX {
                // All of them are busy: better to forget their use than to turn a new one away.
                subjects.clear();
            }
        }
        let fresh = Bucket { left: self.burst, at: now };
        let bucket = subjects.entry(Arc::clone(subject)).or_insert(fresh);
        let left = self.filled(*bucket, now);
        let enough = left >= 1.0;
        *bucket = Bucket { left: if enough { left - 1.0 } else { left }, at: now };
        if enough { Ok(()) } else { Err(self.wait_s(left)) }
    }

    fn filled(&self, bucket: Bucket, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.left + passed * self.per_s).min(self.burst)
    }

    /// Whole seconds until a bucket holds one request: at least one, as the rate is at least one.
    fn wait_s(&self, left: f64) -> u32 {
        if (1.0 - left) / self.per_s > 1.0 { 2 } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_subject_gets_its_burst_and_then_its_rate() {
        let rates = Rates::new(10, 3);
        let (a, b) = (Arc::from("a"), Arc::from("b"));
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(rates.take(&a, start), Ok(()));
        }
        assert_eq!(rates.take(&a, start), Err(1));
        assert_eq!(rates.take(&b, start), Ok(()), "others have their own");
        let later = start + Duration::from_millis(200);
        assert_eq!(rates.take(&a, later), Ok(()));
        assert_eq!(rates.take(&a, later), Ok(()));
        assert_eq!(rates.take(&a, later), Err(1));
        let much_later = start + Duration::from_secs(3600);
        let allowed = (0..10).filter(|_| rates.take(&a, much_later).is_ok()).count();
        assert_eq!(allowed, 3, "no more than the burst is saved up");
    }

    #[test]
    fn subjects_are_bounded() {
        let rates = Rates::new(1, 1);
        let start = Instant::now();
        for number in 0..SUBJECTS_MAX + 5 {
            assert_eq!(rates.take(&number.to_string().into(), start), Ok(()));
        }
        assert!(rates.subjects.lock().len() <= SUBJECTS_MAX);
    }
}
