//! Rows of what is alive at the end of a period: each comes on one day and goes on another.
//!
//! # Guarantees
//! - A row is alive at the end of a period when it came before that, and goes at it, later, or never. One that goes
//!   before it comes never is, and counts as having come.
//! - A row takes out exactly what it brought, whatever the new row says.

use schemas::{Grain, Micros};

use super::{Fold, NEW, OLD, Taken};
use crate::cube::Step;
use crate::engine::EngineError;
use crate::slabs::CellId;

/// What a change does to the days of series.
type Steps = Vec<(u32, Micros, Step)>;

impl Fold<'_> {
    /// A change of a row that is alive up to the instant in the column `until`.
    pub(super) fn change_alive(
        &mut self,
        until: usize,
        [old, new]: [Option<Taken<'_>>; 2],
    ) -> Result<(), EngineError> {
        let mut steps = Steps::new();
        let mut result = Ok(());
        for (row, comes) in [(old, false), (new, true)] {
            let Some(row) = row else { continue };
            result = result.and(self.steps(until, row, comes, &mut steps));
        }
        let noted = self.noted();
        for (series, day, step) in steps {
            self.cube.take_step(series, day, &step, noted);
        }
        result
    }

    /// What a row that comes, or leaves, does to the day on which it comes and to that on which it goes.
    fn steps(
        &mut self,
        until: usize,
        row: Taken<'_>,
        comes: bool,
        steps: &mut Steps,
    ) -> Result<(), EngineError> {
        let side = if comes { NEW } else { OLD };
        self.weigh(side, row);
        let place = self.place(side, row)?;
        let (series, [_, from]) = (place.series, place.starts);
        let entered = self.view.count + usize::from(!row.is_counted);
        if !comes && !self.cube.has_come(series, from, entered) {
            return Err(self.never_entered(CellId { series, grain: Grain::Day, start: from }));
        }
        let sign = if comes { 1 } else { -1 };
        let doubt = sign * i64::from(row.row.is_in_doubt());
        let step = self.step_at(steps, series, from);
        step.counts[self.view.count] += sign * i64::from(row.is_counted);
        self.add(step, side, comes, doubt);
        let Some(ended) = row.row.timestamp(until) else { return Ok(()) };
        let ended =
            self.scratch.day.start(&self.cube.slabs.series(series).periods, ended).max(from);
        let step = self.step_at(steps, series, ended);
        self.add(step, side, !comes, -doubt);
        Ok(())
    }

    /// Adds what of the row of a side is alive, or takes it away.
    fn add(&self, step: &mut Step, side: usize, comes: bool, doubt: i64) {
        step.counts[self.view.count + 1] += doubt;
        for ((_, sum), amount) in self.view.sums.iter().zip(&self.scratch.sides[side].amounts) {
            if comes { step.sums[*sum].add(*amount) } else { step.sums[*sum].subtract(*amount) }
        }
    }

    fn step_at<'a>(&self, steps: &'a mut Steps, series: u32, day: Micros) -> &'a mut Step {
        let found = steps.iter().position(|(own, at, _)| (*own, *at) == (series, day));
        let at = found.unwrap_or(steps.len());
        if found.is_none() {
            steps.push((series, day, self.cube.no_step()));
        }
        &mut steps[at].2
    }
}
