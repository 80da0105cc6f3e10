//! Signs of life: whoever stops hearing them knows that Weir is silent.
//!
//! # Guarantees
//! - A sign is only given while the pipeline says something: one that hangs gives none.

use std::time::Duration;

use schemas::Micros;

/// That Weir is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SignOfLife {
    /// When it was given.
    pub(crate) at: Micros,
    /// How often one is given.
    pub(crate) every: Duration,
    /// The clock of the newest numbers.
    pub(crate) as_of: Option<Micros>,
    /// Why these may be old or incomplete.
    pub(crate) troubles: Vec<String>,
}

impl SignOfLife {
    /// The instant from which on it is missed: three signs late.
    pub(crate) fn missed_at(&self) -> Micros {
        self.at.plus(i64::try_from(self.every.as_micros()).unwrap_or(i64::MAX).saturating_mul(3))
    }
}

/// Whether a sign is due: the last was given `last` ago, if any, and the pipeline was heard `heard` ago.
pub(crate) fn is_due(every: Duration, last: Option<Duration>, heard: Option<Duration>) -> bool {
    last.is_none_or(|last| last >= every) && heard.is_some_and(|heard| heard <= every)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_that_says_nothing_gives_no_sign() {
        let s = |seconds| Some(Duration::from_secs(seconds));
        let every = Duration::from_secs(60);
        assert!(is_due(every, None, s(1)) && is_due(every, s(60), s(60)));
        assert!(!is_due(every, s(59), s(1)), "too early");
        assert!(!is_due(every, s(70), s(61)), "nothing was heard");
        assert!(!is_due(every, None, None), "nothing was ever heard");
    }
}
