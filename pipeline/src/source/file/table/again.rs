//! Rows of spans that were read before, from files that still have that content.

use std::path::PathBuf;
use std::time::Instant;

use schemas::Span;

use super::{Rows, TableFiles, push};
use crate::record::RawBatch;
use crate::source::file::walk::unreadable;
use crate::source::{Reread, SourceError, Step, reread};

/// Rows between two looks at the clock.
const ROWS: i64 = 1024;

/// Spans that are read again, one after the other.
pub(super) struct Again<'a> {
    files: &'a TableFiles,
    spans: &'a [Span],
    batches: Vec<RawBatch>,
    /// The file of the span that is being read, its rows from the next one on, and that one's offset.
    open: Option<(PathBuf, Box<dyn Rows>, i64)>,
}

impl<'a> Again<'a> {
    pub(super) fn new(files: &'a TableFiles, spans: &'a [Span]) -> Again<'a> {
        Again { files, spans, batches: spans.iter().map(RawBatch::of_span).collect(), open: None }
    }

    /// Reads on in the first of `spans`, into its batch. Whether it is whole.
    fn read(&mut self, at: usize, until: Instant) -> Result<bool, SourceError> {
        let (Some(span), Some(batch)) = (self.spans.get(at), self.batches.get_mut(at)) else {
            return Ok(true);
        };
        let (path, mut rows, from) = match self.open.take() {
            Some(open) => open,
            None => {
                let (path, rows) = self.files.content(span)?;
                (path, rows, span.from)
            }
        };
        for offset in from..span.to {
            let row = rows.next().map_err(|e| unreadable(&path, e))?.ok_or_else(|| {
                let reason = format!("`{}` ends at row {offset}", path.display());
                SourceError::Lost { span: Box::new(span.clone()), reason }
            })?;
            push(batch, offset, &row);
            if offset % ROWS == 0 && Instant::now() >= until {
                self.open = Some((path, rows, offset + 1));
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Reread for Again<'_> {
    fn step(&mut self, until: Instant) -> Result<Step, SourceError> {
        let unread = |(span, batch): (&Span, &RawBatch)| {
            batch.span().map_or(span.from, |(_, next)| next) < span.to
        };
        while let Some(at) = self.spans.iter().zip(&self.batches).position(unread) {
            if !self.read(at, until)? {
                return Ok(Step::Partly(reread::count(&self.batches)));
            }
        }
        Ok(Step::Whole(std::mem::take(&mut self.batches)))
    }
}
