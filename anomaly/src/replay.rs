//! The points of one series, learned one after the other by the model that judges.
//!
//! # Guarantees
//! - What is said of a bucket follows from the points before it, as they are now.

use std::sync::Arc;

use schemas::{CellValue, Grain, KnownSeries, Micros, Periods};

use crate::entry::{LOOK_BACK, catch_up};
use crate::model::Past;
use crate::outlook::{Learner, Outlook};
use crate::regression::Trained;
use crate::shape::{Observed, Place, Shape, moved, step};

/// Past values that were read at once.
pub(crate) struct ReadPast<'a> {
    pub(crate) values: &'a [Option<Observed>],
    /// The place of the bucket to be forecast, and its start.
    pub(crate) of: (usize, Micros),
    pub(crate) periods: &'a Periods,
    pub(crate) grain: Grain,
}

impl Past for ReadPast<'_> {
    fn value(&self, back: usize) -> Option<f64> {
        Some((*self.values.get(self.of.0.checked_sub(back)?)?)?.value)
    }

    fn moved(&self, back: usize) -> usize {
        match self.grain {
            Grain::Hour => moved(self.periods, self.of.1, back),
            _ => back,
        }
    }
}

/// A model that has learned the points before a bucket.
pub(crate) struct Replay<'a> {
    shape: Shape,
    periods: &'a Periods,
    grain: Grain,
    /// The points that are not read yet.
    points: &'a [(Micros, CellValue)],
    /// What is before is read, and not learned.
    from: Micros,
    /// The bucket that is next.
    pub(crate) at: Micros,
    values: Vec<Option<Observed>>,
    pub(crate) learner: Learner,
}

impl<'a> Replay<'a> {
    /// One that has learned enough when it comes to `earliest`; `None` without points, or where periods are longer than
    /// days.
    pub(crate) fn new(
        shape: Shape,
        (periods, grain): (&'a Periods, Grain),
        points: &'a [(Micros, CellValue)],
        earliest: Micros,
    ) -> Option<Replay<'a>> {
        step(grain)?;
        let first = points.first()?.0;
        let from = periods.later(grain, earliest, -catch_up(grain)).max(first);
        let at = periods.later(grain, from, -LOOK_BACK).max(first);
        let (values, learner) = (Vec::new(), Learner::new());
        Some(Replay { shape, periods, grain, points, from, at, values, learner })
    }

    /// Learns the next bucket; what it says, though it was planned.
    pub(crate) fn step(&mut self) -> Option<Observed> {
        let at = self.at;
        let skipped = self.points.iter().take_while(|(own, _)| *own < at).count();
        self.points = self.points.get(skipped..).unwrap_or_default();
        let cell = self.points.first().filter(|(own, _)| *own == at).map(|(_, cell)| *cell);
        let observed = self.shape.observe(cell);
        let is_planned = self.periods.planned(self.grain, at).is_some();
        let lesson = observed.filter(|_| !is_planned);
        self.values.push(lesson);
        self.at = self.periods.later(self.grain, at, 1);
        if at >= self.from {
            let places = (self.place(at), self.place(self.at));
            let Replay { periods, grain, values, learner, .. } = self;
            let past = ReadPast { values, of: (values.len(), self.at), periods, grain: *grain };
            learner.learn(self.shape, lesson, places, &past);
        }
        observed
    }

    /// What is expected of the next bucket.
    pub(crate) fn outlook(&self) -> Option<Outlook> {
        self.learner.outlook(self.shape, self.place(self.at))
    }

    /// What is expected of the bucket so many after it.
    pub(crate) fn ahead(&self, buckets: usize) -> Option<Outlook> {
        if buckets == 0 {
            return self.outlook();
        }
        let start = self.periods.later(self.grain, self.at, i64::try_from(buckets).ok()?);
        let Replay { periods, grain, values, .. } = self;
        let of = (values.len() + buckets, start);
        let past = ReadPast { values, of, periods, grain: *grain };
        self.learner.outlook_ahead(self.shape, self.place(start), &past)
    }

    fn place(&self, start: Micros) -> Place {
        Place::of(self.periods, self.grain, start)
    }
}

/// The regression that a text is; none where that was made by another release.
pub(crate) fn in_force(model: Option<&str>) -> Option<Arc<Trained>> {
    model.and_then(Trained::parse).map(Arc::new)
}

/// What was expected of each of `wanted` (ascending), from the points of one series before it, with the model that is
/// in force for it.
pub(crate) fn replay(
    shape: Shape,
    periods: &Periods,
    of: &KnownSeries<'_>,
    wanted: &[Micros],
) -> Vec<Option<Outlook>> {
    let mut out = vec![None; wanted.len()];
    let Some(earliest) = wanted.first() else { return out };
    let replay = Replay::new(shape, (periods, of.grain), of.points, *earliest);
    let Some(mut replay) = replay else { return out };
    replay.learner.put_in_force(in_force(of.model));
    for (slot, start) in out.iter_mut().zip(wanted) {
        while replay.at < *start {
            replay.step();
        }
        // One from before all points has no past.
        if replay.at == *start {
            *slot = replay.outlook();
        }
    }
    out
}
