//! Rows that change their key: what the row under the new key takes from the one under the old, by the rules alone.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use pipeline::decode::{ChangeKind, ChangeRef, PreparedContract};
use schemas::{Micros, Position};

use super::order::{has_seen, is_again, is_behind, is_ordered, order};
use super::{Known, Reference, RowId, State};

/// How long rows wait and departures are remembered, and how many of each.
const MOVED_US: i64 = 86_400_000_000;
const MOVED_MAX: usize = 1_024;

/// Changes remembered of a departed row, and keys that a row is looked for under.
const CHANGES_MAX: usize = 16;
const KEYS_MAX: usize = 8;

/// A row under its old key.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    row: Known,
    /// Its delete.
    departed: Position,
    clock: Micros,
}

/// A row that left its key.
#[derive(Debug, Clone)]
struct Departure {
    from: RowId,
    to: Vec<u8>,
    at: Position,
    /// The changes whose values went with it, and whether some value did not.
    changes: Vec<Position>,
    is_short: bool,
    clock: Micros,
}

/// All that is known of rows between two keys.
#[derive(Debug, Default)]
pub(super) struct Moves {
    /// Several may wait for one key, each as it left another.
    waiting: BTreeMap<RowId, Vec<Waiting>>,
    /// As they were told.
    departures: Vec<Departure>,
}

impl Moves {
    /// Time passes.
    pub(super) fn advance(&mut self, now: Micros) {
        let is_young = |clock: Micros| clock.plus(MOVED_US) > now;
        for waiting in self.waiting.values_mut() {
            waiting.retain(|one| is_young(one.clock));
        }
        self.departures.retain(|departure| is_young(departure.clock));
    }

    /// The row that waits for this one, which a change made at a place.
    pub(super) fn row_for(&self, id: &RowId, at: &Position) -> Option<&Known> {
        let waiting = self.waiting.get(id)?;
        Some(&waiting.get(Moves::number_for(waiting, at)?)?.row)
    }

    fn number_for(waiting: &[Waiting], at: &Position) -> Option<usize> {
        let is_its = |one: &Waiting| {
            if one.departed.place.is_some() && at.place.is_some() {
                is_again(&one.departed, at)
            } else {
                !is_behind(&one.row.at, at)
            }
        };
        (0..waiting.len()).rev().find(|number| waiting.get(*number).is_some_and(is_its))
    }

    /// It has come.
    pub(super) fn take(&mut self, id: &RowId, at: &Position) -> Option<Waiting> {
        let waiting = self.waiting.get_mut(id)?;
        Some(waiting.remove(Moves::number_for(waiting, at)?))
    }

    /// The first departure from a key behind a place.
    fn departure(&self, from: &RowId, behind: &Position) -> Option<usize> {
        let mut first: Option<usize> = None;
        for (number, departure) in self.departures.iter().enumerate() {
            if departure.from == *from && order(behind, &departure.at) == Ordering::Less {
                let held = first.and_then(|held| self.departures.get(held));
                if held.is_none_or(|held| order(&departure.at, &held.at) == Ordering::Less) {
                    first = Some(number);
                }
            }
        }
        first
    }

    /// Which incarnations changes are of is told anew, for some keys.
    pub(super) fn tell(&mut self, is_own: &impl Fn(&RowId) -> bool, tell: &impl Fn(&mut Position)) {
        let own = self.waiting.iter_mut().filter(|(id, _)| is_own(id));
        for waiting in own.flat_map(|(_, waiting)| waiting) {
            tell(&mut waiting.departed);
            waiting.row.tell(tell);
        }
        for departure in self.departures.iter_mut().filter(|departure| is_own(&departure.from)) {
            tell(&mut departure.at);
            departure.changes.iter_mut().for_each(tell);
        }
    }

