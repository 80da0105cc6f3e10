//! Lines of spans that were read before, found by walking the files from their beginning.

use std::time::Instant;

use schemas::Span;

use super::walk::Walk;
use super::{push, read_line};
use crate::record::RawBatch;
use crate::source::{FileConfig, Reread, SourceError, Step, reread};

/// Lines between two looks at the clock.
const LINES: u64 = 1024;

/// A walk that looks for the lines of spans.
pub(super) struct Again<'a> {
    config: &'a FileConfig,
    spans: &'a [Span],
    walk: Walk,
    batches: Vec<RawBatch>,
    /// The offset after the last line seen of each span's partition.
    seen: Vec<i64>,
}

impl<'a> Again<'a> {
    pub(super) fn new(
        config: &'a FileConfig,
        synced: bool,
        spans: &'a [Span],
    ) -> Result<Again<'a>, SourceError> {
        let mut walk = Walk::new(&config.path, synced)?;
        walk.fix_end()?;
        let batches = spans.iter().map(RawBatch::of_span).collect();
        Ok(Again { config, spans, walk, batches, seen: vec![0; spans.len()] })
    }

    fn is_whole(&self) -> bool {
        self.spans.iter().zip(&self.seen).all(|(span, seen)| *seen >= span.to)
    }

    /// Takes what spans want of the line that the walk stands at; false where there is none.
    fn take_line(&mut self) -> bool {
        let plain = self.config.contract.is_some();
        let Some((text, input)) = self.walk.line() else { return false };
        let line = read_line(text, input, plain);
        let read = self.batches.iter_mut().zip(&mut self.seen);
        for (span, (batch, seen)) in self.spans.iter().zip(read) {
            if span.partition == line.partition && *span.topic == *line.topic {
                *seen = line.offset.saturating_add(1).max(*seen);
                if (span.from..span.to).contains(&line.offset) {
                    push(batch, &line);
                }
            }
        }
        true
    }

    /// What is asked for lies behind the end of the files.
    fn missing(&self) -> Option<SourceError> {
        let owed = |(span, seen): (&Span, &i64)| *seen < span.to && span.from < span.to;
        let (span, seen) = self.spans.iter().zip(&self.seen).find(|pair| owed(*pair))?;
        let reason = format!(
            "the files in `{}` end at offset {seen}; put back the file that is missing",
            self.config.path.display()
        );
        Some(SourceError::Lost { span: Box::new(span.clone()), reason })
    }
}

impl Reread for Again<'_> {
    fn step(&mut self, until: Instant) -> Result<Step, SourceError> {
        let mut lines = 0_u64;
        while !self.is_whole() && self.walk.advance()? {
            if !self.take_line() {
                break;
            }
            lines += 1;
            if lines.is_multiple_of(LINES) && Instant::now() >= until {
                return Ok(Step::Partly(reread::count(&self.batches)));
            }
        }
        match self.missing() {
            Some(lost) => Err(lost),
            None => Ok(Step::Whole(std::mem::take(&mut self.batches))),
        }
    }
}
