//! Tests of the module `history`.

use super::*;

const END: i64 = 3_600_000_000;

enum Step {
    /// (clock, quiet, changed, exists)
    Epoch(i64, bool, bool, bool),
    Settle(i64),
    Close(i64),
    Restate(i64),
}

/// Runs steps on one cell whose period ends at `END` and gives the rows as `clock:flags`, where the
/// flags are r(unning), c(losed) or s (restatement).
fn rows(steps: &[Step]) -> String {
    let mut cell = CellHistory::default();
    let mut rows = Vec::new();
    for step in steps {
        let (clock, mark) = match *step {
            Step::Epoch(clock, quiet, changed, exists) => {
                let seen = Seen { clock: Micros(clock), quiet, end: Micros(END), changed, exists };
                (clock, cell.on_epoch(&seen))
            }
            Step::Settle(due) => (due, cell.on_settle(Micros(due), Micros(END))),
            Step::Close(due) => (due, cell.on_close(Micros(due))),
            Step::Restate(due) => (due, cell.on_restate(Micros(due))),
        };
        if let Some(mark) = mark {
            let flags = match (mark.closed, mark.restatement) {
                (false, _) => 'r',
                (true, false) => 'c',
                (true, true) => 's',
            };
            rows.push(format!("{clock}:{flags}"));
        }
    }
    rows.join(" ")
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn one_case_per_rule() {
    use Step::{Close, Epoch, Restate, Settle};
    const MINUTE: i64 = HISTORY_INTERVAL_US;
    for (rule, steps, expected) in [
        ("first change of a running cell", vec![Epoch(5, false, true, true)], "5:r".to_owned()),
        ("unchanged cells get nothing", vec![Epoch(5, false, false, true)], String::new()),
        (
            "at most one row an interval",
            vec![
                Epoch(5, false, true, true),
                Epoch(4 + MINUTE, false, true, true),
                Epoch(5 + MINUTE, false, true, true),
            ],
            format!("5:r {}:r", 5 + MINUTE),
        ),
        (
            "a running cell that vanishes gets a row at once",
            vec![Epoch(5, false, true, true), Epoch(6, false, true, false)],
            "5:r 6:r".into(),
        ),
        (
            "and comes back within the interval without one",
            vec![
                Epoch(5, false, true, true),
                Epoch(6, false, true, false),
                Epoch(7, false, true, true),
            ],
            "5:r 6:r".into(),
        ),
        (
            "close writes the closed row once",
            vec![Epoch(5, false, true, true), Close(END), Close(END)],
            format!("5:r {END}:c"),
        ),
        (
            "a cell created when over is closed at once",
            vec![Epoch(END, false, true, true)],
            format!("{END}:c"),
        ),
        (
            "later changes of a closed cell are one restatement a slot",
            vec![
                Epoch(END, false, true, true),
                Epoch(END + 1, false, true, true),
                Epoch(END + 2, false, true, true),
                Restate(slot_end(Micros(END + 1)).0),
                Restate(slot_end(Micros(END + 1)).0 + RESTATEMENT_SLOT_US),
            ],
            format!("{END}:c {}:s", END + RESTATEMENT_SLOT_US),
        ),
        (
            "quiet epochs write nothing until settled",
            vec![Epoch(5, true, true, true), Epoch(9, true, false, true), Settle(9 + SETTLE_US)],
            format!("{}:r", 9 + SETTLE_US),
        ),
        (
            "settling clears it",
            vec![Epoch(5, true, true, true), Settle(6), Settle(7)],
            "6:r".into(),
        ),
        (
            "settling a period that is over closes it",
            vec![Epoch(END, true, true, true), Settle(END + SETTLE_US), Close(END + SETTLE_US)],
            format!("{}:c", END + SETTLE_US),
        ),
        (
            "the first live epoch writes every quiet-dirty cell, changed or not",
            vec![Epoch(5, true, true, true), Epoch(6, false, false, true)],
            "6:r".into(),
        ),
        (
            "a quiet-dirty cell that is over is closed by it, without restatement",
            vec![Epoch(END, true, true, true), Epoch(END + 1, false, true, true)],
            format!("{}:c", END + 1),
        ),
        (
            "a closed cell changed quietly is written again, not restated",
            vec![
                Epoch(END, false, true, true),
                Epoch(END + 1, true, true, true),
                Settle(END + 2),
                Restate(END + 3),
            ],
            format!("{END}:c {}:c", END + 2),
        ),
        (
            "a restatement does not settle what a backlog changed",
            vec![
                Epoch(END, false, true, true),
                Epoch(END + 1, false, true, true),
                Epoch(END + 2, true, true, true),
                Restate(END + 3),
                Settle(END + 4),
            ],
            format!("{END}:c {}:s {}:c", END + 3, END + 4),
        ),
        (
            "close clears quiet-dirty",
            vec![Epoch(5, true, true, true), Close(END), Settle(END)],
            format!("{END}:c"),
        ),
        (
            "settle comes before close at one due time, and the cell is closed once",
            vec![Epoch(5, true, true, true), Settle(END), Close(END)],
            format!("{END}:c"),
        ),
    ] {
        assert_eq!(rows(&steps), expected, "{rule}");
    }
}

#[test]
fn slots_are_aligned_and_end_after_the_change() {
    assert_eq!(slot_end(Micros(0)), Micros(5_000_000));
    assert_eq!(slot_end(Micros(4_999_999)), Micros(5_000_000));
    assert_eq!(slot_end(Micros(5_000_000)), Micros(10_000_000));
}

#[test]
fn memory_of_a_vanished_cell_is_kept_while_it_matters() {
    let written = CellHistory { last_row: Some(Micros(1)), ..CellHistory::default() };
    assert!(written.needed(false) && !written.needed(true));
    let closed = CellHistory { closed: true, ..written };
    assert!(closed.needed(true));
    assert!(!CellHistory::default().needed(false));
}
