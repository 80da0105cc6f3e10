//! The ledger's tail: recorded epochs that bronze does not hold, read again from their sources.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pipeline::epoch;
use pipeline::ledger::Entry;
use pipeline::record::{RawBatch, TopicPartition};
use pipeline::source::{LastRecord, Progress, Reached, Source, SourceError, Step, last_of};
use schemas::{Span, chain};

use crate::run::stop::Stop;

/// One step of reading; steps go on until the run is to stop.
const STEP: Duration = Duration::from_millis(500);

/// Between two words on how far the reading is.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// How long a batch run waits for a source that brings nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// What became of the tail.
#[derive(Debug)]
pub(crate) enum Tail {
    /// Every entry with the records it was made of.
    Same(Vec<(Entry, Vec<RawBatch>)>),
    /// The records are gone or others: why.
    Other(String),
    /// A batch run does not wait for a source: why it brings nothing.
    Unreachable(String),
    /// The run is to stop.
    Stopped,
}

/// Reads the records of `tail` again and compares their hashes. A source that brings nothing is waited
/// for, unless this is a batch run.
pub(crate) fn reread<'a>(
    tail: Vec<Entry>,
    sources: impl Iterator<Item = &'a mut dyn Source>,
    stop: &Stop,
    is_batch: bool,
) -> Tail {
    let mut records: BTreeMap<PartitionKey, RawBatch> = BTreeMap::new();
    for source in sources {
        let wanted = merged(&tail, source.name());
        if wanted.is_empty() {
            continue;
        }
        match reread_source(source, &wanted, stop, is_batch) {
            Ok(batches) => {
                let batches = batches.into_iter().zip(&wanted);
                records.extend(batches.map(|(batch, span)| (key(span), batch)));
            }
            Err(tail) => return tail,
        }
    }
    let mut epochs = Vec::new();
    for entry in tail {
        let mut batches = Vec::new();
        for span in &entry.spans {
            let Some(rest) = records.remove(&key(span)) else {
                return Tail::Other(format!("source `{}` is no longer configured", span.source));
            };
            let (taken, rest) = split(rest, span.to);
            batches.push(taken);
            records.insert(key(span), rest);
        }
        epoch::sort(&mut batches);
        if !entry.spans.is_empty() && epoch::hash(&batches) != entry.hash {
            let epoch = entry.epoch;
            return Tail::Other(format!("the records of epoch {epoch} are not those recorded"));
        }
        epochs.push((entry, batches));
    }
    Tail::Same(epochs)
}

/// Where each partition goes on: after bronze and the tail. `lasts` are the last records of bronze.
pub(crate) fn progress(
    held: &BTreeMap<TopicPartition, i64>,
    lasts: &BTreeMap<TopicPartition, LastRecord>,
    tail: &[(Entry, Vec<RawBatch>)],
) -> Progress {
    let at = |of: &TopicPartition, next| Reached { next, last: lasts.get(of).copied() };
    let held = held.iter().map(|(of, next)| (of.clone(), at(of, *next)));
    let mut progress: Progress = held.collect();
    for batch in tail.iter().flat_map(|(_, batches)| batches) {
        if let Some((_, next)) = batch.span() {
            progress.insert(batch.topic().as_ref().clone(), Reached { next, last: last_of(batch) });
        }
    }
    progress
}

type PartitionKey = (String, String, String, i32);

fn key(span: &Span) -> PartitionKey {
    (span.source.clone(), span.topic.clone(), span.incarnation.clone(), span.partition)
}

/// The tail's spans of one source, those of a partition joined.
fn merged(tail: &[Entry], source: &str) -> Vec<Span> {
    let mut spans: BTreeMap<PartitionKey, Span> = BTreeMap::new();
    for span in tail.iter().flat_map(|entry| &entry.spans).filter(|span| span.source == source) {
        spans.entry(key(span)).and_modify(|joined| joined.to = span.to).or_insert(span.clone());
    }
    spans.into_values().collect()
}

fn reread_source(
    source: &mut dyn Source,
    wanted: &[Span],
    stop: &Stop,
    is_batch: bool,
) -> Result<Vec<RawBatch>, Tail> {
    let name = source.name().to_owned();
    let owed: i64 = wanted.iter().map(|span| span.to - span.from).sum();
    let other = |error: SourceError| Tail::Other(chain(&error));
    let mut reading = source.reread(wanted).map_err(other)?;
    let (mut said, mut heard) = (Instant::now(), Instant::now());
    let mut records = 0;
    loop {
        if stop.is_asked() {
            return Err(Tail::Stopped);
        }
        let until = Instant::now() + STEP;
        let silence = match reading.step(until) {
            Ok(Step::Whole(batches)) => return Ok(batches),
            Ok(Step::Partly(read)) => {
                (records, heard) = (read, Instant::now());
                None
            }
            Err(error @ SourceError::Unreachable { .. })
                if is_batch && heard.elapsed() >= PATIENCE =>
            {
                return Err(Tail::Unreachable(chain(&error)));
            }
            Err(SourceError::Unreachable { reason, .. }) => {
                // A broker that refuses does so at once.
                std::thread::sleep(until.saturating_duration_since(Instant::now()));
                Some(reason)
            }
            Err(error) => return Err(other(error)),
        };
        if said.elapsed() < SAY_EVERY {
            continue;
        }
        said = Instant::now();
        match silence {
            None => tracing::info!(
                "reading {owed} offsets of source `{name}` again to recover: {records} records are here"
            ),
            Some(reason) => tracing::warn!(
                "source `{name}` is needed to recover and does not answer ({reason}); waiting, with {records} \
                 records of {owed} offsets read"
            ),
        }
    }
}

fn split(mut batch: RawBatch, to: i64) -> (RawBatch, RawBatch) {
    let at = batch.iter().position(|record| record.offset >= to).unwrap_or(batch.len());
    let rest = batch.split_off(at);
    (batch, rest)
}