    /// Returns whether it was not known before: delete and create both tell of it.
    fn depart(&mut self, departure: Departure) -> bool {
        let is_told = |known: &&mut Departure| {
            known.from == departure.from && is_again(&known.at, &departure.at)
        };
        if let Some(known) = self.departures.iter_mut().find(is_told) {
            if !departure.changes.is_empty() {
                known.is_short = departure.is_short;
                known.changes.extend(departure.changes);
            }
            return false;
        }
        self.departures.push(departure);
        let over = self.departures.len().saturating_sub(MOVED_MAX);
        self.departures.drain(..over);
        true
    }

    fn wait(&mut self, id: RowId, waiting: Waiting) {
        self.waiting.entry(id).or_default().push(waiting);
        let clocks = || self.waiting.values().flatten().map(|one| one.clock);
        let (count, oldest) = (clocks().count(), clocks().min());
        let mut is_gone = count <= MOVED_MAX;
        for waiting in self.waiting.values_mut() {
            waiting.retain(|one| {
                let stays = is_gone || Some(one.clock) != oldest;
                is_gone |= !stays;
                stays
            });
        }
    }
}

impl Reference {
    /// A delete names the key that its row has from now on.
    pub(super) fn move_away(
        &mut self,
        contract: &PreparedContract,
        id: &RowId,
        to: &[u8],
        at: Position,
        (epoch, clock): (u64, Micros),
    ) {
        if to.is_empty() || to == id.1 {
            return;
        }
        let is_its =
            |row: &&Known| order(&row.at, &at) == Ordering::Less && !has_seen(&row.at, &at);
        let row = self.rows.get(id).filter(is_its).cloned();
        let row = row.filter(|row| matches!(row.state, State::Row { .. }));
        let (mut changes, mut is_short) = (Vec::new(), true);
        if let Some(row) = &row
            && let State::Row { bytes, .. } = &row.state
        {
            changes.extend(row.carried.values().copied());
            changes.push(row.at);
            is_short = !row.unsent(contract, bytes).is_empty();
        }
        let (from, to) = (id.clone(), to.to_vec());
        let departure = Departure { from, to: to.clone(), at, changes, is_short, clock };
        self.note_departure(contract, departure, epoch);
        let before = self.moves.waiting.get(id).into_iter().flatten();
        let before = before.filter(|before| order(&before.departed, &at) == Ordering::Less);
        let before = before.max_by(|a, b| order(&a.departed, &b.departed));
        let waiting = match row {
            Some(row) => Some(Waiting { row, departed: at, clock }),
            // What waits for this key goes on with its row.
            None => before.map(|before| Waiting { departed: at, ..before.clone() }),
        };
        if let Some(waiting) = waiting {
            self.pass_on(contract, (id.0.clone(), to), waiting, epoch);
        }
    }

    /// A create names the key that its row had.
    pub(super) fn come_from(
        &mut self,
        contract: &PreparedContract,
        id: &RowId,
        old_key: &[u8],
        at: Position,
        (epoch, clock): (u64, Micros),
    ) {
        if old_key.is_empty() || old_key == id.1 || at.place.is_none() {
            return;
        }
        let (from, to) = ((id.0.clone(), old_key.to_vec()), id.1.clone());
        let departure = Departure { from, to, at, changes: Vec::new(), is_short: true, clock };
        self.note_departure(contract, departure, epoch);
    }

    /// A row is known to have come to its key: what it took of changes of that key before is of another row.
    fn note_departure(&mut self, contract: &PreparedContract, departure: Departure, epoch: u64) {
        let (id, came) = ((departure.from.0.clone(), departure.to.clone()), departure.at);
        if !self.moves.depart(departure) {
            return;
        }
        let is_later =
            |row: &&Known| order(&row.at, &came) == Ordering::Greater && !is_again(&row.at, &came);
        let Some(row) = self.rows.get(&id).filter(is_later) else { return };
        let State::Row { bytes, .. } = &row.state else { return };
        let is_required =
            |column: usize| contract.columns().get(column).is_some_and(|own| own.required);
        let foreign = row.carried.iter();
        let foreign = foreign.filter(|(column, from)| {
            !is_required(**column) && is_behind(&came, from) && !has_seen(from, &came)
        });
        let foreign: Vec<usize> = foreign.map(|(column, _)| *column).collect();
        if foreign.is_empty() {
            return;
        }
        let mut row = row.clone();
        row.carried.retain(|column, _| !foreign.contains(column));
        row.state = State::Row { bytes: self.without(contract, &bytes.clone(), &foreign), epoch };
        self.rows.insert(id, Known { seen: false, ..row });
    }

