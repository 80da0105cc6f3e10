//! From judged buckets to alerts: one open episode for each series, grain and rule.
//!
//! ```text
//!            anomalous                        anomalous: shows the newest bucket
//!  (none) ──────────────> open, named by the ──┐
//!    ^                    first bucket       <─┘
//!    │   a later bucket closes normal, or corrections leave no anomalous bucket
//!    └────────────────────────┘
//! ```
//!
//! # Guarantees
//! - Judging a bucket again that has not changed sides opens and resolves nothing.
//! - A bucket that changes and stays anomalous is shown again when it gets worse, when it closes, and
//!   otherwise at most once in [`RETELL_US`]; what is put off is owed, not forgotten.
//! - A running bucket that is anomalous again after it was taken back stays so until it is over, and an episode
//!   that follows another soon needs more normal buckets to end: what flaps is told twice or thrice, not each time.
//! - While its series is held an episode never opens and never moves to another bucket, but ends when
//!   corrections take the cause away.
//!
//! # Non-guarantees
//! - Of a long episode the newest [`RECENT`] buckets can be taken back by corrections, not the first.

use schemas::Micros;
use serde::{Deserialize, Serialize};

use crate::rules::{Finding, Verdict};

/// Anomalous buckets that are remembered for corrections.
pub(crate) const RECENT: usize = 4;
/// How long an alert's figures stand before they follow a bucket that goes on changing.
pub(crate) const RETELL_US: i64 = 30_000_000;
/// An episode so many periods after the one before is the same thing again.
const SOON: i64 = 6;
/// An episode whose series could not be judged for so many periods is over.
const UNJUDGED_PERIODS: i64 = 7;

/// When a bucket was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// An update of a bucket that still runs.
    Running,
    /// An update of a bucket that is over.
    Late,
    /// An update of a series that is held.
    Quiet,
    /// The bucket is over, and this is its judgement.
    Close,
}

/// An alert that is open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Episode {
    /// The first anomalous bucket, which names the alert.
    pub(crate) first: Micros,
    /// The bucket whose figures the alert shows, and how they were shown.
    pub(crate) shown: Micros,
    pub(crate) figures: Finding,
    /// Whether anomalous buckets have been forgotten, which no correction can take back.
    pub(crate) has_older: bool,
    /// When its figures were shown last, and whether they have changed since.
    pub(crate) told: Micros,
    pub(crate) owes: bool,
}

/// What is remembered for one series, grain and rule.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Track {
    pub(crate) open: Option<Box<Episode>>,
    /// The newest anomalous buckets, ascending.
    pub(crate) recent: Vec<Bad>,
    /// The running bucket that was taken back once: if it opens again, it stays until it is over.
    pub(crate) unsteady: Option<Micros>,
    /// The newest bucket of the last episode, and how many came soon after one another.
    pub(crate) last: Option<(Micros, u8)>,
}

/// An anomalous bucket.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bad {
    pub(crate) bucket: Micros,
    pub(crate) figures: Finding,
    /// Whether it belongs to the episode that is open, and not to one before.
    pub(crate) is_cause: bool,
}

/// What to do with the alert of a track.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Step {
    /// Nothing.
    Nothing,
    /// It opens (again), for this bucket.
    Open(Micros, Finding),
    /// It shows this bucket. `first` names it.
    Show { first: Micros, bucket: Micros, figures: Finding },
    /// It is over.
    Resolve { first: Micros, why: Why },
    /// Its figures have changed, and are to be judged again then.
    Later(Micros),
}

/// Why an alert is over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Why {
    /// A later bucket closed normal.
    Returned(Micros),
    /// A correction made the bucket normal.
    Corrected(Micros),
    /// The bucket was not to be judged any more after a correction.
    Removed(Micros),
    /// Nothing was judged for long.
    Unjudged,
}

impl Track {
    /// Takes the verdict on one bucket of `period` microseconds, reached at `now`.
    pub(crate) fn judge(
        &mut self,
        bucket: Micros,
        verdict: Verdict,
        moment: Moment,
        period: i64,
        now: Micros,
    ) -> Step {
        let step = self.decide(bucket, verdict, moment, period, now);
        if moment == Moment::Close {
            self.unsteady = self.unsteady.filter(|own| *own > bucket);
            let is_recent =
                |last: Micros| bucket.0.saturating_sub(last.0) <= SOON.saturating_mul(period);
            self.last = self.last.filter(|(last, _)| self.open.is_some() || is_recent(*last));
        }
        if let (Step::Open(..) | Step::Show { .. }, Some(episode)) = (step, &mut self.open) {
            (episode.told, episode.owes) = (now, false);
        }
        step
    }

    fn decide(
        &mut self,
        bucket: Micros,
        verdict: Verdict,
        moment: Moment,
        period: i64,
        now: Micros,
    ) -> Step {
        let known = self.recent.iter().position(|own| own.bucket == bucket);
        match (verdict, known) {
            (Verdict::Anomalous(_), _) if moment == Moment::Quiet => Step::Nothing,
            (Verdict::Anomalous(figures), Some(at)) => self.again(bucket, figures, at, moment, now),
            (Verdict::Anomalous(figures), None) => self.anomalous(bucket, figures, period),
            (Verdict::Normal, Some(_))
                if moment == Moment::Running && self.unsteady == Some(bucket) =>
            {
                Step::Nothing
            }
            (Verdict::Normal, Some(at)) => {
                if moment == Moment::Running {
                    self.unsteady = Some(bucket);
                }
                self.corrected(at, Why::Corrected(bucket))
            }
            (Verdict::Unknown, Some(at)) => self.corrected(at, Why::Removed(bucket)),
            (Verdict::Normal, None) => self.normal(bucket, moment, period),
            (Verdict::Unknown, None) => self.unjudged(bucket, moment, period),
        }
    }

