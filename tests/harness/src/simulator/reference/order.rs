//! Which of two changes of one key is the later one.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::Defect;
use super::decode::{Act, Part, Place};
use crate::simulator::Kind;

/// A change of a key, where it was read, and where it stands in the source.
#[derive(Debug, Clone, Default)]
pub(super) struct Item {
    pub(super) part: Part,
    pub(super) offset: i64,
    /// When it was read: the number of the record.
    pub(super) read: i64,
    /// The source's clock: of the commit, or of the snapshot; where one log tells when, the place in it.
    pub(super) ms: i128,
    pub(super) clock_ms: i128,
    pub(super) place: Option<Place>,
    /// Of a snapshot, incremental or not.
    pub(super) is_snapshot: bool,
    /// The number of its snapshot.
    pub(super) run: Option<usize>,
    pub(super) act: Act,
    /// It has no amount, and its table had one before.
    pub(super) lacks_amount: bool,
}

/// A snapshot.
#[derive(Debug, Clone, Default)]
pub(super) struct Run {
    pub(super) place: Option<Place>,
    pub(super) ms: i128,
    pub(super) clock_ms: i128,
    pub(super) is_complete: bool,
    /// The offset of its first row in each partition.
    pub(super) first: BTreeMap<Part, i64>,
}

impl Run {
    /// Whether a change was sent behind its first row.
    pub(super) fn is_behind(&self, item: &Item) -> bool {
        let first = self.first.get(&item.part);
        first.map_or(self.clock_ms <= item.clock_ms, |first| *first <= item.offset)
    }

    /// What it says of a key that it lacks.
    pub(super) fn missing(&self, number: usize) -> Item {
        Item {
            ms: self.ms,
            clock_ms: self.clock_ms,
            place: self.place,
            is_snapshot: true,
            run: Some(number),
            act: Act::Missing,
            ..Item::default()
        }
    }
}

/// The order of two live changes of a key.
pub(super) fn live_order(kind: Kind, a: &Item, b: &Item) -> Ordering {
    let by_place = match (a.place, b.place) {
        (Some(a), Some(b)) if a.timeline != b.timeline => a.timeline.cmp(&b.timeline),
        (Some(a), Some(b)) if kind == Kind::Postgres => a.row.cmp(&b.row),
        (Some(a), Some(b)) if a.server == b.server => (a.commit, a.row).cmp(&(b.commit, b.row)),
        (Some(_), Some(_)) => a.ms.cmp(&b.ms),
        _ => Ordering::Equal,
    };
    by_place.then_with(|| (&a.part, a.offset).cmp(&(&b.part, b.offset)))
}

/// As if places of all servers were of one log.
pub(super) fn any_server(a: &Item, b: &Item) -> Ordering {
    let place = |item: &Item| item.place.map(|place| (place.commit, place.row));
    place(a).cmp(&place(b)).then_with(|| (&a.part, a.offset).cmp(&(&b.part, b.offset)))
}

/// Whether a live change was committed when a snapshot was taken. `run` is the snapshot where what it
/// lacks is asked, so that no row of it stands in a partition of its own.
pub(super) fn is_before(
    kind: Kind,
    live: &Item,
    snapshot: &Item,
    run: Option<&Run>,
    defect: Option<Defect>,
) -> bool {
    let (Some(place), Some(at)) = (live.place, snapshot.place) else {
        return (&live.part, live.offset) < (&snapshot.part, snapshot.offset);
    };
    if place.timeline != at.timeline {
        return place.timeline < at.timeline;
    }
    if defect == Some(Defect::ClocksAlone) {
        return live.ms <= snapshot.ms;
    }
    if defect == Some(Defect::PlacesAlone) {
        return place.row <= at.row;
    }
    let is_any = defect == Some(Defect::AnyServer);
    if kind != Kind::Postgres && (place.server == at.server || is_any) {
        return place.commit <= at.commit;
    }
    if kind == Kind::Postgres {
        // It was written, or the one before it was committed, when the snapshot had been taken.
        if place.row > at.row || place.commit >= at.commit {
            return false;
        }
        // A truncate locks the table: it is not open while a snapshot is taken.
        if matches!(live.act, Act::Truncate) {
            return true;
        }
    }
    // It was the first to be committed after the snapshot, or before: its place does not tell. In a
    // partition of the snapshot's rows the connector has sent it before them or after them.
    let first = match run {
        Some(run) => run.first.get(&live.part).copied(),
        None => (live.part == snapshot.part).then_some(snapshot.offset),
    };
    match first {
        Some(first) => live.offset < first,
        None => live.ms <= snapshot.ms,
    }
}
