//! Each history rule, with the rows written out by hand.

use std::rc::Rc;

use schemas::Grain;

use super::*;
use crate::event::{Cell, Row};

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3_600 * SECOND;

fn charge(units: i128, start: i64) -> Row {
    let word = |text: &str| Cell::Text(text.into());
    let words = ["c", "t", "s", "Usage"].into_iter().map(word);
    let amounts = [Cell::Decimal(0), Cell::Decimal(units), word("USD"), Cell::Null];
    let times = [Cell::Time(start), Cell::Time(start), Cell::Null, Cell::Time(start)];
    Rc::new(words.chain(amounts).chain(times).collect())
}

/// A history fed with charges, of which only `total_cost` by hour is looked at.
#[derive(Default)]
struct Case {
    sums: Sums,
    history: History,
    epoch: i64,
}

impl Case {
    fn epoch(&mut self, clock: i64, quiet: bool, add: &[Row], take: &[Row]) {
        self.epoch += 1;
        self.history.timers(clock);
        let mut touched = BTreeSet::new();
        for row in take {
            touched.extend(self.sums.take("costs", row));
        }
        for row in add {
            touched.extend(self.sums.add("costs", row));
        }
        let contracts = BTreeSet::from(["costs".to_owned()]);
        let quiet = match quiet {
            true => Quiet { contracts, cells: touched.clone() },
            false => Quiet::default(),
        };
        self.history.epoch((self.epoch, clock), &quiet, &touched, &self.sums);
    }

    /// (as_of in seconds, value, epoch, closed, restatement)
    fn rows(&self) -> Vec<(i64, Option<i128>, i64, bool, bool)> {
        let ours =
            |row: &&HistoryRow| row.cell.kpi == "total_cost" && row.cell.grain == Grain::Hour;
        let rows = self.history.rows().iter().filter(ours);
        rows.map(|r| (r.as_of / SECOND, r.value.value, r.epoch, r.closed, r.restatement)).collect()
    }
}

#[test]
fn a_running_cell_gets_a_row_a_minute_and_one_at_its_end() {
    let mut case = Case::default();
    for (at, units) in [(10, 1), (20, 2), (69, 4), (71, 8), (140, 16)] {
        case.epoch(at * SECOND, false, &[charge(units, 0)], &[]);
    }
    case.history.timers(HOUR - 1);
    case.history.timers(HOUR);
    case.history.timers(2 * HOUR);
    let expected = vec![
        (10, Some(1), 1, false, false),
        (70, Some(7), 3, false, false),
        (130, Some(15), 4, false, false),
        (190, Some(31), 5, false, false),
        (3600, Some(31), 5, true, false),
    ];
    assert_eq!(case.rows(), expected);
}

#[test]
fn changes_after_the_end_are_restated_once_in_five_seconds() {
    let mut case = Case::default();
    case.epoch(10 * SECOND, false, &[charge(1, 0)], &[]);
    case.epoch(HOUR + SECOND, false, &[charge(2, 0)], &[]);
    case.epoch(HOUR + 2 * SECOND, false, &[charge(4, 0)], &[]);
    case.epoch(HOUR + 5 * SECOND, false, &[charge(8, 0)], &[]);
    case.history.timers(HOUR + 10 * SECOND);
    let expected = vec![
        (10, Some(1), 1, false, false),
        (3600, Some(1), 1, true, false),
        (3605, Some(7), 3, true, true),
        (3610, Some(15), 4, true, true),
    ];
    assert_eq!(case.rows(), expected);
}

#[test]
fn a_period_over_when_first_read_gets_one_row() {
    let mut case = Case::default();
    case.epoch(2 * HOUR, false, &[charge(1, 0)], &[]);
    case.history.timers(3 * HOUR);
    assert_eq!(case.rows(), vec![(7200, Some(1), 1, true, false)]);
}

