//! Where in the source database, and where in Kafka, a row's last change came from.
//!
//! Two changes of one key are ordered by what is known of both, the surest first:
//!
//! | known of both | order |
//! |---|---|
//! | they stand in different incarnations of the origin | the incarnation |
//! | places in one log that is written in the order of commits | the place |
//! | places in PostgreSQL's log, both live | the commit before, where both name it, then the place; else the source's clock, then the place. A row is locked until its transaction has committed, so that its changes lie in the log in the order of their commits |
//! | places in PostgreSQL's log, one a row of a snapshot | the live one is later when it, or the commit before it, lies behind the snapshot; else it was written before the snapshot and may have been committed after it, so that in one partition Kafka's order decides, unless the row names a last commit behind that of the change, which then came again, and elsewhere the source's clock, or else the snapshot is later |
//! | one partition of one life of a topic | the offset |
//! | nothing of this | the source's clock, or else the life of the topic that was seen later; then a live change is later than a row of a snapshot; then that life, the partition, the offset |
//!
//! # Guarantees
//! - `Display` and `parse` are inverse: the text in the `_position` column is the whole position.
//! - [`Position::compare`] depends on the two positions and on nothing else.
//!
//! # Non-guarantees
//! - Where a key moves between partitions of a source without positions, or a restarted connector sends
//!   changes of before a snapshot again after it, three changes may be ordered in a circle. Each partition is
//!   read in its own order and ends with the newest change, so that the last word is the same.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a change stands in the log of its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Place {
    /// In a log that is written in the order of commits: MySQL's and MariaDB's binlog, and what SQL Server,
    /// Db2, Oracle and MongoDB number.
    Log {
        /// The server that writes it, where servers number for themselves; [`Place::UNNAMED`] is
        /// compared with none.
        log: u32,
        /// Where in it.
        at: u128,
    },
    /// In PostgreSQL's, where a row lies before its transaction is committed.
    Wal {
        /// Where the last transaction before this one was committed.
        commit: Option<u64>,
        /// Where the row lies; of a row of a snapshot, where the snapshot was taken.
        lsn: u64,
    },
}

impl Place {
    /// A server that is not named: rows of a snapshot of MySQL do not say which wrote the log.
    pub const UNNAMED: u32 = u32::MAX;

    /// One number that grows along the log.
    pub fn number(&self) -> u128 {
        match self {
            Place::Log { at, .. } => *at,
            Place::Wal { lsn, .. } => u128::from(*lsn),
        }
    }
}

/// The position of one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Counts restarts of the source's own numbering (failover, restore): a higher one is later.
    pub incarnation: u32,
    /// The place in the source's log; `None` when the event names none that can be compared.
    pub place: Option<Place>,
    /// Whether the change is a row of a snapshot and not of the live stream.
    pub snapshot: bool,
    /// The source's own clock at the change, in milliseconds; 0 when unknown.
    pub source_ms: i64,
    /// The life of a topic that it came from, by the order in which its table saw them first.
    pub topic: u32,
    /// Kafka partition.
    pub partition: i32,
    /// Kafka offset.
    pub offset: i64,
}

impl Position {
    /// A position that says nothing.
    pub const NOWHERE: Position = Position {
        incarnation: 0,
        place: None,
        snapshot: false,
        source_ms: 0,
        topic: 0,
        partition: -1,
        offset: -1,
    };

    /// The order of two changes of one key.
    pub fn compare(&self, other: &Position) -> Ordering {
        let incarnation = self.incarnation.cmp(&other.incarnation);
        incarnation.then_with(|| match (self.place, other.place) {
            (Some(own), Some(its)) => self.compare_place(own, other, its),
            _ => self.compare_record(other),
        })
    }