    /// The same row, with these columns as unknown.
    fn without(&mut self, contract: &PreparedContract, row: &[u8], columns: &[usize]) -> Box<[u8]> {
        let own = contract.layout().row(row);
        let mut bytes = Vec::new();
        self.builder.reset(contract.columns().len());
        (0..contract.columns().len()).for_each(|index| self.builder.copy(index, own));
        columns.iter().for_each(|column| self.builder.set_unknown(*column));
        self.builder.set_outdated(own.is_outdated());
        self.builder.finish(contract.layout(), &mut bytes);
        bytes.into()
    }

    /// A change of before what is held, or of a row that a snapshot lacked.
    pub(super) fn late(
        &mut self,
        contract: &PreparedContract,
        id: &RowId,
        change: ChangeRef<'_>,
        at: &Position,
        came: (u64, Micros),
    ) {
        match change.change.kind {
            ChangeKind::Upsert => {
                self.come_from(contract, id, change.other, *at, came);
                if !change.other.is_empty()
                    && let Some(waiting) = self.moves.take(id, at)
                {
                    self.pass_on(contract, id.clone(), waiting, came.0);
                }
                let departed = self.pass_late(contract, id, change, at, came);
                // Behind it another row has the key.
                let is_another = |row: &Known| {
                    // Or it came from another key behind the change.
                    let mut came = self.moves.departures.iter().filter(|from| {
                        from.from.0 == id.0
                            && from.to == id.1
                            && order(at, &from.at) == Ordering::Less
                            && !is_again(at, &from.at)
                            && (is_again(&from.at, &row.at)
                                || order(&from.at, &row.at) == Ordering::Less)
                    });
                    came.next().is_some()
                        || departed.is_some_and(|left| order(&row.at, &left) == Ordering::Greater)
                };
                if !self.rows.get(id).is_some_and(is_another) {
                    self.fill(contract, id, change.row, (change.unavailable, false), at, came.0);
                }
            }
            ChangeKind::Delete => self.move_away(contract, id, change.other, *at, came),
            _ => {}
        }
    }

    /// A change of before what is held of a key. If a row has left that key behind it, the change is of that row: gives
    /// where the row left.
    fn pass_late(
        &mut self,
        contract: &PreparedContract,
        id: &RowId,
        change: ChangeRef<'_>,
        at: &Position,
        (epoch, clock): (u64, Micros),
    ) -> Option<Position> {
        let departure = self.moves.departure(id, at)?;
        let Departure { to, at: departed, changes, is_short, .. } =
            self.moves.departures.get_mut(departure)?;
        let (to, departed) = (to.clone(), *departed);
        let is_newer = changes.iter().any(|known| order(known, at) == Ordering::Less);
        if !*is_short && (!is_newer || changes.iter().any(|known| is_again(known, at))) {
            return Some(departed);
        }
        if change.unavailable.is_empty() {
            *is_short = false;
        }
        if changes.len() < CHANGES_MAX {
            changes.push(*at);
        }
        let carried = change.absent.iter().map(|column| (*column, *at)).collect();
        let state = State::Row { bytes: change.row.into(), epoch };
        let row = Known { at: *at, state, carried, unread: None, seen: false };
        self.pass_on(contract, (id.0.clone(), to), Waiting { row, departed, clock }, epoch);
        Some(departed)
    }

