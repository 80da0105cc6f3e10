//! Which of two changes of one row is the later, by the rules alone.

use std::cmp::Ordering;

use schemas::{Place, Position};

/// The later change of one row is the greater.
pub(super) fn order(a: &Position, b: &Position) -> Ordering {
    if a.incarnation != b.incarnation {
        return a.incarnation.cmp(&b.incarnation);
    }
    let by_source = match (a.place, b.place) {
        (Some(Place::Log { log: x, at: i }), Some(Place::Log { log: y, at: j })) => {
            if x == y && x != Place::UNNAMED { i.cmp(&j) } else { Ordering::Equal }
        }
        (Some(Place::Wal { .. }), Some(Place::Wal { .. })) => postgres(a, b),
        _ => Ordering::Equal,
    };
    by_source.then_with(|| by_record(a, b))
}

/// Two places of PostgreSQL's log.
fn postgres(a: &Position, b: &Position) -> Ordering {
    let ((a_commit, a_lsn), (b_commit, b_lsn)) = (wal(a), wal(b));
    // The log had come at least as far when the change was sent.
    let (a_far, b_far) = (a_lsn.max(a_commit.unwrap_or(0)), b_lsn.max(b_commit.unwrap_or(0)));
    match (a.snapshot, b.snapshot) {
        (true, true) => a_far.cmp(&b_far),
        (false, false) => match (a_commit, b_commit) {
            (Some(x), Some(y)) => (x, a_lsn).cmp(&(y, b_lsn)),
            _ => (a.source_ms, a_lsn).cmp(&(b.source_ms, b_lsn)),
        },
        (false, true) if a_far >= b_far => Ordering::Greater,
        (true, false) if b_far >= a_far => Ordering::Less,
        // Written before the snapshot: whether it was committed before it too, only Kafka's order says.
        // Elsewhere the clock of the source says it.
        (false, true) if !beside(a, b) => {
            if b.source_ms > 0 && a.source_ms > b.source_ms {
                Ordering::Greater
            } else {
                Ordering::Less
            }
        }
        (true, false) if !beside(a, b) => {
            if a.source_ms > 0 && b.source_ms > a.source_ms {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        }
        // The row says how far commits had been streamed when it was read.
        (false, true)
            if b_commit.is_some_and(|last| a_commit.unwrap_or(a_lsn).max(a_lsn) < last) =>
        {
            Ordering::Less
        }
        (true, false)
            if a_commit.is_some_and(|last| b_commit.unwrap_or(b_lsn).max(b_lsn) < last) =>
        {
            Ordering::Greater
        }
        _ => a.offset.cmp(&b.offset),
    }
}

fn wal(at: &Position) -> (Option<u64>, u64) {
    match at.place {
        Some(Place::Wal { commit, lsn }) => (commit, lsn),
        _ => (None, 0),
    }
}

fn beside(a: &Position, b: &Position) -> bool {
    (a.topic, a.partition) == (b.topic, b.partition)
}

fn by_record(a: &Position, b: &Position) -> Ordering {
    if beside(a, b) {
        return a.offset.cmp(&b.offset);
    }
    let known = a.source_ms != 0 && b.source_ms != 0;
    let clock = if known { a.source_ms.cmp(&b.source_ms) } else { Ordering::Equal };
    let topic = if known { Ordering::Equal } else { a.topic.cmp(&b.topic) };
    let rest = |at: &Position| (!at.snapshot, at.topic, at.partition, at.offset);
    clock.then(topic).then_with(|| rest(a).cmp(&rest(b)))
}

/// A change that was sent again.
pub(super) fn is_again(held: &Position, came: &Position) -> bool {
    let one = |at: &Position| (at.incarnation, at.place, at.snapshot);
    held == came || (came.place.is_some() && one(held) == one(came))
}

/// A lower position at a later time of the source's own clock: failover or restore.
pub(super) fn source_went_back(held: &Position, came: &Position) -> bool {
    let lower = match (held.place, came.place) {
        (Some(Place::Log { log: x, at }), Some(Place::Log { log: y, at: then })) => {
            x == y && x != Place::UNNAMED && then < at
        }
        (Some(Place::Wal { .. }), Some(Place::Wal { .. })) => {
            let ((own, lsn), (other, came_lsn)) = (wal(held), wal(came));
            match (held.snapshot, came.snapshot) {
                (_, true) => came_lsn < lsn,
                (true, false) => false,
                (false, false) => matches!((own, other), (Some(own), Some(other)) if other < own),
            }
        }
        _ => false,
    };
    // A snapshot's row without a clock came before one of a later snapshot in the same partition.
    let is_next = beside(held, came) && held.snapshot && came.snapshot && held.offset < came.offset;
    let later = match held.source_ms {
        0 => came.source_ms > 0 && is_next,
        own => came.source_ms > own,
    };
    lower && later && held.incarnation == came.incarnation
}

/// Whether one log or one partition says which of two comes first.
pub(super) fn is_ordered(a: &Position, b: &Position) -> bool {
    let one_log = match (a.place, b.place) {
        (Some(Place::Log { log: x, .. }), Some(Place::Log { log: y, .. })) => {
            x == y && x != Place::UNNAMED
        }
        (Some(Place::Wal { .. }), Some(Place::Wal { .. })) => true,
        _ => false,
    };
    one_log || (a.topic, a.partition) == (b.topic, b.partition)
}

/// Whether a row of a snapshot of PostgreSQL was read when a live change of before it in the log had been committed.
pub(super) fn has_seen(row: &Position, live: &Position) -> bool {
    live.source_ms != 0 && live.source_ms < row.source_ms && has_seen_truncate(row, live)
}

/// The same of a truncate, which nothing else is open beside.
pub(super) fn has_seen_truncate(row: &Position, live: &Position) -> bool {
    let ((own, at), (before, lsn)) = (wal(row), wal(live));
    let is_wal = |at: &Position| matches!(at.place, Some(Place::Wal { .. }));
    let is_below = lsn.max(before.unwrap_or(0)) < at.max(own.unwrap_or(0));
    let is_of = is_wal(row) && is_wal(live) && row.incarnation == live.incarnation;
    is_of && row.snapshot && !live.snapshot && is_below
}

/// Whether a row is known to be later than a change of a key, which is then not of this row.
pub(super) fn is_behind(row: &Position, change: &Position) -> bool {
    is_ordered(row, change) && order(row, change) == Ordering::Greater
}