    fn compare_place(&self, own: Place, other: &Position, its: Place) -> Ordering {
        let by_place = match (own, its) {
            (Place::Log { log, at }, Place::Log { log: other_log, at: other_at }) => {
                if is_one(log, other_log) { at.cmp(&other_at) } else { Ordering::Equal }
            }
            (Place::Wal { commit, lsn }, Place::Wal { commit: other_commit, lsn: other_lsn }) => {
                match (self.snapshot, other.snapshot) {
                    (true, true) => taken(commit, lsn).cmp(&taken(other_commit, other_lsn)),
                    (false, false) => match (commit, other_commit) {
                        (Some(commit), Some(other_commit)) => {
                            (commit, lsn).cmp(&(other_commit, other_lsn))
                        }
                        _ => (self.source_ms, lsn).cmp(&(other.source_ms, other_lsn)),
                    },
                    (false, true) => {
                        self.live_after(taken(commit, lsn), other, taken(other_commit, other_lsn))
                    }
                    (true, false) => other
                        .live_after(taken(other_commit, other_lsn), self, taken(commit, lsn))
                        .reverse(),
                }
            }
            _ => Ordering::Equal,
        };
        by_place.then_with(|| self.compare_record(other))
    }

    /// A live change that is known to be committed behind `known` against a snapshot taken `at`.
    fn live_after(&self, known: u64, snapshot: &Position, at: u64) -> Ordering {
        if known >= at {
            Ordering::Greater
        } else if self.is_beside(snapshot) {
            let is_again = self.was_streamed_before(snapshot);
            if is_again { Ordering::Less } else { self.offset.cmp(&snapshot.offset) }
        } else if snapshot.source_ms > 0 && self.source_ms > snapshot.source_ms {
            Ordering::Greater
        } else {
            Ordering::Less
        }
    }

    /// Whether a live change of PostgreSQL is known to have been streamed when a row of a snapshot was read: that names
    /// the last commit by then, and the change an earlier one, or none and lies before it. Behind the row it came again.
    fn was_streamed_before(&self, snapshot: &Position) -> bool {
        match (self.place, snapshot.place) {
            (Some(Place::Wal { commit, lsn }), Some(Place::Wal { commit: Some(last), .. })) => {
                commit.unwrap_or(lsn) < last && lsn < last
            }
            _ => false,
        }
    }

    /// Whether a row of a snapshot of PostgreSQL shows what a live change left: that lies before it, and was
    /// committed before, as the source's clock says. It may be streamed behind it all the same.
    pub fn has_seen(&self, live: &Position) -> bool {
        let is_earlier = live.source_ms > 0 && live.source_ms < self.source_ms;
        is_earlier && self.has_seen_truncate(live)
    }

    /// The same of a truncate: that locks the table, so that it is not open while a snapshot is taken.
    pub fn has_seen_truncate(&self, live: &Position) -> bool {
        let is_below = match (self.place, live.place) {
            (Some(Place::Wal { commit, lsn }), Some(Place::Wal { commit: before, lsn: own })) => {
                taken(before, own) < taken(commit, lsn)
            }
            _ => false,
        };
        let is_one = self.incarnation == live.incarnation;
        self.snapshot && !live.snapshot && is_below && is_one
    }

    /// Whether both lie in one partition of one life of a topic.
    pub fn is_beside(&self, other: &Position) -> bool {
        self.topic == other.topic && self.partition == other.partition
    }

    /// Whether something surer than clocks and numbers of partitions orders both: one partition, or one log.
    pub fn is_ordered_with(&self, other: &Position) -> bool {
        let one_log = match (self.place, other.place) {
            (Some(Place::Log { log, .. }), Some(Place::Log { log: its, .. })) => is_one(log, its),
            (Some(Place::Wal { .. }), Some(Place::Wal { .. })) => true,
            _ => false,
        };
        one_log || self.is_beside(other)
    }

    fn compare_record(&self, other: &Position) -> Ordering {
        if self.is_beside(other) {
            return self.offset.cmp(&other.offset);
        }
        let clock = match (self.source_ms, other.source_ms) {
            (0, _) | (_, 0) => Ordering::Equal,
            (own, other) => own.cmp(&other),
        };
        // Without clocks a topic that was made anew is all that tells.
        let is_timed = self.source_ms != 0 && other.source_ms != 0;
        let life = |at: &Position| if is_timed { 0 } else { at.topic };
        let last = |at: &Position| (life(at), !at.snapshot, at.topic, at.partition, at.offset);
        clock.then_with(|| last(self).cmp(&last(other)))
    }

