//! Rows of what overlaps periods: each is of the days from the one on which it starts to the one on which it ends.
//!
//! # Guarantees
//! - What is spread over the days of a row adds up to it: each day has the quotient, its digits behind the tenth cut
//!   off, and the last one the rest as well.
//! - A row takes out exactly what it brought, whatever the new row says.

use schemas::Grain;

use super::{Fold, NEW, OLD, Taken};
use crate::cube::{Share, Span};
use crate::engine::EngineError;
use crate::slabs::CellId;

impl Fold<'_> {
    /// A change of a row that counts up to the instant in the column `until`.
    pub(super) fn change_overlap(
        &mut self,
        until: usize,
        [old, new]: [Option<Taken<'_>>; 2],
    ) -> Result<(), EngineError> {
        let (noted, mut result) = (self.noted(), Ok(()));
        for (row, comes) in [(old, false), (new, true)] {
            let Some(row) = row else { continue };
            match self.share(until, row, comes) {
                Ok(None) => {}
                Ok(Some((span, share))) => self.cube.take_share(span, &share, noted),
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }

    /// What a row that comes brings, or one that leaves takes away, and to which days.
    fn share(
        &mut self,
        until: usize,
        row: Taken<'_>,
        comes: bool,
    ) -> Result<Option<(Span, Share)>, EngineError> {
        let Some(until) = row.row.timestamp(until) else { return Ok(None) };
        let series = self.place(if comes { NEW } else { OLD }, row)?.series;
        let Some(span) = self.cube.span(series, row.at, until) else { return Ok(None) };
        let entered = self.view.count + usize::from(!row.is_counted);
        if !comes && !self.cube.has_span(span, entered) {
            let start = self.cube.periods(series).midnight(span.first);
            return Err(self.never_entered(CellId { series, grain: Grain::Day, start }));
        }
        let mut share = self.cube.no_share();
        let sign: i64 = if comes { 1 } else { -1 };
        share.whole.counts[self.view.count] = sign * i64::from(row.is_counted);
        share.whole.counts[self.view.count + 1] = sign * i64::from(row.row.is_in_doubt());
        for (summed, sum) in &self.view.sums {
            share.whole.sums[*sum].add_times(row.amount(summed), sign);
        }
        for (summed, sum) in &self.view.allocated {
            let (amount, days) = (row.amount(summed), span.days());
            share.daily[*sum].add_times(amount / days, sign);
            share.rests[*sum].add_times(amount % days, sign);
        }
        Ok(Some((span, share)))
    }
}