    fn anomalous(&mut self, bucket: Micros, figures: Finding, period: i64) -> Step {
        let at = self.recent.partition_point(|own| own.bucket < bucket);
        self.recent.insert(at, Bad { bucket, figures, is_cause: true });
        let forgotten = (self.recent.len() > RECENT).then(|| self.recent.remove(0));
        let Some(episode) = &mut self.open else {
            let (first, shown, told) = (bucket, bucket, bucket);
            let is_soon =
                |last: Micros| bucket.0.saturating_sub(last.0) <= SOON.saturating_mul(period);
            let again = self.last.filter(|(last, _)| is_soon(*last));
            self.last = Some((bucket, again.map_or(0, |(_, times)| times.saturating_add(1))));
            let episode = Episode { first, shown, figures, has_older: false, told, owes: false };
            self.open = Some(Box::new(episode));
            return Step::Open(bucket, figures);
        };
        episode.has_older |= forgotten.is_some_and(|own| own.is_cause);
        if bucket < episode.shown {
            return Step::Nothing;
        }
        (episode.shown, episode.figures) = (bucket, figures);
        Step::Show { first: episode.first, bucket, figures }
    }

    /// The bucket was anomalous before: its alert follows at once when it has got worse or is over.
    fn again(
        &mut self,
        bucket: Micros,
        figures: Finding,
        at: usize,
        moment: Moment,
        now: Micros,
    ) -> Step {
        if let Some(known) = self.recent.get_mut(at) {
            known.figures = figures;
        }
        let Some(episode) = self.open.as_mut().filter(|episode| episode.shown == bucket) else {
            return Step::Nothing;
        };
        if figures == episode.figures {
            episode.owes = false;
            return Step::Nothing;
        }
        let due = episode.told.plus(RETELL_US);
        let at_once = moment == Moment::Close || figures.severity > episode.figures.severity;
        if !at_once && now < due {
            episode.owes = true;
            return Step::Later(due);
        }
        episode.figures = figures;
        Step::Show { first: episode.first, bucket, figures }
    }

    fn corrected(&mut self, at: usize, why: Why) -> Step {
        let corrected = self.recent.remove(at);
        let Some(episode) = self.open.as_mut().filter(|_| corrected.is_cause) else {
            return Step::Nothing;
        };
        match self.recent.iter().rfind(|own| own.is_cause) {
            None if !episode.has_older => {
                let first = episode.first;
                self.open = None;
                Step::Resolve { first, why }
            }
            Some(newest) if episode.shown == corrected.bucket => {
                (episode.shown, episode.figures) = (newest.bucket, newest.figures);
                let (bucket, figures) = (newest.bucket, newest.figures);
                Step::Show { first: episode.first, bucket, figures }
            }
            _ => Step::Nothing,
        }
    }

    fn normal(&mut self, bucket: Micros, moment: Moment, period: i64) -> Step {
        // One that comes again and again is not over because one bucket is normal.
        let times = self.last.map_or(0, |(_, times)| i64::from(times)).saturating_mul(2);
        let patience = times.min(SOON).saturating_mul(period);
        let is_later = |own: &Episode| bucket.0.saturating_sub(own.shown.0) > patience;
        let over = |own: &Episode| moment == Moment::Close && bucket > own.shown && is_later(own);
        self.end(over, Why::Returned(bucket))
    }

    fn unjudged(&mut self, bucket: Micros, moment: Moment, period: i64) -> Step {
        let long = UNJUDGED_PERIODS.saturating_mul(period);
        let over =
            |own: &Episode| moment == Moment::Close && bucket.0.saturating_sub(own.shown.0) >= long;
        self.end(over, Why::Unjudged)
    }

    /// Ends the episode if it is `over`. Its buckets stay anomalous, but are no cause of a later one.
    fn end(&mut self, over: impl Fn(&Episode) -> bool, why: Why) -> Step {
        let Some(episode) = self.open.take_if(|episode| over(episode)) else {
            return Step::Nothing;
        };
        self.recent.iter_mut().for_each(|own| own.is_cause = false);
        self.last = self.last.map(|(_, times)| (episode.shown, times));
        Step::Resolve { first: episode.first, why }
    }

    /// Whether nothing is remembered: only an anomalous bucket changes that.
    pub(crate) fn is_idle(&self) -> bool {
        let knows_nothing = self.unsteady.is_none() && self.last.is_none();
        self.open.is_none() && self.recent.is_empty() && knows_nothing
    }

    /// Whether the bucket was anomalous when it was last judged.
    pub(crate) fn knows(&self, bucket: Micros) -> bool {
        self.recent.iter().any(|own| own.bucket == bucket)
    }
}

#[cfg(test)]
mod tests;