    /// Whether both are one place of the source's log: a change that was sent again.
    pub fn is_again(&self, other: &Position) -> bool {
        let same = self.incarnation == other.incarnation && self.place.is_some();
        self == other || (same && self.place == other.place && self.snapshot == other.snapshot)
    }

    /// Whether the source itself went back between this change and `came`: to a lower place of a log that
    /// is written in the order of commits, or behind an earlier commit, at a later time.
    pub fn went_back_to(&self, came: &Position) -> bool {
        let is_lower = match (self.place, came.place) {
            (Some(Place::Log { log, at }), Some(Place::Log { log: other, at: then })) => {
                is_one(log, other) && then < at
            }
            (
                Some(Place::Wal { commit, lsn }),
                Some(Place::Wal { commit: came_commit, lsn: came_lsn }),
            ) => match (self.snapshot, came.snapshot) {
                (_, true) => came_lsn < lsn,
                (false, false) => commit.zip(came_commit).is_some_and(|(own, came)| came < own),
                // What was written before a snapshot may be committed after it.
                (true, false) => false,
            },
            _ => false,
        };
        is_lower && self.incarnation == came.incarnation && self.is_earlier_than(came)
    }

    /// Whether the source's clock says that `came` is later. Of two rows of snapshots, the first of which says nothing,
    /// their partition does: no connector takes a snapshot of before one that it has sent.
    fn is_earlier_than(&self, came: &Position) -> bool {
        if self.source_ms > 0 {
            return came.source_ms > self.source_ms;
        }
        let is_sent_before = self.is_beside(came) && self.offset < came.offset;
        self.snapshot && came.snapshot && came.source_ms > 0 && is_sent_before
    }

    /// Reads what `Display` wrote.
    pub fn parse(text: &str) -> Option<Position> {
        let mut parts = text.split('/');
        let incarnation = parts.next()?.parse().ok()?;
        let place = match parts.next()? {
            "" => None,
            place => Some(parse_place(place)?),
        };
        let snapshot = match parts.next()? {
            "s" => true,
            "l" => false,
            _ => return None,
        };
        let source_ms = parts.next()?.parse().ok()?;
        let topic = parts.next()?.parse().ok()?;
        let partition = parts.next()?.parse().ok()?;
        let offset = parts.next()?.parse().ok()?;
        let position =
            Position { incarnation, place, snapshot, source_ms, topic, partition, offset };
        parts.next().is_none().then_some(position)
    }
}

/// Whether places in two logs can be compared.
fn is_one(log: u32, other: u32) -> bool {
    log == other && log != Place::UNNAMED
}

/// How far PostgreSQL's log had come.
fn taken(commit: Option<u64>, lsn: u64) -> u64 {
    lsn.max(commit.unwrap_or(0))
}

fn parse_place(text: &str) -> Option<Place> {
    if let Some((commit, lsn)) = text.split_once('+') {
        let commit = match commit {
            "" => None,
            commit => Some(commit.parse().ok()?),
        };
        return Some(Place::Wal { commit, lsn: lsn.parse().ok()? });
    }
    let (log, at) = text.split_once(':').unwrap_or(("0", text));
    Some(Place::Log { log: log.parse().ok()?, at: at.parse().ok()? })
}

impl fmt::Display for Place {
    /// `at`, or `log:at`; of PostgreSQL `commit+lsn`, or `+lsn`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Log { log: 0, at } => write!(f, "{at}"),
            Place::Log { log, at } => write!(f, "{log}:{at}"),
            Place::Wal { commit: Some(commit), lsn } => write!(f, "{commit}+{lsn}"),
            Place::Wal { commit: None, lsn } => write!(f, "+{lsn}"),
        }
    }
}

