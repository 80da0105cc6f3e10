//! Tests of the module `history`.

use super::*;

const END: i64 = 3_600_000_000;

enum Step {
    /// (clock, quiet, changed, exists)
    Epoch(i64, bool, bool, bool),
    /// The backlog is over, by time or by a live epoch.
    Settle(i64),
    Close(i64),
    Follow(i64),
    End(i64),
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
            Step::Settle(due) => (due, cell.on_settle(Micros(due), Micros(END), true)),
            Step::Close(due) => (due, cell.on_close(Micros(due))),
            Step::Follow(due) => (due, cell.on_follow(Micros(due), Micros(END))),
            Step::End(at) => (at, cell.on_end(Micros(at), Micros(END))),
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
    use Step::{Close, End, Epoch, Follow, Settle};
    const MINUTE: i64 = 60_000_000;
    const WHILE: i64 = 5_000_000;
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
            "what changes within the interval is written at its end, once",
            vec![
                Epoch(5, false, true, true),
                Epoch(6, false, true, true),
                Epoch(7, false, true, true),
                Follow(5 + MINUTE),
                Follow(5 + MINUTE),
                Follow(5 + 2 * MINUTE),
            ],
            format!("5:r {}:r", 5 + MINUTE),
        ),
        (
            "nothing follows a row that a cell got otherwise",
            vec![
                Epoch(5, false, true, true),
                Epoch(6, false, true, true),
                Epoch(7, false, true, false),
                Follow(5 + MINUTE),
            ],
            "5:r 7:r".into(),
        ),
        (
            "quiet or not, one row an interval",
            vec![
                Epoch(5, true, true, true),
                Settle(6),
                Epoch(7, true, true, true),
                Settle(8),
                Epoch(9, true, true, true),
                Settle(10),
                Follow(6 + MINUTE),
                Epoch(7 + MINUTE, true, true, true),
                Settle(8 + MINUTE),
                Follow(6 + 2 * MINUTE),
            ],
            format!("6:r {}:r {}:r", 6 + MINUTE, 6 + 2 * MINUTE),
        ),
        (
            "the end of a batch run leaves nothing behind",
            vec![
                Epoch(5, false, true, true),
                Epoch(6, false, true, true),
                End(7),
                Epoch(8, true, true, true),
                End(9),
                End(10),
                Follow(7 + MINUTE),
            ],
            "5:r 7:r 9:r".into(),
        ),
        (
            "at the end of a batch run a closed cell is restated, and one that is over is closed",
            vec![
                Epoch(END, true, true, true),
                End(END + 1),
                Epoch(END + 2, false, true, true),
                Epoch(END + 3, true, true, true),
                End(END + 4),
            ],
            format!("{}:c {}:s", END + 1, END + 4),
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
            "later changes of a closed cell are one restatement in five seconds",
            vec![
                Epoch(END, false, true, true),
                Epoch(END + 1, false, true, true),
                Epoch(END + 2, false, true, false),
                Follow(END + WHILE),
                Follow(END + 2 * WHILE),
                Epoch(END + 2 * WHILE, false, true, true),
                Epoch(END + 2 * WHILE + 1, false, true, true),
                Follow(END + 3 * WHILE),
            ],
            format!("{END}:c {}:s {}:s {}:s", END + WHILE, END + 2 * WHILE, END + 3 * WHILE),
        ),
        (
            "a cell that was closed a while ago is restated at once",
            vec![Epoch(5, false, true, true), Close(END), Epoch(END + WHILE, false, true, true)],
            format!("5:r {END}:c {}:s", END + WHILE),
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
            "a quiet change that a live one joins is written with it",
            vec![Epoch(5, true, true, true), Epoch(6, false, true, true), Settle(6)],
            "6:r".into(),
        ),
        (
            "a quiet-dirty cell that is over is closed by it, without restatement",
            vec![Epoch(END, true, true, true), Epoch(END + 1, false, true, true)],
            format!("{}:c", END + 1),
        ),
        (
            "a closed cell changed quietly is restated by the same bound",
            vec![
                Epoch(END, false, true, true),
                Epoch(END + 1, true, true, true),
                Settle(END + 2),
                Follow(END + WHILE),
                Epoch(END + WHILE + 1, true, true, true),
                Settle(END + 2 * WHILE),
            ],
            format!("{END}:c {}:s {}:s", END + WHILE, END + 2 * WHILE),
        ),
        (
            "a restatement says what a backlog changed, too",
            vec![
                Epoch(END, false, true, true),
                Epoch(END + 1, false, true, true),
                Epoch(END + 2, true, true, true),
                Follow(END + WHILE),
                Settle(END + WHILE + 1),
                Follow(END + 2 * WHILE),
            ],
            format!("{END}:c {}:s", END + WHILE),
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
fn memory_of_a_vanished_cell_is_kept_while_it_matters() {
    let written = CellHistory { last_row: Some(Micros(1)), ..CellHistory::default() };
    assert!(written.needed(false) && !written.needed(true));
    let closed = CellHistory { closed: true, ..written };
    assert!(closed.needed(true));
    let behind = CellHistory { behind: true, ..written };
    assert!(behind.needed(true));
    assert!(!CellHistory::default().needed(false));
}