#[test]
fn quiet_changes_are_written_when_quiet_ends() {
    let mut settled = Case::default();
    settled.epoch(10 * SECOND, true, &[charge(1, 0)], &[]);
    settled.epoch(10 * SECOND + 900_000, true, &[charge(2, 0)], &[]);
    settled.history.timers(20 * SECOND);
    assert_eq!(settled.rows(), vec![(11, Some(3), 2, false, false)]);
    assert_eq!(settled.history.rows()[0].as_of, 11 * SECOND + 900_000);

    // Another row says nothing of the cells that it does not change, and is written with those that it does.
    for (start, expected) in [
        (HOUR, vec![(10, Some(2), 2, false, false), (11, Some(1), 2, false, false)]),
        (0, vec![(10, Some(3), 2, false, false)]),
    ] {
        let mut live = Case::default();
        live.epoch(10 * SECOND, true, &[charge(1, 0)], &[]);
        live.epoch(10 * SECOND + 1, false, &[charge(2, start)], &[]);
        live.history.timers(20 * SECOND);
        assert_eq!(live.rows(), expected);
    }
}

#[test]
fn the_end_writes_a_quiet_cell_before_it_settles() {
    let mut case = Case::default();
    case.epoch(HOUR - 500_000, true, &[charge(1, 0)], &[]);
    case.history.timers(2 * HOUR);
    assert_eq!(case.rows(), vec![(3600, Some(1), 1, true, false)]);
}

#[test]
fn a_backlog_closes_no_cell_twice_and_writes_once_a_minute() {
    let mut case = Case::default();
    case.epoch(2 * HOUR, true, &[charge(1, 0)], &[]);
    case.history.timers(2 * HOUR + 2 * SECOND);
    case.epoch(2 * HOUR + 3 * SECOND, true, &[charge(2, 0)], &[]);
    for second in (4..64).step_by(2) {
        case.epoch(2 * HOUR + second * SECOND, true, &[charge(1, 2 * HOUR)], &[]);
        case.history.timers(2 * HOUR + (second + 1) * SECOND);
    }
    case.history.timers(2 * HOUR + 300 * SECOND);
    let rows: Vec<_> = case.rows().iter().map(|r| (r.0 - 7200, r.1, r.3, r.4)).collect();
    let expected = vec![
        (1, Some(1), true, false),
        (5, Some(1), false, false),
        (6, Some(3), true, true),
        (65, Some(30), false, false),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn the_end_of_a_batch_leaves_nothing_behind() {
    let mut case = Case::default();
    case.epoch(10 * SECOND, false, &[charge(1, 0)], &[]);
    case.epoch(11 * SECOND, false, &[charge(2, 0)], &[]);
    case.history.timers(12 * SECOND);
    case.history.end_batch(12 * SECOND);
    case.history.timers(HOUR - 1);
    case.history.end_batch(HOUR - 1);
    assert_eq!(case.rows(), vec![(10, Some(1), 1, false, false), (12, Some(3), 2, false, false)]);
}

#[test]
fn a_vanished_cell_says_so_and_has_no_end() {
    let mut case = Case::default();
    case.epoch(10 * SECOND, false, &[charge(1, 0)], &[]);
    case.epoch(11 * SECOND, false, &[], &[charge(1, 0)]);
    case.history.timers(2 * HOUR);
    assert_eq!(case.rows(), vec![(10, Some(1), 1, false, false), (11, None, 2, false, false)]);
    assert_eq!(case.history.rows().iter().map(|r| r.value.status).next_back(), Some("no_data"));
    assert_eq!(case.history.current().count(), 0);
}

#[test]
fn ticks_change_nothing() {
    let run = |ticks: &[i64]| {
        let mut case = Case::default();
        case.epoch(10 * SECOND, true, &[charge(1, 0)], &[]);
        for tick in ticks {
            case.history.timers(*tick);
        }
        case.epoch(HOUR + SECOND, false, &[charge(2, 0)], &[]);
        case.history.timers(HOUR + 9 * SECOND);
        case.rows()
    };
    assert_eq!(run(&[]), run(&[11 * SECOND, 12 * SECOND, HOUR, HOUR + 1]));
}
