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
//! - A quiet epoch never opens an episode and never moves it to another bucket, but ends it when its
//!   corrections take the cause away.
//!
//! # Non-guarantees
//! - Of a long episode the newest [`RECENT`] buckets can be taken back by corrections, not the first.

use schemas::Micros;

use crate::rules::{Finding, Verdict};

/// Anomalous buckets that are remembered for corrections.
pub(crate) const RECENT: usize = 4;
/// An episode whose series could not be judged for so many periods is over.
const UNJUDGED_PERIODS: i64 = 7;

/// When a bucket was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// An update of a bucket that still runs.
    Running,
    /// An update of a bucket that is over.
    Late,
    /// An update in a quiet epoch.
    Quiet,
    /// The bucket is over, and this is its judgement.
    Close,
}

/// An alert that is open.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Episode {
    /// The first anomalous bucket, which names the alert.
    pub(crate) first: Micros,
    /// The bucket whose figures the alert shows, and how they were shown.
    pub(crate) shown: Micros,
    pub(crate) figures: Finding,
    /// Whether anomalous buckets have been forgotten, which no correction can take back.
    pub(crate) has_older: bool,
}

/// What is remembered for one series, grain and rule.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Track {
    pub(crate) open: Option<Box<Episode>>,
    /// The newest anomalous buckets, ascending, open or not.
    pub(crate) recent: Vec<(Micros, Finding)>,
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
    /// Takes the verdict on one bucket of `period` microseconds.
    pub(crate) fn judge(
        &mut self,
        bucket: Micros,
        verdict: Verdict,
        moment: Moment,
        period: i64,
    ) -> Step {
        let known = self.recent.iter().position(|(at, _)| *at == bucket);
        match (verdict, known) {
            (Verdict::Anomalous(_), _) if moment == Moment::Quiet => Step::Nothing,
            (Verdict::Anomalous(figures), Some(at)) => self.again(bucket, figures, at, moment),
            (Verdict::Anomalous(figures), None) => self.anomalous(bucket, figures),
            (Verdict::Normal, Some(at)) => self.corrected(at, Why::Corrected(bucket)),
            (Verdict::Unknown, Some(at)) => self.corrected(at, Why::Removed(bucket)),
            (Verdict::Normal, None) => self.normal(bucket, moment),
            (Verdict::Unknown, None) => self.unjudged(bucket, moment, period),
        }
    }

    fn anomalous(&mut self, bucket: Micros, figures: Finding) -> Step {
        let at = self.recent.partition_point(|(own, _)| *own < bucket);
        self.recent.insert(at, (bucket, figures));
        let forgets = self.recent.len() > RECENT;
        if forgets {
            self.recent.remove(0);
        }
        let Some(episode) = &mut self.open else {
            // What was resolved before stays so: it is no part of this episode.
            self.recent.retain(|(own, _)| *own == bucket);
            let episode = Episode { first: bucket, shown: bucket, figures, has_older: false };
            self.open = Some(Box::new(episode));
            return Step::Open(bucket, figures);
        };
        episode.has_older |= forgets;
        if bucket < episode.shown {
            return Step::Nothing;
        }
        (episode.shown, episode.figures) = (bucket, figures);
        Step::Show { first: episode.first, bucket, figures }
    }

    /// The bucket was anomalous before: its alert follows when it has got worse or is over.
    fn again(&mut self, bucket: Micros, figures: Finding, at: usize, moment: Moment) -> Step {
        if let Some(known) = self.recent.get_mut(at) {
            known.1 = figures;
        }
        let Some(episode) = self.open.as_mut().filter(|episode| episode.shown == bucket) else {
            return Step::Nothing;
        };
        let worse = figures.severity > episode.figures.severity;
        if figures == episode.figures || (moment == Moment::Running && !worse) {
            return Step::Nothing;
        }
        episode.figures = figures;
        Step::Show { first: episode.first, bucket, figures }
    }

    fn corrected(&mut self, at: usize, why: Why) -> Step {
        let (bucket, _) = self.recent.remove(at);
        let Some(episode) = &mut self.open else { return Step::Nothing };
        match self.recent.last() {
            None if !episode.has_older => {
                let first = episode.first;
                self.open = None;
                Step::Resolve { first, why }
            }
            Some(&(newest, figures)) if episode.shown == bucket => {
                (episode.shown, episode.figures) = (newest, figures);
                Step::Show { first: episode.first, bucket: newest, figures }
            }
            _ => Step::Nothing,
        }
    }

    fn normal(&mut self, bucket: Micros, moment: Moment) -> Step {
        let over = |episode: &Episode| moment == Moment::Close && bucket > episode.shown;
        match self.open.take_if(|episode| over(episode)) {
            Some(episode) => Step::Resolve { first: episode.first, why: Why::Returned(bucket) },
            None => Step::Nothing,
        }
    }

    fn unjudged(&mut self, bucket: Micros, moment: Moment, period: i64) -> Step {
        let long = UNJUDGED_PERIODS.saturating_mul(period);
        let over =
            |own: &Episode| moment == Moment::Close && bucket.0.saturating_sub(own.shown.0) >= long;
        match self.open.take_if(|episode| over(episode)) {
            Some(episode) => Step::Resolve { first: episode.first, why: Why::Unjudged },
            None => Step::Nothing,
        }
    }

    /// Whether the bucket was anomalous when it was last judged.
    pub(crate) fn knows(&self, bucket: Micros) -> bool {
        self.recent.iter().any(|(own, _)| *own == bucket)
    }
}

#[cfg(test)]
mod tests;
