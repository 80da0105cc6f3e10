//! What several tests do alike: draw numbers, listen to what an engine tells, go on with one that was restarted, and
//! name the cells that differ.

use std::collections::BTreeMap;
use std::fmt::Debug;

use gold::{CellRow, Engine, EpochOutput, HistoryRow};
use schemas::{CellKey, CellValue, Saved};

/// The next number below `end` of those that follow from a seed.
pub(crate) fn below(state: &mut u64, end: u64) -> i64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    i64::try_from(*state % end).unwrap()
}

/// The cells are these; what differs is named.
pub(crate) fn is_same<V: PartialEq + Debug>(
    cells: &BTreeMap<String, V>,
    expected: &BTreeMap<String, V>,
    when: &str,
) {
    let names = cells.keys().chain(expected.keys());
    let wrong = names.filter(|name| cells.get(*name) != expected.get(*name));
    let wrong =
        wrong.map(|name| format!("{name}: {:?}, not {:?}", cells.get(name), expected.get(name)));
    let wrong: Vec<String> = wrong.take(5).collect();
    assert!(wrong.is_empty(), "{when}: {wrong:#?}");
}

/// What a client that is told every update holds, and all history rows.
#[derive(Default)]
pub(crate) struct Told {
    cells: BTreeMap<CellKey, CellValue>,
    pub(crate) history: Vec<HistoryRow>,
}

impl Told {
    /// Takes what an epoch told: each cell once, in order.
    pub(crate) fn take(&mut self, output: EpochOutput) {
        assert!(output.updates.is_sorted_by(|a, b| a.key < b.key), "each cell once, in order");
        for update in output.updates {
            match update.value {
                Some(value) => drop(self.cells.insert(update.key, value)),
                None => drop(self.cells.remove(&update.key)),
            }
        }
        self.history.extend(output.history);
    }

    /// The same where no cell but of windows is told of that is as it was.
    pub(crate) fn take_changes(&mut self, output: EpochOutput) {
        for update in output.updates.iter().filter(|own| !own.key.grain.is_window()) {
            let before = self.cells.get(&update.key).copied();
            assert!(before != update.value, "{:?} is as it was", update.key);
        }
        self.take(output);
    }

    /// These are the cells that were told of.
    pub(crate) fn check(&self, rows: &[CellRow]) {
        let held: BTreeMap<_, _> = rows.iter().map(|row| (row.key.clone(), row.value)).collect();
        assert_eq!(self.cells, held, "what was told");
    }

    /// The newest history row of every cell is what it says.
    pub(crate) fn check_history(&self, rows: &[CellRow]) {
        let newest: BTreeMap<&CellKey, &HistoryRow> =
            self.history.iter().map(|row| (&row.key, row)).collect();
        for row in rows.iter().filter(|row| !row.key.grain.is_window()) {
            assert_eq!(newest.get(&row.key).map(|own| own.value), Some(row.value), "{:?}", row.key);
        }
    }
}

/// A fresh engine that is made from the saved state of another one, and the rows that `load` gives it: it says the same.
pub(crate) fn restarted(
    mut fresh: Engine,
    engine: &mut Engine,
    load: impl FnOnce(&mut Engine),
) -> Engine {
    let saved = Saved::of(&engine.freeze().parts());
    fresh.load_state(&saved, &|_| true).unwrap();
    load(&mut fresh);
    fresh.finish_load();
    assert!(fresh.take_refused().is_empty());
    assert_eq!(fresh.snapshot(), engine.snapshot(), "cells after a restart");
    assert_eq!(fresh.next_due(), engine.next_due(), "timers after a restart");
    assert!(Saved::of(&fresh.freeze().parts()) == saved, "state after a restart");
    fresh
}
