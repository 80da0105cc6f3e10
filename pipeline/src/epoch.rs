//! Cutting: what makes an epoch of the records that a poll brought. Pure.
//!
//! # Guarantees
//! - Clocks ascend strictly, whatever the wall clock does.
//! - Records are in (source, topic, partition, offset) order before anything looks at them.
//! - Which origins are quiet in an epoch is decided here, once: a row is quiet if its origin is.

use std::collections::BTreeSet;
use std::sync::Arc;

use schemas::{EpochStamp, Micros, Span};
use xxhash_rust::xxh3::Xxh3;

use crate::decode::{ChangeBatch, ChangeKind, NO_ORIGIN};
use crate::record::{QuietRows, RawBatch};
use crate::source::is_control;

/// A record that is older than this is part of a backlog: its origin is quiet.
const BACKLOG_US: i64 = 60_000_000;

/// Brings the batches of one epoch into the order in which they are processed.
pub fn sort(batches: &mut Vec<RawBatch>) {
    batches.retain(|batch| !batch.is_empty());
    batches.sort_by(|a, b| a.topic().cmp(b.topic()));
}

/// The stamp of the epoch after `last`, or of the first when there is none, at `now`. `quiet` says whether any
/// row of it is.
pub fn stamp(last: Option<EpochStamp>, now: Micros, quiet: bool) -> EpochStamp {
    let clock = last.map_or(now, |last| now.max(last.clock.plus(1)));
    EpochStamp { id: last.map_or(1, |last| last.id + 1), clock, quiet }
}

/// The stamp of a tick after `last`: a clock without records.
pub fn tick(last: Option<EpochStamp>, now: Micros) -> EpochStamp {
    stamp(last, now, false)
}

/// Decides which origins are quiet in the epoch that these records become, when the machine's clock says
/// `wall`, and marks their rows: those with a snapshot row or a record of a backlog in it. Gives them.
pub fn hush(
    batches: &mut [RawBatch],
    changes: &mut [ChangeBatch],
    wall: Micros,
) -> BTreeSet<Arc<str>> {
    let mut quiet = BTreeSet::new();
    for (batch, changes) in batches.iter().zip(changes.iter()) {
        if is_backlog(batch, wall) || changes.iter().any(|own| own.change.position.snapshot) {
            let is_old = |at: usize| {
                let timestamp = batch.get(at).and_then(|record| record.timestamp);
                timestamp.is_none_or(|at| is_old(at, wall))
            };
            add_origins(batch, changes, |at, is_snapshot| is_snapshot || is_old(at), &mut quiet);
        }
    }
    mark(batches, changes, &quiet);
    quiet
}

/// Marks the rows of origins that are quiet in this epoch, as was recorded.
pub fn mark(batches: &mut [RawBatch], changes: &mut [ChangeBatch], quiet: &BTreeSet<Arc<str>>) {
    for (batch, changes) in batches.iter_mut().zip(changes) {
        let topic = quiet.contains(&batch.topic().topic);
        if quiet.is_empty() || is_control(batch.topic()) || !(changes.hush(quiet) || topic) {
            continue;
        }
        let mut rows = QuietRows::default();
        for (at, (origin, _)) in places(batch, changes).into_iter().enumerate() {
            rows.push(at, if origin == NO_ORIGIN { topic } else { changes.is_quiet(origin) });
        }
        batch.set_quiet(rows);
    }
}

/// Tells changes which of their origins are quiet, by the rows of their batches, which were marked before.
pub fn recall(batches: &[RawBatch], changes: &mut [ChangeBatch]) {
    let mut quiet = BTreeSet::new();
    for (batch, changes) in batches.iter().zip(changes.iter()).filter(|(own, _)| own.quiet().any())
    {
        add_origins(batch, changes, |at, _| batch.quiet().has(at), &mut quiet);
    }
    if !quiet.is_empty() {
        for changes in changes {
            changes.hush(&quiet);
        }
    }
}

/// Whether a batch of events has a record of a backlog; how long ago somebody decided something says
/// nothing of them. Records without a timestamp are a backlog
/// too: nothing says that they are new. How old they are is a matter of the machine's clock: the lake's
/// time may be ahead of it.
fn is_backlog(batch: &RawBatch, wall: Micros) -> bool {
    !is_control(batch.topic()) && batch.oldest().is_some_and(|oldest| is_old(oldest, wall))
}

fn is_old(at: Micros, wall: Micros) -> bool {
    at.plus(BACKLOG_US) < wall
}

/// Adds the origins of the records that are `chosen`, by their place and by whether they are snapshot rows.
fn add_origins(
    batch: &RawBatch,
    changes: &ChangeBatch,
    chosen: impl Fn(usize, bool) -> bool,
    to: &mut BTreeSet<Arc<str>>,
) {
    let places = places(batch, changes).into_iter().enumerate();
    let chosen = places.filter(|(at, (_, is_snapshot))| chosen(*at, *is_snapshot));
    let numbers: BTreeSet<u32> = chosen.map(|(_, (origin, _))| origin).collect();
    for number in numbers {
        let named = usize::try_from(number).ok().and_then(|at| changes.origins().get(at));
        to.insert(Arc::clone(named.unwrap_or(&batch.topic().topic)));
    }
}

/// For each record the number of its origin, and whether it is a snapshot row. A record that names no table is
/// of its topic: a null value, and what cannot be read so far.
fn places(batch: &RawBatch, changes: &ChangeBatch) -> Vec<(u32, bool)> {
    let mut places = vec![(NO_ORIGIN, false); batch.len()];
    for change in changes.iter().map(|own| own.change) {
        if let Some(place) = places.get_mut(change.record) {
            let is_named = change.kind != ChangeKind::Tombstone;
            let origin = if is_named { change.origin } else { NO_ORIGIN };
            *place = (origin, change.position.snapshot);
        }
    }
    places
}

/// The hash by which a re-read of the same spans is recognised, in hexadecimal.
pub fn hash(batches: &[RawBatch]) -> String {
    let mut hash = Xxh3::new();
    for batch in batches {
        batch.hash_into(&mut hash);
    }
    format!("{:032x}", hash.digest128())
}

/// The spans that the batches cover.
pub fn spans(batches: &[RawBatch]) -> Vec<Span> {
    let span = |batch: &RawBatch| {
        let (from, to) = batch.span()?;
        let of = batch.topic();
        Some(Span {
            source: of.source.to_string(),
            topic: of.topic.to_string(),
            incarnation: of.incarnation.to_string(),
            partition: of.partition,
            from,
            to,
        })
    };
    batches.iter().filter_map(span).collect()
}

#[cfg(test)]
mod tests;