    /// The row under the new key takes what it misses, or finds it when it comes.
    fn pass_on(
        &mut self,
        contract: &PreparedContract,
        id: RowId,
        mut waiting: Waiting,
        epoch: u64,
    ) {
        let mut id = id;
        for _ in 0..KEYS_MAX {
            let next = self.moves.departure(&id, &waiting.departed);
            let next = next.and_then(|next| self.moves.departures.get(next)).cloned();
            let there = self.rows.get(&id).filter(|row| matches!(row.state, State::Row { .. }));
            let is_its = |row: &Known| {
                let is_left = |next: &Departure| order(&next.at, &row.at) == Ordering::Less;
                let is_behind = is_behind(&waiting.departed, &row.at);
                let is_earlier = is_behind && !is_again(&waiting.departed, &row.at);
                let mut known = self.moves.departures.iter().filter(|known| known.from == id);
                let is_former = known.any(|known| {
                    order(&row.at, &known.at) == Ordering::Less
                        && order(&known.at, &waiting.departed) == Ordering::Less
                });
                !next.as_ref().is_some_and(is_left) && !is_earlier && !is_former
            };
            let there = there.filter(|row| is_its(row)).map(|row| row.at);
            if let Some(there) = there {
                let (row, departed) = (waiting.row.clone(), waiting.departed);
                let State::Row { bytes, .. } = &row.state else { return };
                let unknown = row.unsent(contract, bytes);
                let is_same = is_again(&departed, &there);
                self.fill(contract, &id, bytes, (&unknown, !is_same), &row.at, epoch);
                let has_places = departed.place.is_some() && there.place.is_some();
                // Else the row there may have been gone by then, and this one comes yet.
                if !has_places || is_same || is_ordered(&departed, &there) {
                    return;
                }
            }
            self.add_waiting(contract, &id, waiting.clone());
            let is_told = |next: &Departure| {
                is_ordered(&next.at, &waiting.departed)
                    || next.at.place.is_some() && waiting.departed.place.is_some()
            };
            let Some(next) = next.filter(is_told) else { return };
            waiting.departed = next.at;
            id = (id.0, next.to);
        }
    }

    /// A row waits, together with what was read of the same one before.
    fn add_waiting(&mut self, contract: &PreparedContract, id: &RowId, waiting: Waiting) {
        let own = self.moves.waiting.get_mut(id).map(Vec::as_mut_slice).unwrap_or_default();
        let same = own.iter_mut().find(|held| is_again(&held.departed, &waiting.departed));
        let Some(held) = same.map(|held| held.clone()) else {
            self.moves.wait(id.clone(), waiting);
            return;
        };
        let is_newer = order(&waiting.row.at, &held.row.at) == Ordering::Greater;
        let (mut newer, older) = if is_newer { (waiting, held) } else { (held, waiting) };
        let (State::Row { bytes, epoch }, State::Row { bytes: from, .. }) =
            (&newer.row.state, &older.row.state)
        else {
            return;
        };
        let unknown = older.row.unsent(contract, from);
        let mut found = newer.row.unsent(contract, bytes);
        let of = |column: &usize| older.row.carried.get(column).copied().unwrap_or(older.row.at);
        // What it has of a change before that of the other row is superseded.
        let carried = newer.row.carried.iter();
        let before = carried.filter(|(column, from)| order(from, &of(column)) == Ordering::Less);
        found.extend(before.map(|(column, _)| *column));
        found.retain(|column| !unknown.contains(column));
        let epoch = *epoch;
        let bytes = self.with(contract, (bytes, &newer.row.at), from, &found);
        for column in found {
            newer.row.carried.insert(column, of(&column));
        }
        newer.row.state = State::Row { bytes, epoch };
        let own = self.moves.waiting.get_mut(id).into_iter().flatten();
        let same = own.into_iter().find(|held| is_again(&held.departed, &newer.departed));
        same.into_iter().for_each(|held| *held = newer.clone());
    }
}
