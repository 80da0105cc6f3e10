//! Databases that are restored: that places went back is seen whichever rows there are, and nothing of before comes back.

use harness::simulator::{Accidents, Kind, Statement, Step};

use super::{WHOLE, is_right, put};

const COMMIT: Step = Step::Commit(0, 0);

fn delete(key: i64) -> Step {
    Step::Write(0, 0, Statement::Delete { key })
}

/// The restored database has rows that are read before the first by which places are seen to have gone back: from a row
/// that is held, or only from the snapshot before, which ends in between.
#[test]
fn rows_that_are_read_before_a_restore_is_seen_are_of_its_snapshot() {
    let unseen = [put(5), WHOLE, put(2), COMMIT, put(6), COMMIT, Step::Restore(0, 1)];
    let begun = [put(1), put(0), COMMIT, delete(0), WHOLE];
    let swept: Vec<Step> =
        begun.into_iter().chain([put(0), COMMIT, put(1), COMMIT, Step::Restore(0, 3)]).collect();
    for kind in [Kind::Postgres, Kind::SqlServer, Kind::Oracle] {
        is_right(kind, &[Accidents::RESTORE], 1, &unseen);
        is_right(kind, &[Accidents::RESTORE], 1, &swept);
    }
}

/// The first snapshot behind the restore names no server, the second one does.
#[test]
fn a_snapshot_that_names_its_server_shows_a_restore_that_the_one_before_did_not() {
    let again = Step::Snapshot(0, u64::MAX);
    let steps = [WHOLE, put(1), COMMIT, put(0), COMMIT, Step::Restore(0, 1), again];
    for kind in [Kind::Postgres, Kind::MySql, Kind::SqlServer] {
        is_right(kind, &[Accidents::RESTORE, Accidents::SNAPSHOT], 1, &steps);
    }
}

/// The cleaner has left no record from before of the rows that the restored database has.
#[test]
fn rows_that_are_held_of_before_show_a_restore_though_its_snapshot_has_other_ones() {
    let begun = [WHOLE, put(2), COMMIT, put(4), COMMIT, delete(2), Step::Stream(0, 2), COMMIT];
    for kind in [Kind::Postgres, Kind::MySql, Kind::SqlServer] {
        for seed in 0..50 {
            let gone = [Step::Restore(0, 2), Step::Clean(seed)];
            let steps: Vec<Step> = begun.into_iter().chain(gone).collect();
            is_right(kind, &[Accidents::RESTORE, Accidents::COMPACTION], 1, &steps);
        }
    }
}

/// Behind a snapshot of MySQL, which names no server, a row gets the key of one that the restore has undone.
#[test]
fn a_row_that_gets_another_key_behind_a_restore_is_another_one_than_was_there() {
    let write = |key, dice| Step::Write(0, 0, Statement::Put { key, dice });
    let rekey = Step::Write(0, 0, Statement::Rekey { from: 1, to: 0, dice: 154 });
    let begun = [write(1, 13), WHOLE, write(0, 93), COMMIT, write(0, 192), COMMIT];
    let gone = [Step::Stream(0, 2), Step::Restore(0, 2), rekey];
    let steps: Vec<Step> = begun.into_iter().chain(gone).collect();
    for kind in [Kind::Postgres, Kind::MySql, Kind::SqlServer] {
        is_right(kind, &[Accidents::RESTORE, Accidents::KEYS, Accidents::TOAST], 1, &steps);
    }
}
