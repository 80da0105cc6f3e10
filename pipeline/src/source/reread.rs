//! Reading spans again, a step at a time: what was read is kept between steps, so that a slow link or a
//! broker that is away for a while costs waiting and nothing else.

use std::time::Instant;

use super::SourceError;
use crate::record::RawBatch;

/// Spans of a source that are being read again.
pub trait Reread {
    /// Reads on until everything is there or `until` has passed.
    ///
    /// # Errors
    /// [`SourceError::Lost`] when records of a span are gone; [`SourceError::Unreachable`] when nothing
    /// came before `until` although more is owed. What was read before is kept: the next step goes on.
    fn step(&mut self, until: Instant) -> Result<Step, SourceError>;
}

/// How far the reading is after a step.
#[derive(Debug)]
pub enum Step {
    /// Everything: one batch per span, in their order, an empty one for an empty span.
    Whole(Vec<RawBatch>),
    /// So many records so far.
    Partly(usize),
}

/// The records of these batches.
pub(super) fn count(batches: &[RawBatch]) -> usize {
    batches.iter().map(RawBatch::len).sum()
}

/// Takes steps until everything is read, or until `deadline`.
///
/// # Errors
/// Those of [`Reread::step`]; [`SourceError::Unreachable`] is given at the deadline only.
pub(super) fn read_until(
    reading: &mut dyn Reread,
    name: &str,
    deadline: Instant,
) -> Result<Vec<RawBatch>, SourceError> {
    loop {
        let unread = match reading.step(deadline) {
            Ok(Step::Whole(batches)) => return Ok(batches),
            Ok(Step::Partly(records)) => SourceError::Unreachable {
                name: name.to_owned(),
                action: "reading records again",
                reason: format!("{records} records were read"),
            },
            Err(unread @ SourceError::Unreachable { .. }) => unread,
            Err(other) => return Err(other),
        };
        if Instant::now() >= deadline {
            return Err(unread);
        }
    }
}

/// Reads spans of a source again before `deadline`.
#[cfg(test)]
pub(super) fn read_again(
    source: &mut dyn super::Source,
    spans: &[schemas::Span],
    deadline: Instant,
) -> Result<Vec<RawBatch>, SourceError> {
    let name = source.name().to_owned();
    read_until(&mut *source.reread(spans)?, &name, deadline)
}