impl fmt::Display for Position {
    /// `incarnation/place/s or l/source_ms/topic/partition/offset`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.incarnation)?;
        if let Some(place) = self.place {
            write!(f, "{place}")?;
        }
        let kind = if self.snapshot { 's' } else { 'l' };
        let Position { source_ms, topic, partition, offset, .. } = self;
        write!(f, "/{kind}/{source_ms}/{topic}/{partition}/{offset}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Ordering::{Equal, Greater, Less};

    fn at(place: Option<Place>, snapshot: bool, partition: i32, offset: i64) -> Position {
        Position { place, snapshot, source_ms: 5, partition, offset, ..Position::NOWHERE }
    }

    fn log(at: u128) -> Option<Place> {
        Some(Place::Log { log: 0, at })
    }

    fn wal(commit: u64, lsn: u64) -> Option<Place> {
        Some(Place::Wal { commit: (commit > 0).then_some(commit), lsn })
    }

    fn both_ways(a: Position, b: Position, order: Ordering) {
        assert_eq!((a.compare(&b), b.compare(&a)), (order, order.reverse()), "{a} and {b}");
    }

    #[test]
    fn text_is_the_whole_position() {
        for position in [
            at(log(u128::MAX), true, 3, 9),
            at(None, false, 0, i64::MAX),
            at(wal(7, 9), false, 0, 1),
            at(wal(0, u64::MAX), true, 0, 1),
            at(Some(Place::Log { log: 77, at: 5 }), false, -1, -1),
        ] {
            assert_eq!(Position::parse(&position.to_string()), Some(position), "{position}");
        }
        for bad in ["", "0/1/l/5/0/0", "0/1/x/5/0/0/1", "0/1/l/5/0/0/1/2", "0/1+/l/5/0/0/1"] {
            assert_eq!(Position::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_place_beats_an_offset_and_live_beats_a_snapshot() {
        both_ways(at(log(2), false, 0, 1), at(log(1), false, 0, 9), Greater);
        both_ways(at(log(1), false, 0, 1), at(log(1), true, 1, 9), Greater);
        both_ways(at(log(1), true, 0, 1), at(log(1), false, 0, 2), Less);
        both_ways(at(None, false, 0, 1), at(None, false, 0, 2), Less);
        both_ways(at(None, false, 0, 2), at(None, false, 0, 2), Equal);
        let later = Position { incarnation: 1, ..at(log(1), false, 0, 0) };
        both_ways(later, at(log(9), false, 0, 9), Greater);
    }

    #[test]
    fn logs_of_two_servers_are_not_compared() {
        let own = |log, number| Some(Place::Log { log, at: number });
        both_ways(at(own(1, 900), false, 0, 1), at(own(2, 5), false, 0, 2), Less);
        both_ways(at(own(1, 900), false, 0, 1), at(own(1, 5), false, 0, 2), Greater);
        // The rows of a snapshot do not name the server.
        both_ways(at(own(1, 900), false, 0, 1), at(own(Place::UNNAMED, 5), true, 0, 2), Less);
    }

    #[test]
    fn what_was_open_during_a_snapshot_is_later_than_it() {
        let snapshot = at(wal(0, 2000), true, 0, 5);
        both_ways(at(wal(2050, 1900), false, 0, 6), snapshot, Greater);
        both_ways(at(wal(2050, 1900), false, 1, 0), snapshot, Greater);
        both_ways(at(wal(1800, 1900), false, 0, 6), snapshot, Greater);
        both_ways(at(wal(1800, 1900), false, 0, 4), snapshot, Less);
        both_ways(at(wal(1800, 1900), false, 1, 9), snapshot, Less);
        both_ways(at(wal(0, 2001), false, 1, 0), snapshot, Greater);
    }

    #[test]
    fn without_commits_the_clock_orders_postgres() {
        let of = |ms, lsn, offset| Position { source_ms: ms, ..at(wal(0, lsn), false, 0, offset) };
        both_ways(of(10, 300, 1), of(20, 120, 2), Less);
        both_ways(of(10, 300, 1), of(10, 120, 2), Greater);
    }

    #[test]
    fn moved_topics_are_ordered_by_the_clock() {
        let of =
            |ms, topic, offset| Position { source_ms: ms, topic, ..at(None, false, 0, offset) };
        both_ways(of(10, 0, 102), of(20, 1, 0), Less);
        both_ways(of(0, 0, 102), of(0, 1, 0), Less);
        let snapshot = Position { snapshot: true, ..of(0, 1, 0) };
        both_ways(of(0, 0, 102), snapshot, Less);
        both_ways(of(5, 0, 102), Position { source_ms: 5, ..snapshot }, Greater);
    }

    #[test]
    fn a_change_that_was_streamed_before_a_chunk_was_read_is_older_behind_it_too() {
        let wal = |commit, lsn| Some(Place::Wal { commit, lsn });
        let chunk = at(wal(Some(1071), 1080), true, 0, 5);
        for again in [wal(None, 1031), wal(Some(1040), 1050)] {
            assert_eq!(at(again, false, 0, 9).compare(&chunk), Less);
            assert_eq!(chunk.compare(&at(again, false, 0, 9)), Greater);
        }
        for new in [wal(Some(1071), 1050), wal(None, 1075), wal(Some(1090), 1060)] {
            assert_eq!(at(new, false, 0, 9).compare(&chunk), Greater, "open while it was read");
        }
        let unnamed = at(wal(None, 1080), true, 0, 5);
        assert_eq!(at(wal(None, 1031), false, 0, 9).compare(&unnamed), Greater);
    }

    #[test]
    fn a_snapshot_has_seen_what_was_committed_before_it() {
        let wal = |commit, lsn| Some(Place::Wal { commit, lsn });
        let of = |place, snapshot, source_ms| Position { source_ms, ..at(place, snapshot, 0, 0) };
        let row = of(wal(None, 100), true, 20);
        assert!(row.has_seen(&of(wal(Some(40), 50), false, 10)));
        assert!(!row.has_seen(&of(wal(Some(40), 50), false, 30)), "open while it was taken");
        assert!(row.has_seen_truncate(&of(wal(Some(40), 50), false, 30)), "which cannot be");
        assert!(!row.has_seen_truncate(&of(wal(Some(40), 150), false, 10)));
        assert!(!row.has_seen(&of(wal(None, 50), true, 10)), "not live");
    }

    #[test]
    fn of_two_snapshots_in_a_partition_the_first_need_not_say_when_it_was_read() {
        let row = |lsn, source_ms, partition, offset| Position {
            source_ms,
            ..at(Some(Place::Log { log: 0, at: lsn }), true, partition, offset)
        };
        assert!(row(100, 0, 0, 1).went_back_to(&row(50, 20, 0, 2)));
        assert!(!row(100, 0, 0, 1).went_back_to(&row(50, 0, 0, 2)), "read back");
        assert!(!row(100, 0, 0, 1).went_back_to(&row(50, 20, 1, 2)));
        let live = Position { snapshot: false, ..row(100, 0, 0, 1) };
        assert!(!live.went_back_to(&row(50, 20, 0, 2)));
    }

    #[test]
    fn only_a_commit_says_that_a_source_went_back() {
        let of = |place, ms| Position { source_ms: ms, ..at(place, false, 0, 1) };
        assert!(of(log(100), 10).went_back_to(&of(log(50), 20)));
        assert!(!of(log(100), 10).went_back_to(&of(log(50), 10)), "sent again");
        assert!(of(wal(90, 100), 10).went_back_to(&of(wal(40, 50), 20)));
        assert!(!of(wal(0, 100), 10).went_back_to(&of(wal(0, 50), 20)));
        assert!(!of(wal(90, 100), 10).went_back_to(&of(wal(95, 50), 20)));
        let snapshot = Position { snapshot: true, ..of(wal(0, 100), 10) };
        assert!(!snapshot.went_back_to(&of(wal(40, 50), 20)));
        let other = Some(Place::Log { log: 2, at: 1 });
        assert!(!of(Some(Place::Log { log: 1, at: 100 }), 10).went_back_to(&of(other, 20)));
    }
}
