//! Rows that get other keys, in every order in which their partitions may be read: what a change of the key leaves out is
//! what the row had under the old one.

use harness::simulator::{Accidents, Kind, Script, Start, Statement, Step};

use super::{WHOLE, is_right, put, smallest, wrong};

#[test]
fn a_row_that_moved_is_filled_from_its_first_key_though_that_is_read_last() {
    let rekey = Step::Write(0, 0, Statement::Rekey { from: 1, to: 2, dice: 0b11_1111 });
    let steps = [put(1), WHOLE, Step::Grow(0), Step::Grow(0), rekey];
    for more in [Accidents::NONE, Accidents::REQUIRED] {
        let happens = [Accidents::PARTITIONS, Accidents::KEYS, Accidents::TOAST, more];
        is_right(Kind::Postgres, &happens, 1, &steps);
    }
}

/// A row moves from key 2 to key 1; another one comes to key 2, and is read first, in a new topic.
#[test]
fn a_row_that_took_the_old_key_gives_nothing_to_the_one_that_left_it() {
    let put = |session, key, dice| Step::Write(0, session, Statement::Put { key, dice });
    let steps = vec![
        put(1, 2, 217),
        Step::Write(0, 1, Statement::Rekey { from: 2, to: 1, dice: 189 }),
        Step::Start(0, Start::Nothing),
        Step::Commit(0, 1),
        put(1, 6, 165),
        put(2, 2, 246),
        Step::Stream(0, 3),
        Step::Topic(0, true),
    ];
    let happens = [Accidents::COMPACTION, Accidents::TOPICS, Accidents::IN_FLIGHT, Accidents::KEYS];
    let happens = happens.into_iter().fold(Accidents::TOAST, Accidents::with);
    let accidents = happens.with(Accidents::NO_DATA).with(Accidents::ASK);
    for reading in 0..50 {
        let steps = steps.clone();
        let script = Script { kind: Kind::Postgres, accidents, steps, partitions: 1, reading };
        assert!(wrong(&script).is_empty(), "{}", smallest(&script, 40));
    }
}

/// A row that leaves its key and comes back, read under the second key before its last value under the first.
#[test]
fn what_goes_on_to_a_third_key_is_the_newest_that_was_sent() {
    let rekey = |from, to| Step::Write(0, 0, Statement::Rekey { from, to, dice: 0b1_1111 });
    let note = |dice| Step::Write(0, 0, Statement::Put { key: 1, dice });
    let steps = [WHOLE, note(0b1111), note(0b0111), note(0b1111), rekey(1, 2), rekey(2, 1)];
    for kind in [Kind::MySql, Kind::Oracle] {
        is_right(kind, &[Accidents::KEYS, Accidents::TOAST], 2, &steps);
    }
}

/// Two rows are on their way to one key, and the one that the key is read of last has left it again.
#[test]
fn rows_that_come_to_one_key_one_after_the_other_do_not_take_each_others_place() {
    let rekey = |from, to, dice| Step::Write(0, 0, Statement::Rekey { from, to, dice });
    let write = |key, dice| Step::Write(0, 0, Statement::Put { key, dice });
    let delete = |key| Step::Write(0, 0, Statement::Delete { key });
    let away = [write(1, 189), WHOLE, rekey(1, 0, 56), write(1, 19), delete(1), rekey(0, 1, 99)];
    let again = [rekey(1, 0, 41), rekey(0, 1, 215), write(0, 239), delete(1), rekey(0, 1, 182)];
    let steps: Vec<Step> = away.into_iter().chain(again).collect();
    let back = [write(3, 250), WHOLE, rekey(3, 0, 215), rekey(0, 3, 158)];
    is_right(Kind::Oracle, &[Accidents::KEYS, Accidents::TOAST], 2, &steps);
    for kind in [Kind::MySql, Kind::Oracle] {
        is_right(kind, &[Accidents::KEYS, Accidents::TOAST], 2, &back);
    }
}

/// A row of a snapshot of MySQL, which names no server, is gone by the time that another one comes to its key.
#[test]
fn a_row_that_a_snapshot_has_of_a_key_may_be_another_than_the_one_that_comes_there() {
    let rekey = |from, to, dice| Step::Write(0, 0, Statement::Rekey { from, to, dice });
    let write = |key, dice| Step::Write(0, 0, Statement::Put { key, dice });
    let delete = |key| Step::Write(0, 0, Statement::Delete { key });
    let gone = [write(2, 234), write(1, 138), WHOLE, delete(1), rekey(2, 1, 248)];
    let away = [write(1, 207), WHOLE, rekey(1, 4, 88), write(0, 2), delete(4), rekey(0, 4, 124)];
    let lent: Vec<Step> = away.into_iter().chain([rekey(4, 1, 112)]).collect();
    for partitions in 2..4 {
        is_right(Kind::MySql, &[Accidents::KEYS, Accidents::TOAST], partitions, &gone);
        is_right(Kind::MySql, &[Accidents::KEYS, Accidents::TOAST], partitions, &lent);
    }
}

/// The key has got a partition of its own since a row was there that is gone.
#[test]
fn an_older_change_of_a_key_is_not_of_the_row_that_came_there_behind_it() {
    let write = |key, dice| Step::Write(0, 0, Statement::Put { key, dice });
    let (delete, commit) = (Step::Write(0, 0, Statement::Delete { key: 0 }), Step::Commit(0, 0));
    let rekey = Step::Write(0, 0, Statement::Rekey { from: 1, to: 0, dice: 29 });
    let begun = [write(0, 87), write(1, 159), WHOLE, write(0, 97), commit, Step::Stream(0, 4)];
    let steps: Vec<Step> = begun.into_iter().chain([Step::Grow(0), delete, rekey]).collect();
    for kind in [Kind::Postgres, Kind::MySql, Kind::SqlServer, Kind::Oracle] {
        for partitions in 1..4 {
            let happens = [Accidents::PARTITIONS, Accidents::KEYS, Accidents::TOAST];
            is_right(kind, &happens, partitions, &steps);
        }
    }
}

/// An older change of the key is read behind the create that names the old key, and before the delete under that.
#[test]
fn an_older_change_of_a_key_is_not_of_the_row_whose_create_was_read_before_its_delete() {
    let write = |key, dice| Step::Write(0, 0, Statement::Put { key, dice });
    let (delete, commit) = (Step::Write(0, 0, Statement::Delete { key: 0 }), Step::Commit(0, 0));
    let rekey = Step::Write(0, 0, Statement::Rekey { from: 1, to: 0, dice: 29 });
    let begun = [write(0, 87), write(1, 159), WHOLE, write(1, 183), write(0, 97), commit];
    let grown = [Step::Stream(0, 4), Step::Grow(0), delete, rekey, write(0, 153)];
    let steps: Vec<Step> = begun.into_iter().chain(grown).collect();
    for kind in [Kind::MySql, Kind::SqlServer, Kind::Oracle] {
        for partitions in 1..4 {
            for more in [Accidents::NONE, Accidents::REQUIRED] {
                let happens = [Accidents::PARTITIONS, Accidents::KEYS, Accidents::TOAST, more];
                is_right(kind, &happens, partitions, &steps);
            }
        }
    }
}
